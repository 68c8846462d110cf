/* Finds which outputs of a linear are queries, keys and values.
 *
 * GPT-2 cuts the outputs into three runs and each run into heads; GPT-NeoX cuts them into heads
 * and each head into three. Either may be a Split or three Slices. Which it is shows the width of
 * what is cut: all outputs, or a part of them that is as wide as three heads.
 */
#include "lib/import/onnx_fused.h"

struct part {
    uint32_t value;           /* the part itself, before anything is done to it */
    uint64_t first, n, width; /* where it is in what it is cut from; 0 width: not known */
};

/* ---- what is cut ------------------------------------------------------------------------------
 */

/* The width of the last dimension of a value that only moves lie between the linear and. */
static uint64_t width_of(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_linear *l,
                         uint32_t value)
{
    while (value != l->out) {
        uint32_t maker = w->o->values[value].maker;
        if (maker == RUVM_ONNX_NONE || w->linear_of[maker] != RUVM_ONNX_NONE)
            return l->rows;
        const struct ruvm_onnx_node *node = &w->o->nodes[maker];
        if (w->ops[maker] == RUVM_ONNX_OP_RESHAPE && node->n_in > 1 &&
            node->in[1] != RUVM_ONNX_NONE) {
            uint64_t last = ruvm_onnx_walk_shape(w, node->in[1], 0);
            uint64_t heads = ruvm_onnx_walk_shape(w, node->in[1], 1);
            return last ? last : heads ? l->rows / heads : 0;
        }
        if (node->n_in == 0 || node->in[0] == RUVM_ONNX_NONE)
            return 0;
        value = node->in[0];
    }
    return l->rows;
}

static bool cut_by_slice(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node,
                         struct part *p)
{
    double start, end;
    if (node->n_in < 3 || node->n_out < 1 || !ruvm_onnx_walk_scalar(w, node->in[1], &start) ||
        !ruvm_onnx_walk_scalar(w, node->in[2], &end) || start < 0 || end <= start)
        return false;
    p->value = node->out[0];
    p->first = (uint64_t)start;
    p->n = (end < (double)p->width ? (uint64_t)end : p->width) - p->first;
    return start < (double)p->width;
}

/* Whether the last walk, or its start, read a value. */
static bool is_read(const struct ruvm_onnx_walk *w, uint32_t value, uint32_t end)
{
    if (end == value)
        return true;
    for (uint32_t i = 0; i < w->o->n_nodes; i++)
        for (uint32_t k = 0; ruvm_onnx_walk_seen(w, i) && k < w->o->nodes[i].n_in; k++)
            if (w->o->nodes[i].in[k] == value && w->ops[i] != RUVM_ONNX_OP_SHAPE)
                return true;
    return false;
}

/* Sizes of a Split: an input, an attribute in old files, or equal. 0: not known. */
static uint64_t split_size(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node,
                           uint32_t output, uint64_t width)
{
    enum { MAX_PARTS = 8 };
    struct ruvm_onnx_attribute a;
    int64_t sizes[MAX_PARTS], size;
    if (output >= MAX_PARTS)
        return 0;
    if (ruvm_onnx_attribute(node, "split", &a))
        return ruvm_onnx_attribute_ints(&a, sizes, MAX_PARTS) > output && sizes[output] > 0
                   ? (uint64_t)sizes[output]
                   : 0;
    if (node->n_in < 2 || node->in[1] == RUVM_ONNX_NONE)
        return width % node->n_out == 0 ? width / node->n_out : 0;
    uint32_t tensor = w->constants[node->in[1]].tensor;
    if (tensor == RUVM_ONNX_NONE || w->o->tensors[tensor].n_values <= output ||
        !ruvm_onnx_integer(&w->o->tensors[tensor], output, &size))
        return 0;
    return size > 0 ? (uint64_t)size : 0;
}

static bool cut_by_split(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node,
                         uint32_t end, struct part *p)
{
    uint32_t n_read = 0;
    uint64_t first = 0;
    for (uint32_t i = 0; i < node->n_out; i++) {
        uint64_t n = split_size(w, node, i, p->width);
        if (n == 0 || n > p->width)
            return false;
        if (node->out[i] != RUVM_ONNX_NONE && is_read(w, node->out[i], end)) {
            n_read++;
            p->value = node->out[i];
            p->first = first;
            p->n = n;
        }
        first += n;
    }
    return n_read == 1 && first == p->width;
}

/* Which part of the linear's output a value is made of. */
static bool find_part(struct ruvm_onnx_walk *w, const struct ruvm_onnx_linear *l, uint32_t end,
                      struct part *p)
{
    uint32_t n_cuts = 0;
    bool good = true;
    ruvm_onnx_walk_back(w, end, RUVM_ONNX_BIT(COS) | RUVM_ONNX_BIT(SIN));
    for (uint32_t i = l->node; i < w->o->n_nodes; i++) {
        const struct ruvm_onnx_node *node = &w->o->nodes[i];
        bool slice = w->ops[i] == RUVM_ONNX_OP_SLICE, split = w->ops[i] == RUVM_ONNX_OP_SPLIT;
        if (!ruvm_onnx_walk_seen(w, i) || !(slice || split) || node->n_in == 0 ||
            node->in[0] == RUVM_ONNX_NONE || w->plain[node->in[0]] != w->plain[l->out])
            continue;
        n_cuts++;
        p->width = width_of(w, l, node->in[0]);
        good = good && p->width && l->rows % p->width == 0 &&
               (slice ? cut_by_slice(w, node, p) : cut_by_split(w, node, end, p));
    }
    return good && n_cuts == 1;
}

/* ---- heads --------------------------------------------------------------------------------------
 */

static uint64_t head_dim_of(const struct ruvm_onnx_walk *w, const struct part *p)
{
    for (uint32_t i = 0; i < w->o->n_nodes; i++) {
        const struct ruvm_onnx_node *node = &w->o->nodes[i];
        if (w->ops[i] != RUVM_ONNX_OP_RESHAPE || node->n_in < 2 || node->in[0] == RUVM_ONNX_NONE ||
            node->in[1] == RUVM_ONNX_NONE || w->same[node->in[0]] != p->value)
            continue;
        uint64_t size = ruvm_onnx_walk_shape(w, node->in[1], 0);
        uint64_t heads = ruvm_onnx_walk_shape(w, node->in[1], 1);
        if (size && p->n % size == 0)
            return size;
        return heads && p->n % heads == 0 ? p->n / heads : 0;
    }
    return 0;
}

const char *ruvm_onnx_fused_find(struct ruvm_onnx_walk *w, const struct ruvm_onnx_linear *l,
                                 const uint32_t ends[3], struct ruvm_onnx_fused *f)
{
    struct part parts[3];
    uint64_t first = 0;
    for (int i = 0; i < 3; i++) {
        if (!find_part(w, l, ends[i], &parts[i]))
            return "makes q, k and v at once, but they are not cut out by one Split or a Slice "
                   "each";
        if (parts[i].first != first || parts[i].width != parts[0].width)
            return "makes q, k and v at once in another order than q, k, v";
        first += parts[i].n;
    }
    uint64_t width = parts[0].width, n = parts[0].n;
    *f = (struct ruvm_onnx_fused){.q_rows = n, .k_rows = parts[1].n, .per_head = width != l->rows};
    if (first != width || parts[1].n != parts[2].n)
        return "makes more at once than q, k and v";
    if (!f->per_head) {
        f->head_dim = head_dim_of(w, &parts[0]);
        return NULL;
    }
    if (parts[1].n != n)
        return "makes q, k and v of each head at once, of different sizes";
    f->head_dim = n;
    f->q_rows = f->k_rows = l->rows / 3;
    return NULL;
}
