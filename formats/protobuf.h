/* Protocol buffers' wire format, field by field and in place.
 *
 *     struct ruvm_protobuf p = ruvm_protobuf_over(data, size);
 *     struct ruvm_protobuf_field f;
 *     while (ruvm_protobuf_next(&p, &f))
 *         if (ruvm_protobuf_is(&f, 1, RUVM_PROTOBUF_BYTES))
 *             ... f.bytes, f.size, or struct ruvm_protobuf inner = ruvm_protobuf_inside(&f);
 *     if (p.fault)
 *         return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: %s",
 *                          (size_t)(p.fault_at - data), p.fault);
 *
 * Nothing is copied and nothing recurses: a message in a field is opened by its caller, who so
 * decides how deep to go. Fields that a caller does not know are passed over.
 */
#ifndef RUVM_FORMATS_PROTOBUF_H
#define RUVM_FORMATS_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ruvm_protobuf_type {
    RUVM_PROTOBUF_VARINT = 0, /* int32 int64 uint64 bool enum */
    RUVM_PROTOBUF_FIXED64 = 1,
    RUVM_PROTOBUF_BYTES = 2, /* string, bytes, message, packed numbers */
    RUVM_PROTOBUF_FIXED32 = 5,
};

struct ruvm_protobuf {
    const uint8_t *at, *end; /* what is still to be read */
    const char *fault;       /* why reading ended early; NULL: it did not */
    const uint8_t *fault_at;
};

struct ruvm_protobuf_field {
    uint32_t number;
    enum ruvm_protobuf_type type;
    uint64_t value;       /* of a varint or a fixed field; negative numbers are 64 bits wide */
    const uint8_t *bytes; /* of a field of bytes */
    size_t size;
};

struct ruvm_protobuf ruvm_protobuf_over(const uint8_t *data, size_t size);

/* The next field; false at the end, and at a fault. */
bool ruvm_protobuf_next(struct ruvm_protobuf *p, struct ruvm_protobuf_field *f);
/* The next number of packed varints; false at the end, and at a fault. */
bool ruvm_protobuf_varint(struct ruvm_protobuf *p, uint64_t *value);

bool ruvm_protobuf_is(const struct ruvm_protobuf_field *f, uint32_t number,
                      enum ruvm_protobuf_type type);
/* A reader over a field of bytes; over nothing when the field has another type. */
struct ruvm_protobuf ruvm_protobuf_inside(const struct ruvm_protobuf_field *f);
/* A fixed32 field as the float it is. */
float ruvm_protobuf_float(const struct ruvm_protobuf_field *f);

#endif
