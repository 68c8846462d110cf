/* Writes ONNX files: protocol buffers, then nodes and tensors. */
#include "tests/support/onnx_bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT = 1, INT64 = 7, FLOAT16 = 10, TEXT = 64 };

/* ---- protocol buffers -------------------------------------------------------------- */

void pb_varint(struct ruvm_buffer *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        ruvm_buffer_u8(b, (uint8_t)(value | 0x80));
    ruvm_buffer_u8(b, (uint8_t)value);
}

void pb_number(struct ruvm_buffer *b, unsigned field, uint64_t value)
{
    pb_varint(b, (uint64_t)field << 3);
    pb_varint(b, value);
}

void pb_bytes(struct ruvm_buffer *b, unsigned field, const void *data, size_t n)
{
    pb_varint(b, (uint64_t)field << 3 | 2);
    pb_varint(b, n);
    if (n)
        ruvm_buffer_bytes(b, data, n);
}

void pb_text(struct ruvm_buffer *b, unsigned field, const char *text)
{
    pb_bytes(b, field, text, strlen(text));
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void pb_float(struct ruvm_buffer *b, unsigned field, float value)
{
    pb_varint(b, (uint64_t)field << 3 | 5);
    ruvm_buffer_u32(b, bits_of(value));
}

void pb_message(struct ruvm_buffer *b, unsigned field, struct ruvm_buffer *part)
{
    pb_bytes(b, field, part->data, part->size);
    ruvm_buffer_free(part);
}

/* ---- tensors -------------------------------------------------------------------------- */

struct ruvm_buffer onnx_tensor(const char *name, unsigned type, struct onnx_shape shape)
{
    struct ruvm_buffer t = {0};
    for (unsigned i = 0; i < shape.n_dims; i++)
        pb_number(&t, 1, shape.dims[i]);
    pb_number(&t, 2, type);
    if (name)
        pb_text(&t, 8, name);
    return t;
}

/* Of values that half precision holds exactly. */
static uint16_t half(float value)
{
    int exponent;
    float fraction = frexpf(fabsf(value), &exponent);
    uint16_t sign = value < 0 ? 0x8000 : 0;
    if (fraction > 0)
        return (uint16_t)(sign | (unsigned)(exponent + 14) << 10 |
                          ((unsigned)(fraction * 2048) & 1023));
    return sign;
}

static void put_external(struct ruvm_buffer *t, const char *location, size_t off, size_t n)
{
    const char *keys[] = {"location", "offset", "length"};
    char values[3][TEXT];
    snprintf(values[0], TEXT, "%s", location);
    snprintf(values[1], TEXT, "%zu", off);
    snprintf(values[2], TEXT, "%zu", n);
    for (int i = 0; i < 3; i++) {
        struct ruvm_buffer entry = {0};
        pb_text(&entry, 1, keys[i]);
        pb_text(&entry, 2, values[i]);
        pb_message(t, 13, &entry);
    }
    pb_number(t, 14, 1);
}

void onnx_floats(struct ruvm_buffer *graph, const char *name, struct onnx_shape shape,
                 const float *values, enum onnx_storage storage, struct ruvm_buffer *external,
                 const char *location)
{
    struct ruvm_buffer t = onnx_tensor(name, storage == ONNX_HALF ? FLOAT16 : FLOAT, shape);
    struct ruvm_buffer numbers = {0};
    size_t n = 1, off = external ? external->size : 0;
    for (unsigned i = 0; i < shape.n_dims; i++)
        n *= shape.dims[i];
    for (size_t i = 0; i < n; i++)
        if (storage == ONNX_UNPACKED)
            pb_float(&t, 4, values[i]);
        else if (storage == ONNX_HALF)
            pb_varint(&numbers, half(values[i]));
        else
            ruvm_buffer_u32(&numbers, bits_of(values[i]));
    if (storage == ONNX_RAW)
        pb_bytes(&t, 9, numbers.data, numbers.size);
    else if (storage == ONNX_TYPED || storage == ONNX_HALF)
        pb_bytes(&t, storage == ONNX_HALF ? 5 : 4, numbers.data, numbers.size);
    else if (storage == ONNX_EXTERNAL) {
        put_external(&t, location, off, numbers.size);
        ruvm_buffer_bytes(external, numbers.data, numbers.size);
    }
    ruvm_buffer_free(&numbers);
    pb_message(graph, 5, &t);
}

/* ---- nodes ------------------------------------------------------------------------------ */

static void put_names(struct ruvm_buffer *node, unsigned field, const char *names)
{
    while (*names) {
        size_t n = strcspn(names, " ");
        pb_bytes(node, field, names, n);
        names += n + (names[n] == ' ');
    }
}

void onnx_node(struct ruvm_buffer *graph, const char *op, const char *in, const char *out,
               struct ruvm_buffer *attributes)
{
    struct ruvm_buffer node = {0};
    put_names(&node, 1, in);
    put_names(&node, 2, out);
    pb_text(&node, 4, op);
    if (attributes) {
        ruvm_buffer_bytes(&node, attributes->data, attributes->size);
        ruvm_buffer_free(attributes);
    }
    pb_message(graph, 1, &node);
}

void onnx_attribute_int(struct ruvm_buffer *attributes, const char *name, int64_t value)
{
    struct ruvm_buffer a = {0};
    pb_text(&a, 1, name);
    pb_number(&a, 3, (uint64_t)value);
    pb_number(&a, 20, 2);
    pb_message(attributes, 5, &a);
}

void onnx_attribute_ints(struct ruvm_buffer *attributes, const char *name, unsigned n,
                         const int64_t *values)
{
    struct ruvm_buffer a = {0};
    pb_text(&a, 1, name);
    for (unsigned i = 0; i < n; i++)
        pb_number(&a, 8, (uint64_t)values[i]);
    pb_number(&a, 20, 7);
    pb_message(attributes, 5, &a);
}

static void put_constant(struct ruvm_buffer *graph, const char *out, struct ruvm_buffer *tensor)
{
    struct ruvm_buffer a = {0}, attributes = {0};
    pb_text(&a, 1, "value");
    pb_message(&a, 5, tensor);
    pb_number(&a, 20, 4);
    pb_message(&attributes, 5, &a);
    onnx_node(graph, "Constant", "", out, &attributes);
}

void onnx_constant_ints(struct ruvm_buffer *graph, const char *out, unsigned n,
                        const int64_t *values)
{
    struct ruvm_buffer t = onnx_tensor(NULL, INT64, (struct onnx_shape){n > 0, {n}}), raw = {0};
    for (unsigned i = 0; i < (n ? n : 1); i++) {
        ruvm_buffer_u32(&raw, (uint32_t)values[i]);
        ruvm_buffer_u32(&raw, (uint32_t)((uint64_t)values[i] >> 32));
    }
    pb_message(&t, 9, &raw);
    put_constant(graph, out, &t);
}

void onnx_constant_float(struct ruvm_buffer *graph, const char *out, float value)
{
    struct ruvm_buffer t = onnx_tensor(NULL, FLOAT, (struct onnx_shape){0}), raw = {0};
    ruvm_buffer_u32(&raw, bits_of(value));
    pb_message(&t, 9, &raw);
    put_constant(graph, out, &t);
}

void onnx_end(struct ruvm_buffer *graph, unsigned field, const char *name)
{
    struct ruvm_buffer info = {0};
    pb_text(&info, 1, name);
    pb_message(graph, field, &info);
}

void onnx_property(struct ruvm_buffer *properties, const char *key, const char *value)
{
    struct ruvm_buffer entry = {0};
    pb_text(&entry, 1, key);
    pb_text(&entry, 2, value);
    pb_message(properties, 14, &entry);
}

struct ruvm_buffer onnx_model(struct ruvm_buffer *graph, struct ruvm_buffer *properties)
{
    struct ruvm_buffer model = {0}, opset = {0};
    pb_number(&model, 1, 7);
    pb_text(&model, 2, "pytorch");
    pb_message(&model, 7, graph);
    pb_number(&opset, 2, 14);
    pb_message(&model, 8, &opset);
    if (properties) {
        ruvm_buffer_bytes(&model, properties->data, properties->size);
        ruvm_buffer_free(properties);
    }
    return model;
}
