/* Rows of data for a classifier of so many inputs, perhaps with the class of each.
 *
 *     rc = ruvm_data_open(&d, path, n_inputs, &names, err);
 *     ... d.grid.v + row * d.grid.n_cols, d.truth[row] ...
 *     ruvm_data_close(&d);
 */
#ifndef RUVM_MLP_DATA_H
#define RUVM_MLP_DATA_H

#include "formats/grid.h"
#include "lib/base/file.h"

struct ruvm_data {
    struct ruvm_arena arena;
    struct ruvm_grid grid; /* of n_inputs columns, or one more: of numbers */
    int32_t *truth;        /* [n_rows] classes; NULL: the data does not say */
};

/* What classes there are: their number, and a line a name or NULL. */
struct ruvm_data_classes {
    uint32_t n;
    const char *labels;
    size_t labels_bytes;
};

/* A column more than inputs holds the class: its name, or its number from 0 on. Messages begin
 * with the path. After a failure nothing needs closing. */
int ruvm_data_open(struct ruvm_data *d, const char *path, uint32_t n_inputs,
                   const struct ruvm_data_classes *classes, struct ruvm_error *err);
void ruvm_data_close(struct ruvm_data *d);

#endif
