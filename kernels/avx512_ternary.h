/* AVX-512 ternary: five digits a byte times int8.
 *
 * With f(0) a byte of the row and f(k + 1) = 3 f(k) mod 256, two additions, digit k is
 * (3 f(k) - f(k + 1)) / 256. So for one vector no digit is ever taken out of its byte: where
 * A adds up f(k) x(k) and B f(k + 1) x(k), both by vpdpbusd, the sum of digits times x is
 * (3 A - B) / 256. A and B may wrap around: 3 A - B is 256 times less than 2^23. A level is
 * digit - 1, so the sum of x is taken off in the end.
 *
 * That is ten multiplications and ten additions for 64 bytes, 320 columns. On a Zen 4 units 0
 * and 1 do the former and 2 and 3 have time for the latter: ten cycles. */
#ifndef RUVM_KERNELS_AVX512_TERNARY_H
#define RUVM_KERNELS_AVX512_TERNARY_H

#include "kernels/variants.h"
#include "kernels/x86_codes.h"

enum {
    TERNARY_DIGITS = 5,
    TERNARY_STEP = 32,  /* bytes of each of two rows, one in each half of a register */
    TERNARY_STEPS = 32, /* that x is prepared for at a time */
    TERNARY_PAIRS = 4,  /* of rows i and i + TERNARY_PAIRS, which share what is loaded of x */
    TERNARY_ROWS = 2 * TERNARY_PAIRS
};

/* Bytes of the rows that x has been prepared for. */
struct ternary_part {
    uint32_t first_byte, n_steps;
    __mmask32 last; /* bytes of the last step */
    int8_t x[TERNARY_STEPS][TERNARY_DIGITS][TERNARY_STEP];
};

static inline __mmask32 ternary_bytes(uint32_t n)
{
    return n >= TERNARY_STEP ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
}

/* ---- x ------------------------------------------------------------------------------ */

static inline int32_t ternary_sum(const int8_t *x, uint32_t n_cols)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t c = 0; c < n_cols; c += 32) {
        __m256i some = _mm256_maskz_loadu_epi8(ternary_bytes(n_cols - c), x + c);
        sum = _mm256_dpbusd_epi32(sum, _mm256_set1_epi8(1), some);
    }
    return _mm512_reduce_add_epi32(_mm512_zextsi256_si512(sum));
}

/* x of the digits of the bytes from first_byte on, zeros where a stripe of columns ends. */
static inline void ternary_prepare(struct ternary_part *p, const int8_t *x, uint32_t n_cols,
                                   uint32_t first_byte, uint32_t n_bytes)
{
    uint32_t left = n_bytes - first_byte;
    left = left < TERNARY_STEPS * TERNARY_STEP ? left : TERNARY_STEPS * TERNARY_STEP;
    p->first_byte = first_byte;
    p->n_steps = (left + TERNARY_STEP - 1) / TERNARY_STEP;
    p->last = ternary_bytes(left - (p->n_steps - 1) * TERNARY_STEP);
    for (uint32_t s = 0; s < p->n_steps; s++)
        for (uint32_t k = 0; k < TERNARY_DIGITS; k++) {
            uint32_t j = first_byte + s * TERNARY_STEP, c = k * n_bytes + j;
            __mmask32 stripe = ternary_bytes(n_bytes - j) & ternary_bytes(c < n_cols ? n_cols - c : 0);
            x86_store(p->x[s][k], _mm256_maskz_loadu_epi8(stripe, x + c));
        }
}

/* ---- rows --------------------------------------------------------------------------- */

struct ternary_sums {
    __m512i a[TERNARY_PAIRS], b[TERNARY_PAIRS];
};

X86_INLINE __m512i ternary_load(const uint8_t *w, size_t far, __mmask32 bytes)
{
    if (bytes == ~(__mmask32)0)
        return _mm512_inserti64x4(_mm512_castsi256_si512(x86_load(w)), x86_load(w + far), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_loadu_epi8(bytes, w)),
                              _mm256_maskz_loadu_epi8(bytes, w + far), 1);
}

X86_INLINE void ternary_step(struct ternary_sums *t, const uint8_t *w, size_t stride,
                             const int8_t (*x)[TERNARY_STEP], __mmask32 bytes)
{
    __m512i xs[TERNARY_DIGITS];
    X86_UNROLL
    for (uint32_t k = 0; k < TERNARY_DIGITS; k++)
        xs[k] = _mm512_broadcast_i64x4(x86_load(x[k]));
    X86_UNROLL
    for (uint32_t i = 0; i < TERNARY_PAIRS; i++) {
        __m512i f = ternary_load(w + i * stride, TERNARY_PAIRS * stride, bytes);
        X86_UNROLL
        for (uint32_t k = 0; k < TERNARY_DIGITS; k++) {
            t->a[i] = _mm512_dpbusd_epi32(t->a[i], f, xs[k]);
            f = _mm512_add_epi8(_mm512_add_epi8(f, f), f);
            t->b[i] = _mm512_dpbusd_epi32(t->b[i], f, xs[k]);
        }
    }
}

X86_INLINE __m512i ternary_pairs(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* Of rows 0 .. TERNARY_ROWS in this order: their sums of digits times x. */
X86_INLINE __m256i ternary_add_up(const struct ternary_sums *t)
{
    __m512i all[TERNARY_PAIRS];
    X86_UNROLL
    for (uint32_t i = 0; i < TERNARY_PAIRS; i++)
        all[i] = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(t->a[i], t->a[i]), t->a[i]),
                                  t->b[i]);
    __m512i low = ternary_pairs(all[0], all[1]), high = ternary_pairs(all[2], all[3]);
    low = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    __m512i even = _mm512_shuffle_i32x4(low, low, 0x08), odd = _mm512_shuffle_i32x4(low, low, 0x0d);
    __m256i sums = _mm512_castsi512_si256(_mm512_add_epi32(even, odd));
    return _mm256_srai_epi32(sums, 8);
}

X86_INLINE __m256i ternary_tile(const struct ruvm_matmul_codes *m, const struct ternary_part *p,
                                uint32_t r)
{
    const size_t stride = m->row_bytes;
    const uint8_t *w = m->w + r * stride + p->first_byte;
    struct ternary_sums t = {0};
    uint32_t s = 0;
    for (; s + 1 < p->n_steps; s++, w += TERNARY_STEP)
        ternary_step(&t, w, stride, p->x[s], ~(__mmask32)0);
    ternary_step(&t, w, stride, p->x[s], p->last);
    return ternary_add_up(&t);
}

/* The last tile begins earlier, so that it ends with the rows, and puts those not yet done. */
static inline void ternary_rows(const struct ruvm_matmul_codes *m, const struct ternary_part *p,
                                int32_t *out, int32_t start)
{
    for (uint32_t i = 0; i < m->n_rows; i += TERNARY_ROWS) {
        uint32_t r = x86_last_fits(i, TERNARY_ROWS, m->n_rows);
        __mmask8 fresh = (__mmask8)(0xff << (i - r));
        __m256i sums = ternary_tile(m, p, r), before = _mm256_set1_epi32(start);
        if (p->first_byte)
            before = _mm256_maskz_loadu_epi32(fresh, out + r);
        _mm256_mask_storeu_epi32(out + r, fresh, _mm256_add_epi32(before, sums));
    }
}

static inline void ternary_vector(const struct ruvm_matmul_codes *m, const int8_t *x, int32_t *out)
{
    struct ternary_part p;
    const uint32_t n_bytes = (m->n_cols + TERNARY_DIGITS - 1) / TERNARY_DIGITS;
    const int32_t start = -ternary_sum(x, m->n_cols);
    for (uint32_t j = 0; j < n_bytes; j += TERNARY_STEPS * TERNARY_STEP) {
        ternary_prepare(&p, x, m->n_cols, j, n_bytes);
        ternary_rows(m, &p, out, start);
    }
}

/* Fewer than TERNARY_ROWS rows, which no real model has, are left to AVX2. */
static inline void ternary_matmul(const struct ruvm_matmul_codes *m)
{
    if (m->n_rows < TERNARY_ROWS) {
        ruvm_kernels_avx2.matmul_ternary(m);
        return;
    }
    for (uint32_t v = 0; v < m->n_vecs; v++)
        ternary_vector(m, m->x + v * (size_t)m->x_stride, m->out + v * (size_t)m->out_stride);
}

#endif
