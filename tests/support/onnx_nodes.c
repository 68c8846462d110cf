/* Nodes of a graph, in the order in which they are written. */
#include "tests/support/onnx_nodes.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE = 160, RING = 4096 };

const char *onnx_text(const char *fmt, ...)
{
    static char ring[RING][LINE];
    static unsigned next;
    char *to = ring[next++ % RING];
    va_list args;
    va_start(args, fmt);
    vsnprintf(to, LINE, fmt, args);
    va_end(args);
    return to;
}

const char *onnx_op_with(struct onnx_graph *g, const char *op, const char *in,
                         struct ruvm_buffer *attributes)
{
    const char *out = onnx_text("v%u", ++g->n);
    onnx_node(&g->bytes, op, in, out, attributes);
    return out;
}

const char *onnx_op(struct onnx_graph *g, const char *op, const char *in)
{
    return onnx_op_with(g, op, in, NULL);
}

const char *onnx_two(struct onnx_graph *g, const char *op, const char *a, const char *b)
{
    return onnx_op(g, op, g->swapped ? onnx_text("%s %s", b, a) : onnx_text("%s %s", a, b));
}

const char *onnx_number(struct onnx_graph *g, float value)
{
    const char *out = onnx_text("v%u", ++g->n);
    onnx_constant_float(&g->bytes, out, value);
    return out;
}

const char *onnx_ints(struct onnx_graph *g, unsigned n, const int64_t *values)
{
    const char *out = onnx_text("v%u", ++g->n);
    onnx_constant_ints(&g->bytes, out, n, values);
    return out;
}
