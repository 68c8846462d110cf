/* What a reader of tensors promises: every first and last row can be read. */
#ifndef TESTS_FUZZ_READ_ROWS_H
#define TESTS_FUZZ_READ_ROWS_H

#include <stdlib.h>

#include "formats/tensors.h"

static inline void read_rows(const struct ruvm_tensors *t)
{
    for (size_t i = 0; i < t->n_views; i++) {
        const struct ruvm_view *v = &t->views[i];
        uint64_t rows = 1;
        for (uint32_t d = 0; d + 1 < v->n_dims; d++)
            rows *= v->dims[d];
        float *row = malloc(v->dims[v->n_dims - 1] * sizeof *row);
        if (!row && v->dims[v->n_dims - 1])
            abort();
        if (rows)
            ruvm_view_row(v, 0, row);
        if (rows)
            ruvm_view_row(v, rows - 1, row);
        free(row);
    }
}

#endif
