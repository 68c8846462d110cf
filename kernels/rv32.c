/* RV32: kernels for the smallest RISC-V with a multiplier, as the ESP32-C3 is.
 *
 * A product of int8 takes a load, a multiplication and an addition there, and a share of the
 * load of x: what can be saved is all else. Eight rows share a load of x, and a section of
 * 16 columns is walked by the offsets that loads have for nothing, so that pointers move and
 * the loop turns once a section. That is 3.2 instructions a product, where the scalar kernel
 * takes 3.7; more rows would not fit the registers. */
/* What takes a small share of a token's work, or none with most networks, is compiled for
 * size, and stays in flash where the linker's script says so. */
#define RUVM_SELDOM __attribute__((cold))
#include "kernels/elementwise.h"
#include "kernels/scalar_codes.h"
#include "kernels/variants.h"

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline)) /* needs all registers for itself */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#define UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif

enum { ROWS = 8, SECTION = 16 };

static int available(void)
{
    return 1;
}

/* The compiler would rather finish one row after the other and keep sums on the stack: it
 * is told that all of them may have changed, so that it stays with the columns. */
INLINE void hold(int32_t *s)
{
    __asm__(""
            : "+r"(s[0]), "+r"(s[1]), "+r"(s[2]), "+r"(s[3]), "+r"(s[4]), "+r"(s[5]), "+r"(s[6]),
              "+r"(s[7]));
}

/* out[0 .. n) = n rows times x; n is a constant. */
INLINE void dot_of(uint32_t n, int32_t *out, const int8_t *w, size_t stride, const int8_t *x,
                   uint32_t n_cols)
{
    const int8_t *row[ROWS], *end = x + n_cols;
    int32_t sum[ROWS];
    UNROLL
    for (uint32_t r = 0; r < n; r++) {
        row[r] = w + r * stride;
        sum[r] = 0;
    }
    do {
        UNROLL
        for (uint32_t c = 0; c < SECTION; c++) {
            int32_t v = x[c];
            UNROLL
            for (uint32_t r = 0; r < n; r++)
                sum[r] += row[r][c] * v;
            if (n == ROWS)
                hold(sum);
        }
        UNROLL
        for (uint32_t r = 0; r < n; r++)
            row[r] += SECTION;
        x += SECTION;
    } while (x != end);
    UNROLL
    for (uint32_t r = 0; r < n; r++)
        out[r] = sum[r];
}

/* All vectors times n rows at a time, from row r on; returns the first row that is left. */
INLINE uint32_t multiply_by(uint32_t n, const struct ruvm_matmul *m, uint32_t r)
{
    const int8_t *w = m->w + (size_t)r * m->row_bytes;
    for (; r + n <= m->n_rows; r += n, w += n * (size_t)m->row_bytes) {
        const int8_t *x = m->x;
        int32_t *out = m->out + r;
        for (uint32_t v = 0; v < m->n_vecs; v++, x += m->x_stride, out += m->out_stride)
            dot_of(n, out, w, m->row_bytes, x, m->n_cols);
    }
    return r;
}

static void matmul_s8(const struct ruvm_matmul *m)
{
    multiply_by(1, m, multiply_by(ROWS, m, 0));
}

/* ---- INT4 -------------------------------------------------------------------- */

/* As scalar_codes.c has it, two products a multiplication, but two sections of 16 columns
 * at a time: so a row's sum is read and written half as often. */
enum { COLUMNS = 2 * SECTION, PAIRS = SECTION / 2, WORDS = PAIRS / 4, BLOCK_ROWS = 64 };
enum { LEVEL_MAX = 15, LOW_START = 1 << 15 };

/* The inputs of a section crosswise and doubled, and what a row's sum begins with. */
struct section {
    uint32_t x[PAIRS], start;
};

INLINE struct section load_section(const int8_t *x)
{
    struct section s;
    uint32_t total = 0;
    UNROLL
    for (uint32_t i = 0; i < PAIRS; i++) {
        const int8_t *a = x + i / 2 * 4 + i % 2;
        s.x[i] = ((uint32_t)(2 * a[0]) << 16) + (uint32_t)(2 * a[2]);
        total += (uint32_t)(a[0] + a[2]);
    }
    s.start = LOW_START - (LEVEL_MAX * total << 16);
    return s;
}

INLINE uint32_t load_word(const uint8_t *p)
{
    uint32_t w;
    __builtin_memcpy(&w, __builtin_assume_aligned(p, 4), sizeof w);
    return w;
}

/* The codes of columns 4f + j and 4f + j + 2 of a section, times x of them. */
INLINE int32_t section_sum(const uint8_t *row, const struct section *s)
{
    uint32_t sum = s->start;
    UNROLL
    for (uint32_t i = 0; i < WORDS; i++) {
        const uint32_t w = load_word(row + (size_t)4 * i), *x = s->x + 4 * i;
        sum += (w & 0x000f000f) * x[0];
        sum += (w >> 8 & 0x000f000f) * x[1];
        sum += (w >> 4 & 0x000f000f) * x[2];
        sum += (w >> 12 & 0x000f000f) * x[3];
    }
    return (int32_t)sum >> 16;
}

struct rows { /* from one on to the last, at a column */
    int32_t *out, *last;
    const uint8_t *w, *mult;
    size_t stride, mult_stride, second; /* second: where the other section is */
};

/* The multipliers of 16 columns stand in a byte as those of the sections do; with wider
 * groups both sections have the same one. */
INLINE void add_rows(struct rows r, const int8_t *x, uint32_t shift, uint32_t shift2)
{
    const struct section a = load_section(x), b = load_section(x + SECTION);
    for (; r.out != r.last; r.out++, r.w += r.stride, r.mult += r.mult_stride) {
        uint32_t m = *r.mult;
        int32_t sum = section_sum(r.w, &a) * (int32_t)(m >> shift & 15);
        *r.out += sum + section_sum(r.w + r.second, &b) * (int32_t)(m >> shift2 & 15);
    }
}

static NOINLINE void add_columns(const struct ruvm_matmul_codes *m, struct rows r, const int8_t *x,
                                 uint32_t first)
{
    if (!m->mult) {
        const struct section a = load_section(x), b = load_section(x + SECTION);
        for (; r.out != r.last; r.out++, r.w += r.stride)
            *r.out += section_sum(r.w, &a) + section_sum(r.w + r.second, &b);
        return;
    }
    uint32_t group = first / m->group;
    r.mult += group / 2;
    if (m->group == SECTION)
        add_rows(r, x, 0, 4);
    else
        add_rows(r, x, group % 2 * 4, group % 2 * 4);
}

/* Where the columns end with one section, its codes are there twice, the second time with
 * the zeros that x has there: nothing behind a row is read. */
static void matmul_int4(const struct ruvm_matmul_codes *m)
{
    for (uint32_t r = 0; r < m->n_rows; r += BLOCK_ROWS) {
        uint32_t n = m->n_rows - r < BLOCK_ROWS ? m->n_rows - r : BLOCK_ROWS;
        for (uint32_t v = 0; v < m->n_vecs; v++) {
            int32_t *out = m->out + (size_t)v * m->out_stride + r;
            const int8_t *x = m->x + (size_t)v * m->x_stride;
            struct rows rows = {.out = out,
                                .last = out + n,
                                .w = m->w + (size_t)r * m->row_bytes + m->first_col / 2,
                                .mult = m->mult + (size_t)r * m->mult_bytes,
                                .stride = m->row_bytes,
                                .mult_stride = m->mult_bytes};
            for (uint32_t i = 0; i < n; i++)
                out[i] = 0;
            for (uint32_t c = 0; c < m->n_cols; c += COLUMNS, rows.w += COLUMNS / 2) {
                rows.second = m->n_cols - c > SECTION ? SECTION / 2 : 0;
                add_columns(m, rows, x + c, m->first_col + c);
            }
        }
    }
}

/* ---- attention --------------------------------------------------------------- */

/* n dimensions of a query, or of sums, stay in registers while all positions pass by; n is a
 * constant, and first tells whether it is the head's first part. */
INLINE void add_scores(uint32_t n, int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                       size_t stride, int first)
{
    int32_t part[SECTION];
    UNROLL
    for (uint32_t d = 0; d < n; d++)
        part[d] = q[d];
    for (const int32_t *end = out + n_pos; out != end; out++, k += stride) {
        int32_t sum = first ? 0 : *out;
        UNROLL
        for (uint32_t d = 0; d < n; d++)
            sum += k[d] * part[d];
        *out = sum;
    }
}

static void scores_of_8(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                        size_t stride, int first)
{
    add_scores(8, out, q, k, n_pos, stride, first);
}

static void scores_of_2(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                        size_t stride, int first)
{
    add_scores(2, out, q, k, n_pos, stride, first);
}

/* A head has an even number of dimensions. */
static void scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                   uint32_t head_dim, uint32_t stride)
{
    for (uint32_t d = 0, n; d < head_dim; d += n) {
        n = head_dim - d >= 8 ? 8 : 2;
        (n == 8 ? scores_of_8 : scores_of_2)(out, q + d, k + d, n_pos, stride, d == 0);
    }
}

INLINE void add_mixed(uint32_t n, int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                      size_t stride)
{
    int32_t sum[SECTION];
    UNROLL
    for (uint32_t d = 0; d < n; d++)
        sum[d] = acc[d];
    for (const uint16_t *end = e + n_pos; e != end; e++, v += stride) {
        int32_t weight = *e;
        UNROLL
        for (uint32_t d = 0; d < n; d++)
            sum[d] += v[d] * weight;
    }
    UNROLL
    for (uint32_t d = 0; d < n; d++)
        acc[d] = sum[d];
}

static void mix_of_8(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                     size_t stride)
{
    add_mixed(8, acc, e, v, n_pos, stride);
}

static void mix_of_1(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                     size_t stride)
{
    add_mixed(1, acc, e, v, n_pos, stride);
}

static void mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos, uint32_t head_dim,
                uint32_t stride)
{
    for (uint32_t d = 0, n; d < head_dim; d += n) {
        n = head_dim - d >= 8 ? 8 : 1;
        (n == 8 ? mix_of_8 : mix_of_1)(acc + d, e, v + d, n_pos, stride);
    }
}

/* 64 bits, as two halves, shifted right by less than 32. */
INLINE uint32_t shifted(uint32_t high, uint32_t low, uint32_t shift)
{
    return high << 1 << (31 - shift) | low >> shift;
}

static uint32_t weight_of(uint32_t t)
{
    return t >= RUVM_EXP2_ZERO ? 0 : ruvm_exact_exp2_small(t);
}

static uint32_t weights(uint16_t *e, const int32_t *s, uint32_t n_pos, uint32_t mult,
                        uint32_t shift)
{
    const int32_t *end = s + n_pos;
    int32_t max = ruvm_elementwise_max(s, n_pos);
    uint32_t sum = 0;
    for (; s != end; s++) {
        uint64_t wide = (uint64_t)((uint32_t)max - (uint32_t)*s) * mult;
        uint32_t high = (uint32_t)(wide >> 32), w;
        if (shift >= 32)
            w = weight_of(high >> (shift - 32));
        else
            w = high >> shift ? 0 : weight_of(shifted(high, (uint32_t)wide, shift));
        *e++ = (uint16_t)w;
        sum += w;
    }
    return sum;
}

/* ---- vectors ----------------------------------------------------------------- */

/* floor(x * scale / 2^15) is the high half of 2x times scale * 2^16; half of it, rounded,
 * is what is asked for. */
static void rescale(int32_t *x, const uint16_t *scale, uint32_t n)
{
    UNROLL_BY_4
    for (const int32_t *end = x + n; x != end; x++, scale++) {
        uint32_t wide = (uint32_t)*scale << 16;
        int32_t y = (int32_t)(((int64_t)(*x * 2) * (int64_t)wide) >> 32);
        *x = (y + 1) >> 1;
    }
}

static uint32_t amax(const int32_t *x, uint32_t n)
{
    int32_t low = 0, high = 0;
    UNROLL_BY_4
    for (const int32_t *end = x + n; x != end;) {
        int32_t v = *x++;
        if (v > high)
            high = v;
        if (v < low)
            low = v;
    }
    uint32_t below = 0u - (uint32_t)low;
    return below > (uint32_t)high ? below : (uint32_t)high;
}

/* h + v, saturated. */
INLINE int32_t add_clamped(int32_t h, int32_t v)
{
    int32_t sum;
    if (__builtin_add_overflow(h, v, &sum))
        return v < 0 ? -INT32_MAX : INT32_MAX;
    return sum < -INT32_MAX ? -INT32_MAX : sum;
}

/* With more than 32 bits shifted out, half of the last one has no low half either. */
static void add_high(int32_t *h, const int32_t *x, uint32_t n, uint32_t mult, uint32_t down)
{
    const int32_t half = 1 << (down - 1); /* the high half of the product is below 2^30 */
    for (const int32_t *end = h + n; h != end; h++, x++) {
        int32_t high = (int32_t)(((int64_t)*x * (int32_t)mult) >> 32);
        *h = add_clamped(*h, (high + half) >> down);
    }
}

/* What does not fit 32 bits goes the long way, one by one. */
static void add(int32_t *h, const int32_t *x, uint32_t n, uint32_t mult, uint32_t shift)
{
    const uint64_t half = (uint64_t)1 << (shift - 1);
    if (shift > 32) {
        add_high(h, x, n, mult, shift - 32);
        return;
    }
    for (const int32_t *end = h + n; h != end; h++, x++) {
        uint64_t wide = (uint64_t)((int64_t)*x * (int32_t)mult) + half;
        int32_t high = (int32_t)(wide >> 32);
        if (high >> (shift - 1) != high >> 31)
            ruvm_elementwise_add(h, x, 1, mult, shift);
        else
            *h = add_clamped(
                *h, shift == 32 ? high : (int32_t)shifted((uint32_t)high, (uint32_t)wide, shift));
    }
}

static void add_scaled(int32_t *h, int32_t *x, uint32_t n, const struct ruvm_addition *p)
{
    if (p->is_first)
        __builtin_memset(h, 0, n * sizeof *h);
    rescale(x, p->scale, n);
    add(h, x, n, p->mult, p->shift);
}

const struct ruvm_kernels ruvm_kernels_rv32 = {
    .name = "rv32",
    .available = available,
    .matmul_s8 = matmul_s8,
    .matmul_int4 = matmul_int4,
    .matmul_int3 = ruvm_scalar_codes_int3,
    .matmul_int2 = ruvm_scalar_codes_int2,
    .matmul_binary = ruvm_scalar_codes_binary,
    .matmul_ternary = ruvm_scalar_codes_ternary,
    .matmul_xnor = ruvm_scalar_codes_xnor,
    .scores = scores,
    .weights = weights,
    .mix = mix,
    .rescale = rescale,
    .amax = amax,
    .quantize = ruvm_elementwise_quantize,
    .add_scaled = add_scaled,
    .norm = ruvm_elementwise_norm,
    .swiglu = ruvm_elementwise_swiglu,
    .spread = ruvm_elementwise_spread,
    .layernorm = ruvm_elementwise_layernorm,
    .scale = ruvm_elementwise_scale,
    .add_bias = ruvm_elementwise_add_bias,
    .gelu = ruvm_elementwise_gelu,
    .relu = ruvm_elementwise_relu,
    .rotate = ruvm_elementwise_rotate,
    .to_cache = ruvm_elementwise_to_cache,
    .narrow = ruvm_elementwise_narrow,
    .divide = ruvm_elementwise_divide,
    .unpack = ruvm_elementwise_unpack,
};
