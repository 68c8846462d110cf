/* The exponential function of our own: libc's differ from machine to machine, this one gives
 * the same bits everywhere, and compilers widen it.
 */
#ifndef RUVM_BASE_EXP_H
#define RUVM_BASE_EXP_H

#include <stdint.h>

/* e^x to 1e-7: x = n ln 2 + r with |r| <= ln 2 / 2, the series of e^r to r^7, times 2^n.
 * Adding 1.5 * 2^23 rounds to a whole number. The first part of ln 2 has 9 bits, so
 * that n times it is exact. Outside +-87 the result stays at the value there. */
static inline __attribute__((always_inline)) float ruvm_exp_f32(float x)
{
    const float rounder = 12582912.0f, log2_e = 1.44269504f;
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    x = x > -87.0f ? x : -87.0f;
    x = x < 87.0f ? x : 87.0f;
    float n = (x * log2_e + rounder) - rounder;
    float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union {
        uint32_t bits;
        float value;
    } power = {(uint32_t)((int32_t)n + 127) << 23};
    return p * power.value;
}

#endif
