/* AVX-512 panels of INT4, INT3 and INT2 with multipliers.
 *
 * vpdpbusd sums up the codes of a group, vpdpwssd multiplies that by the group's multiplier, and
 * beside it the sum of x, of which levels need a share as well. */
#ifndef RUVM_KERNELS_AVX512_PANELS_GROUPS_H
#define RUVM_KERNELS_AVX512_PANELS_GROUPS_H

#include "kernels/avx512_panels_codes.h"

/* vpdpwssd multiplies what sums up to 16 bits: 16 products with u, of INT4 32 with u - 8, of
 * fewer bits 32 with u. So a lane takes 32 columns of one multiplier, or two times 16. */
X86_INLINE int panel_zero(int bits, int sixteens)
{
    return bits == 4 && !sixteens ? 8 : 0;
}

/* What a step needs to know of x: minus zero times its sum, and the sum, or two of 16. */
struct panel_group_x {
    int32_t start, sum;
};

static inline int32_t panel_sum_16(const int8_t *x)
{
    __m128i sums = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), x86_load16(x));
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1)));
}

static inline void panel_groups_of(struct panel_group_x *g, const int8_t *x, uint32_t n_cols,
                                   int zero, int sixteens)
{
    for (uint32_t c = 0; c < n_cols; c += PANEL_STEP, g++) {
        int32_t a = panel_sum_16(x + c), b = c + 16 < n_cols ? panel_sum_16(x + c + 16) : 0;
        g->start = -zero * (a + b);
        g->sum = sixteens ? (int32_t)(((uint32_t)b << 16) | ((uint32_t)a & 0xffff)) : a + b;
    }
}

/* What is the same for all steps of a tile: constants. */
struct panel_group_kind {
    int bits, sixteens;
    uint32_t vecs;
};

/* The multipliers of 16 rows for a step that begins with the g-th group of those whose multipliers
 * are together, in the lower half of each lane, or of its first 16 columns in the lower and of the
 * others in the upper one. */
X86_INLINE __m512i panel_mult(int sixteens, const uint8_t *mult, uint32_t g)
{
    __m512i m = _mm512_cvtepu8_epi32(x86_load16(mult + (size_t)(g / 2) * RUVM_PANEL_ROWS));
    if (sixteens)
        return _mm512_and_si512(_mm512_or_si512(m, _mm512_slli_epi32(m, 12)),
                                _mm512_set1_epi32(0x000f000f));
    m = _mm512_srl_epi32(m, _mm_cvtsi32_si128((int32_t)(g % 2 * 4)));
    return _mm512_and_si512(m, _mm512_set1_epi32(15));
}

/* Of panel p and vector j: sums of u - zero times multipliers, and of x times multipliers. */
struct panel_group_sums {
    __m512i codes[PANEL_TILE][PANEL_VECS], x[PANEL_TILE][PANEL_VECS];
};

/* Where the vectors of a tile are, at the columns of a step. */
struct panel_group_at {
    const int8_t *x;
    size_t x_stride;
    const struct panel_group_x *g;
};

/* Whether the second half of a step is multiplied where it is, in upper nibbles: then its sums
 * are 16 times too large. */
X86_INLINE int panel_group_in_place(struct panel_group_kind kind, uint32_t fours)
{
    return kind.bits == 4 && fours == PANEL_FOURS && (kind.sixteens || kind.vecs == 1);
}

/* The sums of a step's halves as vpdpwssd takes them: both together, or each in 16 bits. */
X86_INLINE __m512i panel_group_both(struct panel_group_kind kind, uint32_t fours, __m512i first,
                                    __m512i second)
{
    const int in_place = panel_group_in_place(kind, fours);
    if (kind.sixteens)
        return _mm512_mask_mov_epi16(first, 0xaaaaaaaa,
                                     _mm512_slli_epi32(second, in_place ? 12 : 16));
    return in_place ? _mm512_add_epi32(first, _mm512_srai_epi32(second, 4)) : first;
}

/* The sums of panel p grow by the first `fours` times four columns of a step at w. */
X86_INLINE void panel_group_step(struct panel_group_kind kind, uint32_t p, uint32_t fours,
                                 struct panel_group_sums *sums, const uint8_t *w,
                                 const struct panel_group_at *at, __m512i by)
{
    const struct panel_words words = panel_words(kind.bits, fours, w);
    const struct panel_group_x *g = at->g;
    __m512i s[2][PANEL_VECS];
    X86_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++) {
        s[0][j] = panel_zero(kind.bits, kind.sixteens)
                      ? _mm512_set1_epi32(g[(size_t)j * PANEL_MAX_STEPS].start)
                      : _mm512_setzero_si512();
        s[1][j] = _mm512_setzero_si512();
    }
    X86_UNROLL
    for (uint32_t k = 0; k < fours; k++) {
        const int in_place = panel_group_in_place(kind, fours);
        const uint32_t half = (kind.sixteens || in_place) && k >= PANEL_FOURS / 2;
        __m512i u = in_place ? panel_four_in_place(kind.bits, &words, fours, k)
                             : panel_four(kind.bits, &words, fours, k);
        X86_UNROLL
        for (uint32_t j = 0; j < kind.vecs; j++)
            s[half][j] = _mm512_dpbusd_epi32(s[half][j], u,
                                             panel_x(at->x + j * at->x_stride + (size_t)4 * k));
    }
    X86_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++) {
        __m512i x = _mm512_set1_epi32(g[(size_t)j * PANEL_MAX_STEPS].sum);
        __m512i both = panel_group_both(kind, fours, s[0][j], s[1][j]);
        sums->codes[p][j] = _mm512_dpwssd_epi32(sums->codes[p][j], both, by);
        sums->x[p][j] = _mm512_dpwssd_epi32(sums->x[p][j], x, by);
    }
}

/* Levels are 2 (u - zero) + (2 zero - max). */
X86_INLINE void panel_group_end(struct panel_group_kind kind, uint32_t p,
                                const struct ruvm_matmul_panels *m, uint32_t r, uint32_t v,
                                const struct panel_group_sums *sums)
{
    const int rest = 2 * panel_zero(kind.bits, kind.sixteens) - panel_max(kind.bits);
    X86_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++) {
        __m512i x = _mm512_mullo_epi32(sums->x[p][j], _mm512_set1_epi32(rest));
        panel_store(m, r, v + j, _mm512_add_epi32(_mm512_slli_epi32(sums->codes[p][j], 1), x));
    }
}

/* The sums of as many panels grow by the first `fours` times four columns of a step: the codes of
 * the first panel are at w, and its multiplier is of the g-th group of those at mult. */
X86_INLINE void panel_group_steps(struct panel_group_kind kind, uint32_t panels, uint32_t fours,
                                  struct panel_group_sums *sums, const uint8_t *w,
                                  const uint8_t *mult, uint32_t g, size_t next,
                                  const struct panel_group_at *at)
{
    const struct panel_tile tile = {panels, kind.vecs};
    panel_ask_ahead(tile, w);
    X86_UNROLL
    for (uint32_t p = 0; p < panels; p++)
        panel_group_step(kind, p, fours, sums, w + p * next, at,
                         panel_mult(kind.sixteens, mult + p * next, g));
}

/* Two steps of groups of 32 columns, the g-th and the next one, whose multipliers are together in
 * bytes. */
X86_INLINE void panel_group_two(struct panel_group_kind kind, uint32_t panels,
                                struct panel_group_sums *sums, const uint8_t *w,
                                const uint8_t *mult, size_t next, struct panel_group_at at)
{
    const struct panel_tile tile = {panels, kind.vecs};
    const size_t step = (size_t)kind.bits * PANEL_WORDS;
    __m512i both[PANEL_TILE];
    panel_ask_ahead(tile, w);
    X86_UNROLL
    for (uint32_t p = 0; p < panels; p++) {
        both[p] = _mm512_cvtepu8_epi32(x86_load16(mult + p * next));
        panel_group_step(kind, p, PANEL_FOURS, sums, w + p * next, &at,
                         _mm512_and_si512(both[p], _mm512_set1_epi32(15)));
    }
    at.x += PANEL_STEP;
    at.g++;
    panel_ask_ahead(tile, w + step);
    X86_UNROLL
    for (uint32_t p = 0; p < panels; p++)
        panel_group_step(kind, p, PANEL_FOURS, sums, w + step + p * next, &at,
                         _mm512_srli_epi32(both[p], 4));
}

X86_INLINE void panel_group_tile(struct panel_group_kind kind, uint32_t panels,
                                 const struct ruvm_matmul_panels *m, uint32_t r, uint32_t v,
                                 const struct panel_run *first, const struct panel_group_x *g)
{
    const uint8_t *panel = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes;
    const uint32_t bits = (uint32_t)kind.bits, log2 = (uint32_t)__builtin_ctz(m->group);
    const size_t next = m->panel_bytes;
    struct panel_group_at at = {m->x + (size_t)v * m->x_stride, m->x_stride, g};
    struct panel_group_sums sums;
    X86_UNROLL
    for (uint32_t i = 0; i < panels * kind.vecs; i++)
        sums.codes[i / kind.vecs][i % kind.vecs] = sums.x[i / kind.vecs][i % kind.vecs] =
            _mm512_setzero_si512();
    struct panel_run run = *first;
    do {
        const uint32_t end = run.first + run.n;
        const uint8_t *w = panel + run.words, *mults = panel + run.mults;
        uint32_t c = run.first;
        if (!kind.sixteens && kind.vecs == 1 && log2 == 5 && c % (2 * PANEL_STEP) == 0) {
            for (; c + 2 * PANEL_STEP <= end; c += 2 * PANEL_STEP) {
                panel_group_two(kind, panels, &sums, w,
                                mults + (size_t)(c / (2 * PANEL_STEP)) * RUVM_PANEL_ROWS, next, at);
                w += 2 * (size_t)bits * PANEL_WORDS;
                at.x += 2 * PANEL_STEP;
                at.g += 2;
            }
        }
        for (; c + PANEL_STEP <= end; c += PANEL_STEP, at.x += PANEL_STEP, at.g++) {
            panel_group_steps(kind, panels, PANEL_FOURS, &sums, w, mults, c >> log2, next, &at);
            w += (size_t)bits * PANEL_WORDS;
        }
        if (c < end)
            panel_group_steps(kind, panels, PANEL_FOURS / 2, &sums, w, mults, c >> log2, next, &at);
    } while (panel_next_run(&run, bits));
    X86_UNROLL
    for (uint32_t p = 0; p < panels; p++)
        panel_group_end(kind, p, m, r + p * RUVM_PANEL_ROWS, v, &sums);
}

X86_INLINE void panel_group_walk(struct panel_group_kind kind, const struct ruvm_matmul_panels *m,
                                 uint32_t v, const struct panel_group_x *g)
{
    const uint32_t many = panel_sharing(kind.vecs), step = many * RUVM_PANEL_ROWS;
    const struct panel_run first = panel_first_run(m, (uint32_t)kind.bits, m->group);
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < panel_shared_rows(m, kind.vecs); r += step)
        panel_group_tile(kind, many, m, r, v, &first, g);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_group_tile(kind, 1, m, r, v, &first, g);
}

X86_INLINE void panel_groups(int bits, int sixteens, const struct ruvm_matmul_panels *m)
{
    struct panel_group_x g[PANEL_VECS * PANEL_MAX_STEPS];
    for (uint32_t v = 0, n; v < m->n_vecs; v += n) {
        n = v + PANEL_VECS <= m->n_vecs ? PANEL_VECS : 1;
        for (uint32_t j = 0; j < n; j++)
            panel_groups_of(g + (size_t)j * PANEL_MAX_STEPS, m->x + (size_t)(v + j) * m->x_stride,
                            m->n_cols, panel_zero(bits, sixteens), sixteens);
        if (n > 1)
            panel_group_walk((struct panel_group_kind){bits, sixteens, PANEL_VECS}, m, v, g);
        else
            panel_group_walk((struct panel_group_kind){bits, sixteens, 1}, m, v, g);
    }
}

X86_INLINE void panel_groups_once(int bits, int sixteens, const struct ruvm_matmul_panels *m)
{
    const struct panel_group_kind kind = {bits, sixteens, 1};
    struct ruvm_matmul_panels parts[RUVM_PANELS_MAX_PARTS];
    struct panel_run firsts[RUVM_PANELS_MAX_PARTS];
    struct panel_group_x g[RUVM_PANELS_FEW_VECS][PANEL_MAX_STEPS];
    const uint32_t n = panel_n_parts(m);
    for (uint32_t v = 0; v < m->n_vecs; v++)
        panel_groups_of(g[v], m->x + (size_t)v * m->x_stride, m->n_cols, panel_zero(bits, sixteens),
                        sixteens);
    for (uint32_t i = 0; i < n; i++) {
        parts[i] = panel_part(m, i);
        firsts[i] = panel_first_run(&parts[i], (uint32_t)bits, m->group);
    }
    const uint32_t step = PANEL_TILE * RUVM_PANEL_ROWS, steps = m->part_cols / PANEL_STEP;
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < panel_shared_rows(m, 1); r += step)
        for (uint32_t i = 0; i < n; i++)
            panel_group_tile(kind, PANEL_TILE, &parts[i], r, 0, &firsts[i],
                             g[0] + (size_t)i * steps);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t v = 0; v < m->n_vecs; v++)
                panel_group_tile(kind, 1, &parts[i], r, v, &firsts[i], g[v] + (size_t)i * steps);
}

#endif
