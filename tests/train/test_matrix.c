/* Products against naive ones in doubles, and against themselves: each instruction set, a cut
 * matrix and strides must not change a bit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "lib/train/isa.h"
#include "lib/train/matrix.h"
#include "tests/support/tiny_model.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static float *random_floats(size_t n, uint64_t seed)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(tiny_random(&seed) >> 40) * 0x1p-23f - 1.0f;
    return x;
}

/* Sizes around the edges of tiles and panels. */
static const struct {
    uint32_t m, n, k;
} sizes[] = {
    {1, 1, 1},    {8, 32, 256}, {9, 33, 257},  {7, 31, 255}, {13, 16, 5},
    {3, 17, 600}, {6, 172, 64}, {40, 64, 172}, {5, 8, 32},   {2, 5, 0},
};

static struct ruvm_matrix_product product(float *c, const float *a, const float *b, size_t size)
{
    return (struct ruvm_matrix_product){.c = c,
                                        .a = a,
                                        .b = b,
                                        .c_row = sizes[size].n,
                                        .a_row = sizes[size].k,
                                        .a_col = 1,
                                        .b_row = sizes[size].n,
                                        .b_col = 1,
                                        .m = sizes[size].m,
                                        .n = sizes[size].n,
                                        .k = sizes[size].k};
}

static void check_against_doubles(const struct ruvm_matrix_product *p, const float *before)
{
    for (uint32_t i = 0; i < p->m; i++)
        for (uint32_t j = 0; j < p->n; j++) {
            double sum = p->add ? (double)before[i * p->c_row + j] : 0;
            for (uint32_t l = 0; l < p->k; l++)
                sum += (double)p->a[i * p->a_row + l * p->a_col] *
                       (double)p->b[l * p->b_row + j * p->b_col];
            cr_assert_lt(fabs(sum - (double)p->c[i * p->c_row + j]), 1e-6 * (p->k + 8),
                         "[%u, %u] of %u x %u x %u", i, j, p->m, p->n, p->k);
        }
}

/* One size: plain, b and a turned, added. */
static void check_size(size_t s)
{
    size_t mn = sizes[s].m * sizes[s].n, mk = sizes[s].m * sizes[s].k;
    float *a = random_floats(mk, 1), *b = random_floats(sizes[s].k * sizes[s].n, 2);
    float *c = random_floats(mn, 3), *before = random_floats(mn, 3);
    struct ruvm_matrix_product p = product(c, a, b, s);
    ruvm_matrix_multiply(&p);
    check_against_doubles(&p, before);
    p.add = true;
    memcpy(c, before, mn * sizeof *c);
    ruvm_matrix_multiply(&p);
    check_against_doubles(&p, before);
    p.b_row = 1;
    p.b_col = p.k;
    p.a_row = 1;
    p.a_col = p.m;
    memcpy(c, before, mn * sizeof *c);
    ruvm_matrix_multiply(&p);
    check_against_doubles(&p, before);
    free(a);
    free(b);
    free(c);
    free(before);
}

Test(matrix, products_are_those_of_doubles)
{
    for (int isa = 0; isa < RUVM_N_ISAS; isa++) {
        ruvm_isa_limit((enum ruvm_isa)isa);
        for (size_t s = 0; s < COUNT(sizes); s++)
            check_size(s);
    }
}

/* The definition: products rounded and added in order, nothing fused. */
static float plain_element(const struct ruvm_matrix_product *p, uint32_t i, uint32_t j)
{
    volatile float sum = 0, term;
    for (uint32_t l = 0; l < p->k; l++) {
        term = p->a[i * p->a_row + l * p->a_col] * p->b[l * p->b_row + j * p->b_col];
        sum = sum + term;
    }
    return sum;
}

Test(matrix, every_instruction_set_gives_the_bits_of_a_plain_sum)
{
    for (size_t s = 0; s < COUNT(sizes); s++) {
        float *a = random_floats(sizes[s].m * sizes[s].k, 4);
        float *b = random_floats(sizes[s].k * sizes[s].n, 5);
        float *c = random_floats(sizes[s].m * sizes[s].n, 6);
        struct ruvm_matrix_product p = product(c, a, b, s);
        for (int isa = 0; isa < RUVM_N_ISAS; isa++) {
            ruvm_isa_limit((enum ruvm_isa)isa);
            ruvm_matrix_multiply(&p);
            for (uint32_t i = 0; i < p.m; i++)
                for (uint32_t j = 0; j < p.n; j++) {
                    float want = plain_element(&p, i, j);
                    cr_assert(memcmp(&c[i * p.n + j], &want, sizeof want) == 0,
                              "set %d size %zu [%u, %u]", isa, s, i, j);
                }
        }
        free(a);
        free(b);
        free(c);
    }
}

/* Only the columns asked for are written, whatever the panel's width. */
Test(matrix, nothing_beside_a_narrow_result_is_touched)
{
    float a[3 * 4], b[4 * 5], c[3 * 9];
    for (int i = 0; i < 12; i++)
        a[i] = (float)i;
    for (int i = 0; i < 20; i++)
        b[i] = (float)(i - 7);
    for (int i = 0; i < 27; i++)
        c[i] = -99.0f;
    struct ruvm_matrix_product p = {c, a, b, 9, 4, 1, 5, 1, 3, 5, 4, false};
    ruvm_matrix_multiply(&p);
    check_against_doubles(&p, c);
    for (int i = 0; i < 27; i++)
        cr_assert(i % 9 < 5 || (c[i] < -98.5f && c[i] > -99.5f));
}

/* The three products of a layer against the sums that define them. */
Test(matrix, forward_backward_and_gradient)
{
    enum { N = 11, ROWS = 19, COLS = 35 };
    float *x = random_floats(N * COLS, 1), *w = random_floats(ROWS * COLS, 2);
    float *y = random_floats(N * ROWS, 3), *dy = random_floats(N * ROWS, 4);
    float *dx = random_floats(N * COLS, 5), *dw = random_floats(ROWS * COLS, 6);
    float *dx_before = random_floats(N * COLS, 5), *dw_before = random_floats(ROWS * COLS, 6);
    ruvm_matrix_forward(y, x, w, N, ROWS, COLS);
    ruvm_matrix_backward(dx, dy, w, N, ROWS, COLS, true);
    ruvm_matrix_gradient(dw, dy, x, N, ROWS, COLS);
    struct ruvm_matrix_product forward = {y, x, w, ROWS, COLS, 1, 1, COLS, N, ROWS, COLS, false};
    struct ruvm_matrix_product backward = {dx, dy, w, COLS, ROWS, 1, COLS, 1, N, COLS, ROWS, true};
    struct ruvm_matrix_product gradient = {dw, dy, x, COLS, 1, ROWS, COLS, 1, ROWS, COLS, N, true};
    check_against_doubles(&forward, y);
    check_against_doubles(&backward, dx_before);
    check_against_doubles(&gradient, dw_before);
    float *all[] = {x, w, y, dy, dx, dw, dx_before, dw_before};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}
