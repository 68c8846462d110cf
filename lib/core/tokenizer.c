/* The tokenizer: text to ids and back, in integers, from the image's tokn section.
 *
 * SentencePiece-like BPE as llama2.c runs it: characters that are pieces become
 * symbols, other bytes fall back to byte tokens, then the neighbours whose
 * joined piece has the best rank are merged, leftmost first, until none is
 * left. The ids array is the only work space.
 */
#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/ruvm.h"

enum { NO_RANK = 0x10000 };

struct text {
    const uint8_t *bytes;
    size_t n;
};

static uint16_t u16_at(const uint8_t *array, size_t i)
{
    return ruvm_load_u16(array + 2 * i);
}

static struct text piece(const struct ruvm_tokenizer *t, uint16_t id)
{
    uint32_t begin = ruvm_load_u32(t->off + 4 * (size_t)id);
    uint32_t end = ruvm_load_u32(t->off + 4 * ((size_t)id + 1));
    return (struct text){t->text + begin, end - begin};
}

int ruvm_tokenizer_init(struct ruvm_tokenizer *t, const void *image, size_t image_bytes)
{
    struct ruvm_image img;
    int rc = ruvm_image_open(&img, image, image_bytes, NULL);
    if (rc != RUVM_OK)
        return rc;
    if (!img.tokn)
        return RUVM_ERR_UNSUPPORTED;
    const uint8_t *s = img.tokn;
    size_t n = ruvm_load_u16(s + RUVM_TOKN_N_PIECES);
    *t = (struct ruvm_tokenizer){
        .section = s,
        .n_pieces = (uint16_t)n,
        .bos = ruvm_load_u16(s + RUVM_TOKN_BOS),
        .eos = ruvm_load_u16(s + RUVM_TOKN_EOS),
        .unk = ruvm_load_u16(s + RUVM_TOKN_UNK),
        .max_piece = ruvm_load_u16(s + RUVM_TOKN_MAX_PIECE),
        .flags = s[RUVM_TOKN_FLAGS],
        .off = s + RUVM_TOKN_ARRAYS,
    };
    t->rank = t->off + 4 * (n + 1);
    t->sorted = t->rank + 2 * n;
    t->byte_id = t->sorted + 2 * n;
    t->kind = t->byte_id + (size_t)2 * 256;
    const uint8_t *n_sorted = t->kind + n + (n & 1); /* at an even offset */
    t->n_sorted = ruvm_load_u16(n_sorted);
    t->text = n_sorted + 2;
    return RUVM_OK;
}

/* Pairs of neighbouring bytes inside any piece: the places a merge can reach across. */
void ruvm_tokenizer_joins(struct ruvm_tokenizer *t, uint8_t joins[8192])
{
    for (size_t i = 0; i < 8192; i++)
        joins[i] = 0;
    for (uint16_t s = 0; s < t->n_sorted; s++) {
        struct text p = piece(t, u16_at(t->sorted, s));
        for (size_t i = 1; i < p.n; i++) {
            unsigned pair = (unsigned)p.bytes[i - 1] << 8 | p.bytes[i];
            joins[pair >> 3] |= (uint8_t)(1u << (pair & 7));
        }
    }
    t->joins = joins;
}

/* Orders the bytes of a piece against a followed by b. */
static int compare(struct text p, struct text a, struct text b)
{
    size_t n = a.n + b.n;
    for (size_t i = 0; i < p.n && i < n; i++) {
        uint8_t x = i < a.n ? a.bytes[i] : b.bytes[i - a.n];
        if (p.bytes[i] != x)
            return p.bytes[i] < x ? -1 : 1;
    }
    return p.n == n ? 0 : p.n < n ? -1 : 1;
}

/* The piece whose text is a followed by b: its id, or RUVM_NO_TOKEN. */
static uint16_t find(const struct ruvm_tokenizer *t, struct text a, struct text b)
{
    if (a.n + b.n > t->max_piece)
        return RUVM_NO_TOKEN;
    uint32_t low = 0, high = t->n_sorted;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (compare(piece(t, u16_at(t->sorted, mid)), a, b) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == t->n_sorted)
        return RUVM_NO_TOKEN;
    uint16_t id = u16_at(t->sorted, low);
    return compare(piece(t, id), a, b) == 0 ? id : RUVM_NO_TOKEN;
}

/* The id that two neighbours merge into, or RUVM_NO_TOKEN. Only pieces found as text
 * merge: a byte of fallback stays alone. */
static uint16_t merged(const struct ruvm_tokenizer *t, uint16_t left, uint16_t right)
{
    if (t->kind[left] != RUVM_PIECE_NORMAL || t->kind[right] != RUVM_PIECE_NORMAL)
        return RUVM_NO_TOKEN;
    return find(t, piece(t, left), piece(t, right));
}

static uint32_t rank_of(const struct ruvm_tokenizer *t, uint16_t id)
{
    return id == RUVM_NO_TOKEN ? NO_RANK : u16_at(t->rank, id);
}

static uint32_t best_rank(const struct ruvm_tokenizer *t, const uint16_t *ids, size_t n)
{
    uint32_t best = NO_RANK;
    for (size_t i = 1; i < n; i++) {
        uint32_t r = rank_of(t, merged(t, ids[i - 1], ids[i]));
        best = r < best ? r : best;
    }
    return best;
}

/* Merges every pair of rank `best` from left to right, in place. Stops early when a merge
 * made a pair that comes before the ones still to the right; returns the new length. */
static size_t merge_pass(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n, uint32_t best)
{
    size_t out = 0, in = 0;
    bool stop = false;
    while (in < n) {
        uint16_t id = RUVM_NO_TOKEN;
        if (!stop && in + 1 < n)
            id = merged(t, ids[in], ids[in + 1]);
        if (rank_of(t, id) != best || id == RUVM_NO_TOKEN) {
            ids[out++] = ids[in++];
            continue;
        }
        in += 2;
        ids[out++] = id;
        bool left = out > 1 && rank_of(t, merged(t, ids[out - 2], id)) <= best;
        bool right = in < n && rank_of(t, merged(t, id, ids[in])) < best;
        stop = left || right;
        if (!stop && in < n && rank_of(t, merged(t, id, ids[in])) == best) {
            ids[--in] = id; /* the new piece takes part in the next, equal merge */
            out--;
        }
    }
    return out;
}

static size_t merge_all(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n)
{
    for (;;) {
        uint32_t best = best_rank(t, ids, n);
        if (best == NO_RANK)
            return n;
        n = merge_pass(t, ids, n, best);
    }
}

/* Bytes of the UTF-8 character at the start: a byte and the continuation bytes after
 * it, four at most; broken text is taken as it comes. */
static size_t character(struct text s)
{
    size_t n = 1;
    while (n < s.n && n < 4 && (s.bytes[n] & 0xC0u) == 0x80u)
        n++;
    return n;
}

/* Appends the symbols of one character; returns how many, or 0 when it cannot be said. */
static size_t add_character(const struct ruvm_tokenizer *t, uint16_t *ids, struct text c)
{
    uint16_t id = find(t, c, (struct text){c.bytes, 0});
    if (id != RUVM_NO_TOKEN) {
        ids[0] = id;
        return 1;
    }
    for (size_t i = 0; i < c.n; i++) {
        ids[i] = u16_at(t->byte_id, c.bytes[i]);
        if (ids[i] == RUVM_NO_TOKEN)
            ids[i] = t->unk;
        if (ids[i] == RUVM_NO_TOKEN)
            return 0;
    }
    return c.n;
}

/* Whether some piece can reach across the end of the first n bytes of s. */
static bool joined(const struct ruvm_tokenizer *t, struct text s, size_t n)
{
    if (n == s.n || !t->joins)
        return n < s.n;
    unsigned pair = (unsigned)s.bytes[n - 1] << 8 | s.bytes[n];
    return (t->joins[pair >> 3] >> (pair & 7) & 1u) != 0;
}

/* Encodes s behind the n_ids symbols that already stand in ids; merges each stretch that
 * no piece can leave. Returns the number of ids, or an error. */
static int encode_text(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids, size_t start,
                       struct text s)
{
    while (s.n > 0) {
        size_t n = character(s);
        size_t added = add_character(t, ids + n_ids, (struct text){s.bytes, n});
        if (added == 0)
            return RUVM_ERR_UNSUPPORTED;
        n_ids += added;
        if (!joined(t, s, n)) {
            n_ids = start + merge_all(t, ids + start, n_ids - start);
            start = n_ids;
        }
        s.bytes += n;
        s.n -= n;
    }
    return (int)n_ids;
}

int ruvm_encode(const struct ruvm_tokenizer *t, uint16_t *ids, size_t max_ids, const void *text,
                size_t n_bytes, unsigned flags)
{
    if (max_ids < RUVM_MAX_TOKENS(n_bytes) || n_bytes > INT32_MAX - 2)
        return RUVM_ERR_ARG;
    bool plain = (flags & RUVM_ENCODE_PLAIN) != 0;
    size_t n = 0;
    if (!plain && (t->flags & RUVM_TOKN_FLAG_ADD_BOS) && t->bos != RUVM_NO_TOKEN)
        ids[n++] = t->bos;
    size_t start = n;
    if (!plain && (t->flags & RUVM_TOKN_FLAG_SPACE_PREFIX) && n_bytes > 0) {
        size_t added = add_character(t, ids + n, (struct text){(const uint8_t *)" ", 1});
        if (added == 0)
            return RUVM_ERR_UNSUPPORTED;
        n += added;
    }
    return encode_text(t, ids, n, start, (struct text){text, n_bytes});
}

const uint8_t *ruvm_decode(const struct ruvm_tokenizer *t, uint16_t previous, uint16_t id,
                           size_t *n_bytes)
{
    *n_bytes = 0;
    if (id >= t->n_pieces || t->kind[id] == RUVM_PIECE_CONTROL)
        return t->text;
    struct text p = piece(t, id);
    bool first = previous == RUVM_NO_PREVIOUS || previous == t->bos;
    if (first && (t->flags & RUVM_TOKN_FLAG_SPACE_PREFIX) && p.n > 0 && p.bytes[0] == ' ') {
        p.bytes++;
        p.n--;
    }
    *n_bytes = p.n;
    return p.bytes;
}

bool ruvm_is_end(const struct ruvm_tokenizer *t, uint16_t id)
{
    return id != RUVM_NO_TOKEN && (id == t->bos || id == t->eos);
}
