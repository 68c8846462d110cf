/* Turns a vocabulary into the arrays of the `tokn` section.
 *
 * A chip compares no floats: scores become dense ranks, best first, or numbers in Q20. It
 * has no hash table either: the pieces that the encoder may find, the special tokens and the
 * merges are sorted for a binary search, and every byte has its fallback looked up here.
 */
#include "lib/convert/tokenizer_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

/* What SentencePiece takes off the lowest score for a character that no piece holds. */
enum { UNKNOWN_PENALTY = 10, MAX_SCORE = 1024 };

/* What is sorted: qsort passes no context, so an entry carries what it is compared by. */
struct entry {
    const struct ruvm_piece *piece;
    uint16_t id;
};

static bool is_findable(const struct ruvm_piece *p)
{
    return p->kind == RUVM_PIECE_NORMAL && p->n_bytes > 0;
}

static bool is_special(const struct ruvm_piece *p)
{
    return p->kind >= RUVM_PIECE_CONTROL && p->n_bytes > 0;
}

static enum ruvm_tokn_kind kind_of(const struct ruvm_vocab *v)
{
    return v->kind ? v->kind : RUVM_TOKN_SCORES;
}

/* What is behind the text: a plain llama2.c vocabulary has nothing there. */
static bool has_more(const struct ruvm_vocab *v)
{
    return kind_of(v) != RUVM_TOKN_SCORES || v->specials || v->pattern || v->options || v->n_ends ||
           v->chat;
}

static int compare_ids(const struct entry *a, const struct entry *b)
{
    return a->id < b->id ? -1 : a->id > b->id;
}

static int by_score(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    if (a->piece->score > b->piece->score)
        return -1;
    return a->piece->score < b->piece->score ? 1 : compare_ids(a, b);
}

static int compare_bytes(const struct ruvm_piece *a, const struct ruvm_piece *b)
{
    uint32_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    int order = n ? memcmp(a->text, b->text, n) : 0;
    if (order != 0)
        return order;
    return a->n_bytes < b->n_bytes ? -1 : a->n_bytes > b->n_bytes;
}

static int by_bytes(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    bool find_a = is_findable(a->piece), find_b = is_findable(b->piece);
    if (find_a != find_b)
        return find_a ? -1 : 1;
    int order = find_a ? compare_bytes(a->piece, b->piece) : 0;
    return order != 0 ? order : compare_ids(a, b);
}

static void add_offsets(struct ruvm_buffer *out, const struct ruvm_vocab *v)
{
    uint32_t off = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        ruvm_buffer_u32(out, off);
        off += v->pieces[i].n_bytes;
    }
    ruvm_buffer_u32(out, off);
}

static void add_ranks(struct ruvm_buffer *out, struct entry *order, uint32_t n)
{
    qsort(order, n, sizeof *order, by_score);
    uint8_t *ranks = ruvm_buffer_zeros(out, 2 * (size_t)n);
    uint16_t rank = 0;
    for (uint32_t i = 0; ranks && i < n; i++) {
        if (i > 0 && order[i].piece->score < order[i - 1].piece->score)
            rank++;
        ruvm_store_u16(ranks + 2 * (size_t)order[i].id, rank);
    }
}

static uint32_t q20(double score)
{
    return (uint32_t)(int32_t)lround(ldexp(score, RUVM_TOKN_SCORE_BITS));
}

static void add_scores(struct ruvm_buffer *out, const struct ruvm_vocab *v)
{
    for (uint32_t i = 0; i < v->n_pieces; i++)
        ruvm_buffer_u32(out, is_findable(&v->pieces[i]) ? q20((double)v->pieces[i].score) : 0);
}

/* Returns how many of the pieces are findable. */
static uint16_t add_sorted(struct ruvm_buffer *out, struct entry *order, uint32_t n)
{
    qsort(order, n, sizeof *order, by_bytes);
    uint16_t n_sorted = 0;
    for (uint32_t i = 0; i < n; i++) {
        ruvm_buffer_u16(out, order[i].id);
        n_sorted = (uint16_t)(n_sorted + is_findable(order[i].piece));
    }
    return n_sorted;
}

/* A byte's own piece comes before a text of one byte; of equals the first. */
static void add_byte_ids(struct ruvm_buffer *out, const struct ruvm_vocab *v)
{
    uint16_t ids[256];
    bool own[256] = {false};
    memset(ids, 0xFF, sizeof ids); /* RUVM_NO_TOKEN */
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        const struct ruvm_piece *p = &v->pieces[i];
        if (p->n_bytes != 1 || p->kind >= RUVM_PIECE_CONTROL)
            continue;
        uint8_t byte = p->text[0];
        bool is_own = p->kind == RUVM_PIECE_BYTE;
        if (ids[byte] == RUVM_NO_TOKEN || (is_own && !own[byte]))
            ids[byte] = (uint16_t)i;
        own[byte] = own[byte] || is_own;
    }
    for (unsigned i = 0; i < 256; i++)
        ruvm_buffer_u16(out, ids[i]);
}

static void add_arrays(struct ruvm_buffer *out, const struct ruvm_vocab *v, struct entry *order)
{
    add_offsets(out, v);
    if (kind_of(v) == RUVM_TOKN_SCORES)
        add_ranks(out, order, v->n_pieces);
    else if (kind_of(v) == RUVM_TOKN_UNIGRAM)
        add_scores(out, v);
    uint16_t n_sorted = add_sorted(out, order, v->n_pieces);
    add_byte_ids(out, v);
    for (uint32_t i = 0; i < v->n_pieces; i++)
        ruvm_buffer_u8(out, (uint8_t)v->pieces[i].kind);
    if (v->n_pieces % 2 != 0)
        ruvm_buffer_u8(out, 0); /* n_sorted at an even offset */
    ruvm_buffer_u16(out, n_sorted);
    for (uint32_t i = 0; i < v->n_pieces; i++)
        ruvm_buffer_bytes(out, v->pieces[i].text, v->pieces[i].n_bytes);
}

/* ---- what follows the text ------------------------------------------------- */

static int by_special(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    bool special_a = is_special(a->piece), special_b = is_special(b->piece);
    if (special_a != special_b)
        return special_a ? -1 : 1;
    int order = special_a ? compare_bytes(a->piece, b->piece) : 0;
    return order != 0 ? order : compare_ids(a, b);
}

struct ranked {
    uint16_t left, right, result, rank;
};

/* By the pair; of equal pairs the one named last counts. */
static int by_pair(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    uint32_t x = (uint32_t)a->left << 16 | a->right, y = (uint32_t)b->left << 16 | b->right;
    return x != y ? (x < y ? -1 : 1) : (a->rank < b->rank) - (a->rank > b->rank);
}

static bool same_pair(const struct ranked *a, const struct ranked *b)
{
    return a->left == b->left && a->right == b->right;
}

/* The merges by pair, each pair once; *n becomes their number. NULL: memory is short. */
static struct ranked *sort_merges(const struct ruvm_vocab *v, uint16_t *n)
{
    struct ranked *merges = calloc(v->n_merges + 1u, sizeof *merges);
    *n = 0;
    for (uint32_t i = 0; merges && i < v->n_merges; i++) {
        const struct ruvm_merge *m = &v->merges[i];
        merges[i] = (struct ranked){(uint16_t)m->left, (uint16_t)m->right, (uint16_t)m->result,
                                    (uint16_t)i};
    }
    if (merges)
        qsort(merges, v->n_merges, sizeof *merges, by_pair);
    for (uint32_t i = 0; merges && i < v->n_merges; i++)
        if (i == 0 || !same_pair(&merges[i], &merges[i - 1]))
            merges[(*n)++] = merges[i];
    return merges;
}

static double unknown_score(const struct ruvm_vocab *v)
{
    double lowest = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++)
        if (is_findable(&v->pieces[i]) && (double)v->pieces[i].score < lowest)
            lowest = (double)v->pieces[i].score;
    return lowest - UNKNOWN_PENALTY;
}

static bool is_utf8(const char *text)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
    for (uint32_t n; p < end; p += n)
        if ((n = ruvm_utf8_bytes(p, end)) == 0)
            return false;
    return true;
}

static void add_more_arrays(struct ruvm_buffer *out, const struct ruvm_vocab *v,
                            const struct entry *order, const struct ranked *merges,
                            const uint16_t n[2])
{
    for (uint16_t i = 0; i < n[0]; i++)
        ruvm_buffer_u16(out, order[i].id);
    for (uint32_t i = 0; i < v->n_ends; i++)
        ruvm_buffer_u16(out, (uint16_t)v->ends[i]);
    for (uint16_t i = 0; i < n[1]; i++) {
        ruvm_buffer_u16(out, merges[i].left);
        ruvm_buffer_u16(out, merges[i].right);
        ruvm_buffer_u16(out, merges[i].result);
        ruvm_buffer_u16(out, merges[i].rank);
    }
}

static void add_more(struct ruvm_buffer *out, const struct ruvm_vocab *v, struct entry *order)
{
    uint16_t n[2] = {0}; /* specials, merges */
    struct ranked *merges = sort_merges(v, &n[1]);
    const char *chat = v->chat && is_utf8(v->chat) ? v->chat : "";
    out->failed = out->failed || !merges;
    qsort(order, v->n_pieces, sizeof *order, by_special);
    while (n[0] < v->n_pieces && is_special(order[n[0]].piece))
        n[0]++;
    ruvm_buffer_u8(out, v->pattern);
    ruvm_buffer_u8(out, (uint8_t)v->n_ends);
    ruvm_buffer_u16(out, v->options);
    ruvm_buffer_u16(out, n[0]);
    ruvm_buffer_u16(out, n[1]);
    ruvm_buffer_u32(out, v->kind == RUVM_TOKN_UNIGRAM ? q20(unknown_score(v)) : 0);
    ruvm_buffer_u32(out, (uint32_t)strlen(chat));
    if (merges)
        add_more_arrays(out, v, order, merges, n);
    ruvm_buffer_bytes(out, chat, strlen(chat));
    free(merges);
}

/* ---- the section -------------------------------------------------------------- */

static int measure_text(const struct ruvm_vocab *v, uint16_t *longest, uint32_t *text_bytes,
                        struct ruvm_error *err)
{
    uint64_t total = 0;
    uint32_t most = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        total += v->pieces[i].n_bytes;
        most = v->pieces[i].n_bytes > most ? v->pieces[i].n_bytes : most;
    }
    if (v->n_pieces > RUVM_NO_TOKEN)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "tokenizer: %u tokens, but an image holds at most %d: keep those that a "
                         "text of yours needs (--vocab-prune, with a text to calibrate on)",
                         v->n_pieces, RUVM_NO_TOKEN);
    if (most > UINT16_MAX || total > INT32_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "tokenizer: %u pieces, the longest of %u "
                         "bytes: an image holds at most %d pieces of %d bytes",
                         v->n_pieces, most, RUVM_NO_TOKEN, UINT16_MAX);
    *longest = (uint16_t)most;
    *text_bytes = (uint32_t)total;
    return RUVM_OK;
}

/* What the arrays have no room for. */
static int check_limits(const struct ruvm_vocab *v, struct ruvm_error *err)
{
    if (v->n_merges > UINT16_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "tokenizer: %u merges, but an image holds at most %d", v->n_merges,
                         UINT16_MAX);
    for (uint32_t i = 0; v->kind == RUVM_TOKN_UNIGRAM && i < v->n_pieces; i++) {
        const struct ruvm_piece *p = &v->pieces[i];
        if (!is_findable(p))
            continue;
        if (p->n_bytes > RUVM_TOKN_UNIGRAM_MAX || !(fabs((double)p->score) < MAX_SCORE))
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "tokenizer: piece %u has %u bytes and the score %g; of a Unigram "
                             "model at most %d bytes and scores within %d are possible",
                             i, p->n_bytes, (double)p->score, RUVM_TOKN_UNIGRAM_MAX, MAX_SCORE);
    }
    return RUVM_OK;
}

static void add_header(struct ruvm_buffer *out, const struct ruvm_vocab *v, uint16_t longest,
                       uint32_t text_bytes)
{
    unsigned flags = (v->add_bos ? RUVM_TOKN_FLAG_ADD_BOS : 0u) |
                     (v->space_prefix ? RUVM_TOKN_FLAG_SPACE_PREFIX : 0u) |
                     (has_more(v) ? RUVM_TOKN_FLAG_MORE : 0u);
    ruvm_buffer_u8(out, (uint8_t)kind_of(v));
    ruvm_buffer_u8(out, (uint8_t)flags);
    ruvm_buffer_u16(out, (uint16_t)v->n_pieces);
    ruvm_buffer_u16(out, (uint16_t)v->bos);
    ruvm_buffer_u16(out, (uint16_t)v->eos);
    ruvm_buffer_u16(out, (uint16_t)v->unk);
    ruvm_buffer_u16(out, longest);
    ruvm_buffer_u32(out, text_bytes);
}

int ruvm_tokenizer_build(struct ruvm_buffer *out, const struct ruvm_vocab *v,
                         struct ruvm_error *err)
{
    uint16_t longest = 0;
    uint32_t text_bytes = 0;
    int rc = measure_text(v, &longest, &text_bytes, err);
    if (rc == RUVM_OK)
        rc = check_limits(v, err);
    if (rc != RUVM_OK)
        return rc;
    size_t start = out->size;
    struct entry *order = calloc((size_t)v->n_pieces + 1, sizeof *order);
    if (!order)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n_pieces);
    for (uint32_t i = 0; i < v->n_pieces; i++)
        order[i] = (struct entry){&v->pieces[i], (uint16_t)i};
    add_header(out, v, longest, text_bytes);
    add_arrays(out, v, order);
    if (has_more(v)) {
        ruvm_buffer_zeros(out, (0 - (out->size - start)) & 3);
        add_more(out, v, order);
    }
    free(order);
    if (!ruvm_buffer_ok(out))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tokenizer");
    return RUVM_OK;
}
