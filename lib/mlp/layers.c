/* The float model runs as it is written: sums in double, so that what an image differs from
 * it is the image's doing.
 */
#include "lib/mlp/layers.h"

#include <math.h>
#include <string.h>

uint32_t ruvm_layers_widest(const struct ruvm_layers *l)
{
    uint32_t widest = ruvm_layers_inputs(l);
    for (uint32_t i = 0; i < l->n; i++)
        widest = l->layer[i].rows > widest ? l->layer[i].rows : widest;
    return widest;
}

double ruvm_layers_activate(uint8_t act, double slope, double x)
{
    const double sqrt_2_over_pi = 0.79788456080286535588, sqrt_half = 0.70710678118654752440;
    switch (act) {
    case RUVM_MLP_ACT_RELU: return x > 0 ? x : 0;
    case RUVM_MLP_ACT_LEAKY_RELU: return x > 0 ? x : slope * x;
    case RUVM_MLP_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case RUVM_MLP_ACT_TANH: return tanh(x);
    case RUVM_MLP_ACT_SILU: return x / (1 + exp(-x));
    case RUVM_MLP_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
    case RUVM_MLP_ACT_GELU_ERF: return 0.5 * x * (1 + erf(x * sqrt_half));
    default: return x;
    }
}

void ruvm_layers_apply(const struct ruvm_layer *layer, double *y, const double *x)
{
    for (uint32_t r = 0; r < layer->rows; r++) {
        const float *w = layer->w + (size_t)r * layer->cols;
        double sum = layer->bias[r];
        for (uint32_t c = 0; c < layer->cols; c++)
            sum += (double)w[c] * x[c];
        y[r] = ruvm_layers_activate(layer->act, layer->slope, sum);
    }
}

void ruvm_layers_run(const struct ruvm_layers *l, double *logits, const double *x, double *work)
{
    uint32_t widest = ruvm_layers_widest(l);
    for (uint32_t i = 0; i < l->n; i++) {
        double *y = i + 1 == l->n ? logits : work + (i % 2 ? widest : 0);
        ruvm_layers_apply(&l->layer[i], y, x);
        x = y;
    }
}

uint32_t ruvm_layers_best(const double *logits, uint32_t n)
{
    uint32_t best = 0;
    if (n == 1)
        return logits[0] > 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}
