/* Functions as values at points. Activations differ from each other by far more than the
 * rounding of the constants in a file (float32) makes: GELU's two forms by 4e-4.
 */
#include "lib/mlp/function.h"

#include <math.h>

#include "lib/mlp/layers.h"

#define TOLERANCE 3e-5 /* of values up to 1, relative above */

static double point(int i)
{
    return -8 + 0.125 * i;
}

void ruvm_function_identity(struct ruvm_function *f)
{
    for (int i = 0; i < RUVM_FUNCTION_POINTS; i++)
        f->y[i] = point(i);
}

void ruvm_function_constant(struct ruvm_function *f, double value)
{
    for (int i = 0; i < RUVM_FUNCTION_POINTS; i++)
        f->y[i] = value;
}

static double apply(enum ruvm_function_op op, double a, double b)
{
    switch (op) {
    case RUVM_FUNCTION_ADD: return a + b;
    case RUVM_FUNCTION_SUB: return a - b;
    case RUVM_FUNCTION_MUL: return a * b;
    case RUVM_FUNCTION_DIV: return a / b;
    case RUVM_FUNCTION_POW: return pow(a, b);
    case RUVM_FUNCTION_MAX: return fmax(a, b);
    case RUVM_FUNCTION_NEG: return -a;
    case RUVM_FUNCTION_ABS: return fabs(a);
    case RUVM_FUNCTION_EXP: return exp(a);
    case RUVM_FUNCTION_SQRT: return sqrt(a);
    case RUVM_FUNCTION_ERF: return erf(a);
    case RUVM_FUNCTION_RECIPROCAL: return 1 / a;
    case RUVM_FUNCTION_RELU: return ruvm_layers_activate(RUVM_MLP_ACT_RELU, 0, a);
    case RUVM_FUNCTION_LEAKY_RELU: return ruvm_layers_activate(RUVM_MLP_ACT_LEAKY_RELU, b, a);
    case RUVM_FUNCTION_SIGMOID: return ruvm_layers_activate(RUVM_MLP_ACT_SIGMOID, 0, a);
    case RUVM_FUNCTION_TANH: return tanh(a);
    case RUVM_FUNCTION_GELU_TANH: return ruvm_layers_activate(RUVM_MLP_ACT_GELU_TANH, 0, a);
    case RUVM_FUNCTION_GELU_ERF: return ruvm_layers_activate(RUVM_MLP_ACT_GELU_ERF, 0, a);
    default: return (double)NAN;
    }
}

void ruvm_function_apply(struct ruvm_function *f, enum ruvm_function_op op,
                         const struct ruvm_function *a, const struct ruvm_function *b)
{
    for (int i = 0; i < RUVM_FUNCTION_POINTS; i++)
        f->y[i] = apply(op, a->y[i], b ? b->y[i] : 0);
}

static bool is_activation(const struct ruvm_function *f, uint8_t act, double slope)
{
    for (int i = 0; i < RUVM_FUNCTION_POINTS; i++) {
        double y = ruvm_layers_activate(act, slope, point(i));
        if (!(fabs(f->y[i] - y) <= TOLERANCE * fmax(1, fabs(y)))) /* a NaN neither */
            return false;
    }
    return true;
}

bool ruvm_function_activation(const struct ruvm_function *f, uint8_t *act, double *slope)
{
    const double leak = f->y[0] / point(0);
    for (*act = 0; *act < RUVM_MLP_N_ACTS; ++*act) {
        *slope = *act == RUVM_MLP_ACT_LEAKY_RELU ? leak : 0;
        bool is_slope = *slope >= 0 && *slope < 1;
        if (is_slope && is_activation(f, *act, *slope))
            return true;
    }
    return false;
}
