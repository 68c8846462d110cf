/* A classifier exported to ONNX as layers.
 *
 *     struct ruvm_onnx o;
 *     rc = ruvm_onnx_open(&o, &arena, path, err);
 *     if (rc == RUVM_OK && ruvm_graph_is_classifier(&o))
 *         rc = ruvm_graph_read(&layers, &arena, &o, err);
 *
 * Accepted is a chain of linear layers, as torch.onnx.export makes it of nn.Sequential with
 * opset 11 to 20: Gemm, or MatMul and Add; activations in one node or several; BatchNormalization
 * before or behind an activation, which is folded; what normalises inputs, folded as well;
 * Softmax, LogSoftmax, Sigmoid or ArgMax at the end. Names do not matter.
 */
#ifndef RUVM_MLP_GRAPH_H
#define RUVM_MLP_GRAPH_H

#include "formats/onnx.h"
#include "lib/mlp/layers.h"

/* Whether the graph is one of numbers: no table is looked up by tokens, as language models do,
 * and something is multiplied. What it holds besides, ruvm_graph_read() will say. */
bool ruvm_graph_is_classifier(const struct ruvm_onnx *o);

/* Weights are copied. Everything that is in the way is in one message: operators with their
 * number and nodes. RUVM_ERR_UNSUPPORTED, _CORRUPT, _MEMORY. */
int ruvm_graph_read(struct ruvm_layers *l, struct ruvm_arena *arena, const struct ruvm_onnx *o,
                    struct ruvm_error *err);

#endif
