/* GPTQ: rounding that makes up for its own errors, with what the matrix's input looks like.
 *
 *     ruvm_gptq_open(&g, arena, moments, cols);      moments: sum over inputs x of x x^T
 *     ruvm_gptq_round(&g, &q, weights, ...);
 *
 * The error of a row, (w - q) M (w - q)^T, is lowered column by column: each column takes
 * over what the ones before it lost (GPTQ, arXiv 2210.17323, in the form of LDLQ,
 * arXiv 2307.13304), then single levels are moved as long as that helps (coordinate
 * descent, QuantEase, arXiv 2309.01885), and the scale of the row is fitted again. Steps
 * are those of the image, so the result is exact in the engine's integers.
 */
#ifndef RUVM_QUANT_GPTQ_H
#define RUVM_QUANT_GPTQ_H

#include "lib/quant/matrix.h"

struct ruvm_gptq {
    uint32_t n;         /* columns */
    double *moments;    /* [n, n] damped */
    uint32_t *order;    /* [n] columns, the most important first */
    double *feedback;   /* [n, n]: row i holds what column order[i] takes of the errors before */
    double *importance; /* [n]: diagonal of moments */
};

/* moments: [n, n], symmetric, the sum over inputs; scaled here to a mean diagonal of 1.
 * RUVM_ERR_MEMORY. */
int ruvm_gptq_open(struct ruvm_gptq *g, struct ruvm_arena *arena, const double *moments, uint32_t n,
                   struct ruvm_error *err);

/* Rounds the weights [rows, cols] into q, whose steps have been chosen; scales may change
 * within their mantissas. RUVM_ERR_MEMORY. */
int ruvm_gptq_round(const struct ruvm_gptq *g, struct ruvm_quant_matrix *q, const float *w,
                    struct ruvm_error *err);

/* Goes on from there with what the rows mean to one another: moves levels while
 * trace(F (Q - W) M (Q - W)^T) falls, with F outputs [rows, rows] (YAQA, arXiv 2505.22988,
 * has this objective). RUVM_ERR_MEMORY. */
int ruvm_gptq_polish(const struct ruvm_gptq *g, struct ruvm_quant_matrix *q, const float *w,
                     const double *outputs, struct ruvm_error *err);

#endif
