/* AVX-512 panels of packed codes: INT4, INT3 and INT2, with one scale a row
 * (avx512_panels_plain.h) or multipliers (avx512_panels_groups.h); what both need.
 *
 * A step is 32 columns of 16 rows, as many registers as a code has bits, and eight times
 * four bytes u in them multiply x; a level is 2u - max. Four panels share what is loaded of a
 * vector alone, and four vectors what is unpacked of a panel: reading weights is no limit
 * here as it is for INT8, and loading x is one. */
#ifndef RUVM_KERNELS_AVX512_PANELS_CODES_H
#define RUVM_KERNELS_AVX512_PANELS_CODES_H

#include "kernels/avx512_panels.h"

enum {
    PANEL_STEP = 32, /* columns */
    PANEL_FOURS = 8, /* of a step, or half of it at the end of a row */
    PANEL_MAX_STEPS = RUVM_PANELS_MAX_COLS / PANEL_STEP
};

/* How far ahead of a lone vector weights that are in memory are asked for, one line of each
 * step: the machine finds the others of such a stream. */
enum { PANEL_AHEAD = 16 << 10 };

X86_INLINE int panel_max(int bits)
{
    return (1 << bits) - 1;
}

/* Panels that share what is loaded of so many vectors. */
X86_INLINE uint32_t panel_sharing(uint32_t vecs)
{
    return vecs > 1 ? 1 : PANEL_TILE;
}

/* How many of m's rows are multiplied by panels that share. From memory a vector alone reads one
 * stream: four together give three quarters of its rate. */
X86_INLINE uint32_t panel_shared_rows(const struct ruvm_matmul_panels *m, uint32_t vecs)
{
    return vecs == 1 && m->is_far ? 0 : m->n_rows;
}

/* A vector alone reads panels with multipliers once, from caches as well. */
static inline int panel_codes_walks_once(const struct ruvm_matmul_panels *m)
{
    return panel_walks_once(m) || (m->n_vecs == 1 && m->group && m->part_cols);
}

/* One panel for one vector: the line that a step far ahead begins with is asked for. */
X86_INLINE void panel_ask_ahead(struct panel_tile t, const uint8_t *w)
{
    if (t.panels == 1 && t.vecs == 1)
        _mm_prefetch((const char *)w + PANEL_AHEAD, _MM_HINT_T1);
}

/* ---- codes to bytes ---------------------------------------------------------------- */

/* A step's registers of one panel. */
struct panel_words {
    __m512i w[4];
};

/* Those of the first `fours` times four columns. INT3 has both of its parts in each half. */
X86_INLINE struct panel_words panel_words(int bits, uint32_t fours, const uint8_t *at)
{
    const uint32_t half = bits == 3 ? 3 : ((uint32_t)bits + 1) / 2;
    const uint32_t n = fours == PANEL_FOURS ? (uint32_t)bits : half;
    struct panel_words s = {{_mm512_setzero_si512()}};
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++)
        s.w[i] = panel_load(at + (size_t)i * PANEL_WORDS);
    return s;
}

/* Where the k-th four columns of a step of so many are: in which register, and from which
 * bit of its bytes on. A whole step of INT4 has its first half in the lower nibbles. */
struct panel_place {
    uint32_t word, bit;
};

X86_INLINE struct panel_place panel_place(int bits, uint32_t fours, uint32_t k)
{
    const uint32_t codes = 8 / (uint32_t)bits; /* that a byte holds */
    if (bits == 4 && fours == PANEL_FOURS)
        return (struct panel_place){k % 4, k / 4 * 4};
    return (struct panel_place){k / codes, k % codes * (uint32_t)bits};
}

X86_INLINE __m512i panel_field(__m512i w, uint32_t down, int mask)
{
    if (down)
        w = _mm512_srl_epi16(w, _mm_cvtsi32_si128((int32_t)down));
    return _mm512_and_si512(w, _mm512_set1_epi8((char)mask));
}

/* The k-th four columns of a step. */
X86_INLINE __m512i panel_four(int bits, const struct panel_words *s, uint32_t fours, uint32_t k)
{
    const struct panel_place at = panel_place(bits, fours, k);
    if (bits != 3)
        return panel_field(s->w[at.word], at.bit, panel_max(bits));
    __m512i high = s->w[2];
    if (k < 2)
        high = _mm512_sll_epi16(high, _mm_cvtsi32_si128(2 - (int32_t)k));
    return _mm512_or_si512(panel_field(s->w[k / 4], k % 4 * 2, 3),
                           panel_field(high, k < 2 ? 0 : k - 2, 4));
}

/* The same without a shift: sums of it are 2^bit of what they should be, and that is taken
 * back at the end. */
X86_INLINE __m512i panel_four_in_place(int bits, const struct panel_words *s, uint32_t fours,
                                       uint32_t k)
{
    const struct panel_place at = panel_place(bits, fours, k);
    int mask = panel_max(bits) << at.bit;
    return _mm512_and_si512(s->w[at.word], _mm512_set1_epi8((char)mask));
}

/* Where the codes of the panel of row r begin that multiply x[0], without multipliers. */
X86_INLINE const uint8_t *panel_codes_at(int bits, const struct ruvm_matmul_panels *m, uint32_t r)
{
    return m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes +
           (size_t)m->first_col / 8 * (uint32_t)bits * RUVM_PANEL_ROWS;
}

#endif
