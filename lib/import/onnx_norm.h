/* RMSNorm and LayerNorm in an ONNX graph, as one operator or taken apart.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_NORM_H
#define RUVM_IMPORT_ONNX_NORM_H

#include "lib/import/onnx_walk.h"

struct ruvm_onnx_norm {
    uint32_t gain, bias; /* tensors; no bias: RUVM_ONNX_NONE */
    double eps;
    uint32_t in;  /* the value that is normalised */
    bool centred; /* LayerNorm: the mean is taken away first */
};

/* Whether a value is the norm of another one, over `dim` values. */
bool ruvm_onnx_norm_find(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t dim,
                         struct ruvm_onnx_norm *norm);

#endif
