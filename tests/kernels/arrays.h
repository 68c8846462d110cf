/* Arrays for kernels to be compared on, and the comparison of what they left.
 *
 * Every array lies flush against a page that cannot be touched, so one byte read or
 * written past an end is a crash; 64 bytes before it and the gaps between strided
 * rows are compared as well, so a stray write there is a difference.
 */
#ifndef TESTS_KERNELS_ARRAYS_H
#define TESTS_KERNELS_ARRAYS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    COMPARE_SLOTS = 8,
    COMPARE_SLOT_BYTES = 1 << 20, /* the largest array of a case */
    COMPARE_PAGE = 65536,         /* at least a page on every machine */
    COMPARE_BEFORE = 64
};

static uint8_t *compare_slot_end[COMPARE_SLOTS];
static int compare_slot;
static uint64_t compare_state = 1;
static uint32_t compare_hash; /* of all that oracles gave: the same on every machine */
static char compare_message[200];

static void compare_init(void)
{
    for (int i = 0; i < COMPARE_SLOTS && !compare_slot_end[i]; i++) {
        size_t usable = COMPARE_SLOT_BYTES + COMPARE_PAGE;
        uint8_t *map = mmap(NULL, usable + COMPARE_PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED || mprotect(map + usable, COMPARE_PAGE, PROT_NONE) != 0)
            abort();
        compare_slot_end[i] = map + usable;
    }
}

/* The next array, ending where memory ends; compare_slot = 0 takes all of them back. */
static void *compare_array(size_t bytes)
{
    if (bytes > COMPARE_SLOT_BYTES || compare_slot == COMPARE_SLOTS)
        abort();
    uint8_t *p = compare_slot_end[compare_slot++] - bytes;
    memset(p - COMPARE_BEFORE, 0x5a, COMPARE_BEFORE);
    memset(p, 0xa5, bytes);
    return p;
}

/* splitmix64 */
static uint64_t compare_random(void)
{
    uint64_t z = compare_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* -limit..limit in one of five manners: random, all highest, alternating, mostly
 * zero, or only the three extremes; limit < 2^31. */
static int32_t compare_value(int manner, uint32_t i, int64_t limit)
{
    uint64_t r = compare_random();
    int64_t any = (int64_t)(r >> 16) % (2 * limit + 1) - limit;
    switch (manner) {
    case 1: return (int32_t)limit;
    case 2: return (int32_t)(i & 1 ? -limit : limit);
    case 3: return (int32_t)(r & 7 ? 0 : any);
    case 4: return (int32_t)((int64_t)(r % 3) * limit - limit);
    default: return (int32_t)any;
    }
}

static int8_t *compare_s8(size_t n, int manner)
{
    int8_t *p = compare_array(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)compare_value(manner, (uint32_t)i, 127);
    return p;
}

static inline int16_t *compare_s16(size_t n, int manner, int limit)
{
    int16_t *p = compare_array(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = (int16_t)compare_value(manner, (uint32_t)i, limit);
    return p;
}

static inline uint16_t *compare_u16(size_t n, int manner, int limit)
{
    uint16_t *p = compare_array(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint16_t)abs(compare_value(manner, (uint32_t)i, limit));
    return p;
}

static inline int32_t *compare_s32(size_t n, int manner, int64_t limit)
{
    int32_t *p = compare_array(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = compare_value(manner, (uint32_t)i, limit);
    return p;
}

/* A copy of an array, so that a kernel and the oracle start from the same bytes. */
static inline void *compare_twin(const void *p, size_t bytes)
{
    return bytes ? memcpy(compare_array(bytes), p, bytes) : compare_array(bytes);
}

/* 0 when the outputs a and b (and what lies before a) are as they should be. */
static int compare_same(const char *what, const void *a, const void *b, size_t bytes, uint32_t n,
                        uint32_t m)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < bytes; i++) {
        compare_hash = compare_hash * 16777619u ^ y[i];
        if (x[i] == y[i])
            continue;
        snprintf(compare_message, sizeof compare_message,
                 "%s: shape %u, %u: output differs at byte %zu of %zu", what, n, m, i, bytes);
        return 1;
    }
    for (int i = 1; i <= COMPARE_BEFORE; i++) {
        if (x[-i] == 0x5a)
            continue;
        snprintf(compare_message, sizeof compare_message,
                 "%s: shape %u, %u: wrote %d bytes before its output", what, n, m, i);
        return 1;
    }
    return 0;
}

static inline int compare_number(const char *what, uint64_t a, uint64_t b, uint32_t n)
{
    compare_hash = compare_hash * 16777619u ^ (uint32_t)b;
    if (a == b)
        return 0;
    snprintf(compare_message, sizeof compare_message, "%s: n %u: returned %llu instead of %llu",
             what, n, (unsigned long long)a, (unsigned long long)b);
    return 1;
}

#endif
