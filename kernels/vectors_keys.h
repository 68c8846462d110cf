/* Keys: what the tables of vector search do with the products of one batch.
 *
 * Plain loops: each table's compiler flags make of them what its machine has. */
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

static inline uint32_t keys_least(const uint32_t *keys, uint32_t n)
{
    uint32_t least = keys[0];
    for (uint32_t i = 1; i < n; i++)
        least = keys[i] < least ? keys[i] : least;
    return least;
}

#endif
