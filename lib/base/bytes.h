/* Bytes: little-endian loads and stores, and a bounded reader.
 *
 * Every foreign byte passes through here. The reader never walks past its end:
 * the first read that would do so sets a sticky failure and remembers the byte
 * offset, later reads return zero, and the caller checks once, at the end:
 *
 *     struct ruvm_reader r = ruvm_reader_over(data, n_bytes);
 *     uint32_t dim = ruvm_reader_u32(&r);
 *     uint32_t hidden = ruvm_reader_u32(&r);
 *     if (r.failed)
 *         return ruvm_fail(err, RUVM_ERR_CORRUPT, "ends at byte %zu", r.fail_off);
 *
 * Header-only and freestanding: the chip side uses it too.
 */
#ifndef RUVM_BASE_BYTES_H
#define RUVM_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t ruvm_load_u16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | (unsigned)b[1] << 8);
}

static inline uint32_t ruvm_load_u32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t ruvm_load_u64(const void *p)
{
    const uint8_t *b = p;
    return (uint64_t)ruvm_load_u32(b) | (uint64_t)ruvm_load_u32(b + 4) << 32;
}

static inline void ruvm_store_u16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void ruvm_store_u32(void *p, uint32_t v)
{
    ruvm_store_u16(p, (uint16_t)v);
    ruvm_store_u16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

/* x rounded up to a multiple of align, a power of two. */
static inline size_t ruvm_align_up(size_t x, size_t align)
{
    return (x + align - 1) & ~(align - 1);
}

/* Bytes of the UTF-8 character at p < end (shortest form, no surrogates), or 0. */
static inline uint32_t ruvm_utf8_bytes(const uint8_t *p, const uint8_t *end)
{
    uint32_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n == 0 || p[0] > 0xF4 || (size_t)(end - p) < n)
        return 0;
    for (uint32_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return n;
}

struct ruvm_reader {
    const uint8_t *data; /* borrowed */
    size_t size;         /* bytes in data */
    size_t off;          /* next byte to read; <= size */
    bool failed;         /* a read went past the end */
    size_t fail_off;     /* where the first such read began */
};

static inline struct ruvm_reader ruvm_reader_over(const void *data, size_t size)
{
    return (struct ruvm_reader){.data = data, .size = size};
}

/* n bytes in place, or NULL (and the sticky failure) when fewer are left. */
static inline const uint8_t *ruvm_reader_take(struct ruvm_reader *r, size_t n)
{
    if (r->failed || n > r->size - r->off) {
        if (!r->failed) {
            r->failed = true;
            r->fail_off = r->off;
        }
        return NULL;
    }
    const uint8_t *p = r->data + r->off;
    r->off += n;
    return p;
}

static inline uint8_t ruvm_reader_u8(struct ruvm_reader *r)
{
    const uint8_t *p = ruvm_reader_take(r, 1);
    return p ? *p : 0;
}

static inline uint16_t ruvm_reader_u16(struct ruvm_reader *r)
{
    const uint8_t *p = ruvm_reader_take(r, 2);
    return p ? ruvm_load_u16(p) : 0;
}

static inline uint32_t ruvm_reader_u32(struct ruvm_reader *r)
{
    const uint8_t *p = ruvm_reader_take(r, 4);
    return p ? ruvm_load_u32(p) : 0;
}

static inline uint64_t ruvm_reader_u64(struct ruvm_reader *r)
{
    const uint8_t *p = ruvm_reader_take(r, 8);
    return p ? ruvm_load_u64(p) : 0;
}

#endif
