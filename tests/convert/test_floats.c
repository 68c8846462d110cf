/* The reference's arithmetic against the C library in double, and by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/convert/floats.h"

static double worst_of(int act, double (*expected)(double))
{
    double worst = 0;
    for (int i = -4000; i <= 4000; i++) {
        float x = (float)i / 400;
        double want = expected((double)x);
        ruvm_floats_activate(&x, 1, act);
        worst = fmax(worst, fabs((double)x - want));
    }
    return worst;
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static double gelu_erf(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

static double relu(double x)
{
    return fmax(x, 0);
}

Test(floats, activations)
{
    cr_expect_lt(worst_of(RUVM_ACT_GELU_TANH, gelu_tanh), 2e-6);
    cr_expect_lt(worst_of(RUVM_ACT_GELU_ERF, gelu_erf), 2e-6);
    cr_expect_leq(worst_of(RUVM_ACT_RELU, relu), 0);
    float up[2] = {3, 3}, gate[2] = {0, 1};
    ruvm_floats_gate(up, gate, 2);
    cr_expect_float_eq(up[0], 0, 0);
    cr_expect_float_eq((double)up[1], 3 / (1 + exp(-1)), 1e-6);
}

/* Mean 2, variance 5. */
Test(floats, layer_norm_by_hand)
{
    const float h[4] = {-1, 1, 3, 5}, gain[4] = {1, 1, 2, -1}, bias[4] = {0, 10, 0, 1};
    const double centred[4] = {-3, -1, 1, 3};
    float out[4];
    ruvm_floats_layer_norm(out, h, gain, bias, 4, 0);
    for (int i = 0; i < 4; i++)
        cr_expect_float_eq((double)out[i], centred[i] / sqrt(5) * (double)gain[i] + (double)bias[i],
                           1e-6);
    ruvm_floats_layer_norm(out, h, gain, NULL, 4, 4);
    cr_expect_float_eq(out[0], -1, 1e-6f);
}

Test(floats, rms_norm_by_hand)
{
    const float h[4] = {-1, 1, 3, 5}, gain[4] = {1, 1, 2, -1};
    float out[4];
    ruvm_floats_rms_norm(out, h, gain, 4, 0);
    for (int i = 0; i < 4; i++)
        cr_expect_float_eq((double)out[i], (double)(h[i] * gain[i]) / 3, 1e-6);
}

Test(floats, softmax_by_hand)
{
    float s[3] = {0, 2, 4};
    ruvm_floats_softmax(s, 3, 0.5f);
    double sum = 1 + exp(1) + exp(2);
    for (int i = 0; i < 3; i++)
        cr_expect_float_eq((double)s[i], exp(i) / sum, 1e-6);
}
