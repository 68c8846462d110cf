/* bench rag: how fast a graph is built, and what its searches find how fast.
 *
 * The scan of the codes is the truth of the graph, and the floats are that of the codes: the
 * two losses are told apart. Everything that is compared takes turns, so that a machine that
 * is busy with other things slows all of it alike; one thread, as a chip has.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/bundle/codes.h"
#include "lib/measure/machine.h"
#include "lib/measure/rag_crossover.h"
#include "lib/measure/rag_index.h"
#include "lib/measure/rag_truth.h"
#include "lib/measure/roofs.h"
#include "lib/measure/spread.h"
#include "lib/vector/pq.h"

enum { DEFAULT_K = 10, DEFAULT_REPETITIONS = 5, MOST_REPETITIONS = 1000 };
enum { SCANNED = 50, FLOAT_QUERIES = 200, SIZE_QUERIES = 100, LEAST_SIZE = 64, REPORT_EACH = 64 };
enum { TIMED_BYTES = 1 << 20 }; /* that a scan for the clock reads at least */
#define DEFAULT_RECALL 0.95

static const uint32_t default_ef[] = {10, 14, 20, 28, 40, 56, 80, 112, 160, 240};

struct bench {
    struct ruvm_bench_rag_options o; /* without zeros */
    struct ruvm_bench_rag_result *r;
    struct ruvm_error *err;
    struct ruvm_rag_subject subject;
    struct ruvm_rag_index own;
    const struct ruvm_rag *rag; /* whose graph is measured */
    const uint8_t *deleted;
    struct ruvm_roofs roofs;
    struct ruvm_hit *truth; /* [n_queries, k] */
    uint32_t *n_truth;      /* [n_queries] */
    void *memory;           /* of any search */
    size_t memory_bytes;
    double *seconds; /* [n_points + 2, repetitions] */
    int32_t *table;  /* of PQ; NULL: another type */
};

static int report(const struct bench *b, const char *stage, uint64_t done, uint64_t total)
{
    const struct ruvm_progress *p = &b->o.progress;
    if (p->report && p->report(p->user, stage, done, total))
        return ruvm_fail(b->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

static int no_memory(const struct bench *b)
{
    return ruvm_fail(b->err, RUVM_ERR_MEMORY, "out of memory");
}

/* ---- the graph ------------------------------------------------------------------- */

static bool tell(void *context, uint32_t done, uint32_t n)
{
    const struct bench *b = context;
    return report(b, "graph", done, n) == RUVM_OK;
}

/* The graph of the first set->n vectors. */
static int build(struct bench *b, struct ruvm_rag_index *x, const struct ruvm_vectors *set,
                 const struct ruvm_hnsw_progress *progress)
{
    struct ruvm_vectors linked = b->subject.linked;
    linked.n = linked.n < set->n ? linked.n : set->n;
    x->options = (struct ruvm_hnsw_options){b->o.degree, b->o.degree_above, b->o.ef_build};
    int rc = ruvm_rag_index_build(x, set, &linked, progress, b->err);
    b->o.degree = x->options.degree_0;
    b->o.degree_above = x->options.degree;
    b->o.ef_build = x->options.ef;
    return rc;
}

/* The blob's own graph is measured where there is one, whatever was built for the clock. */
static int build_whole(struct bench *b)
{
    struct ruvm_bench_rag_result *r = b->r;
    struct ruvm_rag_subject *s = &b->subject;
    struct ruvm_hnsw_report found;
    if (s->is_own && s->rag.n_levels && !b->o.degree) {
        b->o.degree = s->rag.level[0].degree;
        b->o.degree_above = s->rag.part[RUVM_RAG_GRPH].data[RUVM_GRPH_DEGREE];
        b->o.ef_build = b->o.ef_build ? b->o.ef_build : s->rag.ef_build;
    }
    r->is_own_graph = s->is_own && s->rag.n_levels;
    const struct ruvm_hnsw_progress progress = {tell, b};
    int rc = build(b, &b->own, r->is_own_graph ? &s->linked : &s->set, &progress);
    if (rc != RUVM_OK)
        return rc;
    r->build_s = b->own.build_s;
    b->rag = r->is_own_graph ? &s->rag : &b->own.rag;
    b->deleted = s->is_own ? s->rag.part[RUVM_RAG_DEAD].data : NULL;
    rc = ruvm_hnsw_validate(b->rag, &found, b->err);
    r->n_reached = found.n_reached;
    r->build_vectors_per_s = s->linked.n / r->build_s;
    return rc;
}

/* ---- searches ---------------------------------------------------------------------- */

static struct ruvm_search search_of(const struct bench *b, uint32_t ef)
{
    return (struct ruvm_search){.k = b->o.k, .ef = ef, .deleted = b->deleted};
}

/* A scan of PQ uses a table, which a walk along a graph is too short for. */
static int scan(const struct bench *b, const struct ruvm_vectors *set, uint32_t query,
                struct ruvm_hit *hits)
{
    struct ruvm_search s = search_of(b, b->o.k);
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, &b->subject.queries, query);
    q.table = b->table;
    if (b->table)
        ruvm_pq_table(set, (const int8_t *)q.row, b->table);
    return ruvm_search_scan(set, &q, &s, b->memory, b->memory_bytes, hits);
}

static int walk(const struct bench *b, const struct ruvm_rag *rag, const struct ruvm_vectors *set,
                uint32_t query, struct ruvm_search *s, struct ruvm_hit *hits)
{
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, &b->subject.queries, query);
    return ruvm_search_graph(rag, set, &q, s, b->memory, b->memory_bytes, hits);
}

/* Scans all queries; their hits are the truth from then on. */
static int find_truth(struct bench *b, const struct ruvm_vectors *set, uint32_t n_queries)
{
    for (uint32_t i = 0; i < n_queries; i++) {
        int n = scan(b, set, i, b->truth + (size_t)i * b->o.k);
        if (n < 0)
            return ruvm_fail(b->err, n, "the vectors cannot be searched");
        b->n_truth[i] = (uint32_t)n;
        if (i % REPORT_EACH == 0 && report(b, "truth", i, n_queries) != RUVM_OK)
            return RUVM_ERR_IO;
    }
    return RUVM_OK;
}

/* Hits that are no farther than the last one of the truth: of equally near ones any will do. */
static uint32_t count_found(const struct bench *b, uint32_t query, const struct ruvm_hit *hits,
                            int n)
{
    uint32_t found = 0, n_truth = b->n_truth[query];
    for (int i = 0; i < n && n_truth; i++)
        found += hits[i].key <= b->truth[(size_t)query * b->o.k + n_truth - 1].key;
    return found;
}

/* Recall and rows compared of one ef; the time is not looked at. */
static int measure_found(struct bench *b, const struct ruvm_rag *rag,
                         const struct ruvm_vectors *set, uint32_t n_queries,
                         struct ruvm_bench_rag_point *p)
{
    struct ruvm_hit hits[RUVM_SEARCH_MAX_EF];
    uint64_t found = 0, all = 0, distances = 0;
    p->distances_max = 0;
    for (uint32_t i = 0; i < n_queries; i++) {
        struct ruvm_search s = search_of(b, p->ef);
        int n = walk(b, rag, set, i, &s, hits);
        if (n < 0)
            return ruvm_fail(b->err, n, "the graph cannot be walked");
        found += count_found(b, i, hits, n);
        all += b->n_truth[i];
        distances += s.n_distances;
        p->distances_max = s.n_distances > p->distances_max ? s.n_distances : p->distances_max;
    }
    p->recall = all ? (double)found / (double)all : 1;
    p->distances = (double)distances / n_queries;
    return RUVM_OK;
}

static double time_walks(const struct bench *b, const struct ruvm_rag *rag,
                         const struct ruvm_vectors *set, uint32_t ef, uint32_t n_queries)
{
    struct ruvm_hit hits[RUVM_SEARCH_MAX_EF];
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < n_queries; i++) {
        struct ruvm_search s = search_of(b, ef);
        walk(b, rag, set, i, &s, hits);
    }
    return (ruvm_clock_s() - start) / n_queries;
}

static double time_scans(const struct bench *b, const struct ruvm_vectors *set, uint32_t n_queries)
{
    struct ruvm_hit hits[RUVM_SEARCH_MAX_EF];
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < n_queries; i++)
        scan(b, set, i % b->subject.n_queries, hits);
    return (ruvm_clock_s() - start) / n_queries;
}

/* ---- the curve --------------------------------------------------------------------- */

/* RAM of a search on a chip: what it works in, the query, and the hits. */
static uint32_t chip_bytes(const struct bench *b, size_t search_bytes)
{
    const struct ruvm_vectors *set = &b->subject.set;
    return (uint32_t)(search_bytes + ruvm_vectors_query_bytes(set) +
                      sizeof(struct ruvm_vector_query) + b->o.k * sizeof(struct ruvm_hit));
}

/* Scans that the clock can tell: of small sets, several. */
static uint32_t timed_scans(const struct bench *b)
{
    const struct ruvm_vectors *set = &b->subject.set;
    uint64_t bytes = (uint64_t)set->n * set->row_bytes, n = TIMED_BYTES / bytes + 1;
    n = n < SCANNED ? SCANNED : n;
    return n < b->subject.n_queries || bytes < TIMED_BYTES / SCANNED ? (uint32_t)n
                                                                     : b->subject.n_queries;
}

static int measure_rounds(struct bench *b)
{
    const struct ruvm_vectors *set = &b->subject.set;
    uint32_t n = b->o.repetitions;
    for (uint32_t i = 0; i < n; i++) {
        if (report(b, "searches", i, n) != RUVM_OK)
            return RUVM_ERR_IO;
        ruvm_roofs_measure(&b->roofs, i);
        b->seconds[(size_t)b->o.n_points * n + i] = time_scans(b, set, timed_scans(b));
        for (uint32_t p = 0; p < b->o.n_points; p++)
            b->seconds[(size_t)p * n + i] =
                time_walks(b, b->rag, set, b->o.ef[p], b->subject.n_queries);
    }
    return RUVM_OK;
}

/* Seconds become rates. */
static struct ruvm_spread rates_of(double *seconds, uint32_t n, double units)
{
    for (uint32_t i = 0; i < n; i++)
        seconds[i] = units / seconds[i];
    return ruvm_spread_of(seconds, n);
}

/* The nearest memory that the rows fit into. */
static void find_roof(struct bench *b, uint64_t bytes)
{
    struct ruvm_bench_roofs roofs;
    uint32_t level = 0;
    ruvm_roofs_report(&b->roofs, &roofs, b->o.repetitions);
    while (level + 1 < roofs.n_levels && roofs.levels[level].bytes < bytes)
        level++;
    snprintf(b->r->roof, sizeof b->r->roof, "%s", roofs.levels[level].name);
    b->r->roof_gb_per_s = roofs.levels[level].gb_per_s;
}

/* The point that reaches the wanted recall first, or the last. */
static const struct ruvm_bench_rag_point *good_point(const struct bench *b)
{
    uint32_t i = 0;
    while (i + 1 < b->r->n_points && b->r->points[i].recall < b->o.recall)
        i++;
    return &b->r->points[i];
}

static void note_rates(struct bench *b)
{
    struct ruvm_bench_rag_result *r = b->r;
    const struct ruvm_vectors *set = &b->subject.set;
    uint32_t n = b->o.repetitions;
    uint64_t bytes = (uint64_t)set->n * set->row_bytes;
    r->scan_queries_per_s = rates_of(b->seconds + (size_t)b->o.n_points * n, n, 1);
    r->scan_gb_per_s = ruvm_spread_scaled(r->scan_queries_per_s, (double)bytes * 1e-9);
    for (uint32_t i = 0; i < r->n_points; i++)
        r->points[i].queries_per_s = rates_of(b->seconds + (size_t)i * n, n, 1);
    const struct ruvm_bench_rag_point *p = good_point(b);
    r->row_cost = r->scan_queries_per_s.median * set->n / (p->queries_per_s.median * p->distances);
    find_roof(b, bytes);
}

static int measure_curve(struct bench *b)
{
    struct ruvm_bench_rag_result *r = b->r;
    const struct ruvm_vectors *set = &b->subject.set;
    struct ruvm_search s = search_of(b, b->o.k);
    int rc = find_truth(b, set, b->subject.n_queries);
    size_t table_bytes = b->table ? ruvm_pq_table_bytes(set) : 0;
    r->scan_chip_bytes = chip_bytes(b, ruvm_search_bytes(&s, 0) + table_bytes);
    r->n_points = b->o.n_points;
    for (uint32_t i = 0; rc == RUVM_OK && i < r->n_points; i++) {
        struct ruvm_bench_rag_point *p = &r->points[i];
        p->ef = s.ef = b->o.ef[i];
        p->chip_bytes = chip_bytes(b, ruvm_search_bytes(&s, set->n));
        rc = measure_found(b, b->rag, set, b->subject.n_queries, p);
    }
    if (rc == RUVM_OK)
        rc = measure_rounds(b);
    if (rc == RUVM_OK)
        note_rates(b);
    return rc;
}

static int measure_codes(struct bench *b)
{
    struct ruvm_rag_subject *s = &b->subject;
    uint32_t n = s->n_queries < FLOAT_QUERIES ? s->n_queries : FLOAT_QUERIES;
    if (s->has_rag || s->n < b->o.k || s->metric == RUVM_METRIC_HAMMING)
        return RUVM_OK;
    int rc = report(b, "codes", 0, 1);
    b->r->code_recall = rc == RUVM_OK ? ruvm_rag_truth_recall(s, n, b->truth, b->o.k) : 0;
    b->r->has_code_recall = true;
    return b->r->code_recall < 0 ? no_memory(b) : rc;
}

/* ---- scan or graph ------------------------------------------------------------------ */

/* Finds the smallest ef of the curve that is good enough for the first n vectors. */
static int find_ef(struct bench *b, const struct ruvm_rag_index *x, const struct ruvm_vectors *set,
                   uint32_t n_queries, struct ruvm_bench_rag_size *size)
{
    struct ruvm_bench_rag_point p = {0};
    int rc = find_truth(b, set, n_queries);
    for (uint32_t i = 0; rc == RUVM_OK && i < b->o.n_points && p.recall < b->o.recall; i++) {
        p.ef = b->o.ef[i];
        rc = measure_found(b, &x->rag, set, n_queries, &p);
    }
    size->ef = p.ef;
    return rc;
}

static int measure_size(struct bench *b, uint32_t n, struct ruvm_bench_rag_size *size)
{
    struct ruvm_vectors set = b->subject.set;
    struct ruvm_rag_index x = {0};
    uint32_t n_queries = b->subject.n_queries < SIZE_QUERIES ? b->subject.n_queries : SIZE_QUERIES;
    double *scans = b->seconds, *walks = b->seconds + b->o.repetitions;
    size->n = set.n = n;
    int rc = build(b, &x, &set, NULL);
    if (rc == RUVM_OK)
        rc = find_ef(b, &x, &set, n_queries, size);
    for (uint32_t i = 0; rc == RUVM_OK && i < b->o.repetitions; i++) {
        scans[i] = time_scans(b, &set, n_queries);
        walks[i] = time_walks(b, &x.rag, &set, size->ef, n_queries);
    }
    if (rc == RUVM_OK) {
        size->scan_us = ruvm_spread_scaled(ruvm_spread_of(scans, b->o.repetitions), 1e6);
        size->graph_us = ruvm_spread_scaled(ruvm_spread_of(walks, b->o.repetitions), 1e6);
    }
    ruvm_rag_index_free(&x);
    return rc;
}

/* Sizes double until the graph is faster twice in a row: one time may be luck. */
static int measure_sizes(struct bench *b)
{
    struct ruvm_bench_rag_result *r = b->r;
    int rc = RUVM_OK;
    uint32_t faster = 0;
    b->deleted = NULL;
    for (uint32_t n = LEAST_SIZE; n <= b->subject.set.n && faster < 2; n *= 2) {
        struct ruvm_bench_rag_size *size = &r->sizes[r->n_sizes];
        rc = report(b, "sizes", r->n_sizes, RUVM_BENCH_RAG_POINTS);
        if (rc == RUVM_OK)
            rc = measure_size(b, n, size);
        if (rc != RUVM_OK)
            return rc;
        r->n_sizes++;
        faster = size->graph_us.median < size->scan_us.median ? faster + 1 : 0;
    }
    r->crossover = ruvm_rag_crossover(r->sizes, r->n_sizes);
    return rc;
}

/* ---- the whole ---------------------------------------------------------------------- */

static void fill_options(struct ruvm_bench_rag_options *o)
{
    o->k = o->k ? o->k : DEFAULT_K;
    o->repetitions = o->repetitions ? o->repetitions : DEFAULT_REPETITIONS;
    o->recall = o->recall > 0 ? o->recall : DEFAULT_RECALL;
    if (o->n_points)
        return;
    o->n_points = sizeof default_ef / sizeof *default_ef;
    memcpy(o->ef, default_ef, sizeof default_ef);
}

static int check_options(const struct ruvm_bench_rag_options *o, struct ruvm_error *err)
{
    if (o->k > RUVM_SEARCH_MAX_EF || o->repetitions > MOST_REPETITIONS ||
        o->n_points > RUVM_BENCH_RAG_POINTS)
        return ruvm_fail(err, RUVM_ERR_ARG, "too many hits, repetitions or points");
    for (uint32_t i = 0; i < o->n_points; i++)
        if (o->ef[i] < 1 || o->ef[i] > RUVM_SEARCH_MAX_EF)
            return ruvm_fail(err, RUVM_ERR_ARG, "ef %u: choose 1 to %d", (unsigned)o->ef[i],
                             RUVM_SEARCH_MAX_EF);
    return RUVM_OK;
}

static int take_memory(struct bench *b)
{
    const struct ruvm_bench_rag_options *o = &b->o;
    size_t n = b->subject.n_queries, times = (size_t)o->n_points + 2;
    struct ruvm_search s = search_of(b, RUVM_SEARCH_MAX_EF);
    static const uint8_t any;
    s.deleted = &any; /* the most that a search may need */
    b->memory_bytes = ruvm_search_bytes(&s, b->subject.set.n);
    b->memory = malloc(b->memory_bytes);
    b->truth = calloc(n * o->k, sizeof *b->truth);
    b->n_truth = calloc(n, sizeof *b->n_truth);
    b->seconds = calloc(times * o->repetitions, sizeof *b->seconds);
    bool is_pq = b->subject.set.type == RUVM_VECTOR_PQ;
    b->table = is_pq ? malloc(ruvm_pq_table_bytes(&b->subject.set)) : NULL;
    if (!b->memory || !b->truth || !b->n_truth || !b->seconds || (is_pq && !b->table))
        return no_memory(b);
    return ruvm_roofs_open(&b->roofs, o->repetitions, b->err);
}

static void note_subject(struct bench *b)
{
    struct ruvm_bench_rag_result *r = b->r;
    const struct ruvm_rag_subject *s = &b->subject;
    if (b->o.blob)
        snprintf(r->subject, sizeof r->subject, "%s", b->o.blob);
    else
        snprintf(r->subject, sizeof r->subject, "synthetic %u,%u", (unsigned)s->n,
                 (unsigned)s->dims);
    snprintf(r->metric, sizeof r->metric, "%s", ruvm_codes_metric_name(s->metric));
    snprintf(r->type, sizeof r->type, "%s", ruvm_codes_type_name(s->type));
    snprintf(r->kernels, sizeof r->kernels, "%s", s->set.kernels->name);
    r->n = s->n;
    r->dims = s->dims;
    r->k = b->o.k;
    r->n_queries = s->n_queries;
}

static void note_graph(struct bench *b)
{
    struct ruvm_bench_rag_result *r = b->r;
    const struct ruvm_vectors *set = &b->subject.set;
    r->degree = b->rag->level[0].degree;
    r->degree_above = b->rag->part[RUVM_RAG_GRPH].data[RUVM_GRPH_DEGREE];
    r->ef_build = r->is_own_graph ? b->rag->ef_build : b->o.ef_build;
    r->levels = b->rag->n_levels;
    r->vector_bytes = (uint64_t)set->n * set->row_bytes;
    r->book_bytes = set->book ? ruvm_rag_book_bytes(set->dims) : 0;
    r->side_bytes = (uint64_t)set->n * set->side_bytes;
    r->graph_bytes = b->rag->part[RUVM_RAG_GRPH].bytes;
}

static int run(struct bench *b)
{
    const struct ruvm_vector_kernels *kernels = ruvm_vector_kernels_select(b->o.kernels);
    if (!kernels)
        return ruvm_fail(b->err, RUVM_ERR_UNSUPPORTED,
                         "this machine has no kernels '%s' of vector search", b->o.kernels);
    int rc = ruvm_rag_subject_encode(&b->subject, kernels, b->err);
    if (rc == RUVM_OK)
        rc = take_memory(b);
    if (rc == RUVM_OK)
        rc = build_whole(b);
    if (rc != RUVM_OK)
        return rc;
    note_subject(b);
    note_graph(b);
    rc = measure_curve(b);
    if (rc == RUVM_OK)
        rc = measure_codes(b);
    if (rc == RUVM_OK && !b->o.no_crossover)
        rc = measure_sizes(b);
    ruvm_machine_describe(b->r->machine, sizeof b->r->machine);
    return rc;
}

int ruvm_bench_rag(const struct ruvm_bench_rag_options *o, struct ruvm_bench_rag_result *r,
                   struct ruvm_error *err)
{
    struct bench b = {.o = *o, .r = r, .err = err};
    *r = (struct ruvm_bench_rag_result){0};
    fill_options(&b.o);
    int rc = check_options(&b.o, err);
    if (rc == RUVM_OK)
        rc = report(&b, "vectors", 0, 1);
    if (rc == RUVM_OK)
        rc = ruvm_rag_subject_open(&b.subject, &b.o, err);
    if (rc == RUVM_OK)
        rc = run(&b);
    ruvm_roofs_close(&b.roofs);
    ruvm_rag_index_free(&b.own);
    ruvm_rag_subject_free(&b.subject);
    free(b.memory);
    free(b.truth);
    free(b.n_truth);
    free(b.seconds);
    free(b.table);
    return rc;
}

const char *ruvm_bench_rag_metric(unsigned i)
{
    return ruvm_codes_metric_name(i);
}

const char *ruvm_bench_rag_type(unsigned i)
{
    return ruvm_codes_type_name(i);
}

bool ruvm_bench_rag_exists(const char *metric, const char *type)
{
    struct ruvm_vectors set;
    unsigned m = 0, t = 0;
    while (ruvm_codes_metric_name(m) && strcmp(ruvm_codes_metric_name(m), metric) != 0)
        m++;
    while (ruvm_codes_type_name(t) && strcmp(ruvm_codes_type_name(t), type) != 0)
        t++;
    return ruvm_vectors_shape(&set, t, m, RUVM_RAG_MIN_DIMS) == RUVM_OK;
}
