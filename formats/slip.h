/* SLIP: frames in a stream of bytes (RFC 1055).
 *
 *     struct ruvm_slip slip = {.frame = memory, .cap = sizeof memory};
 *     while (more bytes)
 *         if (ruvm_slip_take(&slip, byte))
 *             use(slip.frame, slip.size);
 *
 * The reader never loses its way for longer than a frame: what is between frames becomes a
 * frame of its own, which the protocol above refuses, and what is too long or wrongly escaped
 * is dropped up to the next end.
 */
#ifndef RUVM_FORMATS_SLIP_H
#define RUVM_FORMATS_SLIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buffer.h"

enum { RUVM_SLIP_END = 0xC0, RUVM_SLIP_ESC = 0xDB, RUVM_SLIP_ESC_END, RUVM_SLIP_ESC_ESC };

void ruvm_slip_put(struct ruvm_buffer *out, const uint8_t *frame, size_t n);

struct ruvm_slip {
    uint8_t *frame; /* the caller's */
    size_t cap, size;
    enum { RUVM_SLIP_BYTES, RUVM_SLIP_ESCAPED, RUVM_SLIP_DROPPED, RUVM_SLIP_WHOLE } state;
};

/* True when the byte makes a frame whole; it is there until the next call. */
bool ruvm_slip_take(struct ruvm_slip *s, uint8_t byte);

#endif
