/* The cache of keys, or of values: vectors of one head and position, 8 or 4 bits a value.
 *
 *     int8_t *v = ruvm_cache_begin(&keys, head, position);
 *     ... v[0 .. head_dim) = values of -127..127
 *     ruvm_cache_end(&keys, head, position);
 *     for (p = 0; p < n_pos; p += n)
 *         n = n_pos - p, k = ruvm_cache_read(&keys, head, p, &n), use of k[0 .. n * head_dim)
 *
 * Between begin and end, and as long as a read is in use, nothing else is done with it or
 * with a cache that has the same room. `head` counts the heads of all layers.
 */
#ifndef RUVM_CORE_CACHE_H
#define RUVM_CORE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* Positions that are unpacked at a time. */
enum { RUVM_UNPACK_BLOCK = 32 };

struct ruvm_cache {
    const struct ruvm_kernels *k;
    uint32_t bits; /* 8 or 4 */
    uint32_t context, head_dim;
    uint8_t
        *data;  /* [heads, context, head_dim] int8; of 4 bits [.., head_dim / 2], low half first */
    uint8_t *m; /* [heads, context] 4 bits: sixteenths of it are what codes count */
    int8_t *room; /* [min(context, RUVM_UNPACK_BLOCK), head_dim] 4 bits: unpacked vectors */
};

/* Where to put the head_dim values of a position. */
int8_t *ruvm_cache_begin(const struct ruvm_cache *c, uint32_t head, uint32_t position);
/* They are there. */
void ruvm_cache_end(const struct ruvm_cache *c, uint32_t head, uint32_t position);
/* [*n, head_dim] values from a position on: of 8 bits as many as asked for, of 4 bits at
 * most RUVM_UNPACK_BLOCK. */
const int8_t *ruvm_cache_read(const struct ruvm_cache *c, uint32_t head, uint32_t position,
                              uint32_t *n);

/* The vector of a position as bytes that do not depend on where the cache keeps it, for a
 * state that outlives the engine: of 8 bits its values, of 4 bits the codes, then m. */
uint32_t ruvm_cache_stored_bytes(const struct ruvm_cache *c);
void ruvm_cache_store(const struct ruvm_cache *c, uint32_t head, uint32_t position, uint8_t *out);
/* And back. False, and nothing done, when no vector can have these bytes. */
bool ruvm_cache_restore(const struct ruvm_cache *c, uint32_t head, uint32_t position,
                        const uint8_t *in);

#endif
