/* AVX-512: the kernels that walk one vector, 16 lanes at a time.
 *
 * Compilers do these loops well but for their ends, and in a small model every vector is
 * mostly end: here a mask makes the last step as cheap as the others. */
#ifndef RUVM_KERNELS_AVX512_ELEMENTWISE_H
#define RUVM_KERNELS_AVX512_ELEMENTWISE_H

#include <stdbool.h>

#include "kernels/x86_codes.h"

enum { LANES = 16 };

/* The lanes of the step at i that lie within n. */
static inline __mmask16 lanes_from(uint32_t i, uint32_t n)
{
    return n - i >= LANES ? (__mmask16)0xffff : (__mmask16)((1u << (n - i)) - 1);
}

static inline __m512i load32(__mmask16 lanes, const int32_t *p)
{
    return _mm512_maskz_loadu_epi32(lanes, p);
}

static inline __m512i load16(__mmask16 lanes, const int16_t *p)
{
    return _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(lanes, p));
}

static inline __m512i load_u16(__mmask16 lanes, const uint16_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p));
}

/* What a masked store wrote comes late to the next load of it, and one kernel's output is the
 * next one's input: so whole registers, and heads of 8, are stored plainly. */
enum { ALL_LANES = 0xffff, HALF_LANES = 0xff };

static inline void store32(int32_t *p, __mmask16 lanes, __m512i x)
{
    if (lanes == ALL_LANES)
        _mm512_storeu_si512(p, x);
    else if (lanes == HALF_LANES)
        x86_store(p, _mm512_castsi512_si256(x));
    else
        _mm512_mask_storeu_epi32(p, lanes, x);
}

static inline void store16(void *p, __mmask16 lanes, __m512i x)
{
    __m256i narrow = _mm512_cvtepi32_epi16(x);
    if (lanes == ALL_LANES)
        x86_store(p, narrow);
    else if (lanes == HALF_LANES)
        _mm_storeu_si128(p, _mm256_castsi256_si128(narrow));
    else
        _mm256_mask_storeu_epi16(p, lanes, narrow);
}

static inline void store8(int8_t *p, __mmask16 lanes, __m512i x)
{
    __m128i narrow = _mm512_cvtepi32_epi8(x);
    if (lanes == ALL_LANES)
        _mm_storeu_si128((void *)p, narrow);
    else if (lanes == HALF_LANES)
        _mm_storel_epi64((void *)p, narrow);
    else
        _mm_mask_storeu_epi8(p, lanes, narrow);
}

/* (x * mult + half) >> shift in 64 bits, of the even and of the odd lanes. */
struct wide {
    __m512i even, odd;
};

struct wide_ratio {
    __m512i mult, half;
    __m128i shift;
};

static inline struct wide_ratio wide_ratio(uint32_t mult, uint32_t shift)
{
    return (struct wide_ratio){_mm512_set1_epi32((int32_t)mult),
                               _mm512_set1_epi64((long long)(1ull << (shift - 1))),
                               _mm_cvtsi32_si128((int32_t)shift)};
}

static inline struct wide wide_scale(__m512i x, const struct wide_ratio *r)
{
    __m512i even = _mm512_mul_epi32(x, r->mult);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), r->mult);
    return (struct wide){_mm512_sra_epi64(_mm512_add_epi64(even, r->half), r->shift),
                         _mm512_sra_epi64(_mm512_add_epi64(odd, r->half), r->shift)};
}

static inline struct wide wide_clamp(struct wide x, int64_t most)
{
    __m512i high = _mm512_set1_epi64(most), low = _mm512_set1_epi64(-most);
    return (struct wide){_mm512_max_epi64(_mm512_min_epi64(x.even, high), low),
                         _mm512_max_epi64(_mm512_min_epi64(x.odd, high), low)};
}

/* The low halves of all lanes, in order. */
static inline __m512i wide_join(struct wide x)
{
    return _mm512_mask_shuffle_epi32(x.even, 0xaaaa, x.odd, 0xa0);
}

static inline struct wide wide_of(__m512i x)
{
    return (struct wide){_mm512_srai_epi64(_mm512_slli_epi64(x, 32), 32), _mm512_srai_epi64(x, 32)};
}

/* ---- vectors ------------------------------------------------------------------------- */

static inline uint32_t avx512_amax(const int32_t *x, uint32_t n)
{
    __m512i max = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += LANES)
        max = _mm512_max_epu32(max, _mm512_abs_epi32(load32(lanes_from(i, n), x + i)));
    return _mm512_reduce_max_epu32(max);
}

static inline __m512i rescaled(__m512i v, __m512i s)
{
    __m512i low = _mm512_mullo_epi32(_mm512_and_si512(v, _mm512_set1_epi32(0xffff)), s);
    low = _mm512_srli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(0x8000)), 16);
    return _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srai_epi32(v, 16), s), low);
}

static inline void avx512_rescale(int32_t *x, const uint16_t *scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        store32(x + i, lanes, rescaled(load32(lanes, x + i), load_u16(lanes, scale + i)));
    }
}

static inline void avx512_quantize(int8_t *q, const int32_t *x, uint32_t n, uint32_t n_padded,
                                   uint32_t up, uint32_t down, uint32_t mult)
{
    __m128i left = _mm_cvtsi32_si128((int32_t)up), right = _mm_cvtsi32_si128((int32_t)down);
    __m512i by = _mm512_set1_epi32((int32_t)mult), half = _mm512_set1_epi32(1 << 23);
    for (uint32_t i = 0; i < n_padded; i += LANES) {
        __m512i v = load32(i < n ? lanes_from(i, n) : 0, x + i);
        v = _mm512_sra_epi32(_mm512_sll_epi32(v, left), right);
        v = _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(v, by), half), 24);
        store8(q + i, lanes_from(i, n_padded), v);
    }
}

/* h + y for |y| < 2^31, clamped. Where the sum leaves 32 bits, its sign is not that of both. */
static inline __m512i add_clamped(__m512i h, __m512i y)
{
    __m512i sum = _mm512_add_epi32(h, y), most = _mm512_set1_epi32(INT32_MAX);
    __m512i wrong = _mm512_and_si512(_mm512_xor_si512(h, sum), _mm512_xor_si512(y, sum));
    __m512i end = _mm512_xor_si512(_mm512_srai_epi32(h, 31), most);
    sum = _mm512_mask_mov_epi32(sum, _mm512_movepi32_mask(wrong), end);
    return _mm512_max_epi32(sum, _mm512_set1_epi32(-INT32_MAX));
}

/* How (x * mult + half) >> shift is computed in 32 bits, for the shifts from 31 on: of |x| < 2^30
 * no more is left. Beyond 32, half has no low half, and the low halves of products are not needed.
 */
struct narrow_ratio {
    __m512i mult, half;
    __m128i shift;
};

static inline struct narrow_ratio narrow_ratio(bool is_high, uint32_t mult, uint32_t shift)
{
    const uint64_t half = 1ull << (shift - 1);
    return (struct narrow_ratio){_mm512_set1_epi32((int32_t)mult),
                                 is_high ? _mm512_set1_epi32((int32_t)(half >> 32))
                                         : _mm512_set1_epi64((long long)half),
                                 _mm_cvtsi32_si128((int32_t)(is_high ? shift - 32 : shift))};
}

X86_INLINE __m512i narrow_scale(bool is_high, __m512i x, const struct narrow_ratio *r)
{
    __m512i even = _mm512_mul_epi32(x, r->mult);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), r->mult);
    if (is_high)
        return _mm512_sra_epi32(
            _mm512_add_epi32(_mm512_mask_shuffle_epi32(odd, 0x5555, even, 0xf5), r->half),
            r->shift);
    even = _mm512_srl_epi64(_mm512_add_epi64(even, r->half), r->shift);
    odd = _mm512_srl_epi64(_mm512_add_epi64(odd, r->half), r->shift);
    return wide_join((struct wide){even, odd});
}

/* A first sum is so far below 2^31 that nothing has to be clamped. */
X86_INLINE void add_narrow_lanes(bool is_first, bool is_high, int32_t *h, const int32_t *x,
                                 const uint16_t *scale, __mmask16 lanes,
                                 const struct narrow_ratio *r)
{
    __m512i y = narrow_scale(is_high, rescaled(load32(lanes, x), load_u16(lanes, scale)), r);
    store32(h, lanes, is_first ? y : add_clamped(load32(lanes, h), y));
}

X86_INLINE void add_narrow(bool is_first, bool is_high, int32_t *h, const int32_t *x, uint32_t n,
                           const struct ruvm_addition *p)
{
    const struct narrow_ratio r = narrow_ratio(is_high, p->mult, p->shift);
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        add_narrow_lanes(is_first, is_high, h + i, x + i, p->scale + i, ALL_LANES, &r);
    if (i < n)
        add_narrow_lanes(is_first, is_high, h + i, x + i, p->scale + i, lanes_from(i, n), &r);
}

static inline void add_wide(int32_t *h, const int32_t *x, uint32_t n, const struct ruvm_addition *p)
{
    const struct wide_ratio r = wide_ratio(p->mult, p->shift);
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i v = rescaled(load32(lanes, x + i), load_u16(lanes, p->scale + i));
        struct wide y = wide_scale(v, &r);
        struct wide before = wide_of(load32(p->is_first ? 0 : lanes, h + i));
        y.even = _mm512_add_epi64(y.even, before.even);
        y.odd = _mm512_add_epi64(y.odd, before.odd);
        store32(h + i, lanes, wide_join(wide_clamp(y, INT32_MAX)));
    }
}

static inline void avx512_add_scaled(int32_t *h, int32_t *x, uint32_t n,
                                     const struct ruvm_addition *p)
{
    if (p->shift <= 30)
        add_wide(h, x, n, p);
    else if (p->shift <= 32 && p->is_first)
        add_narrow(true, false, h, x, n, p);
    else if (p->shift <= 32)
        add_narrow(false, false, h, x, n, p);
    else if (p->is_first)
        add_narrow(true, true, h, x, n, p);
    else
        add_narrow(false, true, h, x, n, p);
}

static inline uint64_t avx512_norm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                                   uint32_t down)
{
    __m128i first = _mm_cvtsi32_si128(down ? (int32_t)down - 1 : 0);
    __m128i last = _mm_cvtsi32_si128(down ? 1 : 0);
    __m512i one = _mm512_set1_epi32(down ? 1 : 0), sum = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i v = _mm512_add_epi32(_mm512_sra_epi32(load32(lanes, h + i), first), one);
        v = _mm512_maskz_sra_epi32(lanes, v, last);
        store32(y + i, lanes, _mm512_mullo_epi32(v, load16(lanes, gain + i)));
        __m512i odd = _mm512_srli_epi64(v, 32);
        sum = _mm512_add_epi64(sum, _mm512_mul_epi32(v, v));
        sum = _mm512_add_epi64(sum, _mm512_mul_epi32(odd, odd));
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

/* ---- SwiGLU -------------------------------------------------------------------------- */

/* The sigmoid's table in registers of 32 entries, each with what it is to the next one. Few
 * models need all of it: how many do is told by how large a gate can be. */
enum { SIGMOID_PARTS = 8 };
struct sigmoid_table {
    __m512i entry[SIGMOID_PARTS], rise[SIGMOID_PARTS];
};

X86_INLINE struct sigmoid_table sigmoid_load(uint32_t parts)
{
    struct sigmoid_table t;
    X86_UNROLL
    for (size_t i = 0; i < parts; i++) {
        t.entry[i] = _mm512_loadu_si512(ruvm_scalar_sigmoid + 32 * i);
        t.rise[i] = _mm512_loadu_si512(ruvm_scalar_sigmoid + 32 * i + 1);
        t.rise[i] = _mm512_sub_epi16(t.rise[i], t.entry[i]);
    }
    return t;
}

/* Entries of 16 bits by number: each permutation knows 64 of them. */
X86_INLINE __m512i sigmoid_look_up(uint32_t parts, const __m512i *part, __m512i number)
{
    __m512i a = _mm512_permutex2var_epi16(part[0], number, part[1]);
    if (parts == 2)
        return a;
    __mmask32 odd = _mm512_test_epi16_mask(number, _mm512_set1_epi16(64));
    __m512i b = _mm512_permutex2var_epi16(part[2], number, part[3]);
    a = _mm512_mask_mov_epi16(a, odd, b);
    if (parts == 4)
        return a;
    __mmask32 high = _mm512_test_epi16_mask(number, _mm512_set1_epi16(128));
    __m512i c = _mm512_permutex2var_epi16(part[4], number, part[5]);
    __m512i d = _mm512_permutex2var_epi16(part[6], number, part[7]);
    return _mm512_mask_mov_epi16(a, high, _mm512_mask_mov_epi16(c, odd, d));
}

/* ruvm_sigmoid_q15 of 32 lanes, those of g in the lower and those of h in the upper halves of
 * 16. vpmulhrsw is (x * y + 2^14) >> 15, so a 256th of the rise is rounded as it should be. */
X86_INLINE __m512i avx512_sigmoid(uint32_t parts, const struct sigmoid_table *t, __m512i g,
                                  __m512i h)
{
    const __mmask32 second = 0xaaaaaaaa;
    __m512i sign = _mm512_mask_mov_epi16(_mm512_srli_epi32(g, 16), second, h);
    __m512i last = _mm512_set1_epi32(RUVM_SIGMOID_LAST);
    g = _mm512_min_epu32(_mm512_abs_epi32(g), last);
    h = _mm512_min_epu32(_mm512_abs_epi32(h), last);
    __m512i a = _mm512_or_si512(g, _mm512_slli_epi32(h, 16));
    __m512i number = _mm512_srli_epi16(a, 8);
    __m512i part = _mm512_srli_epi16(_mm512_slli_epi16(a, 8), 1);
    __m512i rise = sigmoid_look_up(parts, t->rise, number);
    __m512i s = sigmoid_look_up(parts, t->entry, number);
    s = _mm512_add_epi16(s, _mm512_mulhrs_epi16(rise, part));
    return _mm512_mask_sub_epi16(s, _mm512_movepi16_mask(sign), _mm512_set1_epi16(-32768), s);
}

/* Shifts as registers. */
struct swiglu_shifts {
    __m128i up, gate, to_q12;
    __m512i mult;
};

/* (g * s + 2^14 >> 15) * u, u being shifted. */
X86_INLINE void swiglu_end(int32_t *x, const int32_t *up, __mmask16 lanes, __m512i g, __m512i s,
                           const struct swiglu_shifts *by)
{
    s = _mm512_add_epi32(_mm512_mullo_epi32(g, s), _mm512_set1_epi32(16384));
    __m512i u = _mm512_sra_epi32(load32(lanes, up), by->up);
    store32(x, lanes, _mm512_mullo_epi32(_mm512_srai_epi32(s, 15), u));
}

X86_INLINE void swiglu_walk(uint32_t parts, int32_t *x, const int32_t *up, const int32_t *gate,
                            uint32_t n, const struct swiglu_shifts *by)
{
    const struct sigmoid_table table = sigmoid_load(parts);
    for (uint32_t i = 0; i < n; i += 2 * LANES) {
        __mmask16 low = lanes_from(i, n), high = i + LANES < n ? lanes_from(i + LANES, n) : 0;
        __m512i g = _mm512_sra_epi32(load32(low, gate + i), by->gate);
        __m512i h = _mm512_sra_epi32(load32(high, gate + i + LANES), by->gate);
        __m512i s = avx512_sigmoid(parts, &table,
                                   _mm512_sra_epi32(_mm512_mullo_epi32(g, by->mult), by->to_q12),
                                   _mm512_sra_epi32(_mm512_mullo_epi32(h, by->mult), by->to_q12));
        swiglu_end(x + i, up + i, low, g, _mm512_and_si512(s, _mm512_set1_epi32(0xffff)), by);
        if (high)
            swiglu_end(x + i + LANES, up + i + LANES, high, h, _mm512_srli_epi32(s, 16), by);
    }
}

static inline void avx512_swiglu(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                                 const struct ruvm_swiglu *p)
{
    const struct swiglu_shifts by = {
        _mm_cvtsi32_si128((int32_t)p->up_down), _mm_cvtsi32_si128((int32_t)p->gate_down),
        _mm_cvtsi32_si128((int32_t)p->shift), _mm512_set1_epi32((int32_t)p->mult)};
    /* The last entry that a gate can need: shifting the lowest one rounds away from zero. */
    uint32_t largest = (((p->mult << 15) >> p->shift) + 1) >> 8;
    if (largest < 64)
        swiglu_walk(2, x, up, gate, n, &by);
    else if (largest < 128)
        swiglu_walk(4, x, up, gate, n, &by);
    else
        swiglu_walk(8, x, up, gate, n, &by);
}

#endif
