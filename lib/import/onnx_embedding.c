/* Finds the embedding of tokens, and that of positions where positions are learned.
 *
 * Both are matrices as wide as what the first linear reads, whose rows a Gather chooses, and their
 * sum is what the first layer reads. Tokens come from an input of the graph; positions are mostly
 * computed from its shape. Where both are inputs, the name tells, else the order.
 */
#include "lib/import/onnx_embedding.h"

#include <string.h>

struct search {
    struct ruvm_onnx_walk *w;
    struct ruvm_problems *r;
    uint64_t dim;
};

/* ---- rows that are chosen -----------------------------------------------------------------------
 */

/* The table of a Gather along its rows; NULL: it is none as wide as the residual. */
static const struct ruvm_onnx_tensor *table_of(const struct search *s, uint32_t n)
{
    const struct ruvm_onnx_node *node = &s->w->o->nodes[n];
    struct ruvm_onnx_attribute axis;
    struct ruvm_view v = {0};
    if (s->w->ops[n] != RUVM_ONNX_OP_GATHER || node->n_in < 2 || node->n_out < 1 ||
        node->in[0] == RUVM_ONNX_NONE || node->out[0] == RUVM_ONNX_NONE)
        return NULL;
    struct ruvm_onnx_constant c = s->w->constants[node->in[0]];
    const struct ruvm_onnx_tensor *t =
        c.tensor == RUVM_ONNX_NONE || c.flipped ? NULL : &s->w->o->tensors[c.tensor];
    if (!t || t->n_dims != 2 || !ruvm_onnx_view(t, &v) ||
        (ruvm_onnx_attribute(node, "axis", &axis) && axis.i != 0) || t->dims[1] != s->dim)
        return NULL;
    return t;
}

static bool is_token_input(const struct search *s, uint32_t value)
{
    static const char position[] = "position";
    if (value == RUVM_ONNX_NONE || !s->w->o->values[value].is_input)
        return false;
    struct ruvm_onnx_text name = s->w->o->values[value].name;
    return name.size < sizeof position - 1 || memcmp(name.at, position, sizeof position - 1) != 0;
}

/* Whether what chooses rows is an input of the graph, and not only its shape. */
static bool reads_tokens(const struct search *s, const struct ruvm_onnx_node *gather)
{
    struct ruvm_onnx_walk *w = s->w;
    if (is_token_input(s, gather->in[1]))
        return true;
    ruvm_onnx_walk_back(w, gather->in[1], 0);
    for (uint32_t i = 0; i < w->o->n_nodes; i++)
        for (uint32_t k = 0; ruvm_onnx_walk_seen(w, i) && w->ops[i] != RUVM_ONNX_OP_SHAPE &&
                             k < w->o->nodes[i].n_in;
             k++)
            if (is_token_input(s, w->o->nodes[i].in[k]))
                return true;
    return false;
}

static bool is_not_zero(const struct ruvm_onnx_walk *w, uint32_t value)
{
    double x;
    return ruvm_onnx_walk_scalar(w, value, &x) && (x < 0 || x > 0);
}

/* Whether a node on the way to an index makes 0 something else. */
static bool moves_start(const struct ruvm_onnx_walk *w, uint32_t n)
{
    const struct ruvm_onnx_node *node = &w->o->nodes[n];
    bool is_range = ruvm_onnx_is(node->op, "Range");
    if (!is_range && w->ops[n] != RUVM_ONNX_OP_ADD)
        return false;
    for (uint32_t i = 0; i < (is_range ? 1 : node->n_in) && i < node->n_in; i++)
        if (is_not_zero(w, node->in[i]))
            return true;
    return false;
}

/* OPT, for one, begins with row 2. */
static void check_start(const struct search *s, uint32_t n)
{
    struct ruvm_onnx_walk *w = s->w;
    uint32_t index = w->o->nodes[n].in[1];
    uint32_t constant = index == RUVM_ONNX_NONE ? index : w->constants[index].tensor;
    int64_t first = 0;
    bool odd = constant != RUVM_ONNX_NONE &&
               ruvm_onnx_integer(&w->o->tensors[constant], 0, &first) && first != 0;
    ruvm_onnx_walk_back(w, index, 0);
    for (uint32_t i = 0; i < w->o->n_nodes && !odd; i++)
        odd = ruvm_onnx_walk_seen(w, i) && moves_start(w, i);
    if (odd)
        ruvm_onnx_report_node(s->r, w, n, "chooses rows of positions that do not begin with row 0");
}

/* ---- positions
 * ------------------------------------------------------------------------------------ */

/* A table of positions whose first rows a value is: chosen, cut, or folded into a constant. */
static uint32_t positions_of(const struct search *s, uint32_t value)
{
    const struct ruvm_onnx_walk *w = s->w;
    struct ruvm_view v = {0};
    uint32_t plain = value == RUVM_ONNX_NONE ? value : w->plain[value];
    uint32_t maker = plain == RUVM_ONNX_NONE ? plain : w->o->values[plain].maker;
    if (maker != RUVM_ONNX_NONE && table_of(s, maker)) {
        check_start(s, maker);
        return w->constants[w->o->nodes[maker].in[0]].tensor;
    }
    double start;
    if (maker != RUVM_ONNX_NONE && w->ops[maker] == RUVM_ONNX_OP_SLICE &&
        w->o->nodes[maker].n_in > 2 && ruvm_onnx_walk_scalar(w, w->o->nodes[maker].in[1], &start) &&
        !is_not_zero(w, w->o->nodes[maker].in[1]))
        plain = w->o->nodes[maker].in[0];
    uint32_t tensor = plain == RUVM_ONNX_NONE ? plain : w->constants[plain].tensor;
    const struct ruvm_onnx_tensor *t = tensor == RUVM_ONNX_NONE ? NULL : &w->o->tensors[tensor];
    if (!t || t->n_dims < 2 || t->dims[t->n_dims - 1] != s->dim || !ruvm_onnx_view(t, &v) ||
        t->n_values != t->dims[t->n_dims - 2] * s->dim)
        return RUVM_ONNX_NONE;
    return tensor;
}

static void find_positions(struct ruvm_onnx_embedding *e, const struct search *s)
{
    const struct ruvm_onnx_walk *w = s->w;
    for (uint32_t i = 0; i < w->o->n_nodes; i++) {
        const struct ruvm_onnx_node *add = &w->o->nodes[i];
        if (w->ops[i] != RUVM_ONNX_OP_ADD || add->n_in != 2 || add->n_out < 1)
            continue;
        for (uint32_t side = 0; side < 2; side++) {
            if (add->in[side] == RUVM_ONNX_NONE || w->plain[add->in[side]] != w->plain[e->out])
                continue;
            e->positions = positions_of(s, add->in[1 - side]);
            if (e->positions == RUVM_ONNX_NONE)
                continue;
            e->n_positions = w->o->tensors[e->positions].n_values / s->dim;
            e->out = add->out[0];
            return;
        }
    }
}

void ruvm_onnx_embedding_find(struct ruvm_onnx_embedding *e, struct ruvm_onnx_walk *w,
                              struct ruvm_problems *r)
{
    struct search s = {.w = w, .r = r, .dim = w->n_linears ? w->linears[0].cols : 0};
    uint32_t found = RUVM_ONNX_NONE;
    *e = (struct ruvm_onnx_embedding){.tensor = RUVM_ONNX_NONE, .positions = RUVM_ONNX_NONE};
    for (uint32_t i = 0; i < w->o->n_nodes && s.dim; i++) {
        if (!table_of(&s, i))
            continue;
        found = found == RUVM_ONNX_NONE ? i : found;
        if (!reads_tokens(&s, &w->o->nodes[i]))
            continue;
        found = i;
        break;
    }
    if (found == RUVM_ONNX_NONE) {
        ruvm_problems_note(r, RUVM_ERR_UNSUPPORTED,
                           "no Gather looks up the rows of an embedding as wide as the first "
                           "product's input");
        return;
    }
    const struct ruvm_onnx_tensor *t = table_of(&s, found);
    e->tensor = w->constants[w->o->nodes[found].in[0]].tensor;
    e->vocab = t->dims[0];
    e->dim = t->dims[1];
    e->out = w->o->nodes[found].out[0];
    find_positions(e, &s);
}
