/* x86: what the AVX2 and the AVX-512 table share, in registers of 256 bits.
 *
 * Attention, softmax weights and SwiGLU. Heads that are no multiple of 8, which
 * no real model has, go to the scalar kernels. A remainder of positions is done
 * by a last step that overlaps the one before: it writes the same numbers again. */
#ifndef RUVM_KERNELS_X86_H
#define RUVM_KERNELS_X86_H

#include <immintrin.h>

#include "kernels/elementwise.h"

static inline __m256i x86_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

static inline void x86_store(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

static inline __m128i x86_load16(const void *p)
{
    return _mm_loadu_si128(p);
}

static inline __m256i x86_add_pairs(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

static inline __m256i x86_add_quads(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* Of a[0] .. a[3]: the sums of each one's low four lanes, then of its high four. */
static inline __m256i x86_sum_halves(const __m256i *a)
{
    return x86_add_quads(x86_add_pairs(a[0], a[1]), x86_add_pairs(a[2], a[3]));
}

/* The sums of all lanes of a[0] .. a[7], in this order. (vphaddd would be shorter
 * to write and takes longer.) */
static inline __m256i x86_sum_lanes(const __m256i *a)
{
    __m256i low = x86_sum_halves(a), high = x86_sum_halves(a + 4);
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                            _mm256_permute2x128_si256(low, high, 0x31));
}

/* Where the step of `size` after i begins, so that it ends within n. */
static inline uint32_t x86_last_fits(uint32_t i, uint32_t size, uint32_t n)
{
    return i + size <= n ? i : n - size;
}

/* ---- scores ------------------------------------------------------------------ */

/* acc + q[0..16) * k[0..16), two products a lane. */
static inline __m256i x86_dot16(__m256i acc, const int16_t *q, const int8_t *k)
{
    __m256i products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(x86_load16(k)), x86_load(q));
    return _mm256_add_epi32(acc, products);
}

static inline __m256i x86_dot8(__m256i acc, const int16_t *q, const int8_t *k)
{
    __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)k));
    __m128i products = _mm_madd_epi16(wide, x86_load16(q));
    return _mm256_add_epi32(acc, _mm256_zextsi128_si256(products));
}

static inline void x86_scores_of_8(int32_t *out, const int16_t *q, const int8_t *k,
                                   uint32_t head_dim, uint32_t stride)
{
    __m256i acc[8] = {0};
    uint32_t d = 0;
    for (; d + 16 <= head_dim; d += 16)
        for (uint32_t i = 0; i < 8; i++)
            acc[i] = x86_dot16(acc[i], q + d, k + i * (size_t)stride + d);
    if (d < head_dim)
        for (uint32_t i = 0; i < 8; i++)
            acc[i] = x86_dot8(acc[i], q + d, k + i * (size_t)stride + d);
    x86_store(out, x86_sum_lanes(acc));
}

/* Heads of 8 that touch: two positions to a register, so half the work. */
static inline void x86_scores_of_8_small(int32_t *out, const int16_t *q, const int8_t *k)
{
    __m256i twice = _mm256_broadcastsi128_si256(x86_load16(q)), a[4];
    for (size_t i = 0; i < 4; i++)
        a[i] = _mm256_madd_epi16(_mm256_cvtepi8_epi16(x86_load16(k + i * 16)), twice);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    x86_store(out, _mm256_permutevar8x32_epi32(x86_sum_halves(a), order));
}

static inline void ruvm_x86_scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                                   uint32_t head_dim, uint32_t stride)
{
    if (n_pos < 8 || head_dim % 8 != 0) {
        ruvm_kernels_scalar.scores(out, q, k, n_pos, head_dim, stride);
        return;
    }
    for (uint32_t i = 0; i < n_pos; i += 8) {
        uint32_t p = x86_last_fits(i, 8, n_pos);
        if (head_dim == 8 && stride == 8)
            x86_scores_of_8_small(out + p, q, k + (size_t)p * 8);
        else
            x86_scores_of_8(out + p, q, k + (size_t)p * stride, head_dim, stride);
    }
}

/* ---- mix --------------------------------------------------------------------- */

/* acc += 8 values of two positions, bytes in turn, times (e, e of the next). */
static inline __m256i x86_mix8(__m256i acc, __m128i values, __m256i both)
{
    __m256i products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(values), both);
    return _mm256_add_epi32(acc, products);
}

/* n values (8, 16 or 32) of the position at v and of the next; both = e | e of next << 16. */
static inline __attribute__((always_inline)) void x86_mix_pair(__m256i *acc, uint32_t both,
                                                               const int8_t *v, const int8_t *next,
                                                               uint32_t n)
{
    __m256i e = _mm256_set1_epi32((int32_t)both);
    if (n == 8)
        acc[0] = x86_mix8(acc[0],
                          _mm_unpacklo_epi8(_mm_loadl_epi64((const void *)v),
                                            _mm_loadl_epi64((const void *)next)),
                          e);
    for (size_t i = 0; i < n / 16; i++) {
        __m128i a = x86_load16(v + i * 16), b = x86_load16(next + i * 16);
        acc[i * 2] = x86_mix8(acc[i * 2], _mm_unpacklo_epi8(a, b), e);
        acc[i * 2 + 1] = x86_mix8(acc[i * 2 + 1], _mm_unpackhi_epi8(a, b), e);
    }
}

static inline __attribute__((always_inline)) void x86_mix_columns(int32_t *out, const uint16_t *e,
                                                                  const int8_t *v, uint32_t n_pos,
                                                                  uint32_t stride, uint32_t n)
{
    __m256i acc[4] = {0};
    uint32_t p = 0;
    for (; p + 2 <= n_pos; p += 2, v += 2 * (size_t)stride) {
        uint32_t both;
        __builtin_memcpy(&both, e + p, sizeof both);
        x86_mix_pair(acc, both, v, v + stride, n);
    }
    if (p < n_pos)
        x86_mix_pair(acc, e[p], v, v, n);
    for (size_t i = 0; i < n / 8; i++)
        x86_store(out + i * 8, _mm256_add_epi32(x86_load(out + i * 8), acc[i]));
}

static inline void ruvm_x86_mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                                uint32_t head_dim, uint32_t stride)
{
    if (head_dim % 8 != 0) {
        ruvm_kernels_scalar.mix(acc, e, v, n_pos, head_dim, stride);
        return;
    }
    uint32_t d = 0;
    for (; d + 32 <= head_dim; d += 32)
        x86_mix_columns(acc + d, e, v + d, n_pos, stride, 32);
    if (d + 16 <= head_dim) {
        x86_mix_columns(acc + d, e, v + d, n_pos, stride, 16);
        d += 16;
    }
    if (d < head_dim)
        x86_mix_columns(acc + d, e, v + d, n_pos, stride, 8);
}

/* ---- softmax weights ----------------------------------------------------------- */

/* ruvm_exact_exp2_small for eight t up to RUVM_EXP2_ZERO. vpmaddwd multiplies where
 * both factors have 15 bits: it is the fastest way, and the upper halves are 0. */
static inline __m256i x86_exp2(__m256i t)
{
    __m256i f = _mm256_and_si256(t, _mm256_set1_epi32(32767));
    __m256i c = _mm256_madd_epi16(f, _mm256_set1_epi32(RUVM_EXP2_D));
    c = _mm256_srli_epi32(_mm256_add_epi32(c, _mm256_set1_epi32(16384)), 15);
    c = _mm256_sub_epi32(_mm256_set1_epi32(RUVM_EXP2_C), c);
    __m256i b = _mm256_add_epi32(_mm256_madd_epi16(f, c), _mm256_set1_epi32(4096));
    b = _mm256_sub_epi32(_mm256_set1_epi32(RUVM_EXP2_B), _mm256_srli_epi32(b, 13));
    __m256i p = _mm256_set1_epi32((int32_t)RUVM_EXP2_A);
    p = _mm256_srli_epi32(_mm256_sub_epi32(p, _mm256_mullo_epi32(f, b)), 18);
    return _mm256_srlv_epi32(p, _mm256_srli_epi32(t, 15));
}

/* t = (below * mult) >> shift for eight lanes, RUVM_EXP2_ZERO where it is above. */
static inline __m256i x86_softmax_t(__m256i below, __m256i mult, __m128i shift)
{
    __m256i even = _mm256_srl_epi64(_mm256_mul_epu32(below, mult), shift);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(below, 32), mult);
    odd = _mm256_srl_epi64(odd, shift);
    __m256i low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    low = _mm256_or_si256(low, _mm256_cmpgt_epi32(high, _mm256_setzero_si256()));
    return _mm256_min_epu32(low, _mm256_set1_epi32(RUVM_EXP2_ZERO));
}

static inline void x86_store_u16(uint16_t *p, __m256i v)
{
    __m128i narrow = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((void *)p, narrow);
}

static inline uint32_t ruvm_x86_weights(uint16_t *e, const int32_t *s, uint32_t n_pos,
                                        uint32_t mult, uint32_t shift)
{
    int32_t max = ruvm_elementwise_max(s, n_pos), lanes[8];
    __m256i all_max = _mm256_set1_epi32(max), all_mult = _mm256_set1_epi32((int32_t)mult);
    __m128i by = _mm_cvtsi32_si128((int32_t)shift);
    __m256i sums = _mm256_setzero_si256();
    uint32_t p = 0, sum = 0;
    for (; p + 8 <= n_pos; p += 8) {
        __m256i below = _mm256_sub_epi32(all_max, x86_load(s + p));
        __m256i w = x86_exp2(x86_softmax_t(below, all_mult, by));
        sums = _mm256_add_epi32(sums, w);
        x86_store_u16(e + p, w);
    }
    x86_store(lanes, sums);
    for (int i = 0; i < 8; i++)
        sum += (uint32_t)lanes[i];
    return sum + ruvm_elementwise_weights_below(e + p, s + p, n_pos - p, max, mult, shift);
}

/* ---- SwiGLU -------------------------------------------------------------------- */

/* ruvm_sigmoid_q15 for eight lanes. Both neighbours of the table come with one load,
 * less 2^15 so that vpmaddwd, which multiplies signed, can weigh them. */
static inline __m256i x86_sigmoid(__m256i g)
{
    __m256i a = _mm256_min_epu32(_mm256_abs_epi32(g), _mm256_set1_epi32(RUVM_SIGMOID_LAST));
    __m256i pair =
        _mm256_i32gather_epi32((const void *)ruvm_scalar_sigmoid, _mm256_srli_epi32(a, 8), 2);
    pair = _mm256_xor_si256(pair, _mm256_set1_epi32((int32_t)0x80008000));
    __m256i right = _mm256_and_si256(a, _mm256_set1_epi32(255));
    __m256i left = _mm256_sub_epi32(_mm256_set1_epi32(256), right);
    __m256i parts = _mm256_or_si256(left, _mm256_slli_epi32(right, 16));
    __m256i s = _mm256_add_epi32(_mm256_madd_epi16(pair, parts), _mm256_set1_epi32(128));
    s = _mm256_add_epi32(_mm256_srai_epi32(s, 8), _mm256_set1_epi32(32768));
    __m256i mirrored = _mm256_sub_epi32(_mm256_set1_epi32(32768), s);
    return _mm256_blendv_epi8(s, mirrored, _mm256_srai_epi32(g, 31));
}

static inline void ruvm_x86_swiglu(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                                   const struct ruvm_swiglu *p)
{
    __m128i up_down = _mm_cvtsi32_si128((int32_t)p->up_down);
    __m128i gate_down = _mm_cvtsi32_si128((int32_t)p->gate_down);
    __m128i shift = _mm_cvtsi32_si128((int32_t)p->shift);
    __m256i mult = _mm256_set1_epi32((int32_t)p->mult);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i g = _mm256_sra_epi32(x86_load(gate + i), gate_down);
        __m256i s = x86_sigmoid(_mm256_sra_epi32(_mm256_mullo_epi32(g, mult), shift));
        s = _mm256_add_epi32(_mm256_mullo_epi32(g, s), _mm256_set1_epi32(16384));
        __m256i u = _mm256_sra_epi32(x86_load(up + i), up_down);
        x86_store(x + i, _mm256_mullo_epi32(_mm256_srai_epi32(s, 15), u));
    }
    ruvm_elementwise_swiglu(x + i, up + i, gate + i, n - i, p);
}

#endif
