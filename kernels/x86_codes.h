/* x86 codes: packed weights times int8 for the AVX2 and the AVX-512 table.
 *
 * A step is 64 columns. Its codes u are spread to the bytes of two registers as 2u,
 * which as unsigned bytes multiply the signed ones of x; the level wanted is
 * 2u - max, so each sum starts at -max times the x it covers. The columns come out
 * of the words in an order of their own: x is brought into the same one beforehand,
 * once for all rows. In that order the four bytes of either register's lane i belong
 * to one group of 16 columns, so one multiplier a lane serves both.
 *
 * The two tables differ in how bytes are multiplied and added up: each defines the
 * functions that are declared here without a body. */
#ifndef RUVM_KERNELS_X86_CODES_H
#define RUVM_KERNELS_X86_CODES_H

#include "kernels/x86.h"

#define X86_INLINE static inline __attribute__((always_inline))

#ifdef __clang__
#define X86_UNROLL _Pragma("unroll")
#else
#define X86_UNROLL _Pragma("GCC unroll 8")
#endif

enum {
    X86_STEP = 64,      /* columns */
    X86_STEPS = 32,     /* that x is prepared for at a time */
    X86_VECS = 4,       /* that share the unpacking of weights */
    X86_STEP_BYTES = 32 /* at most */
};

/* 64 codes as 2u, or the 64 x they multiply. */
struct x86_pair {
    __m256i low, high;
};

struct x86_codes_x {
    struct x86_pair x;
    __m256i start; /* -max times the x of each lane */
};

/* Columns of the matrix that x has been prepared for. */
struct x86_codes_part {
    int first; /* of the matrix */
    uint32_t n_steps;
    uint32_t last_cols, last_bytes;  /* of the last step: 16 .. 64 columns */
    uint32_t first_byte, first_mult; /* where the part begins in a row and its multipliers */
    uint32_t mult_bytes;             /* from there on, of the part */
    uint32_t safe_rows;              /* that may be read in whole steps */
    uint32_t mult_at[X86_STEPS];     /* from first_mult on, where those of a step begin */
    __m256i mult_shift[X86_STEPS];   /* right shifts that bring its own one to each lane */
    struct x86_codes_x x[X86_VECS][X86_STEPS];
};

/* What a lane of sums starts at for max and these x. */
static inline __m256i x86_codes_start(int max, struct x86_pair x);
/* acc + mult * (start + products of w and x). */
static inline __m256i x86_codes_add(__m256i acc, struct x86_pair w, const struct x86_codes_x *x,
                                    __m256i mult);
/* Which bits of a lane hold its multiplier. */
static inline __m256i x86_codes_mult_mask(void);

/* ---- codes to bytes ---------------------------------------------------------------- */

/* Bytes that hold n columns. */
X86_INLINE uint32_t x86_codes_bytes(int bits, uint32_t n)
{
    uint32_t by16 = (n + 15) / 16, by32 = (n + 31) / 32;
    return bits == 4 ? by16 * 8 : bits == 3 ? by32 * 12 : bits == 2 ? by16 * 4 : by32 * 4;
}

X86_INLINE struct x86_pair x86_load_int4(const uint8_t *p)
{
    const __m256i mask = _mm256_set1_epi8(30);
    __m256i w = x86_load(p);
    return (struct x86_pair){_mm256_and_si256(_mm256_slli_epi16(w, 1), mask),
                             _mm256_and_si256(_mm256_srli_epi16(w, 3), mask)};
}

/* Two codes to a nibble: the lower half of a register takes the first, the other the
 * second one. */
X86_INLINE struct x86_pair x86_spread_int2(__m128i words)
{
    const __m256i twice = _mm256_setr_epi8(0, 2, 4, 6, 0, 2, 4, 6, 0, 2, 4, 6, 0, 2, 4, 6, 0, 0, 0,
                                           0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i w = _mm256_broadcastsi128_si256(words);
    __m256i low = _mm256_and_si256(w, mask);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(w, 4), mask);
    return (struct x86_pair){_mm256_shuffle_epi8(twice, low), _mm256_shuffle_epi8(twice, high)};
}

X86_INLINE struct x86_pair x86_load_int3(const uint8_t *p)
{
    __m128i first = x86_load16(p), second = x86_load16(p + 8); /* l0 l1 h0 l2, h0 l2 l3 h1 */
    __m128i lows = _mm_blend_epi32(first, _mm_shuffle_epi32(second, 0x94), 12);
    __m128i highs = _mm_shuffle_epi32(second, 0xf0);
    struct x86_pair w = x86_spread_int2(lows);
    const __m256i mask = _mm256_set1_epi8(8);
    __m256i h = _mm256_broadcastsi128_si256(_mm_srlv_epi32(highs, _mm_setr_epi32(0, 4, 0, 4)));
    __m256i low = _mm256_sllv_epi32(h, _mm256_setr_epi32(3, 3, 3, 3, 2, 2, 2, 2));
    __m256i high = _mm256_sllv_epi32(h, _mm256_setr_epi32(1, 1, 1, 1, 0, 0, 0, 0));
    w.low = _mm256_or_si256(w.low, _mm256_and_si256(low, mask));
    w.high = _mm256_or_si256(w.high, _mm256_and_si256(high, mask));
    return w;
}

X86_INLINE struct x86_pair x86_load_binary(const uint8_t *p)
{
    const __m256i mask = _mm256_set1_epi8(1);
    __m256i words = _mm256_broadcastq_epi64(_mm_loadl_epi64((const void *)p));
    __m256i w = _mm256_srlv_epi32(words, _mm256_setr_epi32(0, 0, 1, 1, 4, 4, 5, 5));
    __m256i low = _mm256_and_si256(w, mask);
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(w, 2), mask);
    return (struct x86_pair){_mm256_add_epi8(low, low), _mm256_add_epi8(high, high)};
}

X86_INLINE struct x86_pair x86_load_codes(int bits, const uint8_t *p)
{
    switch (bits) {
    case 4: return x86_load_int4(p);
    case 3: return x86_load_int3(p);
    case 2: return x86_spread_int2(x86_load16(p));
    default: return x86_load_binary(p);
    }
}

/* ---- x in the order of the codes --------------------------------------------------- */

X86_INLINE struct x86_pair x86_order_x(int bits, __m256i a, __m256i b)
{
    if (bits == 1)
        return (struct x86_pair){_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)};
    __m256i low, high;
    if (bits == 4) {
        __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
        low = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88));
        high = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd));
    } else {
        __m256i even = _mm256_permute2x128_si256(a, b, 0x20);
        __m256i odd = _mm256_permute2x128_si256(a, b, 0x31);
        low = _mm256_unpacklo_epi32(even, odd);
        high = _mm256_unpackhi_epi32(even, odd);
    }
    return (struct x86_pair){_mm256_permute4x64_epi64(low, 0xd8),
                             _mm256_permute4x64_epi64(high, 0xd8)};
}

/* The group of 16 columns, of the four of a step, that lane i belongs to. */
X86_INLINE uint32_t x86_sixteen_of(int bits, uint32_t i)
{
    return bits == 4 ? i / 2 : bits == 1 ? i % 2 * 2 + i / 4 : i % 4;
}

/* The multipliers of a step are the nibbles of at most two bytes; returns where in a row
 * these end. */
X86_INLINE uint32_t x86_prepare_mult(int bits, const struct ruvm_matmul_codes *m,
                                     struct x86_codes_part *p, uint32_t s, uint32_t col)
{
    int32_t shift[8];
    uint32_t byte = col / m->group / 2;
    for (uint32_t i = 0; i < 8; i++)
        shift[i] = (int32_t)(((col + 16 * x86_sixteen_of(bits, i)) / m->group - 2 * byte) * 4);
    p->mult_at[s] = byte - p->first_mult;
    p->mult_shift[s] = x86_load(shift);
    return byte + 2;
}

/* How many rows, of n of so many bytes, may be read from their starts to `reach`. */
static inline uint32_t x86_safe_rows(uint32_t n, uint32_t bytes, uint32_t reach)
{
    size_t all = n * (size_t)bytes;
    return reach <= bytes ? n : reach > all ? 0 : (uint32_t)((all - reach) / bytes) + 1;
}

/* Which columns the part is of: those from c on, at most X86_STEPS steps. */
X86_INLINE void x86_begin_part(int bits, const struct ruvm_matmul_codes *m,
                               struct x86_codes_part *p, uint32_t c)
{
    const uint32_t most = X86_STEP * X86_STEPS, col = m->first_col + c;
    const uint32_t left = m->n_cols - c < most ? m->n_cols - c : most;
    p->first = c == 0;
    p->n_steps = (left + X86_STEP - 1) / X86_STEP;
    p->last_cols = left - (p->n_steps - 1) * X86_STEP;
    p->last_bytes = x86_codes_bytes(bits, p->last_cols);
    p->first_byte = x86_codes_bytes(bits, col);
    p->safe_rows = x86_safe_rows(m->n_rows, m->row_bytes,
                                 p->first_byte + p->n_steps * x86_codes_bytes(bits, X86_STEP));
    if (!m->group)
        return;
    uint32_t reach = p->first_mult = col / m->group / 2;
    for (uint32_t s = 0; s < p->n_steps; s++)
        reach = x86_prepare_mult(bits, m, p, s, col + s * X86_STEP);
    p->mult_bytes = (reach < m->mult_bytes ? reach : m->mult_bytes) - p->first_mult;
    uint32_t safe = x86_safe_rows(m->n_rows, m->mult_bytes, reach);
    p->safe_rows = safe < p->safe_rows ? safe : p->safe_rows;
}

/* The x of vector i of a part from x on. */
X86_INLINE void x86_prepare_x(int bits, struct x86_codes_part *p, uint32_t i, const int8_t *x)
{
    for (uint32_t s = 0; s < p->n_steps; s++, x += X86_STEP) {
        int half = s + 1 == p->n_steps && p->last_cols <= X86_STEP / 2;
        __m256i a = x86_load(x), b = half ? _mm256_setzero_si256() : x86_load(x + 32);
        struct x86_codes_x *to = &p->x[i][s];
        to->x = x86_order_x(bits, a, b);
        to->start = x86_codes_start((1 << bits) - 1, to->x);
    }
}

/* ---- rows -------------------------------------------------------------------------- */

/* Where the rows of a tile are, and where their sums go. */
struct x86_rows {
    const uint8_t *w, *last, *mult; /* first row: its first and last step, its multipliers */
    size_t stride, last_stride, mult_stride;
    int32_t *out;
    size_t out_stride;
};

X86_INLINE struct x86_rows x86_find_rows(int bits, const struct ruvm_matmul_codes *m,
                                         const struct x86_codes_part *p, uint32_t r, uint32_t v)
{
    const uint8_t *w = m->w + r * (size_t)m->row_bytes + p->first_byte;
    return (struct x86_rows){
        .w = w,
        .last = w + (p->n_steps - 1) * x86_codes_bytes(bits, X86_STEP),
        .mult = m->group ? m->mult + r * (size_t)m->mult_bytes + p->first_mult : NULL,
        .stride = m->row_bytes,
        .last_stride = m->row_bytes,
        .mult_stride = m->mult_bytes,
        .out = m->out + v * (size_t)m->out_stride + r,
        .out_stride = m->out_stride,
    };
}

/* The n bytes at from, filled up with zeros. */
X86_INLINE const uint8_t *x86_copy(uint8_t *to, size_t room, const uint8_t *from, size_t n)
{
    __builtin_memset(to, 0, room);
    __builtin_memcpy(to, from, n);
    return to;
}

/* ---- tiles ------------------------------------------------------------------------- */

/* The multipliers of a step, one a lane; mult: where they begin. */
X86_INLINE __m256i x86_load_mult(const uint8_t *mult, __m256i shift)
{
    uint16_t two;
    __builtin_memcpy(&two, mult, sizeof two);
    __m256i all = _mm256_set1_epi16((int16_t)two);
    return _mm256_and_si256(_mm256_srlv_epi32(all, shift), x86_codes_mult_mask());
}

/* What a tile is: all constants, so that the compiler makes a function of each. */
struct x86_tile {
    int bits, grouped;
    uint32_t rows, vecs;
};

/* acc[v * rows + i] += step s, the last one or not, of row i and vector v of those from x
 * on. */
X86_INLINE void x86_codes_step(struct x86_tile t, const struct x86_codes_part *p,
                               const struct x86_rows *at, uint32_t s, int last,
                               const struct x86_codes_x (*x)[X86_STEPS], __m256i *acc)
{
    const uint8_t *w = last ? at->last : at->w + s * x86_codes_bytes(t.bits, X86_STEP);
    const size_t stride = last ? at->last_stride : at->stride;
    __m256i mult = _mm256_and_si256(_mm256_set1_epi16(1), x86_codes_mult_mask());
    X86_UNROLL
    for (uint32_t i = 0; i < t.rows; i++) {
        struct x86_pair codes = x86_load_codes(t.bits, w + i * stride);
        if (t.grouped)
            mult = x86_load_mult(at->mult + i * at->mult_stride + p->mult_at[s], p->mult_shift[s]);
        X86_UNROLL
        for (uint32_t j = 0; j < t.vecs; j++) {
            __m256i *sum = &acc[j * t.rows + i];
            *sum = x86_codes_add(*sum, codes, &x[j][s], mult);
        }
    }
}

/* Four sums to one vector, or two each to two, or one. */
X86_INLINE void x86_put_sums(int32_t *out, size_t stride, __m128i sums, uint32_t rows, int first)
{
    if (rows == 4) {
        __m128i before = first ? _mm_setzero_si128() : x86_load16(out);
        _mm_storeu_si128((void *)out, _mm_add_epi32(sums, before));
    } else if (rows == 2) {
        __m128i before = _mm_setzero_si128();
        if (!first)
            before = _mm_unpacklo_epi64(_mm_loadl_epi64((const void *)out),
                                        _mm_loadl_epi64((const void *)(out + stride)));
        sums = _mm_add_epi32(sums, before);
        _mm_storel_epi64((void *)out, sums);
        _mm_storel_epi64((void *)(out + stride), _mm_unpackhi_epi64(sums, sums));
    } else {
        *out = _mm_cvtsi128_si32(sums) + (first ? 0 : *out);
    }
}

X86_INLINE void x86_codes_tile(struct x86_tile t, const struct x86_codes_part *p,
                               const struct x86_rows *at, const struct x86_codes_x (*x)[X86_STEPS])
{
    __m256i acc[8] = {0};
    for (uint32_t s = 0; s + 1 < p->n_steps; s++)
        x86_codes_step(t, p, at, s, 0, x, acc);
    x86_codes_step(t, p, at, p->n_steps - 1, 1, x, acc);
    X86_UNROLL
    for (uint32_t i = 0; i < t.rows * t.vecs; i += 4) {
        __m256i halves = x86_sum_halves(acc + i);
        __m128i low = _mm256_castsi256_si128(halves), high = _mm256_extracti128_si256(halves, 1);
        x86_put_sums(at->out + i / t.rows * at->out_stride, at->out_stride,
                     _mm_add_epi32(low, high), t.rows, p->first);
    }
}

/* Row r of vector v, the i-th of the part, with nothing read but the row. */
X86_INLINE void x86_codes_row(struct x86_tile t, const struct ruvm_matmul_codes *m,
                              const struct x86_codes_part *p, uint32_t r, uint32_t v, uint32_t i)
{
    uint8_t last[X86_STEP_BYTES], mult[2 * X86_STEPS + 2];
    struct x86_rows at = x86_find_rows(t.bits, m, p, r, v + i);
    if (r >= p->safe_rows) {
        at.last = x86_copy(last, sizeof last, at.last, p->last_bytes);
        if (t.grouped)
            at.mult = x86_copy(mult, sizeof mult, at.mult, p->mult_bytes);
    }
    x86_codes_tile(t, p, &at, p->x + i);
}

/* Four vectors share the unpacking of two rows, a vector alone walks four rows. Both read
 * whole steps, on into the next row, whose codes are multiplied by zeros; the last rows
 * have no next one. */
X86_INLINE void x86_codes_walk(int bits, int grouped, const struct ruvm_matmul_codes *m,
                               const struct x86_codes_part *p, uint32_t v, uint32_t vecs)
{
    const struct x86_tile four = {bits, grouped, 2, X86_VECS}, one = {bits, grouped, 4, 1};
    const struct x86_tile least = {bits, grouped, 1, 1};
    uint32_t r = 0;
    for (; vecs == four.vecs && r + four.rows <= p->safe_rows; r += four.rows) {
        const struct x86_rows at = x86_find_rows(bits, m, p, r, v);
        x86_codes_tile(four, p, &at, p->x);
    }
    for (; vecs == one.vecs && r + one.rows <= p->safe_rows; r += one.rows) {
        const struct x86_rows at = x86_find_rows(bits, m, p, r, v);
        x86_codes_tile(one, p, &at, p->x);
    }
    for (; r < m->n_rows; r++)
        for (uint32_t i = 0; i < vecs; i++)
            x86_codes_row(least, m, p, r, v, i);
}

X86_INLINE void x86_codes_matmul(int bits, const struct ruvm_matmul_codes *m)
{
    struct x86_codes_part p;
    for (uint32_t c = 0; c < m->n_cols; c += X86_STEPS * X86_STEP) {
        x86_begin_part(bits, m, &p, c);
        for (uint32_t v = 0, vecs; v < m->n_vecs; v += vecs) {
            vecs = v + X86_VECS <= m->n_vecs ? X86_VECS : 1;
            for (uint32_t i = 0; i < vecs; i++)
                x86_prepare_x(bits, &p, i, m->x + (v + i) * (size_t)m->x_stride + c);
            if (m->group)
                x86_codes_walk(bits, 1, m, &p, v, vecs);
            else
                x86_codes_walk(bits, 0, m, &p, v, vecs);
        }
    }
}

/* ---- signs ------------------------------------------------------------------------- */

X86_INLINE uint64_t x86_differ(const uint8_t *a, const int8_t *b)
{
    uint64_t x, y;
    __builtin_memcpy(&x, a, sizeof x);
    __builtin_memcpy(&y, b, sizeof y);
    return x ^ y;
}

/* Bits in which a row and x differ: whole words of 64, and a last half one if odd. Every
 * machine with AVX2 counts the bits of a word in one instruction. */
X86_INLINE uint64_t x86_count_differ(const uint8_t *w, const int8_t *x, uint32_t n_words, int odd)
{
    uint64_t differ = 0;
    for (; n_words; n_words--, w += 8, x += 8)
        differ += (uint64_t)__builtin_popcountll(x86_differ(w, x));
    if (odd) {
        uint32_t a, b;
        __builtin_memcpy(&a, w, sizeof a);
        __builtin_memcpy(&b, x, sizeof b);
        differ += (uint64_t)__builtin_popcountll(a ^ b);
    }
    return differ;
}

static inline void ruvm_x86_xnor(const struct ruvm_matmul_codes *m)
{
    const uint32_t n_cols = m->n_cols, n_rows = m->n_rows, words = (n_cols + 31) / 32;
    const size_t stride = m->row_bytes;
    for (uint32_t v = 0; v < m->n_vecs; v++) {
        const int8_t *x = m->x + v * (size_t)m->x_stride;
        int32_t *out = m->out + v * (size_t)m->out_stride;
        const uint8_t *w = m->w;
        for (uint32_t r = 0; r < n_rows; r++, w += stride)
            out[r] = (int32_t)(n_cols - 2 * (uint32_t)x86_count_differ(w, x, words / 2, words % 2));
    }
}

#endif
