/* Graphs written node by node: each value gets a short name of its own. */
#ifndef TESTS_SUPPORT_ONNX_NODES_H
#define TESTS_SUPPORT_ONNX_NODES_H

#include "tests/support/onnx_bytes.h"

struct onnx_graph {
    struct ruvm_buffer bytes;
    unsigned n;   /* values that have names: "v1" .. */
    bool swapped; /* operands of onnx_two() the other way round */
};

/* A text in a ring that is larger than a model: as good as for ever. */
const char *onnx_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A node of one output, whose name is returned; in: names, separated by blanks. */
const char *onnx_op(struct onnx_graph *g, const char *op, const char *in);
const char *onnx_op_with(struct onnx_graph *g, const char *op, const char *in,
                         struct ruvm_buffer *attributes);
/* A sum or product, its operands in the usual order or not. */
const char *onnx_two(struct onnx_graph *g, const char *op, const char *a, const char *b);
/* Constants. */
const char *onnx_number(struct onnx_graph *g, float value);
const char *onnx_ints(struct onnx_graph *g, unsigned n, const int64_t *values);
#define ONNX_INTS(g, ...)                                                                          \
    onnx_ints(g, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

#endif
