/* Stored types of foreign tensors: a row of any of them as floats.
 *
 * ggml's block types are described in its ggml-common.h and ggml-quants.c (GGUF specification);
 * a block holds its scales in half precision before its codes.
 */
#include "formats/tensors.h"

#include <string.h>

#include "formats/ruvm_codes.h"
#include "lib/base/bytes.h"

struct dtype {
    const char *name;
    uint32_t values, bytes; /* of a block */
};

static const struct dtype dtypes[RUVM_N_DTYPES] = {
    [RUVM_DTYPE_F32] = {"f32", 1, 4},        [RUVM_DTYPE_I8_GROUPS] = {"int8 groups", 1, 1},
    [RUVM_DTYPE_I8_SCALED] = {"int8", 1, 1}, [RUVM_DTYPE_F64] = {"f64", 1, 8},
    [RUVM_DTYPE_F16] = {"f16", 1, 2},        [RUVM_DTYPE_BF16] = {"bf16", 1, 2},
    [RUVM_DTYPE_Q4_0] = {"q4_0", 32, 18},    [RUVM_DTYPE_Q4_1] = {"q4_1", 32, 20},
    [RUVM_DTYPE_Q5_0] = {"q5_0", 32, 22},    [RUVM_DTYPE_Q5_1] = {"q5_1", 32, 24},
    [RUVM_DTYPE_Q8_0] = {"q8_0", 32, 34},    [RUVM_DTYPE_Q4_K] = {"q4_K", 256, 144},
    [RUVM_DTYPE_Q5_K] = {"q5_K", 256, 176},  [RUVM_DTYPE_Q6_K] = {"q6_K", 256, 210},
    [RUVM_DTYPE_CODES] = {"codes", 1, 1},
};

const char *ruvm_dtype_name(enum ruvm_dtype dtype)
{
    return dtypes[dtype].name;
}

uint32_t ruvm_dtype_block(enum ruvm_dtype dtype, uint32_t *bytes)
{
    *bytes = dtypes[dtype].bytes;
    return dtypes[dtype].values;
}

/* ---- one value ------------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
static float half_at(const uint8_t *p)
{
    uint32_t bits = ruvm_load_u16(p), size = bits & 0x7fff, sign = (bits & 0x8000) << 16;
    if (size < 1u << 10)
        return (sign ? -1.0f : 1.0f) * 0x1p-24f * (float)size;
    if (size >= 31u << 10)
        return float_of(sign | 255u << 23 | (size & 1023) << 13);
    return float_of(sign | ((size << 13) + ((127 - 15) << 23)));
}

static float bfloat_at(const uint8_t *p)
{
    return float_of((uint32_t)ruvm_load_u16(p) << 16);
}

static float double_at(const uint8_t *p)
{
    uint64_t bits = ruvm_load_u64(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

/* ---- blocks ----------------------------------------------------------------------- */

enum { HALF = 16 };

#define NO_LEAST (-0.0f) /* x + -0 is x for every x, -0 included */

/* Codes of four bits less an offset: the low nibbles are the first half of the block. */
static void block_4(const uint8_t *codes, int offset, float scale, float least, float *out)
{
    for (int i = 0; i < HALF; i++) {
        out[i] = (float)((codes[i] & 15) - offset) * scale + least;
        out[i + HALF] = (float)((codes[i] >> 4) - offset) * scale + least;
    }
}

/* The fifth bit of value i is bit i of a word before the codes. */
static void block_5(const uint8_t *p, int offset, float scale, float least, float *out)
{
    uint32_t bits = ruvm_load_u32(p);
    const uint8_t *codes = p + 4;
    for (int i = 0; i < HALF; i++) {
        uint32_t low = (codes[i] & 15u) | (bits >> i & 1) << 4;
        uint32_t up = (codes[i] >> 4) | (bits >> (i + HALF) & 1) << 4;
        out[i] = (float)((int)low - offset) * scale + least;
        out[i + HALF] = (float)((int)up - offset) * scale + least;
    }
}

static void block_8(const uint8_t *codes, float scale, float *out)
{
    for (int i = 0; i < 2 * HALF; i++)
        out[i] = (float)(int8_t)codes[i] * scale;
}

/* The six-bit scale and minimum of sub-block j of eight: 12 bytes, the last four of each with
 * their upper two bits on top of the first four's. */
static void scale_k(const uint8_t *packed, int j, uint32_t *scale, uint32_t *least)
{
    if (j < 4) {
        *scale = packed[j] & 63;
        *least = packed[j + 4] & 63;
    } else {
        *scale = (packed[j + 4] & 15u) | (uint32_t)(packed[j - 4] >> 6) << 4;
        *least = (uint32_t)(packed[j + 4] >> 4) | (uint32_t)(packed[j] >> 6) << 4;
    }
}

/* q4_K and q5_K: f16 scale, f16 of the minima, 12 bytes of scales, [32 bytes of fifth bits],
 * 128 of nibbles: 32 bytes hold sub-block 2j below and 2j + 1 above. */
static void block_45_k(const uint8_t *p, bool five, float *out)
{
    float d = half_at(p), dmin = half_at(p + 2);
    const uint8_t *high = p + 16, *codes = five ? p + 48 : p + 16;
    for (int j = 0; j < 8; j++) {
        uint32_t scale, least;
        scale_k(p + 4, j, &scale, &least);
        float step = d * (float)scale, low = dmin * (float)least;
        for (int i = 0; i < 32; i++) {
            uint32_t code = codes[j / 2 * 32 + i] >> (j % 2 ? 4 : 0) & 15u;
            if (five)
                code |= (uint32_t)(high[i] >> j & 1) << 4;
            out[j * 32 + i] = step * (float)code - low;
        }
    }
}

/* q6_K: 128 bytes of low nibbles, 64 of upper pairs, 16 int8 scales, f16 scale. Each half of
 * the block has 64 bytes of nibbles and 32 of pairs, for its four quarters of 32 values. */
static void block_6_k(const uint8_t *p, float *out)
{
    float d = half_at(p + 208);
    for (int q = 0; q < 8; q++) {
        const uint8_t *low = p + q / 4 * 64 + q % 2 * 32, *high = p + 128 + q / 4 * 32;
        int shift = q % 4 / 2 * 4, pair = q % 4 * 2;
        const int8_t *scales = (const int8_t *)p + 192 + 2 * q;
        for (int k = 0; k < 32; k++) {
            int code = (low[k] >> shift & 15) | (high[k] >> pair & 3) << 4;
            out[32 * q + k] = d * (float)scales[k / 16] * (float)(code - 32);
        }
    }
}

static void block(enum ruvm_dtype dtype, const uint8_t *p, float *out)
{
    float d = half_at(p);
    switch (dtype) {
    case RUVM_DTYPE_Q4_0: block_4(p + 2, 8, d, NO_LEAST, out); break;
    case RUVM_DTYPE_Q4_1: block_4(p + 4, 0, d, half_at(p + 2), out); break;
    case RUVM_DTYPE_Q5_0: block_5(p + 2, 16, d, NO_LEAST, out); break;
    case RUVM_DTYPE_Q5_1: block_5(p + 4, 0, d, half_at(p + 2), out); break;
    case RUVM_DTYPE_Q8_0: block_8(p + 2, d, out); break;
    case RUVM_DTYPE_Q4_K: block_45_k(p, false, out); break;
    case RUVM_DTYPE_Q5_K: block_45_k(p, true, out); break;
    default: block_6_k(p, out); break;
    }
}

static void row_blocks(const struct ruvm_view *v, uint64_t row, uint64_t cols, float *out)
{
    struct dtype t = dtypes[v->dtype];
    const uint8_t *p = v->data + row * (cols / t.values) * t.bytes;
    for (uint64_t i = 0; i < cols; i += t.values, p += t.bytes)
        block(v->dtype, p, out + i);
}

/* ---- rows ------------------------------------------------------------------------- */

/* Groups run over the flattened tensor, so one may begin in the row before. */
static void row_i8_groups(const struct ruvm_view *v, uint64_t first, uint64_t n, float *out)
{
    const int8_t *values = (const int8_t *)v->data;
    for (uint64_t i = first; i < first + n; i++)
        out[i - first] = (float)values[i] * ruvm_tensors_f32(v->scales + 4 * (i / v->group));
}

static void row_i8_scaled(const struct ruvm_view *v, uint64_t first, uint64_t n, float *out)
{
    const int8_t *values = (const int8_t *)v->data;
    for (uint64_t i = 0; i < n; i++)
        out[i] = (float)values[first + i] * v->scale;
}

/* Levels times a step: a level has 8 bits at most and a step 20, so that this product is rounded
 * once, as any wider one would be. */
static void scale_levels(const int8_t *levels, float step, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = (float)levels[i] * step;
}

/* n levels of a row of codes from column `first` on, both multiples of 32 but for the row's end.
 * Four bits, as most rows are: eight at a time. */
static void unpack_levels(int type, const uint8_t *row, uint32_t first, uint32_t n, int8_t *levels)
{
    row += ruvm_codes_row_bytes(type, first);
    if (type != RUVM_TYPE_INT4) {
        ruvm_codes_unpack(type, levels, row, n);
        return;
    }
    for (uint32_t i = 0; i < n; i += 8, row += 4)
        for (uint32_t k = 0; k < 4; k++) {
            levels[i + k] = (int8_t)(2 * (row[k] & 15) - 15);
            levels[i + k + 4] = (int8_t)(2 * (row[k] >> 4) - 15);
        }
}

/* Exactly the weights that the engine computes with, a few columns at a time. Digits of ternary
 * are strewn over the row: such a row is one piece, in the last quarter of the floats, where each
 * level is read before a float is put over it. */
static void row_codes(const struct ruvm_view *v, uint64_t row, uint32_t cols, float *out)
{
    enum { WIDTH = 256 };
    int8_t room[WIDTH];
    const uint8_t *mult = v->scales + 2 * v->dims[0];
    const uint8_t *codes = v->data + row * ruvm_codes_row_bytes(v->codes, cols);
    mult += row * ruvm_codes_mult_bytes(cols, v->group);
    float scale = (float)ruvm_load_u16(v->scales + 2 * row) * v->scale;
    uint32_t width = v->codes == RUVM_TYPE_TERNARY ? cols : WIDTH,
             group = v->group ? v->group : cols;
    int8_t *levels = v->codes == RUVM_TYPE_TERNARY ? (int8_t *)out + 3 * (size_t)cols : room;
    for (uint32_t c = 0; c < cols; c += width) {
        uint32_t left = cols - c, n = left < width ? left : width;
        unpack_levels(v->codes, codes, c, n, levels);
        for (uint32_t i = 0, end; i < n; i = end) {
            end = ((c + i) / group + 1) * group - c;
            end = end < n ? end : n;
            float step = v->group ? (float)ruvm_codes_mult(mult, (c + i) / group) * scale : scale;
            scale_levels(levels + i, step, end - i, out + c + i);
        }
    }
}

/* In loops that compilers turn into vectors. */
void ruvm_dtype_floats(enum ruvm_dtype dtype, const uint8_t *p, uint64_t n, float *out)
{
    switch (dtype) {
    case RUVM_DTYPE_F64:
        for (uint64_t i = 0; i < n; i++)
            out[i] = double_at(p + 8 * i);
        break;
    case RUVM_DTYPE_F16:
        for (uint64_t i = 0; i < n; i++)
            out[i] = half_at(p + 2 * i);
        break;
    case RUVM_DTYPE_BF16:
        for (uint64_t i = 0; i < n; i++)
            out[i] = bfloat_at(p + 2 * i);
        break;
    default:
        for (uint64_t i = 0; i < n; i++)
            out[i] = float_of(ruvm_load_u32(p + 4 * i));
    }
}

static void row_real(const struct ruvm_view *v, uint64_t row, uint64_t cols, float *out)
{
    size_t bytes = dtypes[v->dtype].bytes;
    if (!v->stride)
        ruvm_dtype_floats(v->dtype, v->data + row * cols * bytes, cols, out);
    for (uint64_t i = 0; v->stride && i < cols; i++)
        ruvm_dtype_floats(v->dtype, v->data + (row + i * v->stride) * bytes, 1, out + i);
}

void ruvm_view_row(const struct ruvm_view *v, uint64_t row, float *out)
{
    uint64_t cols = v->dims[v->n_dims - 1];
    row = v->order ? v->order[row] : row;
    switch (v->dtype) {
    case RUVM_DTYPE_F32:
    case RUVM_DTYPE_F64:
    case RUVM_DTYPE_F16:
    case RUVM_DTYPE_BF16: row_real(v, row, cols, out); break;
    case RUVM_DTYPE_I8_GROUPS: row_i8_groups(v, row * cols, cols, out); break;
    case RUVM_DTYPE_I8_SCALED: row_i8_scaled(v, row * cols, cols, out); break;
    case RUVM_DTYPE_CODES: row_codes(v, row, (uint32_t)cols, out); break;
    default: row_blocks(v, row, cols, out); break;
    }
}
