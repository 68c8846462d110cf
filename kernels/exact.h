/* Exact: the rounded functions that kernels share, spelled out to the last bit.
 *
 * Everything else in kernels.h is an exact sum or a stated shift; these are
 * approximations, so all variants must make the same error. They are written
 * with 32-bit operations only, so that a compiler can put them into lanes.
 */
#ifndef RUVM_KERNELS_EXACT_H
#define RUVM_KERNELS_EXACT_H

#include <stdint.h>

enum {
    RUVM_EXP2_ZERO = 14 << 15, /* from here on 2^-t is below one step of 14 bits */
    RUVM_SIGMOID_LAST = 65535  /* |g| in Q12 above which sigmoid no longer moves */
};

/* 2^-f on 0..1 as 1 - f (B - f (C - f D)): a cubic with its value at 0 kept. */
#define RUVM_EXP2_A ((16383u << 18) + (1u << 17)) /* 1 in Q32, and the final rounding */
enum {
    RUVM_EXP2_B = 90664, /* Q17: enough that rounding never makes a larger t weigh more */
    RUVM_EXP2_C = 7594,  /* Q15 */
    RUVM_EXP2_D = 1313   /* Q15 */
};

/* 2^-t in 14 bits for t in Q15, at most RUVM_EXP2_ZERO. */
static inline uint32_t ruvm_exact_exp2_small(uint32_t t)
{
    uint32_t f = t & 32767;
    uint32_t c = RUVM_EXP2_C - ((f * RUVM_EXP2_D + 16384) >> 15);
    uint32_t b = RUVM_EXP2_B - ((f * c + 4096) >> 13);
    return ((RUVM_EXP2_A - f * b) >> 18) >> (t >> 15);
}

/* 2^-t in 14 bits (16383 is 1) for any t in Q15; falls with t, error
 * below 1.4e-4. */
static inline uint32_t ruvm_exp2_weight(uint64_t t)
{
    return t >= RUVM_EXP2_ZERO ? 0 : ruvm_exact_exp2_small((uint32_t)t);
}

/* sigmoid(i / 16) in Q15; in scalar.c, which every build has. */
extern const uint16_t ruvm_scalar_sigmoid[257];

/* 1 / (1 + e^-g) in Q15 (32768 is 1) for g in Q12; error below 1e-4. */
static inline int32_t ruvm_sigmoid_q15(int32_t g_q12)
{
    uint32_t a = g_q12 < 0 ? 0u - (uint32_t)g_q12 : (uint32_t)g_q12;
    a = a > RUVM_SIGMOID_LAST ? RUVM_SIGMOID_LAST : a;
    const uint16_t *t = &ruvm_scalar_sigmoid[a >> 8];
    int32_t s = (t[0] * 256 + (t[1] - t[0]) * (int32_t)(a & 255) + 128) >> 8;
    return g_q12 < 0 ? 32768 - s : s;
}

/* The factor of GELU, p(i / 32) in Q15; in scalar.c. Row 0, as GPT-2 approximates it:
 * p(x) = 1/2 + 1/2 tanh(sqrt(2 / pi) (x + 0.044715 x^3)); row 1: p(x) = 1/2 + 1/2 erf(x /
 * sqrt 2). */
enum { RUVM_GELU_STEPS = 160, RUVM_GELU_LAST = RUVM_GELU_STEPS * 128 - 1 };
extern const uint16_t ruvm_scalar_gelu[2][RUVM_GELU_STEPS + 1];

/* p of t in Q12 as Q15 (32768 is 1); error below 6e-5, and x * p(x) is off by less than
 * 1e-4 for any x. */
static inline int32_t ruvm_gelu_q15(uint32_t row, int32_t t_q12)
{
    uint32_t a = t_q12 < 0 ? 0u - (uint32_t)t_q12 : (uint32_t)t_q12;
    a = a > RUVM_GELU_LAST ? RUVM_GELU_LAST : a;
    const uint16_t *t = &ruvm_scalar_gelu[row][a >> 7];
    int32_t s = (t[0] * 128 + (t[1] - t[0]) * (int32_t)(a & 127) + 64) >> 7;
    return t_q12 < 0 ? 32768 - s : s;
}

#endif
