/* The small GPT-2, GPT-Neo and GPT-NeoX of tiny_models.h as torch.onnx.export writes them. */
#ifndef TESTS_SUPPORT_ONNX_GPT_H
#define TESTS_SUPPORT_ONNX_GPT_H

#include "formats/tensors.h"
#include "tests/support/onnx_nodes.h"

/* What is odd about it: each must be refused, by name. */
enum onnx_gpt_oddity {
    ONNX_GPT_SOUND,
    ONNX_GPT_KEYS_FIRST,     /* k, q, v in one product */
    ONNX_GPT_UNCUT,          /* v is all of that product */
    ONNX_GPT_QUICK_GELU,     /* x * sigmoid(1.702 x) */
    ONNX_GPT_LATE_POSITIONS, /* the first token has position 2 */
    ONNX_GPT_STRIPED_MASK,   /* every second position is seen */
    ONNX_GPT_MIXED_NORMS,    /* the last norm is RMSNorm */
    ONNX_GPT_HALVED_BRANCH,  /* the feed-forward's output times 0.5 */
    ONNX_GPT_OTHER_WINDOW,   /* a window of 5 in layer 2 */
    ONNX_GPT_SHORT_MASK,     /* masks folded for 5 positions */
};

struct onnx_gpt {
    int network;                  /* enum tiny_network: TINY_GPT2, _GPT_NEO, _GPT_NEOX */
    const struct ruvm_tensors *t; /* its weights, TINY_HUGGING_FACE */
    bool operators;               /* LayerNormalization and Gelu, as later opsets have them */
    bool slices;                  /* q, k, v cut by Slice; else by Split */
    bool folded;                  /* positions, angles and masks are constants */
    bool added_mask;              /* the mask is a sum with 0 and very low numbers */
    bool swapped;                 /* operands of sums and products the other way round */
    bool transposed;              /* weights as they are stored, behind Transpose nodes */
    enum onnx_gpt_oddity odd;
};

/* free() its data. */
struct ruvm_buffer onnx_gpt_write(const struct onnx_gpt *o);

#endif
