/* AVX-512 panels of INT4, INT3 and INT2 with one scale a row.
 *
 * Codes are summed up as they are, and what levels have beside twice those sums is the same for
 * all rows: minus max times the sum of x. */
#ifndef RUVM_KERNELS_AVX512_PANELS_PLAIN_H
#define RUVM_KERNELS_AVX512_PANELS_PLAIN_H

#include "kernels/avx512_panels_codes.h"

/* A vector alone has nothing to share a shift with; INT3 is put together from two fields. */
X86_INLINE int panel_in_place(int bits, struct panel_tile t)
{
    return t.vecs == 1 && bits != 3;
}

/* Into how many sums those of a panel and vector are split: by place, and for latency. */
X86_INLINE uint32_t panel_plain_parts(struct panel_tile t)
{
    return t.vecs > 1 ? 2 : 4;
}

/* Which of them takes the k-th four columns, and its place. */
X86_INLINE uint32_t panel_plain_part(int bits, struct panel_tile t, uint32_t fours, uint32_t k)
{
    const struct panel_place at = panel_place(bits, fours, k);
    if (panel_in_place(bits, t) && bits == 4)
        return at.bit / 2 + at.word % 2;
    return k % panel_plain_parts(t);
}

X86_INLINE uint32_t panel_plain_bit(int bits, struct panel_tile t, uint32_t part)
{
    if (!panel_in_place(bits, t))
        return 0;
    return bits == 4 ? part / 2 * 4 : part * (uint32_t)bits;
}

struct panel_plain_sums {
    __m512i part[PANEL_TILE][PANEL_VECS][PANEL_FOURS];
};

/* Their panels at a step, and vectors. */
struct panel_plain_at {
    const uint8_t *w;
    size_t panel_bytes;
    const int8_t *x;
    size_t x_stride;
};

X86_INLINE void panel_plain_step(int bits, struct panel_tile t, uint32_t fours,
                                 struct panel_plain_sums *s, const struct panel_plain_at *at)
{
    struct panel_words w[PANEL_TILE];
    X86_UNROLL
    for (uint32_t p = 0; p < t.panels; p++)
        w[p] = panel_words(bits, fours, at->w + p * at->panel_bytes);
    X86_UNROLL
    for (uint32_t k = 0; k < fours; k++) {
        const uint32_t part = panel_plain_part(bits, t, fours, k);
        __m512i xs[PANEL_VECS];
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++)
            xs[j] = panel_x(at->x + j * at->x_stride + (size_t)4 * k);
        X86_UNROLL
        for (uint32_t p = 0; p < t.panels; p++) {
            __m512i u = panel_in_place(bits, t) ? panel_four_in_place(bits, &w[p], fours, k)
                                                : panel_four(bits, &w[p], fours, k);
            X86_UNROLL
            for (uint32_t j = 0; j < t.vecs; j++)
                s->part[p][j][part] = _mm512_dpbusd_epi32(s->part[p][j][part], u, xs[j]);
        }
    }
}

X86_INLINE __m512i panel_plain_sum(int bits, struct panel_tile t, const __m512i *parts)
{
    __m512i sum = parts[0];
    X86_UNROLL
    for (uint32_t i = 1; i < panel_plain_parts(t); i++) {
        uint32_t by = panel_plain_bit(bits, t, i);
        sum = _mm512_add_epi32(sum, by ? _mm512_srai_epi32(parts[i], by) : parts[i]);
    }
    return sum;
}

/* starts: minus max times the sum of each x. */
X86_INLINE void panel_plain_tile(int bits, struct panel_tile t, const struct ruvm_matmul_panels *m,
                                 uint32_t r, uint32_t v, const __m512i *starts)
{
    struct panel_plain_at at = {panel_codes_at(bits, m, r), m->panel_bytes,
                                m->x + (size_t)v * m->x_stride, m->x_stride};
    struct panel_plain_sums s;
    X86_UNROLL
    for (uint32_t p = 0; p < t.panels; p++) {
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++) {
            X86_UNROLL
            for (uint32_t i = 0; i < panel_plain_parts(t); i++)
                s.part[p][j][i] = _mm512_setzero_si512();
        }
    }
    uint32_t c = 0;
    for (; c + PANEL_STEP <= m->n_cols; c += PANEL_STEP) {
        panel_ask_ahead(t, at.w);
        panel_plain_step(bits, t, PANEL_FOURS, &s, &at);
        at.w += (size_t)bits * PANEL_WORDS;
        at.x += PANEL_STEP;
    }
    if (c < m->n_cols)
        panel_plain_step(bits, t, PANEL_FOURS / 2, &s, &at);
    X86_UNROLL
    for (uint32_t p = 0; p < t.panels; p++) {
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++) {
            __m512i sum = panel_plain_sum(bits, t, s.part[p][j]);
            panel_store(m, r + p * RUVM_PANEL_ROWS, v + j,
                        _mm512_add_epi32(_mm512_add_epi32(sum, sum), starts[j]));
        }
    }
}

/* What the sums of levels have beside twice those of codes: minus max times the sum of x. */
static inline __m512i panel_plain_start(int bits, const int8_t *x, uint32_t n_cols)
{
    __m512i sum = _mm512_srai_epi32(panel_s8_start(x, n_cols), 7); /* it was -128 times that */
    return _mm512_mullo_epi32(sum, _mm512_set1_epi32(panel_max(bits)));
}

X86_INLINE void panel_plain_walk(int bits, uint32_t vecs, const struct ruvm_matmul_panels *m,
                                 uint32_t v)
{
    const struct panel_tile one = {1, vecs}, many = {panel_sharing(vecs), vecs};
    const uint32_t step = many.panels * RUVM_PANEL_ROWS;
    __m512i starts[PANEL_VECS];
    for (uint32_t j = 0; j < vecs; j++)
        starts[j] = panel_plain_start(bits, m->x + (size_t)(v + j) * m->x_stride, m->n_cols);
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < panel_shared_rows(m, vecs); r += step)
        panel_plain_tile(bits, many, m, r, v, starts);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_plain_tile(bits, one, m, r, v, starts);
}

/* A vector alone. gcc would load in one step what the next one needs, and have no registers left,
 * which costs a seventh; elsewhere that is good. */
#ifdef __clang__
#define PANEL_ALONE static
#else
#define PANEL_ALONE static __attribute__((noinline, optimize("no-tree-pre")))
#endif

PANEL_ALONE void panel_plain_int4(const struct ruvm_matmul_panels *m, uint32_t v)
{
    panel_plain_walk(4, 1, m, v);
}

PANEL_ALONE void panel_plain_int3(const struct ruvm_matmul_panels *m, uint32_t v)
{
    panel_plain_walk(3, 1, m, v);
}

PANEL_ALONE void panel_plain_int2(const struct ruvm_matmul_panels *m, uint32_t v)
{
    panel_plain_walk(2, 1, m, v);
}

X86_INLINE void panel_plain(int bits, const struct ruvm_matmul_panels *m)
{
    uint32_t v = 0;
    for (; v + PANEL_VECS <= m->n_vecs; v += PANEL_VECS)
        panel_plain_walk(bits, PANEL_VECS, m, v);
    for (; v < m->n_vecs; v++)
        bits == 4   ? panel_plain_int4(m, v)
        : bits == 3 ? panel_plain_int3(m, v)
                    : panel_plain_int2(m, v);
}

/* Few vectors, all of whose parts are multiplied by a panel before the next one is read. */
X86_INLINE void panel_plain_once(int bits, const struct ruvm_matmul_panels *m)
{
    const struct panel_tile one = {1, 1};
    struct ruvm_matmul_panels parts[RUVM_PANELS_MAX_PARTS];
    __m512i starts[RUVM_PANELS_MAX_PARTS][RUVM_PANELS_FEW_VECS];
    const uint32_t n = panel_n_parts(m);
    for (uint32_t i = 0; i < n; i++) {
        parts[i] = panel_part(m, i);
        for (uint32_t v = 0; v < m->n_vecs; v++)
            starts[i][v] =
                panel_plain_start(bits, parts[i].x + (size_t)v * m->x_stride, parts[i].n_cols);
    }
    for (uint32_t r = 0; r < m->n_rows; r += RUVM_PANEL_ROWS)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t v = 0; v < m->n_vecs; v++)
                panel_plain_tile(bits, one, &parts[i], r, v, &starts[i][v]);
}

#endif
