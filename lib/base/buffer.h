/* Buffer: a growing writer with a sticky error.
 *
 * Writers of formats append without checking; after the first failed
 * allocation nothing more is written and ruvm_buffer_ok() says so once, at the
 * end. Little-endian.
 */
#ifndef RUVM_BASE_BUFFER_H
#define RUVM_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ruvm_buffer {
    uint8_t *data; /* owned; malloc'ed */
    size_t size;   /* bytes written */
    size_t cap;
    bool failed; /* memory ran short; contents are not to be used */
};

bool ruvm_buffer_ok(const struct ruvm_buffer *b);
void ruvm_buffer_free(struct ruvm_buffer *b);

void ruvm_buffer_bytes(struct ruvm_buffer *b, const void *data, size_t n);
void ruvm_buffer_u8(struct ruvm_buffer *b, uint8_t v);
void ruvm_buffer_u16(struct ruvm_buffer *b, uint16_t v);
void ruvm_buffer_u32(struct ruvm_buffer *b, uint32_t v);
/* Room for n bytes in all and no more, for what is known to come. */
void ruvm_buffer_room(struct ruvm_buffer *b, size_t n);
/* n zero bytes; returns their start, valid until the next append, or NULL. */
uint8_t *ruvm_buffer_zeros(struct ruvm_buffer *b, size_t n);
/* Zero bytes up to the next multiple of align, a power of two. */
void ruvm_buffer_align(struct ruvm_buffer *b, size_t align);
void ruvm_buffer_printf(struct ruvm_buffer *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
