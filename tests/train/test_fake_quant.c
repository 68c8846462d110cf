/* Rounding against a search over all levels, gradients against their definitions. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "lib/train/fake_quant.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 5, COLS = 51 };

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float a = (float)(tiny_random(&seed) >> 40) * 0x1p-23f - 1.0f;
        x[i] = a * a * a;
    }
}

/* What the levels of each type are, said once more. */
static int levels_of(int type, int levels[256])
{
    static const int max[] = {127, 15, 7, 3, 1, 1, 1};
    bool every = type == RUVM_TYPE_INT8 || type == RUVM_TYPE_TERNARY;
    int n = 0;
    for (int l = -max[type]; l <= max[type]; l += every ? 1 : 2)
        levels[n++] = l;
    return n;
}

static double nearest(double w, int type, double step)
{
    int levels[256] = {0}, n = levels_of(type, levels);
    double best = levels[0] * step;
    for (int i = 1; i < n; i++)
        best = fabs(levels[i] * step - w) < fabs(best - w) ? levels[i] * step : best;
    return best;
}

struct fixture {
    struct ruvm_fake_quant f;
    float w[ROWS * COLS], q[ROWS * COLS], steps[ROWS * 4];
    int8_t levels[COLS];
    uint8_t multipliers[4];
    float scale;
};

static void open_fixture(struct fixture *x, int type, uint32_t group)
{
    x->f = (struct ruvm_fake_quant){type, ROWS, COLS, group};
    fill(x->w, ROWS * COLS, 3);
    ruvm_fake_quant_start(&x->f, x->steps, x->w);
    ruvm_fake_quant_weights(&x->f, x->q, x->w, x->steps);
}

static void take_row(struct fixture *x, uint32_t r)
{
    uint32_t groups = ruvm_fake_quant_groups(&x->f);
    ruvm_fake_quant_row(&x->f, x->levels, &x->scale, x->multipliers, x->w + r * COLS,
                        x->steps + r * groups);
}

static void for_all_schemes(void (*check)(int type, uint32_t group))
{
    for (int type = 0; type < RUVM_N_TYPES; type++) {
        check(type, 0);
        if (ruvm_codes_has_groups(type))
            for (uint32_t group = 16; group <= 64; group *= 2)
                check(type, group);
    }
}

/* ---- forward ------------------------------------------------------------------- */

static void check_weights(int type, uint32_t group)
{
    struct fixture x;
    open_fixture(&x, type, group);
    cr_assert_eq(ruvm_fake_quant_groups(&x.f), group ? (COLS + group - 1) / group : 1);
    for (uint32_t r = 0; r < ROWS; r++) {
        take_row(&x, r);
        for (uint32_t c = 0; c < COLS; c++) {
            uint8_t m = x.multipliers[group ? c / group : 0];
            double step = (double)x.scale * m, got = (double)x.q[r * COLS + c];
            double want = nearest((double)x.w[r * COLS + c], type, step);
            cr_assert(m >= 1 && m <= (group ? 15 : 1));
            cr_assert_lt(fabs(got - want), 1e-6 * (1 + fabs(want)), "type %d group %u", type,
                         group);
            cr_assert_lt(fabs(got - x.levels[c] * step), 1e-6, "type %d group %u", type, group);
        }
    }
}

Test(fake_quant, weights_are_the_nearest_ones_that_the_image_has)
{
    for_all_schemes(check_weights);
}

static double square_error(const float *w, uint32_t n, int type, double step)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        double miss = (double)w[i] - nearest((double)w[i], type, step);
        sum += miss * miss;
    }
    return sum;
}

static void check_start(int type, uint32_t group)
{
    struct fixture x;
    open_fixture(&x, type, group);
    uint32_t n = group ? group : COLS, groups = ruvm_fake_quant_groups(&x.f);
    for (uint32_t r = 0; r < ROWS; r++) {
        const float *w = x.w + r * COLS;
        double got = square_error(w, n, type, (double)x.steps[r * groups]), least = got;
        for (int i = 1; i < 1000; i++) {
            double error = square_error(w, n, type, i * 0.001 / ruvm_codes_max_level(type));
            least = error < least ? error : least;
        }
        cr_assert_leq(got, (type == RUVM_TYPE_INT8 ? 1.4 : 1.1) * least, "type %d: %g, possible %g",
                      type, got, least);
    }
}

Test(fake_quant, first_steps_have_nearly_the_least_error)
{
    for_all_schemes(check_start);
}

Test(fake_quant, a_row_of_zeros_stays_near_zero)
{
    struct fixture x;
    open_fixture(&x, RUVM_TYPE_INT4, 16);
    memset(x.w, 0, sizeof x.w);
    ruvm_fake_quant_start(&x.f, x.steps, x.w);
    ruvm_fake_quant_weights(&x.f, x.q, x.w, x.steps);
    for (int i = 0; i < ROWS * COLS; i++)
        cr_assert(x.steps[i % (ROWS * 4)] > 0 && fabsf(x.q[i]) < 1e-10f);
}

/* ---- backward ------------------------------------------------------------------- */

static void check_gradient(int type, uint32_t group)
{
    struct fixture x;
    float dq[ROWS * COLS], dw[ROWS * COLS], dsteps[ROWS * 4];
    open_fixture(&x, type, group);
    for (uint32_t i = 0; i < ROWS * 4; i++)
        x.steps[i] *= 0.6f; /* so that something is clipped */
    fill(dq, ROWS * COLS, 7);
    memcpy(dw, dq, sizeof dq);
    ruvm_fake_quant_gradient(&x.f, dw, dsteps, x.w, x.steps);
    uint32_t groups = ruvm_fake_quant_groups(&x.f);
    double max = ruvm_codes_max_level(type);
    double end = max + (type == RUVM_TYPE_INT8 || type == RUVM_TYPE_TERNARY ? 0.5 : 1);
    for (uint32_t r = 0; r < ROWS; r++) {
        double want[4] = {0};
        take_row(&x, r);
        for (uint32_t c = 0; c < COLS; c++) {
            uint32_t i = r * COLS + c, g = group ? c / group : 0;
            double step = (double)x.scale * x.multipliers[g], at = (double)x.w[i] / step;
            bool inside = fabs(at) <= end;
            cr_assert(inside ? memcmp(&dw[i], &dq[i], 4) == 0 : fabsf(dw[i]) <= 0.0f);
            want[g] += (double)dq[i] * (x.levels[c] - (inside ? at : 0)) * step;
        }
        for (uint32_t g = 0; g < groups; g++)
            cr_assert_lt(fabs(want[g] - (double)dsteps[r * groups + g]), 1e-4);
    }
}

Test(fake_quant, gradients_go_straight_through)
{
    for_all_schemes(check_gradient);
}

Test(fake_quant, a_float_tensor_is_left_alone)
{
    struct fixture x;
    float dw[ROWS * COLS], before[ROWS * COLS];
    open_fixture(&x, RUVM_FAKE_QUANT_FLOAT, 0);
    cr_assert_eq(ruvm_fake_quant_groups(&x.f), 0);
    cr_assert_arr_eq(x.q, x.w, sizeof x.w);
    fill(before, ROWS * COLS, 1);
    memcpy(dw, before, sizeof dw);
    ruvm_fake_quant_gradient(&x.f, dw, NULL, x.w, NULL);
    cr_assert_arr_eq(dw, before, sizeof dw);
}
