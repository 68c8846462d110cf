/* Subject of a measurement of searches: vectors, queries, and their codes.
 *
 *     rc = ruvm_rag_subject_open(&s, &options, err);       floats
 *     rc = ruvm_rag_subject_encode(&s, kernels, err);      s.set and s.queries
 *     ruvm_rag_subject_free(&s);
 *
 * Vectors are synthetic or those of a blob. Queries are none of them: further synthetic ones,
 * or points half-way between a vector of the blob and one of its neighbours.
 */
#ifndef RUVM_MEASURE_RAG_SUBJECT_H
#define RUVM_MEASURE_RAG_SUBJECT_H

#include "lib/base/file.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/vectors.h"

struct ruvm_rag_subject {
    unsigned metric, type;
    uint32_t n, dims, n_queries;
    float *x;     /* [n + n_queries, dims]: vectors, then queries */
    bool has_rag; /* of a blob */
    bool is_own;  /* the blob's metric and type: its rows and its graph are measured */
    struct ruvm_map map;
    struct ruvm_rag rag;
    struct ruvm_vectors set;     /* codes that searches compare */
    struct ruvm_vectors linked;  /* those that a graph is built of: the same, or of PQ int8 */
    struct ruvm_vectors queries; /* of the type of linked */
    uint8_t *rows, *sides, *query_rows, *query_sides, *pq_rows, *pq_sides;
    int8_t *book;
};

/* RUVM_ERR_* with a message. After a failure the subject is free. */
int ruvm_rag_subject_open(struct ruvm_rag_subject *s, const struct ruvm_bench_rag_options *o,
                          struct ruvm_error *err);
int ruvm_rag_subject_encode(struct ruvm_rag_subject *s, const struct ruvm_vector_kernels *kernels,
                            struct ruvm_error *err);
void ruvm_rag_subject_free(struct ruvm_rag_subject *s);

/* Draws vectors of the generator that ruvm-bench-rag(1) describes: x[n, dims]. False without
 * memory. The same seed gives the same numbers on every machine, and n is only where it
 * stops. */
bool ruvm_rag_subject_draw(float *x, size_t n, uint32_t dims, uint64_t seed);

#endif
