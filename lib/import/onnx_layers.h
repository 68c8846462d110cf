/* The layers of a decoder in an ONNX graph, found by what is computed and not by names.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_LAYERS_H
#define RUVM_IMPORT_ONNX_LAYERS_H

#include "lib/import/onnx_embedding.h"
#include "lib/import/onnx_fused.h"
#include "lib/import/onnx_norm.h"
#include "lib/import/onnx_report.h"
#include "lib/import/onnx_walk.h"

struct ruvm_onnx_layer {
    struct ruvm_onnx_linear *q, *k, *v, *o;    /* q, k, v are one when that makes all three */
    struct ruvm_onnx_linear *gate, *up, *down; /* gate NULL: not gated */
    struct ruvm_onnx_fused rows;               /* of q and k */
    struct ruvm_onnx_norm attn_norm, ffn_norm;
    int activation;                    /* enum ruvm_act */
    bool parallel;                     /* the feed-forward reads what attention reads */
    uint32_t softmax, scores, context; /* nodes: softmax(scores) times the values */
};

struct ruvm_onnx_decoder {
    struct ruvm_onnx_embedding embed;
    struct ruvm_onnx_layer *layers;
    uint32_t n_layers;
    struct ruvm_onnx_norm final_norm;
    struct ruvm_onnx_linear *head;
};

enum { RUVM_ONNX_MAX_LAYERS = 255 }; /* a u8 of the image */

/* Fills the decoder as far as the graph is one, and notes what is not as in one. RUVM_OK also
 * when something was noted; _MEMORY. */
int ruvm_onnx_layers_find(struct ruvm_onnx_decoder *d, struct ruvm_arena *arena,
                          struct ruvm_onnx_walk *w, struct ruvm_problems *r,
                          struct ruvm_error *err);

#endif
