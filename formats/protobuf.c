/* Protocol buffers' wire format: a message is tags and values, one after the other.
 *
 * A tag is a varint that holds a field's number and how its value is stored. Every length is
 * compared with the bytes that are left before it is used. The two types of groups, which
 * protocol buffers gave up and no format here has, are refused.
 */
#include "formats/protobuf.h"

#include <string.h>

#include "lib/base/bytes.h"

enum { MAX_VARINT_BYTES = 10 }; /* 64 bits, seven a byte */

struct ruvm_protobuf ruvm_protobuf_over(const uint8_t *data, size_t size)
{
    return (struct ruvm_protobuf){.at = data, .end = size ? data + size : data};
}

static bool fail(struct ruvm_protobuf *p, const uint8_t *at, const char *what)
{
    if (!p->fault) {
        p->fault = what;
        p->fault_at = at;
    }
    p->at = p->end;
    return false;
}

static bool read_varint(struct ruvm_protobuf *p, uint64_t *value)
{
    const uint8_t *start = p->at;
    uint64_t sum = 0;
    for (unsigned i = 0; i < MAX_VARINT_BYTES; i++) {
        if (p->at == p->end)
            return fail(p, start, "the file ends inside a number");
        uint8_t byte = *p->at++;
        if (i == MAX_VARINT_BYTES - 1 && byte > 1)
            break;
        sum |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            *value = sum;
            return true;
        }
    }
    return fail(p, start, "a number has more than 64 bits");
}

bool ruvm_protobuf_varint(struct ruvm_protobuf *p, uint64_t *value)
{
    return p->at != p->end && read_varint(p, value);
}

static bool read_fixed(struct ruvm_protobuf *p, size_t n, uint64_t *value)
{
    if ((size_t)(p->end - p->at) < n)
        return fail(p, p->at, "the file ends inside a number");
    *value = n == 8 ? ruvm_load_u64(p->at) : ruvm_load_u32(p->at);
    p->at += n;
    return true;
}

static bool read_bytes(struct ruvm_protobuf *p, struct ruvm_protobuf_field *f)
{
    const uint8_t *start = p->at;
    uint64_t size;
    if (!read_varint(p, &size))
        return false;
    if (size > (size_t)(p->end - p->at))
        return fail(p, start, "a field is longer than what holds it");
    f->bytes = p->at;
    f->size = (size_t)size;
    p->at += size;
    return true;
}

bool ruvm_protobuf_next(struct ruvm_protobuf *p, struct ruvm_protobuf_field *f)
{
    const uint8_t *start = p->at;
    uint64_t tag;
    if (p->at == p->end || !read_varint(p, &tag))
        return false;
    if (tag >> 3 == 0 || tag > UINT32_MAX)
        return fail(p, start, "a field has an impossible number");
    *f = (struct ruvm_protobuf_field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case RUVM_PROTOBUF_VARINT: f->type = RUVM_PROTOBUF_VARINT; return read_varint(p, &f->value);
    case RUVM_PROTOBUF_FIXED64: f->type = RUVM_PROTOBUF_FIXED64; return read_fixed(p, 8, &f->value);
    case RUVM_PROTOBUF_BYTES: f->type = RUVM_PROTOBUF_BYTES; return read_bytes(p, f);
    case RUVM_PROTOBUF_FIXED32: f->type = RUVM_PROTOBUF_FIXED32; return read_fixed(p, 4, &f->value);
    default: return fail(p, start, "a field is of no type that protocol buffers have");
    }
}

bool ruvm_protobuf_is(const struct ruvm_protobuf_field *f, uint32_t number,
                      enum ruvm_protobuf_type type)
{
    return f->number == number && f->type == type;
}

struct ruvm_protobuf ruvm_protobuf_inside(const struct ruvm_protobuf_field *f)
{
    return ruvm_protobuf_over(f->bytes, f->size);
}

float ruvm_protobuf_float(const struct ruvm_protobuf_field *f)
{
    uint32_t bits = (uint32_t)f->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
