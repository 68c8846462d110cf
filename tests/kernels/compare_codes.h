/* Matrices of packed weights for the comparison: all types, groups, tails and parts. */
#ifndef TESTS_KERNELS_COMPARE_CODES_H
#define TESTS_KERNELS_COMPARE_CODES_H

#include "formats/ruvm_codes.h"
#include "kernels/kernels.h"
#include "tests/kernels/arrays.h"
#include "tests/kernels/compare_panels.h"

/* A tensor and which of it is asked for. */
struct compare_shape {
    int type;
    uint32_t rows, cols, vecs, group;
    uint32_t first_col, n_cols; /* n_cols 0: all from first_col on */
};

static void compare_run(const struct ruvm_kernels *k, int type, const struct ruvm_matmul_codes *m)
{
    switch (type) {
    case RUVM_TYPE_INT4: k->matmul_int4(m); return;
    case RUVM_TYPE_INT3: k->matmul_int3(m); return;
    case RUVM_TYPE_INT2: k->matmul_int2(m); return;
    case RUVM_TYPE_BINARY: k->matmul_binary(m); return;
    case RUVM_TYPE_TERNARY: k->matmul_ternary(m); return;
    case RUVM_TYPE_XNOR: k->matmul_xnor(m); return;
    default: abort();
    }
}

/* A level of the type in one of the manners of compare_value(). */
static int8_t compare_level(int type, int manner, uint32_t i)
{
    int max = ruvm_codes_max_level(type), any = compare_value(manner, i, max);
    if (type != RUVM_TYPE_TERNARY && (any + max) % 2 != 0)
        any += any < 0 ? -1 : 1;
    return (int8_t)any;
}

static const uint8_t *compare_rows(const struct compare_shape *s, int manner)
{
    static int8_t levels[65536];
    uint32_t bytes = ruvm_codes_row_bytes(s->type, s->cols);
    uint8_t *w = compare_array((size_t)s->rows * bytes);
    for (uint32_t r = 0; r < s->rows; r++) {
        for (uint32_t c = 0; c < s->cols; c++)
            levels[c] = compare_level(s->type, manner, c);
        ruvm_codes_pack(s->type, w + (size_t)r * bytes, levels, s->cols);
    }
    return w;
}

static const uint8_t *compare_multipliers(const struct compare_shape *s, int manner)
{
    uint32_t bytes = ruvm_codes_mult_bytes(s->cols, s->group);
    uint8_t *mult = compare_array((size_t)s->rows * bytes);
    for (size_t i = 0; i < (size_t)s->rows * bytes; i++) {
        mult[i] = manner == 0 ? (uint8_t)compare_random() : 0xff;
        if ((i + 1) % bytes == 0 && (s->cols + s->group - 1) / s->group % 2 != 0)
            mult[i] &= 15;
    }
    return mult;
}

/* Inputs of n columns, zero behind the n_real first, up to a multiple of 32. */
static const int8_t *compare_inputs(uint32_t vecs, uint32_t stride, uint32_t n, uint32_t n_real,
                                    int manner)
{
    size_t padded = (n + 31) / 32 * 32;
    int8_t *x = compare_s8((vecs - 1) * (size_t)stride + padded, manner);
    for (uint32_t v = 0; v < vecs; v++)
        for (size_t c = n_real; c < padded; c++)
            x[v * (size_t)stride + c] = 0;
    return x;
}

static const int8_t *compare_signs(const struct compare_shape *s, uint32_t stride, int manner)
{
    static int8_t signs[65536];
    uint32_t bytes = ruvm_codes_row_bytes(s->type, s->cols);
    uint8_t *x = compare_array((s->vecs - 1) * (size_t)stride + bytes);
    for (uint32_t v = 0; v < s->vecs; v++) {
        for (uint32_t c = 0; c < s->cols; c++)
            signs[c] = compare_level(s->type, manner, c);
        ruvm_codes_pack(s->type, x + v * (size_t)stride, signs, s->cols);
    }
    return (const int8_t *)x;
}

static int compare_shape_of_codes(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle,
                                  struct compare_shape s)
{
    static const char *const names[RUVM_N_TYPES] = {NULL,     "int4",    "int3", "int2",
                                                    "binary", "ternary", "xnor"};
    uint32_t real = s.type == RUVM_TYPE_TERNARY || s.type == RUVM_TYPE_XNOR;
    uint32_t r = (uint32_t)compare_random(), padded = real ? s.cols : (s.cols + 15) / 16 * 16;
    int manner = (int)(r % 5);
    struct ruvm_matmul_codes m = {.n_rows = s.rows, .n_vecs = s.vecs, .group = s.group};
    m.first_col = s.first_col;
    m.n_cols = s.n_cols ? s.n_cols : padded - s.first_col;
    m.row_bytes = ruvm_codes_row_bytes(s.type, s.cols);
    m.mult_bytes = ruvm_codes_mult_bytes(s.cols, s.group);
    m.x_stride = (m.n_cols + 31) / 32 * 32 + (r >> 8) % 3 * 16;
    m.out_stride = s.rows + (r >> 12) % 5;
    compare_slot = 0;
    m.w = compare_rows(&s, manner);
    m.mult = s.group ? compare_multipliers(&s, (int)(r >> 16) % 3) : NULL;
    int x_manner = manner == 2 ? 1 + (int)(r >> 20) % 2 : manner;
    uint32_t left = s.cols - m.first_col;
    m.x = s.type == RUVM_TYPE_XNOR ? compare_signs(&s, m.x_stride, x_manner)
                                   : compare_inputs(s.vecs, m.x_stride, m.n_cols,
                                                    left < m.n_cols ? left : m.n_cols, x_manner);
    size_t bytes = ((size_t)(m.n_vecs - 1) * m.out_stride + m.n_rows) * sizeof(int32_t);
    int32_t *a = m.out = compare_array(bytes);
    compare_run(k, s.type, &m);
    int32_t *b = m.out = compare_array(bytes);
    compare_run(oracle, s.type, &m);
    return compare_same(names[s.type], a, b, bytes, m.n_rows, m.n_cols) ||
           (!real && compare_panels_codes(k, ruvm_codes_bits(s.type), &m, b));
}

/* One of 0, 16, 32, 64, where the type may have groups. */
static uint32_t compare_group(int type, uint32_t i)
{
    return ruvm_codes_has_groups(type) && i % 4 ? 8u << i % 4 : 0;
}

/* All small numbers of columns: whole, and a part of them. */
static int compare_small_codes(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle,
                               int type)
{
    int bad = 0;
    for (uint32_t cols = 1; cols <= 200 && !bad; cols += cols < 110 ? 1 : 7)
        for (uint32_t i = 0; i < 8 && !bad; i++) {
            uint32_t r = (uint32_t)compare_random();
            struct compare_shape s = {.type = type, .cols = cols, .group = compare_group(type, i)};
            s.rows = 1 + r % 40;
            s.vecs = 1 + (r >> 8) % 9;
            bad = compare_shape_of_codes(k, oracle, s);
            if (bad || type == RUVM_TYPE_TERNARY || type == RUVM_TYPE_XNOR)
                continue;
            uint32_t blocks = (cols + 31) / 32;
            s.first_col = (r >> 16) % blocks * 32;
            uint32_t whole = (cols - s.first_col) / 32;
            s.n_cols = whole ? (1 + (r >> 24) % whole) * 32 : 0;
            bad = compare_shape_of_codes(k, oracle, s);
        }
    return bad;
}

static int compare_codes(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle, int type)
{
    static const uint32_t shapes[][3] = {
        {512, 64, 1},   {172, 64, 3},   {64, 172, 2},   {64, 176, 1},   {48, 768, 5},
        {96, 288, 32},  {33, 2048, 4},  {20, 150, 150}, {5, 32768, 1},  {3, 32751, 3},
        {40, 333, 9},   {17, 1000, 70}, {70, 48, 3},    {150, 1100, 2}, {52, 30000, 2},
        {11, 32751, 1}, {13, 5300, 7},  {9, 21003, 3},
    };
    int bad = compare_small_codes(k, oracle, type);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t j = 0; j < 8 && !bad; j++) {
            struct compare_shape s = {.type = type, .group = compare_group(type, j)};
            s.rows = shapes[i][0];
            s.cols = shapes[i][1];
            s.vecs = shapes[i][2];
            bad = compare_shape_of_codes(k, oracle, s);
        }
    return bad;
}

static int compare_int4(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    return compare_codes(k, oracle, RUVM_TYPE_INT4);
}

static int compare_int3(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    return compare_codes(k, oracle, RUVM_TYPE_INT3);
}

static int compare_int2(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    return compare_codes(k, oracle, RUVM_TYPE_INT2);
}

static int compare_binary(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    return compare_codes(k, oracle, RUVM_TYPE_BINARY);
}

static int compare_ternary(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    return compare_codes(k, oracle, RUVM_TYPE_TERNARY);
}

static int compare_xnor(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    return compare_codes(k, oracle, RUVM_TYPE_XNOR);
}

#endif
