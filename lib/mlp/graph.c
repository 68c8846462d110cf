/* A classifier in an ONNX graph: nodes are taken in the order of the file, which is one in which
 * they can be computed, and each says what its output is.
 *
 * What to do to accept another operator: a line in `operators`; if it is a function of one
 * number, another in function.h, and nothing else.
 */
#include "lib/mlp/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/mlp/graph_walk.h"

enum role {
    FUNCTION, /* of a number, or of two */
    PASS,     /* the same numbers, perhaps in another shape */
    SHAPE,    /* of any numbers: makes no numbers */
    ASIDE,    /* of shapes and constants only */
    LINEAR,
    NORM,
    END, /* softmax, and what chooses */
};

static const struct op_role {
    const char *op;
    uint8_t role, function;
} operators[] = {
    {"Gemm", LINEAR, 0},
    {"MatMul", LINEAR, 0},
    {"BatchNormalization", NORM, 0},
    {"Identity", PASS, 0},
    {"Cast", PASS, 0},
    {"Dropout", PASS, 0},
    {"Flatten", PASS, 0},
    {"Reshape", PASS, 0},
    {"Squeeze", PASS, 0},
    {"Unsqueeze", PASS, 0},
    {"Softmax", END, 0},
    {"LogSoftmax", END, 0},
    {"ArgMax", END, 0},
    {"Shape", SHAPE, 0},
    {"Size", SHAPE, 0},
    {"Constant", ASIDE, 0},
    {"ConstantOfShape", ASIDE, 0},
    {"Gather", ASIDE, 0},
    {"Concat", ASIDE, 0},
    {"Slice", ASIDE, 0},
    {"Transpose", ASIDE, 0},
    {"Add", FUNCTION, RUVM_FUNCTION_ADD},
    {"Sub", FUNCTION, RUVM_FUNCTION_SUB},
    {"Mul", FUNCTION, RUVM_FUNCTION_MUL},
    {"Div", FUNCTION, RUVM_FUNCTION_DIV},
    {"Pow", FUNCTION, RUVM_FUNCTION_POW},
    {"Max", FUNCTION, RUVM_FUNCTION_MAX},
    {"Neg", FUNCTION, RUVM_FUNCTION_NEG},
    {"Abs", FUNCTION, RUVM_FUNCTION_ABS},
    {"Exp", FUNCTION, RUVM_FUNCTION_EXP},
    {"Sqrt", FUNCTION, RUVM_FUNCTION_SQRT},
    {"Erf", FUNCTION, RUVM_FUNCTION_ERF},
    {"Reciprocal", FUNCTION, RUVM_FUNCTION_RECIPROCAL},
    {"Relu", FUNCTION, RUVM_FUNCTION_RELU},
    {"LeakyRelu", FUNCTION, RUVM_FUNCTION_LEAKY_RELU},
    {"Sigmoid", FUNCTION, RUVM_FUNCTION_SIGMOID},
    {"Tanh", FUNCTION, RUVM_FUNCTION_TANH},
    {"Gelu", FUNCTION, RUVM_FUNCTION_GELU_ERF},
};

static const struct op_role *operator_of(struct ruvm_onnx_text op, struct ruvm_onnx_text domain)
{
    if (domain.size && !ruvm_onnx_is(domain, "ai.onnx"))
        return NULL;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (ruvm_onnx_is(op, operators[i].op))
            return &operators[i];
    return NULL;
}

/* ---- what is said of a graph --------------------------------------------------- */

enum { SHOWN_NAMES = 3, SHOWN_BYTES = 48 };
#define SHOWN(text)                                                                                \
    (int)((text).size < SHOWN_BYTES ? (text).size : SHOWN_BYTES), (text).size ? (text).at : ""

/* A node may have no name: its first output always has. */
static struct ruvm_onnx_text name_of(const struct ruvm_onnx *o, const struct ruvm_onnx_node *node)
{
    if (node->name.size || node->n_out == 0 || node->out[0] == RUVM_ONNX_NONE)
        return node->name;
    return o->values[node->out[0]].name;
}

void ruvm_graph_note(struct ruvm_graph *g, const struct ruvm_onnx_node *node, const char *why)
{
    ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED, "node %.*s (%.*s): %s",
                       SHOWN(name_of(g->o, node)), SHOWN(node->op), why);
}

/* An empty text may be no text at all. */
static bool same_text(struct ruvm_onnx_text a, struct ruvm_onnx_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

/* "2 Conv (/0/Conv, /2/Conv)" */
static void note_operator(struct ruvm_graph *g, const struct ruvm_onnx_operator *x)
{
    char names[SHOWN_NAMES * (SHOWN_BYTES + 2) + 1] = "";
    size_t used = 0;
    uint32_t n = 0;
    for (uint32_t i = x->first; i < g->o->n_nodes && n < SHOWN_NAMES; i++) {
        const struct ruvm_onnx_node *node = &g->o->nodes[i];
        if (!same_text(node->op, x->op))
            continue;
        int more = snprintf(names + used, sizeof names - used, "%s%.*s", n++ ? ", " : "",
                            SHOWN(name_of(g->o, node)));
        used += more > 0 ? (size_t)more : 0;
    }
    ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED, "%u %.*s%s%.*s (%s%s)", x->n_nodes,
                       SHOWN(x->domain), x->domain.size ? "." : "", SHOWN(x->op), names,
                       x->n_nodes > n ? ", ..." : "");
}

static int report_operators(struct ruvm_graph *g, struct ruvm_error *err)
{
    struct ruvm_onnx_operator *list;
    int n = ruvm_onnx_operators(&list, g->arena, g->o);
    if (n < 0)
        return ruvm_fail(err, n, "no memory for the list of operators");
    for (int i = 0; i < n; i++) {
        if (operator_of(list[i].op, list[i].domain))
            continue;
        if (g->report.n == 0)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "operators that a classifier of plain layers (Gemm or MatMul; Relu, "
                               "LeakyRelu, Sigmoid, Tanh, Gelu, SiLU; BatchNormalization; Softmax) "
                               "has not");
        note_operator(g, &list[i]);
    }
    return ruvm_problems_report(&g->report, err);
}

/* The tensor that a value is, through Identity and Cast; else NULL. */
static const struct ruvm_onnx_tensor *tensor_of(const struct ruvm_onnx *o, uint32_t value)
{
    for (uint32_t steps = 0; value != RUVM_ONNX_NONE && steps < 8; steps++) {
        const struct ruvm_onnx_value *v = &o->values[value];
        if (v->tensor != RUVM_ONNX_NONE)
            return &o->tensors[v->tensor];
        if (v->maker == RUVM_ONNX_NONE || o->nodes[v->maker].n_in == 0 ||
            !(ruvm_onnx_is(o->nodes[v->maker].op, "Identity") ||
              ruvm_onnx_is(o->nodes[v->maker].op, "Cast")))
            return NULL;
        value = o->nodes[v->maker].in[0];
    }
    return NULL;
}

static bool is_matrix(const struct ruvm_onnx_tensor *t)
{
    return t && t->n_dims >= 2 && t->type != RUVM_ONNX_INT64 && t->type != RUVM_ONNX_INT32;
}

bool ruvm_graph_is_classifier(const struct ruvm_onnx *o)
{
    bool multiplies = false;
    for (uint32_t i = 0; i < o->n_nodes; i++) {
        const struct ruvm_onnx_node *n = &o->nodes[i];
        if (n->n_in == 0)
            continue;
        if (ruvm_onnx_is(n->op, "Gather") && is_matrix(tensor_of(o, n->in[0])))
            return false;
        bool is_product = ruvm_onnx_is(n->op, "Gemm") || ruvm_onnx_is(n->op, "MatMul") ||
                          ruvm_onnx_is(n->op, "Conv");
        multiplies = multiplies || is_product;
    }
    return multiplies;
}

/* ---- nodes ------------------------------------------------------------------------ */

static struct ruvm_graph_value *value_at(struct ruvm_graph *g, uint32_t value)
{
    return value == RUVM_ONNX_NONE ? NULL : &g->values[value];
}

static bool is_numbers(struct ruvm_graph *g, const struct ruvm_onnx_node *node, uint32_t i)
{
    const struct ruvm_graph_value *v = i < node->n_in ? value_at(g, node->in[i]) : NULL;
    return v && v->kind == RUVM_GRAPH_NUMBERS;
}

/* Uses are counted beforehand, and stay. */
static void set_output(struct ruvm_graph *g, const struct ruvm_onnx_node *node, uint32_t i,
                       struct ruvm_graph_value made)
{
    struct ruvm_graph_value *v = i < node->n_out ? value_at(g, node->out[i]) : NULL;
    if (!v)
        return;
    made.n_uses = v->n_uses;
    *v = made;
}

/* Nothing but shapes and constants goes in. */
static void run_aside(struct ruvm_graph *g, const struct ruvm_onnx_node *node)
{
    struct ruvm_graph_value made = {.kind = RUVM_GRAPH_SIDE};
    const struct ruvm_graph_value *v = node->n_in ? value_at(g, node->in[0]) : NULL;
    bool turns = ruvm_onnx_is(node->op, "Transpose");
    bool keeps = ruvm_onnx_is(node->op, "Identity") || ruvm_onnx_is(node->op, "Cast");
    if (v && v->kind == RUVM_GRAPH_CONSTANT && (keeps || turns)) {
        made = *v;
        made.flipped = v->flipped != turns;
    }
    if (node->n_out && node->out[0] != RUVM_ONNX_NONE &&
        g->o->values[node->out[0]].tensor != RUVM_ONNX_NONE) /* a Constant */
        made = (struct ruvm_graph_value){.kind = RUVM_GRAPH_CONSTANT,
                                         .tensor = g->o->values[node->out[0]].tensor};
    for (uint32_t i = 0; i < node->n_out; i++)
        set_output(g, node, i, made);
}

static bool store_function(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                           const struct ruvm_graph_value *v, const struct ruvm_function *f)
{
    struct ruvm_function *kept = ruvm_arena_alloc(g->arena, 1, sizeof *kept);
    struct ruvm_graph_value made = *v;
    g->is_short = g->is_short || !kept;
    if (!kept)
        return false;
    *kept = *f;
    made.f = kept;
    set_output(g, node, 0, made);
    return true;
}

static void function_of(const struct ruvm_graph_value *v, struct ruvm_function *f)
{
    if (v->f)
        *f = *v->f;
    else
        ruvm_function_identity(f);
}

/* op(x, constant) or op(constant, x) by channel, as a x + b; false: it is no such thing. */
static bool to_affine(struct ruvm_graph *g, int op, uint32_t n, bool constant_first)
{
    for (uint32_t i = 0; i < n; i++) {
        double c = g->a[i];
        switch (op) {
        case RUVM_FUNCTION_ADD: g->a[i] = 1, g->b[i] = c; break;
        case RUVM_FUNCTION_SUB:
            g->a[i] = constant_first ? -1 : 1;
            g->b[i] = constant_first ? c : -c;
            break;
        case RUVM_FUNCTION_MUL: g->a[i] = c, g->b[i] = 0; break;
        case RUVM_FUNCTION_DIV:
            if (constant_first)
                return false;
            g->a[i] = 1 / c, g->b[i] = 0;
            break;
        default: return false;
        }
    }
    return true;
}

static bool run_with_constant(struct ruvm_graph *g, const struct ruvm_onnx_node *node, int op,
                              bool constant_first)
{
    const struct ruvm_graph_value *v = &g->values[node->in[constant_first]];
    uint32_t n = ruvm_graph_numbers(g, node->in[!constant_first], g->a);
    if (n == 0) {
        ruvm_graph_note(g, node, "one of its inputs is neither numbers nor a constant");
        return false;
    }
    struct ruvm_function c, x;
    ruvm_function_constant(&c, g->a[0]);
    bool is_plain = !v->f && v->n_uses == 1;
    if ((n > 1 || is_plain) && to_affine(g, op, n, constant_first)) {
        struct ruvm_graph_value made;
        bool ok = ruvm_graph_affine(g, node, v, n, &made);
        if (ok)
            set_output(g, node, 0, made);
        return ok;
    }
    if (n > 1) {
        ruvm_graph_note(g, node, "not by a constant for each channel");
        return false;
    }
    function_of(v, &x);
    ruvm_function_apply(&x, (enum ruvm_function_op)op, constant_first ? &c : &x,
                        constant_first ? &x : &c);
    return store_function(g, node, v, &x);
}

static bool run_two(struct ruvm_graph *g, const struct ruvm_onnx_node *node, int op)
{
    bool first = is_numbers(g, node, 0), second = is_numbers(g, node, 1);
    if (node->n_in != 2 || !(first && second))
        return node->n_in == 2 ? run_with_constant(g, node, op, second)
                               : (ruvm_graph_note(g, node, "not of two inputs"), false);
    const struct ruvm_graph_value *v = &g->values[node->in[0]], *u = &g->values[node->in[1]];
    if (v->stage != u->stage) {
        ruvm_graph_note(g, node, "combines two layers: only a chain of layers is supported");
        return false;
    }
    struct ruvm_function x, y;
    function_of(v, &x);
    function_of(u, &y);
    ruvm_function_apply(&x, (enum ruvm_function_op)op, &x, &y);
    return store_function(g, node, v, &x);
}

static bool run_function(struct ruvm_graph *g, const struct ruvm_onnx_node *node, int op)
{
    if (op <= RUVM_FUNCTION_LAST_BINARY)
        return run_two(g, node, op);
    if (!is_numbers(g, node, 0)) {
        ruvm_graph_note(g, node, "its first input is not the numbers");
        return false;
    }
    const struct ruvm_graph_value *v = &g->values[node->in[0]];
    struct ruvm_function x, slope;
    struct ruvm_onnx_attribute a;
    function_of(v, &x);
    ruvm_function_constant(&slope, ruvm_graph_real(node, "alpha", 0.01));
    if (op == RUVM_FUNCTION_GELU_ERF && ruvm_onnx_attribute(node, "approximate", &a) &&
        ruvm_onnx_is(a.text, "tanh"))
        op = RUVM_FUNCTION_GELU_TANH;
    ruvm_function_apply(&x, (enum ruvm_function_op)op, &x,
                        op == RUVM_FUNCTION_LEAKY_RELU ? &slope : NULL);
    return store_function(g, node, v, &x);
}

/* y = scale (x - mean) / sqrt(variance + epsilon) + shift. Of inputs, mean and variance tell
 * where they lie. */
static bool run_norm(struct ruvm_graph *g, const struct ruvm_onnx_node *node)
{
    double **p = g->norm;
    uint32_t n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        if (!p[i])
            p[i] = ruvm_arena_alloc(g->arena, RUVM_GRAPH_MAX_WIDTH, sizeof *p[i]);
        g->is_short = g->is_short || !p[i];
        uint32_t found = p[i] && node->n_in == 5 ? ruvm_graph_numbers(g, node->in[i + 1], p[i]) : 0;
        if (found == 0 || (i > 0 && found != n) || ruvm_graph_whole(node, "training_mode", 0)) {
            ruvm_graph_note(g, node, "is not in the form of evaluation: export after model.eval()");
            return false;
        }
        n = found;
    }
    const struct ruvm_graph_value *v = &g->values[node->in[0]];
    const struct ruvm_graph_stage *s = &g->stages[v->stage];
    double epsilon = ruvm_graph_real(node, "epsilon", 1e-5);
    for (uint32_t i = 0; i < n; i++) {
        double deviation = sqrt(fmax(p[3][i], 0) + epsilon);
        g->a[i] = p[0][i] / deviation;
        g->b[i] = p[1][i] - g->a[i] * p[2][i];
        p[3][i] = 4 * deviation;
    }
    if (!v->f && s->layer == RUVM_ONNX_NONE && !s->is_affine) {
        g->l->centre = p[2];
        g->l->range = p[3];
        p[2] = p[3] = NULL;
    }
    struct ruvm_graph_value made;
    bool ok = ruvm_graph_affine(g, node, v, n, &made);
    if (ok)
        set_output(g, node, 0, made);
    return ok;
}

/* ---- ends ---------------------------------------------------------------------------- */

static bool run_end(struct ruvm_graph *g, const struct ruvm_onnx_node *node)
{
    struct ruvm_graph_value made = g->values[node->in[0]];
    if (!ruvm_onnx_is(node->op, "ArgMax"))
        made.output = RUVM_MLP_OUT_SOFTMAX;
    made.has_ended = true;
    set_output(g, node, 0, made);
    return true;
}

static bool run_node(struct ruvm_graph *g, const struct ruvm_onnx_node *node)
{
    const struct op_role *op = operator_of(node->op, node->domain);
    bool any = false;
    for (uint32_t i = 0; i < node->n_in; i++)
        any = any || is_numbers(g, node, i);
    if (!any || op->role == SHAPE) {
        run_aside(g, node);
        return true;
    }
    bool first = is_numbers(g, node, 0) || op->role == LINEAR || op->role == FUNCTION;
    if (op->role == ASIDE || !first) {
        ruvm_graph_note(g, node, "is applied to the numbers that go through the layers");
        return false;
    }
    if (op->role == PASS) {
        for (uint32_t i = 1; i < node->n_out; i++)
            set_output(g, node, i, (struct ruvm_graph_value){.kind = RUVM_GRAPH_SIDE});
        set_output(g, node, 0, g->values[node->in[0]]);
        return true;
    }
    for (uint32_t i = 0; i < node->n_in; i++)
        if (is_numbers(g, node, i) && g->values[node->in[i]].has_ended && op->role != END) {
            ruvm_graph_note(g, node, "follows the classes' probabilities or the choice");
            return false;
        }
    struct ruvm_graph_value made;
    switch (op->role) {
    case FUNCTION: return run_function(g, node, op->function);
    case NORM: return run_norm(g, node);
    case END: return run_end(g, node);
    default:
        if (!ruvm_graph_linear(g, node, &made))
            return false;
        set_output(g, node, 0, made);
        return true;
    }
}

/* A copy of a value without a use of its own must not count as one: shapes are asked for, and
 * PASS hands its input on. */
static void count_uses(struct ruvm_graph *g)
{
    for (uint32_t i = 0; i < g->o->n_nodes; i++) {
        const struct ruvm_onnx_node *node = &g->o->nodes[i];
        const struct op_role *op = operator_of(node->op, node->domain);
        for (uint32_t k = 0; op->role != SHAPE && k < node->n_in; k++)
            if (node->in[k] != RUVM_ONNX_NONE)
                g->values[node->in[k]].n_uses++;
    }
    for (uint32_t i = 0; i < g->o->n_values; i++)
        g->values[i].n_uses += g->o->values[i].is_output;
}

/* One input of numbers; old exporters list weights as inputs, too. */
static bool find_inputs(struct ruvm_graph *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->o->n_values; i++) {
        const struct ruvm_onnx_value *v = &g->o->values[i];
        if (v->tensor != RUVM_ONNX_NONE) {
            g->values[i].kind = RUVM_GRAPH_CONSTANT;
            g->values[i].tensor = v->tensor;
        } else if (v->is_input) {
            g->values[i].kind = RUVM_GRAPH_NUMBERS;
            n++;
        }
    }
    g->stages[g->n_stages++] = (struct ruvm_graph_stage){.layer = RUVM_ONNX_NONE};
    if (n != 1)
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "has %u inputs; a classifier has one, of all features", n);
    return n == 1;
}

/* The numbers that come out last. */
static uint32_t find_output(const struct ruvm_graph *g)
{
    uint32_t found = RUVM_ONNX_NONE, last = 0;
    for (uint32_t i = 0; i < g->o->n_values; i++) {
        const struct ruvm_onnx_value *v = &g->o->values[i];
        if (!v->is_output || v->maker == RUVM_ONNX_NONE ||
            g->values[i].kind != RUVM_GRAPH_NUMBERS || v->maker < last)
            continue;
        found = i;
        last = v->maker;
    }
    return found;
}

/* A sigmoid behind the last layer is what the outputs are, not an activation to compute. */
static bool finish(struct ruvm_graph *g)
{
    uint32_t value = find_output(g);
    if (value == RUVM_ONNX_NONE || g->l->n == 0) {
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "no output of the graph comes from a linear layer");
        return false;
    }
    const struct ruvm_graph_value *v = &g->values[value];
    const struct ruvm_onnx_node *node = &g->o->nodes[g->o->values[value].maker];
    const struct ruvm_graph_stage *s = &g->stages[v->stage];
    if (s->layer != g->l->n - 1 || s->is_affine) {
        ruvm_graph_note(g, node, "the last output does not come from the last linear layer");
        return false;
    }
    if (!ruvm_graph_activate(g, node, v))
        return false;
    struct ruvm_layer *last = &g->l->layer[g->l->n - 1];
    g->l->output = v->output;
    if (last->act == RUVM_MLP_ACT_SIGMOID && v->output == RUVM_MLP_OUT_LOGITS) {
        last->act = RUVM_MLP_ACT_NONE;
        g->l->output = RUVM_MLP_OUT_SIGMOID;
    }
    return true;
}

/* ---- the whole ------------------------------------------------------------------------- */

static int check_numbers(const struct ruvm_layers *l, struct ruvm_error *err)
{
    for (uint32_t i = 0; i < l->n; i++) {
        const struct ruvm_layer *y = &l->layer[i];
        double sum = 0;
        for (size_t k = 0; k < (size_t)y->rows * y->cols; k++)
            sum += fabs((double)y->w[k]);
        for (uint32_t r = 0; r < y->rows; r++)
            sum += fabs(y->bias[r]);
        if (!(sum < 1e20))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "layer %u has weights that are not finite, or enormous: the file is "
                             "damaged or its training diverged",
                             i);
    }
    return RUVM_OK;
}

static int walk(struct ruvm_graph *g, struct ruvm_error *err)
{
    bool ok = find_inputs(g);
    count_uses(g);
    for (uint32_t i = 0; ok && i < g->o->n_nodes; i++)
        ok = run_node(g, &g->o->nodes[i]);
    ok = ok && finish(g);
    if (g->is_short)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the layers");
    return ok ? check_numbers(g->l, err) : ruvm_problems_report(&g->report, err);
}

int ruvm_graph_read(struct ruvm_layers *l, struct ruvm_arena *arena, const struct ruvm_onnx *o,
                    struct ruvm_error *err)
{
    struct ruvm_graph *g = ruvm_arena_alloc(arena, 1, sizeof *g);
    *l = (struct ruvm_layers){.layer = ruvm_arena_alloc(arena, RUVM_LAYERS_MAX, sizeof *l->layer)};
    if (!g || !l->layer)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the layers");
    *g = (struct ruvm_graph){.o = o, .arena = arena, .l = l};
    if (o->n_nodes > RUVM_GRAPH_MAX_NODES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "has %u nodes: a classifier has %d at most",
                         o->n_nodes, RUVM_GRAPH_MAX_NODES);
    int rc = report_operators(g, err);
    if (rc != RUVM_OK)
        return rc;
    g->values = ruvm_arena_alloc(arena, o->n_values, sizeof *g->values);
    g->a = ruvm_arena_alloc(arena, RUVM_GRAPH_MAX_WIDTH, sizeof *g->a);
    g->b = ruvm_arena_alloc(arena, RUVM_GRAPH_MAX_WIDTH, sizeof *g->b);
    if (!g->values || !g->a || !g->b)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u values", o->n_values);
    return walk(g, err);
}
