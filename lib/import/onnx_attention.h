/* Numbers of attention in an ONNX graph: heads, how queries and keys are turned, how scores are
 * scaled. Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_ATTENTION_H
#define RUVM_IMPORT_ONNX_ATTENTION_H

#include "lib/import/onnx_layers.h"

struct ruvm_onnx_attention {
    uint64_t head_dim;   /* 0: the graph does not show it */
    uint64_t rotary_dim; /* 0: the same */
    uint64_t context;    /* positions of its tables of angles; 0: it has none */
    double theta;        /* 0: the graph does not show it */
    double score_scale;  /* 0: 1 / sqrt(head_dim), or computed from the shape */
    bool halves;         /* pairs (i, i + rotary_dim / 2); else (2i, 2i + 1) */
    bool scaled;         /* the frequencies are no powers of one base */
};

/* All layers must agree; what is not understood is noted. */
void ruvm_onnx_attention_find(struct ruvm_onnx_attention *a, struct ruvm_onnx_walk *w,
                              const struct ruvm_onnx_decoder *d, struct ruvm_problems *r);

#endif
