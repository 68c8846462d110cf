/* Floats: the arithmetic of the float reference, the same bits on every IEEE machine.
 *
 * A matrix is stored in tiles of LANES rows, column by column, so that a compiler can keep
 * LANES sums side by side while each of them still runs plainly from the first column to
 * the last. Vectors have room up to a multiple of LANES; what lies beyond their end is
 * never read as a value.
 */
#ifndef RUVM_CONVERT_FLOATS_H
#define RUVM_CONVERT_FLOATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUVM_FLOATS_LANES = 16 };

struct ruvm_floats_matrix {
    float *tiles; /* [rows / LANES rounded up, cols, LANES] */
    uint32_t rows, cols;
    bool signs; /* of its input only the signs are multiplied, times their mean size */
};

/* n rounded up to whole tiles. */
static inline size_t ruvm_floats_padded(size_t n)
{
    return (n + RUVM_FLOATS_LANES - 1) / RUVM_FLOATS_LANES * RUVM_FLOATS_LANES;
}

/* Where element (row, col) of a tiled matrix of that many columns stands. */
static inline size_t ruvm_floats_tiled(size_t row, size_t col, size_t cols)
{
    return (row / RUVM_FLOATS_LANES * cols + col) * RUVM_FLOATS_LANES + row % RUVM_FLOATS_LANES;
}

/* LANES sums over the columns of one tile. */
void ruvm_floats_tile(float *out, const float *tile, const float *x, uint32_t cols);

/* Vectors of one length: vector i begins at x + i * step. */
struct ruvm_floats_vectors {
    float *x;
    size_t step;
    uint32_t n;
};

/* out [rows, padded] = w x, whatever w->signs is. */
void ruvm_floats_multiply(float *out, const struct ruvm_floats_matrix *w, const float *x);

void ruvm_floats_add(float *h, const float *x, size_t n);
/* x [n] reduced to its signs times the mean of their sizes (arXiv 1603.05279). */
void ruvm_floats_signs(float *out, const float *x, size_t n);

/* Root mean square norm; out is not h. */
void ruvm_floats_rms_norm(float *out, const float *h, const float *gain, size_t n, float eps);
/* Layer norm: without the mean, in population variance; bias may be NULL; out is not h. */
void ruvm_floats_layer_norm(float *out, const float *h, const float *gain, const float *bias,
                            size_t n, float eps);
/* Softmax of s * scale, in place. */
void ruvm_floats_softmax(float *s, size_t n, float scale);

/* up *= silu(gate). */
void ruvm_floats_gate(float *up, const float *gate, size_t n);
/* Activation in place; act: enum ruvm_act without a gate. */
void ruvm_floats_activate(float *x, size_t n, int act);

#endif
