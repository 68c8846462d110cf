/* AVX-512 ternary: five digits a byte times int8.
 *
 * With f a digit's byte, at first that of the row, and g = 3 f mod 256, which is the byte of
 * the next digit, the digit is (3 f - g) / 256. So for one vector no digit is ever taken out:
 * where A adds up f x and B adds up g x, the sum of digits times x is (3 A - B) / 256. A and B
 * may wrap around: 3 A - B is 256 times less than 2^23. A level is digit - 1, so the sums start
 * at minus the sum of x.
 *
 * That is ten multiplications and ten additions for 64 bytes, 320 columns. On a Zen 4 units 0
 * and 1 do the former and 2 and 3 have time for the latter: ten cycles. Vectors that share the
 * digits have them taken out, in 25 operations. */
#ifndef RUVM_KERNELS_AVX512_TERNARY_H
#define RUVM_KERNELS_AVX512_TERNARY_H

#include "kernels/variants.h"
#include "kernels/x86_codes.h"

enum {
    TERNARY_DIGITS = 5,
    TERNARY_STEP = 32, /* bytes of each of two rows, one in each half of a register */
    TERNARY_PAIRS = 4, /* of rows i and i + TERNARY_PAIRS, which share what is loaded of x */
    TERNARY_ROWS = 2 * TERNARY_PAIRS,
    TERNARY_VECS = 4,  /* that share digits */
    TERNARY_ROOM = 320 /* registers of x, 20 kB, that are prepared at a time */
};

/* Bytes of the rows that x has been prepared for. */
struct ternary_part {
    uint32_t first_byte, n_steps, vecs;
    uint32_t safe_rows;          /* that may be read in whole steps */
    __mmask32 last;              /* bytes of the last step */
    int32_t start[TERNARY_VECS]; /* of the sums */
    __m512i x[TERNARY_ROOM];     /* [n_steps, TERNARY_DIGITS, vecs], the same in both halves */
};

/* ---- x ------------------------------------------------------------------------------ */

static inline __mmask32 ternary_bytes(uint32_t n)
{
    return n >= TERNARY_STEP ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
}

static inline int32_t ternary_sum(const int8_t *x, uint32_t n_cols)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t c = 0; c < n_cols; c += TERNARY_STEP) {
        __m256i some = _mm256_maskz_loadu_epi8(ternary_bytes(n_cols - c), x + c);
        sum = _mm256_dpbusd_epi32(sum, _mm256_set1_epi8(1), some);
    }
    return _mm512_reduce_add_epi32(_mm512_zextsi256_si512(sum));
}

/* Vector v of the part is x: that of each digit's bytes, zeros where a digit's columns end. */
static inline void ternary_prepare(struct ternary_part *p, uint32_t v, const int8_t *x,
                                   uint32_t n_cols, uint32_t n_bytes)
{
    p->start[v] = -ternary_sum(x, n_cols);
    for (uint32_t i = 0; i < p->n_steps * TERNARY_DIGITS; i++) {
        uint32_t j = p->first_byte + i / TERNARY_DIGITS * TERNARY_STEP;
        uint32_t c = i % TERNARY_DIGITS * n_bytes + j;
        __mmask32 some = ternary_bytes(n_bytes - j) & ternary_bytes(c < n_cols ? n_cols - c : 0);
        p->x[i * p->vecs + v] = _mm512_broadcast_i64x4(_mm256_maskz_loadu_epi8(some, x + c));
    }
}

static inline void ternary_begin(const struct ruvm_matmul_codes *m, struct ternary_part *p,
                                 uint32_t first_byte, uint32_t n_bytes)
{
    const uint32_t left = n_bytes - first_byte, most = TERNARY_ROOM / TERNARY_DIGITS / p->vecs;
    p->first_byte = first_byte;
    p->n_steps = (left + TERNARY_STEP - 1) / TERNARY_STEP;
    p->n_steps = p->n_steps < most ? p->n_steps : most;
    p->last = ternary_bytes(left - (p->n_steps - 1) * TERNARY_STEP);
    p->safe_rows = x86_safe_rows(m->n_rows, m->row_bytes, first_byte + p->n_steps * TERNARY_STEP);
}

/* ---- tiles -------------------------------------------------------------------------- */

/* Half a register of each of two rows; nothing but their bytes where `cut`. */
X86_INLINE __m512i ternary_load(const uint8_t *w, size_t far, int cut, __mmask32 bytes)
{
    __m256i low = cut ? _mm256_maskz_loadu_epi8(bytes, w) : x86_load(w);
    __m256i high = cut ? _mm256_maskz_loadu_epi8(bytes, w + far) : x86_load(w + far);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* 3 f. Compilers must not see it: bytes are hard to multiply. */
X86_INLINE __m512i ternary_thrice(__m512i f)
{
    __m512i twice = _mm512_add_epi8(f, f);
    __asm__("" : "+v"(twice));
    return _mm512_add_epi8(twice, f);
}

/* The digits of f times 64: with g = 3 f - 256 digit, (f + g) / 2 = 2 f - 128 digit is a byte,
 * and so is half of it. */
X86_INLINE __m512i ternary_digit(__m512i f, __m512i g)
{
    return _mm512_sub_epi8(f, _mm512_avg_epu8(_mm512_avg_epu8(f, g), _mm512_setzero_si512()));
}

/* Of four registers, each with a row in either half: the sums of rows 0 .. 8 in order. */
X86_INLINE __m256i ternary_rows(const __m512i *a)
{
    __m512i low =
        _mm512_add_epi32(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[0], a[1]));
    __m512i high =
        _mm512_add_epi32(_mm512_unpacklo_epi32(a[2], a[3]), _mm512_unpackhi_epi32(a[2], a[3]));
    low = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    return _mm512_castsi512_si256(_mm512_add_epi32(_mm512_shuffle_i32x4(low, low, 0x08),
                                                   _mm512_shuffle_i32x4(low, low, 0x0d)));
}

/* Rows r .. r + 8 of one vector. */
X86_INLINE void ternary_tile_1(const struct ruvm_matmul_codes *m, const struct ternary_part *p,
                               uint32_t r, int cut, __m256i *sums)
{
    const size_t stride = m->row_bytes;
    const uint8_t *w = m->w + r * stride + p->first_byte;
    __m512i a[TERNARY_PAIRS] = {0}, b[TERNARY_PAIRS] = {0}, f[TERNARY_PAIRS];
    const __m512i *x = p->x;
    for (uint32_t s = 0; s < p->n_steps; s++, w += TERNARY_STEP) {
        __mmask32 bytes = s + 1 < p->n_steps ? ~(__mmask32)0 : p->last;
        X86_UNROLL
        for (uint32_t i = 0; i < TERNARY_PAIRS; i++)
            f[i] = ternary_load(w + i * stride, TERNARY_PAIRS * stride, cut, bytes);
        X86_UNROLL
        for (uint32_t k = 0; k < TERNARY_DIGITS; k++, x++) {
            __m512i xs = *x;
            X86_UNROLL
            for (uint32_t i = 0; i < TERNARY_PAIRS; i++) {
                a[i] = _mm512_dpbusd_epi32(a[i], f[i], xs);
                f[i] = ternary_thrice(f[i]);
                b[i] = _mm512_dpbusd_epi32(b[i], f[i], xs);
            }
        }
    }
    X86_UNROLL
    for (uint32_t i = 0; i < TERNARY_PAIRS; i++)
        a[i] = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(a[i], a[i]), a[i]), b[i]);
    sums[0] = _mm256_srai_epi32(ternary_rows(a), 8);
}

/* The same of four vectors. */
X86_INLINE void ternary_tile_4(const struct ruvm_matmul_codes *m, const struct ternary_part *p,
                               uint32_t r, int cut, __m256i *sums)
{
    const size_t stride = m->row_bytes;
    const uint8_t *w = m->w + r * stride + p->first_byte;
    const __m512i *x = p->x;
    __m512i acc[TERNARY_VECS][TERNARY_PAIRS] = {0}, f[TERNARY_PAIRS], digits[TERNARY_PAIRS];
    for (uint32_t s = 0; s < p->n_steps; s++, w += TERNARY_STEP) {
        __mmask32 bytes = s + 1 < p->n_steps ? ~(__mmask32)0 : p->last;
        X86_UNROLL
        for (uint32_t i = 0; i < TERNARY_PAIRS; i++)
            f[i] = ternary_load(w + i * stride, TERNARY_PAIRS * stride, cut, bytes);
        X86_UNROLL
        for (uint32_t k = 0; k < TERNARY_DIGITS; k++, x += TERNARY_VECS) {
            X86_UNROLL
            for (uint32_t i = 0; i < TERNARY_PAIRS; i++) {
                __m512i g = ternary_thrice(f[i]);
                digits[i] = ternary_digit(f[i], g);
                f[i] = g;
            }
            X86_UNROLL
            for (uint32_t v = 0; v < TERNARY_VECS; v++) {
                __m512i xs = x[v];
                X86_UNROLL
                for (uint32_t i = 0; i < TERNARY_PAIRS; i++)
                    acc[v][i] = _mm512_dpbusd_epi32(acc[v][i], digits[i], xs);
            }
        }
    }
    X86_UNROLL
    for (uint32_t v = 0; v < TERNARY_VECS; v++)
        sums[v] = _mm256_srai_epi32(ternary_rows(acc[v]), 6);
}

/* ---- all ---------------------------------------------------------------------------- */

X86_INLINE void ternary_tile(const struct ruvm_matmul_codes *m, const struct ternary_part *p,
                             uint32_t r, int cut, __m256i *sums)
{
    if (p->vecs == 1)
        ternary_tile_1(m, p, r, cut, sums);
    else
        ternary_tile_4(m, p, r, cut, sums);
}

/* All rows of the part and the first n of its vectors. The last tile begins earlier, so that it
 * ends with the rows, and leaves alone those that are done. */
static inline void ternary_all_rows(const struct ruvm_matmul_codes *m, const struct ternary_part *p,
                                    int32_t *out, uint32_t n)
{
    __m256i sums[TERNARY_VECS];
    for (uint32_t i = 0; i < m->n_rows; i += TERNARY_ROWS) {
        uint32_t r = x86_last_fits(i, TERNARY_ROWS, m->n_rows);
        __mmask8 fresh = (__mmask8)(0xff << (i - r));
        if (r + TERNARY_ROWS <= p->safe_rows)
            ternary_tile(m, p, r, 0, sums);
        else
            ternary_tile(m, p, r, 1, sums);
        for (uint32_t v = 0; v < n; v++) {
            int32_t *to = out + v * (size_t)m->out_stride + r;
            __m256i before = _mm256_set1_epi32(p->start[v]);
            if (p->first_byte)
                before = _mm256_maskz_loadu_epi32(fresh, to);
            _mm256_mask_storeu_epi32(to, fresh, _mm256_add_epi32(before, sums[v]));
        }
    }
}

/* n vectors, 1 or up to TERNARY_VECS. */
static inline void ternary_vectors(const struct ruvm_matmul_codes *m, uint32_t v, uint32_t n)
{
    const uint32_t n_bytes = (m->n_cols + TERNARY_DIGITS - 1) / TERNARY_DIGITS;
    struct ternary_part p;
    p.vecs = n == 1 ? 1 : TERNARY_VECS;
    for (uint32_t j = 0; j < n_bytes; j += p.n_steps * TERNARY_STEP) {
        ternary_begin(m, &p, j, n_bytes);
        for (uint32_t i = 0; i < p.vecs; i++)
            ternary_prepare(&p, i, m->x + (v + (i < n ? i : 0)) * (size_t)m->x_stride, m->n_cols,
                            n_bytes);
        ternary_all_rows(m, &p, m->out + v * (size_t)m->out_stride, n);
    }
}

/* Two vectors are done one by one in less time than as four. Fewer than TERNARY_ROWS rows,
 * which no real model has, are left to AVX2. */
static inline void ternary_matmul(const struct ruvm_matmul_codes *m)
{
    if (m->n_rows < TERNARY_ROWS) {
        ruvm_kernels_avx2.matmul_ternary(m);
        return;
    }
    for (uint32_t v = 0, n; v < m->n_vecs; v += n) {
        uint32_t left = m->n_vecs - v;
        n = left >= TERNARY_VECS ? TERNARY_VECS : left > 2 ? left : 1;
        ternary_vectors(m, v, n);
    }
}

#endif
