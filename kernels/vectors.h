/* Kernels of vector search: inner products, sums of differences and differing bits of one
 * query and many rows, one table of functions a machine.
 *
 * Every variant returns exactly the integers of the scalar one. As in kernels.h: no
 * allocation, no state. Row i of a call is rows + ids[i] * stride, or rows + i * stride when
 * ids is NULL. The query is 16-byte aligned, rows are as aligned as their stride makes them;
 * nothing behind row_bytes is read.
 */
#ifndef RUVM_KERNELS_VECTORS_H
#define RUVM_KERNELS_VECTORS_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_vector_job {
    const void *query;   /* [row_bytes] */
    const void *rows;    /* [.., stride] */
    const uint32_t *ids; /* [n], or NULL: the first n rows */
    uint32_t n, row_bytes;
    size_t stride;
    int streams; /* rows come from memory, not from a cache: read them in order. Results are
                  * the same */
};

struct ruvm_vector_kernels {
    const char *name;       /* the names of kernels.h where the machine is the same */
    int (*available)(void); /* nonzero when this machine can run the table */

    /* out[i] = sum over c < row_bytes of query[c] * row[c]; codes are -127..127, row_bytes
     * is a multiple of 16 and at most 1024. */
    void (*dot)(int32_t *out, const struct ruvm_vector_job *job);
    /* out[i] = sum of |query[c] - row[c]|, the same codes. */
    void (*manhattan)(int32_t *out, const struct ruvm_vector_job *job);
    /* out[i] = bits in which query and row differ; row_bytes is a multiple of 8 and at most
     * 128. */
    void (*hamming)(int32_t *out, const struct ruvm_vector_job *job);
    /* The first rows, at most room of them, that differ in fewer than bound bits: their numbers
     * and these bits. Returns how many. job->ids is NULL; room >= 1. */
    uint32_t (*hamming_below)(uint32_t *places, uint32_t *out, uint32_t room,
                              const struct ruvm_vector_job *job, uint32_t bound);

    /* keys[i] = 2^31 - (products[i] * scales[i] >> shift), modulo 2^32: scales are u16 of
     * little-endian bytes. keys may be products. */
    void (*scaled)(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                   uint32_t shift);
    /* The places of the keys[n] below bound, ascending. Returns how many. */
    uint32_t (*below)(uint32_t *places, const uint32_t *keys, uint32_t n, uint32_t bound);
};

/* The tables, best first; ends with NULL. scalar is always there and last. */
extern const struct ruvm_vector_kernels *const ruvm_vector_kernels_all[];
extern const struct ruvm_vector_kernels ruvm_vector_kernels_scalar;
extern const struct ruvm_vector_kernels ruvm_vector_kernels_avx512;
extern const struct ruvm_vector_kernels ruvm_vector_kernels_avx2;
extern const struct ruvm_vector_kernels ruvm_vector_kernels_neon;

/* The first available table, or the one of that name; NULL when the name is unknown or this
 * machine cannot run it. name NULL: best. */
const struct ruvm_vector_kernels *ruvm_vector_kernels_select(const char *name);

#endif
