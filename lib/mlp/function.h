/* What a handful of ONNX nodes computes from one number: an activation, however it is written.
 *
 * Exporters write GELU as five nodes or eight, SiLU as two; which ones depends on their
 * version. So nodes are not matched but computed, on a row of points, and the result is
 * compared with the activations that there are.
 */
#ifndef RUVM_MLP_FUNCTION_H
#define RUVM_MLP_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

enum { RUVM_FUNCTION_POINTS = 129 };

struct ruvm_function {
    double y[RUVM_FUNCTION_POINTS]; /* at the points -8, -7.875 ... 8 */
};

enum ruvm_function_op {
    RUVM_FUNCTION_NONE, /* no function of numbers that this file knows */
    RUVM_FUNCTION_ADD,
    RUVM_FUNCTION_SUB,
    RUVM_FUNCTION_MUL,
    RUVM_FUNCTION_DIV,
    RUVM_FUNCTION_POW,
    RUVM_FUNCTION_MAX,
    RUVM_FUNCTION_LAST_BINARY = RUVM_FUNCTION_MAX,
    RUVM_FUNCTION_NEG,
    RUVM_FUNCTION_ABS,
    RUVM_FUNCTION_EXP,
    RUVM_FUNCTION_SQRT,
    RUVM_FUNCTION_ERF,
    RUVM_FUNCTION_RECIPROCAL,
    RUVM_FUNCTION_RELU,
    RUVM_FUNCTION_LEAKY_RELU, /* b: the slope */
    RUVM_FUNCTION_SIGMOID,
    RUVM_FUNCTION_TANH,
    RUVM_FUNCTION_GELU_TANH,
    RUVM_FUNCTION_GELU_ERF,
};

/* x itself, and a number everywhere. */
void ruvm_function_identity(struct ruvm_function *f);
void ruvm_function_constant(struct ruvm_function *f, double value);
/* f = op(a, b); b is for operators of two, and may be f, as a. */
void ruvm_function_apply(struct ruvm_function *f, enum ruvm_function_op op,
                         const struct ruvm_function *a, const struct ruvm_function *b);
/* The activation (enum ruvm_mlp_act) that f is; false: none. slope: of LEAKY_RELU, else 0. */
bool ruvm_function_activation(const struct ruvm_function *f, uint8_t *act, double *slope);

#endif
