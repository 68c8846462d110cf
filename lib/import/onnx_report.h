/* What keeps an ONNX graph from being a decoder that ruvm knows, all of it in one message.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_REPORT_H
#define RUVM_IMPORT_ONNX_REPORT_H

#include "lib/base/problems.h"
#include "lib/import/onnx_walk.h"

/* "node /model/Mul_3 (Mul): why". */
void ruvm_onnx_report_node(struct ruvm_problems *r, const struct ruvm_onnx_walk *w, uint32_t node,
                           const char *why);
/* Notes every operator that no decoder may have: its count, its nodes, what would do instead.
 * RUVM_OK when there is none; _MEMORY. */
int ruvm_onnx_report_operators(struct ruvm_problems *r, struct ruvm_arena *arena,
                               const struct ruvm_onnx *o, struct ruvm_error *err);
/* Whether the graph is a classifier of plain layers (Gemm or MatMul, then an activation). */
bool ruvm_onnx_report_is_classifier(const struct ruvm_onnx_walk *w);

#endif
