/* Walking a graph from its inputs to its outputs: what each value is by then. Private to
 * lib/mlp/graph*.c.
 *
 * Numbers come in stages: the inputs, then what each linear layer makes. A value is a stage, or
 * a function of it (an activation that is not complete yet). What multiplies and adds by channel
 * goes into the layer before, or waits for the next one.
 */
#ifndef RUVM_MLP_GRAPH_WALK_H
#define RUVM_MLP_GRAPH_WALK_H

#include "lib/base/problems.h"
#include "lib/mlp/function.h"
#include "lib/mlp/graph.h"

enum ruvm_graph_kind {
    RUVM_GRAPH_NOTHING,  /* no node has made it yet */
    RUVM_GRAPH_CONSTANT, /* a tensor of the file */
    RUVM_GRAPH_SIDE,     /* shapes and what is made of them */
    RUVM_GRAPH_NUMBERS,
};

struct ruvm_graph_value {
    uint8_t kind;
    uint32_t n_uses;
    uint32_t tensor; /* CONSTANT; flipped: seen with its two dimensions exchanged */
    bool flipped;
    uint32_t stage;                /* NUMBERS */
    const struct ruvm_function *f; /* of the stage; NULL: the stage itself */
    uint8_t output;                /* enum ruvm_mlp_output, once it has been told */
    bool has_ended;                /* Softmax, ArgMax: nothing may follow */
};

/* After the layer and its activation, y = a x + b by channel, for the next layer to take. */
struct ruvm_graph_stage {
    uint32_t layer; /* RUVM_ONNX_NONE: the inputs */
    bool is_affine, is_used;
    uint32_t n; /* of a and b: 1 or the channels */
    double *a, *b;
};

struct ruvm_graph {
    const struct ruvm_onnx *o;
    struct ruvm_arena *arena;
    struct ruvm_layers *l;
    struct ruvm_problems report;
    bool is_short; /* of memory */
    struct ruvm_graph_value *values;
    struct ruvm_graph_stage stages[2 * RUVM_LAYERS_MAX + 2];
    uint32_t n_stages;
    double *a, *b;   /* [RUVM_GRAPH_MAX_WIDTH] of the node at hand */
    double *norm[4]; /* the same of a BatchNormalization; NULL: not yet */
};

enum { RUVM_GRAPH_MAX_WIDTH = 65535, RUVM_GRAPH_MAX_NODES = 4096 };

/* "node /model/Mul_3 (Mul): why". */
void ruvm_graph_note(struct ruvm_graph *g, const struct ruvm_onnx_node *node, const char *why);

/* y = w x [+ b] (Gemm, MatMul) of numbers becomes a layer; *out is what it makes. */
bool ruvm_graph_linear(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                       struct ruvm_graph_value *out);
/* g->a * v + g->b, of n channels (1: all alike). */
bool ruvm_graph_affine(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                       const struct ruvm_graph_value *v, uint32_t n, struct ruvm_graph_value *out);
/* Ends a stage with the activation that v is of it. */
bool ruvm_graph_activate(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                         const struct ruvm_graph_value *v);

/* All values of a constant as doubles: at most RUVM_GRAPH_MAX_WIDTH; 0: it is none, or longer. */
uint32_t ruvm_graph_numbers(const struct ruvm_graph *g, uint32_t value, double *to);
/* What a node says of itself, or what is usual. */
double ruvm_graph_real(const struct ruvm_onnx_node *node, const char *name, double usual);
int64_t ruvm_graph_whole(const struct ruvm_onnx_node *node, const char *name, int64_t usual);

#endif
