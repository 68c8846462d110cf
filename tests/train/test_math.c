/* The arithmetic between the products against doubles, and every instruction set against the
 * others, bit by bit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "lib/base/exp.h"
#include "lib/train/isa.h"
#include "lib/train/math.h"
#include "lib/train/pass.h"
#include "tests/support/tiny_model.h"
#include "tests/train/plain_network.h"

static void fill(float *x, size_t n, float size, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)(tiny_random(&seed) >> 40) * 0x1p-23f - 1.0f) * size;
}

Test(math, exp_is_exp)
{
    for (double x = -86; x < 86; x += 0.0137) {
        double want = exp((double)(float)x), got = (double)ruvm_exp_f32((float)x);
        cr_assert_lt(fabs(got / want - 1), 3e-7, "at %g: %g, expected %g", x, got, want);
    }
    cr_assert(ruvm_exp_f32(-1e30f) > 0 && ruvm_exp_f32(-1e30f) < 1e-37f);
    cr_assert(isfinite(ruvm_exp_f32(1e30f)));
}

/* ---- the loss ------------------------------------------------------------------- */

enum { VOCAB = 37, ROWS = 3 };

static double plain_divergence(const double *student, const double *teacher)
{
    double sum = 0;
    for (int t = 0; t < ROWS; t++, student += VOCAB, teacher += VOCAB) {
        double zs = 0, zt = 0;
        for (int i = 0; i < VOCAB; i++) {
            zs += exp(student[i]);
            zt += exp(teacher[i]);
        }
        for (int i = 0; i < VOCAB; i++)
            sum += exp(teacher[i]) / zt * (teacher[i] - log(zt) - student[i] + log(zs));
    }
    return sum;
}

Test(math, divergence_and_its_derivative)
{
    float student[ROWS * VOCAB], teacher[ROWS * VOCAB];
    double s[ROWS * VOCAB], t[ROWS * VOCAB];
    fill(student, ROWS * VOCAB, 5, 1);
    fill(teacher, ROWS * VOCAB, 5, 2);
    for (int i = 0; i < ROWS * VOCAB; i++) {
        s[i] = (double)student[i];
        t[i] = (double)teacher[i];
    }
    double want = plain_divergence(s, t);
    double got = ruvm_math_divergence(student, teacher, ROWS, VOCAB, 0.25f);
    cr_assert_lt(fabs(want - got), 1e-5, "%g, expected %g", got, want);
    for (int i = 0; i < ROWS * VOCAB; i++) {
        double kept = s[i], step = 1e-6;
        s[i] = kept + step;
        double up = plain_divergence(s, t);
        s[i] = kept - step;
        double slope = 0.25 * (up - plain_divergence(s, t)) / (2 * step);
        s[i] = kept;
        cr_assert_lt(fabs(slope - (double)student[i]), 1e-6);
    }
}

Test(math, equal_distributions_do_not_diverge)
{
    float student[ROWS * VOCAB], teacher[ROWS * VOCAB];
    fill(student, ROWS * VOCAB, 30, 1);
    for (int i = 0; i < ROWS * VOCAB; i++) /* a shift of a row changes nothing */
        teacher[i] = student[i] + (float)(i / VOCAB) * 64.0f;
    cr_assert_lt(fabs(ruvm_math_divergence(student, teacher, ROWS, VOCAB, 1.0f)), 2e-5);
    for (int i = 0; i < ROWS * VOCAB; i++)
        cr_assert_lt(fabsf(student[i]), 2e-5f);
}

/* ---- layer norm ------------------------------------------------------------------ */

enum { DIM = 37, TOKENS = 3 };

/* Sum over all of weights times the norm of h. */
static double plain_layer_norm(const double *h, const double *gain, const float *weights)
{
    double sum = 0;
    for (int t = 0; t < TOKENS; t++, h += DIM, weights += DIM) {
        double mean = 0, square = 0;
        for (int i = 0; i < DIM; i++)
            mean += h[i] / DIM;
        for (int i = 0; i < DIM; i++)
            square += (h[i] - mean) * (h[i] - mean) / DIM;
        for (int i = 0; i < DIM; i++)
            sum += (double)weights[i] * gain[i] * (h[i] - mean) / sqrt(square + 1e-3);
    }
    return sum;
}

static double slope_at(double *x, double *h, double *gain, const float *weights)
{
    double kept = *x, step = 1e-6;
    *x = kept + step;
    double up = plain_layer_norm(h, gain, weights);
    *x = kept - step;
    double slope = (up - plain_layer_norm(h, gain, weights)) / (2 * step);
    *x = kept;
    return slope;
}

Test(math, layer_norm_and_its_derivative)
{
    float h[TOKENS * DIM], gain[DIM], weights[TOKENS * DIM], y[TOKENS * DIM], stats[2 * TOKENS];
    float dh[TOKENS * DIM] = {0}, dgain[DIM] = {0};
    double h_[TOKENS * DIM], gain_[DIM], sum = 0;
    fill(h, TOKENS * DIM, 3, 1);
    fill(gain, DIM, 2, 2);
    fill(weights, TOKENS * DIM, 1, 3);
    for (int i = 0; i < TOKENS * DIM; i++)
        h_[i] = (double)(h[i] += 5.0f); /* not centred */
    for (int i = 0; i < DIM; i++)
        gain_[i] = (double)gain[i];
    ruvm_math_layer_norm(y, stats, h, gain, TOKENS, DIM, 1e-3f);
    for (int i = 0; i < TOKENS * DIM; i++)
        sum += (double)(weights[i] * y[i]);
    cr_assert_lt(fabs(sum - plain_layer_norm(h_, gain_, weights)), 1e-5);
    ruvm_math_layer_norm_backward(dh, dgain, weights, h, stats, gain, TOKENS, DIM);
    for (int i = 0; i < TOKENS * DIM; i++)
        cr_assert_lt(fabs(slope_at(&h_[i], h_, gain_, weights) - (double)dh[i]), 1e-5);
    for (int i = 0; i < DIM; i++)
        cr_assert_lt(fabs(slope_at(&gain_[i], h_, gain_, weights) - (double)dgain[i]), 1e-5);
}

Test(math, a_bias_is_added_to_each_row_and_gets_their_sum)
{
    float y[] = {1, 2, 3, 4, 5, 6}, dbias[] = {10, 0, 0};
    const float bias[] = {0.5f, -1, 2};
    ruvm_math_bias(y, bias, 2, 3);
    cr_assert_arr_eq(y, ((const float[]){1.5f, 1, 5, 4.5f, 4, 8}), sizeof y);
    ruvm_math_bias_backward(dbias, y, 2, 3);
    cr_assert_arr_eq(dbias, ((const float[]){16, 5, 13}), sizeof dbias);
}

/* ---- activations without gate ----------------------------------------------------- */

static double plain_activation(double x, int act)
{
    switch (act) {
    case RUVM_ACT_GELU_TANH:
        return x / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case RUVM_ACT_GELU_ERF: return 0.5 * x * erfc(-x / sqrt(2));
    default: return x > 0 ? x : 0;
    }
}

Test(math, activations_and_their_derivatives)
{
    for (int act = RUVM_ACT_GELU_TANH; act < RUVM_N_ACTS; act++)
        for (double v = -12.005; v < 12; v += 0.0137) {
            float x = (float)v, y;
            const float dy = 2;
            double at = (double)x, step = 1e-5;
            double slope = plain_activation(at + step, act) - plain_activation(at - step, act);
            ruvm_math_activate(&y, &x, 1, act);
            cr_assert_lt(fabs((double)y - plain_activation(at, act)), 3e-7 * (1 + fabs(at)),
                         "%d at %g: %g", act, v, (double)y);
            ruvm_math_activate_backward(&x, &dy, 1, act);
            cr_assert_lt(fabs((double)x - slope / step), 1e-5, "%d at %g: %g, expected %g", act, v,
                         (double)x, slope / step);
        }
}

Test(math, activations_of_numbers_beyond_all_measure_are_numbers)
{
    for (int act = RUVM_ACT_GELU_TANH; act < RUVM_N_ACTS; act++)
        for (int sign = -1; sign <= 1; sign += 2) {
            float x = 1e10f * (float)sign, y;
            const float dy = 1;
            ruvm_math_activate(&y, &x, 1, act);
            cr_assert(sign > 0 ? y > 0.9e10f && y < 1.1e10f : fabsf(y) < 1e-20f);
            ruvm_math_activate_backward(&x, &dy, 1, act);
            cr_assert_lt(fabsf(x - (sign > 0 ? 1.0f : 0.0f)), 1e-6f, "%d: %g", act, (double)x);
        }
}

/* ---- signs ---------------------------------------------------------------------- */

Test(math, signs_keep_the_mean_size)
{
    const float x[] = {1.0f, -3.0f, 0.0f, 2.0f, -10.0f, 8.0f};
    float y[6];
    ruvm_math_signs(y, x, 1, 6);
    const float want[] = {4.0f, -4.0f, 4.0f, 4.0f, -4.0f, 4.0f};
    cr_assert_arr_eq(y, want, sizeof want);
    /* beyond twice the mean (-10) only the mean itself lets a derivative through */
    const float dy[] = {1, 0, 0, 0, 6, 0};
    float dx[] = {0, 0, 0, 0, 0, 100};
    ruvm_math_signs_backward(dx, dy, x, 1, 6);
    const float dmean = (1.0f - 6.0f) / 6.0f;
    const float expected[] = {1 + dmean, -dmean, dmean, dmean, -dmean, 100 + dmean};
    for (int i = 0; i < 6; i++)
        cr_assert_lt(fabsf(dx[i] - expected[i]), 1e-5f, "%d: %g", i, (double)dx[i]);
}

/* ---- instruction sets -------------------------------------------------------------- */

/* Forward and back through a whole network: products, attention, norms, activations, loss. */
static void run(float *gradient, struct ruvm_network *net, struct ruvm_arena *arena)
{
    enum { N = 40 };
    struct ruvm_network grad;
    struct ruvm_pass *pass;
    struct ruvm_error err = {0};
    uint32_t tokens[N];
    float *teacher = calloc((size_t)N * net->vocab, sizeof *teacher);
    plain_tokens(tokens, N, net->vocab, 9);
    fill(teacher, (size_t)N * net->vocab, 3, 4);
    cr_assert_eq(ruvm_network_like(&grad, arena, net, &err), RUVM_OK);
    cr_assert_eq(ruvm_pass_open(&pass, arena, net, N, &err), RUVM_OK);
    float *logits = ruvm_pass_forward(pass, net, tokens, N, NULL);
    ruvm_math_divergence(logits, teacher, N, net->vocab, 1.0f / N);
    ruvm_pass_backward(pass, net, &grad, NULL);
    memcpy(gradient, grad.values, net->n_values * sizeof *gradient);
    free(teacher);
}

static void compare_sets(struct ruvm_network *net, struct ruvm_arena *arena, const char *what)
{
    size_t bytes = net->n_values * sizeof(float);
    float *first = malloc(bytes), *other = malloc(bytes);
    ruvm_isa_limit(RUVM_ISA_GENERIC);
    run(first, net, arena);
    for (int isa = RUVM_ISA_GENERIC + 1; isa < RUVM_N_ISAS; isa++) {
        ruvm_isa_limit((enum ruvm_isa)isa);
        run(other, net, arena);
        cr_assert_arr_eq(other, first, bytes, "%s, instruction set %d", what, isa);
    }
    free(first);
    free(other);
}

Test(math, every_instruction_set_gives_the_same_gradients)
{
    const struct tiny_shape shape = {28, 45, 2, 2, 1, 71, 64, false, 8};
    struct ruvm_arena arena = {0};
    struct ruvm_network net;
    struct ruvm_model model;
    plain_open(&net, &model, &arena, &shape);
    compare_sets(&net, &arena, "Llama");
    for (int n = 0; n < TINY_NETWORKS; n++) {
        plain_open_tiny(&net, &model, &arena, n);
        compare_sets(&net, &arena, tiny_network_name(n));
    }
    ruvm_arena_free(&arena);
}
