/* What stands between the two matrices of a feed-forward in an ONNX graph.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_ACTIVATION_H
#define RUVM_IMPORT_ONNX_ACTIVATION_H

#include "lib/import/onnx_walk.h"

struct ruvm_onnx_activation {
    int kind;                           /* enum ruvm_act; -1: none that an engine has */
    struct ruvm_onnx_linear *up, *gate; /* gate NULL: not gated */
};

/* Whether a value is a function of the outputs of one or two linears, number by number. */
bool ruvm_onnx_activation_find(const struct ruvm_onnx_walk *w, uint32_t value,
                               struct ruvm_onnx_activation *a);

#endif
