/* Lays a network out in one array and fills it from a model. */
#include "lib/train/network.h"

#include <math.h>

enum { NAME_BYTES = 48 }; /* what ruvm_model_tensor() asks for */

/* ---- matrices -------------------------------------------------------------------- */

static bool has_positions(const struct ruvm_network *net)
{
    return net->pos == RUVM_POS_LEARNED;
}

static bool has_gate(const struct ruvm_network *net)
{
    return net->act == RUVM_ACT_SILU_GATED;
}

static uint32_t per_layer(const struct ruvm_network *net)
{
    return RUVM_TENSORS_PER_LAYER - !has_gate(net);
}

static struct ruvm_network_matrix shape_of(const struct ruvm_network *net, int kind, uint32_t layer)
{
    struct ruvm_network_matrix m = {.kind = (uint8_t)kind, .layer = (uint8_t)layer};
    uint32_t q_dim = net->n_heads * net->head_dim, kv_dim = net->n_kv_heads * net->head_dim;
    m.rows = net->vocab;
    m.cols = net->dim;
    switch (kind) {
    case RUVM_TENSOR_POSITION: m.rows = net->context; break;
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
    if (kind == RUVM_TENSOR_POSITION)
        return 1;
    uint32_t first = 1 + has_positions(net) + layer * per_layer(net);
    return first + (uint32_t)(kind - RUVM_TENSOR_WQ) -
           (kind > RUVM_TENSOR_W_GATE && !has_gate(net));
}

static void list_matrices(struct ruvm_network *net)
{
    struct ruvm_network_matrix *m = net->matrices;
    *m++ = shape_of(net, RUVM_TENSOR_EMBED, 0);
    if (has_positions(net))
        *m++ = shape_of(net, RUVM_TENSOR_POSITION, 0);
    for (uint32_t layer = 0; layer < net->n_layers; layer++)
        for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++)
            if (kind != RUVM_TENSOR_W_GATE || has_gate(net))
                *m++ = shape_of(net, kind, layer);
    if (!net->tied)
        *m = shape_of(net, RUVM_TENSOR_HEAD, 0);
}

/* ---- biases ---------------------------------------------------------------------- */

uint32_t ruvm_network_bias_length(const struct ruvm_network *net, int kind)
{
    bool is_norm = kind >= RUVM_BIAS_ATTN_NORM;
    return is_norm ? net->dim : shape_of(net, RUVM_TENSOR_WQ + kind, 0).rows;
}

/* Floats of the kinds of a layer before this one. */
static size_t floats_before(const struct ruvm_network *net, int kind)
{
    size_t n = 0;
    for (int k = 0; k < kind; k++)
        n += net->biases >> k & 1 ? ruvm_network_bias_length(net, k) : 0;
    return n;
}

static size_t count_biases(const struct ruvm_network *net)
{
    bool has_final = net->biases >> RUVM_BIAS_FINAL_NORM & 1;
    return net->n_layers * floats_before(net, RUVM_BIAS_FINAL_NORM) + (has_final ? net->dim : 0);
}

float *ruvm_network_bias(const struct ruvm_network *net, int kind, uint32_t layer)
{
    if (!(net->biases >> kind & 1))
        return NULL;
    uint32_t before = kind == RUVM_BIAS_FINAL_NORM ? net->n_layers : layer;
    size_t within = kind == RUVM_BIAS_FINAL_NORM ? 0 : floats_before(net, kind);
    return net->bias + before * floats_before(net, RUVM_BIAS_FINAL_NORM) + within;
}

double ruvm_network_turn(const struct ruvm_network *net, uint32_t i)
{
    double turn = pow((double)net->rope_theta, -2.0 * i / net->rotary_dim);
    return net->rope_factors ? turn / (double)net->rope_factors[i] : turn;
}

/* ---- memory ---------------------------------------------------------------------- */

static int fail(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the network: it takes 4 bytes a weight");
}

/* Gives each matrix its place among the values. */
static void place_matrices(struct ruvm_network *net)
{
    size_t at = 0;
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        net->matrices[i].w = net->values + at;
        at += (size_t)net->matrices[i].rows * net->matrices[i].cols;
    }
    net->norms = net->values + at;
    net->bias = net->norms + (2 * (size_t)net->n_layers + 1) * net->dim;
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        struct ruvm_network_matrix *m = &net->matrices[i];
        if (m->kind >= RUVM_TENSOR_WQ && m->kind <= RUVM_TENSOR_W_DOWN)
            m->bias = ruvm_network_bias(net, m->kind - RUVM_TENSOR_WQ, m->layer);
    }
}

int ruvm_network_empty(struct ruvm_network *net, struct ruvm_arena *arena, struct ruvm_error *err)
{
    net->n_matrices = 1 + has_positions(net) + net->n_layers * per_layer(net) + !net->tied;
    net->matrices = ruvm_arena_alloc(arena, net->n_matrices, sizeof *net->matrices);
    if (!net->matrices)
        return fail(err);
    list_matrices(net);
    net->n_values = (2 * (size_t)net->n_layers + 1) * net->dim + count_biases(net);
    for (uint32_t i = 0; i < net->n_matrices; i++)
        net->n_values += (size_t)net->matrices[i].rows * net->matrices[i].cols;
    net->values = ruvm_arena_alloc(arena, net->n_values, sizeof *net->values);
    if (!net->values)
        return fail(err);
    place_matrices(net);
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

/* ---- from a model ---------------------------------------------------------------- */

/* NULL in *windows when no layer has one. */
static int find_windows(const uint32_t **windows, struct ruvm_arena *arena,
                        const struct ruvm_model *m, struct ruvm_error *err)
{
    uint32_t *w = ruvm_arena_alloc(arena, m->n_layers, sizeof *w), n = 0;
    if (!w)
        return fail(err);
    for (uint32_t i = 0; i < m->n_layers; i++) {
        w[i] = ruvm_model_window(m, i);
        n += w[i] < m->context;
    }
    *windows = n ? w : NULL;
    return RUVM_OK;
}

static void fill_matrices(struct ruvm_network *net, const struct ruvm_model *m)
{
    char name[NAME_BYTES];
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const struct ruvm_network_matrix *to = &net->matrices[i];
        const struct ruvm_view *from = ruvm_model_tensor(m, to->kind, to->layer, name);
        for (uint32_t r = 0; r < to->rows; r++)
            ruvm_view_row(from, r, to->w + (size_t)r * to->cols);
    }
}

static void fill_vectors(struct ruvm_network *net, const struct ruvm_model *m)
{
    for (uint32_t layer = 0; layer < m->n_layers; layer++) {
        const struct ruvm_layer *l = &m->layers[layer];
        ruvm_view_row(l->attn_norm, 0, net->norms + 2 * (size_t)layer * m->dim);
        ruvm_view_row(l->ffn_norm, 0, net->norms + (2 * (size_t)layer + 1) * m->dim);
        for (int k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
            if (l->bias[k])
                ruvm_view_row(l->bias[k], 0, ruvm_network_bias(net, k, layer));
    }
    ruvm_view_row(m->final_norm, 0, net->norms + 2 * (size_t)m->n_layers * m->dim);
    if (m->final_bias)
        ruvm_view_row(m->final_bias, 0, ruvm_network_bias(net, RUVM_BIAS_FINAL_NORM, 0));
}

int ruvm_network_open(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_model *m, struct ruvm_error *err)
{
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
                                 .tied = m->tied,
                                 .norm = m->norm,
                                 .act = m->act,
                                 .pos = m->pos,
                                 .parallel = m->parallel,
                                 .score_scale = m->score_scale,
                                 .rotary_dim = m->rotary_dim,
                                 .rope_factors = m->rope_factors,
                                 .biases = ruvm_model_bias_kinds(m)};
    int rc = find_windows(&net->windows, arena, m, err);
    if (rc == RUVM_OK)
        rc = ruvm_network_empty(net, arena, err);
    if (rc != RUVM_OK)
        return rc;
    fill_matrices(net, m);
    fill_vectors(net, m);
    return RUVM_OK;
}
