/* Which positions attention sees in an ONNX graph, as far as its masks are constants.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_WINDOW_H
#define RUVM_IMPORT_ONNX_WINDOW_H

#include "lib/import/onnx_walk.h"

struct ruvm_onnx_window {
    uint64_t known;  /* positions that the mask is for; 0: it is computed, and so not known */
    uint64_t window; /* positions that a token sees; 0: all before it */
    bool odd;        /* the mask is neither causal nor a window */
};

/* Between the product `scores` and the Softmax behind it. */
struct ruvm_onnx_window ruvm_onnx_window_find(struct ruvm_onnx_walk *w, uint32_t scores,
                                              uint32_t softmax);

#endif
