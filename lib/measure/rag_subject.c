/* Subject: floats first, whatever they come from, then the codes that are asked for. */
#include "lib/measure/rag_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/bundle/codes.h"
#include "lib/bundle/pack_open.h"
#include "lib/bundle/pq_learn.h"
#include "lib/vector/search.h"

enum { DEFAULT_N = 10000, DEFAULT_DIMS = 64, DEFAULT_QUERIES = 500 };
enum { NEIGHBOURS = 10, ALIGN = 64 };
#define MOST_RADIUS 8.0 /* of points in hyperbolic space; codes are good up to 10 */

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "out of memory for the vectors");
}

static unsigned find(const char *(*name)(unsigned), const char *wanted)
{
    unsigned i = 0;
    while (name(i) && strcmp(name(i), wanted) != 0)
        i++;
    return i;
}

static int choose(struct ruvm_rag_subject *s, const struct ruvm_bench_rag_options *o,
                  struct ruvm_error *err)
{
    s->metric = s->has_rag ? s->rag.metric : RUVM_METRIC_COSINE;
    s->type = s->has_rag ? s->rag.type : RUVM_VECTOR_INT8;
    if (o->metric)
        s->metric = find(ruvm_codes_metric_name, o->metric);
    if (o->type)
        s->type = find(ruvm_codes_type_name, o->type);
    if (s->metric >= RUVM_N_METRICS || s->type >= RUVM_N_VECTOR_TYPES)
        return ruvm_fail(err, RUVM_ERR_ARG, "there is no metric %s or no type %s",
                         o->metric ? o->metric : "", o->type ? o->type : "");
    /* a graph for rows of PQ cannot be made of these alone */
    bool can_link = s->type != RUVM_VECTOR_PQ || s->rag.n_levels > 0;
    s->is_own = s->has_rag && s->metric == s->rag.metric && s->type == s->rag.type && can_link;
    if (s->has_rag && !s->is_own && s->rag.metric >= RUVM_METRIC_POINCARE)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: its points are hyperbolic: only its own metric and type say anything",
                         o->blob);
    return RUVM_OK;
}

/* ---- points -------------------------------------------------------------------- */

/* A flat vector as a point: its direction, and its length as distance from the origin. */
static void place(float *x, uint32_t dims, unsigned metric)
{
    double square = 0;
    for (uint32_t i = 0; i < dims; i++)
        square += (double)x[i] * (double)x[i];
    double r = sqrt(square), radius = fmin(r, MOST_RADIUS);
    double length = metric == RUVM_METRIC_POINCARE ? tanh(radius / 2) : sinh(radius);
    for (uint32_t i = 0; i < dims; i++)
        x[i] = r > 0 ? (float)((double)x[i] * length / r) : 0;
}

static void place_all(struct ruvm_rag_subject *s)
{
    bool flat = !s->has_rag || s->rag.metric < RUVM_METRIC_POINCARE;
    if (s->metric < RUVM_METRIC_POINCARE || !flat)
        return;
    for (size_t i = 0; i < (size_t)s->n + s->n_queries; i++)
        place(s->x + i * s->dims, s->dims, s->metric);
}

/* ---- of a blob ------------------------------------------------------------------- */

static int open_blob(struct ruvm_rag_subject *s, const char *path, struct ruvm_error *err)
{
    struct ruvm_rag_fault fault;
    int rc = ruvm_file_map(&s->map, path, err);
    if (rc != RUVM_OK)
        return rc;
    s->has_rag = true;
    if (s->map.size < RUVM_RAG_HDR_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: %zu bytes are no knowledge blob", path,
                         s->map.size);
    const uint8_t *blob = s->map.data;
    size_t bytes = s->map.size;
    rc = ruvm_pack_open_knowledge(&blob, &bytes, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_rag_open(&s->rag, blob, bytes, &fault);
    if (rc == RUVM_OK)
        rc = ruvm_rag_check(&s->rag, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: %s%sbyte %u: %s: make the blob again, or copy it again",
                         path, fault.section, *fault.section ? " " : "", (unsigned)fault.off,
                         fault.what);
    if (s->rag.n - s->rag.n_deleted < 2)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "%s: has %u vectors: a measurement needs two: add to it", path,
                         (unsigned)(s->rag.n - s->rag.n_deleted));
    return RUVM_OK;
}

/* Between vector id and one of its neighbours: the middle; bits are of the one or the other. */
static void draw_between(const struct ruvm_rag_subject *s, const struct ruvm_vectors *set,
                         uint32_t id, uint64_t *state, float *x)
{
    uint64_t memory[NEIGHBOURS + 1];
    struct ruvm_hit hits[NEIGHBOURS + 1];
    struct ruvm_search search = {.k = NEIGHBOURS + 1, .deleted = s->rag.part[RUVM_RAG_DEAD].data};
    struct ruvm_vector_query q;
    float other[RUVM_RAG_MAX_DIMS];
    _Alignas(16) int8_t codes[RUVM_RAG_MAX_DIMS];
    if (set->type == RUVM_VECTOR_PQ) {
        ruvm_pq_read(set, set->rows + (size_t)id * set->row_bytes, codes);
        ruvm_vectors_query(&q, set, codes, NULL);
    } else {
        ruvm_vectors_query_row(&q, set, id);
    }
    int n = ruvm_search_scan(set, &q, &search, memory, sizeof memory, hits);
    uint64_t drawn = ruvm_random_next(state);
    ruvm_codes_read(set, id, x);
    ruvm_codes_read(set, hits[drawn % (unsigned)n].id, other);
    for (uint32_t i = 0; i < s->dims; i++) {
        if (set->type != RUVM_VECTOR_BINARY)
            x[i] = (x[i] + other[i]) / 2;
        else if (ruvm_random_next(state) & 1)
            x[i] = other[i];
    }
}

static int read_blob(struct ruvm_rag_subject *s, uint64_t seed, struct ruvm_error *err)
{
    struct ruvm_vectors set = ruvm_vectors_of(&s->rag, ruvm_vector_kernels_select(NULL));
    uint32_t *live = malloc(s->rag.n * sizeof *live), n = 0;
    s->x = malloc(((size_t)s->n + s->n_queries) * s->dims * sizeof *s->x);
    if (!live || !s->x) {
        free(live);
        return no_memory(err);
    }
    for (uint32_t i = 0; i < s->rag.n; i++)
        if (!ruvm_rag_is_deleted(&s->rag, i))
            live[n++] = i;
    for (uint32_t i = 0; i < n; i++)
        ruvm_codes_read(&set, live[i], s->x + (size_t)i * s->dims);
    for (uint32_t i = 0; i < s->n_queries; i++)
        draw_between(s, &set, live[(uint64_t)i * n / s->n_queries], &seed,
                     s->x + ((size_t)n + i) * s->dims);
    free(live);
    return RUVM_OK;
}

/* ---- the whole ------------------------------------------------------------------- */

static int read_vectors(struct ruvm_rag_subject *s, const struct ruvm_bench_rag_options *o,
                        struct ruvm_error *err)
{
    uint64_t seed = o->seed ? o->seed : 1;
    s->n_queries = o->n_queries ? o->n_queries : DEFAULT_QUERIES;
    if (s->has_rag) {
        s->n = s->rag.n - s->rag.n_deleted;
        s->dims = s->rag.dims;
        s->n_queries = s->n_queries < s->n ? s->n_queries : s->n;
        return read_blob(s, seed, err);
    }
    s->n = o->n ? o->n : DEFAULT_N;
    s->dims = o->dims ? o->dims : DEFAULT_DIMS;
    if (s->n < 2 || s->n > RUVM_RAG_MAX_VECTORS || s->dims < RUVM_RAG_MIN_DIMS ||
        s->dims > RUVM_RAG_MAX_DIMS)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "%u vectors of %u dimensions: choose 2 to %d of %d to %d", (unsigned)s->n,
                         (unsigned)s->dims, RUVM_RAG_MAX_VECTORS, RUVM_RAG_MIN_DIMS,
                         RUVM_RAG_MAX_DIMS);
    size_t all = (size_t)s->n + s->n_queries;
    s->x = malloc(all * s->dims * sizeof *s->x);
    return s->x && ruvm_rag_subject_draw(s->x, all, s->dims, seed) ? RUVM_OK : no_memory(err);
}

int ruvm_rag_subject_open(struct ruvm_rag_subject *s, const struct ruvm_bench_rag_options *o,
                          struct ruvm_error *err)
{
    *s = (struct ruvm_rag_subject){0};
    int rc = o->blob ? open_blob(s, o->blob, err) : RUVM_OK;
    if (rc == RUVM_OK)
        rc = choose(s, o, err);
    if (rc == RUVM_OK)
        rc = read_vectors(s, o, err);
    if (rc == RUVM_OK)
        place_all(s);
    if (rc != RUVM_OK)
        ruvm_rag_subject_free(s);
    return rc;
}

void ruvm_rag_subject_free(struct ruvm_rag_subject *s)
{
    free(s->x);
    free(s->rows);
    free(s->sides);
    free(s->query_rows);
    free(s->query_sides);
    free(s->pq_rows);
    free(s->pq_sides);
    free(s->book);
    if (s->has_rag)
        ruvm_file_unmap(&s->map);
    *s = (struct ruvm_rag_subject){0};
}

/* ---- codes ----------------------------------------------------------------------- */

/* Zeroed, with a little behind the end: a set without sides has memory as well. */
static uint8_t *take(size_t n, size_t bytes)
{
    size_t size = (n * bytes + 2 * ALIGN) / ALIGN * ALIGN;
    uint8_t *p = aligned_alloc(ALIGN, size);
    if (p)
        memset(p, 0, size);
    return p;
}

static int encode(const struct ruvm_vectors *set, const float *x, uint32_t n, uint8_t *rows,
                  uint8_t *sides, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++)
        rc = ruvm_codes_row(set, x + (size_t)i * set->dims, rows + (size_t)i * set->row_bytes,
                            sides + (size_t)i * set->side_bytes, err);
    return rc;
}

/* The int8 codes or bits of all vectors and queries, with the unit of a blob's own set. */
static int encode_plain(struct ruvm_rag_subject *s, struct ruvm_error *err)
{
    unsigned type = s->type == RUVM_VECTOR_PQ ? RUVM_VECTOR_INT8 : s->type;
    struct ruvm_vectors *set = &s->linked;
    int rc = ruvm_codes_shape(set, type, s->metric, s->dims, s->x, s->n, err);
    if (rc != RUVM_OK)
        return rc;
    if (s->is_own) {
        set->unit = s->rag.unit;
        set->unit_exp = s->rag.unit_exp;
    }
    s->rows = take(s->n, set->row_bytes);
    s->sides = take(s->n, set->side_bytes);
    s->query_rows = take(s->n_queries, set->row_bytes);
    s->query_sides = take(s->n_queries, set->side_bytes);
    if (!s->rows || !s->sides || !s->query_rows || !s->query_sides)
        return no_memory(err);
    s->queries = *set;
    s->queries.rows = s->query_rows;
    s->queries.side = set->side_bytes ? s->query_sides : NULL;
    s->queries.n = s->n_queries;
    set->rows = s->rows;
    set->side = set->side_bytes ? s->sides : NULL;
    set->n = s->n;
    rc = encode(set, s->x, s->n, s->rows, s->sides, err);
    return rc == RUVM_OK ? encode(set, s->x + (size_t)s->n * s->dims, s->n_queries, s->query_rows,
                                  s->query_sides, err)
                         : rc;
}

static int encode_pq(struct ruvm_rag_subject *s, struct ruvm_error *err)
{
    s->book = malloc(ruvm_rag_book_bytes(s->dims));
    int rc = s->book ? ruvm_pq_learn(s->book, &s->linked, err) : no_memory(err);
    if (rc == RUVM_OK)
        rc = ruvm_pq_learn_shape(&s->set, &s->linked, s->book, err);
    if (rc != RUVM_OK)
        return rc;
    s->pq_rows = take(s->n, s->set.row_bytes);
    s->pq_sides = take(s->n, s->set.side_bytes);
    if (!s->pq_rows || !s->pq_sides)
        return no_memory(err);
    for (uint32_t i = 0; i < s->n; i++)
        ruvm_pq_learn_row(&s->set, (const int8_t *)s->rows + (size_t)i * s->linked.row_bytes,
                          s->pq_rows + (size_t)i * s->set.row_bytes,
                          s->pq_sides + (size_t)i * s->set.side_bytes);
    s->set.rows = s->pq_rows;
    s->set.side = s->pq_sides;
    s->set.n = s->n;
    return RUVM_OK;
}

int ruvm_rag_subject_encode(struct ruvm_rag_subject *s, const struct ruvm_vector_kernels *kernels,
                            struct ruvm_error *err)
{
    int rc = encode_plain(s, err);
    s->linked.kernels = s->queries.kernels = kernels;
    if (rc != RUVM_OK)
        return rc;
    s->set = s->linked;
    if (s->is_own)
        s->set = ruvm_vectors_of(&s->rag, kernels);
    else if (s->type == RUVM_VECTOR_PQ)
        rc = encode_pq(s, err);
    /* a blob's own rows are linked as they are, but for those of PQ */
    if (s->is_own && s->type != RUVM_VECTOR_PQ)
        s->linked = s->set;
    return rc;
}
