/* Fixed point: unsigned scaled numbers, and the few functions a chip has no unit for.
 *
 * A scale (what one integer step of a vector is worth) ranges over many powers
 * of two, so it is kept as mantissa and exponent. There is one a vector, never
 * one an element: nothing here is in an inner loop.
 */
#ifndef RUVM_CORE_FIXED_H
#define RUVM_CORE_FIXED_H

#include <stdint.h>

/* value = m * 2^e; m has bit 31 set, or is 0 for zero. */
struct ruvm_real {
    uint32_t m;
    int32_t e;
};

/* Number of bits of x: 0 for 0, 32 for 2^31 and above. */
static inline uint32_t ruvm_bits(uint32_t x)
{
    return x ? 32u - (uint32_t)__builtin_clz(x) : 0;
}

/* m * 2^e, normalised. */
struct ruvm_real ruvm_real_make(uint64_t m, int32_t e);
struct ruvm_real ruvm_real_mul(struct ruvm_real a, struct ruvm_real b);
struct ruvm_real ruvm_real_add(struct ruvm_real a, struct ruvm_real b);
/* 1 / sqrt(a), relative error below 2^-28; 0 for 0. */
struct ruvm_real ruvm_real_rsqrt(struct ruvm_real a);
/* a / b, b not 0. */
struct ruvm_real ruvm_real_div(struct ruvm_real a, struct ruvm_real b);
/* Natural logarithm of a > 0 in Q24; error below 2^-20. */
int64_t ruvm_real_log(struct ruvm_real a);
/* a * 2^e */
static inline struct ruvm_real ruvm_real_shift(struct ruvm_real a, int32_t e)
{
    return (struct ruvm_real){a.m, a.e + e};
}

/* x * a == x * mult >> shift, with mult below 2^31 and 1 <= shift <= 62. A value
 * too small becomes 0, one too large the largest possible. */
struct ruvm_ratio {
    uint32_t mult, shift;
};
struct ruvm_ratio ruvm_real_ratio(struct ruvm_real a);
/* The one that brings 15 bits, whose steps are worth `unit`, to Q12: its multiplier has 15 bits
 * as well, so that the product has 30. */
struct ruvm_ratio ruvm_real_ratio_q12(struct ruvm_real unit);

/* Sine and cosine in Q14 (16384 is 1) of a phase in 2^-32 turns; error below 2^-13. */
int16_t ruvm_fixed_sin(uint32_t phase);
int16_t ruvm_fixed_cos(uint32_t phase);

/* The shift that brings the largest value of a vector to exactly 16 bits: one of up and
 * down is 0, top is the shifted value in [2^15, 2^16). All three are 0 for 0. */
struct ruvm_window {
    uint32_t up, down, top;
};
static inline struct ruvm_window ruvm_fixed_window(uint32_t largest)
{
    uint32_t bits = ruvm_bits(largest);
    uint32_t up = bits > 0 && bits < 16 ? 16 - bits : 0;
    uint32_t down = bits > 16 ? bits - 16 : 0;
    return (struct ruvm_window){up, down, (largest << up) >> down};
}
/* The top in steps of the vector before the shift. */
static inline struct ruvm_real ruvm_fixed_window_top(struct ruvm_window w)
{
    return ruvm_real_make(w.top, (int32_t)w.down - (int32_t)w.up);
}

/* 2^-f in Q30 for f in Q15 below 1: the cubic of the kernels' softmax with more bits. */
static inline uint32_t ruvm_fixed_exp2(uint32_t f)
{
    uint32_t c = 7594 - ((f * 1313 + 16384) >> 15); /* Q15 */
    uint32_t b = 90664 - ((f * c + 4096) >> 13);    /* Q17 */
    return (1u << 30) - ((f * b) >> 2);
}

static inline int32_t ruvm_fixed_clamp(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < -INT32_MAX ? -INT32_MAX : (int32_t)x;
}

/* (x * mult + half) >> shift in 64 bits, clamped to +-limit. */
static inline int32_t ruvm_fixed_scale(int32_t x, struct ruvm_ratio r, int32_t limit)
{
    int64_t y = ((int64_t)x * (int64_t)r.mult + ((int64_t)1 << (r.shift - 1))) >> r.shift;
    return y > limit ? limit : y < -limit ? -limit : (int32_t)y;
}

#endif
