/* Reading with NEON, for both of its roofs. */
#ifndef RUVM_KERNELS_ROOF_NEON_H
#define RUVM_KERNELS_ROOF_NEON_H

#include <arm_neon.h>

#include "kernels/roof.h"

static inline uint32_t neon_read(const uint8_t *p, size_t n)
{
    uint8x16_t a = vdupq_n_u8(0), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += 64) {
        a = veorq_u8(a, vld1q_u8(p + i));
        b = veorq_u8(b, vld1q_u8(p + i + 16));
        c = veorq_u8(c, vld1q_u8(p + i + 32));
        d = veorq_u8(d, vld1q_u8(p + i + 48));
    }
    a = veorq_u8(veorq_u8(a, b), veorq_u8(c, d));
    return vaddvq_u32(vreinterpretq_u32_u8(a));
}

#endif
