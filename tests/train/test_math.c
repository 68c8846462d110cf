/* The arithmetic between the products against doubles, and every instruction set against the
 * others, bit by bit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

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
        double want = exp((double)(float)x), got = (double)ruvm_math_exp((float)x);
        cr_assert_lt(fabs(got / want - 1), 3e-7, "at %g: %g, expected %g", x, got, want);
    }
    cr_assert(ruvm_math_exp(-1e30f) > 0 && ruvm_math_exp(-1e30f) < 1e-37f);
    cr_assert(isfinite(ruvm_math_exp(1e30f)));
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

/* Forward and back through a whole network: products, attention, norms, SwiGLU, loss. */
static void run(float *gradient, struct ruvm_network *net, struct ruvm_arena *arena)
{
    enum { N = 41 };
    struct ruvm_network grad;
    struct ruvm_pass *pass;
    struct ruvm_error err = {0};
    uint16_t tokens[N];
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

Test(math, every_instruction_set_gives_the_same_gradients)
{
    const struct tiny_shape shape = {28, 45, 2, 2, 1, 71, 64, false, 8};
    struct ruvm_arena arena = {0};
    struct ruvm_network net;
    struct ruvm_model model;
    plain_open(&net, &model, &arena, &shape);
    size_t bytes = net.n_values * sizeof(float);
    float *first = malloc(bytes), *other = malloc(bytes);
    ruvm_isa_limit(RUVM_ISA_GENERIC);
    run(first, &net, &arena);
    for (int isa = RUVM_ISA_GENERIC + 1; isa < RUVM_N_ISAS; isa++) {
        ruvm_isa_limit((enum ruvm_isa)isa);
        run(other, &net, &arena);
        cr_assert_arr_eq(other, first, bytes, "instruction set %d", isa);
    }
    free(first);
    free(other);
    ruvm_arena_free(&arena);
}
