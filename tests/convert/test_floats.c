/* The reference's arithmetic against the C library in double, and by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/convert/floats.h"
#include "lib/train/isa.h"

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

/* Tiles of rows, times several inputs: the sums of one input at a time, on every instruction
 * set. 1 .. 9 inputs, columns that fill no vector. */
Test(floats, inputs_side_by_side_have_the_same_sums)
{
    enum { COLS = 21, MOST = 9, LANES = RUVM_FLOATS_LANES };
    float rows[LANES * COLS], tile[COLS * LANES], x[MOST * COLS], one[LANES], each[MOST * LANES];
    for (int i = 0; i < LANES * COLS; i++)
        rows[i] = sinf((float)i);
    for (int i = 0; i < MOST * COLS; i++)
        x[i] = cosf((float)i * 3);
    for (int isa = 0; isa < RUVM_N_ISAS; isa++) {
        ruvm_isa_limit((enum ruvm_isa)isa);
        ruvm_floats_tile_make(tile, rows, COLS);
        for (size_t r = 0; r < LANES; r++)
            for (size_t c = 0; c < COLS; c++)
                cr_assert(memcmp(&tile[ruvm_floats_tiled(r, c, COLS)], &rows[r * COLS + c],
                                 sizeof *tile) == 0);
        for (uint32_t n = 1; n <= MOST; n++) {
            ruvm_floats_tile_each((struct ruvm_floats_vectors){each, LANES, n}, tile,
                                  (struct ruvm_floats_vectors){x, COLS, n}, COLS);
            for (uint32_t i = 0; i < n; i++) {
                ruvm_floats_tile(one, tile, x + i * COLS, COLS);
                cr_assert(memcmp(one, each + i * LANES, sizeof one) == 0);
            }
        }
    }
    ruvm_isa_limit(RUVM_N_ISAS);
}
