/* Reads what an image may lack: the tokenizer, the golden vectors, the description.
 *
 * A section that is there is checked as strictly as the network: tokenizer and
 * verification read it in place and check nothing again.
 */
#include "formats/optional_read.h"

#include "lib/base/bytes.h"

/* ---- tokn ---------------------------------------------------------------- */

/* The arrays of the section, as ruvm_layout.h lists them. */
struct pieces {
    uint32_t n, n_sorted;
    const uint8_t *off, *rank, *sorted, *byte_id, *kind, *n_sorted_at, *text;
};

static uint32_t u16_at(const uint8_t *array, uint32_t i)
{
    return ruvm_load_u16(array + 2 * (size_t)i);
}

static uint32_t piece_off(const struct pieces *p, uint32_t id)
{
    return ruvm_load_u32(p->off + 4 * (size_t)id);
}

static uint32_t piece_bytes(const struct pieces *p, uint32_t id)
{
    return piece_off(p, id + 1) - piece_off(p, id);
}

static bool is_findable(const struct pieces *p, uint32_t id)
{
    return p->kind[id] == RUVM_PIECE_NORMAL && piece_bytes(p, id) > 0;
}

static struct pieces pieces_of(const uint8_t *s)
{
    uint32_t n = ruvm_load_u16(s + RUVM_TOKN_N_PIECES);
    struct pieces p = {.n = n, .off = s + RUVM_TOKN_ARRAYS};
    p.rank = p.off + 4 * ((size_t)n + 1);
    p.sorted = p.rank + 2 * (size_t)n;
    p.byte_id = p.sorted + 2 * (size_t)n;
    p.kind = p.byte_id + 2 * (size_t)256;
    p.n_sorted_at = p.kind + n + (n & 1);
    p.text = p.n_sorted_at + 2;
    return p;
}

/* An id that need not be there. */
static bool check_id(struct ruvm_check *c, const uint8_t *at, const char *what)
{
    uint32_t id = ruvm_load_u16(at);
    return id == RUVM_NO_TOKEN || ruvm_check_at_most(c, at, what, c->img->vocab - 1u, id);
}

static bool check_tokn_header(struct ruvm_check *c, const uint8_t *s)
{
    return ruvm_check_known(c, s + RUVM_TOKN_KIND, "kind of tokenizer", 1, s[RUVM_TOKN_KIND]) &&
           ruvm_check_at_least(c, s + RUVM_TOKN_KIND, "kind of tokenizer", 1, s[RUVM_TOKN_KIND]) &&
           ruvm_check_known(c, s + RUVM_TOKN_FLAGS, "flags", 3, s[RUVM_TOKN_FLAGS]) &&
           ruvm_check_equal(c, s + RUVM_TOKN_N_PIECES, "number of pieces", c->img->vocab,
                            ruvm_load_u16(s + RUVM_TOKN_N_PIECES)) &&
           check_id(c, s + RUVM_TOKN_BOS, "BOS") && check_id(c, s + RUVM_TOKN_EOS, "EOS") &&
           check_id(c, s + RUVM_TOKN_UNK, "unknown token");
}

static bool check_text(struct ruvm_check *c, const struct pieces *p, const uint8_t *s)
{
    uint32_t end = 0, longest = 0;
    for (uint32_t i = 0; i <= p->n; i++) {
        uint32_t off = piece_off(p, i);
        if (!ruvm_check_at_least(c, p->off + 4 * (size_t)i, "offset of a piece", end, off))
            return false;
        longest = off - end > longest ? off - end : longest;
        end = off;
    }
    return ruvm_check_equal(c, p->off, "offset of the first piece", 0, piece_off(p, 0)) &&
           ruvm_check_equal(c, p->off + 4 * (size_t)p->n, "end of the last piece",
                            ruvm_load_u32(s + RUVM_TOKN_TEXT_BYTES), end) &&
           ruvm_check_equal(c, s + RUVM_TOKN_MAX_PIECE, "bytes of the longest piece", longest,
                            ruvm_load_u16(s + RUVM_TOKN_MAX_PIECE));
}

static bool check_pieces(struct ruvm_check *c, const struct pieces *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const uint8_t *kind = p->kind + i;
        if (!ruvm_check_known(c, kind, "kind of a piece", RUVM_PIECE_CONTROL, *kind) ||
            !ruvm_check_at_most(c, p->rank + 2 * (size_t)i, "rank of a piece", p->n - 1,
                                u16_at(p->rank, i)) ||
            (*kind == RUVM_PIECE_BYTE &&
             !ruvm_check_equal(c, p->off + 4 * (size_t)i, "bytes of a byte's piece", 1,
                               piece_bytes(p, i))))
            return false;
    }
    return true;
}

static bool check_byte_ids(struct ruvm_check *c, const struct pieces *p)
{
    for (uint32_t b = 0; b < 256; b++) {
        const uint8_t *at = p->byte_id + 2 * (size_t)b;
        uint32_t id = ruvm_load_u16(at);
        if (id == RUVM_NO_TOKEN)
            continue;
        if (!check_id(c, at, "token of a byte") ||
            !ruvm_check_holds(c, at, "token of a byte does not stand for that byte",
                              p->kind[id] != RUVM_PIECE_CONTROL && piece_bytes(p, id) == 1 &&
                                  p->text[piece_off(p, id)] == b))
            return false;
    }
    return true;
}

/* Whether piece a comes strictly before b: by bytes, equal ones by id. */
static bool is_before(const struct pieces *p, uint32_t a, uint32_t b)
{
    const uint8_t *x = p->text + piece_off(p, a), *y = p->text + piece_off(p, b);
    uint32_t n = piece_bytes(p, a), m = piece_bytes(p, b);
    for (uint32_t i = 0; i < n && i < m; i++)
        if (x[i] != y[i])
            return x[i] < y[i];
    return n != m ? n < m : a < b;
}

/* Both parts ascend strictly and each piece is in the part it belongs to, so all n ids
 * are there once. */
static bool check_sorted(struct ruvm_check *c, const struct pieces *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const uint8_t *at = p->sorted + 2 * (size_t)i;
        uint32_t id = ruvm_load_u16(at);
        bool searched = i < p->n_sorted;
        if (!ruvm_check_at_most(c, at, "sorted piece", p->n - 1, id) ||
            !ruvm_check_holds(c, at, "sorted piece is in the wrong part",
                              is_findable(p, id) == searched))
            return false;
        if (i == 0 || i == p->n_sorted)
            continue;
        uint32_t before = u16_at(p->sorted, i - 1);
        if (!ruvm_check_holds(c, at, "sorted pieces are not in order",
                              searched ? is_before(p, before, id) : before < id))
            return false;
    }
    return true;
}

bool ruvm_optional_tokn(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_PART_TOKN].data;
    uint32_t size = c->part[RUVM_PART_TOKN].size;
    c->section = ruvm_check_names[RUVM_PART_TOKN];
    if (!s)
        return true;
    if (!ruvm_check_at_least(c, s, "size of the section", RUVM_TOKN_ARRAYS, size) ||
        !check_tokn_header(c, s))
        return false;
    struct pieces p = pieces_of(s);
    uint64_t text = ruvm_load_u32(s + RUVM_TOKN_TEXT_BYTES);
    if (!ruvm_check_enter(c, RUVM_PART_TOKN, (uint64_t)(p.text - s) + text))
        return false;
    p.n_sorted = ruvm_load_u16(p.n_sorted_at);
    c->img->tokn = s;
    c->img->tokn_bytes = size;
    return ruvm_check_zeros(c, p.kind + p.n, p.n_sorted_at, "padding") &&
           ruvm_check_at_most(c, p.n_sorted_at, "number of sorted pieces", p.n, p.n_sorted) &&
           check_text(c, &p, s) && check_pieces(c, &p) && check_byte_ids(c, &p) &&
           check_sorted(c, &p);
}

/* ---- gold and meta ------------------------------------------------------- */

bool ruvm_optional_gold(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_PART_GOLD].data;
    uint32_t size = c->part[RUVM_PART_GOLD].size;
    c->section = ruvm_check_names[RUVM_PART_GOLD];
    if (!s)
        return true;
    if (!ruvm_check_at_least(c, s, "size of the section", RUVM_GOLD_IDS, size))
        return false;
    uint32_t prompt = ruvm_load_u16(s + RUVM_GOLD_N_PROMPT);
    uint32_t tokens = ruvm_load_u16(s + RUVM_GOLD_N_TOKENS);
    if (!ruvm_check_at_least(c, s + RUVM_GOLD_N_PROMPT, "tokens of the prompt", 1, prompt) ||
        !ruvm_check_at_least(c, s + RUVM_GOLD_N_TOKENS, "golden tokens", 1, tokens) ||
        !ruvm_check_at_most(c, s, "prompt and golden tokens", c->img->context + 1u,
                            prompt + tokens) ||
        !ruvm_check_enter(c, RUVM_PART_GOLD, RUVM_GOLD_IDS + 2 * ((uint64_t)prompt + tokens)))
        return false;
    for (const uint8_t *id = s + RUVM_GOLD_IDS; id < s + size; id += 2)
        if (!ruvm_check_at_most(c, id, "golden token", c->img->vocab - 1u, ruvm_load_u16(id)))
            return false;
    c->img->gold = s;
    c->img->gold_bytes = size;
    return true;
}

/* Checks the line at p and moves *next past it. *key_end: where its '=' stands. */
static bool check_line(struct ruvm_check *c, const uint8_t *p, const uint8_t *end,
                       const uint8_t **key_end, const uint8_t **next)
{
    *key_end = NULL;
    const uint8_t *at = p;
    while (at < end && *at != '\n') {
        uint32_t n = ruvm_utf8_bytes(at, end);
        if (!ruvm_check_holds(c, at, "text is not UTF-8", n > 0) ||
            !ruvm_check_holds(c, at, "text has a control character", *at >= ' ' && *at != 0x7F))
            return false;
        if (*at == '=' && !*key_end)
            *key_end = at;
        at += n;
    }
    *next = at + 1;
    return ruvm_check_holds(c, p, "last line has no end", at < end) &&
           ruvm_check_holds(c, p, "line is not key=value", *key_end && *key_end > p);
}

/* Whether the bytes [a, a_end) come strictly before [b, b_end). */
static bool is_key_before(const uint8_t *a, const uint8_t *a_end, const uint8_t *b,
                          const uint8_t *b_end)
{
    while (a < a_end && b < b_end && *a == *b) {
        a++;
        b++;
    }
    return b < b_end && (a == a_end || *a < *b);
}

bool ruvm_optional_meta(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_PART_META].data;
    uint32_t size = c->part[RUVM_PART_META].size;
    const uint8_t *before = s, *before_end = s;
    c->section = ruvm_check_names[RUVM_PART_META];
    if (!s)
        return true;
    for (const uint8_t *p = s, *key_end, *next; p < s + size; p = next) {
        if (!check_line(c, p, s + size, &key_end, &next) ||
            !ruvm_check_holds(c, p, "keys are not in order",
                              is_key_before(before, before_end, p, key_end)))
            return false;
        before = p;
        before_end = key_end;
    }
    c->img->meta = s;
    c->img->meta_bytes = size;
    return true;
}
