/* PQ learned: k-means of each four dimensions by themselves, in integers.
 *
 * Centres begin with rows that are spread evenly over a sample, and move to the rounded mean
 * of what is nearest to them. One that nothing is nearest to takes the place of the row that
 * is farthest from its own, so that no entry of the book is wasted.
 */
#include "lib/bundle/pq_learn.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

enum { DIMS = RUVM_RAG_BOOK_DIMS, ENTRIES = RUVM_RAG_BOOK_ENTRIES };
enum { SAMPLE = 1 << 13, ROUNDS = 12 };

int ruvm_pq_learn_shape(struct ruvm_vectors *pq, const struct ruvm_vectors *set, const int8_t *book,
                        struct ruvm_error *err)
{
    int rc = set->type == RUVM_VECTOR_INT8
                 ? ruvm_vectors_shape(pq, RUVM_VECTOR_PQ, set->metric, set->dims)
                 : RUVM_ERR_UNSUPPORTED;
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc,
                         "vectors: pq is of int8 vectors, cosine or Euclidean, in a multiple of 4 "
                         "dimensions, not %u: choose those, or int8",
                         (unsigned)set->dims);
    pq->unit = set->unit;
    pq->unit_exp = set->unit_exp;
    pq->kernels = set->kernels;
    pq->book = book;
    return RUVM_OK;
}

/* ---- nearest ------------------------------------------------------------------- */

/* Centres by coordinate, so that a machine compares several at once. */
struct centres {
    int16_t at[DIMS][ENTRIES];
};

static void spread_out(struct centres *c, const int8_t *entries)
{
    for (int i = 0; i < ENTRIES; i++)
        for (int d = 0; d < DIMS; d++)
            c->at[d][i] = entries[i * DIMS + d];
}

/* The first of the nearest; *square is its distance. */
static uint8_t nearest(const struct centres *c, const int8_t *x, int32_t *square)
{
    int32_t squares[ENTRIES] = {0};
    for (int d = 0; d < DIMS; d++)
        for (int i = 0; i < ENTRIES; i++) {
            int32_t gap = x[d] - c->at[d][i];
            squares[i] += gap * gap;
        }
    int best = 0;
    for (int i = 1; i < ENTRIES; i++)
        best = squares[i] < squares[best] ? i : best;
    *square = squares[best];
    return (uint8_t)best;
}

/* ---- learning ------------------------------------------------------------------- */

struct learning {
    uint32_t n;      /* of the sample */
    int8_t *sample;  /* [n, DIMS] of one part */
    uint8_t *own;    /* [n] centre */
    int32_t *square; /* [n] distance from it */
};

static void take_sample(struct learning *l, const struct ruvm_vectors *set, uint32_t part)
{
    for (uint32_t i = 0; i < l->n; i++) {
        size_t id = (uint64_t)i * set->n / l->n;
        memcpy(l->sample + (size_t)i * DIMS, set->rows + id * set->row_bytes + part * DIMS, DIMS);
    }
}

/* Whether a row changed its centre. */
static bool assign(struct learning *l, const int8_t *entries)
{
    struct centres c;
    bool changed = false;
    spread_out(&c, entries);
    for (uint32_t i = 0; i < l->n; i++) {
        uint8_t own = nearest(&c, l->sample + (size_t)i * DIMS, &l->square[i]);
        changed = changed || own != l->own[i];
        l->own[i] = own;
    }
    return changed;
}

static uint32_t farthest(const struct learning *l)
{
    uint32_t far = 0;
    for (uint32_t i = 1; i < l->n; i++)
        far = l->square[i] > l->square[far] ? i : far;
    return far;
}

/* To the nearest integer, halves away from 0. */
static int8_t mean_of(int32_t sum, int32_t n)
{
    return (int8_t)(sum < 0 ? -((2 * -sum + n) / (2 * n)) : (2 * sum + n) / (2 * n));
}

static void move(struct learning *l, int8_t *entries)
{
    int32_t sum[ENTRIES][DIMS] = {0}, count[ENTRIES] = {0};
    for (uint32_t i = 0; i < l->n; i++) {
        count[l->own[i]]++;
        for (int d = 0; d < DIMS; d++)
            sum[l->own[i]][d] += l->sample[(size_t)i * DIMS + (unsigned)d];
    }
    for (int i = 0; i < ENTRIES; i++) {
        if (count[i] == 0) {
            uint32_t far = farthest(l);
            memcpy(entries + i * DIMS, l->sample + (size_t)far * DIMS, DIMS);
            l->square[far] = 0;
            continue;
        }
        for (int d = 0; d < DIMS; d++)
            entries[i * DIMS + d] = mean_of(sum[i][d], count[i]);
    }
}

static void learn_part(struct learning *l, int8_t *entries)
{
    for (uint32_t i = 0; i < ENTRIES; i++)
        memcpy(entries + i * DIMS, l->sample + (size_t)((uint64_t)i * l->n / ENTRIES) * DIMS, DIMS);
    memset(l->own, 0, l->n);
    for (int i = 0; i < ROUNDS; i++) {
        if (!assign(l, entries))
            return;
        move(l, entries);
    }
}

int ruvm_pq_learn(int8_t *book, const struct ruvm_vectors *set, struct ruvm_error *err)
{
    struct ruvm_vectors pq;
    struct learning l = {.n = set->n < SAMPLE ? set->n : SAMPLE};
    int rc = ruvm_pq_learn_shape(&pq, set, book, err);
    if (rc != RUVM_OK)
        return rc;
    memset(book, 0, ruvm_rag_book_bytes(set->dims));
    if (l.n == 0)
        return RUVM_OK;
    l.sample = malloc((size_t)l.n * DIMS);
    l.own = malloc(l.n);
    l.square = malloc(l.n * sizeof *l.square);
    bool ok = l.sample && l.own && l.square;
    for (uint32_t part = 0; ok && part < ruvm_pq_parts(&pq); part++) {
        take_sample(&l, set, part);
        learn_part(&l, book + (size_t)part * ENTRIES * DIMS);
    }
    free(l.sample);
    free(l.own);
    free(l.square);
    return ok ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "vectors: out of memory for pq");
}

/* ---- rows -------------------------------------------------------------------------- */

void ruvm_pq_learn_row(const struct ruvm_vectors *pq, const int8_t *codes, uint8_t *row,
                       uint8_t *side)
{
    memset(row, 0, pq->row_bytes);
    for (uint32_t part = 0; part < ruvm_pq_parts(pq); part++) {
        struct centres c;
        int32_t square;
        spread_out(&c, pq->book + (size_t)part * ENTRIES * DIMS);
        row[part] = nearest(&c, codes + part * DIMS, &square);
    }
    uint32_t norm2 = ruvm_pq_norm2(pq, row);
    if (pq->metric == RUVM_METRIC_COSINE)
        ruvm_store_u16(side, ruvm_vectors_inverse(norm2));
    else
        ruvm_store_u32(side, norm2);
}
