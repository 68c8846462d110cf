/* The matrices of packed weights once more: rows unpacked by formats/ruvm_codes.c to
 * levels, each multiplied by its multiplier and its input, and added in 64 bits. */
#ifndef TESTS_KERNELS_NAIVE_CODES_H
#define TESTS_KERNELS_NAIVE_CODES_H

#include "formats/ruvm_codes.h"
#include "kernels/kernels.h"

enum { NAIVE_MAX_COLS = 65536 };

static int8_t naive_levels[NAIVE_MAX_COLS], naive_signs[NAIVE_MAX_COLS];

static void naive_codes(const struct ruvm_matmul_codes *m, int type)
{
    for (uint32_t r = 0; r < m->n_rows; r++) {
        ruvm_codes_unpack(type, naive_levels, m->w + (size_t)r * m->row_bytes,
                          m->first_col + m->n_cols);
        for (uint32_t v = 0; v < m->n_vecs; v++) {
            int64_t sum = 0;
            for (uint32_t i = 0; i < m->n_cols; i++) {
                uint32_t c = m->first_col + i, mult = 1;
                if (m->group != 0)
                    mult = ruvm_codes_mult(m->mult + (size_t)r * m->mult_bytes, c / m->group);
                sum += (int64_t)naive_levels[c] * mult * m->x[(size_t)v * m->x_stride + i];
            }
            m->out[(size_t)v * m->out_stride + r] = (int32_t)sum;
        }
    }
}

static void naive_int4(const struct ruvm_matmul_codes *m)
{
    naive_codes(m, RUVM_TYPE_INT4);
}

static void naive_int3(const struct ruvm_matmul_codes *m)
{
    naive_codes(m, RUVM_TYPE_INT3);
}

static void naive_int2(const struct ruvm_matmul_codes *m)
{
    naive_codes(m, RUVM_TYPE_INT2);
}

static void naive_binary(const struct ruvm_matmul_codes *m)
{
    naive_codes(m, RUVM_TYPE_BINARY);
}

static void naive_ternary(const struct ruvm_matmul_codes *m)
{
    naive_codes(m, RUVM_TYPE_TERNARY);
}

/* Signs are the levels of a BINARY row. */
static void naive_xnor(const struct ruvm_matmul_codes *m)
{
    for (uint32_t r = 0; r < m->n_rows; r++) {
        ruvm_codes_unpack(RUVM_TYPE_XNOR, naive_levels, m->w + (size_t)r * m->row_bytes, m->n_cols);
        for (uint32_t v = 0; v < m->n_vecs; v++) {
            const int8_t *x = m->x + (size_t)v * m->x_stride;
            int32_t sum = 0;
            ruvm_codes_unpack(RUVM_TYPE_XNOR, naive_signs, (const uint8_t *)x, m->n_cols);
            for (uint32_t c = 0; c < m->n_cols; c++)
                sum += naive_levels[c] * naive_signs[c];
            m->out[(size_t)v * m->out_stride + r] = sum;
        }
    }
}

#endif
