/* AVX-512: the kernels of attention, from raw heads to mixed values.
 *
 * Heads of 8 have ways of their own: two of them fill a register, and so do eight of their
 * keys or values. */
#ifndef RUVM_KERNELS_AVX512_HEADS_H
#define RUVM_KERNELS_AVX512_HEADS_H

#include <stdbool.h>

#include "kernels/avx512_elementwise.h"

/* ---- heads --------------------------------------------------------------------------- */

/* Eight pairs of 16 bits times (cosine, -sine) and (sine, cosine), two products a lane. */
static inline __m512i turn_pairs(__m512i v, __m128i cosines, __m128i sines)
{
    __m128i minus = _mm_sub_epi16(_mm_setzero_si128(), sines);
    __m256i to_a =
        _mm256_set_m128i(_mm_unpackhi_epi16(cosines, minus), _mm_unpacklo_epi16(cosines, minus));
    __m256i to_b =
        _mm256_set_m128i(_mm_unpackhi_epi16(sines, cosines), _mm_unpacklo_epi16(sines, cosines));
    __m256i pairs = _mm512_cvtepi32_epi16(v), half = _mm256_set1_epi32(8192);
    __m256i a = _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs, to_a), half), 14);
    __m256i b = _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs, to_b), half), 14);
    __m512i a64 = _mm512_cvtepu32_epi64(a), b64 = _mm512_cvtepu32_epi64(b);
    return _mm512_or_si512(a64, _mm512_slli_epi64(b64, 32));
}

/* x[i] *= scale[i]; returns the largest |x|. */
static inline uint32_t fold_head(int32_t *x, const uint16_t *scale, uint32_t n)
{
    __m512i max = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i v = _mm512_mullo_epi32(load32(lanes, x + i), load_u16(lanes, scale + i));
        store32(x + i, lanes, v);
        max = _mm512_max_epu32(max, _mm512_abs_epi32(v));
    }
    return _mm512_reduce_max_epu32(max);
}

static inline void turn_head(int32_t *v, const struct ruvm_turn *t, uint32_t down)
{
    uint32_t n = t->head_dim, i = 0;
    __m128i by = _mm_cvtsi32_si128((int32_t)down);
    for (; i < 2 * t->n_pairs; i += LANES) {
        __mmask16 lanes = lanes_from(i, 2 * t->n_pairs);
        __mmask8 pairs = (__mmask8)lanes_from(i / 2, t->n_pairs);
        __m128i cosines = _mm_maskz_loadu_epi16(pairs, t->turn + i / 2);
        __m128i sines = _mm_maskz_loadu_epi16(pairs, t->turn + t->n_pairs + i / 2);
        __m512i x = _mm512_sra_epi32(load32(lanes, v + i), by);
        store32(v + i, lanes, turn_pairs(x, cosines, sines));
    }
    for (i = 2 * t->n_pairs; i < n && down; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        store32(v + i, lanes, _mm512_sra_epi32(load32(lanes, v + i), by));
    }
}

/* The largest |v| of each half of the lanes, in all lanes of it. */
static inline __m512i largest_of_halves(__m512i v)
{
    v = _mm512_abs_epi32(v);
    v = _mm512_max_epu32(v, _mm512_shuffle_i64x2(v, v, 0xb1));
    v = _mm512_max_epu32(v, _mm512_shuffle_epi32(v, 0x4e));
    return _mm512_max_epu32(v, _mm512_shuffle_epi32(v, 0xb1));
}

static inline __m512i scales_of_two(const struct ruvm_turn *t, uint32_t h, bool both)
{
    __m128i a = x86_load16(ruvm_elementwise_scale_of(t, h));
    __m128i b = both ? x86_load16(ruvm_elementwise_scale_of(t, h + 1)) : a;
    return _mm512_cvtepu16_epi32(_mm256_set_m128i(b, a));
}

/* Heads of 8 are two a register, and need no number outside of it. */
static inline void rotate_heads_of_8(struct ruvm_turned *out, int32_t *v, const struct ruvm_turn *t)
{
    __mmask8 pairs = (__mmask8)((1u << t->n_pairs) - 1);
    __m128i cosines = _mm_mask_loadu_epi16(_mm_set1_epi16(16384), pairs, t->turn);
    __m128i sines = _mm_maskz_loadu_epi16(pairs, t->turn + t->n_pairs);
    cosines = _mm_unpacklo_epi64(cosines, cosines);
    sines = _mm_unpacklo_epi64(sines, sines);
    for (uint32_t h = 0; h < t->n_heads; h += 2, v += LANES) {
        bool both = h + 1 < t->n_heads;
        __mmask16 lanes = both ? ALL_LANES : HALF_LANES;
        __m512i x = load32(lanes, v), largest = _mm512_setzero_si512();
        __m512i bits = _mm512_lzcnt_epi32(largest_of_halves(x));
        __m512i down = _mm512_sub_epi32(_mm512_set1_epi32(32 - RUVM_HEAD_BITS), bits);
        down = _mm512_max_epi32(down, _mm512_setzero_si512());
        x = _mm512_srav_epi32(x, down);
        if (t->n_pairs)
            x = turn_pairs(x, cosines, sines);
        if (t->scale) {
            x = _mm512_mullo_epi32(x, scales_of_two(t, h, both));
            largest = largest_of_halves(x);
        }
        store32(v, lanes, x);
        __m512i results = _mm512_mask_mov_epi32(down, 0xaaaa, largest);
        _mm_storel_epi64((void *)(out + h), _mm512_castsi512_si128(results));
        if (both)
            _mm_storel_epi64((void *)(out + h + 1), _mm512_extracti32x4_epi32(results, 2));
    }
}

static inline void avx512_rotate(struct ruvm_turned *out, int32_t *v, const struct ruvm_turn *t)
{
    uint32_t n = t->head_dim;
    if (n == 8) {
        rotate_heads_of_8(out, v, t);
        return;
    }
    for (uint32_t h = 0; h < t->n_heads; h++, v += n) {
        uint32_t down = ruvm_elementwise_down(avx512_amax(v, n));
        turn_head(v, t, down);
        uint32_t largest = t->scale ? fold_head(v, ruvm_elementwise_scale_of(t, h), n) : 0;
        out[h] = (struct ruvm_turned){down, largest};
    }
}

static inline void avx512_to_cache(int8_t *q, const int32_t *v, uint32_t n,
                                   const struct ruvm_to_cache *p)
{
    const struct wide_ratio r = wide_ratio(p->mult, p->shift);
    __m512i high = _mm512_set1_epi32(127), low = _mm512_set1_epi32(-127);
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i x = _mm512_mullo_epi32(load32(lanes, v + i), load_u16(lanes, p->inverse + i));
        x = wide_join(wide_clamp(wide_scale(x, &r), 32767));
        if (p->zero)
            x = _mm512_sub_epi32(x, load16(lanes, p->zero + i));
        x = _mm512_max_epi32(_mm512_min_epi32(x, high), low);
        store8(q + i, lanes, x);
    }
}

static inline void avx512_narrow(int16_t *q, const int32_t *x, uint32_t n, uint32_t up,
                                 uint32_t down, uint32_t mult)
{
    __m128i left = _mm_cvtsi32_si128((int32_t)up), right = _mm_cvtsi32_si128((int32_t)down);
    __m512i by = _mm512_set1_epi32((int32_t)mult), half = _mm512_set1_epi32(1 << 17);
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i v = _mm512_sra_epi32(_mm512_sll_epi32(load32(lanes, x + i), left), right);
        v = _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(v, by), half), 18);
        store16(q + i, lanes, v);
    }
}

static inline void avx512_divide(int32_t *out, const int32_t *x, const uint16_t *scale, uint32_t n,
                                 uint32_t down, uint32_t inverse)
{
    __m128i by = _mm_cvtsi32_si128((int32_t)down);
    const struct wide_ratio r = {_mm512_set1_epi32((int32_t)inverse), _mm512_setzero_si512(),
                                 _mm_cvtsi32_si128(23)};
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i v = _mm512_sra_epi32(load32(lanes, x + i), by);
        v = wide_join(wide_clamp(wide_scale(v, &r), 32767));
        store32(out + i, lanes, _mm512_mullo_epi32(v, load_u16(lanes, scale + i)));
    }
}

/* 32 codes, of two positions of 16 or of one. */
static inline void avx512_unpack(int8_t *v, const uint8_t *codes, const uint8_t *m, uint32_t n_pos,
                                 uint32_t n)
{
    const uint32_t shift = (uint32_t)__builtin_ctz(n), all = n_pos * n;
    const __m256i order =
        _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                         21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    if (n != 1u << shift || n < 4 || n > 32) {
        ruvm_elementwise_unpack(v, codes, m, n_pos, n);
        return;
    }
    /* Of 32 values, value i belongs to position i / n of at most eight. */
    __m256i which = _mm256_and_si256(_mm256_srl_epi16(order, _mm_cvtsi32_si128((int32_t)shift)),
                                     _mm256_set1_epi8(7));
    uint32_t i = 0;
    for (; i + 32 <= all; i += 32, m += 32u >> shift) {
        uint64_t steps = 0;
        __builtin_memcpy(&steps, m, n == 4 ? 8 : n == 8 ? 4 : n == 16 ? 2 : 1);
        __m128i bytes = x86_load16(codes + i / 2);
        __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
        __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
        __m256i code = _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
        __m256i step = _mm256_shuffle_epi8(_mm256_set1_epi64x((int64_t)steps), which);
        __m512i level = _mm512_cvtepu8_epi16(code);
        level = _mm512_sub_epi16(_mm512_add_epi16(level, level), _mm512_set1_epi16(15));
        level = _mm512_mullo_epi16(level, _mm512_cvtepu8_epi16(step));
        level = _mm512_srai_epi16(_mm512_add_epi16(level, _mm512_set1_epi16(8)), 4);
        x86_store(v + i, _mm512_cvtepi16_epi8(level));
    }
    ruvm_elementwise_unpack(v + i, codes + i / 2, m, (all - i) >> shift, n);
}

/* ---- scores of heads of 8 ------------------------------------------------------------ */

/* A query as two signed bytes a value, q = 128 * high + low, for keys plus 128. */
struct query_of_8 {
    __m512i low, high, start;
};

static inline struct query_of_8 split_query_of_8(const int16_t *q)
{
    const __m512i flip = _mm512_set1_epi8(-128), zero = _mm512_setzero_si512();
    __m128i all = x86_load16(q);
    __m128i high = _mm_srai_epi16(_mm_add_epi16(all, _mm_set1_epi16(64)), 7);
    __m128i low = _mm_sub_epi16(all, _mm_slli_epi16(high, 7));
    struct query_of_8 s = {_mm512_broadcastq_epi64(_mm_packs_epi16(low, low)),
                           _mm512_broadcastq_epi64(_mm_packs_epi16(high, high)), zero};
    __m512i sum = _mm512_dpbusd_epi32(zero, flip, s.high);
    sum = _mm512_dpbusd_epi32(_mm512_slli_epi32(sum, 7), flip, s.low);
    s.start = _mm512_sub_epi32(zero, sum);
    return s;
}

/* Eight positions, two lanes each. */
static inline __m512i score_of_8(const struct query_of_8 *q, __m512i keys)
{
    __m512i k = _mm512_xor_si512(keys, _mm512_set1_epi8(-128));
    __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), k, q->high);
    __m512i low = _mm512_dpbusd_epi32(q->start, k, q->low);
    return _mm512_add_epi32(low, _mm512_slli_epi32(high, 7));
}

/* Bytes [from, from + 64) of n. */
static inline __mmask64 bytes_of(uint32_t from, uint32_t n)
{
    if (n <= from)
        return 0;
    return n - from >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n - from)) - 1;
}

static inline void avx512_scores_of_8(int32_t *out, const int16_t *q, const int8_t *k,
                                      uint32_t n_pos)
{
    const struct query_of_8 query = split_query_of_8(q);
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for (uint32_t p = 0; p < n_pos; p += LANES, k += LANES * 8) {
        uint32_t bytes = (n_pos - p) * 8;
        __m512i a = score_of_8(&query, _mm512_maskz_loadu_epi8(bytes_of(0, bytes), k));
        __m512i b = score_of_8(&query, _mm512_maskz_loadu_epi8(bytes_of(64, bytes), k + 64));
        store32(out + p, lanes_from(p, n_pos),
                _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
                                 _mm512_permutex2var_epi32(a, odd, b)));
    }
}

static inline void avx512_scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                                 uint32_t head_dim, uint32_t stride)
{
    if (head_dim == 8 && stride == 8)
        avx512_scores_of_8(out, q, k, n_pos);
    else
        ruvm_x86_scores(out, q, k, n_pos, head_dim, stride);
}

/* ---- softmax weights ----------------------------------------------------------------- */

/* How far a score is below the largest, and from there to t: mult and shift of the kernel. */
struct softmax {
    __m512i max, mult;
    __m128i shift; /* less 32 when that is possible */
};

/* t = (below * mult) >> shift, RUVM_EXP2_ZERO where it is above. When 32 or more are shifted
 * out, the high halves of the products are enough. */
X86_INLINE __m512i softmax_t(const struct softmax *m, bool is_high, __m512i scores)
{
    __m512i below = _mm512_sub_epi32(m->max, scores);
    __m512i even = _mm512_mul_epu32(below, m->mult);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(below, 32), m->mult);
    if (is_high) {
        __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, 0xf5);
        return _mm512_min_epu32(_mm512_srl_epi32(high, m->shift),
                                _mm512_set1_epi32(RUVM_EXP2_ZERO));
    }
    const __m512i most = _mm512_set1_epi64(RUVM_EXP2_ZERO);
    even = _mm512_min_epu64(_mm512_srl_epi64(even, m->shift), most);
    odd = _mm512_min_epu64(_mm512_srl_epi64(odd, m->shift), most);
    return wide_join((struct wide){even, odd});
}

/* ruvm_exact_exp2_small of 32 lanes of 16 bits: f is the fraction, n the integer of t.
 * vpmulhrsw is (x * y + 2^14) >> 15, so both roundings of the polynomial are one. B is
 * 2^16 more than fits, and what the last product adds to A is found in halves: the low one
 * counts as soon as it is not zero. */
static inline __m512i avx512_exp2(__m512i f, __m512i n)
{
    __m512i c = _mm512_mulhrs_epi16(f, _mm512_set1_epi16(RUVM_EXP2_D));
    c = _mm512_sub_epi16(_mm512_set1_epi16(4 * RUVM_EXP2_C), _mm512_slli_epi16(c, 2));
    __m512i b = _mm512_mulhrs_epi16(f, c);
    b = _mm512_sub_epi16(_mm512_set1_epi16(RUVM_EXP2_B - 65536), b);
    __mmask32 has_low = _mm512_test_epi16_mask(_mm512_mullo_epi16(f, b), _mm512_set1_epi16(-1));
    __m512i p = _mm512_sub_epi16(_mm512_set1_epi16((int16_t)(RUVM_EXP2_A >> 16)), f);
    p = _mm512_sub_epi16(p, _mm512_mulhi_epi16(f, b));
    p = _mm512_mask_sub_epi16(p, has_low, p, _mm512_set1_epi16(1));
    return _mm512_srlv_epi16(_mm512_srli_epi16(p, 2), n);
}

/* The weights of 16 t in the lower halves of the lanes, and those of another 16 in the upper
 * ones. */
static inline __m512i softmax_pairs(__m512i t, __m512i u)
{
    const __mmask32 second = 0xaaaaaaaa;
    __m512i f = _mm512_mask_mov_epi16(t, second, _mm512_slli_epi32(u, 16));
    __m512i n = _mm512_mask_mov_epi16(_mm512_srli_epi32(t, 15), second, _mm512_slli_epi32(u, 1));
    return avx512_exp2(_mm512_and_si512(f, _mm512_set1_epi16(32767)), n);
}

/* The weights of two times 16 scores, in order. */
X86_INLINE __m512i softmax_weights(const struct softmax *m, bool is_high, __m512i a, __m512i b)
{
    const __m512i in_order =
        _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24,
                         22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i w = softmax_pairs(softmax_t(m, is_high, a), softmax_t(m, is_high, b));
    return _mm512_permutexvar_epi16(in_order, w);
}

static inline __m512i avx512_weights_max(const int32_t *s, uint32_t n_pos)
{
    __m512i max = _mm512_set1_epi32(INT32_MIN);
    uint32_t p = 0;
    for (; p + LANES <= n_pos; p += LANES)
        max = _mm512_max_epi32(max, _mm512_loadu_si512(s + p));
    if (p < n_pos)
        max = _mm512_mask_max_epi32(max, lanes_from(p, n_pos), max,
                                    load32(lanes_from(p, n_pos), s + p));
    return _mm512_set1_epi32(_mm512_reduce_max_epi32(max));
}

X86_INLINE uint32_t softmax_walk(uint16_t *e, const int32_t *s, uint32_t n_pos,
                                 const struct softmax *m, bool is_high)
{
    const __m512i one = _mm512_set1_epi16(1);
    __m512i sum = _mm512_setzero_si512();
    uint32_t p = 0;
    for (; p + 2 * LANES <= n_pos; p += 2 * LANES) {
        __m512i a = _mm512_loadu_si512(s + p), b = _mm512_loadu_si512(s + p + LANES);
        __m512i w = softmax_weights(m, is_high, a, b);
        sum = _mm512_dpwssd_epi32(sum, w, one);
        _mm512_storeu_si512(e + p, w);
    }
    if (p < n_pos) {
        __mmask32 lanes = ((__mmask32)1 << (n_pos - p)) - 1;
        __m512i a = load32((__mmask16)lanes, s + p);
        __m512i b = load32((__mmask16)(lanes >> LANES), s + p + LANES);
        __m512i w = _mm512_maskz_mov_epi16(lanes, softmax_weights(m, is_high, a, b));
        sum = _mm512_dpwssd_epi32(sum, w, one);
        _mm512_mask_storeu_epi16(e + p, lanes, w);
    }
    return (uint32_t)_mm512_reduce_add_epi32(sum);
}

static inline uint32_t avx512_weights(uint16_t *e, const int32_t *s, uint32_t n_pos, uint32_t mult,
                                      uint32_t shift)
{
    bool is_high = shift >= 32;
    const struct softmax m = {avx512_weights_max(s, n_pos), _mm512_set1_epi32((int32_t)mult),
                              _mm_cvtsi32_si128((int32_t)(is_high ? shift - 32 : shift))};
    return is_high ? softmax_walk(e, s, n_pos, &m, true) : softmax_walk(e, s, n_pos, &m, false);
}

/* ---- mix of heads of 8 --------------------------------------------------------------- */

/* Four positions that touch are one register of 16 bits, the values of two positions in
 * turn, so that a lane takes two products; the lower and the upper half of the lanes have
 * two positions each. */
static inline __m512i avx512_mix_4(__m512i acc, const int8_t *v, __m512i e)
{
    const __m256i in_turn = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    __m256i values = _mm256_shuffle_epi8(x86_load(v), in_turn);
    return _mm512_dpwssd_epi32(acc, _mm512_cvtepi8_epi16(values), e);
}

static inline void avx512_mix_of_8(int32_t *out, const uint16_t *e, const int8_t *v, uint32_t n_pos)
{
    const __m512i order = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i two = _mm512_set1_epi32(2), four = _mm512_set1_epi32(4);
    __m512i a = _mm512_setzero_si512(), b = a;
    uint32_t p = 0;
    for (; p + 16 <= n_pos; p += 16, v += 128) {
        __m512i all = _mm512_zextsi256_si512(x86_load(e + p));
        __m512i next = _mm512_add_epi32(order, two);
        a = avx512_mix_4(a, v, _mm512_permutexvar_epi32(order, all));
        b = avx512_mix_4(b, v + 32, _mm512_permutexvar_epi32(next, all));
        a = avx512_mix_4(a, v + 64, _mm512_permutexvar_epi32(_mm512_add_epi32(order, four), all));
        b = avx512_mix_4(b, v + 96, _mm512_permutexvar_epi32(_mm512_add_epi32(next, four), all));
    }
    for (; p + 4 <= n_pos; p += 4, v += 32) {
        uint64_t some;
        __builtin_memcpy(&some, e + p, sizeof some);
        __m512i all = _mm512_set1_epi64((int64_t)some);
        a = avx512_mix_4(a, v, _mm512_permutexvar_epi32(order, all));
    }
    a = _mm512_add_epi32(a, b);
    __m256i sum = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    x86_store(out, _mm256_add_epi32(sum, x86_load(out)));
    if (p < n_pos)
        ruvm_x86_mix(out, e + p, v, n_pos - p, 8, 8);
}

/* ---- mix of other heads -------------------------------------------------------------- */

enum { MIX_POSITIONS = 4, MIX_VALUES = 64 };

/* The sums of 64 values, the lower and the upper 7 bits of the weights apart. Unpacking
 * keeps to quarters of a register, so part k has values 4k .. 4k + 3 of each 16. */
struct mix_sums {
    __m512i low[4], high[4];
};

/* Four positions, turned so that each lane has the four of one value; low and high: the
 * weights' halves, a byte a position. */
X86_INLINE void avx512_mix_64(struct mix_sums *sums, const int8_t *v, size_t stride,
                              __mmask64 bytes, uint64_t weights)
{
    __m512i a = _mm512_maskz_loadu_epi8(bytes, v);
    __m512i b = _mm512_maskz_loadu_epi8(bytes, v + stride);
    __m512i c = _mm512_maskz_loadu_epi8(bytes, v + 2 * stride);
    __m512i d = _mm512_maskz_loadu_epi8(bytes, v + 3 * stride);
    __m512i ab = _mm512_unpacklo_epi8(a, b), ab2 = _mm512_unpackhi_epi8(a, b);
    __m512i cd = _mm512_unpacklo_epi8(c, d), cd2 = _mm512_unpackhi_epi8(c, d);
    __m512i parts[4] = {_mm512_unpacklo_epi16(ab, cd), _mm512_unpackhi_epi16(ab, cd),
                        _mm512_unpacklo_epi16(ab2, cd2), _mm512_unpackhi_epi16(ab2, cd2)};
    __m128i four = _mm_cvtsi64_si128((int64_t)weights);
    __m128i lower = _mm_and_si128(four, _mm_set1_epi16(127)), upper = _mm_srli_epi16(four, 7);
    __m512i low = _mm512_broadcastd_epi32(_mm_packus_epi16(lower, lower));
    __m512i high = _mm512_broadcastd_epi32(_mm_packus_epi16(upper, upper));
    X86_UNROLL
    for (uint32_t k = 0; k < 4; k++) {
        sums->low[k] = _mm512_dpbusd_epi32(sums->low[k], low, parts[k]);
        sums->high[k] = _mm512_dpbusd_epi32(sums->high[k], high, parts[k]);
    }
}

/* Adds the sums to out[0 .. n) in order. */
X86_INLINE void avx512_mix_end(int32_t *out, const struct mix_sums *sums, uint32_t n)
{
    __m512i s[4], t[4];
    X86_UNROLL
    for (uint32_t k = 0; k < 4; k++)
        s[k] = _mm512_add_epi32(sums->low[k], _mm512_slli_epi32(sums->high[k], 7));
    t[0] = _mm512_shuffle_i32x4(s[0], s[1], 0x44);
    t[1] = _mm512_shuffle_i32x4(s[2], s[3], 0x44);
    t[2] = _mm512_shuffle_i32x4(s[0], s[1], 0xee);
    t[3] = _mm512_shuffle_i32x4(s[2], s[3], 0xee);
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i a = t[i / 32 * 2], b = t[i / 32 * 2 + 1];
        __m512i sum = i % 32 ? _mm512_shuffle_i32x4(a, b, 0xdd) : _mm512_shuffle_i32x4(a, b, 0x88);
        store32(out + i, lanes, _mm512_add_epi32(sum, load32(lanes, out + i)));
    }
}

static inline void avx512_mix_of_64(int32_t *out, const uint16_t *e, const int8_t *v,
                                    uint32_t n_pos, uint32_t stride, uint32_t n)
{
    const __mmask64 bytes = n == MIX_VALUES ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
    struct mix_sums sums;
    X86_UNROLL
    for (uint32_t k = 0; k < 4; k++)
        sums.low[k] = sums.high[k] = _mm512_setzero_si512();
    uint64_t weights;
    uint32_t p = 0;
    for (; p + MIX_POSITIONS <= n_pos; p += MIX_POSITIONS, v += MIX_POSITIONS * (size_t)stride) {
        __builtin_memcpy(&weights, e + p, sizeof weights);
        avx512_mix_64(&sums, v, stride, bytes, weights);
    }
    for (; p < n_pos; p++, v += stride)
        avx512_mix_64(&sums, v, 0, bytes, e[p]); /* the same four times, thrice times 0 */
    avx512_mix_end(out, &sums, n);
}

static inline void avx512_mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                              uint32_t head_dim, uint32_t stride)
{
    if (head_dim == 8 && stride == 8) {
        avx512_mix_of_8(acc, e, v, n_pos);
        return;
    }
    for (uint32_t d = 0, n; d < head_dim; d += n) {
        n = head_dim - d < MIX_VALUES ? head_dim - d : MIX_VALUES;
        avx512_mix_of_64(acc + d, e, v + d, n_pos, stride, n);
    }
}

#endif
