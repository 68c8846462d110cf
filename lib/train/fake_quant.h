/* Fake quantization: weights as the image will hold them, still differentiable.
 *
 * Each tensor has latent weights w, which the optimizer moves, and a step s for every group of
 * columns of a row. Forward the network sees level * step; backward rounding is passed
 * straight through (arXiv 1308.3432) and a step learns as in LSQ (arXiv 1902.08153). The
 * step seen is one that the image has: scale[row] * m with m = 1..15 when there are groups.
 */
#ifndef RUVM_TRAIN_FAKE_QUANT_H
#define RUVM_TRAIN_FAKE_QUANT_H

#include <stddef.h>
#include <stdint.h>

#include "formats/ruvm_codes.h"

/* A type of its own: the tensor stays as it is. */
enum { RUVM_FAKE_QUANT_FLOAT = RUVM_N_TYPES };

struct ruvm_fake_quant {
    int type;            /* enum ruvm_tensor_type or RUVM_FAKE_QUANT_FLOAT */
    uint32_t rows, cols; /* of the tensor */
    uint32_t group;      /* 16, 32 or 64 columns that share a step; 0: a row does */
};

/* Steps a row; 0 for RUVM_FAKE_QUANT_FLOAT. */
uint32_t ruvm_fake_quant_groups(const struct ruvm_fake_quant *f);

/* From a level to the middle between it and the next, in steps. */
float ruvm_fake_quant_half_gap(const struct ruvm_fake_quant *f);

/* Steps [rows, groups] of least square error for the weights [rows, cols]; all positive. */
void ruvm_fake_quant_start(const struct ruvm_fake_quant *f, float *steps, const float *w);

/* out [rows, cols]: the quantized weights. */
void ruvm_fake_quant_weights(const struct ruvm_fake_quant *f, float *out, const float *w,
                             const float *steps);

/* dw [rows, cols] comes in as the derivative by the quantized weights and becomes that by the
 * latent ones; dsteps [rows, groups] becomes the derivative by the logarithm of the steps. */
void ruvm_fake_quant_gradient(const struct ruvm_fake_quant *f, float *dw, float *dsteps,
                              const float *w, const float *steps);

/* What is stored of a row: its levels [cols], its scale, and multipliers [groups] (1 without
 * groups): weight = level * multiplier * scale. */
void ruvm_fake_quant_row(const struct ruvm_fake_quant *f, int8_t *levels, float *scale,
                         uint8_t *multipliers, const float *w, const float *steps);

#endif
