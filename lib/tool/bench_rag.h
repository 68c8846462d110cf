/* ruvm_bench_rag(): the vector index by recall and rate.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_BENCH_RAG_H
#define RUVM_TOOL_BENCH_RAG_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RUVM_BENCH_RAG_POINTS = 32 };

/* Searches in vectors: of a knowledge blob, or synthetic ones (ruvm-bench-rag(1) says how they
 * are drawn). One metric and one type a call. */
struct ruvm_bench_rag_options {
    const char *blob;                        /* NULL: synthetic vectors */
    uint32_t n, dims;                        /* of these; 0: 10000, 64 */
    const char *metric;                      /* "cosine"; NULL: the blob's own, or cosine */
    const char *type;                        /* "int8"; NULL: the blob's own, or int8 */
    const char *kernels;                     /* of vector search; NULL: the best */
    uint32_t k;                              /* hits of a query; 0: 10 */
    uint32_t n_queries;                      /* 0: 500 */
    uint32_t repetitions;                    /* 0: 5 */
    uint32_t degree, degree_above, ef_build; /* of the graph; 0: the blob's, or the builder's */
    uint32_t n_points;
    uint32_t ef[RUVM_BENCH_RAG_POINTS]; /* [n_points] ascending */
    double recall;                      /* that scan and graph are compared at; 0: 0.95 */
    bool no_crossover;                  /* leave that out */
    uint64_t seed;                      /* 0: 1 */
    struct ruvm_progress progress;
};

struct ruvm_bench_rag_point { /* searches along the graph with one ef */
    uint32_t ef;
    double recall;    /* of the k that the scan of the codes finds, 0..1 */
    double distances; /* rows compared, mean of the queries */
    uint32_t distances_max;
    uint32_t chip_bytes; /* RAM of such a search: its memory, the query's row and the hits */
    struct ruvm_spread queries_per_s;
};

struct ruvm_bench_rag_size { /* scan and graph of the first n vectors, at options.recall */
    uint32_t n, ef;
    struct ruvm_spread scan_us, graph_us; /* a query */
};

struct ruvm_bench_rag_result {
    char subject[256], metric[16], type[16], kernels[16];
    uint32_t n, dims, k, n_queries;
    uint32_t degree, degree_above, ef_build, levels;
    bool is_own_graph; /* the curve is of the blob's graph; building was measured with another */
    double build_s;    /* graph and what makes every vector reachable */
    double build_vectors_per_s;
    uint64_t vector_bytes, side_bytes, graph_bytes; /* of all vectors */
    uint64_t book_bytes;                            /* of pq, however many vectors */
    uint32_t n_reached; /* vectors that a walk from the entry can reach: all, or it is an error */
    bool has_code_recall;
    double code_recall; /* of the k nearest by floats, found by the scan of the codes */
    uint32_t scan_chip_bytes;
    struct ruvm_spread scan_queries_per_s, scan_gb_per_s;
    char roof[8]; /* "L2": the nearest memory that holds the rows */
    struct ruvm_spread roof_gb_per_s;
    uint32_t n_points;
    struct ruvm_bench_rag_point points[RUVM_BENCH_RAG_POINTS];
    double row_cost;  /* a row compared by a walk over one compared by the scan, in time */
    uint32_t n_sizes; /* 0: not measured */
    struct ruvm_bench_rag_size sizes[RUVM_BENCH_RAG_POINTS];
    uint32_t crossover; /* the first of these n at which the graph is faster; 0: none */
    char machine[256];
};

int ruvm_bench_rag(const struct ruvm_bench_rag_options *o, struct ruvm_bench_rag_result *r,
                   struct ruvm_error *err);
/* Names of metrics and types, in the order of the format; NULL past the last. */
const char *ruvm_bench_rag_metric(unsigned i);
const char *ruvm_bench_rag_type(unsigned i);
/* Whether vectors of that type have that metric. */
bool ruvm_bench_rag_exists(const char *metric, const char *type);

#ifdef __cplusplus
}
#endif

#endif
