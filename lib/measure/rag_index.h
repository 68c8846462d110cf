/* Index: vectors and a graph of them, as a search finds them in a blob.
 *
 *     struct ruvm_rag_index x = {.options = options};
 *     rc = ruvm_rag_index_build(&x, &set, &linked, &progress, err);
 *     ... x.rag ...
 *     ruvm_rag_index_free(&x);
 */
#ifndef RUVM_MEASURE_RAG_INDEX_H
#define RUVM_MEASURE_RAG_INDEX_H

#include "lib/bundle/hnsw.h"

struct ruvm_rag_index {
    struct ruvm_hnsw_options options; /* once it is built, without zeros */
    double build_s;                   /* of the graph, measured */
    struct ruvm_rag rag;
    uint8_t *blob; /* aligned, owned */
};

/* The graph is that of linked, which may be another type of the same vectors. progress: NULL or
 * who is told. RUVM_ERR_* with a message. */
int ruvm_rag_index_build(struct ruvm_rag_index *x, const struct ruvm_vectors *set,
                         const struct ruvm_vectors *linked,
                         const struct ruvm_hnsw_progress *progress, struct ruvm_error *err);
void ruvm_rag_index_free(struct ruvm_rag_index *x);

#endif
