/* NEON panels: a register is four columns of four rows, and four columns of x go to all rows.
 *
 * No sum crosses lanes, and the weights of a vector alone are read in one stream. Of x 16
 * columns are loaded at once. Codes u are multiplied as they are: levels are 2u - max, so what is
 * wanted is twice their sum and -max times the sum of x. The two tables differ in how four
 * columns are multiplied and summed up, and hand that in as functions. */
#ifndef RUVM_KERNELS_NEON_PANELS_H
#define RUVM_KERNELS_NEON_PANELS_H

#include "kernels/neon.h"
#include "kernels/panel_walk.h"

#define NEON_UNROLL _Pragma("GCC unroll 8")

enum {
    PANEL_WORDS = 64, /* bytes of four columns, or of a word of codes */
    PANEL_QUADS = 4,  /* of four rows each: a panel */
    PANEL_QUAD_BYTES = 16,
    PANEL_QUAD_ROWS = 4,
    PANEL_VECS = 4,  /* of a tile */
    PANEL_PARTS = 2, /* of 16 columns: a step of codes */
    PANEL_STEP = 32,
    PANEL_FOURS = 8, /* four columns each, or half of them at the end of a row */
    PANEL_MAX_STEPS = RUVM_PANELS_MAX_COLS / PANEL_STEP
};

/* Sums of four rows, as the table has them. */
struct panel_sum {
    int32x4_t a, b;
};

/* How a table multiplies; lane and pair are constants: four columns of x, or eight. */
struct panel_products {
    /* INT8: eight columns in two registers; begins with zeros. */
    struct panel_sum (*add_s8)(struct panel_sum s, const int8x16_t w[2], int8x16_t x,
                               uint32_t pair);
    int32x4_t (*end_s8)(struct panel_sum s);
    /* Codes: at most 8 times four columns between begin and end, which returns acc and them. */
    struct panel_sum (*begin)(int32x4_t acc);
    struct panel_sum (*add)(struct panel_sum s, int8x16_t w, int8x16_t x, uint32_t lane);
    int32x4_t (*end)(int32x4_t acc, struct panel_sum s);
    uint32_t vecs_s8; /* of a tile of INT8, up to PANEL_VECS; 1: more gain nothing */
    uint32_t vecs;    /* of one of codes */
};

/* Writes the sums of the four rows from row r on, as many as there are. */
NEON_INLINE void panel_store(const struct ruvm_matmul_panels *m, uint32_t r, uint32_t v,
                             int32x4_t sums)
{
    int32_t *out = m->out + (size_t)v * m->out_stride + r;
    if (m->n_rows >= r + PANEL_QUAD_ROWS) {
        vst1q_s32(out, sums);
        return;
    }
    int32_t lanes[PANEL_QUAD_ROWS];
    vst1q_s32(lanes, sums);
    for (uint32_t i = 0; r + i < m->n_rows; i++)
        out[i] = lanes[i];
}

/* ---- INT8 ---------------------------------------------------------------------------- */

/* Eight columns of four rows: the `pair`-th of the 16 in xs. */
NEON_INLINE void panel_s8_pair(struct panel_products by, struct panel_sum *acc, const int8_t *w,
                               const int8x16_t *xs, uint32_t pair)
{
    const int8x16_t ws[2] = {vld1q_s8(w), vld1q_s8(w + PANEL_WORDS)};
    NEON_UNROLL
    for (uint32_t j = 0; j < by.vecs_s8; j++)
        acc[j] = by.add_s8(acc[j], ws, xs[j], pair);
}

/* 16 columns of a panel, the first 8 and the others. */
NEON_INLINE void panel_s8_step(struct panel_products by,
                               struct panel_sum acc[PANEL_QUADS][PANEL_VECS], const int8_t *w,
                               const int8x16_t *xs)
{
    NEON_UNROLL
    for (uint32_t pair = 0; pair < 2; pair++, w += 2 * PANEL_WORDS) {
        NEON_UNROLL
        for (uint32_t q = 0; q < PANEL_QUADS; q++)
            panel_s8_pair(by, acc[q], w + (size_t)q * PANEL_QUAD_BYTES, xs, pair);
    }
}

/* The panel of rows from r on, by.vecs_s8 vectors from v on. */
NEON_INLINE void panel_s8_tile(struct panel_products by, const struct ruvm_matmul_panels *m,
                               uint32_t r, uint32_t v)
{
    const int8_t *w = (const int8_t *)m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes +
                      (size_t)m->first_col * RUVM_PANEL_ROWS;
    const int8_t *x = m->x + (size_t)v * m->x_stride;
    struct panel_sum acc[PANEL_QUADS][PANEL_VECS];
    NEON_UNROLL
    for (uint32_t q = 0; q < PANEL_QUADS; q++) {
        NEON_UNROLL
        for (uint32_t j = 0; j < by.vecs_s8; j++)
            acc[q][j] = (struct panel_sum){vdupq_n_s32(0), vdupq_n_s32(0)};
    }
    for (uint32_t c = 0; c < m->n_cols; c += 16, w += 4 * PANEL_WORDS) {
        int8x16_t xs[PANEL_VECS];
        NEON_UNROLL
        for (uint32_t j = 0; j < by.vecs_s8; j++)
            xs[j] = vld1q_s8(x + j * (size_t)m->x_stride + c);
        panel_s8_step(by, acc, w, xs);
    }
    NEON_UNROLL
    for (uint32_t q = 0; q < PANEL_QUADS; q++) {
        NEON_UNROLL
        for (uint32_t j = 0; j < by.vecs_s8; j++)
            panel_store(m, r + q * PANEL_QUAD_ROWS, v + j, by.end_s8(acc[q][j]));
    }
}

/* A panel stays near while all vectors pass it. */
NEON_INLINE void panel_s8(struct panel_products by, const struct ruvm_matmul_panels *m)
{
    struct panel_products one = by;
    one.vecs_s8 = 1;
    for (uint32_t r = 0; r < m->n_rows; r += RUVM_PANEL_ROWS) {
        uint32_t v = 0;
        for (; by.vecs_s8 > 1 && v + by.vecs_s8 <= m->n_vecs; v += by.vecs_s8)
            panel_s8_tile(by, m, r, v);
        for (; v < m->n_vecs; v++)
            panel_s8_tile(one, m, r, v);
    }
}

/* ---- codes to bytes ------------------------------------------------------------------ */

/* A step's registers of four rows. */
struct panel_words {
    uint8x16_t w[4];
};

/* Those of the first `fours` times four columns. INT3 has both of its parts in each half. */
NEON_INLINE struct panel_words panel_words(int bits, uint32_t fours, const uint8_t *at)
{
    const uint32_t half = bits == 3 ? 3 : ((uint32_t)bits + 1) / 2;
    const uint32_t n = fours == PANEL_FOURS ? (uint32_t)bits : half;
    struct panel_words s = {{vdupq_n_u8(0)}};
    NEON_UNROLL
    for (uint32_t i = 0; i < n; i++)
        s.w[i] = vld1q_u8(at + (size_t)i * PANEL_WORDS);
    return s;
}

/* Bytes moved right by a constant. */
NEON_INLINE uint8x16_t panel_down(uint8x16_t w, uint32_t by)
{
    switch (by) {
    case 0: return w;
    case 1: return vshrq_n_u8(w, 1);
    case 2: return vshrq_n_u8(w, 2);
    case 3: return vshrq_n_u8(w, 3);
    case 4: return vshrq_n_u8(w, 4);
    case 5: return vshrq_n_u8(w, 5);
    case 6: return vshrq_n_u8(w, 6);
    default: return vshrq_n_u8(w, 7);
    }
}

/* `bits` of each byte from bit `down` on. */
NEON_INLINE uint8x16_t panel_field(uint8x16_t w, uint32_t down, uint32_t bits)
{
    w = panel_down(w, down);
    return down + bits == 8 ? w : vandq_u8(w, vdupq_n_u8((uint8_t)((1u << bits) - 1)));
}

/* The third bits of the k-th four columns, in their place. */
NEON_INLINE uint8x16_t panel_third(uint8x16_t w, uint32_t k)
{
    w = k == 0 ? vshlq_n_u8(w, 2) : k == 1 ? vshlq_n_u8(w, 1) : panel_down(w, k - 2);
    return vandq_u8(w, vdupq_n_u8(4));
}

/* The k-th four columns of a step. A whole one of INT4 has its first half in lower nibbles. */
NEON_INLINE int8x16_t panel_four(int bits, const struct panel_words *s, uint32_t fours, uint32_t k)
{
    const uint32_t width = bits == 3 ? 2 : (uint32_t)bits, codes = 8 / width;
    uint8x16_t u;
    if (bits == 4 && fours == PANEL_FOURS)
        u = panel_field(s->w[k % 4], k / 4 * 4, 4);
    else
        u = panel_field(s->w[k / codes], k % codes * width, width);
    if (bits == 3)
        u = vorrq_u8(u, panel_third(s->w[2], k));
    return vreinterpretq_s8_u8(u);
}

/* ---- codes times x ------------------------------------------------------------------- */

/* Constants of a walk: whether there is a multiplier for each 16 columns, for each 32 or
 * more, or none. */
struct panel_kind {
    int bits, sixteens, plain;
    uint32_t vecs, quads; /* of a tile */
    struct panel_products by;
};

/* A step's -max times the sums of x: of all 32 columns, or of 16 and 16. */
struct panel_start {
    int32_t of[PANEL_PARTS];
};

static inline int32_t panel_start_16(int bits, const int8_t *x)
{
    return -((1 << bits) - 1) * vaddlvq_s8(vld1q_s8(x));
}

/* Returns their sum. */
static inline int32_t panel_starts_of(struct panel_start *s, struct panel_kind kind,
                                      const int8_t *x, uint32_t n_cols)
{
    int32_t total = 0;
    for (uint32_t c = 0; c < n_cols; c += PANEL_STEP, s++) {
        int32_t first = panel_start_16(kind.bits, x + c);
        int32_t second = c + 16 < n_cols ? panel_start_16(kind.bits, x + c + 16) : 0;
        s->of[0] = kind.sixteens ? first : first + second;
        s->of[1] = second;
        total += first + second;
    }
    return total;
}

/* The multipliers of four rows for a step that begins with the g-th group of those at mult, or for
 * its first 16 columns and the others. */
NEON_INLINE void panel_mult(int32x4_t by[PANEL_PARTS], struct panel_kind kind, const uint8_t *mult,
                            uint32_t g)
{
    uint32_t four;
    __builtin_memcpy(&four, mult + (size_t)(g / 2) * RUVM_PANEL_ROWS, sizeof four);
    uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    uint32x4_t both = vmovl_u16(vget_low_u16(wide));
    by[1] = vreinterpretq_s32_u32(vshrq_n_u32(both, 4));
    if (!kind.sixteens)
        both = vshlq_u32(both, vdupq_n_s32(-(int32_t)(g % 2 * 4)));
    by[0] = vreinterpretq_s32_u32(vandq_u32(both, vdupq_n_u32(15)));
}

/* The vectors of a tile at the columns of a step. */
struct panel_xs {
    int8x16_t x[PANEL_VECS][PANEL_PARTS];
    const struct panel_start *starts;
};

/* acc[j] of four rows grow by the fours of one part of a step, from `first` on. With a
 * multiplier by the sums times it, without one by the codes' sums alone. */
NEON_INLINE void panel_add(struct panel_kind kind, uint32_t fours, uint32_t first, uint32_t n,
                           int32x4_t *acc, const struct panel_words *words,
                           const struct panel_xs *xs, int32x4_t mult)
{
    struct panel_sum sums[PANEL_VECS];
    const int32x4_t zero = vdupq_n_s32(0);
    NEON_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++)
        sums[j] = kind.by.begin(kind.plain ? acc[j] : zero);
    NEON_UNROLL
    for (uint32_t k = first; k < first + n; k++) {
        int8x16_t u = panel_four(kind.bits, words, fours, k);
        NEON_UNROLL
        for (uint32_t j = 0; j < kind.vecs; j++)
            sums[j] = kind.by.add(sums[j], u, xs->x[j][k / 4], k % 4);
    }
    NEON_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++) {
        int32_t start = xs->starts[(size_t)j * PANEL_MAX_STEPS].of[first / 4];
        int32x4_t all = kind.by.end(kind.plain ? acc[j] : zero, sums[j]);
        int32x4_t twice = vmlaq_s32(acc[j], all, vaddq_s32(mult, mult));
        acc[j] = kind.plain ? all : vmlaq_n_s32(twice, mult, start);
    }
}

/* As many rows of a panel as a tile has, at a step that begins with the g-th group of those
 * whose multipliers are at mult. */
NEON_INLINE void panel_rows(struct panel_kind kind, uint32_t fours,
                            int32x4_t acc[PANEL_QUADS][PANEL_VECS], const uint8_t *w,
                            const uint8_t *mult, uint32_t g, const struct panel_xs *xs)
{
    const uint32_t n = kind.sixteens ? PANEL_FOURS / 2 : fours;
    NEON_UNROLL
    for (uint32_t q = 0; q < kind.quads; q++) {
        const struct panel_words words =
            panel_words(kind.bits, fours, w + (size_t)q * PANEL_QUAD_BYTES);
        int32x4_t by[PANEL_PARTS] = {vdupq_n_s32(1), vdupq_n_s32(1)};
        if (!kind.plain)
            panel_mult(by, kind, mult + (size_t)q * PANEL_QUAD_ROWS, g);
        panel_add(kind, fours, 0, n, acc[q], &words, xs, by[0]);
        if (n < fours)
            panel_add(kind, fours, n, n, acc[q], &words, xs, by[1]);
    }
}

NEON_INLINE void panel_load_xs(struct panel_xs *xs, struct panel_kind kind, uint32_t fours,
                               const int8_t *x, size_t x_stride)
{
    NEON_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++, x += x_stride) {
        xs->x[j][0] = vld1q_s8(x);
        xs->x[j][1] = fours == PANEL_FOURS ? vld1q_s8(x + 16) : vdupq_n_s8(0);
    }
}

NEON_INLINE void panel_codes_store(struct panel_kind kind, const struct ruvm_matmul_panels *m,
                                   uint32_t r, uint32_t v, int32x4_t acc[PANEL_QUADS][PANEL_VECS],
                                   const int32_t *totals)
{
    NEON_UNROLL
    for (uint32_t q = 0; q < kind.quads; q++, r += PANEL_QUAD_ROWS) {
        NEON_UNROLL
        for (uint32_t j = 0; j < kind.vecs; j++) {
            int32x4_t twice = vaddq_s32(acc[q][j], acc[q][j]);
            int32x4_t plain = vaddq_s32(twice, vdupq_n_s32(totals[j]));
            panel_store(m, r, v + j, kind.plain ? plain : acc[q][j]);
        }
    }
}

/* The rows from r on: a panel, or half of one. */
NEON_INLINE void panel_codes_tile(struct panel_kind kind, const struct ruvm_matmul_panels *m,
                                  uint32_t r, uint32_t v, const struct panel_start *starts,
                                  const int32_t *totals)
{
    const uint8_t *panel = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes;
    const uint32_t bits = (uint32_t)kind.bits, group = kind.plain ? 0 : m->group;
    const uint32_t row = r % RUVM_PANEL_ROWS, log2 = group ? (uint32_t)__builtin_ctz(group) : 0;
    const int8_t *x = m->x + (size_t)v * m->x_stride;
    struct panel_xs xs = {.starts = starts};
    int32x4_t acc[PANEL_QUADS][PANEL_VECS];
    NEON_UNROLL
    for (uint32_t q = 0; q < kind.quads; q++) {
        NEON_UNROLL
        for (uint32_t j = 0; j < kind.vecs; j++)
            acc[q][j] = vdupq_n_s32(0);
    }
    struct panel_run run = panel_first_run(m, bits, group);
    do {
        const uint32_t end = run.first + run.n;
        const uint8_t *w = panel + run.words + (size_t)row * 4;
        const uint8_t *mult = panel + run.mults + row;
        uint32_t c = run.first;
        for (; c + PANEL_STEP <= end; c += PANEL_STEP, x += PANEL_STEP, xs.starts++) {
            panel_load_xs(&xs, kind, PANEL_FOURS, x, m->x_stride);
            panel_rows(kind, PANEL_FOURS, acc, w, mult, c >> log2, &xs);
            w += (size_t)bits * PANEL_WORDS;
        }
        if (c < end) {
            panel_load_xs(&xs, kind, PANEL_FOURS / 2, x, m->x_stride);
            panel_rows(kind, PANEL_FOURS / 2, acc, w, mult, c >> log2, &xs);
        }
    } while (panel_next_run(&run, bits));
    panel_codes_store(kind, m, r, v, acc, totals);
}

/* Vectors of a tile share half a panel; the last ones alone, of which each walks whole panels in
 * one stream. */
NEON_INLINE void panel_codes_walk(struct panel_kind kind, const struct ruvm_matmul_panels *m)
{
    struct panel_start starts[PANEL_VECS * PANEL_MAX_STEPS];
    int32_t totals[PANEL_VECS];
    struct panel_kind one = kind;
    one.vecs = 1;
    one.quads = PANEL_QUADS;
    for (uint32_t v = 0, n; v < m->n_vecs; v += n) {
        n = v + kind.vecs <= m->n_vecs ? kind.vecs : 1;
        for (uint32_t j = 0; j < n; j++)
            totals[j] = panel_starts_of(starts + (size_t)j * PANEL_MAX_STEPS, kind,
                                        m->x + (size_t)(v + j) * m->x_stride, m->n_cols);
        for (uint32_t r = 0; n > 1 && r < m->n_rows; r += kind.quads * PANEL_QUAD_ROWS)
            panel_codes_tile(kind, m, r, v, starts, totals);
        for (uint32_t r = 0; n == 1 && r < m->n_rows; r += RUVM_PANEL_ROWS)
            panel_codes_tile(one, m, r, v, starts, totals);
    }
}

NEON_INLINE void panel_codes(int bits, struct panel_products by, const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_codes_walk((struct panel_kind){bits, 0, 1, by.vecs, 2, by}, m);
    else if (m->group == 16)
        panel_codes_walk((struct panel_kind){bits, 1, 0, by.vecs, 2, by}, m);
    else
        panel_codes_walk((struct panel_kind){bits, 0, 0, by.vecs, 2, by}, m);
}

NEON_INLINE void neon_matmul_panels(struct panel_products by, const struct ruvm_matmul_panels *m)
{
    switch (m->bits) {
    case 8: panel_s8(by, m); break;
    case 4: panel_codes(4, by, m); break;
    case 3: panel_codes(3, by, m); break;
    case 2: panel_codes(2, by, m); break;
    default: panel_codes(1, by, m); break;
    }
}

#endif
