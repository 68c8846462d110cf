/* Buffer: doubles when it is full; the first failed allocation ends writing.
 *
 * Every append asks reserve() for its bytes, so that growth, overflow and the
 * sticky failure are decided in one place.
 */
#include "lib/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

enum { FIRST_BYTES = 256 };

/* Where n more bytes may be written, or NULL. */
static uint8_t *reserve(struct ruvm_buffer *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > PTRDIFF_MAX - b->size) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->size + n;
    if (need > b->cap || !b->data) {
        size_t cap = b->cap > PTRDIFF_MAX / 2 ? need : 2 * b->cap;
        if (cap < need)
            cap = need;
        if (cap < FIRST_BYTES)
            cap = FIRST_BYTES;
        uint8_t *data = realloc(b->data, cap);
        if (!data) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    uint8_t *p = b->data + b->size;
    b->size = need;
    return p;
}

void ruvm_buffer_room(struct ruvm_buffer *b, size_t n)
{
    if (b->failed || n <= b->cap)
        return;
    uint8_t *data = n <= PTRDIFF_MAX ? realloc(b->data, n) : NULL;
    if (!data) {
        b->failed = true;
        return;
    }
    b->data = data;
    b->cap = n;
}

bool ruvm_buffer_ok(const struct ruvm_buffer *b)
{
    return !b->failed;
}

void ruvm_buffer_free(struct ruvm_buffer *b)
{
    free(b->data);
    *b = (struct ruvm_buffer){0};
}

void ruvm_buffer_bytes(struct ruvm_buffer *b, const void *data, size_t n)
{
    uint8_t *p = reserve(b, n);
    if (p && n)
        memcpy(p, data, n);
}

void ruvm_buffer_u8(struct ruvm_buffer *b, uint8_t v)
{
    uint8_t *p = reserve(b, 1);
    if (p)
        *p = v;
}

void ruvm_buffer_u16(struct ruvm_buffer *b, uint16_t v)
{
    uint8_t *p = reserve(b, 2);
    if (p)
        ruvm_store_u16(p, v);
}

void ruvm_buffer_u32(struct ruvm_buffer *b, uint32_t v)
{
    uint8_t *p = reserve(b, 4);
    if (p)
        ruvm_store_u32(p, v);
}

uint8_t *ruvm_buffer_zeros(struct ruvm_buffer *b, size_t n)
{
    uint8_t *p = reserve(b, n);
    return p ? memset(p, 0, n) : NULL;
}

void ruvm_buffer_align(struct ruvm_buffer *b, size_t align)
{
    ruvm_buffer_zeros(b, ruvm_align_up(b->size, align) - b->size);
}

void ruvm_buffer_printf(struct ruvm_buffer *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    uint8_t *p = n < 0 ? NULL : reserve(b, (size_t)n + 1);
    if (p) {
        vsnprintf((char *)p, (size_t)n + 1, fmt, again);
        b->size--; /* the NUL is not content */
    }
    va_end(again);
}
