/* AVX-512 panels by look-up: BINARY.
 *
 * A word holds 16 columns of a row, and of its three fields, of 6, 5 and 5 bits, each is an index
 * into the sums that its columns of x can give: tables of 64, 32 and 32 such, 16 bits each, made
 * once a vector. An index may have anything above its bits, so a field needs a shift at most.
 * 16 columns of 32 rows, 512 products, take three look-ups, three additions and two shifts: a
 * Zen 4 begins two such instructions a cycle, so that is four cycles, where VNNI takes eight, and
 * it bounds the kernel. Sums of 256 columns, at most 256 * 127, fit into 16 bits. */
#ifndef RUVM_KERNELS_AVX512_PANELS_TABLES_H
#define RUVM_KERNELS_AVX512_PANELS_TABLES_H

#include "kernels/avx512_panels.h"

enum {
    TABLE_COLS = 16,       /* of a word */
    TABLE_PAIR_WORDS = 64, /* bytes of a word of each row of two panels */
    TABLE_RUN = 16,        /* words that sums of 16 bits have room for */
    TABLE_MAX = 64,        /* words that tables are made for at a time */
    TABLE_PAIRS = 4        /* of panels, which share what is loaded of tables */
};

/* The sums of a word's fields: two registers for the first, one each for the others. */
struct panel_table {
    __m512i of[4];
};

/* ---- tables ------------------------------------------------------------------------ */

/* Sums of four columns, by the bits 0, 1, 3 and 4 of an entry: packed to 16 bits together with
 * those of another column, that of bit 2, the entries are in order. */
X86_INLINE __m512i table_sums(const int8_t *x)
{
    const __m512i bits = _mm512_setr_epi32(0, 1, 0x100, 0x101, 0x10000, 0x10001, 0x10100, 0x10101,
                                           0x1000000, 0x1000001, 0x1000100, 0x1000101, 0x1010000,
                                           0x1010001, 0x1010100, 0x1010101);
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), bits, panel_x(x));
}

/* sums + the i-th of four columns. */
X86_INLINE __m512i table_plus(__m512i sums, const int8_t *x, uint32_t i)
{
    return _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(1 << 8 * i), panel_x(x));
}

/* Those of 16 columns. Bit 4b + f of a word is column 4f + b; x is put in the order in which
 * bits come: four of the bits of each field, and then what they leave over. */
X86_INLINE void table_make(struct panel_table *t, const int8_t *x)
{
    const __m128i order = _mm_setr_epi8(0, 4, 12, 1, 9, 13, 6, 10, 14, 3, 11, 15, 8, 5, 2, 7);
    _Alignas(16) int8_t ordered[TABLE_COLS];
    const int8_t *rest = ordered + 12;
    _mm_store_si128((void *)ordered, _mm_shuffle_epi8(x86_load16(x), order));
    __m512i a = table_sums(ordered), b = table_sums(ordered + 4), c = table_sums(ordered + 8);
    __m512i more = table_plus(a, rest, 1);
    t->of[0] = _mm512_packs_epi32(a, table_plus(a, rest, 0));
    t->of[1] = _mm512_packs_epi32(more, table_plus(more, rest, 0));
    t->of[2] = _mm512_packs_epi32(b, table_plus(b, rest, 2));
    t->of[3] = _mm512_packs_epi32(c, table_plus(c, rest, 3));
}

/* ---- rows -------------------------------------------------------------------------- */

/* What the fields of 32 words give. */
X86_INLINE __m512i table_look_up(__m512i words, const struct panel_table *t)
{
    __m512i second = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 6), t->of[2]);
    __m512i third = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 11), t->of[3]);
    __m512i first = _mm512_permutex2var_epi16(t->of[0], words, t->of[1]);
    return _mm512_add_epi16(first, _mm512_add_epi16(second, third));
}

/* Words of each row that are multiplied by one vector. */
struct table_part {
    const struct panel_table *tables;
    uint32_t first, n, vector;
    int is_first;  /* nothing has been summed up yet */
    __m512i start; /* minus the sum of x */
};

/* Of pairs of panels. */
struct table_sums {
    __m512i of[TABLE_PAIRS][2];
};

/* Adds the words from w on to the sums, as many as 16 bits have room for at a time. */
X86_INLINE void table_add(uint32_t pairs, struct table_sums *s, const uint8_t *w, size_t pair_bytes,
                          const struct panel_table *t, uint32_t n)
{
    __m512i run[TABLE_PAIRS] = {0};
    for (const struct panel_table *end = t + n; t != end; t++, w += TABLE_PAIR_WORDS) {
        X86_UNROLL
        for (uint32_t p = 0; p < pairs; p++)
            run[p] = _mm512_add_epi16(run[p], table_look_up(panel_load(w + p * pair_bytes), t));
    }
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++) {
        __m512i first = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(run[p]));
        __m512i second = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(run[p], 1));
        s->of[p][0] = _mm512_add_epi32(s->of[p][0], first);
        s->of[p][1] = _mm512_add_epi32(s->of[p][1], second);
    }
}

/* Levels are 2u - 1. */
static inline void table_store(const struct ruvm_matmul_panels *m, const struct table_part *part,
                               uint32_t r, __m512i sums)
{
    const uint32_t left = m->n_rows - r;
    const __mmask16 rows = left < RUVM_PANEL_ROWS ? (__mmask16)((1u << left) - 1) : 0xffff;
    const int32_t *out = m->out + (size_t)part->vector * m->out_stride + r;
    __m512i before = part->is_first ? part->start : _mm512_maskz_loadu_epi32(rows, out);
    panel_store(m, r, part->vector, _mm512_add_epi32(before, _mm512_slli_epi32(sums, 1)));
}

/* The pairs of panels at w. Their rows are those from r on; the first panel of an odd one is not
 * among them. */
X86_INLINE void table_tile(uint32_t pairs, const struct ruvm_matmul_panels *m,
                           const struct table_part *part, const uint8_t *w, uint32_t r, int odd)
{
    const size_t pair_bytes = 2 * (size_t)m->panel_bytes;
    struct table_sums s;
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        s.of[p][0] = s.of[p][1] = _mm512_setzero_si512();
    w += (size_t)part->first * TABLE_PAIR_WORDS;
    for (uint32_t i = 0; i < part->n; i += TABLE_RUN, w += TABLE_RUN * TABLE_PAIR_WORDS)
        table_add(pairs, &s, w, pair_bytes, part->tables + i,
                  part->n - i < TABLE_RUN ? part->n - i : TABLE_RUN);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++) {
        if (!odd) {
            table_store(m, part, r, s.of[p][0]);
            r += RUVM_PANEL_ROWS;
        }
        if (r < m->n_rows)
            table_store(m, part, r, s.of[p][1]);
        r += RUVM_PANEL_ROWS;
    }
}

static inline void table_walk(const struct ruvm_matmul_panels *m, const struct table_part *part)
{
    const uint32_t pair = 2 * RUVM_PANEL_ROWS, many = TABLE_PAIRS * pair;
    const size_t pair_bytes = 2 * (size_t)m->panel_bytes;
    const uint8_t *w = m->w;
    uint32_t r = 0;
    if (m->is_odd) {
        table_tile(1, m, part, w - m->panel_bytes, r, 1);
        r += RUVM_PANEL_ROWS;
        w += m->panel_bytes;
    }
    for (; r + many - RUVM_PANEL_ROWS < m->n_rows; r += many, w += TABLE_PAIRS * pair_bytes)
        table_tile(TABLE_PAIRS, m, part, w, r, 0);
    for (; r < m->n_rows; r += pair, w += pair_bytes)
        table_tile(1, m, part, w, r, 0);
}

static inline void panel_tables(const struct ruvm_matmul_panels *m)
{
    struct panel_table tables[TABLE_MAX];
    const uint32_t n = m->n_cols / TABLE_COLS;
    for (uint32_t v = 0; v < m->n_vecs; v++) {
        const int8_t *x = m->x + (size_t)v * m->x_stride;
        const __m512i start = _mm512_srai_epi32(panel_s8_start(x, m->n_cols), 7);
        for (uint32_t i = 0; i < n; i += TABLE_MAX) {
            const struct table_part part = {.tables = tables,
                                            .first = m->first_col / TABLE_COLS + i,
                                            .n = n - i < TABLE_MAX ? n - i : TABLE_MAX,
                                            .vector = v,
                                            .is_first = i == 0,
                                            .start = start};
            for (uint32_t j = 0; j < part.n; j++)
                table_make(&tables[j], x + (size_t)(i + j) * TABLE_COLS);
            table_walk(m, &part);
        }
    }
}

#endif
