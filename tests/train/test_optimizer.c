/* Adam against the paper's formulas in doubles. */
#include <criterion/criterion.h>
#include <math.h>

#include "lib/train/optimizer.h"
#include "tests/support/tiny_model.h"

enum { N = 37, STEPS = 30 };

Test(optimizer, moves_as_adam_does)
{
    struct ruvm_arena arena = {0};
    struct ruvm_optimizer o;
    struct ruvm_error err = {0};
    double x[N], m[N] = {0}, v[N] = {0};
    uint64_t rng = 1;
    cr_assert_eq(ruvm_optimizer_open(&o, &arena, N, &err), RUVM_OK);
    for (int i = 0; i < N; i++)
        x[i] = i + 1;
    for (int i = 0; i < N; i++)
        o.values[i] = (float)x[i];
    const struct ruvm_optimizer_span plain = {0, 20, 0.01f, false}, grown = {20, 17, 0.01f, true};
    for (int t = 1; t <= STEPS; t++) {
        ruvm_optimizer_begin(&o);
        for (int i = 0; i < N; i++) {
            o.gradient[i] = (float)(tiny_random(&rng) >> 40) * 0x1p-24f - 0.3f;
            double g = (double)o.gradient[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.98 * v[i] + 0.02 * g * g;
            double step = 0.005 * m[i] / (1 - pow(0.9, t)) / sqrt(v[i] / (1 - pow(0.98, t)));
            x[i] -= i < 20 ? step : step * x[i];
        }
        ruvm_optimizer_move(&o, &plain, 0.5f);
        ruvm_optimizer_move(&o, &grown, 0.5f);
    }
    for (int i = 0; i < N; i++)
        cr_assert_lt(fabs(x[i] - (double)o.values[i]), 1e-5 * x[i], "%d: %g, expected %g", i,
                     (double)o.values[i], x[i]);
    ruvm_arena_free(&arena);
}
