/* Finds the layers of a decoder in an ONNX graph.
 *
 * Names are lost as soon as PyTorch folds a constant, so nothing here looks at them. A layer is
 * anchored at its Softmax: the product before it leads back to q and k, the product after it to v
 * and on to o. Feed-forwards are the linears that read a known activation of other linears. Then
 * each norm and each sum of the residual path is checked, so that a network which computes
 * something else is refused and not misunderstood.
 */
#include "lib/import/onnx_layers.h"

#include "lib/import/onnx_activation.h"

enum { MAX_PRODUCTS = 4096 }; /* of computed matrices; a layer has two */

struct finding {
    struct ruvm_onnx_decoder *d;
    struct ruvm_onnx_walk *w;
    struct ruvm_problems *r;
};

static bool is_linear_node(const struct finding *f, uint32_t node)
{
    return f->w->linear_of[node] != RUVM_ONNX_NONE;
}

#define BIT RUVM_ONNX_BIT

/* What may stand between a linear and the scores or sums that it is made for; q and k are also
 * turned and scaled. */
static const uint64_t moves = BIT(CONSTANT) | BIT(SHAPE) | BIT(IDENTITY) | BIT(VIEW) |
                              BIT(RESHAPE) | BIT(TRANSPOSE) | BIT(EXPAND) | BIT(SLICE) |
                              BIT(SPLIT) | BIT(GATHER) | BIT(CONCAT) | BIT(MATMUL) | BIT(GEMM);
static const uint64_t turns =
    BIT(COS) | BIT(SIN) | BIT(ADD) | BIT(SUB) | BIT(MUL) | BIT(DIV) | BIT(NEG) | BIT(SQRT);

static bool adds_constant(const struct finding *f, const struct ruvm_onnx_node *node)
{
    for (uint32_t i = 0; i < node->n_in; i++)
        if (node->in[i] != RUVM_ONNX_NONE && f->w->constants[node->in[i]].tensor != RUVM_ONNX_NONE)
            return true;
    return false;
}

/* Notes what the last walk went through and should not have. */
static void check_walk(struct finding *f, uint64_t allowed)
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
static struct ruvm_onnx_linear *only_linear(struct finding *f, uint32_t value, uint64_t allowed)
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

/* Which rows of their linears q, k and v are. */
static void find_rows(struct finding *f, struct ruvm_onnx_layer *l)
{
    const struct ruvm_onnx_node *nodes = f->w->o->nodes;
    const uint32_t ends[] = {nodes[l->scores].in[0], nodes[l->scores].in[1],
                             nodes[l->context].in[1]};
    const char *why = NULL;
    l->rows = (struct ruvm_onnx_fused){.q_rows = l->q->rows, .k_rows = l->k->rows};
    if (l->q == l->k && l->q == l->v)
        why = ruvm_onnx_fused_find(f->w, l->q, ends, &l->rows);
    else if (l->q == l->k || l->q == l->v || l->k == l->v)
        why = "makes two of q, k and v at once; one or all three are accepted";
    if (why)
        ruvm_onnx_report_node(f->r, f->w, (l->k == l->v ? l->k : l->q)->node, why);
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
    if (l->q && l->k && l->v)
        find_rows(f, l);
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

static bool is_of_attention(const struct finding *f, const struct ruvm_onnx_linear *l)
{
    for (uint32_t i = 0; i < f->d->n_layers; i++) {
        const struct ruvm_onnx_layer *x = &f->d->layers[i];
        if (l == x->q || l == x->k || l == x->v || l == x->o)
            return true;
    }
    return false;
}

#define ACTIVATIONS "silu(gate x) * up x, gelu(up x) or relu(up x)"

/* Feed-forwards stand in the order of their layers, wherever attention stands. */
static void find_feed_forwards(struct finding *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->w->n_linears; i++) {
        struct ruvm_onnx_linear *down = &f->w->linears[i];
        struct ruvm_onnx_activation a;
        if (is_of_attention(f, down) || !ruvm_onnx_activation_find(f->w, down->in, &a))
            continue;
        if (a.kind < 0) {
            ruvm_onnx_report_node(f->r, f->w, down->node,
                                  "its input is none of the known activations " ACTIVATIONS);
        } else if (n < f->d->n_layers) {
            struct ruvm_onnx_layer *l = &f->d->layers[n];
            l->up = a.up;
            l->gate = a.gate;
            l->down = down;
            l->activation = a.kind;
        }
        n++;
    }
    if (n != f->d->n_layers)
        ruvm_problems_note(f->r, RUVM_ERR_UNSUPPORTED,
                           "%u layers of attention, but %u linears that read an activation of "
                           "linears (%s)",
                           f->d->n_layers, n, ACTIVATIONS);
}

/* ---- norms ------------------------------------------------------------------------------------
 */

#define NORMS "RMSNorm, gain * (x / sqrt(mean(x^2) + eps)), or LayerNorm"

static void check_norm(struct finding *f, const struct ruvm_onnx_linear *l,
                       struct ruvm_onnx_norm *norm)
{
    if (!ruvm_onnx_norm_find(f->w, l->in, f->d->embed.dim, norm))
        ruvm_onnx_report_node(f->r, f->w, l->node, "its input is not " NORMS);
}

/* ---- the residual path ---------------------------------------------------------------------- */

/* Whether a value is the sum of what was before and of the outputs of linears, added in any order.
 * b NULL: of one. */
static bool is_sum(const struct finding *f, uint32_t value, uint32_t before,
                   const struct ruvm_onnx_linear *a, const struct ruvm_onnx_linear *b)
{
    enum { MAX_TERMS = 4 };
    const struct ruvm_onnx_walk *w = f->w;
    uint32_t terms[MAX_TERMS] = {value}, n = 1, n_before = 0, n_a = 0, n_b = 0;
    while (n > 0) {
        uint32_t term = terms[--n];
        const struct ruvm_onnx_linear *l = ruvm_onnx_walk_linear(w, term);
        const struct ruvm_onnx_node *add =
            ruvm_onnx_walk_maker(w, w->plain[term], RUVM_ONNX_OP_ADD);
        if (w->plain[term] == w->plain[before]) {
            n_before++;
        } else if (l) {
            n_a += l == a;
            n_b += l == b;
            if (l != a && l != b)
                return false;
        } else {
            if (!add || add->n_in != 2 || n + 2 > MAX_TERMS || add->in[0] == RUVM_ONNX_NONE ||
                add->in[1] == RUVM_ONNX_NONE)
                return false;
            terms[n++] = add->in[0];
            terms[n++] = add->in[1];
        }
    }
    return n_before == 1 && n_a == 1 && n_b == (b != NULL);
}

static void check_sum(struct finding *f, uint32_t value, uint32_t before,
                      const struct ruvm_onnx_linear *a, const struct ruvm_onnx_linear *b)
{
    if (!is_sum(f, value, before, a, b))
        ruvm_onnx_report_node(f->r, f->w, a->node,
                              "its output is not just added to the residual that the next norm "
                              "reads (a scaled branch?)");
}

static void check_layer(struct finding *f, uint32_t layer, uint32_t before)
{
    struct ruvm_onnx_layer *l = &f->d->layers[layer];
    check_norm(f, l->q, &l->attn_norm);
    check_norm(f, l->up, &l->ffn_norm);
    uint32_t plain = f->w->plain[l->q->in];
    if (f->w->plain[l->k->in] != plain || f->w->plain[l->v->in] != plain)
        ruvm_onnx_report_node(f->r, f->w, l->k->node, "q, k and v do not read the same values");
    if (l->gate && f->w->plain[l->up->in] != f->w->plain[l->gate->in])
        ruvm_onnx_report_node(f->r, f->w, l->up->node, "up and gate do not read the same values");
    if (f->r->n == 0 && f->w->plain[l->attn_norm.in] != f->w->plain[before])
        ruvm_onnx_report_node(f->r, f->w, l->q->node,
                              layer ? "its norm does not read the layer before"
                                    : "its norm does not read the embedding as it is");
    if (f->r->n)
        return;
    l->parallel = f->w->plain[l->ffn_norm.in] == f->w->plain[before];
    if (!l->parallel)
        check_sum(f, l->ffn_norm.in, before, l->o, NULL);
}

static void check_path(struct finding *f)
{
    struct ruvm_onnx_decoder *d = f->d;
    uint32_t before = d->embed.out;
    for (uint32_t i = 0; i < d->n_layers && f->r->n == 0; i++) {
        struct ruvm_onnx_layer *l = &d->layers[i];
        check_layer(f, i, before);
        struct ruvm_onnx_linear *next = i + 1 < d->n_layers ? d->layers[i + 1].q : d->head;
        struct ruvm_onnx_norm norm;
        if (f->r->n == 0)
            check_norm(f, next, &norm);
        if (f->r->n)
            return;
        if (l->parallel)
            check_sum(f, norm.in, before, l->down, l->o);
        else
            check_sum(f, norm.in, l->ffn_norm.in, l->down, NULL);
        before = norm.in;
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
    head->in = before_choice(f, head->in);
    if (head->rows != f->d->embed.vocab)
        ruvm_problems_note(f->r, RUVM_ERR_MISMATCH,
                           "the embedding has %llu rows, but %llu logits are made",
                           (unsigned long long)f->d->embed.vocab, (unsigned long long)head->rows);
    check_norm(f, head, &f->d->final_norm);
}

int ruvm_onnx_layers_find(struct ruvm_onnx_decoder *d, struct ruvm_arena *arena,
                          struct ruvm_onnx_walk *w, struct ruvm_problems *r, struct ruvm_error *err)
{
    struct finding f = {.d = d, .w = w, .r = r};
    *d = (struct ruvm_onnx_decoder){0};
    ruvm_onnx_embedding_find(&d->embed, w, r);
    int rc = find_softmaxes(&f, arena, err);
    if (rc != RUVM_OK)
        return rc;
    if (d->n_layers)
        find_feed_forwards(&f);
    if (d->n_layers && r->n == 0)
        find_head(&f);
    if (r->n == 0)
        check_head(&f);
    if (r->n == 0)
        check_path(&f);
    return RUVM_OK;
}
