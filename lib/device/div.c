/* What compilers bring along in a large form: division of 64 bits, in 200 bytes instead of 4
 * KB, as nothing in a token's work divides so (a bit of the quotient a turn, from the first
 * that can be set); and leading zeros without a table of 256 bytes. */
#include "lib/device/rt.h"

int __clzsi2(uint32_t x)
{
    int n = 32;
    for (int half = 16; half; half /= 2)
        if (x >> half) {
            n -= half;
            x >>= half;
        }
    return n - (int)x;
}

static uint32_t leading_zeros(uint64_t x)
{
    uint32_t high = (uint32_t)(x >> 32);
    return high ? (uint32_t)__builtin_clz(high) : 32u + (uint32_t)__builtin_clz((uint32_t)x);
}

/* b is not 0: as everywhere in C, that is the caller's concern. */
static uint64_t divide(uint64_t a, uint64_t b, uint64_t *rest)
{
    uint64_t quotient = 0;
    if (a >= b && b) {
        uint32_t shift = leading_zeros(b) - leading_zeros(a);
        b <<= shift;
        for (uint32_t i = 0; i <= shift; i++, b >>= 1) {
            quotient <<= 1;
            if (a >= b) {
                a -= b;
                quotient |= 1;
            }
        }
    }
    *rest = a;
    return quotient;
}

uint64_t __udivdi3(uint64_t a, uint64_t b)
{
    uint64_t rest;
    return divide(a, b, &rest);
}

uint64_t __umoddi3(uint64_t a, uint64_t b)
{
    uint64_t rest;
    divide(a, b, &rest);
    return rest;
}

static uint64_t magnitude(int64_t x)
{
    return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

int64_t __divdi3(int64_t a, int64_t b)
{
    uint64_t rest, quotient = divide(magnitude(a), magnitude(b), &rest);
    return (int64_t)((a < 0) != (b < 0) ? 0 - quotient : quotient);
}

int64_t __moddi3(int64_t a, int64_t b)
{
    uint64_t rest;
    divide(magnitude(a), magnitude(b), &rest);
    return (int64_t)(a < 0 ? 0 - rest : rest);
}
