/* Keys: what the tables of vector search do with the products of one batch.
 *
 * keys_scaled is a plain loop: each table's compiler flags make of it what its machine has.
 * Few keys are below a bound once some have been seen, so that tables look at KEYS_A_MASK of
 * them at once: mask_of has bit i set where keys[i] is. */
#ifndef RUVM_KERNELS_VECTORS_KEYS_H
#define RUVM_KERNELS_VECTORS_KEYS_H

#include "kernels/vectors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "scales are read as stored bytes");

static inline void keys_scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales,
                               uint32_t n, uint32_t shift)
{
    for (uint32_t i = 0; i < n; i++) {
        uint16_t scale;
        __builtin_memcpy(&scale, scales + (size_t)i * 2, 2);
        keys[i] = 0x80000000u - (uint32_t)((int64_t)products[i] * scale >> shift);
    }
}

enum { KEYS_A_MASK = 16 };

/* Stops at room. */
static inline __attribute__((always_inline)) uint32_t keys_below(
    uint32_t *places, uint32_t room, const uint32_t *keys, uint32_t n, uint32_t bound,
    uint32_t (*mask_of)(const uint32_t *keys, uint32_t bound))
{
    uint32_t i = 0, found = 0;
    for (; i + KEYS_A_MASK <= n; i += KEYS_A_MASK)
        for (uint32_t mask = mask_of(keys + i, bound); mask; mask &= mask - 1) {
            if (found == room)
                return found;
            places[found++] = i + (uint32_t)__builtin_ctz(mask);
        }
    for (; i < n && found < room; i++)
        if (keys[i] < bound)
            places[found++] = i;
    return found;
}

/* hamming_below of a table: a block of counts after another, which stay in a cache. The first
 * ones are small, because where many rows are below the bound, room is full soon. */
static inline __attribute__((always_inline)) uint32_t bits_below(
    uint32_t *places, uint32_t *out, uint32_t room, const struct ruvm_vector_job *job,
    uint32_t bound, void (*hamming)(int32_t *out, const struct ruvm_vector_job *job),
    uint32_t (*mask_of)(const uint32_t *keys, uint32_t bound))
{
    enum { FEWEST = 16, MOST = 128 };
    struct ruvm_vector_job block = *job;
    uint32_t counts[MOST], found = 0, size = FEWEST;
    for (uint32_t first = 0; first < job->n && found < room; first += block.n) {
        block.rows = (const uint8_t *)job->rows + first * job->stride;
        block.n = job->n - first < size ? job->n - first : size;
        hamming((int32_t *)counts, &block);
        uint32_t before = found;
        found += keys_below(places + found, room - found, counts, block.n, bound, mask_of);
        for (uint32_t i = before; i < found; i++) {
            out[i] = counts[places[i]];
            places[i] += first;
        }
        size = size < MOST ? 2 * size : size;
    }
    return found;
}

#endif
