/* Scalar codes: packed weights times int8 in plain C, for any machine.
 *
 * One multiplication of a small chip makes two products. Codes of two columns a and b
 * lie in the halves of a word, ua + ub * 2^16, and the inputs crosswise in those of
 * another, xb + xa * 2^16. The high half of their product is ua * xa + ub * xb, and of
 * many such added up it is the sum wanted. The low half gathers ua * xb, which nobody
 * wants, but which is small: starting at 2^15 it stays within 16 bits and never carries.
 * What the high half overflows on its way is lost without harm, as the end fits. A level
 * 2u - max needs no more: x goes in doubled, and the sum starts at -max * (sum of x).
 *
 * The pairs of x of a section of 16 columns are kept in registers while the rows
 * of a block pass by: so they are made once a block, without an array for them, and
 * a block's weights stay in the cache of a flash chip from one section to the next.
 * On RV32 a product takes 2.8 instructions (INT4; 2.5 without multipliers). */
#include "kernels/scalar_codes.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { ROWS = 32 };               /* of a block */
enum { SECTION = 16, PAIRS = 8 }; /* columns, and pairs of them */
enum { LOW_START = 1 << 15 };     /* of the half that nobody wants */
enum { TERNARY_BYTES = 4, TERNARY_DIGITS = 5 };

/* Words of rows are aligned; told so, the compiler loads them in one go. */
INLINE uint32_t load_word(const void *p)
{
    uint32_t w;
    __builtin_memcpy(&w, __builtin_assume_aligned(p, 4), sizeof w);
    return w;
}

/* The inputs of the columns a and b, crosswise. */
INLINE uint32_t cross(int32_t xa, int32_t xb)
{
    return ((uint32_t)xa << 16) + (uint32_t)xb;
}

/* ---- codes in words --------------------------------------------------------------- */

/* Where a section's codes are in a row: their words, and for what is stored as single
 * bits the half of the word. */
struct section {
    uint32_t first, high, shift;
};

INLINE struct section locate(int bits, uint32_t n)
{
    switch (bits) {
    case 4: return (struct section){n * 8, 0, 0};
    case 3: return (struct section){n / 2 * 12 + n % 2 * 4, n / 2 * 12 + 8, n % 2 * 4};
    case 2: return (struct section){n * 4, 0, 0};
    default: return (struct section){n / 2 * 4, 0, n % 2 * 4};
    }
}

/* The codes of columns 4f + j and 4f + j + 2 for i = 2f + j; w holds the words of a
 * section, single bits shifted to where those of an even section are, the high bits of
 * INT3 by two more. */
INLINE uint32_t pair(int bits, const uint32_t *w, uint32_t i)
{
    uint32_t f = i / 2, byte = i % 2 * 8;
    switch (bits) {
    case 4: return (w[f / 2] >> (f % 2 * 4 + byte)) & 0x000f000f;
    case 3: return ((w[0] >> (f * 2 + byte)) & 0x00030003) + ((w[1] >> (f + byte)) & 0x00040004);
    case 2: return (w[0] >> (f * 2 + byte)) & 0x00030003;
    default: return (w[0] >> (f + byte)) & 0x00010001;
    }
}

INLINE int32_t row_sum(int bits, const uint8_t *row, struct section at, const uint32_t *x,
                       uint32_t start)
{
    uint32_t w[2] = {load_word(row + at.first), 0}, sum = start;
    if (bits == 4)
        w[1] = load_word(row + at.first + 4);
    if (bits == 3)
        w[1] = load_word(row + at.high) >> at.shift << 2;
    if (bits == 1)
        w[0] >>= at.shift;
    UNROLL
    for (uint32_t i = 0; i < PAIRS; i++)
        sum += pair(bits, w, i) * x[i];
    return (int32_t)sum >> 16;
}

/* out[0 .. n_rows) += section n of the rows from w on times x. */
INLINE void add_section(int bits, const struct ruvm_matmul_codes *m, int32_t *out, const uint8_t *w,
                        const uint8_t *mult, uint32_t n_rows, uint32_t n, const int8_t *x)
{
    const struct section at = locate(bits, n);
    const uint32_t stride = m->row_bytes, mult_stride = m->mult_bytes;
    uint32_t pairs[PAIRS], total = 0;
    UNROLL
    for (uint32_t i = 0; i < PAIRS; i++) {
        const int8_t *a = x + i / 2 * 4 + i % 2;
        pairs[i] = cross(2 * a[0], 2 * a[2]);
        total += (uint32_t)(a[0] + a[2]);
    }
    const uint32_t start = LOW_START - (((1u << bits) - 1) * total << 16);
    const int32_t *end = out + n_rows;
    if (!mult) {
        for (; out != end; out++, w += stride)
            *out += row_sum(bits, w, at, pairs, start);
        return;
    }
    const uint32_t group = n * SECTION / m->group, nibble = group % 2 * 4;
    mult += group / 2;
    for (; out != end; out++, w += stride, mult += mult_stride)
        *out += row_sum(bits, w, at, pairs, start) * (int32_t)((uint32_t)*mult >> nibble & 15);
}

INLINE void matmul(int bits, const struct ruvm_matmul_codes *m)
{
    const uint32_t first = m->first_col / SECTION, n_sections = m->n_cols / SECTION;
    for (uint32_t r = 0; r < m->n_rows; r += ROWS) {
        const uint32_t n_rows = m->n_rows - r < ROWS ? m->n_rows - r : ROWS;
        const uint8_t *w = m->w + (size_t)r * m->row_bytes;
        const uint8_t *mult = m->group ? m->mult + (size_t)r * m->mult_bytes : NULL;
        for (uint32_t v = 0; v < m->n_vecs; v++) {
            int32_t *out = m->out + (size_t)v * m->out_stride + r;
            const int8_t *x = m->x + (size_t)v * m->x_stride;
            for (uint32_t i = 0; i < n_rows; i++)
                out[i] = 0;
            for (uint32_t n = 0; n < n_sections; n++)
                add_section(bits, m, out, w, mult, n_rows, first + n, x + n * (size_t)SECTION);
        }
    }
}

void ruvm_scalar_codes_int4(const struct ruvm_matmul_codes *m)
{
    matmul(4, m);
}

void ruvm_scalar_codes_int3(const struct ruvm_matmul_codes *m)
{
    matmul(3, m);
}

void ruvm_scalar_codes_int2(const struct ruvm_matmul_codes *m)
{
    matmul(2, m);
}

void ruvm_scalar_codes_binary(const struct ruvm_matmul_codes *m)
{
    matmul(1, m);
}

/* ---- ternary ---------------------------------------------------------------------- */

/* A byte t holds the digits d0 .. d4, and t * 3^(k + 1) / 256 the first k + 1 of them as
 * one number p_k; the digit itself is p_k - 3 p_(k-1). That difference is cheaper to take
 * of x, once for all rows: sum of d_k x_k = sum of p_k y_k with y_k = x_k - 3 x_(k+1).
 * Lanes of 16 bits have room for it: 255 * 3^5 < 2^16. */
struct stripes {
    uint32_t y[TERNARY_BYTES / 2][TERNARY_DIGITS], start;
};

/* x of column k * n_bytes + j, zero behind the last column. */
INLINE int32_t striped(const int8_t *x, uint32_t n_cols, uint32_t n_bytes, uint32_t k, uint32_t j)
{
    uint32_t c = k * n_bytes + j;
    return k < TERNARY_DIGITS && c < n_cols ? x[c] : 0;
}

/* The inputs of a row's bytes j .. j + n; n is a constant. */
INLINE struct stripes load_stripes(const int8_t *x, uint32_t n_cols, uint32_t n_bytes, uint32_t j,
                                   uint32_t n)
{
    struct stripes s = {.start = LOW_START};
    UNROLL
    for (uint32_t i = 0; i < n; i++) {
        uint32_t high = i % 2 == 0 ? 16 : 0; /* half of the word */
        int32_t this = striped(x, n_cols, n_bytes, 0, j + i);
        UNROLL
        for (uint32_t k = 0; k < TERNARY_DIGITS; k++) {
            int32_t next = striped(x, n_cols, n_bytes, k + 1, j + i);
            s.y[i / 2][k] += (uint32_t)(this - 3 * next) << high;
            s.start -= (uint32_t)this << 16;
            this = next;
        }
    }
    return s;
}

INLINE int32_t ternary_sum(const uint8_t *w, const struct stripes *s, uint32_t n)
{
    uint32_t sum = s->start;
    UNROLL
    for (uint32_t i = 0; i < n; i += 2) {
        uint32_t t = w[i] + (i + 1 < n ? (uint32_t)w[i + 1] << 16 : 0);
        UNROLL
        for (uint32_t k = 0; k < TERNARY_DIGITS; k++) {
            t *= 3;
            sum += ((t >> 8) & 0x00ff00ff) * s->y[i / 2][k];
        }
    }
    return (int32_t)sum >> 16;
}

INLINE void add_stripes(const struct ruvm_matmul_codes *m, int32_t *out, const uint8_t *w,
                        uint32_t n_rows, const int8_t *x, uint32_t j, uint32_t n)
{
    const uint32_t n_bytes = (m->n_cols + TERNARY_DIGITS - 1) / TERNARY_DIGITS;
    const uint32_t stride = m->row_bytes;
    const struct stripes s = load_stripes(x, m->n_cols, n_bytes, j, n);
    const int32_t *end = out + n_rows;
    for (w += j; out != end; out++, w += stride)
        *out += ternary_sum(w, &s, n);
}

static void ternary_block(const struct ruvm_matmul_codes *m, int32_t *out, const uint8_t *w,
                          uint32_t n_rows, const int8_t *x)
{
    const uint32_t n_bytes = (m->n_cols + TERNARY_DIGITS - 1) / TERNARY_DIGITS;
    uint32_t j = 0;
    for (uint32_t i = 0; i < n_rows; i++)
        out[i] = 0;
    for (; j + TERNARY_BYTES <= n_bytes; j += TERNARY_BYTES)
        add_stripes(m, out, w, n_rows, x, j, TERNARY_BYTES);
    for (; j < n_bytes; j++)
        add_stripes(m, out, w, n_rows, x, j, 1);
}

void ruvm_scalar_codes_ternary(const struct ruvm_matmul_codes *m)
{
    for (uint32_t r = 0; r < m->n_rows; r += ROWS) {
        const uint32_t n_rows = m->n_rows - r < ROWS ? m->n_rows - r : ROWS;
        for (uint32_t v = 0; v < m->n_vecs; v++)
            ternary_block(m, m->out + (size_t)v * m->out_stride + r,
                          m->w + (size_t)r * m->row_bytes, n_rows, m->x + (size_t)v * m->x_stride);
    }
}

/* ---- signs ------------------------------------------------------------------------ */

INLINE uint32_t count_bits(uint32_t b)
{
    b -= (b >> 1) & 0x55555555;
    b = (b & 0x33333333) + ((b >> 2) & 0x33333333);
    return (((b + (b >> 4)) & 0x0f0f0f0f) * 0x01010101) >> 24;
}

void ruvm_scalar_codes_xnor(const struct ruvm_matmul_codes *m)
{
    const uint32_t n_bytes = (m->n_cols + 31) / 32 * 4;
    for (uint32_t r = 0; r < m->n_rows; r++)
        for (uint32_t v = 0; v < m->n_vecs; v++) {
            const uint8_t *w = m->w + (size_t)r * m->row_bytes;
            const int8_t *x = m->x + (size_t)v * m->x_stride;
            uint32_t differ = 0;
            for (uint32_t i = 0; i < n_bytes; i += 4)
                differ += count_bits(load_word(w + i) ^ load_word(x + i));
            m->out[(size_t)v * m->out_stride + r] = (int32_t)(m->n_cols - 2 * differ);
        }
}
