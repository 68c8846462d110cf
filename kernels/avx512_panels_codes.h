/* AVX-512 panels of packed codes: INT4, INT3 and INT2.
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

/* ---- one scale a row --------------------------------------------------------------- */

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

/* ---- multipliers ------------------------------------------------------------------- */

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

/* A vector alone reads panels with multipliers once, from caches as well. */
static inline int panel_codes_walk_once(const struct ruvm_matmul_panels *m)
{
    return panel_walks_once(m) || (m->n_vecs == 1 && m->group && m->part_cols);
}

X86_INLINE void panel_codes_once(int bits, const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_plain_once(bits, m);
    else if (m->group == 16)
        panel_groups_once(bits, 1, m);
    else
        panel_groups_once(bits, 0, m);
}

X86_INLINE void panel_codes(int bits, const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_plain(bits, m);
    else if (m->group == 16)
        panel_groups(bits, 1, m);
    else
        panel_groups(bits, 0, m);
}

#endif
