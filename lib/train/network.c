/* Lays a network out in one array and fills it from a model. */
#include "lib/train/network.h"

#include "formats/ruvm_layout.h"

enum { NAME_BYTES = 48 }; /* what ruvm_model_tensor() asks for */

static struct ruvm_network_matrix shape_of(const struct ruvm_network *net, int kind, uint32_t layer)
{
    struct ruvm_network_matrix m = {.kind = (uint8_t)kind, .layer = (uint8_t)layer};
    uint32_t q_dim = net->n_heads * net->head_dim, kv_dim = net->n_kv_heads * net->head_dim;
    m.rows = net->vocab;
    m.cols = net->dim;
    switch (kind) {
    case RUVM_TENSOR_WQ: m.rows = q_dim; break;
    case RUVM_TENSOR_WK:
    case RUVM_TENSOR_WV: m.rows = kv_dim; break;
    case RUVM_TENSOR_W_UP:
    case RUVM_TENSOR_W_GATE: m.rows = net->hidden; break;
    case RUVM_TENSOR_WO:
        m.rows = net->dim;
        m.cols = q_dim;
        break;
    case RUVM_TENSOR_W_DOWN:
        m.rows = net->dim;
        m.cols = net->hidden;
        break;
    default: break;
    }
    return m;
}

uint32_t ruvm_network_index(const struct ruvm_network *net, int kind, uint32_t layer)
{
    if (kind == RUVM_TENSOR_EMBED || (kind == RUVM_TENSOR_HEAD && net->tied))
        return 0;
    if (kind == RUVM_TENSOR_HEAD)
        return net->n_matrices - 1;
    return 1 + layer * RUVM_TENSORS_PER_LAYER + (uint32_t)(kind - RUVM_TENSOR_WQ);
}

static void list_matrices(struct ruvm_network *net)
{
    struct ruvm_network_matrix *m = net->matrices;
    *m++ = shape_of(net, RUVM_TENSOR_EMBED, 0);
    for (uint32_t layer = 0; layer < net->n_layers; layer++)
        for (int i = 0; i < RUVM_TENSORS_PER_LAYER; i++)
            *m++ = shape_of(net, RUVM_TENSOR_WQ + i, layer);
    if (!net->tied)
        *m = shape_of(net, RUVM_TENSOR_HEAD, 0);
}

static int fail(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the network: it takes 4 bytes a weight");
}

int ruvm_network_empty(struct ruvm_network *net, struct ruvm_arena *arena, struct ruvm_error *err)
{
    size_t n_norms = (2 * (size_t)net->n_layers + 1) * net->dim, at = 0;
    net->n_matrices = 1 + net->n_layers * RUVM_TENSORS_PER_LAYER + !net->tied;
    net->matrices = ruvm_arena_alloc(arena, net->n_matrices, sizeof *net->matrices);
    if (!net->matrices)
        return fail(err);
    list_matrices(net);
    net->n_values = n_norms;
    for (uint32_t i = 0; i < net->n_matrices; i++)
        net->n_values += (size_t)net->matrices[i].rows * net->matrices[i].cols;
    net->values = ruvm_arena_alloc(arena, net->n_values, sizeof *net->values);
    if (!net->values)
        return fail(err);
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        net->matrices[i].w = net->values + at;
        at += (size_t)net->matrices[i].rows * net->matrices[i].cols;
    }
    net->norms = net->values + at;
    return RUVM_OK;
}

int ruvm_network_like(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_network *shape, struct ruvm_error *err)
{
    *net = *shape;
    int rc = ruvm_network_empty(net, arena, err);
    for (uint32_t i = 0; rc == RUVM_OK && i < net->n_matrices; i++)
        net->matrices[i].signs = shape->matrices[i].signs;
    return rc;
}

static bool has_bias(const struct ruvm_layer *l)
{
    for (int i = 0; i < RUVM_BIAS_FINAL_NORM; i++)
        if (l->bias[i])
            return true;
    return false;
}

bool ruvm_network_knows(const struct ruvm_model *m)
{
    bool plain = m->norm == RUVM_NORM_RMS && m->act == RUVM_ACT_SILU_GATED &&
                 m->pos == RUVM_POS_ROPE && m->rotary_dim == m->head_dim && !m->rope_factors &&
                 m->score_scale == 0 && !m->parallel && !m->final_bias;
    for (uint32_t i = 0; i < m->n_layers && plain; i++)
        plain = !has_bias(&m->layers[i]) && ruvm_model_window(m, i) == m->context;
    return plain;
}

int ruvm_network_check(const struct ruvm_model *m, struct ruvm_error *err)
{
    if (ruvm_network_knows(m))
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                     "distillation, the method gptq and the search for types know Llama networks "
                     "only so far; use the method rtn or mse and give the types");
}

int ruvm_network_open(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_model *m, struct ruvm_error *err)
{
    char name[NAME_BYTES];
    *net = (struct ruvm_network){.vocab = m->vocab,
                                 .dim = m->dim,
                                 .hidden = m->hidden,
                                 .n_layers = m->n_layers,
                                 .n_heads = m->n_heads,
                                 .n_kv_heads = m->n_kv_heads,
                                 .head_dim = m->head_dim,
                                 .context = m->context,
                                 .norm_eps = m->norm_eps,
                                 .rope_theta = m->rope_theta,
                                 .tied = m->tied};
    int rc = ruvm_network_check(m, err);
    if (rc == RUVM_OK)
        rc = ruvm_network_empty(net, arena, err);
    if (rc != RUVM_OK)
        return rc;
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const struct ruvm_network_matrix *to = &net->matrices[i];
        const struct ruvm_view *from = ruvm_model_tensor(m, to->kind, to->layer, name);
        for (uint32_t r = 0; r < to->rows; r++)
            ruvm_view_row(from, r, to->w + (size_t)r * to->cols);
    }
    for (uint32_t layer = 0; layer < m->n_layers; layer++) {
        ruvm_view_row(m->layers[layer].attn_norm, 0, net->norms + 2 * (size_t)layer * m->dim);
        ruvm_view_row(m->layers[layer].ffn_norm, 0, net->norms + (2 * (size_t)layer + 1) * m->dim);
    }
    ruvm_view_row(m->final_norm, 0, net->norms + 2 * (size_t)m->n_layers * m->dim);
    return RUVM_OK;
}
