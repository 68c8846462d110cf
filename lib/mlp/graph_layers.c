/* Layers out of a graph: weights are copied row by row, and what multiplies and adds by channel
 * goes into them. Folding is done in double and rounded to float once a layer.
 */
#include <math.h>

#include "lib/mlp/graph_walk.h"

#define NORMAL_RANGE 4.0 /* of normalised numbers: nearly all lie within so many deviations */

static const struct ruvm_onnx_tensor *constant_of(const struct ruvm_graph *g, uint32_t value)
{
    if (value == RUVM_ONNX_NONE || g->values[value].kind != RUVM_GRAPH_CONSTANT)
        return NULL;
    return &g->o->tensors[g->values[value].tensor];
}

uint32_t ruvm_graph_numbers(const struct ruvm_graph *g, uint32_t value, double *to)
{
    const struct ruvm_onnx_tensor *t = constant_of(g, value);
    if (!t || t->n_values == 0 || t->n_values > RUVM_GRAPH_MAX_WIDTH)
        return 0;
    for (uint32_t i = 0; i < t->n_values; i++) {
        int64_t whole;
        if (ruvm_onnx_integer(t, i, &whole))
            to[i] = (double)whole;
        else if (!ruvm_onnx_real(t, i, &to[i]))
            return 0;
    }
    return (uint32_t)t->n_values;
}

double ruvm_graph_real(const struct ruvm_onnx_node *node, const char *name, double usual)
{
    struct ruvm_onnx_attribute a;
    return ruvm_onnx_attribute(node, name, &a) ? (double)a.f : usual;
}

int64_t ruvm_graph_whole(const struct ruvm_onnx_node *node, const char *name, int64_t usual)
{
    struct ruvm_onnx_attribute a;
    return ruvm_onnx_attribute(node, name, &a) ? a.i : usual;
}

static bool refuse(struct ruvm_graph *g, const struct ruvm_onnx_node *node, const char *why)
{
    ruvm_graph_note(g, node, why);
    return false;
}

static bool no_memory(struct ruvm_graph *g)
{
    g->is_short = true;
    return false;
}

/* ---- stages ---------------------------------------------------------------- */

static struct ruvm_graph_value value_of_stage(uint32_t stage)
{
    return (struct ruvm_graph_value){.kind = RUVM_GRAPH_NUMBERS, .stage = stage};
}

bool ruvm_graph_activate(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                         const struct ruvm_graph_value *v)
{
    struct ruvm_graph_stage *s = &g->stages[v->stage];
    if (s->is_used)
        return refuse(g, node, "its input has another use: only a chain of layers is supported");
    s->is_used = true;
    if (!v->f)
        return true;
    if (s->layer == RUVM_ONNX_NONE)
        return refuse(g, node, "an activation before the first layer");
    if (s->is_affine)
        return refuse(g, node, "a second activation, with no layer between");
    struct ruvm_layer *layer = &g->l->layer[s->layer];
    if (!ruvm_function_activation(v->f, &layer->act, &layer->slope))
        return refuse(g, node,
                      "what stands between two layers is no activation of ReLU, LeakyReLU, "
                      "Sigmoid, Tanh, SiLU and GELU");
    return true;
}

/* Channels of a stage; 0: not known yet, of the inputs. */
static uint32_t width_of(const struct ruvm_graph *g, const struct ruvm_graph_stage *s)
{
    return s->layer == RUVM_ONNX_NONE ? s->is_affine && s->n > 1 ? s->n : 0
                                      : g->l->layer[s->layer].rows;
}

static void fold_behind(struct ruvm_graph *g, struct ruvm_layer *layer, uint32_t n)
{
    for (uint32_t r = 0; r < layer->rows; r++) {
        double a = g->a[n > 1 ? r : 0], b = g->b[n > 1 ? r : 0];
        float *w = layer->w + (size_t)r * layer->cols;
        for (uint32_t c = 0; c < layer->cols; c++)
            w[c] = (float)((double)w[c] * a);
        layer->bias[r] = layer->bias[r] * a + b;
    }
}

/* Room for n channels, all doing nothing; what there is for one goes to all. */
static bool widen(struct ruvm_graph *g, struct ruvm_graph_stage *s, uint32_t n)
{
    if (s->is_affine && s->n >= n)
        return true;
    double *a = ruvm_arena_alloc(g->arena, n, sizeof *a);
    double *b = ruvm_arena_alloc(g->arena, n, sizeof *b);
    if (!a || !b)
        return no_memory(g);
    for (uint32_t i = 0; i < n; i++) {
        a[i] = s->is_affine ? s->a[0] : 1;
        b[i] = s->is_affine ? s->b[0] : 0;
    }
    *s = (struct ruvm_graph_stage){.layer = s->layer, .is_affine = true, .n = n, .a = a, .b = b};
    return true;
}

/* Puts g->a and g->b behind what a stage has of them already. */
static bool compose(struct ruvm_graph *g, struct ruvm_graph_stage *s, uint32_t n)
{
    if (!widen(g, s, n))
        return false;
    for (uint32_t i = 0; i < s->n; i++) {
        double x = g->a[n > 1 ? i : 0], y = g->b[n > 1 ? i : 0];
        s->a[i] *= x;
        s->b[i] = x * s->b[i] + y;
    }
    return true;
}

bool ruvm_graph_affine(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                       const struct ruvm_graph_value *v, uint32_t n, struct ruvm_graph_value *out)
{
    struct ruvm_graph_stage *s = &g->stages[v->stage];
    uint32_t width = width_of(g, s);
    if (n > 1 && width && n != width)
        return refuse(g, node, "its constant has another number of channels");
    if (v->n_uses > 1)
        return refuse(g, node, "its input has another use: only a chain of layers is supported");
    *out = *v;
    if (!v->f && s->layer != RUVM_ONNX_NONE && !s->is_affine) {
        fold_behind(g, &g->l->layer[s->layer], n);
        return true;
    }
    if (v->f) { /* a new stage, behind the activation */
        uint32_t layer = s->layer;
        if (!ruvm_graph_activate(g, node, v))
            return false;
        if (g->n_stages == sizeof g->stages / sizeof *g->stages)
            return refuse(g, node, "more layers than 255");
        s = &g->stages[g->n_stages];
        *s = (struct ruvm_graph_stage){.layer = layer};
        *out = value_of_stage(g->n_stages++);
    }
    return compose(g, s, n);
}

/* ---- layers ------------------------------------------------------------------ */

struct weights {
    const struct ruvm_onnx_tensor *t;
    uint32_t rows, cols;
    bool by_columns;
    double alpha;
};

static bool find_weights(struct ruvm_graph *g, const struct ruvm_onnx_node *node, struct weights *w)
{
    bool is_gemm = ruvm_onnx_is(node->op, "Gemm");
    bool is_pair = node->n_in > 1 && node->in[0] != RUVM_ONNX_NONE;
    w->t = is_pair ? constant_of(g, node->in[1]) : NULL;
    w->alpha = is_gemm ? ruvm_graph_real(node, "alpha", 1) : 1;
    if (!w->t || g->values[node->in[0]].kind != RUVM_GRAPH_NUMBERS)
        return refuse(g, node, "multiplies two computed values; weights must be constants, second");
    if (is_gemm && ruvm_graph_whole(node, "transA", 0))
        return refuse(g, node, "transA is set");
    if (w->t->n_dims != 2 || w->t->dims[0] == 0 || w->t->dims[1] == 0 ||
        w->t->dims[0] > RUVM_GRAPH_MAX_WIDTH || w->t->dims[1] > RUVM_GRAPH_MAX_WIDTH)
        return refuse(g, node, "its weights are no matrix of at most 65,535 rows and columns");
    bool transposed = is_gemm && ruvm_graph_whole(node, "transB", 0);
    w->by_columns = transposed == g->values[node->in[1]].flipped;
    w->rows = (uint32_t)w->t->dims[w->by_columns];
    w->cols = (uint32_t)w->t->dims[!w->by_columns];
    return true;
}

static bool copy_weights(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                         const struct weights *w, struct ruvm_layer *layer)
{
    layer->rows = w->rows;
    layer->cols = w->cols;
    layer->w = ruvm_arena_alloc(g->arena, (size_t)w->rows * w->cols, sizeof *layer->w);
    layer->bias = ruvm_arena_alloc(g->arena, w->rows, sizeof *layer->bias);
    if (!layer->w || !layer->bias)
        return no_memory(g);
    for (uint32_t r = 0; r < w->rows; r++)
        for (uint32_t c = 0; c < w->cols; c++) {
            uint64_t i = w->by_columns ? (uint64_t)c * w->rows + r : (uint64_t)r * w->cols + c;
            double x;
            if (!ruvm_onnx_real(w->t, i, &x))
                return refuse(g, node, "its weights are not floats, or not in the file");
            layer->w[(size_t)r * w->cols + c] = (float)(x * w->alpha);
        }
    return true;
}

static bool add_bias(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                     struct ruvm_layer *layer)
{
    if (node->n_in < 3 || node->in[2] == RUVM_ONNX_NONE)
        return true;
    double beta = ruvm_graph_real(node, "beta", 1);
    uint32_t n = ruvm_graph_numbers(g, node->in[2], g->b);
    if (n != 1 && n != layer->rows)
        return refuse(g, node, "its bias is no constant with a number an output");
    for (uint32_t r = 0; r < layer->rows; r++)
        layer->bias[r] += beta * g->b[n > 1 ? r : 0];
    return true;
}

/* What normalises the inputs tells where they lie: they usually come out as 0 +- NORMAL_RANGE. */
static bool keep_ranges(struct ruvm_graph *g, const struct ruvm_graph_stage *s, uint32_t n)
{
    if (g->l->centre)
        return true;
    g->l->centre = ruvm_arena_alloc(g->arena, n, sizeof *g->l->centre);
    g->l->range = ruvm_arena_alloc(g->arena, n, sizeof *g->l->range);
    if (!g->l->centre || !g->l->range)
        return no_memory(g);
    for (uint32_t i = 0; i < n; i++) {
        double a = s->a[s->n > 1 ? i : 0], b = s->b[s->n > 1 ? i : 0];
        g->l->centre[i] = a < 0 || a > 0 ? -b / a : 0;
        g->l->range[i] = a < 0 || a > 0 ? NORMAL_RANGE / fabs(a) : 1;
    }
    return true;
}

/* w (a x + b) = (w a) x + w b. */
static void fold_before(struct ruvm_layer *layer, const struct ruvm_graph_stage *s)
{
    for (uint32_t r = 0; r < layer->rows; r++) {
        float *w = layer->w + (size_t)r * layer->cols;
        for (uint32_t c = 0; c < layer->cols; c++) {
            uint32_t k = s->n > 1 ? c : 0;
            layer->bias[r] += (double)w[c] * s->b[k];
            w[c] = (float)((double)w[c] * s->a[k]);
        }
    }
}

static bool take_input(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                       struct ruvm_layer *layer)
{
    const struct ruvm_graph_value *v = &g->values[node->in[0]];
    const struct ruvm_graph_stage *s = &g->stages[v->stage];
    uint32_t width = width_of(g, s);
    if (width && width != layer->cols)
        return refuse(g, node, "its weights have another number of inputs than there are");
    if (!ruvm_graph_activate(g, node, v))
        return false;
    if (s->layer == RUVM_ONNX_NONE && s->is_affine && !keep_ranges(g, s, layer->cols))
        return false;
    if (s->is_affine)
        fold_before(layer, s);
    return true;
}

bool ruvm_graph_linear(struct ruvm_graph *g, const struct ruvm_onnx_node *node,
                       struct ruvm_graph_value *out)
{
    struct weights w;
    if (!find_weights(g, node, &w))
        return false;
    if (g->l->n == RUVM_LAYERS_MAX || g->n_stages == sizeof g->stages / sizeof *g->stages)
        return refuse(g, node, "more layers than 255");
    struct ruvm_layer *layer = &g->l->layer[g->l->n];
    if (!copy_weights(g, node, &w, layer) || !take_input(g, node, layer) ||
        !add_bias(g, node, layer))
        return false;
    g->stages[g->n_stages] = (struct ruvm_graph_stage){.layer = g->l->n++};
    *out = value_of_stage(g->n_stages++);
    return true;
}
