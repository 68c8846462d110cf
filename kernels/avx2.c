/* AVX2: x86 of the last ten years.
 *
 * Bytes are multiplied by vpmaddubsw, which wants one unsigned operand and
 * saturates its sums of two at 16 bits: |x| * (w with the sign of x) gives the
 * same products, and two of them, at most 2 * 127 * 127, do fit. Eight sums are
 * built side by side and added up across the lanes together. */
#include "kernels/avx2_panels.h"
#include "kernels/variants.h"
#include "kernels/x86_codes.h"
#include "kernels/x86_ternary.h"

static int available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

/* acc + products of 32 bytes, four to a lane. */
static inline __m256i dot(__m256i acc, __m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* The last 16 bytes of a row, and zeros. */
static inline __m256i load_half(const int8_t *p)
{
    return _mm256_zextsi128_si256(x86_load16(p));
}

/* Rows r .. r + rows of vectors v .. v + 8 / rows; rows is 8 or 4, a constant. */
static inline __attribute__((always_inline)) void tile(const struct ruvm_matmul *m, uint32_t r,
                                                       uint32_t v, uint32_t rows)
{
    size_t w_stride = m->row_bytes, x_stride = m->x_stride;
    const int8_t *w = m->w + r * w_stride, *x = m->x + v * x_stride;
    __m256i acc[8] = {0};
    uint32_t c = 0;
    for (; c + 32 <= m->n_cols; c += 32)
        for (uint32_t i = 0; i < 8; i++)
            acc[i] = dot(acc[i], x86_load(w + i % rows * w_stride + c),
                         x86_load(x + i / rows * x_stride + c));
    if (c < m->n_cols)
        for (uint32_t i = 0; i < 8; i++)
            acc[i] = dot(acc[i], load_half(w + i % rows * w_stride + c),
                         load_half(x + i / rows * x_stride + c));
    __m256i sums = x86_sum_lanes(acc);
    int32_t *out = m->out + (size_t)v * m->out_stride + r;
    if (rows == 8) {
        x86_store(out, sums);
    } else {
        _mm_storeu_si128((void *)out, _mm256_castsi256_si128(sums));
        _mm_storeu_si128((void *)(out + m->out_stride), _mm256_extracti128_si256(sums, 1));
    }
}

/* Vectors by two, a last one alone; fewer than 8 rows, which no real model has, are
 * left to the scalar kernel. */
static void matmul_s8(const struct ruvm_matmul *m)
{
    if (m->n_rows < 8) {
        ruvm_kernels_scalar.matmul_s8(m);
        return;
    }
    for (uint32_t r = 0; m->n_vecs > 1 && r < m->n_rows; r += 4)
        for (uint32_t v = 0; v + 2 <= m->n_vecs; v += 2)
            tile(m, x86_last_fits(r, 4, m->n_rows), v, 4);
    for (uint32_t r = 0; m->n_vecs % 2 && r < m->n_rows; r += 8)
        tile(m, x86_last_fits(r, 8, m->n_rows), m->n_vecs - 1, 8);
}

/* ---- packed weights ----------------------------------------------------------- */

static inline __m256i x86_codes_start(int max, struct x86_pair x)
{
    __m256i each = _mm256_set1_epi8((char)max);
    __m256i sums =
        _mm256_add_epi16(_mm256_maddubs_epi16(each, x.low), _mm256_maddubs_epi16(each, x.high));
    return _mm256_sub_epi16(_mm256_setzero_si256(), sums);
}

/* Four products of 2 * 15 * 127 stay within 16 bits, with the start on the way, too. */
static inline __m256i x86_codes_add(__m256i acc, struct x86_pair w, const struct x86_codes_x *x,
                                    __m256i mult)
{
    __m256i sums = _mm256_add_epi16(x->start, _mm256_maddubs_epi16(w.low, x->x.low));
    sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(w.high, x->x.high));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(sums, mult));
}

static inline __m256i x86_codes_mult_mask(void)
{
    return _mm256_set1_epi16(15);
}

/* Each digit's products of two, at most 2 * 2 * 127, and five of them stay within 16 bits. */
static inline __m256i x86_ternary_products(const __m256i *digits, const __m256i *x)
{
    __m256i sums = _mm256_maddubs_epi16(digits[0], x[0]);
    for (uint32_t k = 1; k < X86_DIGITS; k++)
        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(digits[k], x[k]));
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

static void matmul_int4(const struct ruvm_matmul_codes *m)
{
    x86_codes_matmul(4, m);
}

static void matmul_int3(const struct ruvm_matmul_codes *m)
{
    x86_codes_matmul(3, m);
}

static void matmul_int2(const struct ruvm_matmul_codes *m)
{
    x86_codes_matmul(2, m);
}

static void matmul_binary(const struct ruvm_matmul_codes *m)
{
    x86_codes_matmul(1, m);
}

static void matmul_ternary(const struct ruvm_matmul_codes *m)
{
    x86_ternary_matmul(m);
}

static void matmul_part(const struct ruvm_matmul_panels *m)
{
    switch (m->bits) {
    case 8: panel_s8(m); return;
    case 4: panel_codes(4, m); return;
    case 3: panel_codes(3, m); return;
    case 2: panel_codes(2, m); return;
    default: panel_codes(1, m);
    }
}

static void matmul_panels(const struct ruvm_matmul_panels *m)
{
    panel_each_part_once(m, matmul_part);
}

const struct ruvm_kernels ruvm_kernels_avx2 = {
    .name = "avx2",
    .available = available,
    .matmul_s8 = matmul_s8,
    .matmul_int4 = matmul_int4,
    .matmul_int3 = matmul_int3,
    .matmul_int2 = matmul_int2,
    .matmul_binary = matmul_binary,
    .matmul_ternary = matmul_ternary,
    .matmul_xnor = ruvm_x86_xnor,
    .matmul_panels = matmul_panels,
    .scores = ruvm_x86_scores,
    .weights = ruvm_x86_weights,
    .mix = ruvm_x86_mix,
    .rotate = ruvm_elementwise_rotate,
    .to_cache = ruvm_elementwise_to_cache,
    .narrow = ruvm_elementwise_narrow,
    .divide = ruvm_elementwise_divide,
    .unpack = ruvm_elementwise_unpack,
    .rescale = ruvm_elementwise_rescale,
    .amax = ruvm_elementwise_amax,
    .largest = ruvm_elementwise_largest,
    .quantize = ruvm_elementwise_quantize,
    .add_scaled = ruvm_elementwise_add_scaled,
    .norm = ruvm_elementwise_norm,
    .swiglu = ruvm_x86_swiglu,
    .spread = ruvm_elementwise_spread,
    .layernorm = ruvm_elementwise_layernorm,
    .scale = ruvm_elementwise_scale,
    .add_bias = ruvm_elementwise_add_bias,
    .gelu = ruvm_elementwise_gelu,
    .relu = ruvm_elementwise_relu,
};
