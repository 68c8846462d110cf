/* Kernels: every table gives the integers of the scalar one, and the scalar one
 * those of the sentences in kernels.h. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/kernels/compare.h"
#include "tests/kernels/naive.h"

static void compare_all(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    compare_init();
    for (const struct compare_case *c = compare_cases; c->name; c++) {
        compare_state = 1;
        cr_expect(c->run(k, oracle) == 0, "%s, not as %s: %s", k->name, oracle->name,
                  compare_message);
    }
}

Test(kernels, scalar_equals_naive)
{
    compare_all(&ruvm_kernels_scalar, &naive);
}

Test(kernels, every_table_equals_scalar)
{
    for (const struct ruvm_kernels *const *k = ruvm_kernels_all; *k; k++) {
        if (*k == &ruvm_kernels_scalar)
            continue;
        if ((*k)->available())
            compare_all(*k, &ruvm_kernels_scalar);
        else
            fprintf(stderr, "skipped: kernels %s: this machine cannot run them\n", (*k)->name);
    }
}

static int8_t broken_x[16] = {1};
static void broken_matmul(const struct ruvm_matmul *m)
{
    struct ruvm_matmul wrong = *m;
    wrong.n_vecs = 1;
    wrong.x = broken_x;
    wrong.n_cols = 16;
    ruvm_kernels_scalar.matmul_s8(&wrong);
}

Test(kernels, comparison_can_fail)
{
    struct ruvm_kernels broken = ruvm_kernels_scalar;
    broken.matmul_s8 = broken_matmul;
    compare_init();
    cr_assert(compare_matmul(&broken, &naive) != 0);
    cr_assert(strstr(compare_message, "output differs") != NULL, "%s", compare_message);
}

Test(kernels, select_by_name)
{
    const struct ruvm_kernels *best = ruvm_kernels_select(NULL);
    cr_assert_not_null(best);
    cr_expect(best->available());
    cr_expect(ruvm_kernels_select("scalar") == &ruvm_kernels_scalar);
    cr_expect(ruvm_kernels_select("scala") == NULL);
    cr_expect(ruvm_kernels_select("scalars") == NULL);
    cr_expect(ruvm_kernels_select("") == NULL);
    const struct ruvm_kernels *const *k = ruvm_kernels_all;
    for (; *k; k++)
        cr_expect(ruvm_kernels_select((*k)->name) == ((*k)->available() ? *k : NULL));
    cr_expect(k[-1] == &ruvm_kernels_scalar, "scalar is the last");
}

Test(kernels, exp2_weight_is_close_and_monotone)
{
    uint32_t before = RUVM_E_MAX;
    double worst = 0;
    cr_expect(ruvm_exp2_weight(0) == RUVM_E_MAX);
    for (uint32_t t = 0; t < 16 << 15; t++) {
        uint32_t e = ruvm_exp2_weight(t);
        if (e > before)
            cr_assert_fail("2^-t rises at t = %u", t);
        before = e;
        worst = fmax(worst, fabs(e / 16384.0 - exp2(-(double)t / 32768)));
    }
    cr_expect(worst < 1.4e-4, "off by %g", worst);
    static const uint64_t huge[] = {14u << 15, UINT32_MAX, 1ull << 32, 1ull << 47, UINT64_MAX};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++)
        cr_expect(ruvm_exp2_weight(huge[i]) == 0, "at %llu", (unsigned long long)huge[i]);
}

Test(kernels, sigmoid_is_close_monotone_and_symmetric)
{
    double worst = 0;
    int32_t before = 0;
    for (int32_t g = -70000; g <= 70000; g++) {
        int32_t s = ruvm_sigmoid_q15(g);
        worst = fmax(worst, fabs(s / 32768.0 - 1 / (1 + exp(-g / 4096.0))));
        if (s < before || s + ruvm_sigmoid_q15(-g) != 32768)
            cr_assert_fail("wrong at g = %d", g);
        before = s;
    }
    cr_expect(worst < 1e-4, "off by %g", worst);
    cr_expect(ruvm_sigmoid_q15(0) == 16384);
    cr_expect(ruvm_sigmoid_q15(INT32_MAX) == 32768);
    cr_expect(ruvm_sigmoid_q15(INT32_MIN) == 0);
    for (int i = 0; i <= 256; i++)
        cr_expect(ruvm_scalar_sigmoid[i] == lround(32768 / (1 + exp(-i / 16.0))), "entry %d", i);
}

static double gelu_factor(uint32_t row, double x)
{
    const double root = sqrt(2 / acos(-1.0));
    return row == 0 ? 0.5 + 0.5 * tanh(root * (x + 0.044715 * x * x * x))
                    : 0.5 + 0.5 * erf(x / sqrt(2));
}

Test(kernels, gelu_is_close_monotone_and_symmetric)
{
    for (uint32_t row = 0; row < 2; row++) {
        const uint16_t *table = ruvm_scalar_gelu[row];
        double worst = 0, worst_product = 0;
        int32_t before = 0;
        for (int32_t t = -30000; t <= 30000; t++) {
            int32_t s = ruvm_gelu_q15(row, t);
            double off = s / 32768.0 - gelu_factor(row, t / 4096.0);
            worst = fmax(worst, fabs(off));
            worst_product = fmax(worst_product, fabs(off * t / 4096));
            if (s < before || s + ruvm_gelu_q15(row, -t) != 32768)
                cr_assert_fail("wrong at t = %d", t);
            before = s;
        }
        cr_expect(worst < 6e-5, "row %u: off by %g", row, worst);
        cr_expect(worst_product < 1e-4, "row %u: product off by %g", row, worst_product);
        cr_expect(ruvm_gelu_q15(row, 0) == 16384);
        cr_expect(ruvm_gelu_q15(row, INT32_MAX) == 32768);
        cr_expect(ruvm_gelu_q15(row, INT32_MIN) == 0);
        for (int i = 0; i <= RUVM_GELU_STEPS; i++)
            cr_expect(table[i] == lround(32768 * gelu_factor(row, i / 32.0)), "entry %d", i);
    }
}
