/* What is wrong with an ONNX graph. Somebody who exported a model wants to know every operator
 * that is in the way, how often, where, and what to export instead.
 */
#include "lib/import/onnx_report.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_NAMES = 3, SHOWN_NAME_BYTES = 48 };

#define SHOWN(text)                                                                                \
    (int)((text).size < SHOWN_NAME_BYTES ? (text).size : SHOWN_NAME_BYTES),                        \
        (text).size ? (text).at : ""

/* The nearest accepted form of what exporters and fusing tools write. */
static const struct {
    const char *op, *instead;
} instead[] = {
    {"Einsum", "MatMul and Transpose"},
    {"SkipLayerNormalization", "the graph before ONNX Runtime fused it"},
    {"SkipSimplifiedLayerNormalization", "the graph before ONNX Runtime fused it"},
    {"GroupQueryAttention", "the graph before ONNX Runtime fused it"},
    {"MultiHeadAttention", "the graph before ONNX Runtime fused it"},
    {"RotaryEmbedding", "Cos, Sin, Mul, Add (opset 18 or less)"},
    {"Attention", "MatMul, Softmax, MatMul (opset 18 or less)"},
    {"MatMulNBits", "the float model, before it was quantized"},
    {"MatMulInteger", "the float model, before it was quantized"},
    {"DynamicQuantizeLinear", "the float model, before it was quantized"},
    {"QuantizeLinear", "the float model, before it was quantized"},
    {"DequantizeLinear", "the float model, before it was quantized"},
    {"QLinearMatMul", "the float model, before it was quantized"},
    {"FastGelu", "the graph before ONNX Runtime fused it"},
    {"BiasGelu", "the graph before ONNX Runtime fused it"},
    {"FusedMatMul", "the graph before ONNX Runtime fused it"},
    {"QuickGelu", "GELU (Erf or Tanh), Relu, or SiLU with a gate"},
    {"Softplus", "GELU (Erf or Tanh), Relu, or SiLU with a gate"},
    {"HardSwish", "GELU (Erf or Tanh), Relu, or SiLU with a gate"},
    {"GroupNormalization", "LayerNormalization"},
    {"InstanceNormalization", "LayerNormalization"},
    {"If", "an export without branches"},
    {"Loop", "an export without loops"},
    {"Scan", "an export without loops"},
};

static const char *const classifier[] = {"Gemm",
                                         "MatMul",
                                         "Add",
                                         "Sub",
                                         "Mul",
                                         "Div",
                                         "Relu",
                                         "Sigmoid",
                                         "Tanh",
                                         "Softmax",
                                         "LogSoftmax",
                                         "LeakyRelu",
                                         "Elu",
                                         "Selu",
                                         "Gelu",
                                         "Erf",
                                         "Clip",
                                         "Flatten",
                                         "Reshape",
                                         "Identity",
                                         "Constant",
                                         "Cast",
                                         "Dropout",
                                         "Squeeze",
                                         "Unsqueeze",
                                         "Transpose",
                                         "ArgMax",
                                         "Shape",
                                         "Concat",
                                         "Gather",
                                         "BatchNormalization"};

/* A node may have no name: its first output always has. */
static struct ruvm_onnx_text name_of(const struct ruvm_onnx *o, const struct ruvm_onnx_node *node)
{
    if (node->name.size || node->n_out == 0 || node->out[0] == RUVM_ONNX_NONE)
        return node->name;
    return o->values[node->out[0]].name;
}

void ruvm_onnx_report_node(struct ruvm_problems *r, const struct ruvm_onnx_walk *w, uint32_t node,
                           const char *why)
{
    const struct ruvm_onnx_node *n = &w->o->nodes[node];
    ruvm_problems_note(r, RUVM_ERR_UNSUPPORTED, "node %.*s (%.*s): %s", SHOWN(name_of(w->o, n)),
                       SHOWN(n->op), why);
}

/* ---- operators ------------------------------------------------------------------------- */

static const char *instead_of(struct ruvm_onnx_text op)
{
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++)
        if (ruvm_onnx_is(op, instead[i].op))
            return instead[i].instead;
    return NULL;
}

static bool is_node_of(const struct ruvm_onnx_node *node, const struct ruvm_onnx_operator *x)
{
    return node->op.size == x->op.size && node->domain.size == x->domain.size &&
           (!x->op.size || memcmp(node->op.at, x->op.at, x->op.size) == 0) &&
           (!x->domain.size || memcmp(node->domain.at, x->domain.at, x->domain.size) == 0);
}

/* "/a/Erf, /b/Erf and 3 more". */
static void list_names(char *text, size_t size, const struct ruvm_onnx *o,
                       const struct ruvm_onnx_operator *x)
{
    size_t used = 0;
    uint32_t n = 0;
    text[0] = '\0';
    for (uint32_t i = x->first; i < o->n_nodes && n < SHOWN_NAMES && used < size; i++) {
        if (!is_node_of(&o->nodes[i], x))
            continue;
        struct ruvm_onnx_text name = name_of(o, &o->nodes[i]);
        used += (size_t)snprintf(text + used, size - used, "%s%.*s", n++ ? ", " : "", SHOWN(name));
    }
    if (n < x->n_nodes && used < size)
        snprintf(text + used, size - used, " and %u more", x->n_nodes - n);
}

static void note_operator(struct ruvm_problems *r, const struct ruvm_onnx *o,
                          const struct ruvm_onnx_operator *x)
{
    char list[(SHOWN_NAME_BYTES + 2) * SHOWN_NAMES + 24];
    const char *other = instead_of(x->op);
    list_names(list, sizeof list, o, x);
    ruvm_problems_note(r, RUVM_ERR_UNSUPPORTED, "%u %.*s%s%.*s (%s)%s%s", x->n_nodes,
                       SHOWN(x->domain), x->domain.size ? "." : "", SHOWN(x->op), list,
                       other ? "; accepted instead: " : "", other ? other : "");
}

int ruvm_onnx_report_operators(struct ruvm_problems *r, struct ruvm_arena *arena,
                               const struct ruvm_onnx *o, struct ruvm_error *err)
{
    struct ruvm_onnx_operator *list;
    int n = ruvm_onnx_operators(&list, arena, o);
    if (n < 0)
        return ruvm_fail(err, n, "no memory for the list of operators");
    bool first = true;
    for (int i = 0; i < n; i++) {
        if (ruvm_onnx_walk_op(&o->nodes[list[i].first]) != RUVM_ONNX_OP_OTHER)
            continue;
        if (first)
            ruvm_problems_note(r, RUVM_ERR_UNSUPPORTED,
                               "operators that no decoder known here, exported by PyTorch, has");
        first = false;
        note_operator(r, o, &list[i]);
    }
    return RUVM_OK;
}

/* ---- classifiers ------------------------------------------------------------------------ */

static bool may_classify(const struct ruvm_onnx_node *node)
{
    if (node->domain.size == 0)
        for (size_t i = 0; i < sizeof classifier / sizeof *classifier; i++)
            if (ruvm_onnx_is(node->op, classifier[i]))
                return true;
    return false;
}

bool ruvm_onnx_report_is_classifier(const struct ruvm_onnx_walk *w)
{
    for (uint32_t i = 0; i < w->o->n_nodes; i++) {
        const struct ruvm_onnx_node *node = &w->o->nodes[i];
        bool is_product = w->ops[i] == RUVM_ONNX_OP_MATMUL || w->ops[i] == RUVM_ONNX_OP_GEMM;
        if (!may_classify(node) || (is_product && w->linear_of[i] == RUVM_ONNX_NONE))
            return false;
    }
    return w->n_linears > 0;
}
