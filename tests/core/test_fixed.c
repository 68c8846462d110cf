/* Scaled numbers and sines against doubles. */
#include <criterion/criterion.h>
#include <math.h>

#include "lib/core/fixed.h"
#include "tests/core/random_image.h"

static double value(struct ruvm_real r)
{
    return ldexp((double)r.m, r.e);
}

/* A number of any size between 2^-60 and 2^60. */
static struct ruvm_real any(uint64_t *rng)
{
    uint64_t bits = random_next(rng);
    return ruvm_real_make((bits >> (bits & 31)) | 1, (int32_t)(bits >> 40 & 63) - 60);
}

Test(fixed, real_arithmetic_is_within_two_to_the_minus_28)
{
    uint64_t rng = 1;
    double limit = ldexp(1, -28);
    for (int i = 0; i < 200000; i++) {
        struct ruvm_real a = any(&rng), b = any(&rng);
        double x = value(a), y = value(b);
        cr_assert(fabs(value(ruvm_real_mul(a, b)) / (x * y) - 1) < limit);
        cr_assert(fabs(value(ruvm_real_add(a, b)) / (x + y) - 1) < limit);
        cr_assert(fabs(value(ruvm_real_rsqrt(a)) * sqrt(x) - 1) < limit, "rsqrt of %g", x);
    }
}

Test(fixed, zero_is_zero)
{
    struct ruvm_real zero = ruvm_real_make(0, 5), one = ruvm_real_make(1, 0);
    cr_assert_eq(zero.m, 0);
    cr_assert_eq(ruvm_real_mul(zero, one).m, 0);
    cr_assert_eq(ruvm_real_rsqrt(zero).m, 0);
    cr_assert_eq(value(ruvm_real_add(zero, one)), 1.0);
    cr_assert_eq(ruvm_real_ratio(zero).mult, 0);
}

Test(fixed, ratios_scale_and_saturate)
{
    struct ruvm_ratio half = ruvm_real_ratio(ruvm_real_make(1, -1));
    cr_assert_eq(ruvm_fixed_scale(100, half, 1000), 50);
    cr_assert_eq(ruvm_fixed_scale(-100, half, 1000), -50);
    cr_assert_eq(ruvm_fixed_scale(100000, half, 127), 127);
    cr_assert_eq(ruvm_fixed_scale(-100000, half, 127), -127);
    struct ruvm_ratio tiny = ruvm_real_ratio(ruvm_real_make(1, -200));
    cr_assert_eq(ruvm_fixed_scale(INT32_MAX, tiny, 127), 0);
    struct ruvm_ratio huge = ruvm_real_ratio(ruvm_real_make(1, 200));
    cr_assert_eq(ruvm_fixed_scale(1, huge, 127), 127);
    uint64_t rng = 2;
    for (int i = 0; i < 100000; i++) {
        struct ruvm_real a = any(&rng);
        struct ruvm_ratio r = ruvm_real_ratio(a);
        cr_assert(r.mult < 1u << 31 && r.shift >= 1 && r.shift <= 62);
        int32_t x = (int32_t)random_next(&rng) / 2;
        double expected = x * value(a);
        if (fabs(expected) < 1e9)
            cr_assert(fabs(ruvm_fixed_scale(x, r, INT32_MAX) - expected) <=
                          0.5 + 2e-9 * fabs(expected),
                      "%d * %g", x, value(a));
    }
}

Test(fixed, sines_are_within_two_to_the_minus_13)
{
    double turn = 2 * acos(-1.0) / 4294967296.0;
    for (uint64_t p = 0; p < 1ull << 32; p += 65521) {
        double s = ruvm_fixed_sin((uint32_t)p) / 16384.0, c = ruvm_fixed_cos((uint32_t)p) / 16384.0;
        cr_assert(fabs(s - sin((double)p * turn)) < ldexp(1, -13));
        cr_assert(fabs(c - cos((double)p * turn)) < ldexp(1, -13));
    }
    cr_assert_eq(ruvm_fixed_cos(0), 16384);
    cr_assert_eq(ruvm_fixed_sin(0x40000000u), 16384);
    cr_assert_eq(ruvm_fixed_sin(0xC0000000u), -16384);
}
