/* Reads the tokenizer of an image.
 *
 * All of it is checked as strictly as the network: the encoder searches the sorted pieces,
 * the specials and the merges in place and checks nothing again.
 */
#include "formats/tokn_read.h"

#include "lib/base/bytes.h"

static uint32_t u16_at(const uint8_t *array, uint32_t i)
{
    return ruvm_load_u16(array + 2 * (size_t)i);
}

static uint32_t piece_off(const struct ruvm_tokn *t, uint32_t id)
{
    return ruvm_load_u32(t->off + 4 * (size_t)id);
}

static uint32_t piece_bytes(const struct ruvm_tokn *t, uint32_t id)
{
    return piece_off(t, id + 1) - piece_off(t, id);
}

static bool is_findable(const struct ruvm_tokn *t, uint32_t id)
{
    return t->piece_kind[id] == RUVM_PIECE_NORMAL && piece_bytes(t, id) > 0;
}

static bool is_special(const struct ruvm_tokn *t, uint32_t id)
{
    return t->piece_kind[id] >= RUVM_PIECE_CONTROL && piece_bytes(t, id) > 0;
}

/* ---- where everything stands ---------------------------------------------- */

/* All up to the text; n_sorted is not read yet. */
static void open_pieces(struct ruvm_tokn *t, const uint8_t *s)
{
    uint32_t n = ruvm_load_u16(s + RUVM_TOKN_N_PIECES);
    *t = (struct ruvm_tokn){.kind = s[RUVM_TOKN_KIND], .flags = s[RUVM_TOKN_FLAGS], .n = n};
    t->text_bytes = ruvm_load_u32(s + RUVM_TOKN_TEXT_BYTES);
    t->off = s + RUVM_TOKN_ARRAYS;
    t->rank = t->off + 4 * ((size_t)n + 1);
    t->score = t->rank;
    size_t rank_bytes = t->kind == RUVM_TOKN_SCORES ? 2 : t->kind == RUVM_TOKN_UNIGRAM ? 4 : 0;
    t->sorted = t->rank + rank_bytes * n;
    t->byte_id = t->sorted + 2 * (size_t)n;
    t->piece_kind = t->byte_id + 2 * (size_t)256;
    t->n_sorted_at = t->piece_kind + n + (n & 1);
    t->text = t->n_sorted_at + 2;
}

/* Distance of what follows the text from the section's start. */
static uint64_t more_off(const struct ruvm_tokn *t, const uint8_t *s)
{
    return ((uint64_t)(t->text - s) + t->text_bytes + 3) & ~(uint64_t)3;
}

static void open_more(struct ruvm_tokn *t, const uint8_t *more)
{
    t->more = more;
    t->pattern = more[RUVM_MORE_PATTERN];
    t->n_ends = more[RUVM_MORE_N_ENDS];
    t->options = ruvm_load_u16(more + RUVM_MORE_OPTIONS);
    t->n_special = ruvm_load_u16(more + RUVM_MORE_N_SPECIAL);
    t->n_merges = ruvm_load_u16(more + RUVM_MORE_N_MERGES);
    t->unk_score = (int32_t)ruvm_load_u32(more + RUVM_MORE_UNK_SCORE);
    t->chat_bytes = ruvm_load_u32(more + RUVM_MORE_CHAT_BYTES);
    t->special = more + RUVM_MORE_ARRAYS;
    t->end = t->special + 2 * (size_t)t->n_special;
    t->merges = t->end + 2 * (size_t)t->n_ends;
    t->chat = t->merges + RUVM_MERGE_BYTES * (size_t)t->n_merges;
}

void ruvm_tokn_open(struct ruvm_tokn *t, const uint8_t *section)
{
    open_pieces(t, section);
    t->n_sorted = ruvm_load_u16(t->n_sorted_at);
    if (t->flags & RUVM_TOKN_FLAG_MORE)
        open_more(t, section + more_off(t, section));
}

/* ---- pieces ---------------------------------------------------------------- */

/* An id that need not be there. */
static bool check_id(struct ruvm_check *c, const uint8_t *at, const char *what)
{
    uint32_t id = ruvm_load_u16(at);
    return id == RUVM_NO_TOKEN || ruvm_check_at_most(c, at, what, c->img->vocab - 1u, id);
}

static bool check_header(struct ruvm_check *c, const uint8_t *s)
{
    const uint8_t *kind = s + RUVM_TOKN_KIND, *flags = s + RUVM_TOKN_FLAGS;
    unsigned all = RUVM_TOKN_FLAG_ADD_BOS | RUVM_TOKN_FLAG_SPACE_PREFIX | RUVM_TOKN_FLAG_MORE;
    return ruvm_check_known(c, kind, "kind of tokenizer", RUVM_TOKN_UNIGRAM, *kind) &&
           ruvm_check_at_least(c, kind, "kind of tokenizer", RUVM_TOKN_SCORES, *kind) &&
           ruvm_check_known(c, flags, "flags", all, *flags) &&
           ruvm_check_holds(c, flags, "the section ends too early for its kind of tokenizer",
                            *kind == RUVM_TOKN_SCORES || (*flags & RUVM_TOKN_FLAG_MORE) != 0) &&
           ruvm_check_equal(c, s + RUVM_TOKN_N_PIECES, "number of pieces", c->img->vocab,
                            ruvm_load_u16(s + RUVM_TOKN_N_PIECES)) &&
           check_id(c, s + RUVM_TOKN_BOS, "BOS") && check_id(c, s + RUVM_TOKN_EOS, "EOS") &&
           check_id(c, s + RUVM_TOKN_UNK, "unknown token");
}

static bool check_text(struct ruvm_check *c, const struct ruvm_tokn *t, const uint8_t *s)
{
    uint32_t end = 0, longest = 0;
    for (uint32_t i = 0; i <= t->n; i++) {
        uint32_t off = piece_off(t, i);
        if (!ruvm_check_at_least(c, t->off + 4 * (size_t)i, "offset of a piece", end, off))
            return false;
        longest = off - end > longest ? off - end : longest;
        end = off;
    }
    return ruvm_check_equal(c, t->off, "offset of the first piece", 0, piece_off(t, 0)) &&
           ruvm_check_equal(c, t->off + 4 * (size_t)t->n, "end of the last piece", t->text_bytes,
                            end) &&
           ruvm_check_equal(c, s + RUVM_TOKN_MAX_PIECE, "bytes of the longest piece", longest,
                            ruvm_load_u16(s + RUVM_TOKN_MAX_PIECE));
}

static bool check_rank(struct ruvm_check *c, const struct ruvm_tokn *t, uint32_t id)
{
    if (t->kind == RUVM_TOKN_SCORES)
        return ruvm_check_at_most(c, t->rank + 2 * (size_t)id, "rank of a piece", t->n - 1,
                                  u16_at(t->rank, id));
    return t->kind != RUVM_TOKN_UNIGRAM || !is_findable(t, id) ||
           ruvm_check_at_most(c, t->off + 4 * (size_t)id, "bytes of a piece of this kind",
                              RUVM_TOKN_UNIGRAM_MAX, piece_bytes(t, id));
}

static bool check_pieces(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    unsigned last = t->more ? RUVM_PIECE_ADDED : RUVM_PIECE_CONTROL;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint8_t *kind = t->piece_kind + i;
        if (!ruvm_check_known(c, kind, "kind of a piece", last, *kind) || !check_rank(c, t, i) ||
            (*kind == RUVM_PIECE_BYTE &&
             !ruvm_check_equal(c, t->off + 4 * (size_t)i, "bytes of a byte's piece", 1,
                               piece_bytes(t, i))))
            return false;
    }
    return true;
}

static bool check_byte_ids(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    for (uint32_t b = 0; b < 256; b++) {
        const uint8_t *at = t->byte_id + 2 * (size_t)b;
        uint32_t id = ruvm_load_u16(at);
        if (id == RUVM_NO_TOKEN)
            continue;
        if (!check_id(c, at, "token of a byte") ||
            !ruvm_check_holds(c, at, "token of a byte does not stand for that byte",
                              t->piece_kind[id] < RUVM_PIECE_CONTROL && piece_bytes(t, id) == 1 &&
                                  t->text[piece_off(t, id)] == b))
            return false;
    }
    return true;
}

/* Whether piece a comes strictly before b: by bytes, equal ones by id. */
static bool is_before(const struct ruvm_tokn *t, uint32_t a, uint32_t b)
{
    const uint8_t *x = t->text + piece_off(t, a), *y = t->text + piece_off(t, b);
    uint32_t n = piece_bytes(t, a), m = piece_bytes(t, b);
    for (uint32_t i = 0; i < n && i < m; i++)
        if (x[i] != y[i])
            return x[i] < y[i];
    return n != m ? n < m : a < b;
}

/* Both parts ascend strictly and each piece is in the part it belongs to, so all n ids
 * are there once. */
static bool check_sorted(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const uint8_t *at = t->sorted + 2 * (size_t)i;
        uint32_t id = ruvm_load_u16(at);
        bool searched = i < t->n_sorted;
        if (!ruvm_check_at_most(c, at, "sorted piece", t->n - 1, id) ||
            !ruvm_check_holds(c, at, "sorted piece is in the wrong part",
                              is_findable(t, id) == searched))
            return false;
        if (i == 0 || i == t->n_sorted)
            continue;
        uint32_t before = u16_at(t->sorted, i - 1);
        if (!ruvm_check_holds(c, at, "sorted pieces are not in order",
                              searched ? is_before(t, before, id) : before < id))
            return false;
    }
    return true;
}

/* ---- what follows the text --------------------------------------------------- */

static bool check_pattern(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    unsigned family = t->pattern & RUVM_PATTERN_FAMILY;
    bool bytes = (t->options & RUVM_TOKN_BYTE_LEVEL) != 0;
    bool fits = bytes ? t->kind == RUVM_TOKN_MERGES && family != RUVM_PATTERN_SPACES
                      : t->pattern == RUVM_PATTERN_NONE || t->pattern == RUVM_PATTERN_SPACES;
    return ruvm_check_known(c, t->more + RUVM_MORE_OPTIONS, "options", RUVM_TOKN_ALL_OPTIONS,
                            t->options) &&
           ruvm_check_known(c, t->more, "pattern", 127, t->pattern) &&
           ruvm_check_supported(c, t->more, "family of the pattern is not known",
                                family <= RUVM_PATTERN_SPACES) &&
           ruvm_check_supported(c, t->more, "pattern is for another kind of tokenizer", fits) &&
           ruvm_check_supported(c, t->more + RUVM_MORE_OPTIONS, "a space before bytes",
                                !bytes || !(t->flags & RUVM_TOKN_FLAG_SPACE_PREFIX));
}

/* Of a Unigram tokenizer the unknown token stands for any character, not for its text. */
static bool is_unknown_found(const struct ruvm_check *c, const struct ruvm_tokn *t)
{
    uint32_t unk = ruvm_load_u16(c->img->tokn + RUVM_TOKN_UNK);
    return t->kind == RUVM_TOKN_UNIGRAM && unk != RUVM_NO_TOKEN && is_findable(t, unk);
}

static bool check_more_header(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    const uint8_t *m = t->more;
    return check_pattern(c, t) &&
           ruvm_check_at_most(c, m + RUVM_MORE_N_SPECIAL, "number of special tokens", t->n,
                              t->n_special) &&
           ruvm_check_holds(c, m + RUVM_MORE_N_MERGES, "merges of another kind of tokenizer",
                            t->kind == RUVM_TOKN_MERGES || t->n_merges == 0) &&
           ruvm_check_holds(c, m + RUVM_MORE_UNK_SCORE, "score of another kind of tokenizer",
                            t->kind == RUVM_TOKN_UNIGRAM || t->unk_score == 0) &&
           ruvm_check_holds(c, c->img->tokn + RUVM_TOKN_UNK, "unknown token is found in texts",
                            !is_unknown_found(c, t));
}

/* All special pieces are there, in order. */
static bool check_specials(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n; i++)
        n += is_special(t, i);
    if (!ruvm_check_equal(c, t->more + RUVM_MORE_N_SPECIAL, "number of special tokens", n,
                          t->n_special))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *at = t->special + 2 * (size_t)i;
        uint32_t id = ruvm_load_u16(at);
        if (!ruvm_check_at_most(c, at, "special token", t->n - 1, id) ||
            !ruvm_check_holds(c, at, "token is not special", is_special(t, id)) ||
            !ruvm_check_holds(c, at, "special tokens are not in order",
                              i == 0 || is_before(t, u16_at(t->special, i - 1), id)))
            return false;
    }
    return true;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* Whether the result of a merge spells its two parts. */
static bool is_joined(const struct ruvm_tokn *t, uint32_t left, uint32_t right, uint32_t result)
{
    uint32_t n = piece_bytes(t, left), m = piece_bytes(t, right);
    const uint8_t *text = t->text + piece_off(t, result);
    return piece_bytes(t, result) == n + m && same_bytes(text, t->text + piece_off(t, left), n) &&
           same_bytes(text + n, t->text + piece_off(t, right), m);
}

static bool check_merge(struct ruvm_check *c, const struct ruvm_tokn *t, const uint8_t *m)
{
    uint32_t left = ruvm_load_u16(m + RUVM_MERGE_LEFT);
    uint32_t right = ruvm_load_u16(m + RUVM_MERGE_RIGHT);
    uint32_t result = ruvm_load_u16(m + RUVM_MERGE_RESULT);
    uint32_t rank = ruvm_load_u16(m + RUVM_MERGE_RANK);
    return ruvm_check_at_most(c, m, "left part of a merge", t->n - 1, left) &&
           ruvm_check_at_most(c, m + RUVM_MERGE_RIGHT, "right part of a merge", t->n - 1, right) &&
           ruvm_check_at_most(c, m + RUVM_MERGE_RESULT, "result of a merge", t->n - 1, result) &&
           ruvm_check_at_most(c, m + RUVM_MERGE_RANK, "rank of a merge", t->n_merges - 1, rank) &&
           ruvm_check_holds(c, m, "result of a merge is not its two parts",
                            is_joined(t, left, right, result));
}

static bool check_merges(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < t->n_merges; i++) {
        const uint8_t *m = t->merges + RUVM_MERGE_BYTES * (size_t)i;
        uint64_t key = (uint64_t)ruvm_load_u16(m) << 16 | ruvm_load_u16(m + RUVM_MERGE_RIGHT);
        if (!check_merge(c, t, m) ||
            !ruvm_check_holds(c, m, "merges are not in order", i == 0 || key > before))
            return false;
        before = key;
    }
    return true;
}

static bool check_ends(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    for (uint32_t i = 0; i < t->n_ends; i++) {
        const uint8_t *at = t->end + 2 * (size_t)i;
        if (!ruvm_check_at_most(c, at, "token that ends a text", t->n - 1, ruvm_load_u16(at)))
            return false;
    }
    return true;
}

static bool check_chat(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    const uint8_t *end = t->chat + t->chat_bytes;
    for (const uint8_t *at = t->chat; at < end;) {
        uint32_t n = ruvm_check_utf8(c, at, end);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

static bool check_more(struct ruvm_check *c, const struct ruvm_tokn *t)
{
    return !t->more || (check_more_header(c, t) && check_specials(c, t) && check_ends(c, t) &&
                        check_merges(c, t) && check_chat(c, t));
}

/* ---- the section --------------------------------------------------------------- */

/* That the section has the size that its counts ask for; nothing behind the header is
 * touched before. */
static bool check_size(struct ruvm_check *c, struct ruvm_tokn *t, const uint8_t *s)
{
    uint32_t size = c->part[RUVM_SECTION_TOKN].size;
    open_pieces(t, s);
    if (!(t->flags & RUVM_TOKN_FLAG_MORE))
        return ruvm_check_enter(c, RUVM_SECTION_TOKN, (uint64_t)(t->text - s) + t->text_bytes);
    uint64_t more = more_off(t, s);
    if (!ruvm_check_at_least(c, s, "size of the section", more + RUVM_MORE_ARRAYS, size))
        return false;
    open_more(t, s + more);
    return ruvm_check_enter(c, RUVM_SECTION_TOKN, (uint64_t)(t->chat - s) + t->chat_bytes) &&
           ruvm_check_zeros(c, t->text + t->text_bytes, t->more, "padding");
}

bool ruvm_tokn_check(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_TOKN].data;
    uint32_t size = c->part[RUVM_SECTION_TOKN].size;
    struct ruvm_tokn t;
    c->section = ruvm_check_names[RUVM_SECTION_TOKN];
    if (!s)
        return true;
    if (!ruvm_check_at_least(c, s, "size of the section", RUVM_TOKN_ARRAYS, size) ||
        !check_header(c, s) || !check_size(c, &t, s))
        return false;
    t.n_sorted = ruvm_load_u16(t.n_sorted_at);
    c->img->tokn = s;
    c->img->tokn_bytes = size;
    return ruvm_check_zeros(c, t.piece_kind + t.n, t.n_sorted_at, "padding") &&
           ruvm_check_at_most(c, t.n_sorted_at, "number of sorted pieces", t.n, t.n_sorted) &&
           check_text(c, &t, s) && check_pieces(c, &t) && check_byte_ids(c, &t) &&
           check_sorted(c, &t) && check_more(c, &t);
}
