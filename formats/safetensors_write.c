/* Writer of safetensors files: the header in one piece, then floats as they come.
 *
 * Spaces fill the header up to a multiple of eight bytes, so that tensors are aligned in a
 * mapped file; "format": "pt" is what Hugging Face's library asks for.
 */
#include "formats/safetensors_write.h"

#include "formats/dtype_write.h"
#include "lib/base/buffer.h"
#include "lib/base/bytes.h"

enum { LENGTH_BYTES = 8, ALIGN = 8, PIECE = 1 << 12 /* floats at a time */ };

/* A JSON string. */
static void put_name(struct ruvm_buffer *b, const char *name)
{
    ruvm_buffer_u8(b, '"');
    for (; *name; name++) {
        uint8_t c = (uint8_t)*name;
        if (c == '"' || c == '\\')
            ruvm_buffer_u8(b, '\\');
        if (c < ' ')
            ruvm_buffer_printf(b, "\\u%04x", c);
        else
            ruvm_buffer_u8(b, c);
    }
    ruvm_buffer_u8(b, '"');
}

static const char *type_name(enum ruvm_dtype dtype)
{
    return dtype == RUVM_DTYPE_F16 ? "F16" : dtype == RUVM_DTYPE_BF16 ? "BF16" : "F32";
}

/* Returns where the tensor ends in the data. */
static uint64_t put_entry(struct ruvm_buffer *b, const struct ruvm_view *v, enum ruvm_dtype dtype,
                          uint64_t at)
{
    uint32_t value_bytes;
    ruvm_dtype_block(dtype, &value_bytes);
    uint64_t bytes = value_bytes;
    ruvm_buffer_u8(b, ',');
    put_name(b, v->name);
    ruvm_buffer_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", type_name(dtype));
    for (uint32_t i = 0; i < v->n_dims; i++) {
        bytes *= v->dims[i];
        ruvm_buffer_printf(b, "%s%llu", i ? "," : "", (unsigned long long)v->dims[i]);
    }
    ruvm_buffer_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                       (unsigned long long)(at + bytes));
    return at + bytes;
}

int ruvm_safetensors_begin(struct ruvm_file_output *out, const struct ruvm_view *views, size_t n,
                           enum ruvm_dtype dtype, struct ruvm_error *err)
{
    struct ruvm_buffer b = {0};
    uint64_t at = 0;
    ruvm_buffer_zeros(&b, LENGTH_BYTES);
    ruvm_buffer_printf(&b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++)
        at = put_entry(&b, &views[i], dtype, at);
    ruvm_buffer_u8(&b, '}');
    while (b.size % ALIGN != 0 && ruvm_buffer_ok(&b))
        ruvm_buffer_u8(&b, ' ');
    int rc;
    if (ruvm_buffer_ok(&b)) {
        uint64_t length = b.size - LENGTH_BYTES;
        ruvm_store_u32(b.data, (uint32_t)length);
        ruvm_store_u32(b.data + 4, (uint32_t)(length >> 32));
        rc = ruvm_file_append(out, b.data, b.size, err);
    } else {
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the names of %zu tensors", n);
    }
    ruvm_buffer_free(&b);
    return rc;
}

int ruvm_safetensors_values(struct ruvm_file_output *out, enum ruvm_dtype dtype,
                            const float *values, size_t n, struct ruvm_error *err)
{
    uint8_t bytes[PIECE * sizeof(float)];
    uint32_t value_bytes;
    int rc = RUVM_OK;
    ruvm_dtype_block(dtype, &value_bytes);
    for (size_t done = 0; done < n && rc == RUVM_OK; done += PIECE) {
        size_t count = n - done < PIECE ? n - done : PIECE;
        if (!ruvm_dtype_write(dtype, values + done, count, bytes))
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "a value is beyond the range of %s",
                             ruvm_dtype_name(dtype));
        rc = ruvm_file_append(out, bytes, count * value_bytes, err);
    }
    return rc;
}
