/* SLIP, both ways. */
#include "formats/slip.h"

void ruvm_slip_put(struct ruvm_buffer *out, const uint8_t *frame, size_t n)
{
    ruvm_buffer_u8(out, RUVM_SLIP_END);
    for (size_t i = 0; i < n; i++) {
        bool is_end = frame[i] == RUVM_SLIP_END, is_esc = frame[i] == RUVM_SLIP_ESC;
        if (is_end || is_esc)
            ruvm_buffer_u8(out, RUVM_SLIP_ESC);
        ruvm_buffer_u8(out, is_end ? RUVM_SLIP_ESC_END : is_esc ? RUVM_SLIP_ESC_ESC : frame[i]);
    }
    ruvm_buffer_u8(out, RUVM_SLIP_END);
}

static void keep(struct ruvm_slip *s, uint8_t byte)
{
    if (s->size == s->cap)
        s->state = RUVM_SLIP_DROPPED;
    else
        s->frame[s->size++] = byte;
}

static void unescape(struct ruvm_slip *s, uint8_t byte)
{
    s->state = RUVM_SLIP_BYTES;
    if (byte == RUVM_SLIP_ESC_END)
        keep(s, RUVM_SLIP_END);
    else if (byte == RUVM_SLIP_ESC_ESC)
        keep(s, RUVM_SLIP_ESC);
    else
        s->state = RUVM_SLIP_DROPPED;
}

/* An end is a beginning as well: after a lost byte the next frame is read whole. */
bool ruvm_slip_take(struct ruvm_slip *s, uint8_t byte)
{
    if (s->state == RUVM_SLIP_WHOLE) {
        s->size = 0;
        s->state = RUVM_SLIP_BYTES;
    }
    if (byte == RUVM_SLIP_END) {
        bool whole = s->state == RUVM_SLIP_BYTES && s->size > 0;
        s->state = RUVM_SLIP_WHOLE;
        return whole;
    }
    if (s->state == RUVM_SLIP_ESCAPED)
        unescape(s, byte);
    else if (s->state == RUVM_SLIP_BYTES && byte == RUVM_SLIP_ESC)
        s->state = RUVM_SLIP_ESCAPED;
    else if (s->state == RUVM_SLIP_BYTES)
        keep(s, byte);
    return false;
}
