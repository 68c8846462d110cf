/* Where a container's row comes from: the inverse of what claims.c and rows.c do on the way in.
 *
 * Hugging Face keeps a head's RoPE pairs as two halves, and GGUF does for some architectures;
 * query, key and value may be one tensor, head by head or one after the other; GPT-2's matrices
 * are written as columns, for which one of them at a time is held in memory.
 */
#include "lib/export/export_tensors.h"

#include <string.h>

enum { PER_LAYER = 2 * 12 /* roles of a layer, each with a bias */, OTHERS = 6 };

/* ---- which there are ----------------------------------------------------------- */

static const struct ruvm_view *matrix_of(const struct ruvm_model *m, int role, unsigned layer)
{
    char name[RUVM_NAME_BYTES];
    return ruvm_model_tensor(m, role == RUVM_ROLE_QKV ? RUVM_TENSOR_WQ : role, layer, name);
}

static bool is_norm(int role)
{
    return role == RUVM_ROLE_ATTN_NORM || role == RUVM_ROLE_FFN_NORM ||
           role == RUVM_ROLE_FINAL_NORM;
}

/* enum ruvm_bias_kind of a role that may have one, else -1. */
static int bias_of_role(int role)
{
    switch (role) {
    case RUVM_ROLE_QKV: return RUVM_BIAS_WQ;
    case RUVM_ROLE_ATTN_NORM: return RUVM_BIAS_ATTN_NORM;
    case RUVM_ROLE_FFN_NORM: return RUVM_BIAS_FFN_NORM;
    case RUVM_ROLE_FINAL_NORM: return RUVM_BIAS_FINAL_NORM;
    default:
        return role >= RUVM_TENSOR_WQ && role <= RUVM_TENSOR_W_DOWN ? role - RUVM_TENSOR_WQ : -1;
    }
}

/* Outputs of a matrix; of a norm, its length. */
static uint32_t outputs(const struct ruvm_model *m, int role, unsigned layer)
{
    if (is_norm(role))
        return m->dim;
    uint32_t n = (uint32_t)matrix_of(m, role, layer)->dims[0];
    return role == RUVM_ROLE_QKV ? n + 2 * m->n_kv_heads * m->head_dim : n;
}

static bool is_table(int role)
{
    return role == RUVM_TENSOR_EMBED || role == RUVM_TENSOR_HEAD || role == RUVM_TENSOR_POSITION;
}

static bool is_turned(const struct ruvm_export_tensor *t)
{
    return t->all->container == RUVM_EXPORT_SAFETENSORS && t->all->dialect->columns &&
           t->rows != 0 && !is_table(t->role);
}

static struct ruvm_export_tensor *add(struct ruvm_export_tensors *t, int role, unsigned layer)
{
    struct ruvm_export_tensor *item = &t->items[t->n++];
    *item = (struct ruvm_export_tensor){.all = t, .role = role, .layer = layer};
    return item;
}

static void add_weights(struct ruvm_export_tensors *t, int role, unsigned layer)
{
    struct ruvm_export_tensor *item = add(t, role, layer);
    uint32_t n = outputs(&t->source->model, role, layer);
    ruvm_names_write(item->name, sizeof item->name, t->dialect, role, layer);
    item->cols = n;
    if (is_norm(role))
        return;
    item->rows = n;
    item->cols = (uint32_t)matrix_of(&t->source->model, role, layer)->dims[1];
    if (!is_turned(item))
        return;
    item->rows = item->cols;
    item->cols = n;
}

/* Hugging Face's Llama has one switch for all biases of attention and one for those of the
 * feed-forward. */
static unsigned biases_of(const struct ruvm_export_tensors *t)
{
    const unsigned attention = 15u << RUVM_BIAS_WQ, feed_forward = 7u << RUVM_BIAS_W_UP;
    unsigned kinds = ruvm_export_family_biases(&t->source->model) | t->family->always;
    bool switched = t->container == RUVM_EXPORT_SAFETENSORS && t->family->may;
    if (switched && (kinds & attention))
        kinds |= attention;
    if (switched && (kinds & feed_forward))
        kinds |= feed_forward;
    return kinds;
}

/* A tensor and its bias. */
static void add_role(struct ruvm_export_tensors *t, int role, unsigned layer)
{
    int kind = bias_of_role(role);
    add_weights(t, role, layer);
    if (kind < 0 || !(biases_of(t) >> kind & 1))
        return;
    struct ruvm_export_tensor *item = add(t, role, layer);
    ruvm_names_write_bias(item->name, sizeof item->name, t->dialect, role, layer);
    item->is_bias = true;
    item->cols = outputs(&t->source->model, role, layer);
}

static void add_layer(struct ruvm_export_tensors *t, unsigned layer)
{
    add_role(t, RUVM_ROLE_ATTN_NORM, layer);
    if (t->family->fused)
        add_role(t, RUVM_ROLE_QKV, layer);
    for (int role = RUVM_TENSOR_WQ; role <= RUVM_TENSOR_WV && !t->family->fused; role++)
        add_role(t, role, layer);
    add_role(t, RUVM_TENSOR_WO, layer);
    add_role(t, RUVM_ROLE_FFN_NORM, layer);
    add_role(t, RUVM_TENSOR_W_UP, layer);
    if (t->family->gated)
        add_role(t, RUVM_TENSOR_W_GATE, layer);
    add_role(t, RUVM_TENSOR_W_DOWN, layer);
}

/* llama.cpp wants the head of the two to be there even where it is the embedding. */
static bool has_head(const struct ruvm_export_tensors *t)
{
    return !t->source->model.tied || (t->container == RUVM_EXPORT_GGUF && t->family->fused);
}

static void add_all(struct ruvm_export_tensors *t)
{
    const struct ruvm_model *m = &t->source->model;
    add_role(t, RUVM_TENSOR_EMBED, 0);
    if (m->pos == RUVM_POS_LEARNED)
        add_role(t, RUVM_TENSOR_POSITION, 0);
    for (unsigned i = 0; i < m->n_layers; i++)
        add_layer(t, i);
    add_role(t, RUVM_ROLE_FINAL_NORM, 0);
    if (has_head(t))
        add_role(t, RUVM_TENSOR_HEAD, 0);
}

/* ---- opening --------------------------------------------------------------------- */

/* Room for the largest of the matrices that are turned. */
static bool open_turned(struct ruvm_export_tensors *t)
{
    size_t most = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        size_t size = (size_t)t->items[i].rows * t->items[i].cols;
        most = is_turned(&t->items[i]) && size > most ? size : most;
    }
    t->turned = most ? ruvm_arena_alloc(&t->arena, most, sizeof *t->turned) : NULL;
    return most == 0 || t->turned;
}

int ruvm_export_tensors_open(struct ruvm_export_tensors *t, const struct ruvm_export_source *source,
                             const struct ruvm_export_family *family,
                             enum ruvm_export_container container, struct ruvm_error *err)
{
    bool is_gguf = container == RUVM_EXPORT_GGUF;
    *t =
        (struct ruvm_export_tensors){.source = source,
                                     .family = family,
                                     .dialect = ruvm_names_find(is_gguf ? "GGUF" : family->dialect),
                                     .container = container,
                                     .halves = !is_gguf || family->halves,
                                     .err = err};
    size_t most = (size_t)source->model.n_layers * PER_LAYER + OTHERS;
    t->items = ruvm_arena_alloc(&t->arena, most, sizeof *t->items);
    if (t->items)
        add_all(t);
    if (!t->items || !open_turned(t)) {
        ruvm_export_tensors_close(t);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tensors");
    }
    for (uint32_t i = 0; i < t->n; i++)
        t->total += (uint64_t)(t->items[i].rows ? t->items[i].rows : 1) * t->items[i].cols;
    return RUVM_OK;
}

void ruvm_export_tensors_close(struct ruvm_export_tensors *t)
{
    ruvm_arena_free(&t->arena);
    *t = (struct ruvm_export_tensors){0};
}

/* ---- rows ------------------------------------------------------------------------ */

/* Which part of q, k and v a stored output is, and which of its outputs. */
static int take_part(const struct ruvm_export_tensors *t, uint32_t *row)
{
    const struct ruvm_model *m = &t->source->model;
    uint32_t head = m->head_dim, q = m->n_heads * head, kv = m->n_kv_heads * head, r = *row;
    if (t->container == RUVM_EXPORT_SAFETENSORS && t->dialect->per_head) {
        *row = r / (3 * head) * head + r % head;
        return (int)(r / head % 3);
    }
    int part = r < q ? 0 : r < q + kv ? 1 : 2;
    *row = part == 0 ? r : part == 1 ? r - q : r - q - kv;
    return part;
}

/* The model's output that a stored one is; sets its kind. */
static uint32_t output_at(const struct ruvm_export_tensor *tensor, uint32_t row, int *kind)
{
    const struct ruvm_export_tensors *t = tensor->all;
    const struct ruvm_model *m = &t->source->model;
    *kind = tensor->role;
    if (tensor->role == RUVM_ROLE_QKV)
        *kind = RUVM_TENSOR_WQ + take_part(t, &row);
    uint32_t i = row % m->head_dim, half = m->rotary_dim / 2;
    bool turns = *kind == RUVM_TENSOR_WQ || *kind == RUVM_TENSOR_WK;
    if (!turns || !t->halves || i >= m->rotary_dim)
        return row;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

static void matrix_row(const struct ruvm_export_tensor *tensor, uint32_t row, float *out)
{
    int kind;
    uint32_t at = output_at(tensor, row, &kind);
    ruvm_export_source_row(tensor->all->source, kind, tensor->layer, at, out);
}

/* All of the matrix at the first row, then a column of it each time. */
static void turned_row(const struct ruvm_export_tensor *tensor, uint32_t row, float *out)
{
    struct ruvm_export_tensors *t = tensor->all;
    for (uint32_t r = 0; t->turned_of != tensor && r < tensor->cols; r++)
        matrix_row(tensor, r, t->turned + (size_t)r * tensor->rows);
    t->turned_of = tensor;
    for (uint32_t i = 0; i < tensor->cols; i++)
        out[i] = t->turned[(size_t)i * tensor->rows + row];
}

static const struct ruvm_view *vector_view(const struct ruvm_export_tensor *tensor, int kind)
{
    const struct ruvm_model *m = &tensor->all->source->model;
    const struct ruvm_layer *l = &m->layers[tensor->layer];
    if (tensor->is_bias && kind == RUVM_ROLE_FINAL_NORM)
        return m->final_bias;
    if (tensor->is_bias)
        return l->bias[bias_of_role(kind)];
    return kind == RUVM_ROLE_ATTN_NORM  ? l->attn_norm
           : kind == RUVM_ROLE_FFN_NORM ? l->ffn_norm
                                        : m->final_norm;
}

/* The values of one kind at their places in the stored vector. */
static void place_values(const struct ruvm_export_tensor *tensor, int kind, const float *x,
                         float *out)
{
    for (uint32_t i = 0; i < tensor->cols; i++) {
        int of;
        uint32_t at = output_at(tensor, i, &of);
        if (of == kind)
            out[i] = x ? x[at] : 0;
    }
}

/* A bias that the family has and the model has not is zeros. */
static int vector_row(const struct ruvm_export_tensor *tensor, float *out)
{
    bool fused = tensor->role == RUVM_ROLE_QKV;
    int first = fused ? RUVM_TENSOR_WQ : tensor->role, last = fused ? RUVM_TENSOR_WV : first;
    struct ruvm_arena arena = {0};
    float *x = ruvm_arena_alloc(&arena, tensor->cols, sizeof *x);
    if (!x)
        return ruvm_fail(tensor->all->err, RUVM_ERR_MEMORY, "memory is short for %s", tensor->name);
    for (int kind = first; kind <= last; kind++) {
        const struct ruvm_view *v = vector_view(tensor, kind);
        if (v)
            ruvm_view_row(v, 0, x);
        place_values(tensor, kind, v ? x : NULL, out);
    }
    ruvm_arena_free(&arena);
    return RUVM_OK;
}

static int report(struct ruvm_export_tensors *t)
{
    const struct ruvm_progress *p = &t->progress;
    if (p->report && p->report(p->user, "export", t->done, t->total) != 0)
        return ruvm_fail(t->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

int ruvm_export_tensors_row(const struct ruvm_export_tensor *tensor, uint64_t row, float *out)
{
    int rc = report(tensor->all);
    if (rc != RUVM_OK)
        return rc;
    tensor->all->done += tensor->cols;
    if (tensor->rows == 0)
        return vector_row(tensor, out);
    if (is_turned(tensor))
        turned_row(tensor, (uint32_t)row, out);
    else
        matrix_row(tensor, (uint32_t)row, out);
    return RUVM_OK;
}
