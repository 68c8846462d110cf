/* Student: the float model again, with the weights that the image will have.
 *
 *     ruvm_student_open(&s, arena, model, err);
 *     ruvm_student_matrix(&s, tensor, &matrix, err);     for every tensor that changed
 *     ... s.model ...
 *
 * What the image needs to know of activations (the ranges of the cache) is seen on this
 * model: below eight bits they are no longer those of the source.
 */
#ifndef RUVM_CONVERT_STUDENT_H
#define RUVM_CONVERT_STUDENT_H

#include "lib/import/model.h"
#include "lib/quant/matrix.h"

struct ruvm_student {
    struct ruvm_model model;
    struct ruvm_arena *arena;
};

/* A copy of m whose views are still those of m. Lives in the arena. RUVM_ERR_MEMORY. */
int ruvm_student_open(struct ruvm_student *s, struct ruvm_arena *arena, const struct ruvm_model *m,
                      struct ruvm_error *err);
/* Replaces a matrix by the quantized weights. kind: enum ruvm_tensor_kind. RUVM_ERR_MEMORY. */
int ruvm_student_matrix(struct ruvm_student *s, int kind, unsigned layer,
                        const struct ruvm_quant_matrix *q, struct ruvm_error *err);
/* Replaces a matrix by the packed weights of an image, read where they are. RUVM_ERR_MEMORY. */
struct ruvm_student_packed {
    struct ruvm_scheme scheme;
    uint32_t rows, cols;
    int8_t scale_exp;
    const uint8_t *data, *scales; /* borrowed */
};
int ruvm_student_packed(struct ruvm_student *s, int kind, unsigned layer,
                        const struct ruvm_student_packed *p, struct ruvm_error *err);
/* Replaces all norms: gains [2 * n_layers + 1, dim], attention and feed-forward norm of each
 * layer, then the final one; borrowed. RUVM_ERR_MEMORY. */
int ruvm_student_norms(struct ruvm_student *s, const float *gains, struct ruvm_error *err);
/* Replaces a bias by x [n], which is borrowed. kind: enum ruvm_bias_kind; layer 0 for that of
 * the final norm. RUVM_ERR_MEMORY. */
int ruvm_student_bias(struct ruvm_student *s, int kind, unsigned layer, const float *x, uint32_t n,
                      struct ruvm_error *err);

#endif
