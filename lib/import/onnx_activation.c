/* Knows an activation by its numbers.
 *
 * GELU alone is written in a dozen ways: with Erf or Tanh, with x^3 as Pow or as products, factors
 * in any order, or as one operator. So the graph between two linears is computed at some points,
 * and compared with what each activation is there. The two GELUs differ by more than 1e-4 at some
 * of them; what the exporter's rounding of constants changes is below 1e-6.
 */
#include "lib/import/onnx_activation.h"

#include <math.h>

#include "formats/ruvm_layout.h"

enum { MAX_DEPTH = 32, MAX_STEPS = 512, MAX_LEAVES = 2 };

struct evaluation {
    const struct ruvm_onnx_walk *w;
    struct ruvm_onnx_linear *leaves[MAX_LEAVES];
    double x[MAX_LEAVES]; /* what the leaves are */
    uint32_t n_leaves, n_steps;
    bool failed; /* something else than numbers of the leaves is in it */
};

static const double points[] = {-4, -2.5, -1.5, -1, -0.5, -0.125, 0, 0.25, 0.75, 1, 2, 3};
enum { N_POINTS = sizeof points / sizeof *points };

/* ---- what activations are ----------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double gelu_erf(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

/* ---- computing the graph -------------------------------------------------------------------- */

static double fail(struct evaluation *e)
{
    e->failed = true;
    return 0;
}

static double leaf(struct evaluation *e, struct ruvm_onnx_linear *l)
{
    uint32_t i = 0;
    while (i < e->n_leaves && e->leaves[i] != l)
        i++;
    if (i == MAX_LEAVES)
        return fail(e);
    if (i == e->n_leaves)
        e->leaves[e->n_leaves++] = l;
    return e->x[i];
}

static double of_one(struct evaluation *e, const struct ruvm_onnx_node *node, double x)
{
    struct ruvm_onnx_attribute a;
    switch (ruvm_onnx_walk_op(node)) {
    case RUVM_ONNX_OP_IDENTITY:
    case RUVM_ONNX_OP_VIEW:
    case RUVM_ONNX_OP_RESHAPE: return x;
    case RUVM_ONNX_OP_NEG: return -x;
    case RUVM_ONNX_OP_SQRT: return sqrt(x);
    case RUVM_ONNX_OP_RECIPROCAL: return 1 / x;
    case RUVM_ONNX_OP_SIGMOID: return sigmoid(x);
    case RUVM_ONNX_OP_TANH: return tanh(x);
    case RUVM_ONNX_OP_ERF: return erf(x);
    case RUVM_ONNX_OP_RELU: return relu(x);
    case RUVM_ONNX_OP_GELU:
        return ruvm_onnx_attribute(node, "approximate", &a) && ruvm_onnx_is(a.text, "tanh")
                   ? gelu_tanh(x)
                   : gelu_erf(x);
    default: return fail(e);
    }
}

static double of_two(struct evaluation *e, const struct ruvm_onnx_node *node, double x, double y)
{
    switch (ruvm_onnx_walk_op(node)) {
    case RUVM_ONNX_OP_ADD: return x + y;
    case RUVM_ONNX_OP_SUB: return x - y;
    case RUVM_ONNX_OP_MUL: return x * y;
    case RUVM_ONNX_OP_DIV: return x / y;
    case RUVM_ONNX_OP_POW: return pow(x, y);
    default: return fail(e);
    }
}

static bool is_of_two(enum ruvm_onnx_op op)
{
    return op == RUVM_ONNX_OP_ADD || op == RUVM_ONNX_OP_SUB || op == RUVM_ONNX_OP_MUL ||
           op == RUVM_ONNX_OP_DIV || op == RUVM_ONNX_OP_POW;
}

static double compute(struct evaluation *e, uint32_t value, int depth)
{
    const struct ruvm_onnx_walk *w = e->w;
    double x;
    if (value == RUVM_ONNX_NONE || depth == MAX_DEPTH || e->n_steps++ == MAX_STEPS || e->failed)
        return fail(e);
    if (ruvm_onnx_walk_scalar(w, w->plain[value], &x))
        return x;
    struct ruvm_onnx_linear *l = ruvm_onnx_walk_linear(w, value);
    if (l)
        return leaf(e, l);
    uint32_t maker = w->o->values[w->plain[value]].maker;
    if (maker == RUVM_ONNX_NONE)
        return fail(e);
    const struct ruvm_onnx_node *node = &w->o->nodes[maker];
    bool two = is_of_two((enum ruvm_onnx_op)w->ops[maker]);
    if (node->n_in < (two ? 2u : 1u))
        return fail(e);
    x = compute(e, node->in[0], depth + 1);
    return two ? of_two(e, node, x, compute(e, node->in[1], depth + 1)) : of_one(e, node, x);
}

static double at(struct evaluation *e, uint32_t value, double x, double y)
{
    e->x[0] = x;
    e->x[1] = y;
    e->n_steps = 0;
    return compute(e, value, 0);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool is_near(double x, double y)
{
    return fabs(x - y) <= 1e-5 * (1 + fabs(y)); /* also false of what is no number */
}

static bool is_function(struct evaluation *e, uint32_t value, double (*f)(double))
{
    for (int i = 0; i < N_POINTS; i++)
        if (!is_near(at(e, value, points[i], 0), f(points[i])))
            return false;
    return true;
}

/* Whether leaf `gate` goes through SiLU and then multiplies the other one. */
static bool is_gated(struct evaluation *e, uint32_t value, int gate)
{
    for (int i = 0; i < N_POINTS; i++)
        for (int k = 0; k < N_POINTS; k++) {
            double g = points[i], u = points[k], y = g * sigmoid(g) * u;
            if (!is_near(gate == 0 ? at(e, value, g, u) : at(e, value, u, g), y))
                return false;
        }
    return true;
}

static void find_gated(struct evaluation *e, uint32_t value, struct ruvm_onnx_activation *a)
{
    for (int gate = 0; gate < MAX_LEAVES; gate++)
        if (is_gated(e, value, gate)) {
            a->kind = RUVM_ACT_SILU_GATED;
            a->gate = e->leaves[gate];
            a->up = e->leaves[1 - gate];
        }
}

bool ruvm_onnx_activation_find(const struct ruvm_onnx_walk *w, uint32_t value,
                               struct ruvm_onnx_activation *a)
{
    static const struct {
        int kind;
        double (*f)(double);
    } known[] = {
        {RUVM_ACT_GELU_TANH, gelu_tanh}, {RUVM_ACT_GELU_ERF, gelu_erf}, {RUVM_ACT_RELU, relu}};
    struct evaluation e = {.w = w};
    at(&e, value, 1, 1);
    if (e.failed || e.n_leaves == 0)
        return false;
    *a = (struct ruvm_onnx_activation){.kind = -1, .up = e.leaves[0]};
    if (e.n_leaves == 2)
        find_gated(&e, value, a);
    for (size_t i = 0; e.n_leaves == 1 && i < sizeof known / sizeof *known; i++)
        if (is_function(&e, value, known[i].f))
            a->kind = known[i].kind;
    return true;
}
