/* Rows: which rows of a stored tensor, in which order, are a matrix or a bias of the model.
 *
 *     struct ruvm_rows q = {.n = q_dim, .head_dim = 64, .head_stride = 3 * 64, .halves = 64};
 *     const struct ruvm_view *wq = ruvm_rows_matrix(arena, stored, &q, false);
 *     const struct ruvm_view *bq = ruvm_rows_vector(arena, stored_bias, &q);
 *
 * Nothing but row numbers is made for a matrix: its values stay where they are in the file.
 */
#ifndef RUVM_IMPORT_ROWS_H
#define RUVM_IMPORT_ROWS_H

#include "formats/tensors.h"

struct ruvm_rows {
    uint32_t n;           /* rows of the matrix */
    uint32_t first;       /* stored row of the first head's first value */
    uint32_t head_dim;    /* rows of a head, which stand together */
    uint32_t head_stride; /* stored rows from one head to the next */
    uint32_t halves;      /* leading rows of a head that are stored as pairs (i, i + halves / 2)
                           * instead of (2i, 2i + 1); even, 0: none */
};

/* The matrix [rows->n, inputs] in a tensor of [outputs, inputs], or, in columns, of [inputs,
 * outputs] of a type that is no block type. The tensor itself when it is all of it as it
 * stands. NULL: memory is short. */
const struct ruvm_view *ruvm_rows_matrix(struct ruvm_arena *arena, const struct ruvm_view *stored,
                                         const struct ruvm_rows *rows, bool columns);
/* The same of a vector. */
const struct ruvm_view *ruvm_rows_vector(struct ruvm_arena *arena, const struct ruvm_view *stored,
                                         const struct ruvm_rows *rows);

#endif
