/* What compilers expect of any place: to copy, fill and compare memory.
 *
 * Words where both sides are aligned, because flash and RAM of a chip serve a word as
 * fast as a byte. The compiler must not make calls of itself out of these loops
 * (-fno-tree-loop-distribute-patterns in the Makefile). */
#include "lib/device/rt.h"

static bool are_aligned(const void *a, const void *b)
{
    return (((uintptr_t)a | (uintptr_t)b) & 3) == 0;
}

void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    if (are_aligned(t, f))
        for (; n >= 4; n -= 4, t += 4, f += 4)
            *(uint32_t *)(void *)t = *(const uint32_t *)(const void *)f;
    while (n--)
        *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f)
        return memcpy(to, from, n);
    while (n--)
        t[n] = f[n];
    return to;
}

void *memset(void *to, int c, size_t n)
{
    uint8_t *t = to;
    uint32_t word = (uint8_t)c * 0x01010101u;
    if (are_aligned(t, t))
        for (; n >= 4; n -= 4, t += 4)
            *(uint32_t *)(void *)t = word;
    while (n--)
        *t++ = (uint8_t)c;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *p = a, *q = b;
    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p < *q ? -1 : 1;
    return 0;
}
