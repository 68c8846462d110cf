/* Reads the mask of attention.
 *
 * Hugging Face's GPT models keep their masks as square tensors, of which a corner is cut out:
 * where they let a token see only the last positions, the tensor says how many. Other models
 * compute a mask; then nothing is read here, and a config.json beside the graph tells.
 */
#include "lib/import/onnx_window.h"

struct mask {
    const struct ruvm_onnx_tensor *t;
    bool hides; /* true in it means: not seen */
    bool added; /* it is added to the scores: 0, or very much below */
};

/* ---- the tensor ----------------------------------------------------------------------------- */

static bool sees(const struct mask *m, uint64_t row, uint64_t col)
{
    const double hidden = -1e3; /* added: exp of it is nothing */
    uint64_t n = m->t->dims[m->t->n_dims - 1];
    int64_t whole;
    double x;
    if (m->added)
        return ruvm_onnx_real(m->t, row * n + col, &x) && x > hidden;
    if (ruvm_onnx_integer(m->t, row * n + col, &whole))
        return (whole != 0) != m->hides;
    return ruvm_onnx_real(m->t, row * n + col, &x) && (x < 0 || x > 0) != m->hides;
}

static struct ruvm_onnx_window read_mask(const struct mask *m)
{
    enum { MAX_READ = 4096 }; /* rows of a mask of more are not all read */
    uint64_t n = m->t->dims[m->t->n_dims - 1], first = 0;
    struct ruvm_onnx_window found = {.known = n};
    while (first < n && !sees(m, n - 1, first))
        first++;
    found.window = first ? n - first : 0;
    uint64_t size = found.window ? found.window : n, step = n > MAX_READ ? n / MAX_READ : 1;
    for (uint64_t row = 0; row < n && !found.odd; row += step)
        for (uint64_t col = 0; col < n && !found.odd; col++)
            found.odd = sees(m, row, col) != (col <= row && row - col < size);
    return found;
}

static bool is_square(const struct ruvm_onnx_tensor *t)
{
    uint64_t n = t->n_dims >= 2 ? t->dims[t->n_dims - 1] : 0;
    return n >= 2 && t->dims[t->n_dims - 2] == n && t->n_values == n * n && t->data != NULL;
}

/* ---- where it is ------------------------------------------------------------------------------
 */

/* The constant that a mask is cut out of; NULL: it is computed. */
static const struct ruvm_onnx_tensor *source_of(const struct ruvm_onnx_walk *w, uint32_t value,
                                                bool *flipped)
{
    for (;;) {
        uint32_t tensor = value == RUVM_ONNX_NONE ? value : w->constants[value].tensor;
        if (tensor != RUVM_ONNX_NONE)
            return is_square(&w->o->tensors[tensor]) ? &w->o->tensors[tensor] : NULL;
        uint32_t maker = value == RUVM_ONNX_NONE ? value : w->o->values[value].maker;
        const struct ruvm_onnx_node *node = maker == RUVM_ONNX_NONE ? NULL : &w->o->nodes[maker];
        if (!node || node->n_in == 0)
            return NULL;
        bool is_not = ruvm_onnx_is(node->op, "Not");
        double zero;
        /* mask == 0, as PyTorch's users write it */
        if (ruvm_onnx_is(node->op, "Equal") && node->n_in == 2 &&
            ruvm_onnx_walk_scalar(w, node->in[1], &zero) && !(zero < 0) && !(zero > 0))
            is_not = true;
        enum ruvm_onnx_op op = (enum ruvm_onnx_op)w->ops[maker];
        if (!is_not && op != RUVM_ONNX_OP_SLICE && op != RUVM_ONNX_OP_IDENTITY &&
            op != RUVM_ONNX_OP_VIEW && op != RUVM_ONNX_OP_RESHAPE && op != RUVM_ONNX_OP_EXPAND &&
            op != RUVM_ONNX_OP_GATHER)
            return NULL;
        *flipped = *flipped != is_not;
        value = node->in[0];
    }
}

/* Which input of a node the scores come through; n_in: none, or several. */
static uint32_t side_of(struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node, uint32_t from,
                        uint32_t scores)
{
    uint32_t side = node->n_in;
    for (uint32_t i = from; i < node->n_in; i++) {
        ruvm_onnx_walk_back(w, node->in[i], 0);
        if (!ruvm_onnx_walk_seen(w, scores))
            continue;
        if (side != node->n_in)
            return node->n_in;
        side = i;
    }
    return side;
}

/* The mask that a node lays over scores, which come in through `side`. */
static bool mask_of(const struct ruvm_onnx_walk *w, uint32_t n, uint32_t side, struct mask *m)
{
    const struct ruvm_onnx_node *node = &w->o->nodes[n];
    bool flipped = false;
    if (w->ops[n] == RUVM_ONNX_OP_WHERE && node->n_in == 3) {
        m->t = source_of(w, node->in[0], &flipped);
        m->hides = flipped != (side == 2); /* Where(seen, scores, low), or the other way */
    } else if (w->ops[n] == RUVM_ONNX_OP_ADD && node->n_in == 2) {
        m->t = source_of(w, node->in[1 - side], &flipped);
        m->added = true;
    }
    return m->t != NULL && !(m->added && flipped);
}

struct ruvm_onnx_window ruvm_onnx_window_find(struct ruvm_onnx_walk *w, uint32_t scores,
                                              uint32_t softmax)
{
    uint32_t at = softmax;
    while (at != scores) {
        struct mask m = {0};
        const struct ruvm_onnx_node *node = &w->o->nodes[at];
        uint32_t side = side_of(w, node, w->ops[at] == RUVM_ONNX_OP_WHERE, scores);
        if (at != softmax && mask_of(w, at, side, &m))
            return read_mask(&m);
        if (side == node->n_in)
            break;
        at = w->o->values[node->in[side]].maker;
    }
    return (struct ruvm_onnx_window){0};
}
