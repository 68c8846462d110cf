/* AVX-512 panels: one register is four columns of 16 rows, and 4 bytes of x go to all lanes.
 *
 * A vector alone walks one panel at a time, so that the whole matrix is one stream for
 * the prefetcher: that reads the second-level cache at its full rate. Four vectors share
 * what is loaded of four panels: then multiplying is the limit. */
#ifndef RUVM_KERNELS_AVX512_PANELS_H
#define RUVM_KERNELS_AVX512_PANELS_H

#include "kernels/panel_walk.h"
#include "kernels/x86_codes.h"

enum { PANEL_WORDS = 64, PANEL_VECS = 4, PANEL_TILE = 4, PANEL_UNIT = 16 };

/* What a tile is: constants, so that the compiler makes a function of each. */
struct panel_tile {
    uint32_t panels, vecs;
};

X86_INLINE __m512i panel_load(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

X86_INLINE __m512i panel_x(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Writes the sums of the panel from row r on. */
X86_INLINE void panel_store(const struct ruvm_matmul_panels *m, uint32_t r, uint32_t v,
                            __m512i sums)
{
    int32_t *out = m->out + (size_t)v * m->out_stride + r;
    uint32_t left = m->n_rows - r;
    if (left >= RUVM_PANEL_ROWS)
        _mm512_storeu_si512(out, sums);
    else
        _mm512_mask_storeu_epi32(out, (__mmask16)((1u << left) - 1), sums);
}

/* ---- INT8 ---------------------------------------------------------------------------- */

/* -128 times the sum of x in all lanes: what storing weights plus 128 adds. */
static inline __m512i panel_s8_start(const int8_t *x, uint32_t n_cols)
{
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t c = 0; c < n_cols; c += 64) {
        __mmask64 bytes = n_cols - c >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n_cols - c)) - 1;
        sum =
            _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), _mm512_maskz_loadu_epi8(bytes, x + c));
    }
    sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0x4e));
    sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0xb1));
    sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, 0x4e));
    sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, 0xb1));
    return _mm512_sub_epi32(_mm512_setzero_si512(), sum);
}

/* One panel and vector, four sums side by side for the unit's latency. */
X86_INLINE void panel_s8_one(const struct ruvm_matmul_panels *m, uint32_t r, uint32_t v,
                             __m512i start)
{
    const uint8_t *w = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes +
                       (size_t)m->first_col * RUVM_PANEL_ROWS;
    const int8_t *x = m->x + (size_t)v * m->x_stride, *end = x + m->n_cols;
    __m512i acc[4] = {0};
    for (; x != end; x += PANEL_UNIT, w += 4 * PANEL_WORDS) {
        X86_UNROLL
        for (uint32_t i = 0; i < 4; i++)
            acc[i] = _mm512_dpbusd_epi32(acc[i], panel_load(w + (size_t)i * PANEL_WORDS),
                                         panel_x(x + (size_t)4 * i));
    }
    __m512i sums =
        _mm512_add_epi32(_mm512_add_epi32(acc[0], acc[1]), _mm512_add_epi32(acc[2], acc[3]));
    panel_store(m, r, v, _mm512_add_epi32(sums, start));
}

X86_INLINE void panel_s8_tile(struct panel_tile t, const struct ruvm_matmul_panels *m, uint32_t r,
                              uint32_t v, const __m512i *starts)
{
    const uint8_t *w = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes +
                       (size_t)m->first_col * RUVM_PANEL_ROWS;
    const int8_t *x = m->x + (size_t)v * m->x_stride;
    __m512i acc[PANEL_TILE][PANEL_VECS];
    /* Of the next panels one is brought near with every four vectors. */
    const uint8_t *ahead = w + (PANEL_TILE + v / PANEL_VECS % PANEL_TILE) * (size_t)m->panel_bytes;
    X86_UNROLL
    for (uint32_t p = 0; p < t.panels; p++) {
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++)
            acc[p][j] = _mm512_setzero_si512();
    }
    for (uint32_t c = 0; c < m->n_cols; c += 4, w += PANEL_WORDS) {
        __m512i xs[PANEL_VECS];
        if (t.vecs > 1 && t.panels > 1)
            _mm_prefetch((const char *)ahead + (size_t)c * RUVM_PANEL_ROWS, _MM_HINT_T1);
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++)
            xs[j] = panel_x(x + j * (size_t)m->x_stride + c);
        X86_UNROLL
        for (uint32_t p = 0; p < t.panels; p++) {
            __m512i ws = panel_load(w + p * (size_t)m->panel_bytes);
            X86_UNROLL
            for (uint32_t j = 0; j < t.vecs; j++)
                acc[p][j] = _mm512_dpbusd_epi32(acc[p][j], ws, xs[j]);
        }
    }
    X86_UNROLL
    for (uint32_t p = 0; p < t.panels; p++) {
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++)
            panel_store(m, r + p * RUVM_PANEL_ROWS, v + j, _mm512_add_epi32(acc[p][j], starts[j]));
    }
}

enum { PANEL_SHARED = 64 }; /* vectors that share a walk over the weights */

/* A vector alone. Of narrow panels four share what is loaded of x, which counts where the
 * weights are near. */
enum { PANEL_NARROW = 256 };

static inline void panel_s8_vector(const struct ruvm_matmul_panels *m, uint32_t v, __m512i start)
{
    const struct panel_tile four = {PANEL_TILE, 1};
    const uint32_t step = PANEL_TILE * RUVM_PANEL_ROWS;
    uint32_t r = 0;
    for (; m->n_cols < PANEL_NARROW && r + step - RUVM_PANEL_ROWS < m->n_rows; r += step)
        panel_s8_tile(four, m, r, v, &start);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_s8_one(m, r, v, start);
}

/* As many panels from row r on, whose weights all vectors share. */
X86_INLINE void panel_s8_panels(uint32_t panels, const struct ruvm_matmul_panels *m, uint32_t r,
                                const __m512i *starts)
{
    const struct panel_tile four = {panels, PANEL_VECS}, three = {panels, 3}, two = {panels, 2},
                            one = {panels, 1};
    uint32_t v = 0;
    for (; v + PANEL_VECS <= m->n_vecs; v += PANEL_VECS)
        panel_s8_tile(four, m, r, v, starts + v);
    switch (m->n_vecs - v) {
    case 3: panel_s8_tile(three, m, r, v, starts + v); return;
    case 2: panel_s8_tile(two, m, r, v, starts + v); return;
    case 1: panel_s8_tile(one, m, r, v, starts + v); return;
    default: return;
    }
}

static inline void panel_s8_block(const struct ruvm_matmul_panels *m)
{
    const uint32_t step = PANEL_TILE * RUVM_PANEL_ROWS;
    __m512i starts[PANEL_SHARED];
    for (uint32_t v = 0; v < m->n_vecs; v++)
        starts[v] = panel_s8_start(m->x + (size_t)v * m->x_stride, m->n_cols);
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < m->n_rows; r += step)
        panel_s8_panels(PANEL_TILE, m, r, starts);
    for (; r + RUVM_PANEL_ROWS < m->n_rows; r += 2 * RUVM_PANEL_ROWS)
        panel_s8_panels(2, m, r, starts);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_s8_panels(1, m, r, starts);
}

static inline void panel_s8(const struct ruvm_matmul_panels *m)
{
    struct ruvm_matmul_panels block = *m;
    for (uint32_t v = 0; v < m->n_vecs; v += PANEL_SHARED) {
        block.n_vecs = m->n_vecs - v < PANEL_SHARED ? m->n_vecs - v : PANEL_SHARED;
        block.x = m->x + (size_t)v * m->x_stride;
        block.out = m->out + (size_t)v * m->out_stride;
        if (block.n_vecs == 1)
            panel_s8_vector(&block, 0, panel_s8_start(block.x, block.n_cols));
        else
            panel_s8_block(&block);
    }
}

/* A vector alone reads a panel once in any case, from caches as well. */
static inline int panel_s8_walks_once(const struct ruvm_matmul_panels *m)
{
    return panel_walks_once(m) || (m->n_vecs == 1 && m->part_cols);
}

/* Narrow parts of near weights had better share what is loaded of x among four panels. */
enum { PANEL_NARROW_PART = 64 };

static inline uint32_t panel_s8_shared_rows(const struct ruvm_matmul_panels *m)
{
    return m->is_far || m->part_cols >= PANEL_NARROW_PART ? 0 : m->n_rows;
}

/* Few vectors, all of whose parts are multiplied by a panel before the next one is read. */
static inline void panel_s8_once(const struct ruvm_matmul_panels *m)
{
    struct ruvm_matmul_panels parts[RUVM_PANELS_MAX_PARTS];
    __m512i starts[RUVM_PANELS_MAX_PARTS][RUVM_PANELS_FEW_VECS];
    const uint32_t n = panel_n_parts(m);
    for (uint32_t i = 0; i < n; i++) {
        parts[i] = panel_part(m, i);
        for (uint32_t v = 0; v < m->n_vecs; v++)
            starts[i][v] = panel_s8_start(parts[i].x + (size_t)v * m->x_stride, parts[i].n_cols);
    }
    const struct panel_tile four = {PANEL_TILE, 1};
    const uint32_t step = PANEL_TILE * RUVM_PANEL_ROWS;
    uint32_t r = 0;
    for (; r + step - RUVM_PANEL_ROWS < panel_s8_shared_rows(m); r += step)
        for (uint32_t i = 0; i < n; i++)
            panel_s8_tile(four, &parts[i], r, 0, starts[i]);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        for (uint32_t i = 0; i < n; i++) {
            if (m->n_vecs == 1)
                panel_s8_one(&parts[i], r, 0, starts[i][0]);
            else
                panel_s8_panels(1, &parts[i], r, starts[i]);
        }
}

#endif
