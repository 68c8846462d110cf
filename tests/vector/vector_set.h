/* Sets of vectors for tests: made of a seed, with codes, sides, a graph and a blob. */
#ifndef TESTS_VECTOR_VECTOR_SET_H
#define TESTS_VECTOR_VECTOR_SET_H

#include "formats/rag_write.h"
#include "lib/base/error.h"
#include "lib/bundle/codes.h"
#include "lib/bundle/hnsw.h"

struct vector_set {
    struct ruvm_vectors set;
    float *x;            /* [n, dims] what the codes were made of */
    uint8_t *row, *side; /* 64-byte aligned */
};

/* n vectors in clusters; hyperbolic ones in a tree of radius up to 8, in their coordinates. */
void vector_set_make(struct vector_set *s, unsigned type, unsigned metric, uint32_t dims,
                     uint32_t n, uint64_t seed);
void vector_set_free(struct vector_set *s);

/* The first n of a set as a set. */
struct ruvm_vectors vector_set_first(const struct vector_set *s, uint32_t n);

/* A blob of them, with texts, and of the graph, which may be NULL; free() its data. */
struct vector_blob {
    uint8_t *data; /* 64-byte aligned, of its exact size */
    size_t size;
    struct ruvm_rag rag;
};
void vector_blob_make(struct vector_blob *b, const struct ruvm_vectors *set,
                      const struct ruvm_hnsw *g);
/* The same with a graph of these options, finished. */
void vector_blob_build(struct vector_blob *b, const struct ruvm_vectors *set,
                       const struct ruvm_hnsw_options *options);

/* The true distance by doubles, of what the codes stand for. */
double vector_set_distance(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                           uint32_t id);

/* All sorts of sets there are. */
struct vector_sort {
    unsigned type, metric;
};
enum { VECTOR_SORTS = 11 };
extern const struct vector_sort vector_sorts[VECTOR_SORTS];

#endif
