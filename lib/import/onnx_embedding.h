/* Where a decoder in an ONNX graph begins: the rows that tokens and positions choose.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_EMBEDDING_H
#define RUVM_IMPORT_ONNX_EMBEDDING_H

#include "lib/import/onnx_report.h"
#include "lib/import/onnx_walk.h"

struct ruvm_onnx_embedding {
    uint32_t tensor;    /* [vocab, dim] */
    uint32_t positions; /* [n_positions, dim] or RUVM_ONNX_NONE: none are learned */
    uint64_t vocab, dim, n_positions;
    uint32_t out; /* the value that the first layer reads */
};

/* Notes what is missing or odd. */
void ruvm_onnx_embedding_find(struct ruvm_onnx_embedding *e, struct ruvm_onnx_walk *w,
                              struct ruvm_problems *r);

#endif
