/* Arithmetic that Debian's compiler for Xtensa calls and does not bring along: its own chip
 * has it in ROM. Products of 32 bits the processor makes itself, all else is made of them. */
#include "lib/device/rt.h"

/* The product of 32 bits each, out of products of 16 bits. */
static uint64_t multiply(uint32_t a, uint32_t b)
{
    uint32_t a0 = a & 0xffff, a1 = a >> 16, b0 = b & 0xffff, b1 = b >> 16;
    uint32_t low = a0 * b0, mid = a1 * b0 + (low >> 16), mid2 = a0 * b1 + (mid & 0xffff);
    uint32_t high = a1 * b1 + (mid >> 16) + (mid2 >> 16);
    return (uint64_t)high << 32 | (mid2 << 16 | (low & 0xffff));
}

int64_t __muldi3(int64_t a, int64_t b)
{
    uint32_t a0 = (uint32_t)a, a1 = (uint32_t)((uint64_t)a >> 32);
    uint32_t b0 = (uint32_t)b, b1 = (uint32_t)((uint64_t)b >> 32);
    return (int64_t)(multiply(a0, b0) + ((uint64_t)(a0 * b1 + a1 * b0) << 32));
}

/* b is not 0: as everywhere in C, that is the caller's concern. */
static uint32_t divide(uint32_t a, uint32_t b, uint32_t *rest)
{
    uint32_t quotient = 0;
    if (a >= b && b) {
        uint32_t shift = (uint32_t)__builtin_clz(b) - (uint32_t)__builtin_clz(a);
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

uint32_t __udivsi3(uint32_t a, uint32_t b)
{
    uint32_t rest;
    return divide(a, b, &rest);
}

uint32_t __umodsi3(uint32_t a, uint32_t b)
{
    uint32_t rest;
    divide(a, b, &rest);
    return rest;
}

static uint32_t magnitude(int32_t x)
{
    return x < 0 ? 0 - (uint32_t)x : (uint32_t)x;
}

int32_t __divsi3(int32_t a, int32_t b)
{
    uint32_t rest, quotient = divide(magnitude(a), magnitude(b), &rest);
    return (int32_t)((a < 0) != (b < 0) ? 0 - quotient : quotient);
}

int32_t __modsi3(int32_t a, int32_t b)
{
    uint32_t rest;
    divide(magnitude(a), magnitude(b), &rest);
    return (int32_t)(a < 0 ? 0 - rest : rest);
}
