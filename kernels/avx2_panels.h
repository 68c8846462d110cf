/* AVX2 panels: a register is four columns of 8 rows, and 4 bytes of x go to all lanes.
 *
 * No sum crosses lanes, and the weights of a vector alone are read in one stream. INT8 is
 * multiplied much as in avx2.c: |x| by the weight with the sign of x. Codes u are unsigned as they
 * are; their sums of 16 or 32 columns fit into 16 bits, and the instruction that widens them
 * takes their multiplier along. */
#ifndef RUVM_KERNELS_AVX2_PANELS_H
#define RUVM_KERNELS_AVX2_PANELS_H

#include "kernels/panel_walk.h"
#include "kernels/x86_codes.h"

enum {
    PANEL_WORDS = 64, /* bytes of four columns, or of a word of codes */
    PANEL_HALF = 32,  /* those of the first 8 rows */
    PANEL_HALVES = 2, /* of a panel, and of a step of codes */
    PANEL_HALF_ROWS = 8,
    PANEL_PAIR = 2,  /* panels, or vectors, of a tile of INT8 */
    PANEL_VECS = 4,  /* that share the unpacking of codes */
    PANEL_STEP = 32, /* columns of codes */
    PANEL_FOURS = 8, /* four columns each, or half of them at the end of a row */
    PANEL_MAX_STEPS = RUVM_PANELS_MAX_COLS / PANEL_STEP
};

X86_INLINE __m256i panel_x(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Writes the sums of the 8 rows from row r on, as many as there are. */
X86_INLINE void panel_store(const struct ruvm_matmul_panels *m, uint32_t r, uint32_t v,
                            __m256i sums)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    int32_t *out = m->out + (size_t)v * m->out_stride + r;
    if (m->n_rows >= r + PANEL_HALF_ROWS) {
        x86_store(out, sums);
    } else if (m->n_rows > r) {
        __m256i left = _mm256_set1_epi32((int32_t)(m->n_rows - r));
        _mm256_maskstore_epi32(out, _mm256_cmpgt_epi32(left, lanes), sums);
    }
}

/* ---- INT8 ---------------------------------------------------------------------------- */

/* What a tile is: constants, so that the compiler makes a function of each. */
struct panel_tile {
    uint32_t panels, vecs;
};

/* Four bytes of x in all lanes: |x|, and all bits where it is negative. */
struct panel_s8_x {
    __m256i magnitude, negative;
};

X86_INLINE struct panel_s8_x panel_s8_x(const int8_t *x)
{
    __m256i four = panel_x(x);
    return (struct panel_s8_x){_mm256_abs_epi8(four),
                               _mm256_cmpgt_epi8(_mm256_setzero_si256(), four)};
}

/* w with the sign of x, but for a missing 1 where x is negative: two products, at most
 * 2 * 127 * 128, fit into 16 bits. */
X86_INLINE __m256i panel_s8_add(__m256i acc, __m256i w, struct panel_s8_x x)
{
    __m256i pairs = _mm256_maddubs_epi16(x.magnitude, _mm256_xor_si256(w, x.negative));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* What is missing then, of every row the same: the sum of |x| where x is negative. */
static inline int32_t panel_s8_start(const int8_t *x, uint32_t n_cols)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i sum = zero;
    for (uint32_t c = 0; c < n_cols; c += 16) {
        __m128i below = _mm_max_epi8(_mm_sub_epi8(zero, x86_load16(x + c)), zero);
        sum = _mm_add_epi64(sum, _mm_sad_epu8(below, zero));
    }
    return _mm_cvtsi128_si32(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
}

X86_INLINE void panel_s8_tile(struct panel_tile t, const struct ruvm_matmul_panels *m, uint32_t r,
                              uint32_t v, const int32_t *starts)
{
    const uint8_t *w = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes +
                       (size_t)m->first_col * RUVM_PANEL_ROWS;
    const int8_t *x = m->x + (size_t)v * m->x_stride;
    const uint32_t halves = t.panels * PANEL_HALVES;
    __m256i acc[PANEL_PAIR * PANEL_HALVES][PANEL_PAIR];
    X86_UNROLL
    for (uint32_t i = 0; i < halves * t.vecs; i++)
        acc[i / t.vecs][i % t.vecs] = _mm256_set1_epi32(starts[i % t.vecs]);
    for (uint32_t c = 0; c < m->n_cols; c += 4, w += PANEL_WORDS) {
        struct panel_s8_x xs[PANEL_PAIR];
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++)
            xs[j] = panel_s8_x(x + j * (size_t)m->x_stride + c);
        X86_UNROLL
        for (uint32_t i = 0; i < halves; i++) {
            __m256i ws = x86_load(w + i / 2 * (size_t)m->panel_bytes + i % 2 * PANEL_HALF);
            X86_UNROLL
            for (uint32_t j = 0; j < t.vecs; j++)
                acc[i][j] = panel_s8_add(acc[i][j], ws, xs[j]);
        }
    }
    X86_UNROLL
    for (uint32_t i = 0; i < halves; i++) {
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++)
            panel_store(m, r + i * PANEL_HALF_ROWS, v + j, acc[i][j]);
    }
}

enum { PANEL_SHARED = 64 }; /* vectors that share a walk over the weights */

/* A vector alone walks one panel at a time, so that the whole matrix is one stream. Of narrow
 * panels two share what is made of x, which counts where the weights are near. */
enum { PANEL_NARROW = 256 };

static inline void panel_s8_vector(const struct ruvm_matmul_panels *m, uint32_t v,
                                   const int32_t *start)
{
    const struct panel_tile pair = {PANEL_PAIR, 1}, one = {1, 1};
    const uint32_t step = PANEL_PAIR * RUVM_PANEL_ROWS;
    uint32_t r = 0;
    for (; m->n_cols < PANEL_NARROW && r + RUVM_PANEL_ROWS < m->n_rows; r += step)
        panel_s8_tile(pair, m, r, v, start);
    for (; r < m->n_rows; r += RUVM_PANEL_ROWS)
        panel_s8_tile(one, m, r, v, start);
}

/* Vectors by two, a last one alone. */
static inline void panel_s8_block(const struct ruvm_matmul_panels *m)
{
    const struct panel_tile four = {PANEL_PAIR, PANEL_PAIR}, wide = {1, PANEL_PAIR};
    const uint32_t step = PANEL_PAIR * RUVM_PANEL_ROWS, by_two = m->n_vecs / 2 * 2;
    int32_t starts[PANEL_SHARED];
    for (uint32_t v = 0; v < m->n_vecs; v++)
        starts[v] = panel_s8_start(m->x + (size_t)v * m->x_stride, m->n_cols);
    uint32_t r = 0;
    for (; by_two && r + RUVM_PANEL_ROWS < m->n_rows; r += step)
        for (uint32_t v = 0; v < by_two; v += 2)
            panel_s8_tile(four, m, r, v, starts + v);
    for (uint32_t v = 0; r < m->n_rows && v < by_two; v += 2)
        panel_s8_tile(wide, m, r, v, starts + v);
    if (by_two < m->n_vecs)
        panel_s8_vector(m, by_two, starts + by_two);
}

static inline void panel_s8(const struct ruvm_matmul_panels *m)
{
    struct ruvm_matmul_panels block = *m;
    for (uint32_t v = 0; v < m->n_vecs; v += PANEL_SHARED) {
        block.n_vecs = m->n_vecs - v < PANEL_SHARED ? m->n_vecs - v : PANEL_SHARED;
        block.x = m->x + (size_t)v * m->x_stride;
        block.out = m->out + (size_t)v * m->out_stride;
        panel_s8_block(&block);
    }
}

/* ---- codes to bytes ------------------------------------------------------------------ */

X86_INLINE int panel_max(int bits)
{
    return (1 << bits) - 1;
}

/* A step's registers of 8 rows. */
struct panel_words {
    __m256i w[4];
};

/* Those of the first `fours` times four columns. INT3 has both of its parts in each half. */
X86_INLINE struct panel_words panel_words(int bits, uint32_t fours, const uint8_t *at)
{
    const uint32_t half = bits == 3 ? 3 : ((uint32_t)bits + 1) / 2;
    const uint32_t n = fours == PANEL_FOURS ? (uint32_t)bits : half;
    struct panel_words s = {{_mm256_setzero_si256()}};
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++)
        s.w[i] = x86_load(at + (size_t)i * PANEL_WORDS);
    return s;
}

X86_INLINE __m256i panel_field(__m256i w, uint32_t down, int mask)
{
    if (down)
        w = _mm256_srl_epi16(w, _mm_cvtsi32_si128((int32_t)down));
    return _mm256_and_si256(w, _mm256_set1_epi8((char)mask));
}

/* The k-th four columns of a step. A whole one of INT4 has its first half in lower nibbles. */
X86_INLINE __m256i panel_four(int bits, const struct panel_words *s, uint32_t fours, uint32_t k)
{
    const uint32_t codes = bits == 3 ? 4 : 8 / (uint32_t)bits; /* that a byte holds */
    if (bits == 4 && fours == PANEL_FOURS)
        return panel_field(s->w[k % 4], k / 4 * 4, panel_max(bits));
    if (bits != 3)
        return panel_field(s->w[k / codes], k % codes * (uint32_t)bits, panel_max(bits));
    __m256i high = s->w[2];
    if (k < 2)
        high = _mm256_sll_epi16(high, _mm_cvtsi32_si128(2 - (int32_t)k));
    return _mm256_or_si256(panel_field(s->w[k / codes], k % codes * 2, 3),
                           panel_field(high, k < 2 ? 0 : k - 2, 4));
}

/* ---- codes times x ------------------------------------------------------------------- */

/* Constants of a walk: whether there is a multiplier for each 16 columns, for each 32 or
 * more, or none. */
struct panel_kind {
    int bits, sixteens, plain;
    uint32_t vecs, halves; /* of a tile */
};

/* A step's -max times the sums of x, in 16 bits as the products are summed up: of all 32
 * columns, or of 16 and 16. */
struct panel_start {
    int32_t of[PANEL_HALVES];
};

static inline int32_t panel_start_16(int bits, const int8_t *x)
{
    __m128i sums = _mm_maddubs_epi16(_mm_set1_epi8(1), x86_load16(x));
    sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0x4e));
    sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0xb1));
    return _mm_cvtsi128_si32(_mm_mullo_epi16(sums, _mm_set1_epi16((short)-panel_max(bits))));
}

static inline void panel_starts_of(struct panel_start *s, struct panel_kind kind, const int8_t *x,
                                   uint32_t n_cols)
{
    for (uint32_t c = 0; c < n_cols; c += PANEL_STEP, s++) {
        int32_t second = c + 16 < n_cols ? panel_start_16(kind.bits, x + c + 16) : 0;
        __m128i a = _mm_cvtsi32_si128(panel_start_16(kind.bits, x + c));
        if (!kind.sixteens)
            a = _mm_add_epi16(a, _mm_cvtsi32_si128(second));
        s->of[0] = _mm_cvtsi128_si32(a);
        s->of[1] = second;
    }
}

/* The multipliers of 8 rows for a step that begins with the g-th group of those at mult, or for
 * its first 16 columns and the others, in both halves of each lane. */
X86_INLINE void panel_mult(__m256i by[PANEL_HALVES], struct panel_kind kind, const uint8_t *mult,
                           uint32_t g)
{
    const __m256i spread = _mm256_setr_epi8(0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1,
                                            4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1, 7, -1, 7, -1);
    __m128i eight = _mm_loadl_epi64((const void *)(mult + (size_t)(g / 2) * RUVM_PANEL_ROWS));
    __m256i m = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(eight), spread);
    by[1] = _mm256_srli_epi16(m, 4);
    if (!kind.sixteens)
        m = _mm256_srl_epi16(m, _mm_cvtsi32_si128((int32_t)(g % 2 * 4)));
    by[0] = _mm256_and_si256(m, _mm256_set1_epi16(15));
}

/* Where the vectors of a tile are, at the columns of a step. */
struct panel_at {
    const int8_t *x;
    size_t x_stride;
    const struct panel_start *starts;
};

/* 2 sums + start is what levels, 2u - max, give: that fits into 16 bits again, whatever was
 * lost on the way. */
X86_INLINE __m256i panel_end_of(__m256i acc, __m256i sums, int32_t start, __m256i by)
{
    __m256i all = _mm256_add_epi16(_mm256_add_epi16(sums, sums), _mm256_set1_epi32(start));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(all, by));
}

/* acc[j] of 8 rows grow by the fours from `first` on, `n` of the `fours` of a step. */
X86_INLINE void panel_add(struct panel_kind kind, uint32_t fours, uint32_t first, uint32_t n,
                          __m256i *acc, const struct panel_words *words, const struct panel_at *at,
                          __m256i by)
{
    __m256i sums[PANEL_VECS];
    X86_UNROLL
    for (uint32_t k = first; k < first + n; k++) {
        __m256i u = panel_four(kind.bits, words, fours, k);
        X86_UNROLL
        for (uint32_t j = 0; j < kind.vecs; j++) {
            __m256i x = panel_x(at->x + j * at->x_stride + (size_t)4 * k);
            __m256i two = _mm256_maddubs_epi16(u, x);
            sums[j] = k == first ? two : _mm256_add_epi16(sums[j], two);
        }
    }
    X86_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++)
        acc[j] = panel_end_of(acc[j], sums[j],
                              at->starts[(size_t)j * PANEL_MAX_STEPS].of[first / 4], by);
}

/* The same by the first `fours` times four columns of a step at w. */
X86_INLINE void panel_step(struct panel_kind kind, uint32_t fours, __m256i *acc, const uint8_t *w,
                           const struct panel_at *at, const __m256i *by)
{
    const struct panel_words words = panel_words(kind.bits, fours, w);
    const uint32_t n = kind.sixteens ? PANEL_FOURS / 2 : fours;
    panel_add(kind, fours, 0, n, acc, &words, at, by[0]);
    if (n < fours)
        panel_add(kind, fours, n, n, acc, &words, at, by[1]);
}

/* As many rows of a panel as a tile has, at a step that begins with the g-th group of those
 * whose multipliers are at mult. */
X86_INLINE void panel_rows(struct panel_kind kind, uint32_t fours,
                           __m256i acc[PANEL_HALVES][PANEL_VECS], const uint8_t *w,
                           const uint8_t *mult, uint32_t g, const struct panel_at *at)
{
    X86_UNROLL
    for (uint32_t h = 0; h < kind.halves; h++) {
        __m256i by[PANEL_HALVES] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
        if (!kind.plain)
            panel_mult(by, kind, mult + (size_t)h * PANEL_HALF_ROWS, g);
        panel_step(kind, fours, acc[h], w + (size_t)h * PANEL_HALF, at, by);
    }
}

/* The rows from r on: a panel, or half of one. */
X86_INLINE void panel_codes_tile(struct panel_kind kind, const struct ruvm_matmul_panels *m,
                                 uint32_t r, uint32_t v, const struct panel_start *starts)
{
    const uint8_t *panel = m->w + (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes;
    const uint32_t bits = (uint32_t)kind.bits, group = kind.plain ? 0 : m->group;
    const uint32_t row = r % RUVM_PANEL_ROWS, log2 = group ? (uint32_t)__builtin_ctz(group) : 0;
    struct panel_at at = {m->x + (size_t)v * m->x_stride, m->x_stride, starts};
    __m256i acc[PANEL_HALVES][PANEL_VECS];
    X86_UNROLL
    for (uint32_t j = 0; j < kind.vecs; j++)
        acc[0][j] = acc[1][j] = _mm256_setzero_si256();
    struct panel_run run = panel_first_run(m, bits, group);
    do {
        const uint32_t end = run.first + run.n;
        const uint8_t *w = panel + run.words + row * PANEL_HALF / PANEL_HALF_ROWS;
        const uint8_t *mult = panel + run.mults + row;
        uint32_t c = run.first;
        for (; c + PANEL_STEP <= end; c += PANEL_STEP, at.x += PANEL_STEP, at.starts++) {
            panel_rows(kind, PANEL_FOURS, acc, w, mult, c >> log2, &at);
            w += (size_t)bits * PANEL_WORDS;
        }
        if (c < end)
            panel_rows(kind, PANEL_FOURS / 2, acc, w, mult, c >> log2, &at);
    } while (panel_next_run(&run, bits));
    X86_UNROLL
    for (uint32_t h = 0; h < kind.halves; h++) {
        X86_UNROLL
        for (uint32_t j = 0; j < kind.vecs; j++)
            panel_store(m, r + h * PANEL_HALF_ROWS, v + j, acc[h][j]);
    }
}

X86_INLINE void panel_codes_walk(struct panel_kind kind, const struct ruvm_matmul_panels *m)
{
    struct panel_start starts[PANEL_VECS * PANEL_MAX_STEPS];
    struct panel_kind one = kind;
    one.vecs = 1;
    one.halves = PANEL_HALVES;
    for (uint32_t v = 0, n; v < m->n_vecs; v += n) {
        n = v + PANEL_VECS <= m->n_vecs ? PANEL_VECS : 1;
        for (uint32_t j = 0; j < n; j++)
            panel_starts_of(starts + (size_t)j * PANEL_MAX_STEPS, kind,
                            m->x + (size_t)(v + j) * m->x_stride, m->n_cols);
        for (uint32_t r = 0; n > 1 && r < m->n_rows; r += PANEL_HALF_ROWS)
            panel_codes_tile(kind, m, r, v, starts);
        for (uint32_t r = 0; n == 1 && r < m->n_rows; r += RUVM_PANEL_ROWS)
            panel_codes_tile(one, m, r, v, starts);
    }
}

X86_INLINE void panel_codes(int bits, const struct ruvm_matmul_panels *m)
{
    if (m->group == 0)
        panel_codes_walk((struct panel_kind){bits, 0, 1, PANEL_VECS, 1}, m);
    else if (m->group == 16)
        panel_codes_walk((struct panel_kind){bits, 1, 0, PANEL_VECS, 1}, m);
    else
        panel_codes_walk((struct panel_kind){bits, 0, 0, PANEL_VECS, 1}, m);
}

#endif
