/* What keeps an ONNX graph from being a decoder that ruvm knows, all of it in one message.
 * Private to lib/convert/onnx_*.c. */
#ifndef RUVM_CONVERT_ONNX_REPORT_H
#define RUVM_CONVERT_ONNX_REPORT_H

#include "lib/convert/onnx_walk.h"

/* Leaves room in struct ruvm_error for the file's name. */
enum { RUVM_ONNX_REPORT_BYTES = 900 };

struct ruvm_onnx_report {
    char text[RUVM_ONNX_REPORT_BYTES]; /* joined by "; " */
    size_t used;
    unsigned n, n_left_out;
    int code; /* of the first */
};

void ruvm_onnx_report_note(struct ruvm_onnx_report *r, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "node /model/Mul_3 (Mul): why". */
void ruvm_onnx_report_node(struct ruvm_onnx_report *r, const struct ruvm_onnx_walk *w,
                           uint32_t node, const char *why);
/* Notes every operator that no decoder may have: its count, its nodes, what would do instead.
 * RUVM_OK when there is none; _MEMORY. */
int ruvm_onnx_report_operators(struct ruvm_onnx_report *r, struct ruvm_arena *arena,
                               const struct ruvm_onnx *o, struct ruvm_error *err);
/* Whether the graph is a classifier of plain layers (Gemm or MatMul, then an activation). */
bool ruvm_onnx_report_is_classifier(const struct ruvm_onnx_walk *w);
/* RUVM_OK when nothing was noted. */
int ruvm_onnx_report_end(const struct ruvm_onnx_report *r, struct ruvm_error *err);

#endif
