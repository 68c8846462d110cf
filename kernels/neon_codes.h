/* NEON codes: packed weights times int8 for the two tables for AArch64.
 *
 * A step is 32 columns. Its codes are spread to the bytes of two registers and looked up
 * in a table of levels; x is brought into the same order, in which the four bytes of
 * either register's lane i belong to one group of 16 columns, so that one multiplier a
 * lane serves both. The tables differ in how bytes are multiplied and added up, and hand
 * that in as a function. Nothing is read in excess. */
#ifndef RUVM_KERNELS_NEON_CODES_H
#define RUVM_KERNELS_NEON_CODES_H

#include "kernels/neon.h"

enum { NEON_STEP = 32, NEON_ROWS = 4, NEON_VECS = 2, NEON_DIGITS = 5 };

/* 32 levels, or the 32 x they multiply. */
struct neon_pair {
    int8x16_t low, high;
};

/* What a tile is, constants all: dot adds products to the lanes of acc, those of the four
 * bytes of each lane in both halves of a pair. */
struct neon_tile {
    int bits, grouped;
    uint32_t rows, vecs;
    int32x4_t (*dot)(int32x4_t acc, struct neon_pair w, struct neon_pair x);
};

/* ---- codes to levels ---------------------------------------------------------------- */

/* Bytes that hold n columns, a multiple of 32. */
NEON_INLINE size_t neon_codes_bytes(int bits, uint32_t n)
{
    return n / 8 * (size_t)bits;
}

/* Four or eight bytes at p, twice. */
NEON_INLINE uint32x4_t neon_load_twice(const uint8_t *p, uint32_t n)
{
    uint64_t w = 0;
    __builtin_memcpy(&w, p, n);
    return vreinterpretq_u32_u64(vdupq_n_u64(w));
}

NEON_INLINE uint32x4_t neon_load_word(const uint8_t *p)
{
    uint32_t w;
    __builtin_memcpy(&w, p, sizeof w);
    return vdupq_n_u32(w);
}

/* The lanes of w moved left by `by`, right where it is negative, and bits of their bytes. */
NEON_INLINE uint8x16_t neon_field(uint32x4_t w, int32x4_t by, uint8_t bits)
{
    return vandq_u8(vreinterpretq_u8_u32(vshlq_u32(w, by)), vdupq_n_u8(bits));
}

NEON_INLINE int32x4_t neon_lanes(int32_t a, int32_t b, int32_t c, int32_t d)
{
    const int32_t lanes[4] = {a, b, c, d};
    return vld1q_s32(lanes);
}

NEON_INLINE struct neon_pair neon_look_up(int bits, uint8x16_t low, uint8x16_t high)
{
    const uint8x16_t order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int8x16_t levels = vreinterpretq_s8_u8(vaddq_u8(order, order));
    levels = vsubq_s8(levels, vdupq_n_s8((int8_t)((1 << bits) - 1)));
    return (struct neon_pair){vqtbl1q_s8(levels, low), vqtbl1q_s8(levels, high)};
}

/* The columns from p on: 32, or the last 16. INT4: lanes hold columns 8i and 8i + 4 ...;
 * the others: 0, 16, 4, 20 and 8, 24, 12, 28. */
NEON_INLINE struct neon_pair neon_load_codes(int bits, const uint8_t *p, int half)
{
    if (bits == 4) {
        uint8x16_t w = half ? vcombine_u8(vld1_u8(p), vdup_n_u8(0)) : vld1q_u8(p);
        return neon_look_up(bits, vandq_u8(w, vdupq_n_u8(15)), vshrq_n_u8(w, 4));
    }
    if (bits == 1) {
        uint32x4_t w = neon_load_word(p);
        return neon_look_up(bits, neon_field(w, neon_lanes(0, -4, -1, -5), 1),
                            neon_field(w, neon_lanes(-2, -6, -3, -7), 1));
    }
    uint32x4_t w = neon_load_twice(p, half && bits == 2 ? 4 : 8);
    uint8x16_t low = neon_field(w, neon_lanes(0, 0, -2, -2), 3);
    uint8x16_t high = neon_field(w, neon_lanes(-4, -4, -6, -6), 3);
    if (bits == 3) {
        uint32x4_t h = neon_load_word(p + 8);
        low = vorrq_u8(low, neon_field(h, neon_lanes(2, -2, 1, -3), 4));
        high = vorrq_u8(high, neon_field(h, neon_lanes(0, -4, -1, -5), 4));
    }
    return neon_look_up(bits, low, high);
}

NEON_INLINE struct neon_pair neon_order_x(int bits, const int8_t *x)
{
    int32x4_t a = vreinterpretq_s32_s8(vld1q_s8(x)), b = vreinterpretq_s32_s8(vld1q_s8(x + 16));
    int32x4_t low = bits == 4 ? vuzp1q_s32(a, b) : vzip1q_s32(a, b);
    int32x4_t high = bits == 4 ? vuzp2q_s32(a, b) : vzip2q_s32(a, b);
    return (struct neon_pair){vreinterpretq_s8_s32(low), vreinterpretq_s8_s32(high)};
}

/* ---- multipliers -------------------------------------------------------------------- */

/* The multipliers of a step are in one byte of a row's: which, and where for each lane. */
struct neon_mult_at {
    uint32_t byte;
    int32x4_t shift;
};

NEON_INLINE struct neon_mult_at neon_find_mult(int bits, const struct ruvm_matmul_codes *m,
                                               uint32_t col)
{
    const int by = __builtin_ctz(m->group);
    uint32_t first = col >> by, second = (col + 16) >> by;
    int32_t a = -(int32_t)(first % 2 * 4), b = -(int32_t)(second % 2 * 4);
    return (struct neon_mult_at){first / 2,
                                 bits == 4 ? neon_lanes(a, a, b, b) : neon_lanes(a, b, a, b)};
}

NEON_INLINE int32x4_t neon_load_mult(const struct ruvm_matmul_codes *m, uint32_t r,
                                     const struct neon_mult_at *at)
{
    uint32x4_t byte = vdupq_n_u32(m->mult[r * (size_t)m->mult_bytes + at->byte]);
    return vreinterpretq_s32_u32(vandq_u32(vshlq_u32(byte, at->shift), vdupq_n_u32(15)));
}

/* ---- tiles -------------------------------------------------------------------------- */

/* acc[v * rows + i] += columns c .. c + 32, or the last 16, of rows r + i and vectors from
 * x on. */
NEON_INLINE void neon_codes_step(struct neon_tile t, const struct ruvm_matmul_codes *m,
                                 int32x4_t *acc, uint32_t r, const int8_t *x, uint32_t c, int half)
{
    const uint32_t col = m->first_col + c;
    const uint8_t *w = m->w + r * (size_t)m->row_bytes + neon_codes_bytes(t.bits, col);
    struct neon_pair xs[NEON_VECS];
    struct neon_mult_at at = {0};
    for (uint32_t v = 0; v < t.vecs; v++)
        xs[v] = neon_order_x(t.bits, x + v * (size_t)m->x_stride + c);
    if (t.grouped)
        at = neon_find_mult(t.bits, m, col);
    for (uint32_t i = 0; i < t.rows; i++) {
        struct neon_pair levels = neon_load_codes(t.bits, w + i * (size_t)m->row_bytes, half);
        int32x4_t mult = t.grouped ? neon_load_mult(m, r + i, &at) : vdupq_n_s32(1);
        for (uint32_t v = 0; v < t.vecs; v++) {
            int32x4_t *sum = &acc[v * t.rows + i];
            *sum = t.grouped ? vmlaq_s32(*sum, t.dot(vdupq_n_s32(0), levels, xs[v]), mult)
                             : t.dot(*sum, levels, xs[v]);
        }
    }
}

/* The sums of the lanes of acc to out[0 .. rows) of as many vectors. */
NEON_INLINE void neon_put_sums(const struct ruvm_matmul_codes *m, int32_t *out,
                               const int32x4_t *acc, uint32_t rows, uint32_t vecs)
{
    for (uint32_t i = 0; i < vecs; i++, out += m->out_stride)
        if (rows == NEON_ROWS)
            vst1q_s32(out, neon_sum_lanes(acc + i * (size_t)NEON_ROWS));
        else
            *out = vaddvq_s32(acc[i]);
}

/* t.rows rows from r on, NEON_ROWS or one, of t.vecs vectors from v on. */
NEON_INLINE void neon_codes_tile(struct neon_tile t, const struct ruvm_matmul_codes *m, uint32_t r,
                                 uint32_t v)
{
    const int8_t *x = m->x + v * (size_t)m->x_stride;
    int32x4_t acc[NEON_ROWS * NEON_VECS];
    uint32_t c = 0;
    for (uint32_t i = 0; i < t.rows * t.vecs; i++)
        acc[i] = vdupq_n_s32(0);
    for (; c + NEON_STEP <= m->n_cols; c += NEON_STEP)
        neon_codes_step(t, m, acc, r, x, c, 0);
    if (c < m->n_cols)
        neon_codes_step(t, m, acc, r, x, c, 1);
    neon_put_sums(m, m->out + v * (size_t)m->out_stride + r, acc, t.rows, t.vecs);
}

/* Four rows for two vectors or one, the last rows one by one. */
NEON_INLINE void neon_codes_walk(struct neon_tile two, const struct ruvm_matmul_codes *m)
{
    struct neon_tile one = two, least = two;
    one.vecs = least.vecs = least.rows = 1;
    uint32_t r = 0;
    for (; r + two.rows <= m->n_rows; r += two.rows) {
        uint32_t v = 0;
        for (; v + two.vecs <= m->n_vecs; v += two.vecs)
            neon_codes_tile(two, m, r, v);
        for (; v < m->n_vecs; v++)
            neon_codes_tile(one, m, r, v);
    }
    for (; r < m->n_rows; r++)
        for (uint32_t v = 0; v < m->n_vecs; v++)
            neon_codes_tile(least, m, r, v);
}

NEON_INLINE void neon_matmul_codes(int bits, const struct ruvm_matmul_codes *m,
                                   int32x4_t (*dot)(int32x4_t acc, struct neon_pair w,
                                                    struct neon_pair x))
{
    const struct neon_tile plain = {bits, 0, NEON_ROWS, NEON_VECS, dot};
    const struct neon_tile grouped = {bits, 1, NEON_ROWS, NEON_VECS, dot};
    if (m->group)
        neon_codes_walk(grouped, m);
    else
        neon_codes_walk(plain, m);
}

/* ---- ternary ------------------------------------------------------------------------ */

/* The x of up to 16 bytes of a row, by digit. */
struct neon_stripes {
    int8_t x[NEON_DIGITS][16];
};

/* The levels of 16 bytes. Digit d of a byte t is (3t) >> 8: two comparisons. */
NEON_INLINE void neon_spread_ternary(int8x16_t *levels, uint8x16_t t)
{
    for (uint32_t k = 0; k < NEON_DIGITS; k++) {
        uint8x16_t above = vaddq_u8(vcgtq_u8(t, vdupq_n_u8(85)), vcgtq_u8(t, vdupq_n_u8(170)));
        levels[k] = vsubq_s8(vdupq_n_s8(-1), vreinterpretq_s8_u8(above));
        t = vaddq_u8(vaddq_u8(t, t), t);
    }
}

/* The n bytes at p and zeros. */
NEON_INLINE uint8x16_t neon_load_some(const uint8_t *p, uint32_t n)
{
    uint8_t copy[16] = {0};
    for (uint32_t i = 0; i < n; i++)
        copy[i] = p[i];
    return vld1q_u8(copy);
}

/* What the last bytes of a row multiply, fewer than 16. */
static inline void neon_copy_stripes(struct neon_stripes *to, const int8_t *x, uint32_t n_cols)
{
    const uint32_t n_bytes = (n_cols + NEON_DIGITS - 1) / NEON_DIGITS, first = n_bytes / 16 * 16;
    for (uint32_t k = 0; k < NEON_DIGITS; k++)
        for (uint32_t i = 0; i < 16; i++) {
            uint32_t j = first + i, c = k * n_bytes + j;
            to->x[k][i] = j < n_bytes && c < n_cols ? x[c] : 0;
        }
}

/* acc[v * rows + i] += the 16 bytes or fewer from byte j on of rows r + i and vectors from x
 * on; ends: what the fewer ones multiply. */
NEON_INLINE void neon_ternary_step(struct neon_tile t, const struct ruvm_matmul_codes *m,
                                   int32x4_t (*dot)(int32x4_t acc, int8x16_t w, int8x16_t x),
                                   int32x4_t *acc, uint32_t r, const int8_t *x, uint32_t j,
                                   const struct neon_stripes *ends)
{
    const uint32_t n_bytes = (m->n_cols + NEON_DIGITS - 1) / NEON_DIGITS;
    for (uint32_t i = 0; i < t.rows; i++) {
        const uint8_t *p = m->w + (r + i) * (size_t)m->row_bytes + j;
        int8x16_t levels[NEON_DIGITS];
        neon_spread_ternary(levels, ends ? neon_load_some(p, n_bytes - j) : vld1q_u8(p));
        for (uint32_t v = 0; v < t.vecs; v++)
            for (uint32_t k = 0; k < NEON_DIGITS; k++) {
                const int8_t *whole = x + v * (size_t)m->x_stride + k * (size_t)n_bytes + j;
                int32x4_t *sum = &acc[v * t.rows + i];
                *sum = dot(*sum, levels[k], vld1q_s8(ends ? ends[v].x[k] : whole));
            }
    }
}

NEON_INLINE void neon_ternary_tile(struct neon_tile t, const struct ruvm_matmul_codes *m,
                                   int32x4_t (*dot)(int32x4_t acc, int8x16_t w, int8x16_t x),
                                   uint32_t r, uint32_t v, const struct neon_stripes *ends)
{
    const uint32_t n_bytes = (m->n_cols + NEON_DIGITS - 1) / NEON_DIGITS;
    const int8_t *x = m->x + v * (size_t)m->x_stride;
    int32x4_t acc[NEON_ROWS * NEON_VECS];
    uint32_t j = 0;
    for (uint32_t i = 0; i < t.rows * t.vecs; i++)
        acc[i] = vdupq_n_s32(0);
    for (; j + 16 <= n_bytes; j += 16)
        neon_ternary_step(t, m, dot, acc, r, x, j, NULL);
    if (j < n_bytes)
        neon_ternary_step(t, m, dot, acc, r, x, j, ends);
    neon_put_sums(m, m->out + v * (size_t)m->out_stride + r, acc, t.rows, t.vecs);
}

NEON_INLINE void neon_matmul_ternary(const struct ruvm_matmul_codes *m,
                                     int32x4_t (*dot)(int32x4_t acc, int8x16_t w, int8x16_t x))
{
    const struct neon_tile two = {.rows = NEON_ROWS, .vecs = NEON_VECS};
    const struct neon_tile one = {.rows = NEON_ROWS, .vecs = 1}, least = {.rows = 1, .vecs = 1};
    struct neon_stripes ends[NEON_VECS];
    for (uint32_t v = 0, vecs; v < m->n_vecs; v += vecs) {
        uint32_t r = 0;
        vecs = v + two.vecs <= m->n_vecs ? two.vecs : 1;
        for (uint32_t i = 0; i < vecs; i++)
            neon_copy_stripes(&ends[i], m->x + (v + i) * (size_t)m->x_stride, m->n_cols);
        for (; vecs == two.vecs && r + two.rows <= m->n_rows; r += two.rows)
            neon_ternary_tile(two, m, dot, r, v, ends);
        for (; vecs == 1 && r + one.rows <= m->n_rows; r += one.rows)
            neon_ternary_tile(one, m, dot, r, v, ends);
        for (; r < m->n_rows; r++)
            for (uint32_t i = 0; i < vecs; i++)
                neon_ternary_tile(least, m, dot, r, v + i, ends + i);
    }
}

/* ---- signs -------------------------------------------------------------------------- */

/* Bits in which a row and x differ, of n_words words. */
NEON_INLINE uint32_t neon_count_differ(const uint8_t *w, const uint8_t *x, uint32_t n_words)
{
    uint16x8_t sums = vdupq_n_u16(0);
    for (; n_words >= 4; n_words -= 4, w += 16, x += 16)
        sums = vpadalq_u8(sums, vcntq_u8(veorq_u8(vld1q_u8(w), vld1q_u8(x))));
    for (; n_words; n_words--, w += 4, x += 4) {
        uint32_t a, b;
        __builtin_memcpy(&a, w, sizeof a);
        __builtin_memcpy(&b, x, sizeof b);
        uint32x4_t differ = vsetq_lane_u32(a ^ b, vdupq_n_u32(0), 0);
        sums = vpadalq_u8(sums, vcntq_u8(vreinterpretq_u8_u32(differ)));
    }
    return vaddlvq_u16(sums);
}

static inline void neon_xnor(const struct ruvm_matmul_codes *m)
{
    for (uint32_t v = 0; v < m->n_vecs; v++)
        for (uint32_t r = 0; r < m->n_rows; r++) {
            uint32_t differ = neon_count_differ(m->w + r * (size_t)m->row_bytes,
                                                (const uint8_t *)m->x + v * (size_t)m->x_stride,
                                                (m->n_cols + 31) / 32);
            m->out[v * (size_t)m->out_stride + r] = (int32_t)(m->n_cols - 2 * differ);
        }
}

#endif
