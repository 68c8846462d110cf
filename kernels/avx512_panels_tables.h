/* AVX-512 panels by look-up: BINARY.
 *
 * A word holds 16 columns of a row, and of its three fields, of 6, 5 and 5 bits, each is an index
 * into the sums that its columns of x can give, each plus or minus: tables of 64, 32 and 32 such,
 * 16 bits each, made once a vector. An index may have anything above its bits, so a field needs a
 * shift at most.
 *
 * 16 columns of 32 rows, 512 products, take three look-ups, two shifts and three additions. Each
 * keeps one of a Zen 4's four units busy for two cycles, so that is four, where VNNI takes
 * eight. Units 1 and 2 look up, 2 and 3 shift, 0 and 1 multiply and all add, so one of the shifts
 * is a multiplication; measured are about 4.4 cycles. */
#ifndef RUVM_KERNELS_AVX512_PANELS_TABLES_H
#define RUVM_KERNELS_AVX512_PANELS_TABLES_H

#include "kernels/avx512_panels.h"
#include "kernels/panel_walk.h"

enum {
    TABLE_COLS = 16,       /* of a word */
    TABLE_PAIR_WORDS = 64, /* bytes of a word of each row of two panels */
    TABLE_RUN = 16,        /* words whose sums, at most 256 * 127, fit into 16 bits */
    TABLE_NEAREST = 64,    /* words that tables are made for at a time: half of the first cache */
    TABLE_MOST = 128,      /* the same where weights come from memory */
    TABLE_GROUPS = 4,      /* whose multipliers are together in 16 bits */
    TABLE_PAIRS = 4,       /* of panels, which share what is loaded of tables */
    TABLE_NEAR = 256 << 10 /* bytes of panels that are walked for all vectors in turn */
};

/* The sums of a word's fields: two registers for the first, one each for the others. */
struct panel_table {
    __m512i of[4];
};

/* ---- tables ------------------------------------------------------------------------ */

/* What the tables of a word are made of: its columns in the order in which bits come, four of the
 * bits of each field and then what they leave over; for each field minus its sum, which is what no
 * bit at all stands for; and twice what is left over, in both halves of a lane. */
struct table_x {
    int8_t of[TABLE_COLS];
    int32_t starts[4], rest[4];
};

/* Bit 4b + f of a word is column 4f + b. */
X86_INLINE void table_order(struct table_x *t, const int8_t *x)
{
    const __m128i order = _mm_setr_epi8(0, 4, 12, 1, 9, 13, 6, 10, 14, 3, 11, 15, 8, 5, 2, 7);
    const __m128i left = _mm_setr_epi32(0x101, 0x10000, 0x1000000, 0);
    const __m128i high =
        _mm_setr_epi8(-1, 12, -1, 12, -1, 13, -1, 13, -1, 14, -1, 14, -1, 15, -1, 15);
    __m128i of = _mm_shuffle_epi8(x86_load16(x), order), zero = _mm_setzero_si128();
    __m128i sums = _mm_dpbusd_epi32(zero, left, _mm_shuffle_epi32(of, 0xff));
    sums = _mm_dpbusd_epi32(sums, _mm_set1_epi8(1), of);
    _mm_storeu_si128((void *)t->of, of);
    _mm_storeu_si128((void *)t->starts, _mm_sub_epi32(zero, sums));
    _mm_storeu_si128((void *)t->rest, _mm_srai_epi16(_mm_shuffle_epi8(of, high), 7));
}

/* Field f but for its sixth column. start + twice the sums of four columns, by the bits 0, 1, 3
 * and 4 of an entry: packed to 16 bits, once more for bit 2, the entries are in order. */
X86_INLINE __m512i table_field(const struct table_x *t, uint32_t f, uint32_t rest)
{
    const __m512i twice = _mm512_setr_epi32(0, 2, 0x200, 0x202, 0x20000, 0x20002, 0x20200, 0x20202,
                                            0x2000000, 0x2000002, 0x2000200, 0x2000202, 0x2020000,
                                            0x2020002, 0x2020200, 0x2020202);
    __m512i sums =
        _mm512_dpbusd_epi32(_mm512_set1_epi32(t->starts[f]), twice, panel_x(t->of + (size_t)4 * f));
    sums = _mm512_packs_epi32(sums, sums);
    return _mm512_mask_add_epi16(sums, 0xf0f0f0f0, sums, _mm512_set1_epi32(t->rest[rest]));
}

X86_INLINE void table_of(struct panel_table *t, const struct table_x *x)
{
    t->of[0] = table_field(x, 0, 0);
    t->of[1] = _mm512_add_epi16(t->of[0], _mm512_set1_epi32(x->rest[1]));
    t->of[2] = table_field(x, 1, 2);
    t->of[3] = table_field(x, 2, 3);
}

/* Those of n words. In two loops, for a store that is read at once waits. */
static inline void table_make(struct panel_table *t, const int8_t *x, uint32_t n)
{
    struct table_x ordered[TABLE_MOST];
    for (uint32_t i = 0; i < n; i++)
        table_order(&ordered[i], x + (size_t)i * TABLE_COLS);
    for (uint32_t i = 0; i < n; i++)
        table_of(&t[i], &ordered[i]);
}

/* ---- rows -------------------------------------------------------------------------- */

/* The compiler is not told that it is memory, or it would load it for each use. */
X86_INLINE __m512i table_load(const uint8_t *w)
{
    __m512i words = panel_load(w);
    __asm__("" : "+v"(words));
    return words;
}

/* words >> 6, multiplied. The compiler is not told by what, or it would shift. */
X86_INLINE __m512i table_shift_6(__m512i words)
{
    __m512i factor = _mm512_set1_epi16(1 << (16 - 6));
    __asm__("" : "+v"(factor));
    return _mm512_mulhi_epu16(words, factor);
}

/* Words of each row that are multiplied by one vector, and where their sums go. */
struct table_part {
    const struct panel_table *tables;
    uint32_t first, n;
    int is_first; /* nothing has been summed up yet */
    int32_t *out;
};

/* Parts that are multiplied by panels before the next ones are read. */
struct table_parts {
    struct table_part of[RUVM_PANELS_MAX_PARTS];
    uint32_t n, words;
    int are_far; /* in memory */
};

/* Pairs of panels that share tables; how many words have one multiplier, or 0: none has any.
 * Constants, so that the compiler makes a function of each. */
struct table_kind {
    uint32_t pairs, words;
};

/* A part's words of the first of some pairs, its multipliers and tables. */
struct table_at {
    const uint8_t *w, *mult, *ahead; /* ahead: what is asked for next, or NULL */
    size_t pair_bytes;
    const struct panel_table *tables;
};

/* From memory the pairs after these are asked for in one stream, a line for each one of these that
 * is read: four streams, and those with gaps, give half of its rate. */
X86_INLINE void table_ask_ahead(struct table_at *at, uint32_t lines)
{
    if (!at->ahead)
        return;
    X86_UNROLL
    for (uint32_t i = 0; i < lines; i++, at->ahead += TABLE_PAIR_WORDS)
        _mm_prefetch((const char *)at->ahead, _MM_HINT_T1);
}

/* Adds to run. The compiler is not told that it is a sum, or it would begin with those of fields
 * that come last. */
X86_INLINE void table_sum(uint32_t pairs, __m512i *run, const __m512i *of)
{
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++) {
        run[p] = _mm512_add_epi16(run[p], of[p]);
        __asm__("" : "+v"(run[p]));
    }
}

/* Adds what the fields of the i-th words give. All pairs take each step together, and the longest
 * look-ups come first: in another order the units are worse used, and it takes up to a tenth
 * longer. */
X86_INLINE void table_add(uint32_t pairs, __m512i *run, struct table_at *at, uint32_t i)
{
    const struct panel_table *t = &at->tables[i];
    const uint8_t *w = at->w + (size_t)i * TABLE_PAIR_WORDS;
    __m512i first[TABLE_PAIRS], second[TABLE_PAIRS], third[TABLE_PAIRS];
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        first[p] = table_load(w + p * at->pair_bytes);
    table_ask_ahead(at, pairs);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        third[p] = _mm512_srli_epi16(first[p], 11);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        second[p] = table_shift_6(first[p]);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        first[p] = _mm512_permutex2var_epi16(t->of[0], first[p], t->of[1]);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        third[p] = _mm512_permutexvar_epi16(third[p], t->of[3]);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        second[p] = _mm512_permutexvar_epi16(second[p], t->of[2]);
    table_sum(pairs, run, third);
    table_sum(pairs, run, second);
    table_sum(pairs, run, first);
}

/* Sums of either panel of pairs. */
struct table_sums {
    __m512i of[TABLE_PAIRS][2];
};

/* Adds the sums of the n words from i on, either panel's times its half of mult's lanes. */
X86_INLINE void table_run(uint32_t pairs, struct table_sums *s, struct table_at *at, uint32_t i,
                          uint32_t n, const __m512i *mult)
{
    __m512i run[TABLE_PAIRS] = {0};
    const uint32_t end = i + n;
    for (; i + 2 <= end; i += 2) {
        table_add(pairs, run, at, i);
        table_add(pairs, run, at, i + 1);
    }
    if (i < end)
        table_add(pairs, run, at, i);
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++) {
        const __m512i first = _mm512_set1_epi32(15), second = _mm512_set1_epi32(15 << 16);
        s->of[p][0] = _mm512_dpwssd_epi32(s->of[p][0], run[p], _mm512_and_si512(mult[p], first));
        s->of[p][1] = _mm512_dpwssd_epi32(s->of[p][1], run[p], _mm512_and_si512(mult[p], second));
    }
}

/* A part's words, the first of which is a row's `first`, with multipliers. */
X86_INLINE void table_groups(struct table_kind k, struct table_sums *s, struct table_at *at,
                             uint32_t first, uint32_t n)
{
    uint32_t g = first / k.words, skip = first % k.words, words;
    for (uint32_t i = 0; i < n; i += words, g++, skip = 0) {
        const uint8_t *together = at->mult + (size_t)(g / TABLE_GROUPS) * TABLE_PAIR_WORDS;
        const __m128i by = _mm_cvtsi32_si128((int32_t)(g % TABLE_GROUPS * 4));
        __m512i mult[TABLE_PAIRS];
        table_ask_ahead(at, 1);
        X86_UNROLL
        for (uint32_t p = 0; p < k.pairs; p++)
            mult[p] = _mm512_srl_epi16(panel_load(together + p * at->pair_bytes), by);
        words = k.words - skip < n - i ? k.words - skip : n - i;
        if (words == k.words)
            table_run(k.pairs, s, at, i, k.words, mult);
        else
            table_run(k.pairs, s, at, i, words, mult);
    }
}

X86_INLINE void table_plain(uint32_t pairs, struct table_sums *s, struct table_at *at, uint32_t n)
{
    __m512i one[TABLE_PAIRS];
    X86_UNROLL
    for (uint32_t p = 0; p < pairs; p++)
        one[p] = _mm512_set1_epi16(1);
    for (uint32_t i = 0; i < n; i += TABLE_RUN)
        table_run(pairs, s, at, i, n - i < TABLE_RUN ? n - i : TABLE_RUN, one);
}

static inline void table_store(const struct ruvm_matmul_panels *m, const struct table_part *part,
                               uint32_t r, __m512i sums)
{
    const uint32_t left = m->n_rows - r;
    const __mmask16 rows = left < RUVM_PANEL_ROWS ? (__mmask16)((1u << left) - 1) : 0xffff;
    if (!part->is_first)
        sums = _mm512_add_epi32(sums, _mm512_maskz_loadu_epi32(rows, part->out + r));
    _mm512_mask_storeu_epi32(part->out + r, rows, sums);
}

/* A part of the pairs of panels at w. Their rows are those from r on; the first panel of an odd
 * one is not among them. Returns what is to be asked for next. */
X86_INLINE const uint8_t *table_tile(struct table_kind k, const struct ruvm_matmul_panels *m,
                                     const struct table_part *part, const uint8_t *w,
                                     const uint8_t *ahead, uint32_t r, int odd)
{
    struct table_at at = {w + (size_t)part->first * TABLE_PAIR_WORDS,
                          w + 2 * (size_t)m->words_bytes, ahead, 2 * (size_t)m->panel_bytes,
                          part->tables};
    struct table_sums s;
    X86_UNROLL
    for (uint32_t p = 0; p < k.pairs; p++)
        s.of[p][0] = s.of[p][1] = _mm512_setzero_si512();
    if (k.words)
        table_groups(k, &s, &at, part->first, part->n);
    else
        table_plain(k.pairs, &s, &at, part->n);
    X86_UNROLL
    for (uint32_t p = 0; p < k.pairs; p++) {
        if (!odd) {
            table_store(m, part, r, s.of[p][0]);
            r += RUVM_PANEL_ROWS;
        }
        if (r < m->n_rows)
            table_store(m, part, r, s.of[p][1]);
        r += RUVM_PANEL_ROWS;
    }
    return at.ahead;
}

X86_INLINE void table_tiles(struct table_kind k, const struct ruvm_matmul_panels *m,
                            const struct table_parts *parts, const uint8_t *w, uint32_t r, int odd)
{
    const uint8_t *ahead = parts->are_far ? w + k.pairs * 2 * (size_t)m->panel_bytes : NULL;
    for (uint32_t i = 0; i < parts->n; i++)
        ahead = table_tile(k, m, &parts->of[i], w, ahead, r, odd);
}

X86_INLINE void table_walk(uint32_t words, const struct ruvm_matmul_panels *m,
                           const struct table_parts *parts)
{
    const uint32_t pair = 2 * RUVM_PANEL_ROWS, many = TABLE_PAIRS * pair;
    const size_t pair_bytes = 2 * (size_t)m->panel_bytes;
    const struct table_kind one = {1, words}, four = {TABLE_PAIRS, words};
    const uint8_t *w = m->w;
    uint32_t r = 0;
    if (m->is_odd) {
        table_tiles(one, m, parts, w - m->panel_bytes, r, 1);
        r += RUVM_PANEL_ROWS;
        w += m->panel_bytes;
    }
    for (; r + many - RUVM_PANEL_ROWS < m->n_rows; r += many, w += TABLE_PAIRS * pair_bytes)
        table_tiles(four, m, parts, w, r, 0);
    for (; r < m->n_rows; r += pair, w += pair_bytes)
        table_tiles(one, m, parts, w, r, 0);
}

static inline void table_walk_groups(const struct ruvm_matmul_panels *m,
                                     const struct table_parts *parts)
{
    switch (m->group / TABLE_COLS) {
    case 0: table_walk(0, m, parts); return;
    case 1: table_walk(1, m, parts); return;
    case 2: table_walk(2, m, parts); return;
    default: table_walk(4, m, parts);
    }
}

static inline void table_vector(const struct ruvm_matmul_panels *m, uint32_t v)
{
    struct panel_table tables[TABLE_MOST];
    struct table_parts parts = {.are_far = m->is_far && v == 0};
    const uint32_t room = parts.are_far ? TABLE_MOST : TABLE_NEAREST;
    for (uint32_t i = 0; i < panel_n_parts(m); i++) {
        const struct ruvm_matmul_panels p = panel_part(m, i);
        const int8_t *x = p.x + (size_t)v * m->x_stride;
        for (uint32_t c = 0, n; c < p.n_cols; c += n * TABLE_COLS) {
            n = (p.n_cols - c) / TABLE_COLS;
            n = n < room - parts.words ? n : room - parts.words;
            table_make(tables + parts.words, x + c, n);
            parts.of[parts.n++] = (struct table_part){.tables = tables + parts.words,
                                                      .first = (p.first_col + c) / TABLE_COLS,
                                                      .n = n,
                                                      .is_first = c == 0,
                                                      .out = p.out + (size_t)v * m->out_stride};
            parts.words += n;
            if (parts.words == room) {
                table_walk_groups(m, &parts);
                parts.n = parts.words = 0;
            }
        }
    }
    if (parts.n)
        table_walk_groups(m, &parts);
}

/* How many rows from m->w on are walked for all vectors before the next ones: whole pairs. */
static inline uint32_t table_near_rows(const struct ruvm_matmul_panels *m)
{
    const uint32_t pairs = TABLE_NEAR / (2 * m->panel_bytes);
    const uint32_t rows = (pairs ? pairs : 1) * 2 * RUVM_PANEL_ROWS;
    return m->n_vecs == 1 ? m->n_rows : m->is_odd ? rows - RUVM_PANEL_ROWS : rows;
}

static inline void panel_tables(const struct ruvm_matmul_panels *m)
{
    struct ruvm_matmul_panels near = *m;
    for (uint32_t r = 0, n; r < m->n_rows; r += n) {
        n = table_near_rows(&near);
        near.n_rows = n = n < m->n_rows - r ? n : m->n_rows - r;
        for (uint32_t v = 0; v < m->n_vecs; v++)
            table_vector(&near, v);
        near.w += (size_t)n / RUVM_PANEL_ROWS * m->panel_bytes;
        near.out += n;
        near.is_odd = 0;
    }
}

#endif
