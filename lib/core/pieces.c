/* Looking up pieces: by binary search in the image, since a chip has no room for a table
 * of its own; and reading a text so that its spaces are those of the vocabulary.
 */
#include "lib/core/pieces.h"

struct ruvm_span ruvm_pieces_text(const struct ruvm_tokenizer *t, uint16_t id)
{
    uint32_t begin = ruvm_load_u32(t->off + 4 * (size_t)id);
    uint32_t end = ruvm_load_u32(t->off + 4 * ((size_t)id + 1));
    return (struct ruvm_span){t->text + begin, end - begin};
}

/* ---- search ---------------------------------------------------------------- */

/* Orders the bytes of a piece against a followed by b. */
static int compare(struct ruvm_span p, struct ruvm_span a, struct ruvm_span b)
{
    size_t n = a.n + b.n;
    for (size_t i = 0; i < p.n && i < n; i++) {
        uint8_t x = i < a.n ? a.bytes[i] : b.bytes[i - a.n];
        if (p.bytes[i] != x)
            return p.bytes[i] < x ? -1 : 1;
    }
    return p.n == n ? 0 : p.n < n ? -1 : 1;
}

uint16_t ruvm_pieces_find(const struct ruvm_tokenizer *t, struct ruvm_span a, struct ruvm_span b)
{
    if (a.n + b.n > t->max_piece)
        return RUVM_NO_TOKEN;
    uint32_t low = 0, high = t->n_sorted;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (compare(ruvm_pieces_text(t, ruvm_pieces_u16(t->sorted, mid)), a, b) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == t->n_sorted)
        return RUVM_NO_TOKEN;
    uint16_t id = ruvm_pieces_u16(t->sorted, low);
    return compare(ruvm_pieces_text(t, id), a, b) == 0 ? id : RUVM_NO_TOKEN;
}

/* Byte number `at` of a piece, or -1 when it has none: it comes before all others. */
static int byte_of(const struct ruvm_tokenizer *t, uint16_t id, uint32_t at)
{
    struct ruvm_span p = ruvm_pieces_text(t, id);
    return at < p.n ? p.bytes[at] : -1;
}

/* The first place in the walk whose next byte is at least that. */
static uint32_t lower_bound(const struct ruvm_tokenizer *t, const struct ruvm_walk *w, int byte)
{
    uint32_t low = w->low, high = w->high;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (byte_of(t, ruvm_pieces_u16(w->list, mid), w->n_bytes) < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool ruvm_pieces_step(const struct ruvm_tokenizer *t, struct ruvm_walk *w, uint8_t byte)
{
    w->low = lower_bound(t, w, byte);
    w->high = lower_bound(t, w, byte + 1);
    w->n_bytes++;
    return w->low < w->high;
}

uint16_t ruvm_pieces_here(const struct ruvm_tokenizer *t, const struct ruvm_walk *w)
{
    if (w->low == w->high)
        return RUVM_NO_TOKEN;
    uint16_t id = ruvm_pieces_u16(w->list, w->low);
    return ruvm_pieces_text(t, id).n == w->n_bytes ? id : RUVM_NO_TOKEN;
}

/* Of pieces with the same text the first one counts, unless it is of the wrong kind. */
static uint16_t allowed_here(const struct ruvm_tokenizer *t, struct ruvm_walk w, bool control)
{
    for (uint16_t id; (id = ruvm_pieces_here(t, &w)) != RUVM_NO_TOKEN; w.low++)
        if (control || t->kind[id] == RUVM_PIECE_ADDED)
            return id;
    return RUVM_NO_TOKEN;
}

uint16_t ruvm_pieces_special(const struct ruvm_tokenizer *t, struct ruvm_span s, bool control)
{
    struct ruvm_walk w = {.list = t->special, .high = t->n_special};
    uint16_t longest = RUVM_NO_TOKEN;
    for (size_t i = 0; i < s.n && ruvm_pieces_step(t, &w, s.bytes[i]); i++) {
        uint16_t id = allowed_here(t, w, control);
        longest = id != RUVM_NO_TOKEN ? id : longest;
    }
    return longest;
}

/* ---- characters -------------------------------------------------------------- */

static const uint8_t space[] = {' '};
static const uint8_t metaspace[] = {0xE2, 0x96, 0x81};

static size_t character(struct ruvm_span s)
{
    size_t n = s.n > 0;
    while (n > 0 && n < s.n && n < 4 && (s.bytes[n] & 0xC0u) == 0x80u)
        n++;
    return n;
}

/* The character at the cursor, a space in one spelling; *n: bytes that it takes. */
static struct ruvm_span peek(const struct ruvm_cursor *c, size_t *n)
{
    struct ruvm_span s = {c->left.bytes, character(c->left)};
    *n = s.n;
    bool meta = (c->options & RUVM_TOKN_METASPACE) != 0 && s.n == sizeof metaspace;
    for (size_t i = 0; meta && i < sizeof metaspace; i++)
        meta = s.bytes[i] == metaspace[i];
    bool line =
        (c->options & RUVM_TOKN_LINE_SPACES) != 0 && s.n == 1 &&
        (s.bytes[0] == '\t' || s.bytes[0] == '\n' || s.bytes[0] == '\f' || s.bytes[0] == '\r');
    return meta || line ? (struct ruvm_span){space, 1} : s;
}

static bool is_space(struct ruvm_span s)
{
    return s.n == 1 && s.bytes[0] == ' ';
}

static void advance(struct ruvm_cursor *c, size_t n)
{
    c->left.bytes += n;
    c->left.n -= n;
}

static void pass_spaces(struct ruvm_cursor *c)
{
    size_t n;
    while (is_space(peek(c, &n)))
        advance(c, n);
}

struct ruvm_cursor ruvm_cursor_over(const struct ruvm_tokenizer *t, struct ruvm_span s,
                                    unsigned flags)
{
    struct ruvm_cursor c = {.left = s,
                            .options = t->options,
                            .prefix = (flags & RUVM_CURSOR_PREFIX) != 0,
                            .last = (flags & RUVM_CURSOR_LAST) != 0};
    size_t n;
    if ((t->options & RUVM_TOKN_FEW_SPACES) && (flags & RUVM_CURSOR_FIRST))
        pass_spaces(&c);
    if (c.left.n == 0 || ((t->options & RUVM_TOKN_SPARE_PREFIX) && is_space(peek(&c, &n))))
        c.prefix = false;
    return c;
}

struct ruvm_span ruvm_cursor_next(struct ruvm_cursor *c)
{
    size_t n;
    if (c->prefix) {
        c->prefix = false;
        return (struct ruvm_span){space, 1};
    }
    struct ruvm_span s = peek(c, &n);
    advance(c, n);
    if ((c->options & RUVM_TOKN_FEW_SPACES) && is_space(s)) {
        pass_spaces(c);
        if (c->left.n == 0 && c->last)
            s.n = 0;
    }
    return s;
}

/* ---- what no piece says --------------------------------------------------------- */

static int add_unknown(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids)
{
    if (t->unk == RUVM_NO_TOKEN)
        return -1;
    if ((t->options & RUVM_TOKN_FUSE_UNKNOWN) && n_ids > 0 && ids[n_ids - 1] == t->unk)
        return 0;
    ids[n_ids] = t->unk;
    return 1;
}

/* Without what stands behind the text, an image means an unknown token a byte. */
int ruvm_pieces_bytes(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                      struct ruvm_span c)
{
    bool each = (t->flags & RUVM_TOKN_FLAG_MORE) == 0;
    for (size_t i = 0; i < c.n; i++) {
        uint16_t id = ruvm_pieces_u16(t->byte_id, c.bytes[i]);
        if (id == RUVM_NO_TOKEN && !each)
            return add_unknown(t, ids, n_ids);
        if (id == RUVM_NO_TOKEN)
            id = t->unk;
        if (id == RUVM_NO_TOKEN)
            return -1;
        ids[n_ids + i] = id;
    }
    return (int)c.n;
}
