/* Matrix: products of float matrices, the same bits on every machine.
 *
 * An element is one plain sum: it starts at 0 (or at what is there already), and the
 * products are rounded and added one after the other in the order of k. Vectors only put
 * independent elements side by side. So neither the instruction set nor the number
 * of threads, nor a cut of the matrix by rows or columns changes a bit.
 */
#ifndef RUVM_TRAIN_MATRIX_H
#define RUVM_TRAIN_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* c[i][j] = sum over l < k of a[i][l] * b[l][j], with any strides, in floats. c overlaps
 * neither a nor b; its rows are contiguous. k = 0 gives zeros (or adds nothing). */
struct ruvm_matrix_product {
    float *c;            /* [m, n] */
    const float *a;      /* [m, k] */
    const float *b;      /* [k, n] */
    size_t c_row;        /* distance of two rows of c */
    size_t a_row, a_col; /* of a: element (i, l) is a[i * a_row + l * a_col] */
    size_t b_row, b_col; /* of b: element (l, j) is b[l * b_row + j * b_col] */
    uint32_t m, n, k;
    bool add; /* the sum starts at c instead of at 0 */
};

void ruvm_matrix_multiply(const struct ruvm_matrix_product *p);

/* The three products of a layer with weights w [rows, cols] over n tokens, all row-major
 * without gaps. y [n, rows] = x w^T. */
void ruvm_matrix_forward(float *y, const float *x, const float *w, uint32_t n, uint32_t rows,
                         uint32_t cols);
/* dx [n, cols] (+)= dy w. */
void ruvm_matrix_backward(float *dx, const float *dy, const float *w, uint32_t n, uint32_t rows,
                          uint32_t cols, bool add);
/* dw [rows, cols] += dy^T x. */
void ruvm_matrix_gradient(float *dw, const float *dy, const float *x, uint32_t n, uint32_t rows,
                          uint32_t cols);

#endif
