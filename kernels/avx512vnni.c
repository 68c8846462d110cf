/* AVX-512 with VNNI: vpdpbusd multiplies and adds four bytes a lane.
 *
 * Its one unsigned operand is the weight: w + 128 is a flipped bit, and what that
 * adds, 128 times the sum of x, is the same for all rows, so the sums start at
 * minus it. Sixteen sums are built side by side, one row each for one vector or
 * four rows for four vectors, and added up across the lanes together. Rows end
 * with masked loads, so any multiple of 16 columns is as good as another. */
#include "kernels/avx512_attend.h"
#include "kernels/avx512_heads.h"
#include "kernels/avx512_panels_groups.h"
#include "kernels/avx512_panels_plain.h"
#include "kernels/avx512_panels_tables.h"
#include "kernels/avx512_ternary.h"
#include "kernels/variants.h"
#include "kernels/x86_codes.h"

enum { BLOCK = 64 }; /* vectors that share a walk over the weights */

static int available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vnni");
}

static inline __m512i load(__mmask64 bytes, const int8_t *p)
{
    return _mm512_maskz_loadu_epi8(bytes, p);
}

/* The bytes of a row from column c on that one register takes. */
static inline __mmask64 bytes_from(uint32_t c, uint32_t n_cols)
{
    return n_cols - c >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n_cols - c)) - 1;
}

static inline __m512i add_pairs(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

static inline __m512i add_quads(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

static inline __m512i sum_quarters(const __m512i *a)
{
    return add_quads(add_pairs(a[0], a[1]), add_pairs(a[2], a[3]));
}

static inline __m512i add_halves(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

/* The sums of the lanes of a[0] .. a[15], in this order. */
static inline __m512i sum_lanes(const __m512i *a)
{
    return add_halves(add_halves(sum_quarters(a), sum_quarters(a + 4)),
                      add_halves(sum_quarters(a + 8), sum_quarters(a + 12)));
}

/* Lanes whose sum is -128 times the sum of x. */
static inline __m512i start(const int8_t *x, uint32_t n_cols)
{
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t c = 0; c < n_cols; c += 64)
        sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), load(bytes_from(c, n_cols), x + c));
    return _mm512_sub_epi32(_mm512_setzero_si512(), sum);
}

/* acc[v * rows + r] += 64 columns, or those of `bytes`, of rows x vecs = 16 pairs. */
static inline __attribute__((always_inline)) void step(__m512i *acc, const int8_t *w,
                                                       size_t w_stride, const int8_t *x,
                                                       size_t x_stride, uint32_t rows,
                                                       __mmask64 bytes)
{
    __m512i xs[4];
    for (uint32_t v = 0; v < 16 / rows; v++)
        xs[v] = load(bytes, x + v * x_stride);
    for (uint32_t r = 0; r < rows; r++) {
        __m512i flipped = _mm512_xor_si512(load(bytes, w + r * w_stride), _mm512_set1_epi8(-128));
        for (uint32_t v = 0; v < 16 / rows; v++)
            acc[v * rows + r] = _mm512_dpbusd_epi32(acc[v * rows + r], flipped, xs[v]);
    }
}

/* Rows r .. r + rows of vectors v .. v + 16 / rows; rows is 16 or 4, a constant. */
static inline __attribute__((always_inline)) void tile(const struct ruvm_matmul *m, uint32_t r,
                                                       uint32_t v, uint32_t rows,
                                                       const __m512i *starts)
{
    const int8_t *w = m->w + (size_t)r * m->row_bytes, *x = m->x + (size_t)v * m->x_stride;
    __m512i acc[16];
    for (uint32_t i = 0; i < 16; i++)
        acc[i] = starts[i / rows];
    uint32_t c = 0;
    for (; c + 64 <= m->n_cols; c += 64)
        step(acc, w + c, m->row_bytes, x + c, m->x_stride, rows, ~(__mmask64)0);
    if (c < m->n_cols)
        step(acc, w + c, m->row_bytes, x + c, m->x_stride, rows, bytes_from(c, m->n_cols));
    __m512i sums = sum_lanes(acc);
    int32_t *out = m->out + (size_t)v * m->out_stride + r;
    if (rows == 16) {
        _mm512_storeu_si512(out, sums);
    } else {
        size_t next = m->out_stride;
        _mm_storeu_si128((void *)out, _mm512_castsi512_si128(sums));
        _mm_storeu_si128((void *)(out + next), _mm512_extracti32x4_epi32(sums, 1));
        _mm_storeu_si128((void *)(out + 2 * next), _mm512_extracti32x4_epi32(sums, 2));
        _mm_storeu_si128((void *)(out + 3 * next), _mm512_extracti32x4_epi32(sums, 3));
    }
}

static void matmul_block(const struct ruvm_matmul *m)
{
    __m512i starts[BLOCK];
    uint32_t by_four = m->n_vecs / 4 * 4;
    for (uint32_t v = 0; v < m->n_vecs; v++)
        starts[v] = start(m->x + (size_t)v * m->x_stride, m->n_cols);
    for (uint32_t i = 0; i < m->n_rows; i += 16) {
        uint32_t r = x86_last_fits(i, 16, m->n_rows);
        for (uint32_t j = r; by_four && j < r + 16; j += 4)
            for (uint32_t v = 0; v < by_four; v += 4)
                tile(m, j, v, 4, starts + v);
        for (uint32_t v = by_four; v < m->n_vecs; v++)
            tile(m, r, v, 16, starts + v);
    }
}

/* Fewer than 16 rows, which no real model has, are left to AVX2. */
static void matmul_s8(const struct ruvm_matmul *m)
{
    if (m->n_rows < 16) {
        ruvm_kernels_avx2.matmul_s8(m);
        return;
    }
    struct ruvm_matmul block = *m;
    for (uint32_t v = 0; v < m->n_vecs; v += BLOCK) {
        block.n_vecs = m->n_vecs - v < BLOCK ? m->n_vecs - v : BLOCK;
        block.x = m->x + (size_t)v * m->x_stride;
        block.out = m->out + (size_t)v * m->out_stride;
        matmul_block(&block);
    }
}

/* ---- packed weights ----------------------------------------------------------- */

static inline __m256i x86_codes_start(int max, struct x86_pair x)
{
    __m256i each = _mm256_set1_epi8((char)max), zero = _mm256_setzero_si256();
    __m256i sums = _mm256_dpbusd_epi32(_mm256_dpbusd_epi32(zero, each, x.low), each, x.high);
    return _mm256_sub_epi32(zero, sums);
}

/* A lane's eight levels times x, at most 8 * 15 * 127, fit into the 16 bits that vpdpwssd
 * multiplies; of their sign in the upper 16 it makes nothing, times zero. */
static inline __m256i x86_codes_add(__m256i acc, struct x86_pair w, const struct x86_codes_x *x,
                                    __m256i mult)
{
    __m256i sums = _mm256_dpbusd_epi32(x->start, w.low, x->x.low);
    return _mm256_dpwssd_epi32(acc, _mm256_dpbusd_epi32(sums, w.high, x->x.high), mult);
}

static inline __m256i x86_codes_mult_mask(void)
{
    return _mm256_set1_epi32(15);
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
    ternary_matmul(m);
}

/* ---- panels ------------------------------------------------------------------- */

X86_INLINE void panel_codes(int bits, const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_plain(bits, m);
    else if (m->group == 16)
        panel_groups(bits, 1, m);
    else
        panel_groups(bits, 0, m);
}

X86_INLINE void panel_codes_once(int bits, const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_plain_once(bits, m);
    else if (m->group == 16)
        panel_groups_once(bits, 1, m);
    else
        panel_groups_once(bits, 0, m);
}

static void matmul_part(const struct ruvm_matmul_panels *m)
{
    switch (m->bits) {
    case 8: panel_s8(m); return;
    case 4: panel_codes(4, m); return;
    case 3: panel_codes(3, m); return;
    default: panel_codes(2, m);
    }
}

static void matmul_once(const struct ruvm_matmul_panels *m)
{
    switch (m->bits) {
    case 8: panel_s8_once(m); return;
    case 4: panel_codes_once(4, m); return;
    case 3: panel_codes_once(3, m); return;
    default: panel_codes_once(2, m);
    }
}

static void matmul_panels(const struct ruvm_matmul_panels *m)
{
    if (m->bits == 1)
        panel_tables(m);
    else if (m->bits == 8 ? panel_s8_walks_once(m) : panel_codes_walks_once(m))
        matmul_once(m);
    else
        panel_each_part(m, matmul_part);
}

const struct ruvm_kernels ruvm_kernels_avx512vnni = {
    .name = "avx512vnni",
    .available = available,
    .panel_zero = 128,
    .panel_pairs = 1,
    .matmul_s8 = matmul_s8,
    .matmul_int4 = matmul_int4,
    .matmul_int3 = matmul_int3,
    .matmul_int2 = matmul_int2,
    .matmul_binary = matmul_binary,
    .matmul_ternary = matmul_ternary,
    .matmul_xnor = ruvm_x86_xnor,
    .matmul_panels = matmul_panels,
    .scores = avx512_scores,
    .weights = avx512_weights,
    .mix = avx512_mix,
    .attend = avx512_attend,
    .rotate = avx512_rotate,
    .to_cache = avx512_to_cache,
    .narrow = avx512_narrow,
    .divide = avx512_divide,
    .unpack = avx512_unpack,
    .rescale = avx512_rescale,
    .amax = avx512_amax,
    .largest = ruvm_elementwise_largest,
    .quantize = avx512_quantize,
    .add_scaled = avx512_add_scaled,
    .norm = avx512_norm,
    .swiglu = avx512_swiglu,
    .spread = ruvm_elementwise_spread,
    .layernorm = ruvm_elementwise_layernorm,
    .scale = ruvm_elementwise_scale,
    .add_bias = ruvm_elementwise_add_bias,
    .gelu = ruvm_elementwise_gelu,
    .relu = ruvm_elementwise_relu,
};
