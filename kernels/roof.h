/* Roofs: the most that a machine can do, for its kernels to be measured against.
 *
 * Reading alone and multiplying alone, as fast as the instruction set of a kernel table
 * can. No model needs these functions; a kernel that does both at once is at best as
 * fast as the slower of the two.
 */
#ifndef RUVM_KERNELS_ROOF_H
#define RUVM_KERNELS_ROOF_H

#include <stddef.h>
#include <stdint.h>

enum {
    RUVM_ROOF_CHUNK = 512,       /* bytes that read() takes at a time */
    RUVM_ROOF_OPERAND_BYTES = 64 /* of multiply() */
};

struct ruvm_roof {
    const char *kernels;     /* the table of the same instructions: available with it */
    const char *instruction; /* that multiply() is made of, for people */
    uint32_t macs;           /* multiply-accumulates of bytes in one of its rounds */

    /* Loads all of n bytes, a multiple of RUVM_ROOF_CHUNK, from a 64-byte aligned address.
     * What it returns depends on each of them, so that no load can be left out. */
    uint32_t (*read)(const uint8_t *p, size_t n);
    /* Multiplies in registers only, with as many sums at once as keep the units busy. The
     * operand is not known to the compiler, so that nothing can be computed before. */
    uint32_t (*multiply)(const int8_t *operand, uint32_t rounds);
};

/* Best first, ends with NULL; that of the scalar table is always there and last. */
extern const struct ruvm_roof *const ruvm_roof_all[];

extern const struct ruvm_roof ruvm_roof_avx512vnni, ruvm_roof_avx2;
extern const struct ruvm_roof ruvm_roof_neondot, ruvm_roof_neon;
extern const struct ruvm_roof ruvm_roof_scalar;

#endif
