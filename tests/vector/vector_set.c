/* Sets of vectors: clusters for the flat metrics, a tree for the hyperbolic ones. */
#include "tests/vector/vector_set.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/random.h"

const struct vector_sort vector_sorts[VECTOR_SORTS] = {
    {RUVM_VECTOR_INT8, RUVM_METRIC_COSINE},    {RUVM_VECTOR_INT8, RUVM_METRIC_EUCLIDEAN},
    {RUVM_VECTOR_INT8, RUVM_METRIC_DOT},       {RUVM_VECTOR_INT8, RUVM_METRIC_MANHATTAN},
    {RUVM_VECTOR_INT8, RUVM_METRIC_POINCARE},  {RUVM_VECTOR_INT8, RUVM_METRIC_LORENTZ},
    {RUVM_VECTOR_BINARY, RUVM_METRIC_COSINE},  {RUVM_VECTOR_BINARY, RUVM_METRIC_EUCLIDEAN},
    {RUVM_VECTOR_BINARY, RUVM_METRIC_DOT},     {RUVM_VECTOR_BINARY, RUVM_METRIC_MANHATTAN},
    {RUVM_VECTOR_BINARY, RUVM_METRIC_HAMMING},
};

static float normal(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += ruvm_random_unit(state);
    return (float)(sum - 6);
}

/* Around one of 16 centres, the first of which is drawn most. */
static void draw_flat(float *x, uint32_t dims, uint64_t seed, uint64_t *state)
{
    uint64_t centre = ruvm_random_next(state) % 16 * (ruvm_random_next(state) % 2), at;
    at = seed * 1000 + centre;
    for (uint32_t i = 0; i < dims; i++)
        x[i] = normal(&at) + 0.7f * normal(state) / sqrtf((float)(i + 1));
}

/* A direction near that of one of a few branches, and any radius up to 8. */
static void draw_point(float *x, unsigned metric, uint32_t dims, uint64_t seed, uint64_t *state)
{
    double square = 0, radius = 8 * ruvm_random_unit(state);
    draw_flat(x, dims, seed, state);
    for (uint32_t i = 0; i < dims; i++)
        square += (double)x[i] * (double)x[i];
    double length = metric == RUVM_METRIC_POINCARE ? tanh(radius / 2) : sinh(radius);
    for (uint32_t i = 0; i < dims; i++)
        x[i] = (float)((double)x[i] * length / sqrt(square));
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    cr_assert_not_null(p);
    memset(p, 0, (bytes + 64) / 64 * 64);
    return p;
}

void vector_set_make(struct vector_set *s, unsigned type, unsigned metric, uint32_t dims,
                     uint32_t n, uint64_t seed)
{
    struct ruvm_error err = {0};
    uint64_t state = seed;
    s->x = aligned((size_t)n * dims * sizeof *s->x);
    for (uint32_t i = 0; i < n; i++) {
        if (metric >= RUVM_METRIC_POINCARE)
            draw_point(s->x + (size_t)i * dims, metric, dims, seed, &state);
        else
            draw_flat(s->x + (size_t)i * dims, dims, seed, &state);
    }
    int rc = ruvm_codes_shape(&s->set, type, metric, dims, s->x, n, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    s->row = aligned((size_t)n * s->set.row_bytes);
    s->side = aligned((size_t)n * s->set.side_bytes);
    for (uint32_t i = 0; i < n; i++)
        cr_assert_eq(ruvm_codes_row(&s->set, s->x + (size_t)i * dims,
                                    s->row + (size_t)i * s->set.row_bytes,
                                    s->side + (size_t)i * s->set.side_bytes, &err),
                     RUVM_OK, "%s", err.text);
    s->set.rows = s->row;
    s->set.side = s->set.side_bytes ? s->side : NULL;
    s->set.n = n;
}

void vector_set_free(struct vector_set *s)
{
    free(s->x);
    free(s->row);
    free(s->side);
}

struct ruvm_vectors vector_set_first(const struct vector_set *s, uint32_t n)
{
    struct ruvm_vectors set = s->set;
    set.n = n;
    return set;
}

/* ---- blobs ----------------------------------------------------------------- */

static void add_texts(struct ruvm_rag_draft *d, struct ruvm_buffer *part)
{
    uint32_t heading = ruvm_rag_write_string(&part[RUVM_RAG_STRS], "heading=numbers", 15);
    const struct ruvm_rag_write_source source = {
        ruvm_rag_write_string(&part[RUVM_RAG_STRS], "numbers.txt", 11), RUVM_RAG_NONE, 7, 0x1234};
    ruvm_rag_write_source(&part[RUVM_RAG_SRCE], &source);
    for (uint32_t i = 0; i < d->n; i++) {
        struct ruvm_rag_write_chunk c = {(uint32_t)part[RUVM_RAG_TEXT].size, 0, 0, RUVM_RAG_NONE,
                                         0};
        ruvm_buffer_printf(&part[RUVM_RAG_TEXT], "number %u. ", (unsigned)i);
        c.bytes = (uint16_t)(part[RUVM_RAG_TEXT].size - c.off);
        c.meta = i % 3 ? RUVM_RAG_NONE : heading;
        c.expires = i % 5 ? 0 : 2000000000u + i;
        ruvm_rag_write_chunk(&part[RUVM_RAG_CHNK], &c);
    }
    ruvm_buffer_bytes(&part[RUVM_RAG_RCPE], "none", 4);
    d->n_sources = 1;
}

static void add_signs(const struct ruvm_vectors *set, struct ruvm_buffer *bits)
{
    uint32_t bytes = ruvm_rag_row_bytes(RUVM_VECTOR_BINARY, set->dims);
    for (uint32_t i = 0; set->type == RUVM_VECTOR_INT8 && i < set->n; i++)
        ruvm_vectors_code_signs(ruvm_buffer_zeros(bits, bytes),
                                (const int8_t *)set->rows + (size_t)i * set->row_bytes, set->dims,
                                bytes);
}

void vector_blob_make(struct vector_blob *b, const struct ruvm_vectors *set,
                      const struct ruvm_hnsw *g)
{
    struct ruvm_buffer part[RUVM_RAG_N_PARTS] = {0}, file = {0};
    struct ruvm_error err = {0};
    struct ruvm_rag_fault fault;
    struct ruvm_rag_draft d = {.metric = set->metric,
                               .type = set->type,
                               .dims = set->dims,
                               .n = set->n,
                               .unit = set->unit,
                               .unit_exp = set->unit_exp,
                               .ef = 32,
                               .generation = 1};
    add_texts(&d, part);
    add_signs(set, &part[RUVM_RAG_BITS]);
    ruvm_buffer_bytes(&part[RUVM_RAG_VECT], set->rows, (size_t)set->n * set->row_bytes);
    if (set->side_bytes)
        ruvm_buffer_bytes(&part[RUVM_RAG_SIDE], set->side, (size_t)set->n * set->side_bytes);
    if (set->book)
        ruvm_buffer_bytes(&part[RUVM_RAG_BOOK], set->book, ruvm_rag_book_bytes(set->dims));
    if (g) {
        cr_assert_eq(ruvm_hnsw_write(g, &part[RUVM_RAG_GRPH], &err), RUVM_OK, "%s", err.text);
        d.ef_build = (uint16_t)g->options.ef;
        d.n_deleted = g->n_deleted;
        if (g->n_deleted)
            ruvm_buffer_bytes(&part[RUVM_RAG_DEAD], g->deleted, (g->n + 7) / 8);
    }
    for (int i = 0; i < RUVM_RAG_N_PARTS; i++)
        d.part[i] = (struct ruvm_rag_part){part[i].data, (uint32_t)part[i].size};
    cr_assert_eq(ruvm_rag_write(&file, &d), RUVM_OK);
    b->data = aligned(file.size);
    b->size = file.size;
    memcpy(b->data, file.data, file.size);
    int rc = ruvm_rag_open(&b->rag, b->data, b->size, &fault);
    cr_assert_eq(rc, RUVM_OK, "%s: %s", fault.section, fault.what);
    for (int i = 0; i < RUVM_RAG_N_PARTS; i++)
        ruvm_buffer_free(&part[i]);
    ruvm_buffer_free(&file);
}

void vector_blob_build(struct vector_blob *b, const struct ruvm_vectors *set,
                       const struct ruvm_hnsw_options *options)
{
    struct ruvm_hnsw g;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_hnsw_init(&g, options, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_add(&g, set, NULL, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_finish(&g, set, &err), RUVM_OK, "%s", err.text);
    vector_blob_make(b, set, &g);
    cr_assert_eq(ruvm_hnsw_validate(&b->rag, NULL, &err), RUVM_OK, "%s", err.text);
    ruvm_hnsw_free(&g);
}

/* ---- the oracle ------------------------------------------------------------- */

/* Coordinate i of a row in units of its codes; a bit is -1 or 1. */
static double code_of(const struct ruvm_vectors *set, const uint8_t *row, uint32_t i)
{
    if (set->type == RUVM_VECTOR_BINARY)
        return row[i / 8] >> i % 8 & 1 ? 1 : -1;
    return (int8_t)row[i];
}

/* acosh of the product by long doubles, in the form that does not cancel. */
static double hyperbolic(long double n, long double m, long double product, const uint32_t *u,
                         const uint32_t *v)
{
    long double a = ldexpl(u[1], -24) * sqrtl(n), b = ldexpl(v[1], -24) * sqrtl(m);
    long double r = asinhl(a), s = asinhl(b), h = sinhl((r - s) / 2);
    long double away = 0;
    if (n > 0 && m > 0) {
        long double size = sqrtl(n * m);
        away = product < 0 ? 1 - product / size
                           : (n * m - product * product) / (size * (size + product));
    }
    return (double)(2 * asinhl(sqrtl(h * h + a * b * away / 2)));
}

double vector_set_distance(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                           uint32_t id)
{
    double n = 0, m = 0, product = 0, apart = 0, differ = 0, square = 0;
    double unit = ldexp(set->unit, set->unit_exp);
    uint32_t side[2];
    ruvm_vectors_side(set, id, side);
    for (uint32_t i = 0; i < set->dims; i++) {
        double a = code_of(set, q->row, i);
        double b = code_of(set, set->rows + (size_t)id * set->row_bytes, i);
        n += a * a;
        m += b * b;
        product += a * b;
        apart += fabs(a - b);
        square += (a - b) * (a - b);
        differ += a != b;
    }
    switch (set->metric) {
    case RUVM_METRIC_COSINE: return n > 0 && m > 0 ? 1 - product / sqrt(n * m) : 1;
    case RUVM_METRIC_EUCLIDEAN: return sqrt(square) * unit;
    case RUVM_METRIC_DOT:
        return -product * unit * unit *
               (set->type == RUVM_VECTOR_BINARY ? 1 : (double)q->side[0] * side[0]);
    case RUVM_METRIC_MANHATTAN: return apart * unit;
    case RUVM_METRIC_HAMMING: return differ;
    default: return hyperbolic((long double)n, (long double)m, (long double)product, q->side, side);
    }
}
