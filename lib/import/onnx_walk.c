/* What each node of an ONNX graph does, and where values come from.
 *
 * Nodes stand in an order in which they can be computed, so one pass forward is enough to see
 * every value through the Identity, Cast, Transpose and Reshape nodes that exporters put in its
 * way, and every step back goes to a node of a smaller number: no walk can run in a circle.
 */
#include "lib/import/onnx_walk.h"

#include <string.h>

enum { MAX_NODES = 1 << 17 }; /* 255 layers have a third of it */

/* Which inputs of an operator carry its data. */
enum flow { FLOW_NONE, FLOW_FIRST, FLOW_ALL, FLOW_WHERE /* all but the first */ };

static const uint8_t flows[] = {
    [RUVM_ONNX_OP_OTHER] = FLOW_ALL,      [RUVM_ONNX_OP_CONSTANT] = FLOW_NONE,
    [RUVM_ONNX_OP_SHAPE] = FLOW_NONE,     [RUVM_ONNX_OP_MASK] = FLOW_ALL,
    [RUVM_ONNX_OP_IDENTITY] = FLOW_FIRST, [RUVM_ONNX_OP_VIEW] = FLOW_FIRST,
    [RUVM_ONNX_OP_RESHAPE] = FLOW_FIRST,  [RUVM_ONNX_OP_TRANSPOSE] = FLOW_FIRST,
    [RUVM_ONNX_OP_EXPAND] = FLOW_FIRST,   [RUVM_ONNX_OP_SLICE] = FLOW_FIRST,
    [RUVM_ONNX_OP_SPLIT] = FLOW_FIRST,    [RUVM_ONNX_OP_GATHER] = FLOW_FIRST,
    [RUVM_ONNX_OP_CONCAT] = FLOW_ALL,     [RUVM_ONNX_OP_WHERE] = FLOW_WHERE,
    [RUVM_ONNX_OP_ADD] = FLOW_ALL,        [RUVM_ONNX_OP_SUB] = FLOW_ALL,
    [RUVM_ONNX_OP_MUL] = FLOW_ALL,        [RUVM_ONNX_OP_DIV] = FLOW_ALL,
    [RUVM_ONNX_OP_NEG] = FLOW_ALL,        [RUVM_ONNX_OP_POW] = FLOW_ALL,
    [RUVM_ONNX_OP_SQRT] = FLOW_ALL,       [RUVM_ONNX_OP_RECIPROCAL] = FLOW_ALL,
    [RUVM_ONNX_OP_MEAN] = FLOW_FIRST,     [RUVM_ONNX_OP_SIGMOID] = FLOW_ALL,
    [RUVM_ONNX_OP_SOFTMAX] = FLOW_ALL,    [RUVM_ONNX_OP_COS] = FLOW_ALL,
    [RUVM_ONNX_OP_SIN] = FLOW_ALL,        [RUVM_ONNX_OP_MATMUL] = FLOW_ALL,
    [RUVM_ONNX_OP_GEMM] = FLOW_ALL,       [RUVM_ONNX_OP_TANH] = FLOW_ALL,
    [RUVM_ONNX_OP_ERF] = FLOW_ALL,        [RUVM_ONNX_OP_RELU] = FLOW_ALL,
    [RUVM_ONNX_OP_GELU] = FLOW_ALL,       [RUVM_ONNX_OP_LAYER_NORM] = FLOW_FIRST,
    [RUVM_ONNX_OP_RMS_NORM] = FLOW_FIRST,
};

static const struct {
    const char *name;
    enum ruvm_onnx_op op;
} names[] = {
    {"Constant", RUVM_ONNX_OP_CONSTANT},
    {"Identity", RUVM_ONNX_OP_IDENTITY},
    {"Cast", RUVM_ONNX_OP_IDENTITY},
    {"CastLike", RUVM_ONNX_OP_IDENTITY},
    {"Dropout", RUVM_ONNX_OP_IDENTITY}, /* does nothing outside training */
    {"Unsqueeze", RUVM_ONNX_OP_VIEW},
    {"Squeeze", RUVM_ONNX_OP_VIEW},
    {"Flatten", RUVM_ONNX_OP_VIEW},
    {"Reshape", RUVM_ONNX_OP_RESHAPE},
    {"Transpose", RUVM_ONNX_OP_TRANSPOSE},
    {"Expand", RUVM_ONNX_OP_EXPAND},
    {"Tile", RUVM_ONNX_OP_EXPAND},
    {"Slice", RUVM_ONNX_OP_SLICE},
    {"Split", RUVM_ONNX_OP_SPLIT},
    {"Gather", RUVM_ONNX_OP_GATHER},
    {"GatherElements", RUVM_ONNX_OP_GATHER},
    {"Concat", RUVM_ONNX_OP_CONCAT},
    {"Where", RUVM_ONNX_OP_WHERE},
    {"Add", RUVM_ONNX_OP_ADD},
    {"Sub", RUVM_ONNX_OP_SUB},
    {"Mul", RUVM_ONNX_OP_MUL},
    {"Div", RUVM_ONNX_OP_DIV},
    {"Neg", RUVM_ONNX_OP_NEG},
    {"Pow", RUVM_ONNX_OP_POW},
    {"Sqrt", RUVM_ONNX_OP_SQRT},
    {"Reciprocal", RUVM_ONNX_OP_RECIPROCAL},
    {"ReduceMean", RUVM_ONNX_OP_MEAN},
    {"Sigmoid", RUVM_ONNX_OP_SIGMOID},
    {"Tanh", RUVM_ONNX_OP_TANH},
    {"Erf", RUVM_ONNX_OP_ERF},
    {"Relu", RUVM_ONNX_OP_RELU},
    {"Gelu", RUVM_ONNX_OP_GELU},
    {"LayerNormalization", RUVM_ONNX_OP_LAYER_NORM},
    {"RMSNormalization", RUVM_ONNX_OP_RMS_NORM},
    {"SimplifiedLayerNormalization", RUVM_ONNX_OP_RMS_NORM}, /* as ONNX Runtime first called it */
    {"Softmax", RUVM_ONNX_OP_SOFTMAX},
    {"Cos", RUVM_ONNX_OP_COS},
    {"Sin", RUVM_ONNX_OP_SIN},
    {"MatMul", RUVM_ONNX_OP_MATMUL},
    {"Gemm", RUVM_ONNX_OP_GEMM},
    {"Shape", RUVM_ONNX_OP_SHAPE},
    {"Size", RUVM_ONNX_OP_SHAPE},
    {"ConstantOfShape", RUVM_ONNX_OP_SHAPE},
    {"Range", RUVM_ONNX_OP_SHAPE},
    {"Equal", RUVM_ONNX_OP_SHAPE},
    {"Greater", RUVM_ONNX_OP_SHAPE},
    {"GreaterOrEqual", RUVM_ONNX_OP_SHAPE},
    {"Less", RUVM_ONNX_OP_SHAPE},
    {"LessOrEqual", RUVM_ONNX_OP_SHAPE},
    {"And", RUVM_ONNX_OP_SHAPE},
    {"Or", RUVM_ONNX_OP_SHAPE},
    {"Not", RUVM_ONNX_OP_SHAPE},
    {"Xor", RUVM_ONNX_OP_SHAPE},
    {"IsNaN", RUVM_ONNX_OP_SHAPE},
    {"IsInf", RUVM_ONNX_OP_SHAPE},
    {"Trilu", RUVM_ONNX_OP_MASK},
    {"Min", RUVM_ONNX_OP_MASK},
    {"Max", RUVM_ONNX_OP_MASK},
    {"Mod", RUVM_ONNX_OP_MASK},
    {"Floor", RUVM_ONNX_OP_MASK},
    {"Ceil", RUVM_ONNX_OP_MASK},
    {"CumSum", RUVM_ONNX_OP_MASK},
    {"ReduceMax", RUVM_ONNX_OP_MASK},
    {"ReduceProd", RUVM_ONNX_OP_MASK},
    {"ScatterND", RUVM_ONNX_OP_MASK},
};

enum ruvm_onnx_op ruvm_onnx_walk_op(const struct ruvm_onnx_node *node)
{
    if (node->domain.size)
        return RUVM_ONNX_OP_OTHER;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (ruvm_onnx_is(node->op, names[i].name))
            return names[i].op;
    return RUVM_ONNX_OP_OTHER;
}

/* ---- values seen through -------------------------------------------------------------- */

/* Whether a Transpose exchanges the two dimensions of a matrix. */
static bool is_exchange(const struct ruvm_onnx_node *node)
{
    struct ruvm_onnx_attribute a;
    int64_t perm[2];
    if (!ruvm_onnx_attribute(node, "perm", &a))
        return true; /* of a matrix, that is the default */
    return ruvm_onnx_attribute_ints(&a, perm, 2) == 2 && perm[0] == 1 && perm[1] == 0;
}

static bool only_moves(enum ruvm_onnx_op op)
{
    return op == RUVM_ONNX_OP_IDENTITY || op == RUVM_ONNX_OP_VIEW || op == RUVM_ONNX_OP_RESHAPE ||
           op == RUVM_ONNX_OP_TRANSPOSE;
}

static void see_node(struct ruvm_onnx_walk *w, uint32_t n)
{
    const struct ruvm_onnx_node *node = &w->o->nodes[n];
    enum ruvm_onnx_op op = ruvm_onnx_walk_op(node);
    w->ops[n] = (uint8_t)op;
    if (node->n_in == 0 || node->n_out == 0)
        return;
    uint32_t in = node->in[0], out = node->out[0];
    if (in == RUVM_ONNX_NONE || out == RUVM_ONNX_NONE || !only_moves(op))
        return;
    struct ruvm_onnx_constant c = w->constants[in];
    w->plain[out] = w->plain[in];
    if (op == RUVM_ONNX_OP_IDENTITY) {
        w->same[out] = w->same[in];
        w->constants[out] = c;
    }
    if (op == RUVM_ONNX_OP_TRANSPOSE && c.tensor != RUVM_ONNX_NONE &&
        w->o->tensors[c.tensor].n_dims == 2) {
        w->constants[out].tensor = c.tensor;
        w->constants[out].flipped = c.flipped != is_exchange(node);
    }
}

const struct ruvm_onnx_node *ruvm_onnx_walk_maker(const struct ruvm_onnx_walk *w, uint32_t value,
                                                  enum ruvm_onnx_op op)
{
    uint32_t maker = value == RUVM_ONNX_NONE ? value : w->o->values[value].maker;
    return maker != RUVM_ONNX_NONE && w->ops[maker] == op ? &w->o->nodes[maker] : NULL;
}

bool ruvm_onnx_walk_scalar(const struct ruvm_onnx_walk *w, uint32_t value, double *x)
{
    uint32_t tensor = value == RUVM_ONNX_NONE ? value : w->constants[value].tensor;
    int64_t whole;
    if (tensor == RUVM_ONNX_NONE || w->o->tensors[tensor].n_values != 1)
        return false;
    if (ruvm_onnx_real(&w->o->tensors[tensor], 0, x))
        return true;
    if (!ruvm_onnx_integer(&w->o->tensors[tensor], 0, &whole))
        return false;
    *x = (double)whole;
    return true;
}

uint64_t ruvm_onnx_walk_shape(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t back)
{
    const struct ruvm_onnx_node *concat =
        ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_CONCAT);
    uint32_t n = concat ? concat->n_in : 1;
    for (uint32_t i = n; i > 0; i--) {
        uint32_t part = concat ? concat->in[i - 1] : value;
        uint32_t tensor = part == RUVM_ONNX_NONE ? part : w->constants[w->plain[part]].tensor;
        uint64_t size = tensor == RUVM_ONNX_NONE ? 1 : w->o->tensors[tensor].n_values;
        int64_t entry;
        if (back >= size) {
            back -= size;
            continue;
        }
        if (tensor == RUVM_ONNX_NONE ||
            !ruvm_onnx_integer(&w->o->tensors[tensor], size - 1 - back, &entry))
            return 0;
        return entry > 0 ? (uint64_t)entry : 0;
    }
    return 0;
}

/* ---- linears ---------------------------------------------------------------------------- */

/* The constant matrix that a value is; NULL: it is none. */
static const struct ruvm_onnx_tensor *matrix(const struct ruvm_onnx_walk *w, uint32_t value,
                                             struct ruvm_onnx_constant *c)
{
    struct ruvm_view v = {0};
    *c = value == RUVM_ONNX_NONE ? (struct ruvm_onnx_constant){.tensor = RUVM_ONNX_NONE}
                                 : w->constants[value];
    if (c->tensor == RUVM_ONNX_NONE)
        return NULL;
    const struct ruvm_onnx_tensor *t = &w->o->tensors[c->tensor];
    return t->n_dims == 2 && t->n_values > 0 && ruvm_onnx_view(t, &v) ? t : NULL;
}

/* A bias is a constant with a number for each output. */
static uint32_t bias_of(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t rows)
{
    struct ruvm_view v = {0};
    uint32_t tensor = value == RUVM_ONNX_NONE ? value : w->constants[value].tensor;
    if (tensor == RUVM_ONNX_NONE || w->o->tensors[tensor].n_values != rows ||
        !ruvm_onnx_view(&w->o->tensors[tensor], &v))
        return RUVM_ONNX_NONE;
    return tensor;
}

static bool is_plain_gemm(const struct ruvm_onnx_node *node, bool *flipped)
{
    struct ruvm_onnx_attribute a;
    *flipped = ruvm_onnx_attribute(node, "transB", &a) && a.i != 0;
    if ((ruvm_onnx_attribute(node, "alpha", &a) && a.f != 1) ||
        (ruvm_onnx_attribute(node, "beta", &a) && a.f != 1 && node->n_in > 2))
        return false;
    return !ruvm_onnx_attribute(node, "transA", &a) || a.i == 0;
}

static void see_linear(struct ruvm_onnx_walk *w, uint32_t n)
{
    const struct ruvm_onnx_node *node = &w->o->nodes[n];
    bool is_gemm = w->ops[n] == RUVM_ONNX_OP_GEMM, flipped = false;
    struct ruvm_onnx_constant c;
    const struct ruvm_onnx_tensor *t = node->n_in > 1 ? matrix(w, node->in[1], &c) : NULL;
    if (!t || node->in[0] == RUVM_ONNX_NONE || node->n_out == 0 || node->out[0] == RUVM_ONNX_NONE ||
        w->constants[node->in[0]].tensor != RUVM_ONNX_NONE ||
        (is_gemm && !is_plain_gemm(node, &flipped)) || w->n_linears == RUVM_ONNX_MAX_LINEARS)
        return;
    struct ruvm_onnx_linear l = {.node = n,
                                 .in = node->in[0],
                                 .out = node->out[0],
                                 .weight = c.tensor,
                                 .bias = RUVM_ONNX_NONE,
                                 .reshape = RUVM_ONNX_NONE};
    l.by_columns = c.flipped == flipped;
    l.rows = t->dims[l.by_columns ? 1 : 0];
    l.cols = t->dims[l.by_columns ? 0 : 1];
    if (is_gemm && node->n_in > 2)
        l.bias = bias_of(w, node->in[2], l.rows);
    if (is_gemm && node->n_in > 2 && node->in[2] != RUVM_ONNX_NONE && l.bias == RUVM_ONNX_NONE)
        return;
    w->linear_of[n] = w->n_linears;
    w->linears[w->n_linears++] = l;
}

/* An Add of a constant to a linear's output is its bias; and then values that were seen through to
 * the Add are its output. */
static void see_bias(struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node)
{
    for (uint32_t side = 0; side < 2 && node->n_in == 2 && node->n_out == 1; side++) {
        uint32_t other = node->in[1 - side], value = node->in[side];
        const struct ruvm_onnx_node *maker = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_MATMUL);
        uint32_t number = maker ? w->linear_of[maker - w->o->nodes] : RUVM_ONNX_NONE;
        if (number == RUVM_ONNX_NONE || w->linears[number].bias != RUVM_ONNX_NONE)
            continue;
        struct ruvm_onnx_linear *l = &w->linears[number];
        l->bias = bias_of(w, other, l->rows);
        if (l->bias == RUVM_ONNX_NONE || node->out[0] == RUVM_ONNX_NONE)
            continue;
        l->out = node->out[0];
        w->linear_of[node - w->o->nodes] = number;
        return;
    }
}

static void see_reshape(struct ruvm_onnx_walk *w, uint32_t n)
{
    const struct ruvm_onnx_node *node = &w->o->nodes[n];
    uint32_t value = node->n_in > 1 ? node->in[0] : RUVM_ONNX_NONE;
    uint32_t maker = value == RUVM_ONNX_NONE ? value : w->o->values[w->same[value]].maker;
    uint32_t number = maker == RUVM_ONNX_NONE ? maker : w->linear_of[maker];
    if (number != RUVM_ONNX_NONE && w->linears[number].reshape == RUVM_ONNX_NONE)
        w->linears[number].reshape = n;
}

struct ruvm_onnx_linear *ruvm_onnx_walk_linear(const struct ruvm_onnx_walk *w, uint32_t value)
{
    uint32_t maker = value == RUVM_ONNX_NONE ? value : w->o->values[w->plain[value]].maker;
    uint32_t number = maker == RUVM_ONNX_NONE ? maker : w->linear_of[maker];
    if (number == RUVM_ONNX_NONE || w->plain[w->linears[number].out] != w->plain[value])
        return NULL;
    return &w->linears[number];
}

/* ---- all nodes -------------------------------------------------------------------------- */

static bool allocate(struct ruvm_onnx_walk *w, struct ruvm_arena *arena)
{
    uint32_t n_nodes = w->o->n_nodes, n_values = w->o->n_values;
    w->ops = ruvm_arena_alloc(arena, n_nodes, sizeof *w->ops);
    w->linear_of = ruvm_arena_alloc(arena, n_nodes, sizeof *w->linear_of);
    w->seen = ruvm_arena_alloc(arena, n_nodes, sizeof *w->seen);
    w->stack = ruvm_arena_alloc(arena, n_nodes, sizeof *w->stack);
    w->constants = ruvm_arena_alloc(arena, n_values, sizeof *w->constants);
    w->same = ruvm_arena_alloc(arena, n_values, sizeof *w->same);
    w->plain = ruvm_arena_alloc(arena, n_values, sizeof *w->plain);
    w->linears = ruvm_arena_alloc(arena, RUVM_ONNX_MAX_LINEARS, sizeof *w->linears);
    return w->ops && w->linear_of && w->seen && w->stack && w->constants && w->same && w->plain &&
           w->linears;
}

int ruvm_onnx_walk_init(struct ruvm_onnx_walk *w, struct ruvm_arena *arena,
                        const struct ruvm_onnx *o, struct ruvm_error *err)
{
    *w = (struct ruvm_onnx_walk){.o = o};
    if (o->n_nodes > MAX_NODES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the graph has %u nodes; ruvm looks for a decoder in at most %d",
                         o->n_nodes, MAX_NODES);
    if (!allocate(w, arena))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a graph of %u nodes", o->n_nodes);
    for (uint32_t i = 0; i < o->n_values; i++) {
        w->constants[i].tensor = o->values[i].tensor;
        w->same[i] = w->plain[i] = i;
    }
    for (uint32_t i = 0; i < o->n_nodes; i++) {
        w->linear_of[i] = RUVM_ONNX_NONE;
        see_node(w, i);
        if (w->ops[i] == RUVM_ONNX_OP_MATMUL || w->ops[i] == RUVM_ONNX_OP_GEMM)
            see_linear(w, i);
        else if (w->ops[i] == RUVM_ONNX_OP_ADD)
            see_bias(w, &o->nodes[i]);
        else if (w->ops[i] == RUVM_ONNX_OP_RESHAPE)
            see_reshape(w, i);
    }
    return RUVM_OK;
}

/* ---- walking back ------------------------------------------------------------------------ */

static void push(struct ruvm_onnx_walk *w, uint32_t value, uint32_t *n)
{
    uint32_t maker = value == RUVM_ONNX_NONE ? value : w->o->values[value].maker;
    if (maker == RUVM_ONNX_NONE || w->seen[maker] == w->round)
        return;
    w->seen[maker] = w->round;
    w->stack[(*n)++] = maker;
}

static void go_back(struct ruvm_onnx_walk *w, uint32_t value, uint64_t stops,
                    struct ruvm_onnx_hits *hits)
{
    uint32_t n = 0;
    push(w, value, &n);
    while (n > 0) {
        uint32_t at = w->stack[--n];
        const struct ruvm_onnx_node *node = &w->o->nodes[at];
        if (stops >> w->ops[at] & 1) {
            if (hits->n < RUVM_ONNX_MAX_HITS)
                hits->nodes[hits->n] = at;
            hits->n++;
            continue;
        }
        uint8_t flow = flows[w->ops[at]];
        uint32_t end = flow == FLOW_NONE ? 0 : flow == FLOW_FIRST ? 1 : node->n_in;
        for (uint32_t i = flow == FLOW_WHERE; i < end && i < node->n_in; i++)
            push(w, node->in[i], &n);
    }
}

struct ruvm_onnx_hits ruvm_onnx_walk_back(struct ruvm_onnx_walk *w, uint32_t value, uint64_t stops)
{
    struct ruvm_onnx_hits hits = {.n = 0};
    w->round++;
    go_back(w, value, stops | RUVM_ONNX_BIT(MATMUL) | RUVM_ONNX_BIT(GEMM), &hits);
    return hits;
}

void ruvm_onnx_walk_also(struct ruvm_onnx_walk *w, uint32_t value)
{
    struct ruvm_onnx_hits none = {.n = 0};
    go_back(w, value, 0, &none);
}

bool ruvm_onnx_walk_seen(const struct ruvm_onnx_walk *w, uint32_t node)
{
    return w->seen[node] == w->round;
}
