/* Vectors: a set of rows, a query, and the integer that ranks them.
 *
 *     struct ruvm_vectors set = ruvm_vectors_of(&rag, kernels);
 *     struct ruvm_vector_query q;
 *     ruvm_vectors_query(&q, &set, row);
 *     ruvm_vectors_keys(&set, &q, ids, n, keys);    the smaller the nearer
 *     d = ruvm_distance_q16(&set, &q, id);          the true distance
 *
 * A key is a u32 that grows with the distance and needs neither a root nor a division; it
 * compares rows for one query, nothing else. Equal keys are ordered by id. A set may lie in a
 * blob or anywhere; nothing is copied. Chip-safe.
 *
 * Dot is no metric: a longer vector is nearer, a vector need not be its own nearest
 * neighbour, and walks in a graph of it are drawn to the longest rows. Cosine violates the
 * triangle inequality but ranks as the Euclidean distance of the rows scaled to length 1,
 * so its graph is as good as that one's. The other five are metrics.
 */
#ifndef RUVM_VECTOR_VECTORS_H
#define RUVM_VECTOR_VECTORS_H

#include "formats/rag_read.h"
#include "kernels/vectors.h"

struct ruvm_vectors {
    const uint8_t *rows; /* [n, row_bytes], 16-byte aligned (binary: 8) */
    const uint8_t *side; /* [n, side_bytes] as SIDE of the layout; NULL when there is none */
    uint32_t n, row_bytes, side_bytes;
    uint16_t dims;
    uint8_t metric, type; /* enum ruvm_metric, ruvm_vector_type */
    uint32_t unit;        /* as in the blob's header */
    int8_t unit_exp;
    const int8_t *book; /* of PQ, as BOOK of the layout; NULL else */
    const struct ruvm_vector_kernels *kernels;
};

/* Those of a blob; kernels NULL: scalar. */
struct ruvm_vectors ruvm_vectors_of(const struct ruvm_rag *rag,
                                    const struct ruvm_vector_kernels *kernels);
/* The signs of its rows, the optional section bits, as a binary set; rows is NULL without. */
struct ruvm_vectors ruvm_vectors_signs_of(const struct ruvm_rag *rag,
                                          const struct ruvm_vector_kernels *kernels);
/* An empty set of that shape: rows, side, n are the caller's to fill. RUVM_ERR_ARG: dims are
 * out of range; RUVM_ERR_UNSUPPORTED: this type has no such metric. */
int ruvm_vectors_shape(struct ruvm_vectors *set, unsigned type, unsigned metric, uint32_t dims);

/* Bytes of a query's row: those of a row of the set, or with PQ of int8. */
uint32_t ruvm_vectors_query_bytes(const struct ruvm_vectors *set);

struct ruvm_vector_query {
    const uint8_t *row;   /* the caller's: as a row of the set, 16-byte aligned, zero-padded;
                             of a set of PQ: as one of int8 */
    uint32_t side[2];     /* what SIDE would hold for it; ranking needs only hyperbolic ones */
    const int32_t *table; /* of PQ, see lib/vector/pq.h; NULL: none */
};

/* A query of codes. What SIDE would hold is computed for cosine and Euclidean; dot (the scale
 * of the row, which only true distances need) and the hyperbolic metrics take it from side,
 * with NULL for 1 and for the origin. */
void ruvm_vectors_query(struct ruvm_vector_query *q, const struct ruvm_vectors *set,
                        const void *row, const uint32_t *side);
/* A row of the set as a query; not of PQ. */
void ruvm_vectors_query_row(struct ruvm_vector_query *q, const struct ruvm_vectors *set,
                            uint32_t id);

/* What SIDE holds for row id; zeros where it holds less. */
void ruvm_vectors_side(const struct ruvm_vectors *set, uint32_t id, uint32_t side[2]);
enum { RUVM_VECTORS_COSH_ONE = 1 << 18, RUVM_VECTORS_SINH_BITS = 24 }; /* Q of SIDE */

enum { RUVM_VECTORS_BATCH = 64 }; /* ids that one call of keys takes at most */
/* keys[i] of row ids[i] < set->n (ids NULL: of rows first + i); n <= RUVM_VECTORS_BATCH. */
void ruvm_vectors_keys(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                       const uint32_t *ids, uint32_t first, uint32_t n, uint32_t *keys);

/* Quantizes x[dims] to codes by the largest |x|, which becomes 127: cosine, dot and the
 * direction of a hyperbolic point. Zeros stay zeros. |x| < 2^31. Pads up to row_bytes. */
void ruvm_vectors_quantize(int8_t *row, const int32_t *x, uint32_t dims, uint32_t row_bytes);
/* Signs of x[dims] as a binary row: 1 is not negative. */
void ruvm_vectors_signs(uint8_t *row, const int32_t *x, uint32_t dims, uint32_t row_bytes);

/* The same of a row of codes. */
void ruvm_vectors_code_signs(uint8_t *row, const int8_t *codes, uint32_t dims, uint32_t row_bytes);

/* Sum of the squares of the codes. */
uint32_t ruvm_vectors_norm2(const void *row, uint32_t row_bytes);
/* u16 that stands for 1 / sqrt(norm2) of codes whose largest is 127: cosine's SIDE. */
uint16_t ruvm_vectors_inverse(uint32_t norm2);

#endif
