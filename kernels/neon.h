/* NEON: what the two tables for AArch64 share.
 *
 * They differ in one thing, how 16 bytes are multiplied and added up; the matrix
 * takes that as a function, which the compiler puts in place. Heads that are no
 * multiple of 8 and fewer than 8 rows, which no real model has, go to the scalar
 * kernels. A remainder is done by a last step that overlaps the one before. */
#ifndef RUVM_KERNELS_NEON_H
#define RUVM_KERNELS_NEON_H

#include <arm_neon.h>

#include "kernels/elementwise.h"

#define NEON_INLINE static inline __attribute__((always_inline))

/* Where the step of `size` after i begins, so that it ends within n. */
static inline uint32_t neon_last_fits(uint32_t i, uint32_t size, uint32_t n)
{
    return i + size <= n ? i : n - size;
}

/* The sums of the lanes of a[0] .. a[3], in this order. */
static inline int32x4_t neon_sum_lanes(const int32x4_t *a)
{
    return vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3]));
}

/* ---- matrix -------------------------------------------------------------------- */

/* Rows r .. r + rows of vectors v .. v + 8 / rows; rows is 8 or 4, a constant; dot
 * adds the products of 16 bytes to four lanes. */
NEON_INLINE void neon_tile(const struct ruvm_matmul *m, uint32_t r, uint32_t v, uint32_t rows,
                           int32x4_t (*dot)(int32x4_t acc, int8x16_t w, int8x16_t x))
{
    size_t w_stride = m->row_bytes, x_stride = m->x_stride;
    const int8_t *w = m->w + r * w_stride, *x = m->x + v * x_stride;
    int32x4_t acc[8];
    for (uint32_t i = 0; i < 8; i++)
        acc[i] = vdupq_n_s32(0);
    for (uint32_t c = 0; c < m->n_cols; c += 16)
        for (uint32_t i = 0; i < 8; i++)
            acc[i] = dot(acc[i], vld1q_s8(w + i % rows * w_stride + c),
                         vld1q_s8(x + i / rows * x_stride + c));
    int32_t *out = m->out + (size_t)v * m->out_stride + r;
    vst1q_s32(out, neon_sum_lanes(acc));
    vst1q_s32(rows == 8 ? out + 4 : out + m->out_stride, neon_sum_lanes(acc + 4));
}

/* Vectors by two, a last one alone. */
NEON_INLINE void neon_matmul_s8(const struct ruvm_matmul *m,
                                int32x4_t (*dot)(int32x4_t acc, int8x16_t w, int8x16_t x))
{
    if (m->n_rows < 8) {
        ruvm_kernels_scalar.matmul_s8(m);
        return;
    }
    for (uint32_t r = 0; m->n_vecs > 1 && r < m->n_rows; r += 4)
        for (uint32_t v = 0; v + 2 <= m->n_vecs; v += 2)
            neon_tile(m, neon_last_fits(r, 4, m->n_rows), v, 4, dot);
    for (uint32_t r = 0; m->n_vecs % 2 && r < m->n_rows; r += 8)
        neon_tile(m, neon_last_fits(r, 8, m->n_rows), m->n_vecs - 1, 8, dot);
}

/* ---- attention ------------------------------------------------------------------- */

static inline int32x4_t neon_dot8(int32x4_t acc, int16x8_t q, const int8_t *k)
{
    int16x8_t wide = vmovl_s8(vld1_s8(k));
    acc = vmlal_s16(acc, vget_low_s16(q), vget_low_s16(wide));
    return vmlal_high_s16(acc, q, wide);
}

static inline void neon_scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                               uint32_t head_dim, uint32_t stride)
{
    if (n_pos < 4 || head_dim % 8 != 0) {
        ruvm_kernels_scalar.scores(out, q, k, n_pos, head_dim, stride);
        return;
    }
    for (uint32_t i = 0; i < n_pos; i += 4) {
        uint32_t p = neon_last_fits(i, 4, n_pos);
        const int8_t *rows = k + (size_t)p * stride;
        int32x4_t acc[4];
        for (uint32_t j = 0; j < 4; j++)
            acc[j] = vdupq_n_s32(0);
        for (uint32_t d = 0; d < head_dim; d += 8)
            for (uint32_t j = 0; j < 4; j++)
                acc[j] = neon_dot8(acc[j], vld1q_s16(q + d), rows + j * (size_t)stride + d);
        vst1q_s32(out + p, neon_sum_lanes(acc));
    }
}

/* n values (8 or 16, a constant) of all positions; weights have 14 bits, so they are
 * positive as int16 too. */
NEON_INLINE void neon_mix_columns(int32_t *out, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                                  uint32_t stride, uint32_t n)
{
    int32x4_t acc[4];
    for (uint32_t i = 0; i < n / 4; i++)
        acc[i] = vld1q_s32(out + i * (size_t)4);
    for (uint32_t p = 0; p < n_pos; p++, v += stride)
        for (uint32_t i = 0; i < n / 8; i++) {
            int16x8_t wide = vmovl_s8(vld1_s8(v + i * (size_t)8)),
                      weight = vdupq_n_s16((int16_t)e[p]);
            acc[i * 2] = vmlal_s16(acc[i * 2], vget_low_s16(wide), vget_low_s16(weight));
            acc[i * 2 + 1] = vmlal_high_s16(acc[i * 2 + 1], wide, weight);
        }
    for (uint32_t i = 0; i < n / 4; i++)
        vst1q_s32(out + i * (size_t)4, acc[i]);
}

static inline void neon_mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                            uint32_t head_dim, uint32_t stride)
{
    if (head_dim % 8 != 0) {
        ruvm_kernels_scalar.mix(acc, e, v, n_pos, head_dim, stride);
        return;
    }
    uint32_t d = 0;
    for (; d + 16 <= head_dim; d += 16)
        neon_mix_columns(acc + d, e, v + d, n_pos, stride, 16);
    if (d < head_dim)
        neon_mix_columns(acc + d, e, v + d, n_pos, stride, 8);
}

#endif
