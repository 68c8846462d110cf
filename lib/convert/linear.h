/* Linear: a matrix of the float model, and its bias, times several inputs at once.
 *
 *     ruvm_linear_open(&l, arena, view, bias, in_place, work.rows);
 *     ruvm_linear_apply(&l, &work, out, x);
 *
 * A small model is kept as tiles of floats; a large one stays where it is in the file, and
 * rows become floats when they are multiplied. Both give the same bits: every sum runs from
 * the first column to the last.
 */
#ifndef RUVM_CONVERT_LINEAR_H
#define RUVM_CONVERT_LINEAR_H

#include "formats/tensors.h"
#include "lib/base/pool.h"
#include "lib/convert/floats.h"

struct ruvm_linear {
    const struct ruvm_view *view;
    struct ruvm_floats_matrix w; /* tiles NULL: in place */
    float *bias;                 /* [rows] or NULL */
};

/* What a product needs besides: shared by all matrices of a model. */
struct ruvm_linear_work {
    struct ruvm_pool *pool; /* NULL: the caller's thread only */
    uint32_t widest;        /* columns of any matrix */
    float *rows;            /* [threads, LANES, widest] */
    float *tile;            /* [threads, LANES, so many columns as are made at once] */
    float *signs;           /* [inputs, widest padded] */
};

/* Room for products of matrices of at most so many columns with so many inputs.
 * false: memory is short. */
bool ruvm_linear_work_open(struct ruvm_linear_work *work, struct ruvm_arena *arena, uint32_t widest,
                           uint32_t inputs);

/* view and bias are borrowed, and NULL where the model has none. false: memory is short. */
bool ruvm_linear_open(struct ruvm_linear *l, struct ruvm_arena *arena, const struct ruvm_view *view,
                      const struct ruvm_view *bias, bool in_place, struct ruvm_linear_work *work);
/* Values of a vector, padded, or *x NULL where there is none. false: memory is short. */
bool ruvm_linear_vector(float **x, struct ruvm_arena *arena, const struct ruvm_view *v);

/* out = w x + bias, for each of x.n inputs. A vector of out has room for whole tiles. */
void ruvm_linear_apply(const struct ruvm_linear *l, struct ruvm_linear_work *work,
                       struct ruvm_floats_vectors out, struct ruvm_floats_vectors x);
/* One row, as an embedding is looked up. */
void ruvm_linear_row(const struct ruvm_linear *l, uint32_t row, float *out);

#endif
