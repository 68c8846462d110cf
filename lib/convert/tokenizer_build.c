/* Turns a vocabulary into the arrays of the `tokn` section.
 *
 * A chip compares no floats: scores become dense ranks, best first. It has no
 * hash table either: the pieces that the encoder may find are sorted by their
 * bytes for a binary search, and every byte has its fallback looked up here.
 */
#include "lib/convert/tokenizer_build.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

enum { KIND_SCORE_MERGES = 1 };

/* What is sorted: qsort passes no context, so an entry carries what it is compared by. */
struct entry {
    const struct ruvm_piece *piece;
    uint16_t id;
};

static bool is_findable(const struct ruvm_piece *p)
{
    return p->kind == RUVM_PIECE_NORMAL && p->n_bytes > 0;
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
        if (p->n_bytes != 1 || p->kind == RUVM_PIECE_CONTROL)
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
    add_ranks(out, order, v->n_pieces);
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

static int measure_text(const struct ruvm_vocab *v, uint16_t *longest, uint32_t *text_bytes,
                        struct ruvm_error *err)
{
    uint64_t total = 0;
    uint32_t most = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        total += v->pieces[i].n_bytes;
        most = v->pieces[i].n_bytes > most ? v->pieces[i].n_bytes : most;
    }
    if (v->n_pieces > RUVM_NO_TOKEN || most > UINT16_MAX || total > INT32_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "tokenizer: %u pieces, the longest of %u "
                         "bytes: an image holds at most %d pieces of %d bytes",
                         v->n_pieces, most, RUVM_NO_TOKEN, UINT16_MAX);
    *longest = (uint16_t)most;
    *text_bytes = (uint32_t)total;
    return RUVM_OK;
}

static void add_header(struct ruvm_buffer *out, const struct ruvm_vocab *v, uint16_t longest,
                       uint32_t text_bytes)
{
    unsigned flags = (v->add_bos ? RUVM_TOKN_FLAG_ADD_BOS : 0u) |
                     (v->space_prefix ? RUVM_TOKN_FLAG_SPACE_PREFIX : 0u);
    ruvm_buffer_u8(out, KIND_SCORE_MERGES);
    ruvm_buffer_u8(out, (uint8_t)flags);
    ruvm_buffer_u16(out, (uint16_t)v->n_pieces);
    ruvm_buffer_u16(out, v->bos);
    ruvm_buffer_u16(out, v->eos);
    ruvm_buffer_u16(out, v->unk);
    ruvm_buffer_u16(out, longest);
    ruvm_buffer_u32(out, text_bytes);
}

int ruvm_tokenizer_build(struct ruvm_buffer *out, const struct ruvm_vocab *v,
                         struct ruvm_error *err)
{
    uint16_t longest = 0;
    uint32_t text_bytes = 0;
    int rc = measure_text(v, &longest, &text_bytes, err);
    if (rc != RUVM_OK)
        return rc;
    struct entry *order = calloc((size_t)v->n_pieces + 1, sizeof *order);
    if (!order)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n_pieces);
    for (uint32_t i = 0; i < v->n_pieces; i++)
        order[i] = (struct entry){&v->pieces[i], (uint16_t)i};
    add_header(out, v, longest, text_bytes);
    add_arrays(out, v, order);
    free(order);
    if (!ruvm_buffer_ok(out))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tokenizer");
    return RUVM_OK;
}
