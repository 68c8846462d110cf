/* AVX-512 panels of INT4: codes u of 0 .. 15 multiply x, and levels are 2u - 15.
 *
 * As avx512_panels.h has them: a vector alone walks one panel at a time, four vectors share
 * what is loaded of one and unpacked. */
#ifndef RUVM_KERNELS_AVX512_PANELS_INT4_H
#define RUVM_KERNELS_AVX512_PANELS_INT4_H

#include "kernels/avx512_panels.h"

enum {
    PANEL_MAX_UNITS = RUVM_PANELS_MAX_COLS / PANEL_UNIT,
    PANEL_CODE_MAX = 15,
    PANEL_GROUP = 2 * PANEL_UNIT,
    PANEL_MAX_GROUPS = RUVM_PANELS_MAX_COLS / PANEL_GROUP,
    PANEL_PAIR = 2 /* panels that share what is loaded of a vector alone */
};

/* Four bytes of 16 rows: the codes of four columns in their lower halves, of the next four in
 * the upper ones. */
struct panel_halves {
    __m512i low, high;
};

/* ---- one scale a row -------------------------------------------------------------------- */

/* The sum of x in all lanes. */
static inline __m512i panel_sum_x(const int8_t *x, uint32_t n_cols)
{
    return _mm512_srai_epi32(
        _mm512_sub_epi32(_mm512_setzero_si512(), panel_s8_start(x, n_cols)), 7);
}

/* Upper halves stay where they are: their sums are 16 times what they should be, and that is
 * taken back at the end. */
X86_INLINE struct panel_halves panel_halves_in_place(const uint8_t *at)
{
    __m512i w = panel_load(at);
    return (struct panel_halves){_mm512_and_si512(w, _mm512_set1_epi8(15)),
                                 _mm512_and_si512(w, _mm512_set1_epi8(-16))};
}

/* Where the codes of the panel of row r begin that multiply x[0]. */
X86_INLINE const uint8_t *panel_codes_at(const struct ruvm_matmul_panels *m, uint32_t r)
{
    return m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes +
           (size_t)m->first_col / 2 * RUVM_PANEL_ROWS;
}

/* Sums of panel p and vector j, in two parts for the unit's latency. */
struct panel_plain_sums {
    __m512i low[2][PANEL_PAIR][PANEL_VECS], high[2][PANEL_PAIR][PANEL_VECS];
};

/* starts: minus 15 times the sum of each x. */
X86_INLINE void panel_plain_end(struct panel_tile t, const struct ruvm_matmul_panels *m,
                                uint32_t r, uint32_t v, const struct panel_plain_sums *s,
                                const __m512i *starts)
{
    X86_UNROLL
    for (uint32_t p = 0; p < t.panels; p++) {
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++) {
            __m512i low = _mm512_add_epi32(s->low[0][p][j], s->low[1][p][j]);
            __m512i high = _mm512_add_epi32(s->high[0][p][j], s->high[1][p][j]);
            low = _mm512_add_epi32(low, _mm512_srai_epi32(high, 4));
            panel_store(m, r + p * RUVM_PANEL_ROWS, v + j,
                        _mm512_add_epi32(_mm512_add_epi32(low, low), starts[j]));
        }
    }
}

X86_INLINE void panel_plain_tile(struct panel_tile t, const struct ruvm_matmul_panels *m,
                                 uint32_t r, uint32_t v, const __m512i *starts)
{
    const uint8_t *w = panel_codes_at(m, r);
    const int8_t *x = m->x + (size_t)v * m->x_stride;
    struct panel_plain_sums s;
    X86_UNROLL
    for (uint32_t i = 0; i < t.panels * t.vecs; i++)
        s.low[0][i / t.vecs][i % t.vecs] = s.low[1][i / t.vecs][i % t.vecs] =
            s.high[0][i / t.vecs][i % t.vecs] = s.high[1][i / t.vecs][i % t.vecs] =
                _mm512_setzero_si512();
    for (uint32_t c = 0; c < m->n_cols; c += PANEL_UNIT, w += 2 * PANEL_WORDS) {
        X86_UNROLL
        for (uint32_t i = 0; i < 2; i++) {
            const int8_t *at = x + c + i * (size_t)8;
            __m512i xs[2][PANEL_VECS];
            X86_UNROLL
            for (uint32_t j = 0; j < t.vecs; j++) {
                xs[0][j] = panel_x(at + j * (size_t)m->x_stride);
                xs[1][j] = panel_x(at + j * (size_t)m->x_stride + 4);
            }
            X86_UNROLL
            for (uint32_t p = 0; p < t.panels; p++) {
                const struct panel_halves u =
                    panel_halves_in_place(w + p * (size_t)m->panel_bytes + i * (size_t)PANEL_WORDS);
                X86_UNROLL
                for (uint32_t j = 0; j < t.vecs; j++) {
                    s.low[i][p][j] = _mm512_dpbusd_epi32(s.low[i][p][j], u.low, xs[0][j]);
                    s.high[i][p][j] = _mm512_dpbusd_epi32(s.high[i][p][j], u.high, xs[1][j]);
                }
            }
        }
    }
    panel_plain_end(t, m, r, v, &s, starts);
}

X86_INLINE void panel_plain_walk(uint32_t vecs, const struct ruvm_matmul_panels *m, uint32_t v)
{
    const struct panel_tile two = {vecs == 1 ? PANEL_PAIR : 1, vecs}, one = {1, vecs};
    const uint32_t step = two.panels * RUVM_PANEL_ROWS;
    __m512i starts[PANEL_VECS];
    for (uint32_t j = 0; j < vecs; j++)
        starts[j] = _mm512_mullo_epi32(panel_sum_x(m->x + (size_t)(v + j) * m->x_stride, m->n_cols),
                                       _mm512_set1_epi32(-PANEL_CODE_MAX));
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < m->n_rows; r += step)
        panel_plain_tile(two, m, r, v, starts);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_plain_tile(one, m, r, v, starts);
}

static inline void panel_plain(const struct ruvm_matmul_panels *m)
{
    uint32_t v = 0;
    for (; v + PANEL_VECS <= m->n_vecs; v += PANEL_VECS)
        panel_plain_walk(PANEL_VECS, m, v);
    for (; v < m->n_vecs; v++)
        panel_plain_walk(1, m, v);
}

/* ---- multipliers of groups of 32 or more ------------------------------------------------ */

/* A level 2u - 15 is 2 (u - 8) + 1. The sums of 32 products with u - 8 fit 16 bits, as
 * vpdpwssd takes them, and so do the sums of x. */
struct panel_group_x {
    int32_t start, sum; /* -8 times the sum of 32 columns of x, and that sum */
};

/* A sum of the x of 16 columns. */
static inline int32_t panel_sum_unit(const int8_t *x)
{
    __m128i sums = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), x86_load16(x));
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1)));
}

static inline void panel_groups_of(struct panel_group_x *g, const int8_t *x, uint32_t n_cols)
{
    for (uint32_t c = 0; c < n_cols; c += PANEL_GROUP, g++) {
        g->sum = panel_sum_unit(x + c);
        g->sum += c + PANEL_UNIT < n_cols ? panel_sum_unit(x + c + PANEL_UNIT) : 0;
        g->start = -8 * g->sum;
    }
}

/* The multipliers of 16 rows for the 32 columns from c on, in the lower half of each lane. */
X86_INLINE __m512i panel_group_mult(const uint8_t *mult, uint32_t group, uint32_t c)
{
    const uint32_t g = c / group;
    __m512i m = _mm512_cvtepu8_epi32(x86_load16(mult + (size_t)(g / 2) * RUVM_PANEL_ROWS));
    m = _mm512_srl_epi32(m, _mm_cvtsi32_si128((int32_t)(g % 2 * 4)));
    return _mm512_and_si512(m, _mm512_set1_epi32(15));
}

/* Of panel p and vector j: sums of levels times multipliers, halved, and of x times
 * multipliers. */
struct panel_group_sums {
    __m512i levels[PANEL_PAIR][PANEL_VECS], x[PANEL_PAIR][PANEL_VECS];
};

/* Where the vectors of a tile are, at the 32 columns of a step. */
struct panel_group_at {
    const int8_t *x;
    size_t x_stride;
    const struct panel_group_x *g;
};

/* The sums of panel p grow by `words` registers from w on; all but the pointers are
 * constants. */
X86_INLINE void panel_group_step(uint32_t p, uint32_t vecs, uint32_t words,
                                 struct panel_group_sums *sums, const uint8_t *w,
                                 const struct panel_group_at *at, __m512i by)
{
    const __m512i mask = _mm512_set1_epi8(15);
    const struct panel_group_x *g = at->g;
    __m512i s[PANEL_VECS];
    X86_UNROLL
    for (uint32_t j = 0; j < vecs; j++)
        s[j] = _mm512_set1_epi32(g[(size_t)j * PANEL_MAX_GROUPS].start);
    X86_UNROLL
    for (uint32_t i = 0; i < words; i++) {
        __m512i codes = panel_load(w + (size_t)i * PANEL_WORDS);
        __m512i low = _mm512_and_si512(codes, mask);
        __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), mask);
        X86_UNROLL
        for (uint32_t j = 0; j < vecs; j++) {
            const int8_t *x = at->x + j * at->x_stride + i * (size_t)8;
            s[j] = _mm512_dpbusd_epi32(s[j], low, panel_x(x));
            s[j] = _mm512_dpbusd_epi32(s[j], high, panel_x(x + 4));
        }
    }
    X86_UNROLL
    for (uint32_t j = 0; j < vecs; j++) {
        __m512i of_x = _mm512_set1_epi32(g[(size_t)j * PANEL_MAX_GROUPS].sum);
        sums->levels[p][j] = _mm512_dpwssd_epi32(sums->levels[p][j], s[j], by);
        sums->x[p][j] = _mm512_dpwssd_epi32(sums->x[p][j], of_x, by);
    }
}

X86_INLINE void panel_group_tile(struct panel_tile t, const struct ruvm_matmul_panels *m,
                                 uint32_t r, uint32_t v, const struct panel_group_x *g)
{
    const uint8_t *w = panel_codes_at(m, r);
    const uint8_t *mult = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes + m->mult_off;
    struct panel_group_at at = {m->x + (size_t)v * m->x_stride, m->x_stride, g};
    struct panel_group_sums sums;
    X86_UNROLL
    for (uint32_t i = 0; i < t.panels * t.vecs; i++)
        sums.levels[i / t.vecs][i % t.vecs] = sums.x[i / t.vecs][i % t.vecs] =
            _mm512_setzero_si512();
    uint32_t c = 0;
    for (; c + PANEL_GROUP <= m->n_cols; c += PANEL_GROUP, at.x += PANEL_GROUP, at.g++) {
        X86_UNROLL
        for (uint32_t p = 0; p < t.panels; p++)
            panel_group_step(p, t.vecs, 4, &sums, w + p * (size_t)m->panel_bytes, &at,
                             panel_group_mult(mult + p * (size_t)m->panel_bytes, m->group,
                                              m->first_col + c));
        w += 4 * PANEL_WORDS;
    }
    if (c < m->n_cols) {
        X86_UNROLL
        for (uint32_t p = 0; p < t.panels; p++)
            panel_group_step(p, t.vecs, 2, &sums, w + p * (size_t)m->panel_bytes, &at,
                             panel_group_mult(mult + p * (size_t)m->panel_bytes, m->group,
                                              m->first_col + c));
    }
    X86_UNROLL
    for (uint32_t i = 0; i < t.panels * t.vecs; i++) {
        __m512i levels = _mm512_slli_epi32(sums.levels[i / t.vecs][i % t.vecs], 1);
        panel_store(m, r + i / t.vecs * RUVM_PANEL_ROWS, v + i % t.vecs,
                    _mm512_add_epi32(levels, sums.x[i / t.vecs][i % t.vecs]));
    }
}

X86_INLINE void panel_group_walk(uint32_t vecs, const struct ruvm_matmul_panels *m, uint32_t v,
                                 const struct panel_group_x *g)
{
    const struct panel_tile two = {vecs == 1 ? PANEL_PAIR : 1, vecs}, one = {1, vecs};
    const uint32_t step = two.panels * RUVM_PANEL_ROWS;
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < m->n_rows; r += step)
        panel_group_tile(two, m, r, v, g);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_group_tile(one, m, r, v, g);
}

static inline void panel_groups(const struct ruvm_matmul_panels *m)
{
    struct panel_group_x g[PANEL_VECS * PANEL_MAX_GROUPS];
    for (uint32_t v = 0, n; v < m->n_vecs; v += n) {
        n = v + PANEL_VECS <= m->n_vecs ? PANEL_VECS : 1;
        for (uint32_t j = 0; j < n; j++)
            panel_groups_of(g + (size_t)j * PANEL_MAX_GROUPS,
                            m->x + (size_t)(v + j) * m->x_stride, m->n_cols);
        if (n > 1)
            panel_group_walk(PANEL_VECS, m, v, g);
        else
            panel_group_walk(1, m, v, g);
    }
}

/* ---- multipliers of groups of 16 -------------------------------------------------------- */


/* Minus 15 times the sums of each 16 columns of x: a level is 2u - 15. */
static inline void panel_codes_starts(int32_t *starts, const int8_t *x, uint32_t n_cols)
{
    for (uint32_t c = 0; c < n_cols; c += PANEL_UNIT) {
        __m128i sums =
            _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(PANEL_CODE_MAX), x86_load16(x + c));
        sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
        sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1));
        starts[c / PANEL_UNIT] = -_mm_cvtsi128_si32(sums);
    }
}

/* The multipliers of 16 rows for the 32 columns from c on: of the first 16 in the lower half
 * of each lane, of the others in the upper one. */
X86_INLINE __m512i panel_mult(const uint8_t *mult, uint32_t c)
{
    __m128i bytes = x86_load16(mult + (size_t)(c / PANEL_GROUP) * RUVM_PANEL_ROWS);
    __m512i first = _mm512_cvtepu8_epi32(bytes), second = _mm512_slli_epi32(first, 12);
    return _mm512_and_si512(_mm512_or_si512(first, second), _mm512_set1_epi32(0x000f000f));
}

/* The bytes of 16 columns, codes spread to 2u. */
struct panel_unit {
    __m512i w[4];
};

X86_INLINE struct panel_unit panel_spread(const uint8_t *at)
{
    const __m512i mask = _mm512_set1_epi8(30);
    __m512i first = panel_load(at), second = panel_load(at + PANEL_WORDS);
    return (struct panel_unit){{_mm512_and_si512(_mm512_add_epi8(first, first), mask),
                                _mm512_and_si512(_mm512_srli_epi16(first, 3), mask),
                                _mm512_and_si512(_mm512_add_epi8(second, second), mask),
                                _mm512_and_si512(_mm512_srli_epi16(second, 3), mask)}};
}

/* The sums of 16 columns fit 16 bits: 16 * 15 * 127 < 2^15. */
X86_INLINE __m512i panel_unit_sums(const struct panel_unit *u, const int8_t *x, int32_t start)
{
    __m512i sum = _mm512_set1_epi32(start);
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++)
        sum = _mm512_dpbusd_epi32(sum, u->w[i], panel_x(x + (size_t)4 * i));
    return sum;
}

/* Two such sums, side by side in each lane, times their multipliers. */
X86_INLINE __m512i panel_add_two(__m512i acc, __m512i first, __m512i second, __m512i by)
{
    __m512i both = _mm512_mask_mov_epi16(first, 0xaaaaaaaa, _mm512_slli_epi32(second, 16));
    return _mm512_dpwssd_epi32(acc, both, by);
}

/* acc[j] += 32 columns, or the last 16, of a panel and vector j of those from x on. */
X86_INLINE void panel_codes_step(uint32_t vecs, int both, __m512i *acc, const uint8_t *w,
                                 const int8_t *x, size_t x_stride, const int32_t *start,
                                 __m512i by)
{
    struct panel_unit a = panel_spread(w), b = a;
    if (both)
        b = panel_spread(w + 2 * PANEL_WORDS);
    X86_UNROLL
    for (uint32_t j = 0; j < vecs; j++, x += x_stride, start += PANEL_MAX_UNITS) {
        __m512i first = panel_unit_sums(&a, x, start[0]), second = _mm512_setzero_si512();
        if (both)
            second = panel_unit_sums(&b, x + PANEL_UNIT, start[1]);
        acc[j] = panel_add_two(acc[j], first, second, by);
    }
}

/* One panel times `vecs` vectors, a constant. */
X86_INLINE void panel_codes_tile(uint32_t vecs, const struct ruvm_matmul_panels *m, uint32_t r,
                                 uint32_t v, const int32_t *starts)
{
    const uint8_t *w = panel_codes_at(m, r);
    const uint8_t *mult = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes + m->mult_off;
    const int8_t *x = m->x + (size_t)v * m->x_stride;
    __m512i acc[PANEL_VECS];
    X86_UNROLL
    for (uint32_t j = 0; j < vecs; j++)
        acc[j] = _mm512_setzero_si512();
    uint32_t c = 0;
    for (; c + PANEL_GROUP <= m->n_cols; c += PANEL_GROUP, w += 4 * PANEL_WORDS)
        panel_codes_step(vecs, 1, acc, w, x + c, m->x_stride, starts + c / PANEL_UNIT,
                         panel_mult(mult, m->first_col + c));
    if (c < m->n_cols)
        panel_codes_step(vecs, 0, acc, w, x + c, m->x_stride, starts + c / PANEL_UNIT,
                         panel_mult(mult, m->first_col + c));
    X86_UNROLL
    for (uint32_t j = 0; j < vecs; j++)
        panel_store(m, r, v + j, acc[j]);
}

static inline void panel_codes(const struct ruvm_matmul_panels *m)
{
    int32_t starts[PANEL_VECS * PANEL_MAX_UNITS];
    for (uint32_t v = 0, n; v < m->n_vecs; v += n) {
        n = v + PANEL_VECS <= m->n_vecs ? PANEL_VECS : 1;
        for (uint32_t j = 0; j < n; j++)
            panel_codes_starts(starts + (size_t)j * PANEL_MAX_UNITS,
                               m->x + (size_t)(v + j) * m->x_stride, m->n_cols);
        for (uint32_t r = 0; n > 1 && r < m->n_rows; r += RUVM_PANEL_ROWS)
            panel_codes_tile(PANEL_VECS, m, r, v, starts);
        for (uint32_t r = 0; n == 1 && r < m->n_rows; r += RUVM_PANEL_ROWS)
            panel_codes_tile(1, m, r, v, starts);
    }
}

static inline void panel_int4(const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_plain(m);
    else if (m->group == PANEL_UNIT)
        panel_codes(m);
    else
        panel_groups(m);
}

#endif
