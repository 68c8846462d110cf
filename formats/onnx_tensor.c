/* One tensor of an ONNX file. Its values may stand in four places: raw bytes, a list of its own
 * type, a list of a wider type as varints (half floats and small integers do), or another file.
 *
 * Raw bytes and packed lists of floats are little-endian numbers side by side, so they are used
 * in place. Anything else is copied, after its values have been counted and agree with the shape.
 */
#include "formats/onnx_tensor.h"

#include <string.h>

#include "lib/base/bytes.h"

enum tensor_field {
    DIMS = 1,
    DATA_TYPE = 2,
    SEGMENT = 3,
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    STRING_DATA = 6,
    INT64_DATA = 7,
    NAME = 8,
    RAW_DATA = 9,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11,
    EXTERNAL_DATA = 13,
    DATA_LOCATION = 14,
};

enum { KEY = 1, VALUE = 2, EXTERNAL = 1, SHOWN_BYTES = 80 };

#define MAX_VALUES ((uint64_t)1 << 48) /* times eight bytes is still far from 2^63 */

static const struct {
    uint8_t bytes;
    enum tensor_field list; /* where values of the type stand when they are not raw */
} types[] = {
    [RUVM_ONNX_FLOAT] = {4, FLOAT_DATA},    [RUVM_ONNX_UINT8] = {1, INT32_DATA},
    [RUVM_ONNX_INT8] = {1, INT32_DATA},     [RUVM_ONNX_UINT16] = {2, INT32_DATA},
    [RUVM_ONNX_INT16] = {2, INT32_DATA},    [RUVM_ONNX_INT32] = {4, INT32_DATA},
    [RUVM_ONNX_INT64] = {8, INT64_DATA},    [RUVM_ONNX_BOOL] = {1, INT32_DATA},
    [RUVM_ONNX_FLOAT16] = {2, INT32_DATA},  [RUVM_ONNX_DOUBLE] = {8, DOUBLE_DATA},
    [RUVM_ONNX_UINT32] = {4, UINT64_DATA},  [RUVM_ONNX_UINT64] = {8, UINT64_DATA},
    [RUVM_ONNX_BFLOAT16] = {2, INT32_DATA},
};

struct reading {
    struct ruvm_onnx_tensor *t;
    struct ruvm_arena *arena;
    struct ruvm_protobuf message; /* the whole, to be read again */
    const uint8_t *file;
    struct ruvm_error *err;
    bool has_raw, has_length;
    uint64_t length; /* external, when it is said */
};

size_t ruvm_onnx_tensor_value_bytes(uint32_t type)
{
    return type < sizeof types / sizeof *types ? types[type].bytes : 0;
}

struct ruvm_onnx_text ruvm_onnx_tensor_text(const struct ruvm_protobuf_field *f)
{
    return (struct ruvm_onnx_text){.at = (const char *)f->bytes, .size = f->size};
}

int ruvm_onnx_tensor_shown(struct ruvm_onnx_text text)
{
    return (int)(text.size < SHOWN_BYTES ? text.size : SHOWN_BYTES);
}

#define SHOWN(text) ruvm_onnx_tensor_shown(text), (text).size ? (text).at : ""

static int fault(struct reading *r, const struct ruvm_protobuf *p)
{
    return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "byte %zu: tensor %.*s: %s",
                     (size_t)(p->fault_at - r->file), SHOWN(r->t->name), p->fault);
}

static int corrupt(struct reading *r, const char *what)
{
    return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "byte %zu: tensor %.*s: %s",
                     (size_t)(r->message.at - r->file), SHOWN(r->t->name), what);
}

/* ---- shape ----------------------------------------------------------------------- */

static int add_dim(struct reading *r, uint64_t dim)
{
    struct ruvm_onnx_tensor *t = r->t;
    if (t->n_dims == RUVM_ONNX_MAX_DIMS)
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "tensor %.*s: has more than %d dimensions",
                         SHOWN(t->name), RUVM_ONNX_MAX_DIMS);
    if (dim > MAX_VALUES)
        return corrupt(r, "a dimension is negative or absurd");
    t->dims[t->n_dims++] = dim;
    return RUVM_OK;
}

static int read_dims(struct reading *r, const struct ruvm_protobuf_field *f)
{
    struct ruvm_protobuf packed = ruvm_protobuf_inside(f);
    uint64_t dim;
    int rc = f->type == RUVM_PROTOBUF_VARINT ? add_dim(r, f->value) : RUVM_OK;
    while (rc == RUVM_OK && ruvm_protobuf_varint(&packed, &dim))
        rc = add_dim(r, dim);
    return rc == RUVM_OK && packed.fault ? fault(r, &packed) : rc;
}

static int count_values(struct reading *r)
{
    struct ruvm_onnx_tensor *t = r->t;
    t->n_values = 1;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (t->dims[i] == 0)
            t->n_values = 0;
    for (uint32_t i = 0; i < t->n_dims && t->n_values; i++) {
        if (t->dims[i] > MAX_VALUES / t->n_values)
            return corrupt(r, "its shape has an absurd number of values");
        t->n_values *= t->dims[i];
    }
    return RUVM_OK;
}

/* ---- another file ----------------------------------------------------------------- */

/* A decimal number and nothing else. */
static bool read_decimal(struct ruvm_onnx_text text, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || sum > UINT64_MAX / 10 - 1)
            return false;
        sum = sum * 10 + (uint64_t)(text.at[i] - '0');
    }
    *value = sum;
    return text.size > 0;
}

static int read_entry(struct reading *r, const struct ruvm_protobuf_field *entry)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(entry);
    struct ruvm_protobuf_field f;
    struct ruvm_onnx_text key = {0}, value = {0};
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, KEY, RUVM_PROTOBUF_BYTES))
            key = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, VALUE, RUVM_PROTOBUF_BYTES))
            value = ruvm_onnx_tensor_text(&f);
    }
    if (p.fault)
        return fault(r, &p);
    if (ruvm_onnx_is(key, "location"))
        r->t->location = value;
    if (ruvm_onnx_is(key, "offset") && !read_decimal(value, &r->t->off))
        return corrupt(r, "the offset of its external data is no number");
    if (ruvm_onnx_is(key, "length")) {
        r->has_length = read_decimal(value, &r->length);
        if (!r->has_length)
            return corrupt(r, "the length of its external data is no number");
    }
    return RUVM_OK;
}

static int check_external(struct reading *r)
{
    struct ruvm_onnx_tensor *t = r->t;
    if (t->location.size == 0)
        return corrupt(r, "its data is external, but no location is given");
    if (r->has_length && r->length != t->bytes)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                         "tensor %.*s: its shape makes %zu bytes, its external data has %llu",
                         SHOWN(t->name), t->bytes, (unsigned long long)r->length);
    return RUVM_OK;
}

/* ---- lists ------------------------------------------------------------------------ */

static bool is_fixed(enum tensor_field list)
{
    return list == FLOAT_DATA || list == DOUBLE_DATA;
}

static void store(uint8_t *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

/* Adds the numbers of one field of the list: to `to` when it is not NULL, and to the count. */
static void take(const struct ruvm_protobuf_field *f, bool fixed, size_t bytes, uint8_t *to,
                 uint64_t *n, struct ruvm_protobuf *packed)
{
    uint64_t value;
    *packed = ruvm_protobuf_inside(f);
    if (f->type != RUVM_PROTOBUF_BYTES) {
        if (to)
            store(to + *n * bytes, f->value, bytes);
        ++*n;
    } else if (fixed) {
        if (to && f->size)
            memcpy(to + *n * bytes, f->bytes, f->size / bytes * bytes);
        *n += f->size / bytes;
    } else {
        for (; ruvm_protobuf_varint(packed, &value); ++*n)
            if (to)
                store(to + *n * bytes, value, bytes);
    }
}

/* Goes through the list; *in_place is its only field when that holds every value side by side. */
static int read_list(struct reading *r, uint8_t *to, uint64_t *n, const uint8_t **in_place)
{
    enum tensor_field list = types[r->t->type].list;
    size_t bytes = types[r->t->type].bytes;
    struct ruvm_protobuf p = r->message, packed;
    struct ruvm_protobuf_field f;
    *n = 0;
    while (ruvm_protobuf_next(&p, &f)) {
        if (f.number != list)
            continue;
        *in_place = *n == 0 && is_fixed(list) && f.type == RUVM_PROTOBUF_BYTES ? f.bytes : NULL;
        take(&f, is_fixed(list), bytes, to, n, &packed);
        if (packed.fault)
            return fault(r, &packed);
        if (is_fixed(list) && f.size % bytes != 0)
            return corrupt(r, "a list of its values ends inside a number");
    }
    return RUVM_OK;
}

static int read_values(struct reading *r)
{
    struct ruvm_onnx_tensor *t = r->t;
    const uint8_t *in_place = NULL;
    uint64_t n;
    int rc = read_list(r, NULL, &n, &in_place);
    if (rc != RUVM_OK)
        return rc;
    if (n != t->n_values)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                         "byte %zu: tensor %.*s: its shape makes %llu values, the file has %llu",
                         (size_t)(r->message.at - r->file), SHOWN(t->name),
                         (unsigned long long)t->n_values, (unsigned long long)n);
    t->data = in_place;
    if (in_place)
        return RUVM_OK;
    uint8_t *copy = ruvm_arena_alloc(r->arena, n ? (size_t)n : 1, types[t->type].bytes);
    if (!copy)
        return ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for tensor %.*s", SHOWN(t->name));
    t->data = copy;
    return read_list(r, copy, &n, &in_place);
}

/* ---- the whole -------------------------------------------------------------------- */

static int read_field(struct reading *r, const struct ruvm_protobuf_field *f)
{
    struct ruvm_onnx_tensor *t = r->t;
    bool is_bytes = f->type == RUVM_PROTOBUF_BYTES;
    switch (f->number) {
    case DIMS: return read_dims(r, f);
    case DATA_TYPE: t->type = f->value < UINT32_MAX ? (uint32_t)f->value : 0; break;
    case SEGMENT: return corrupt(r, "it is a part of a tensor; ruvm reads whole ones");
    case DATA_LOCATION: t->is_external = f->value == EXTERNAL; break;
    case EXTERNAL_DATA: return read_entry(r, f);
    case RAW_DATA:
        if (!is_bytes)
            return corrupt(r, "its raw data are no bytes");
        r->has_raw = true;
        t->data = f->bytes;
        t->bytes = f->size;
        break;
    default: break;
    }
    return RUVM_OK;
}

/* The name first: every message has it. */
static void find_name(struct reading *r)
{
    struct ruvm_protobuf p = r->message;
    struct ruvm_protobuf_field f;
    while (ruvm_protobuf_next(&p, &f))
        if (ruvm_protobuf_is(&f, NAME, RUVM_PROTOBUF_BYTES))
            r->t->name = ruvm_onnx_tensor_text(&f);
}

static int find_values(struct reading *r)
{
    struct ruvm_onnx_tensor *t = r->t;
    size_t expected = (size_t)t->n_values * ruvm_onnx_tensor_value_bytes(t->type);
    if (ruvm_onnx_tensor_value_bytes(t->type) == 0) {
        t->data = NULL;
        t->bytes = 0;
        return RUVM_OK;
    }
    if (r->has_raw && !t->is_external && t->bytes != expected)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                         "byte %zu: tensor %.*s: its shape makes %zu bytes, the file has %zu",
                         (size_t)(r->message.at - r->file), SHOWN(t->name), expected, t->bytes);
    t->bytes = expected;
    if (t->is_external) {
        t->data = NULL;
        return check_external(r);
    }
    return r->has_raw ? RUVM_OK : read_values(r);
}

int ruvm_onnx_tensor_read(struct ruvm_onnx_tensor *t, struct ruvm_arena *arena,
                          const struct ruvm_protobuf_field *message, const uint8_t *file,
                          struct ruvm_error *err)
{
    *t = (struct ruvm_onnx_tensor){0};
    struct reading r = {
        .t = t, .arena = arena, .message = ruvm_protobuf_inside(message), .file = file, .err = err};
    find_name(&r);
    struct ruvm_protobuf p = r.message;
    struct ruvm_protobuf_field f;
    int rc = RUVM_OK;
    while (rc == RUVM_OK && ruvm_protobuf_next(&p, &f))
        rc = read_field(&r, &f);
    if (rc == RUVM_OK && p.fault)
        rc = fault(&r, &p);
    if (rc == RUVM_OK)
        rc = count_values(&r);
    return rc == RUVM_OK ? find_values(&r) : rc;
}

/* ---- values ------------------------------------------------------------------------- */

bool ruvm_onnx_integer(const struct ruvm_onnx_tensor *t, uint64_t i, int64_t *value)
{
    const uint8_t *p = t->data;
    if (!p || i >= t->n_values)
        return false;
    switch (t->type) {
    case RUVM_ONNX_BOOL:
    case RUVM_ONNX_UINT8: *value = p[i]; return true;
    case RUVM_ONNX_INT8: *value = (int8_t)p[i]; return true;
    case RUVM_ONNX_UINT16: *value = ruvm_load_u16(p + 2 * i); return true;
    case RUVM_ONNX_INT16: *value = (int16_t)ruvm_load_u16(p + 2 * i); return true;
    case RUVM_ONNX_UINT32: *value = ruvm_load_u32(p + 4 * i); return true;
    case RUVM_ONNX_INT32: *value = (int32_t)ruvm_load_u32(p + 4 * i); return true;
    case RUVM_ONNX_UINT64:
    case RUVM_ONNX_INT64: *value = (int64_t)ruvm_load_u64(p + 8 * i); return true;
    default: return false;
    }
}

bool ruvm_onnx_view(const struct ruvm_onnx_tensor *t, struct ruvm_view *v)
{
    switch (t->type) {
    case RUVM_ONNX_FLOAT: v->dtype = RUVM_DTYPE_F32; break;
    case RUVM_ONNX_DOUBLE: v->dtype = RUVM_DTYPE_F64; break;
    case RUVM_ONNX_FLOAT16: v->dtype = RUVM_DTYPE_F16; break;
    case RUVM_ONNX_BFLOAT16: v->dtype = RUVM_DTYPE_BF16; break;
    default: return false;
    }
    v->data = t->data;
    v->bytes = t->bytes;
    return t->data != NULL;
}

bool ruvm_onnx_real(const struct ruvm_onnx_tensor *t, uint64_t i, double *value)
{
    struct ruvm_view v = {.n_dims = 1, .dims = {1}};
    float x;
    if (!ruvm_onnx_view(t, &v) || i >= t->n_values)
        return false;
    v.data += i * types[t->type].bytes;
    ruvm_view_row(&v, 0, &x);
    *value = (double)x;
    return true;
}
