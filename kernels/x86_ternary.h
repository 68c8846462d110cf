/* x86 ternary: five digits a byte times int8 for the AVX2 table.
 *
 * A step is 16 bytes of two rows, one in each half of a register. A byte is multiplied
 * by 9 in 16 bits; what is above the byte then are its next two digits as one number
 * of 0 .. 8, and two shuffles look them up. A level is digit - 1, so each sum starts at
 * minus the sum of x.
 *
 * A row is a few bytes only (13 for 64 columns), with its columns in five stripes whose
 * ends lie anywhere: so x is copied once for all rows, zeros where a stripe ends. */
#ifndef RUVM_KERNELS_X86_TERNARY_H
#define RUVM_KERNELS_X86_TERNARY_H

#include "kernels/x86_codes.h"

enum { X86_DIGITS = 5, X86_TERNARY_STEP = 16, X86_TERNARY_STEPS = 32 };

/* Bytes of the rows that x has been prepared for. */
struct x86_ternary_part {
    int first;           /* of a row */
    uint32_t first_byte; /* in a row */
    uint32_t n_steps, last_bytes;
    uint32_t safe_rows;      /* that may be read in whole steps */
    __m256i start[X86_VECS]; /* minus the sums of x */
    int8_t x[X86_VECS][X86_TERNARY_STEPS][X86_DIGITS][X86_TERNARY_STEP];
};

/* Products of each digit's bytes, 0 .. 2, and those of x, four or more a lane. Defined by
 * the table. */
static inline __m256i x86_ternary_products(const __m256i *digits, const __m256i *x);

/* ---- x ------------------------------------------------------------------------------ */

/* 16 x from column c on, of which n_valid stay and the others become zeros. x may be read
 * up to a multiple of 32 columns. */
static inline __m128i x86_load_stripe(const int8_t *x, uint32_t n_cols, uint32_t c,
                                      uint32_t n_valid)
{
    const __m128i order = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int8_t copy[X86_TERNARY_STEP] = {0};
    if (c + X86_TERNARY_STEP <= (n_cols + 31) / 32 * 32)
        return _mm_and_si128(x86_load16(x + c),
                             _mm_cmpgt_epi8(_mm_set1_epi8((char)n_valid), order));
    for (uint32_t i = 0; i < n_valid; i++)
        copy[i] = x[c + i];
    return x86_load16(copy);
}

/* Vector i of the part is x. */
static inline void x86_prepare_stripes(struct x86_ternary_part *p, uint32_t i, const int8_t *x,
                                       uint32_t n_cols, uint32_t n_bytes)
{
    __m256i ones[X86_DIGITS], stripes[X86_DIGITS], sum = _mm256_setzero_si256();
    for (uint32_t s = 0; s < p->n_steps; s++) {
        for (uint32_t k = 0; k < X86_DIGITS; k++) {
            uint32_t j = p->first_byte + s * X86_TERNARY_STEP, c = k * n_bytes + j;
            uint32_t valid = s + 1 < p->n_steps ? X86_TERNARY_STEP : p->last_bytes;
            uint32_t left = c < n_cols ? n_cols - c : 0;
            __m128i stripe = x86_load_stripe(x, n_cols, c, left < valid ? left : valid);
            _mm_storeu_si128((void *)p->x[i][s][k], stripe);
            stripes[k] = _mm256_broadcastsi128_si256(stripe);
            ones[k] = _mm256_set1_epi8(1);
        }
        sum = _mm256_add_epi32(sum, x86_ternary_products(ones, stripes));
    }
    p->start[i] = _mm256_sub_epi32(_mm256_setzero_si256(), sum);
}

static inline void x86_begin_stripes(const struct ruvm_matmul_codes *m, struct x86_ternary_part *p,
                                     uint32_t first_byte, uint32_t n_bytes)
{
    const uint32_t most = X86_TERNARY_STEP * X86_TERNARY_STEPS;
    uint32_t left = n_bytes - first_byte < most ? n_bytes - first_byte : most;
    p->first = first_byte == 0;
    p->first_byte = first_byte;
    p->n_steps = (left + X86_TERNARY_STEP - 1) / X86_TERNARY_STEP;
    p->last_bytes = left - (p->n_steps - 1) * X86_TERNARY_STEP;
    p->safe_rows =
        x86_safe_rows(m->n_rows, m->row_bytes, first_byte + p->n_steps * X86_TERNARY_STEP);
}

/* ---- tiles ------------------------------------------------------------------------- */

X86_INLINE __m256i x86_look_up(__m256i v, __m128i table)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), v);
}

X86_INLINE void x86_spread_ternary(__m256i *digits, __m256i t)
{
    const __m128i first = _mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0);
    const __m128i second = _mm_setr_epi8(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0);
    const __m256i nine = _mm256_set1_epi16(9), three = _mm256_set1_epi16(3);
    __m256i even = _mm256_slli_epi16(t, 8), odd = _mm256_srli_epi16(t, 8);
    X86_UNROLL
    for (uint32_t k = 0; k < 4; k += 2) {
        odd = _mm256_mullo_epi16(odd, nine);
        __m256i above = _mm256_and_si256(odd, _mm256_set1_epi16(0x0f00));
        above = _mm256_or_si256(above, _mm256_mulhi_epu16(even, nine));
        digits[k] = x86_look_up(above, first);
        digits[k + 1] = x86_look_up(above, second);
        even = _mm256_mullo_epi16(even, nine);
        odd = _mm256_and_si256(odd, _mm256_set1_epi16(255));
    }
    odd = _mm256_and_si256(_mm256_mullo_epi16(odd, three), _mm256_set1_epi16(0x0f00));
    digits[4] = _mm256_or_si256(odd, _mm256_mulhi_epu16(even, three));
}

/* acc of vector j += the products of step s and the bytes w. */
X86_INLINE void x86_ternary_step(const struct x86_ternary_part *p, uint32_t s, __m256i w,
                                 __m256i *acc, uint32_t v, uint32_t vecs)
{
    __m256i digits[X86_DIGITS], x[X86_DIGITS];
    x86_spread_ternary(digits, w);
    X86_UNROLL
    for (uint32_t j = 0; j < vecs; j++) {
        X86_UNROLL
        for (uint32_t k = 0; k < X86_DIGITS; k++)
            x[k] = _mm256_broadcastsi128_si256(x86_load16(p->x[v + j][s][k]));
        acc[j] = _mm256_add_epi32(acc[j], x86_ternary_products(digits, x));
    }
}

X86_INLINE __m256i x86_load_two(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(x86_load16(a)), x86_load16(b), 1);
}

/* Rows r .. r + 4 of one vector: two registers, rows 0 and 2, 1 and 3. */
X86_INLINE void x86_ternary_tile_4x1(const struct ruvm_matmul_codes *m,
                                     const struct x86_ternary_part *p, uint32_t r, int32_t *out)
{
    const size_t stride = m->row_bytes;
    const uint8_t *w = m->w + r * stride + p->first_byte;
    __m256i a = p->start[0], b = a;
    for (uint32_t s = 0; s < p->n_steps; s++, w += X86_TERNARY_STEP) {
        x86_ternary_step(p, s, x86_load_two(w, w + 2 * stride), &a, 0, 1);
        x86_ternary_step(p, s, x86_load_two(w + stride, w + 3 * stride), &b, 0, 1);
    }
    __m256i sums = x86_add_pairs(a, b);
    sums = x86_add_quads(sums, sums);
    x86_put_sums(
        out + r, 0,
        _mm_unpacklo_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1)), 4,
        p->first);
}

/* Rows r and r + 1 of four vectors: a register each. */
X86_INLINE void x86_ternary_tile_2x4(const struct ruvm_matmul_codes *m,
                                     const struct x86_ternary_part *p, uint32_t r, int32_t *out)
{
    const size_t stride = m->row_bytes, next = m->out_stride;
    const uint8_t *w = m->w + r * stride + p->first_byte;
    __m256i acc[4] = {p->start[0], p->start[1], p->start[2], p->start[3]};
    for (uint32_t s = 0; s < p->n_steps; s++, w += X86_TERNARY_STEP)
        x86_ternary_step(p, s, x86_load_two(w, w + stride), acc, 0, 4);
    __m256i sums = x86_sum_halves(acc);
    __m128i first = _mm256_castsi256_si128(sums), second = _mm256_extracti128_si256(sums, 1);
    x86_put_sums(out + r, next, _mm_unpacklo_epi32(first, second), 2, p->first);
    x86_put_sums(out + 2 * next + r, next, _mm_unpackhi_epi32(first, second), 2, p->first);
}

/* Row r alone, with nothing read but the row, and vector v of the part. */
X86_INLINE void x86_ternary_row(const struct ruvm_matmul_codes *m, const struct x86_ternary_part *p,
                                uint32_t r, uint32_t v, int32_t *out)
{
    const uint8_t *w = m->w + r * (size_t)m->row_bytes + p->first_byte;
    uint8_t last[X86_TERNARY_STEP];
    __m256i acc = _mm256_zextsi128_si256(_mm256_castsi256_si128(p->start[v]));
    for (uint32_t s = 0; s < p->n_steps; s++, w += X86_TERNARY_STEP) {
        if (s + 1 == p->n_steps)
            w = x86_copy(last, sizeof last, w, p->last_bytes);
        x86_ternary_step(p, s, _mm256_zextsi128_si256(x86_load16(w)), &acc, v, 1);
    }
    __m256i sums = x86_add_pairs(acc, acc);
    x86_put_sums(out + v * (size_t)m->out_stride + r, 0,
                 _mm256_castsi256_si128(x86_add_quads(sums, sums)), 1, p->first);
}

X86_INLINE void x86_ternary_matmul(const struct ruvm_matmul_codes *m)
{
    struct x86_ternary_part p;
    const uint32_t n_bytes = (m->n_cols + X86_DIGITS - 1) / X86_DIGITS;
    for (uint32_t j = 0; j < n_bytes; j += X86_TERNARY_STEPS * X86_TERNARY_STEP) {
        x86_begin_stripes(m, &p, j, n_bytes);
        for (uint32_t v = 0, vecs; v < m->n_vecs; v += vecs) {
            int32_t *out = m->out + v * (size_t)m->out_stride;
            uint32_t r = 0;
            vecs = v + X86_VECS <= m->n_vecs ? X86_VECS : 1;
            for (uint32_t i = 0; i < vecs; i++)
                x86_prepare_stripes(&p, i, m->x + (v + i) * (size_t)m->x_stride, m->n_cols,
                                    n_bytes);
            for (; vecs == X86_VECS && r + 2 <= p.safe_rows; r += 2)
                x86_ternary_tile_2x4(m, &p, r, out);
            for (; vecs == 1 && r + 4 <= p.safe_rows; r += 4)
                x86_ternary_tile_4x1(m, &p, r, out);
            for (; r < m->n_rows; r++)
                for (uint32_t i = 0; i < vecs; i++)
                    x86_ternary_row(m, &p, r, i, out);
        }
    }
}

#endif
