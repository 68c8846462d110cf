/* Inputs of a classifier: where they usually lie, and how a chip is to take them.
 *
 *     ruvm_inputs_ranges(&in, arena, layers, grid, assumed, err);    centre +- range, each
 *     ruvm_inputs_records(&in, records);                             as the image has them
 *
 * A chip gets whole numbers and brings them to parts of their range; so every input is as fine
 * as every other, whatever its unit, and the first layer's weights make up for it.
 */
#ifndef RUVM_MLP_INPUTS_H
#define RUVM_MLP_INPUTS_H

#include "formats/grid.h"
#include "formats/mlp_read.h"
#include "lib/mlp/layers.h"

enum ruvm_inputs_source {
    RUVM_INPUTS_MEASURED, /* in calibration data */
    RUVM_INPUTS_GRAPH,    /* what normalises them in the file tells */
    RUVM_INPUTS_ASSUMED,
};

struct ruvm_inputs {
    uint32_t n;
    uint8_t source;         /* enum ruvm_inputs_source */
    double *centre, *range; /* [n]; as the records have them once these are made */
    uint32_t n_constant;    /* measured: that are the same in every row */
};

#define RUVM_INPUTS_ASSUMED_RANGE 8.0

/* grid: rows of at least n columns, or NULL. assumed: 0 for the usual. RUVM_ERR_MEMORY. */
int ruvm_inputs_ranges(struct ruvm_inputs *in, struct ruvm_arena *arena,
                       const struct ruvm_layers *l, const struct ruvm_grid *grid, double assumed,
                       struct ruvm_error *err);
/* Rounds centres and ranges to what records hold. RUVM_ERR_UNSUPPORTED: one is too large. */
int ruvm_inputs_records(struct ruvm_inputs *in, struct ruvm_mlp_input *records,
                        struct ruvm_error *err);
/* A value as the chip is given it, clamped. */
int32_t ruvm_inputs_fixed(double value, int8_t exp);

#endif
