/* Vectors for bench_peers_vectors.sh: the data that all programs share, and ruvm as one of them.
 *
 *     vectors make FOLDER N DIMS N_QUERIES       data and exact answers
 *     vectors serve FOLDER DEGREE EF_BUILD       the protocol of the script's head
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/hnsw.h"
#include "lib/measure/rag_truth.h"

enum { K = 10, SEED = 1 };

static struct ruvm_error err;

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "vectors: %s: %s\n", what, err.text);
    exit(1);
}

static void *take(size_t n)
{
    void *p = aligned_alloc(64, (n + 127) / 64 * 64);
    need(p, "out of memory");
    memset(p, 0, (n + 127) / 64 * 64);
    return p;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void save(const char *folder, const char *name, const void *data, size_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    need(ruvm_file_write(path, data, n, &err) == RUVM_OK, path);
}

/* ---- data -------------------------------------------------------------------- */

static void open_subject(struct ruvm_rag_subject *s, const struct ruvm_bench_rag_options *o)
{
    need(ruvm_rag_subject_open(s, o, &err) == RUVM_OK, "data");
    for (size_t i = 0; i < (size_t)s->n + s->n_queries; i++) {
        float *x = s->x + i * s->dims;
        double square = 0;
        for (uint32_t j = 0; j < s->dims; j++)
            square += (double)x[j] * (double)x[j];
        for (uint32_t j = 0; j < s->dims; j++)
            x[j] = (float)((double)x[j] / sqrt(square));
    }
    need(ruvm_rag_subject_encode(s, ruvm_vector_kernels_select(NULL), &err) == RUVM_OK, "codes");
}

/* The k nearest in rank[n]; ids[K] from the nearest on. */
static void nearest(const double *rank, uint32_t n, uint32_t *ids)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (have == K && rank[i] >= rank[ids[K - 1]])
            continue;
        uint32_t at = have < K ? have++ : K - 1;
        for (; at > 0 && rank[ids[at - 1]] > rank[i]; at--)
            ids[at] = ids[at - 1];
        ids[at] = i;
    }
}

static void truth_of_floats(const struct ruvm_rag_subject *s, uint32_t *ids)
{
    double *rank = take(s->n * sizeof *rank);
    for (uint32_t i = 0; i < s->n_queries; i++) {
        for (uint32_t j = 0; j < s->n; j++)
            rank[j] = ruvm_rag_truth_rank(RUVM_METRIC_COSINE, s->x + (size_t)(s->n + i) * s->dims,
                                          s->x + (size_t)j * s->dims, s->dims);
        nearest(rank, s->n, ids + (size_t)i * K);
    }
    free(rank);
}

/* By the distance of the bytes that other libraries search. */
static void truth_of_bytes(const struct ruvm_rag_subject *s, uint32_t *ids)
{
    double *rank = take(s->n * sizeof *rank);
    uint32_t bytes = s->set.row_bytes;
    for (uint32_t i = 0; i < s->n_queries; i++) {
        for (uint32_t j = 0; j < s->n; j++) {
            const uint8_t *row = s->rows + (size_t)j * bytes;
            int32_t dot;
            const struct ruvm_vector_job job = {.query = s->query_rows + (size_t)i * bytes,
                                                .rows = row,
                                                .n = 1,
                                                .row_bytes = bytes,
                                                .stride = bytes};
            s->set.kernels->dot(&dot, &job);
            rank[j] = ruvm_vectors_norm2(row, bytes) - 2.0 * dot;
        }
        nearest(rank, s->n, ids + (size_t)i * K);
    }
    free(rank);
}

/* By the scan: the codes with the lengths that stand beside them. */
static void truth_of_codes(const struct ruvm_rag_subject *s, uint32_t *ids)
{
    uint64_t memory[K];
    for (uint32_t i = 0; i < s->n_queries; i++) {
        struct ruvm_search search = {.k = K};
        struct ruvm_hit hits[K];
        struct ruvm_vector_query q;
        ruvm_vectors_query_row(&q, &s->queries, i);
        need(ruvm_search_scan(&s->set, &q, &search, memory, sizeof memory, hits) == K, "scan");
        for (int j = 0; j < K; j++)
            ids[(size_t)i * K + (unsigned)j] = hits[j].id;
    }
}

/* Codes of 0 to 255, without the padding of rows. */
static void save_codes(const char *folder, const char *name, const struct ruvm_rag_subject *s,
                       const uint8_t *rows, uint32_t n)
{
    uint8_t *u = take((size_t)n * s->dims);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < s->dims; j++)
            u[(size_t)i * s->dims + j] = (uint8_t)(rows[(size_t)i * s->set.row_bytes + j] + 128);
    save(folder, name, u, (size_t)n * s->dims);
    free(u);
}

static void make(const char *folder, const struct ruvm_bench_rag_options *o)
{
    struct ruvm_rag_subject s;
    char shape[80];
    open_subject(&s, o);
    uint32_t *ids = take((size_t)s.n_queries * K * sizeof *ids);
    size_t bytes = (size_t)s.n_queries * K * sizeof *ids;
    snprintf(shape, sizeof shape, "%u %u %u %d\n", s.n, s.dims, s.n_queries, K);
    save(folder, "shape", shape, strlen(shape));
    save(folder, "vectors.f32", s.x, (size_t)s.n * s.dims * sizeof *s.x);
    save(folder, "queries.f32", s.x + (size_t)s.n * s.dims,
         (size_t)s.n_queries * s.dims * sizeof *s.x);
    save_codes(folder, "vectors.u8", &s, s.rows, s.n);
    save_codes(folder, "queries.u8", &s, s.query_rows, s.n_queries);
    truth_of_floats(&s, ids);
    save(folder, "truth.f32", ids, bytes);
    truth_of_codes(&s, ids);
    save(folder, "truth.ruvm", ids, bytes);
    truth_of_bytes(&s, ids);
    save(folder, "truth.u8", ids, bytes);
    free(ids);
    ruvm_rag_subject_free(&s);
}

/* ---- one of the programs -------------------------------------------------------- */

/* A view of the builder's graph as searches find it in a blob. */
static void open_graph(struct ruvm_rag *rag, const struct ruvm_rag_subject *s, uint8_t *graph,
                       size_t bytes)
{
    const uint8_t *at = graph + RUVM_GRPH_ARRAYS;
    *rag = (struct ruvm_rag){
        .n = s->n, .n_levels = graph[RUVM_GRPH_LEVELS], .id_bits = graph[RUVM_GRPH_ID_BITS]};
    memcpy(&rag->entry, graph + RUVM_GRPH_ENTRY, 4);
    for (unsigned i = 0; i < rag->n_levels; i++) {
        struct ruvm_rag_level *l = &rag->level[i];
        l->n = s->n;
        l->degree = graph[i ? RUVM_GRPH_DEGREE : RUVM_GRPH_DEGREE_0];
        l->list_bytes = ruvm_rag_list_bytes(l->degree, rag->id_bits);
        if (i)
            memcpy(&l->n, graph + RUVM_GRPH_ARRAYS + 4 * (i - 1), 4);
    }
    at += 4 * (size_t)(rag->n_levels - 1);
    for (unsigned i = 1; i < rag->n_levels; i++) {
        rag->level[i].ids = at;
        at += 4 * (size_t)rag->level[i].n;
    }
    for (unsigned i = 0; i < rag->n_levels; i++) {
        rag->level[i].lists = at;
        at += (size_t)rag->level[i].n * rag->level[i].list_bytes;
    }
    need(at + RUVM_GRPH_TAIL == graph + bytes, "the graph has another size");
}

static double search_all(const struct ruvm_rag_subject *s, const struct ruvm_rag *rag, uint32_t ef,
                         void *memory, size_t bytes, uint32_t *ids)
{
    double start = cpu_s();
    for (uint32_t i = 0; i < s->n_queries; i++) {
        struct ruvm_search search = {.k = K, .ef = ef};
        struct ruvm_hit hits[K];
        struct ruvm_vector_query q;
        /* as a query from outside: its norm is computed */
        ruvm_vectors_query(&q, &s->set, s->query_rows + (size_t)i * s->set.row_bytes, NULL);
        int n = ef ? ruvm_search_graph(rag, &s->set, &q, &search, memory, bytes, hits)
                   : ruvm_search_scan(&s->set, &q, &search, memory, bytes, hits);
        need(n == K, "a search found too little");
        for (int j = 0; j < K; j++)
            ids[(size_t)i * K + (unsigned)j] = hits[j].id;
    }
    return cpu_s() - start;
}

static void serve(const char *folder, const struct ruvm_bench_rag_options *o)
{
    struct ruvm_rag_subject s;
    struct ruvm_hnsw g;
    struct ruvm_buffer graph = {0};
    struct ruvm_rag rag;
    const struct ruvm_hnsw_options options = {.degree_0 = o->degree, .ef = o->ef_build};
    open_subject(&s, o);
    double start = cpu_s();
    need(ruvm_hnsw_init(&g, &options, &err) == RUVM_OK &&
             ruvm_hnsw_add(&g, &s.set, NULL, &err) == RUVM_OK &&
             ruvm_hnsw_finish(&g, &s.set, &err) == RUVM_OK &&
             ruvm_hnsw_write(&g, &graph, &err) == RUVM_OK,
         "graph");
    double built = cpu_s() - start;
    open_graph(&rag, &s, graph.data, graph.size);
    printf("built %.4f %zu\n", built,
           graph.size + (size_t)s.n * (s.set.row_bytes + s.set.side_bytes));
    fflush(stdout);
    struct ruvm_search largest = {.k = K, .ef = RUVM_SEARCH_MAX_EF};
    size_t bytes = ruvm_search_bytes(&largest, s.n);
    void *memory = take(bytes);
    uint32_t *ids = take((size_t)s.n_queries * K * sizeof *ids);
    unsigned ef;
    while (scanf("%u", &ef) == 1) {
        double seconds = search_all(&s, &rag, ef, memory, bytes, ids);
        save(folder, "ids", ids, (size_t)s.n_queries * K * sizeof *ids);
        printf("%.6f\n", seconds);
        fflush(stdout);
    }
    free(ids);
    free(memory);
    ruvm_buffer_free(&graph);
    ruvm_hnsw_free(&g);
    ruvm_rag_subject_free(&s);
}

static void read_shape(const char *folder, struct ruvm_bench_rag_options *o)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/shape", folder);
    FILE *f = fopen(path, "r");
    need(f && fscanf(f, "%u %u %u", &o->n, &o->dims, &o->n_queries) == 3, path);
    fclose(f);
}

int main(int argc, char **argv)
{
    struct ruvm_bench_rag_options o = {.seed = SEED};
    if (argc == 6 && strcmp(argv[1], "make") == 0) {
        o.n = (uint32_t)strtoul(argv[3], NULL, 10);
        o.dims = (uint32_t)strtoul(argv[4], NULL, 10);
        o.n_queries = (uint32_t)strtoul(argv[5], NULL, 10);
        make(argv[2], &o);
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "serve") == 0) {
        read_shape(argv[2], &o);
        o.degree = (uint32_t)strtoul(argv[3], NULL, 10);
        o.ef_build = (uint32_t)strtoul(argv[4], NULL, 10);
        serve(argv[2], &o);
        return 0;
    }
    fprintf(stderr, "usage: vectors make FOLDER N DIMS N_QUERIES | serve FOLDER DEGREE EF_BUILD\n");
    return 2;
}
