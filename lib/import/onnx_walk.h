/* Walking the graph of an ONNX model: what a node does, what a value comes from, and which nodes
 * multiply with a matrix of weights. Private to lib/import/onnx_*.c.
 *
 * A graph computes data and, beside it, shapes and masks. A walk goes back along data only: through
 * all terms of a sum, but not through the shape that a Reshape is given.
 */
#ifndef RUVM_IMPORT_ONNX_WALK_H
#define RUVM_IMPORT_ONNX_WALK_H

#include "formats/onnx.h"

enum ruvm_onnx_op {
    RUVM_ONNX_OP_OTHER, /* not accepted anywhere in a decoder */
    RUVM_ONNX_OP_CONSTANT,
    RUVM_ONNX_OP_SHAPE, /* makes shapes, positions, masks out of no data */
    RUVM_ONNX_OP_MASK,  /* the same, out of data of any kind */
    RUVM_ONNX_OP_IDENTITY,
    RUVM_ONNX_OP_VIEW, /* the same numbers in another shape */
    RUVM_ONNX_OP_RESHAPE,
    RUVM_ONNX_OP_TRANSPOSE,
    RUVM_ONNX_OP_EXPAND,
    RUVM_ONNX_OP_SLICE,
    RUVM_ONNX_OP_SPLIT,
    RUVM_ONNX_OP_GATHER,
    RUVM_ONNX_OP_CONCAT,
    RUVM_ONNX_OP_WHERE,
    RUVM_ONNX_OP_ADD,
    RUVM_ONNX_OP_SUB,
    RUVM_ONNX_OP_MUL,
    RUVM_ONNX_OP_DIV,
    RUVM_ONNX_OP_NEG,
    RUVM_ONNX_OP_POW,
    RUVM_ONNX_OP_SQRT,
    RUVM_ONNX_OP_RECIPROCAL,
    RUVM_ONNX_OP_MEAN,
    RUVM_ONNX_OP_SIGMOID,
    RUVM_ONNX_OP_TANH,
    RUVM_ONNX_OP_ERF,
    RUVM_ONNX_OP_RELU,
    RUVM_ONNX_OP_GELU,
    RUVM_ONNX_OP_LAYER_NORM,
    RUVM_ONNX_OP_RMS_NORM,
    RUVM_ONNX_OP_SOFTMAX,
    RUVM_ONNX_OP_COS,
    RUVM_ONNX_OP_SIN,
    RUVM_ONNX_OP_MATMUL,
    RUVM_ONNX_OP_GEMM,
};

/* For sets of operators. */
#define RUVM_ONNX_BIT(op) (UINT64_C(1) << RUVM_ONNX_OP_##op)

enum { RUVM_ONNX_MAX_HITS = 16, RUVM_ONNX_MAX_LINEARS = 4096 };

/* A constant tensor, as seen through Identity, Cast and Transpose. */
struct ruvm_onnx_constant {
    uint32_t tensor; /* RUVM_ONNX_NONE: the value is no constant */
    bool flipped;    /* a matrix, seen with its dimensions exchanged */
};

/* y = W x [+ b]: a MatMul or Gemm with constant weights. */
struct ruvm_onnx_linear {
    uint32_t node;
    uint32_t in, out; /* values; out has the bias in it */
    uint32_t weight, bias;
    bool by_columns; /* stored as [inputs, outputs] */
    uint64_t rows, cols;
    uint32_t reshape; /* the first Reshape of its output, or RUVM_ONNX_NONE */
    bool used;        /* has a part in the decoder */
};

struct ruvm_onnx_walk {
    const struct ruvm_onnx *o;
    uint8_t *ops;                         /* [n_nodes] enum ruvm_onnx_op */
    struct ruvm_onnx_constant *constants; /* [n_values] */
    uint32_t *same;                       /* [n_values] the value before Identity and Cast */
    uint32_t *plain;     /* [n_values] before anything that only moves numbers about */
    uint32_t *linear_of; /* [n_nodes] which linear a node is, or RUVM_ONNX_NONE */
    struct ruvm_onnx_linear *linears;
    uint32_t n_linears;
    uint32_t *stack, *seen, round; /* of ruvm_onnx_walk_back() */
};

/* Nodes that a walk ended at, of the kinds it was to stop at. */
struct ruvm_onnx_hits {
    uint32_t nodes[RUVM_ONNX_MAX_HITS];
    uint32_t n; /* may be more than the nodes that are kept */
};

enum ruvm_onnx_op ruvm_onnx_walk_op(const struct ruvm_onnx_node *node);

/* Looks at every node once. RUVM_ERR_MEMORY, or _UNSUPPORTED for a graph too large. */
int ruvm_onnx_walk_init(struct ruvm_onnx_walk *w, struct ruvm_arena *arena,
                        const struct ruvm_onnx *o, struct ruvm_error *err);

/* The node that makes a value, when it is of a kind; else NULL. */
const struct ruvm_onnx_node *ruvm_onnx_walk_maker(const struct ruvm_onnx_walk *w, uint32_t value,
                                                  enum ruvm_onnx_op op);
/* The linear whose output a value is, moved about at most; NULL: none. */
struct ruvm_onnx_linear *ruvm_onnx_walk_linear(const struct ruvm_onnx_walk *w, uint32_t value);
/* The only number of a constant of floats or integers; false when it is no such thing. */
bool ruvm_onnx_walk_scalar(const struct ruvm_onnx_walk *w, uint32_t value, double *x);

/* Entry `back` from the end of the shape that a value is; 0: not known. */
uint64_t ruvm_onnx_walk_shape(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t back);

/* Goes back from a value, to nodes whose RUVM_ONNX_BIT is in `stops`; products with any matrix
 * always stop it. Nodes gone through are then ruvm_onnx_walk_seen(). */
struct ruvm_onnx_hits ruvm_onnx_walk_back(struct ruvm_onnx_walk *w, uint32_t value, uint64_t stops);
/* Goes on with the same walk from another value, stopping nowhere. */
void ruvm_onnx_walk_also(struct ruvm_onnx_walk *w, uint32_t value);
bool ruvm_onnx_walk_seen(const struct ruvm_onnx_walk *w, uint32_t node);

#endif
