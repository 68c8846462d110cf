/* Finds the layers of a Llama-like decoder in an ONNX graph.
 *
 * Names are lost as soon as PyTorch folds a constant, so nothing here looks at them. A layer is
 * anchored at its Softmax: the product before it leads back to q and k, the product after it to v
 * and on to o. The feed-forward is known by SiLU, x times sigmoid(x), times another linear. Then
 * each norm and each sum of the residual path is checked, so that a network which computes
 * something else is refused and not misunderstood.
 */
#include "lib/import/onnx_layers.h"

#include <string.h>

enum { MAX_PRODUCTS = 4096 }; /* of computed matrices; a layer has two */

struct finding {
    struct ruvm_onnx_decoder *d;
    struct ruvm_onnx_walk *w;
    struct ruvm_problems *r;
};

static uint32_t node_number(const struct finding *f, const struct ruvm_onnx_node *node)
{
    return (uint32_t)(node - f->w->o->nodes);
}

static bool is_linear_node(const struct finding *f, uint32_t node)
{
    return f->w->linear_of[node] != RUVM_ONNX_NONE;
}

#define BIT(op) (1u << RUVM_ONNX_OP_##op)

/* What may stand between a linear and the scores or sums that it is made for; q and k are also
 * turned and scaled. */
static const uint32_t moves = BIT(CONSTANT) | BIT(SHAPE) | BIT(IDENTITY) | BIT(VIEW) |
                              BIT(RESHAPE) | BIT(TRANSPOSE) | BIT(EXPAND) | BIT(SLICE) |
                              BIT(SPLIT) | BIT(GATHER) | BIT(CONCAT) | BIT(MATMUL) | BIT(GEMM);
static const uint32_t turns =
    BIT(COS) | BIT(SIN) | BIT(ADD) | BIT(SUB) | BIT(MUL) | BIT(DIV) | BIT(NEG) | BIT(SQRT);

static bool adds_constant(const struct finding *f, const struct ruvm_onnx_node *node)
{
    for (uint32_t i = 0; i < node->n_in; i++)
        if (node->in[i] != RUVM_ONNX_NONE && f->w->constants[node->in[i]].tensor != RUVM_ONNX_NONE)
            return true;
    return false;
}

/* Notes what the last walk went through and should not have. */
static void check_walk(struct finding *f, uint32_t allowed)
{
    for (uint32_t i = 0; i < f->w->o->n_nodes; i++) {
        enum ruvm_onnx_op op = f->w->ops[i];
        if (!ruvm_onnx_walk_seen(f->w, i) || is_linear_node(f, i))
            continue;
        if (!(allowed >> op & 1))
            ruvm_onnx_report_node(f->r, f->w, i, "changes q, k or v on the way to attention");
        else if (op == RUVM_ONNX_OP_ADD && adds_constant(f, &f->w->o->nodes[i]))
            ruvm_onnx_report_node(f->r, f->w, i, "adds a constant that is no bias of a linear");
    }
}

/* The only linear that a value comes from, when it is turned by angles that come from elsewhere;
 * NULL: none, or several. */
static struct ruvm_onnx_linear *only_linear(struct finding *f, uint32_t value, uint32_t allowed)
{
    struct ruvm_onnx_hits hits = ruvm_onnx_walk_back(f->w, value, BIT(COS) | BIT(SIN));
    struct ruvm_onnx_linear *found = NULL;
    for (uint32_t i = 0; i < hits.n && i < RUVM_ONNX_MAX_HITS; i++) {
        uint8_t op = f->w->ops[hits.nodes[i]];
        if (op == RUVM_ONNX_OP_COS || op == RUVM_ONNX_OP_SIN)
            continue;
        if (found || !is_linear_node(f, hits.nodes[i]))
            return NULL;
        found = &f->w->linears[f->w->linear_of[hits.nodes[i]]];
    }
    if (!found || hits.n > RUVM_ONNX_MAX_HITS)
        return NULL;
    check_walk(f, allowed);
    return found;
}

/* ---- embedding --------------------------------------------------------------------------- */

/* The rows of a matrix that tokens choose: the first such Gather whose rows are as wide as what
 * the first linear multiplies. A table of positions is narrower, or comes later. */
static void find_embedding(struct finding *f)
{
    const struct ruvm_onnx *o = f->w->o;
    for (uint32_t i = 0; i < o->n_nodes && f->w->n_linears; i++) {
        const struct ruvm_onnx_node *node = &o->nodes[i];
        struct ruvm_onnx_attribute axis;
        struct ruvm_view v = {0};
        if (f->w->ops[i] != RUVM_ONNX_OP_GATHER || node->n_in < 2 || node->n_out < 1 ||
            node->in[0] == RUVM_ONNX_NONE || node->out[0] == RUVM_ONNX_NONE)
            continue;
        struct ruvm_onnx_constant c = f->w->constants[node->in[0]];
        const struct ruvm_onnx_tensor *t =
            c.tensor == RUVM_ONNX_NONE || c.flipped ? NULL : &o->tensors[c.tensor];
        if (!t || t->n_dims != 2 || !ruvm_onnx_view(t, &v) ||
            (ruvm_onnx_attribute(node, "axis", &axis) && axis.i != 0) ||
            t->dims[1] != f->w->linears[0].cols)
            continue;
        f->d->embed_node = i;
        f->d->embed = c.tensor;
        f->d->vocab = t->dims[0];
        f->d->dim = t->dims[1];
        return;
    }
    ruvm_problems_note(f->r, RUVM_ERR_UNSUPPORTED,
                       "no Gather looks up the rows of an embedding as wide as the first "
                       "product's input");
}

/* ---- attention ---------------------------------------------------------------------------- */

/* Softmax(scores) times values: a product of two computed matrices, the first through a Softmax. */
static bool find_context(struct finding *f, uint32_t node, uint32_t *softmax)
{
    const struct ruvm_onnx_node *n = &f->w->o->nodes[node];
    if (n->n_in != 2)
        return false;
    struct ruvm_onnx_hits hits = ruvm_onnx_walk_back(f->w, n->in[0], BIT(SOFTMAX));
    *softmax = hits.nodes[0];
    return hits.n == 1 && f->w->ops[*softmax] == RUVM_ONNX_OP_SOFTMAX;
}

static struct ruvm_onnx_linear *linear_into(struct finding *f, uint32_t maker)
{
    for (uint32_t i = 0; i < f->w->n_linears; i++)
        if (f->w->o->values[f->w->plain[f->w->linears[i].in]].maker == maker)
            return &f->w->linears[i];
    return NULL;
}

static void find_attention(struct finding *f, struct ruvm_onnx_layer *l)
{
    const struct ruvm_onnx *o = f->w->o;
    struct ruvm_onnx_hits hits = {.n = 0};
    if (o->nodes[l->softmax].n_in > 0)
        hits = ruvm_onnx_walk_back(f->w, o->nodes[l->softmax].in[0], 0);
    if (hits.n != 1 || is_linear_node(f, hits.nodes[0]) || o->nodes[hits.nodes[0]].n_in < 2) {
        ruvm_onnx_report_node(f->r, f->w, l->softmax, "is not over one product of q and k");
        return;
    }
    l->scores = hits.nodes[0];
    l->q = only_linear(f, o->nodes[l->scores].in[0], moves | turns);
    l->k = only_linear(f, o->nodes[l->scores].in[1], moves | turns);
    l->v = only_linear(f, o->nodes[l->context].in[1], moves);
    l->o = linear_into(f, l->context);
    if (!l->q || !l->k)
        ruvm_onnx_report_node(f->r, f->w, l->scores, "is not the product of two linears, q and k");
    if (!l->v || !l->o)
        ruvm_onnx_report_node(f->r, f->w, l->context,
                              "has no linear before it (v) or none behind it (o)");
    if (l->q && (l->q == l->k || l->q == l->v))
        ruvm_onnx_report_node(f->r, f->w, l->q->node,
                              "makes q, k and v at once; three linears are accepted");
}

static int find_softmaxes(struct finding *f, struct ruvm_arena *arena, struct ruvm_error *err)
{
    struct ruvm_onnx_decoder *d = f->d;
    uint32_t softmax, n_products = 0;
    d->layers = ruvm_arena_alloc(arena, RUVM_ONNX_MAX_LAYERS, sizeof *d->layers);
    if (!d->layers)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the layers");
    for (uint32_t i = 0; i < f->w->o->n_nodes; i++) {
        if (f->w->ops[i] != RUVM_ONNX_OP_MATMUL || is_linear_node(f, i))
            continue;
        if (n_products++ == MAX_PRODUCTS)
            break;
        if (!find_context(f, i, &softmax))
            continue;
        if (d->n_layers == RUVM_ONNX_MAX_LAYERS) {
            ruvm_problems_note(f->r, RUVM_ERR_UNSUPPORTED, "has more than %d layers",
                               RUVM_ONNX_MAX_LAYERS);
            break;
        }
        struct ruvm_onnx_layer *l = &d->layers[d->n_layers++];
        l->context = i;
        l->softmax = softmax;
        find_attention(f, l);
    }
    if (d->n_layers == 0)
        ruvm_problems_note(f->r, RUVM_ERR_UNSUPPORTED,
                           "no attention in it: no MatMul of a Softmax");
    return RUVM_OK;
}

/* ---- feed-forward --------------------------------------------------------------------------- */

/* The linear g when a value is g times sigmoid(g). */
static struct ruvm_onnx_linear *silu(const struct finding *f, uint32_t value)
{
    const struct ruvm_onnx_walk *w = f->w;
    const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, w->plain[value], RUVM_ONNX_OP_MUL);
    for (uint32_t side = 0; mul && mul->n_in == 2 && side < 2; side++) {
        uint32_t g = mul->in[side], s = mul->in[1 - side];
        if (g == RUVM_ONNX_NONE || s == RUVM_ONNX_NONE)
            return NULL;
        const struct ruvm_onnx_node *sigmoid =
            ruvm_onnx_walk_maker(w, w->plain[s], RUVM_ONNX_OP_SIGMOID);
        if (sigmoid && sigmoid->n_in == 1 && sigmoid->in[0] != RUVM_ONNX_NONE &&
            w->plain[sigmoid->in[0]] == w->plain[g])
            return ruvm_onnx_walk_linear(w, g);
    }
    return NULL;
}

static bool is_down(const struct finding *f, const struct ruvm_onnx_linear *down,
                    struct ruvm_onnx_layer *l)
{
    const struct ruvm_onnx_node *mul =
        ruvm_onnx_walk_maker(f->w, f->w->plain[down->in], RUVM_ONNX_OP_MUL);
    for (uint32_t side = 0; mul && mul->n_in == 2 && side < 2; side++) {
        if (mul->in[side] == RUVM_ONNX_NONE || mul->in[1 - side] == RUVM_ONNX_NONE)
            return false;
        l->gate = silu(f, mul->in[side]);
        l->up = ruvm_onnx_walk_linear(f->w, mul->in[1 - side]);
        if (l->gate && l->up)
            return true;
    }
    return false;
}

/* The feed-forward of a layer stands between its o and the next layer's. */
static void find_feed_forward(struct finding *f, uint32_t layer)
{
    struct ruvm_onnx_decoder *d = f->d;
    struct ruvm_onnx_layer *l = &d->layers[layer];
    uint32_t end = layer + 1 < d->n_layers ? d->layers[layer + 1].context : f->w->o->n_nodes;
    for (uint32_t i = 0; i < f->w->n_linears; i++) {
        struct ruvm_onnx_linear *down = &f->w->linears[i];
        if (down->node < l->context || down->node > end || !is_down(f, down, l))
            continue;
        l->down = down;
        return;
    }
    l->gate = l->up = NULL;
    ruvm_problems_note(f->r, RUVM_ERR_UNSUPPORTED,
                       "layer %u: no feed-forward of the form down(silu(gate x) * up x): "
                       "Sigmoid, Mul, Mul before a linear",
                       layer);
}

/* ---- norms ------------------------------------------------------------------------------------
 */

/* eps when a value is the mean of the squares of x, plus eps. */
static bool mean_square(const struct finding *f, uint32_t value, struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_walk *w = f->w;
    const struct ruvm_onnx_node *add = ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_ADD);
    for (uint32_t side = 0; add && add->n_in == 2 && side < 2; side++) {
        uint32_t mean_value = add->in[side];
        if (mean_value == RUVM_ONNX_NONE ||
            !ruvm_onnx_walk_scalar(w, add->in[1 - side], &norm->eps))
            continue;
        const struct ruvm_onnx_node *mean =
            ruvm_onnx_walk_maker(w, w->same[mean_value], RUVM_ONNX_OP_MEAN);
        if (!mean || mean->n_in < 1 || mean->in[0] == RUVM_ONNX_NONE)
            continue;
        uint32_t square = w->same[mean->in[0]];
        const struct ruvm_onnx_node *pow = ruvm_onnx_walk_maker(w, square, RUVM_ONNX_OP_POW);
        const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, square, RUVM_ONNX_OP_MUL);
        double exponent = 2;
        const struct ruvm_onnx_node *node = pow ? pow : mul;
        if (!node || node->n_in != 2 || node->in[0] == RUVM_ONNX_NONE ||
            (pow && !ruvm_onnx_walk_scalar(w, pow->in[1], &exponent)) ||
            (mul && mul->in[0] != mul->in[1]))
            continue;
        norm->in = w->same[node->in[0]];
        return exponent > 1.999 && exponent < 2.001;
    }
    return false;
}

/* Whether a value is 1 / sqrt(mean square + eps) (inverse), or the root itself. */
static bool root(const struct finding *f, uint32_t value, bool inverse, struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_walk *w = f->w;
    double one = 1;
    value = w->same[value];
    if (inverse) {
        const struct ruvm_onnx_node *node = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_RECIPROCAL);
        const struct ruvm_onnx_node *div = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_DIV);
        if (div && (div->n_in != 2 || !ruvm_onnx_walk_scalar(w, div->in[0], &one)))
            return false;
        uint32_t in = node && node->n_in == 1 ? node->in[0] : div ? div->in[1] : RUVM_ONNX_NONE;
        if (in == RUVM_ONNX_NONE || one < 1 || one > 1)
            return false;
        value = w->same[in];
    }
    const struct ruvm_onnx_node *sqrt = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_SQRT);
    return sqrt && sqrt->n_in == 1 && sqrt->in[0] != RUVM_ONNX_NONE &&
           mean_square(f, sqrt->in[0], norm);
}

/* Whether a value is x / rms(x). */
static bool normalised(const struct finding *f, uint32_t value, struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_walk *w = f->w;
    const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_MUL);
    const struct ruvm_onnx_node *div = ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_DIV);
    const struct ruvm_onnx_node *node = mul ? mul : div;
    if (!node || node->n_in != 2 || node->in[0] == RUVM_ONNX_NONE || node->in[1] == RUVM_ONNX_NONE)
        return false;
    for (uint32_t side = 0; side < (mul ? 2u : 1u); side++)
        if (root(f, node->in[1 - side], mul != NULL, norm) && norm->in == w->same[node->in[side]])
            return true;
    return false;
}

static bool is_gain(const struct finding *f, uint32_t value, struct ruvm_onnx_norm *norm)
{
    struct ruvm_view v = {0};
    uint32_t tensor = value == RUVM_ONNX_NONE ? value : f->w->constants[value].tensor;
    norm->gain = tensor;
    return tensor != RUVM_ONNX_NONE && f->w->o->tensors[tensor].n_values == f->d->dim &&
           ruvm_onnx_view(&f->w->o->tensors[tensor], &v);
}

/* gain * (x / rms(x)), in either order. */
static bool find_norm(const struct finding *f, uint32_t value, struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_node *mul =
        ruvm_onnx_walk_maker(f->w, f->w->plain[value], RUVM_ONNX_OP_MUL);
    for (uint32_t side = 0; mul && mul->n_in == 2 && side < 2; side++)
        if (mul->in[1 - side] != RUVM_ONNX_NONE && is_gain(f, mul->in[side], norm) &&
            normalised(f, mul->in[1 - side], norm))
            return true;
    return false;
}

static void check_norm(struct finding *f, const struct ruvm_onnx_linear *l,
                       struct ruvm_onnx_norm *norm)
{
    if (!find_norm(f, l->in, norm))
        ruvm_onnx_report_node(f->r, f->w, l->node,
                              "its input is not RMSNorm: gain * (x / sqrt(mean(x^2) + eps))");
}

/* ---- the residual path ---------------------------------------------------------------------- */

/* Whether a value is the sum of what was before and of a linear's output. */
static bool is_sum(const struct finding *f, uint32_t value, uint32_t before,
                   const struct ruvm_onnx_linear *l)
{
    const struct ruvm_onnx_walk *w = f->w;
    const struct ruvm_onnx_node *add = ruvm_onnx_walk_maker(w, w->plain[value], RUVM_ONNX_OP_ADD);
    for (uint32_t side = 0; add && add->n_in == 2 && side < 2; side++) {
        uint32_t a = add->in[side], b = add->in[1 - side];
        if (a != RUVM_ONNX_NONE && b != RUVM_ONNX_NONE && w->plain[a] == w->plain[before] &&
            ruvm_onnx_walk_linear(w, b) == l)
            return true;
    }
    return false;
}

static void check_sum(struct finding *f, uint32_t value, uint32_t before,
                      const struct ruvm_onnx_linear *l)
{
    if (!is_sum(f, value, before, l))
        ruvm_onnx_report_node(f->r, f->w, l->node,
                              "its output is not just added to the residual that the next norm "
                              "reads (a parallel or scaled branch?)");
}

static void check_layer(struct finding *f, uint32_t layer, uint32_t before)
{
    struct ruvm_onnx_layer *l = &f->d->layers[layer];
    check_norm(f, l->q, &l->attn_norm);
    check_norm(f, l->gate, &l->ffn_norm);
    uint32_t plain = f->w->plain[l->q->in];
    if (f->w->plain[l->k->in] != plain || f->w->plain[l->v->in] != plain)
        ruvm_onnx_report_node(f->r, f->w, l->k->node, "q, k and v do not read the same values");
    if (f->w->plain[l->up->in] != f->w->plain[l->gate->in])
        ruvm_onnx_report_node(f->r, f->w, l->up->node, "up and gate do not read the same values");
    if (f->r->n == 0 && f->w->plain[l->attn_norm.in] != f->w->plain[before])
        ruvm_onnx_report_node(f->r, f->w, l->q->node,
                              layer ? "its norm does not read the layer before"
                                    : "its norm does not read the embedding as it is");
    if (f->r->n == 0)
        check_sum(f, l->ffn_norm.in, before, l->o);
}

static void check_path(struct finding *f)
{
    struct ruvm_onnx_decoder *d = f->d;
    uint32_t before = f->w->o->nodes[d->embed_node].out[0];
    for (uint32_t i = 0; i < d->n_layers && f->r->n == 0; i++) {
        struct ruvm_onnx_layer *l = &d->layers[i];
        check_layer(f, i, before);
        uint32_t next = i + 1 < d->n_layers ? d->layers[i + 1].q->in : d->head->in;
        struct ruvm_onnx_norm norm;
        if (f->r->n == 0 && find_norm(f, next, &norm))
            check_sum(f, norm.in, l->ffn_norm.in, l->down);
        before = f->r->n == 0 ? norm.in : before;
    }
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static void use(struct ruvm_onnx_linear *l)
{
    if (l)
        l->used = true;
}

/* The only linear that no layer has: it makes the logits. Taking the last position alone may stand
 * between the norm and it. */
static void find_head(struct finding *f)
{
    for (uint32_t i = 0; i < f->d->n_layers; i++) {
        struct ruvm_onnx_layer *l = &f->d->layers[i];
        struct ruvm_onnx_linear *all[] = {l->q, l->k, l->v, l->o, l->gate, l->up, l->down};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            use(all[k]);
    }
    for (uint32_t i = 0; i < f->w->n_linears; i++) {
        struct ruvm_onnx_linear *l = &f->w->linears[i];
        if (l->used)
            continue;
        if (f->d->head)
            ruvm_onnx_report_node(f->r, f->w, l->node, "is a linear with no place in a decoder");
        else
            f->d->head = l;
    }
    if (!f->d->head)
        ruvm_problems_note(f->r, RUVM_ERR_UNSUPPORTED, "no linear makes the logits");
    else if (f->d->head->bias != RUVM_ONNX_NONE)
        ruvm_onnx_report_node(f->r, f->w, f->d->head->node,
                              "adds a bias to the logits; a head without one is accepted");
    use(f->d->head);
}

/* The value before a Slice or a Gather of positions. */
static uint32_t before_choice(const struct finding *f, uint32_t value)
{
    value = f->w->plain[value];
    const struct ruvm_onnx_node *slice = ruvm_onnx_walk_maker(f->w, value, RUVM_ONNX_OP_SLICE);
    const struct ruvm_onnx_node *gather = ruvm_onnx_walk_maker(f->w, value, RUVM_ONNX_OP_GATHER);
    const struct ruvm_onnx_node *node = slice ? slice : gather;
    if (!node || node->n_in < 2 || node->in[0] == RUVM_ONNX_NONE)
        return value;
    return f->w->plain[node->in[0]];
}

static void check_head(struct finding *f)
{
    struct ruvm_onnx_linear *head = f->d->head;
    const struct ruvm_onnx_node *node = &f->w->o->nodes[head->node];
    head->in = before_choice(f, head->in);
    if (head->rows != f->d->vocab)
        ruvm_problems_note(f->r, RUVM_ERR_MISMATCH,
                           "the embedding has %llu rows, but %llu logits are made",
                           (unsigned long long)f->d->vocab, (unsigned long long)head->rows);
    if (!find_norm(f, head->in, &f->d->final_norm))
        ruvm_onnx_report_node(f->r, f->w, node_number(f, node),
                              "its input is not RMSNorm: gain * (x / sqrt(mean(x^2) + eps))");
}

int ruvm_onnx_layers_find(struct ruvm_onnx_decoder *d, struct ruvm_arena *arena,
                          struct ruvm_onnx_walk *w, struct ruvm_problems *r, struct ruvm_error *err)
{
    struct finding f = {.d = d, .w = w, .r = r};
    *d = (struct ruvm_onnx_decoder){.embed_node = RUVM_ONNX_NONE};
    find_embedding(&f);
    int rc = find_softmaxes(&f, arena, err);
    if (rc != RUVM_OK)
        return rc;
    for (uint32_t i = 0; i < d->n_layers; i++)
        find_feed_forward(&f, i);
    if (d->n_layers && r->n == 0)
        find_head(&f);
    if (r->n == 0)
        check_head(&f);
    if (r->n == 0)
        check_path(&f);
    return RUVM_OK;
}
