/* AVX-512: the kernels that walk one vector, 16 lanes at a time.
 *
 * Compilers do these loops well but for their ends, and in a small model every vector is
 * mostly end: here a mask makes the last step as cheap as the others. */
#ifndef RUVM_KERNELS_AVX512_ELEMENTWISE_H
#define RUVM_KERNELS_AVX512_ELEMENTWISE_H

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

/* The high halves of the products, for shifts beyond 32: half has no low half then. */
static inline __m512i high_product(__m512i x, __m512i mult)
{
    __m512i even = _mm512_mul_epi32(x, mult);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), mult);
    return _mm512_mask_shuffle_epi32(odd, 0x5555, even, 0xf5);
}

static inline void add_high(int32_t *h, const int32_t *x, uint32_t n, const struct ruvm_addition *p)
{
    const __m512i mult = _mm512_set1_epi32((int32_t)p->mult);
    const __m512i half = _mm512_set1_epi32((int32_t)(1u << (p->shift - 33)));
    const __m128i by = _mm_cvtsi32_si128((int32_t)p->shift - 32);
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i y = rescaled(load32(lanes, x + i), load_u16(lanes, p->scale + i));
        y = _mm512_sra_epi32(_mm512_add_epi32(high_product(y, mult), half), by);
        store32(h + i, lanes, add_clamped(load32(lanes, h + i), y));
    }
}

static inline void avx512_add_scaled(int32_t *h, int32_t *x, uint32_t n,
                                     const struct ruvm_addition *p)
{
    if (p->shift > 32) {
        add_high(h, x, n, p);
        return;
    }
    const struct wide_ratio r = wide_ratio(p->mult, p->shift);
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i v = rescaled(load32(lanes, x + i), load_u16(lanes, p->scale + i));
        struct wide y = wide_scale(v, &r), before = wide_of(load32(lanes, h + i));
        y.even = _mm512_add_epi64(y.even, before.even);
        y.odd = _mm512_add_epi64(y.odd, before.odd);
        store32(h + i, lanes, wide_join(wide_clamp(y, INT32_MAX)));
    }
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

/* The first 256 entries of the sigmoid's table; the last one of all equals them at their
 * end, so no other is needed. */
struct sigmoid_table {
    __m512i part[8];
};

static inline struct sigmoid_table sigmoid_load(void)
{
    struct sigmoid_table t;
    for (size_t i = 0; i < 8; i++)
        t.part[i] = _mm512_loadu_si512(ruvm_scalar_sigmoid + 32 * i);
    return t;
}

/* Entries of 16 bits by number: each permutation knows 64 of them. */
static inline __m512i sigmoid_look_up(const struct sigmoid_table *t, __m512i number)
{
    __m512i a = _mm512_permutex2var_epi16(t->part[0], number, t->part[1]);
    __m512i b = _mm512_permutex2var_epi16(t->part[2], number, t->part[3]);
    __m512i c = _mm512_permutex2var_epi16(t->part[4], number, t->part[5]);
    __m512i d = _mm512_permutex2var_epi16(t->part[6], number, t->part[7]);
    __mmask32 odd = _mm512_test_epi16_mask(number, _mm512_set1_epi16(64));
    __mmask32 high = _mm512_test_epi16_mask(number, _mm512_set1_epi16(128));
    a = _mm512_mask_mov_epi16(a, odd, b);
    c = _mm512_mask_mov_epi16(c, odd, d);
    return _mm512_mask_mov_epi16(a, high, c);
}

/* As x86_sigmoid, of 16 lanes. */
static inline __m512i avx512_sigmoid(const struct sigmoid_table *t, __m512i g)
{
    __m512i a = _mm512_min_epu32(_mm512_abs_epi32(g), _mm512_set1_epi32(RUVM_SIGMOID_LAST));
    __m512i first = _mm512_srli_epi32(a, 8);
    __m512i next =
        _mm512_min_epu32(_mm512_add_epi32(first, _mm512_set1_epi32(1)), _mm512_set1_epi32(255));
    __m512i pair = sigmoid_look_up(t, _mm512_or_si512(first, _mm512_slli_epi32(next, 16)));
    pair = _mm512_xor_si512(pair, _mm512_set1_epi32((int32_t)0x80008000));
    __m512i right = _mm512_and_si512(a, _mm512_set1_epi32(255));
    __m512i left = _mm512_sub_epi32(_mm512_set1_epi32(256), right);
    __m512i parts = _mm512_or_si512(left, _mm512_slli_epi32(right, 16));
    __m512i s = _mm512_dpwssd_epi32(_mm512_set1_epi32(128), pair, parts);
    s = _mm512_add_epi32(_mm512_srai_epi32(s, 8), _mm512_set1_epi32(32768));
    __mmask16 negative = _mm512_cmplt_epi32_mask(g, _mm512_setzero_si512());
    return _mm512_mask_sub_epi32(s, negative, _mm512_set1_epi32(32768), s);
}

static inline void avx512_swiglu(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                                 const struct ruvm_swiglu *p)
{
    __m128i up_down = _mm_cvtsi32_si128((int32_t)p->up_down);
    __m128i gate_down = _mm_cvtsi32_si128((int32_t)p->gate_down);
    __m128i shift = _mm_cvtsi32_si128((int32_t)p->shift);
    __m512i mult = _mm512_set1_epi32((int32_t)p->mult);
    const struct sigmoid_table table = sigmoid_load();
    for (uint32_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_from(i, n);
        __m512i g = _mm512_sra_epi32(load32(lanes, gate + i), gate_down);
        __m512i s = avx512_sigmoid(&table, _mm512_sra_epi32(_mm512_mullo_epi32(g, mult), shift));
        s = _mm512_add_epi32(_mm512_mullo_epi32(g, s), _mm512_set1_epi32(16384));
        __m512i u = _mm512_sra_epi32(load32(lanes, up + i), up_down);
        store32(x + i, lanes, _mm512_mullo_epi32(_mm512_srai_epi32(s, 15), u));
    }
}

#endif
