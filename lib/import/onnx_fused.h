/* One linear that makes queries, keys and values at once, and how they are cut out of it.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_FUSED_H
#define RUVM_IMPORT_ONNX_FUSED_H

#include "lib/import/onnx_walk.h"

struct ruvm_onnx_fused {
    uint64_t q_rows, k_rows; /* as many values as keys */
    uint64_t head_dim;       /* 0: the graph does not show it */
    bool per_head;           /* rows are [head, 3, head_dim]; else [q, k, v] */
};

/* ends: the values that q, k and v become, all three from `l`. NULL when rows are understood, else
 * what is odd about them. */
const char *ruvm_onnx_fused_find(struct ruvm_onnx_walk *w, const struct ruvm_onnx_linear *l,
                                 const uint32_t ends[3], struct ruvm_onnx_fused *f);

#endif
