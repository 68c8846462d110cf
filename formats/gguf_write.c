/* Writer of GGUF: the metadata is collected as bytes, the tensors are described in one pass
 * and written in another, a row at a time, so that a model needs no memory of its size.
 */
#include "formats/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "formats/dtype_write.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"

enum {
    ALIGNMENT = RUVM_GGUF_DEFAULT_ALIGNMENT,
    STAGED_BYTES = 1 << 20, /* rows go to the file in pieces of this size */
};

/* ---- metadata ------------------------------------------------------------------ */

static void put_u64(struct ruvm_buffer *b, uint64_t value)
{
    ruvm_buffer_u32(b, (uint32_t)value);
    ruvm_buffer_u32(b, (uint32_t)(value >> 32));
}

static void put_f32(struct ruvm_buffer *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ruvm_buffer_u32(b, bits);
}

static void put_string(struct ruvm_buffer *b, const void *text, size_t n)
{
    put_u64(b, n);
    ruvm_buffer_bytes(b, text, n);
}

/* Returns where the value goes. */
static struct ruvm_buffer *put_key(struct ruvm_gguf_writer *w, const char *key, uint32_t type)
{
    put_string(&w->pairs, key, strlen(key));
    ruvm_buffer_u32(&w->pairs, type);
    w->n_pairs++;
    return &w->pairs;
}

static struct ruvm_buffer *put_array(struct ruvm_gguf_writer *w, const char *key, uint32_t element,
                                     size_t n)
{
    struct ruvm_buffer *b = put_key(w, key, RUVM_GGUF_ARRAY);
    ruvm_buffer_u32(b, element);
    put_u64(b, n);
    return b;
}

void ruvm_gguf_put_text(struct ruvm_gguf_writer *w, const char *key, const void *text, size_t n)
{
    put_string(put_key(w, key, RUVM_GGUF_STRING), text, n);
}

void ruvm_gguf_put_u32(struct ruvm_gguf_writer *w, const char *key, uint32_t value)
{
    ruvm_buffer_u32(put_key(w, key, RUVM_GGUF_U32), value);
}

void ruvm_gguf_put_f32(struct ruvm_gguf_writer *w, const char *key, float value)
{
    put_f32(put_key(w, key, RUVM_GGUF_F32), value);
}

void ruvm_gguf_put_bool(struct ruvm_gguf_writer *w, const char *key, bool value)
{
    ruvm_buffer_u8(put_key(w, key, RUVM_GGUF_BOOL), value);
}

void ruvm_gguf_put_texts(struct ruvm_gguf_writer *w, const char *key,
                         const struct ruvm_gguf_string *texts, size_t n)
{
    struct ruvm_buffer *b = put_array(w, key, RUVM_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_string(b, texts[i].text, texts[i].n);
}

void ruvm_gguf_put_i32s(struct ruvm_gguf_writer *w, const char *key, const int32_t *values,
                        size_t n)
{
    struct ruvm_buffer *b = put_array(w, key, RUVM_GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        ruvm_buffer_u32(b, (uint32_t)values[i]);
}

void ruvm_gguf_put_f32s(struct ruvm_gguf_writer *w, const char *key, const float *values, size_t n)
{
    struct ruvm_buffer *b = put_array(w, key, RUVM_GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        put_f32(b, values[i]);
}

void ruvm_gguf_drop(struct ruvm_gguf_writer *w)
{
    ruvm_buffer_free(&w->pairs);
    *w = (struct ruvm_gguf_writer){0};
}

/* ---- descriptions -------------------------------------------------------------- */

static uint64_t n_cols(const struct ruvm_gguf_tensor *t)
{
    return t->dims[t->n_dims - 1];
}

static uint64_t n_rows(const struct ruvm_gguf_tensor *t)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i + 1 < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

static size_t row_bytes(const struct ruvm_gguf_tensor *t)
{
    uint32_t bytes, values = ruvm_dtype_block(t->dtype, &bytes);
    return (size_t)(n_cols(t) / values * bytes);
}

static uint32_t type_of(enum ruvm_dtype dtype)
{
    switch (dtype) {
    case RUVM_DTYPE_F16: return RUVM_GGUF_TENSOR_F16;
    case RUVM_DTYPE_BF16: return RUVM_GGUF_TENSOR_BF16;
    case RUVM_DTYPE_Q8_0: return RUVM_GGUF_TENSOR_Q8_0;
    case RUVM_DTYPE_Q4_0: return RUVM_GGUF_TENSOR_Q4_0;
    default: return RUVM_GGUF_TENSOR_F32;
    }
}

static int check(const struct ruvm_gguf_tensor *t, struct ruvm_error *err)
{
    uint32_t bytes;
    if (strlen(t->name) >= RUVM_GGUF_MAX_NAME_BYTES || t->name[0] == '\0')
        return ruvm_fail(err, RUVM_ERR_ARG, "%s: a name in GGUF has 1 to %d bytes", t->name,
                         RUVM_GGUF_MAX_NAME_BYTES - 1);
    if (!ruvm_dtype_writes(t->dtype))
        return ruvm_fail(err, RUVM_ERR_ARG, "%s: %s is not written", t->name,
                         ruvm_dtype_name(t->dtype));
    if (t->n_dims == 0 || t->n_dims > RUVM_GGUF_MAX_DIMS || n_cols(t) == 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "%s: GGUF has 1 to %d dimensions", t->name,
                         RUVM_GGUF_MAX_DIMS);
    if (n_cols(t) % ruvm_dtype_block(t->dtype, &bytes) != 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "%s: rows of %llu values are not whole blocks of %s",
                         t->name, (unsigned long long)n_cols(t), ruvm_dtype_name(t->dtype));
    return RUVM_OK;
}

/* All that stands before the data. */
static void put_head(struct ruvm_buffer *b, const struct ruvm_gguf_writer *w,
                     const struct ruvm_gguf_tensor *tensors, size_t n)
{
    uint64_t off = 0;
    ruvm_buffer_bytes(b, RUVM_GGUF_MAGIC, 4);
    ruvm_buffer_u32(b, RUVM_GGUF_MAX_VERSION);
    put_u64(b, n);
    put_u64(b, w->n_pairs);
    ruvm_buffer_bytes(b, w->pairs.data, w->pairs.size);
    for (size_t i = 0; i < n; i++) {
        const struct ruvm_gguf_tensor *t = &tensors[i];
        put_string(b, t->name, strlen(t->name));
        ruvm_buffer_u32(b, t->n_dims);
        for (uint32_t d = t->n_dims; d-- > 0;)
            put_u64(b, t->dims[d]);
        ruvm_buffer_u32(b, type_of(t->dtype));
        put_u64(b, off);
        off = ruvm_align_up((size_t)(off + n_rows(t) * row_bytes(t)), ALIGNMENT);
    }
    ruvm_buffer_align(b, ALIGNMENT);
}

/* ---- data ---------------------------------------------------------------------- */

static int flush(struct ruvm_buffer *b, struct ruvm_file_output *out, struct ruvm_error *err)
{
    if (!ruvm_buffer_ok(b))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: out of memory", out->path);
    int rc = ruvm_file_append(out, b->data, b->size, err);
    b->size = 0;
    return rc;
}

static int put_row(struct ruvm_buffer *b, const struct ruvm_gguf_tensor *t, uint64_t row,
                   float *values, struct ruvm_error *err)
{
    int rc = t->row(t->user, row, values);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: row %llu cannot be had", t->name, (unsigned long long)row);
    uint8_t *p = ruvm_buffer_zeros(b, row_bytes(t));
    if (p && !ruvm_dtype_write(t->dtype, values, n_cols(t), p))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: row %llu holds a value beyond the range of %s", t->name,
                         (unsigned long long)row, ruvm_dtype_name(t->dtype));
    return RUVM_OK;
}

static int put_tensor(struct ruvm_buffer *b, const struct ruvm_gguf_tensor *t,
                      struct ruvm_file_output *out, struct ruvm_error *err)
{
    float *values = calloc((size_t)n_cols(t), sizeof *values);
    int rc = values ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "%s: out of memory", t->name);
    for (uint64_t row = 0; rc == RUVM_OK && row < n_rows(t); row++) {
        rc = put_row(b, t, row, values, err);
        if (rc == RUVM_OK && (b->size >= STAGED_BYTES || !ruvm_buffer_ok(b)))
            rc = flush(b, out, err);
    }
    free(values);
    return rc;
}

/* What is staged does not begin at a multiple of the alignment: the tensor's own bytes say
 * how many are missing. */
static void pad(struct ruvm_buffer *b, const struct ruvm_gguf_tensor *t)
{
    size_t over = (size_t)(n_rows(t) * row_bytes(t) % ALIGNMENT);
    if (over)
        ruvm_buffer_zeros(b, ALIGNMENT - over);
}

static int write_all(struct ruvm_buffer *b, const struct ruvm_gguf_tensor *tensors, size_t n,
                     const char *path, struct ruvm_error *err)
{
    struct ruvm_file_output out;
    int rc = ruvm_file_create(&out, path, err);
    for (size_t i = 0; rc == RUVM_OK && i < n; i++) {
        rc = put_tensor(b, &tensors[i], &out, err);
        pad(b, &tensors[i]);
    }
    if (rc == RUVM_OK)
        rc = flush(b, &out, err);
    if (rc == RUVM_OK)
        rc = ruvm_file_commit(&out, err);
    ruvm_file_abandon(&out);
    return rc;
}

int ruvm_gguf_write(const struct ruvm_gguf_writer *w, const struct ruvm_gguf_tensor *tensors,
                    size_t n_tensors, const char *path, struct ruvm_error *err)
{
    struct ruvm_buffer b = {.failed = w->pairs.failed};
    int rc = RUVM_OK;
    for (size_t i = 0; rc == RUVM_OK && i < n_tensors; i++)
        rc = check(&tensors[i], err);
    if (rc == RUVM_OK) {
        put_head(&b, w, tensors, n_tensors);
        rc = write_all(&b, tensors, n_tensors, path, err);
    }
    ruvm_buffer_free(&b);
    return rc;
}
