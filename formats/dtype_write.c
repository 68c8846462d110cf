/* Floats into stored types: halves, the upper halves of floats, and two of ggml's blocks.
 *
 * Rounding is to the nearest, ties to even, for the halves; blocks do as ggml's reference
 * quantizers do, so that a file from here is the file that llama.cpp would have made.
 */
#include "formats/dtype_write.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "lib/base/bytes.h"

enum { BLOCK = 32, LARGEST_Q8 = 127 };

bool ruvm_dtype_writes(enum ruvm_dtype dtype)
{
    return dtype == RUVM_DTYPE_F32 || dtype == RUVM_DTYPE_F16 || dtype == RUVM_DTYPE_BF16 ||
           dtype == RUVM_DTYPE_Q8_0 || dtype == RUVM_DTYPE_Q4_0;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static bool put_f32(float value, uint8_t *out)
{
    ruvm_store_u32(out, bits_of(value));
    return isfinite(value);
}

/* Upper half of the bits; the lower one decides, a half by the last bit kept. */
static uint32_t round_bits(uint32_t bits, uint32_t n_dropped)
{
    uint32_t half = 1u << (n_dropped - 1);
    return (bits + half - 1 + (bits >> n_dropped & 1)) >> n_dropped;
}

static bool put_bf16(float value, uint8_t *out)
{
    uint32_t bits = round_bits(bits_of(value), 16);
    ruvm_store_u16(out, (uint16_t)bits);
    return isfinite(value) && (bits & 0x7f80) != 0x7f80;
}

/* Below 2^-14 the fraction counts steps of 2^-24. */
static bool put_f16(float value, uint8_t *out)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, half;
    float size = fabsf(value);
    if (size < 0x1p-14f)
        half = (uint32_t)rintf(size * 0x1p24f);
    else
        half = round_bits((bits & 0x7fffffff) - ((127u - 15) << 23), 13);
    bool fits = size < 65520; /* half a step above the largest */
    ruvm_store_u16(out, (uint16_t)(sign | (fits ? half : 31u << 10)));
    return fits;
}

/* The value farthest from 0, the first of several. */
static float farthest(const float *values)
{
    float max = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf(values[i]) > fabsf(max))
            max = values[i];
    return max;
}

static bool all_finite(const float *values)
{
    bool finite = true;
    for (int i = 0; i < BLOCK; i++)
        finite = finite && isfinite(values[i]);
    return finite;
}

/* 0 for a scale of nothing, or so small that the block is nothing in half precision. */
static float inverse_of(float scale)
{
    return fabsf(scale) > FLT_MIN ? 1 / scale : 0;
}

static bool put_q8_0(const float *values, uint8_t *out)
{
    float scale = fabsf(farthest(values)) / LARGEST_Q8;
    float inverse = inverse_of(scale);
    if (!all_finite(values) || !put_f16(scale, out))
        return false;
    for (int i = 0; i < BLOCK; i++)
        out[2 + i] = (uint8_t)(int8_t)roundf(values[i] * inverse);
    return true;
}

/* The farthest value is code 0, whatever its sign. */
static bool put_q4_0(const float *values, uint8_t *out)
{
    float scale = farthest(values) / -8;
    float inverse = inverse_of(scale);
    if (!all_finite(values) || !put_f16(scale, out))
        return false;
    for (int i = 0; i < BLOCK / 2; i++) {
        int low = (int)(values[i] * inverse + 8.5f);
        int up = (int)(values[i + BLOCK / 2] * inverse + 8.5f);
        out[2 + i] = (uint8_t)((low < 15 ? low : 15) | (up < 15 ? up : 15) << 4);
    }
    return true;
}

static bool put_block(enum ruvm_dtype dtype, const float *values, uint8_t *out)
{
    switch (dtype) {
    case RUVM_DTYPE_F16: return put_f16(*values, out);
    case RUVM_DTYPE_BF16: return put_bf16(*values, out);
    case RUVM_DTYPE_Q8_0: return put_q8_0(values, out);
    case RUVM_DTYPE_Q4_0: return put_q4_0(values, out);
    default: return put_f32(*values, out);
    }
}

bool ruvm_dtype_write(enum ruvm_dtype dtype, const float *values, uint64_t n, uint8_t *out)
{
    uint32_t bytes, block = ruvm_dtype_block(dtype, &bytes);
    bool ok = true;
    for (uint64_t i = 0; i < n; i += block, out += bytes)
        ok = put_block(dtype, values + i, out) && ok;
    return ok;
}
