/* Math: what stands between the matrix products of a network, forward and backward.
 *
 * Rows of tokens, row-major, without gaps. As with the products every result is the same
 * bits on every machine: exp is ours, a sum runs in LANES fixed lanes which are then
 * added in order, and nothing is contracted.
 */
#ifndef RUVM_TRAIN_MATH_H
#define RUVM_TRAIN_MATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* RMS norm of n tokens (arXiv 1910.07467): y = gain * h * inverse, where inverse [n] is
 * 1 / sqrt(mean h^2 + eps) of each token; kept for the way back. */
void ruvm_math_norm(float *y, float *inverse, const float *h, const float *gain, uint32_t n,
                    uint32_t dim, float eps);
/* dh [n, dim] and dgain [dim] grow by what dy gives. */
void ruvm_math_norm_backward(float *dh, float *dgain, const float *dy, const float *h,
                             const float *inverse, const float *gain, uint32_t n, uint32_t dim);

/* Layer norm (arXiv 1607.06450) without its bias: y = gain * (h - mean) * inverse, where stats
 * [n, 2] are mean and inverse = 1 / sqrt(variance + eps) of each token. */
void ruvm_math_layer_norm(float *y, float *stats, const float *h, const float *gain, uint32_t n,
                          uint32_t dim, float eps);
void ruvm_math_layer_norm_backward(float *dh, float *dgain, const float *dy, const float *h,
                                   const float *stats, const float *gain, uint32_t n, uint32_t dim);

/* y [n, dim] += bias [dim] in each row. */
void ruvm_math_bias(float *y, const float *bias, uint32_t n, uint32_t dim);
/* dbias [dim] += the sum of the rows of dy [n, dim]. */
void ruvm_math_bias_backward(float *dbias, const float *dy, uint32_t n, uint32_t dim);

/* SwiGLU (arXiv 2002.05202), element by element: y = up * gate / (1 + e^-gate). */
void ruvm_math_swiglu(float *y, const float *up, const float *gate, size_t n);
/* up and gate come in and are replaced by their derivatives. */
void ruvm_math_swiglu_backward(float *up, float *gate, const float *dy, size_t n);

/* An activation without gate, element by element; act: enum ruvm_act. The error function of
 * GELU is that of lib/convert/floats.c. */
void ruvm_math_activate(float *y, const float *x, size_t n, int act);
/* x comes in and is replaced by its derivative. */
void ruvm_math_activate_backward(float *x, const float *dy, size_t n, int act);

/* y += x. */
void ruvm_math_add(float *y, const float *x, size_t n);
/* y = share * y + (1 - share) * x. */
void ruvm_math_blend(float *y, const float *x, float share, size_t n);

/* Signs of each token's values times the mean of their sizes: the input of an XNOR matrix
 * (arXiv 1603.05279). */
void ruvm_math_signs(float *y, const float *x, uint32_t n, uint32_t dim);
/* dx += straight-through derivative: that of the mean size, and dy itself where |x| is at
 * most twice the mean. */
void ruvm_math_signs_backward(float *dx, const float *dy, const float *x, uint32_t n, uint32_t dim);

/* The loss of distillation over n tokens of vocab logits: returns the sum of
 * KL(teacher || student), and replaces student by the derivative of scale times it, teacher by
 * unscaled exponentials (work). */
double ruvm_math_divergence(float *student, float *teacher, uint32_t n, uint32_t vocab,
                            float scale);

#endif
