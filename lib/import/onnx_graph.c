/* From the graph of an ONNX decoder to a directory with names and numbers.
 *
 * The tensors get the names that they have in a Hugging Face checkpoint of Llama or GPT-NeoX,
 * whatever the exporter called them, or our own where neither fits: GPT-2's and GPT-Neo's say how
 * a file stores matrices, and a graph has them as it likes.
 */
#include "lib/import/onnx_graph.h"

#include <stdio.h>
#include <string.h>

#include "lib/import/names.h"
#include "lib/import/onnx_numbers.h"

/* ---- tensors ------------------------------------------------------------------------------- */

static void add_view(struct ruvm_onnx_naming *g, struct ruvm_view *v, const char *name)
{
    v->name = ruvm_arena_text(g->arena, name, strlen(name));
    g->is_short = g->is_short || !v->name || !ruvm_tensors_add(g->out, g->arena, v);
}

static void add_vector(struct ruvm_onnx_naming *g, uint32_t tensor, const char *name)
{
    const struct ruvm_onnx_tensor *t = &g->o->tensors[tensor];
    struct ruvm_view v = {.n_dims = 1, .dims = {t->n_values}};
    ruvm_onnx_view(t, &v);
    add_view(g, &v, name);
}

static struct ruvm_view matrix(const struct ruvm_onnx_naming *g, const struct ruvm_onnx_linear *l)
{
    struct ruvm_view v = {.n_dims = 2, .dims = {l->rows, l->cols}};
    ruvm_onnx_view(&g->o->tensors[l->weight], &v);
    v.stride = l->by_columns ? l->rows : 0;
    return v;
}

static void add_linear(struct ruvm_onnx_naming *g, const struct ruvm_onnx_linear *l, unsigned layer,
                       int role)
{
    char name[RUVM_NAME_BYTES];
    struct ruvm_view v = matrix(g, l);
    add_view(g, &v, ruvm_names_write(name, sizeof name, g->dialect, role, layer));
    if (l->bias != RUVM_ONNX_NONE)
        add_vector(g, l->bias, ruvm_names_write_bias(name, sizeof name, g->dialect, role, layer));
}

static void add_norm(struct ruvm_onnx_naming *g, const struct ruvm_onnx_norm *norm, unsigned layer,
                     int role)
{
    char name[RUVM_NAME_BYTES];
    add_vector(g, norm->gain, ruvm_names_write(name, sizeof name, g->dialect, role, layer));
    if (norm->bias != RUVM_ONNX_NONE)
        add_vector(g, norm->bias,
                   ruvm_names_write_bias(name, sizeof name, g->dialect, role, layer));
}

/* A table of n rows as wide as the residual. */
static struct ruvm_view table(const struct ruvm_onnx_naming *g, uint32_t tensor, uint64_t n)
{
    struct ruvm_view v = {.n_dims = 2, .dims = {n, g->d.embed.dim}};
    ruvm_onnx_view(&g->o->tensors[tensor], &v);
    return v;
}

static void add_table(struct ruvm_onnx_naming *g, uint32_t tensor, uint64_t n, int role)
{
    char name[RUVM_NAME_BYTES];
    struct ruvm_view v = table(g, tensor, n);
    add_view(g, &v, ruvm_names_write(name, sizeof name, g->dialect, role, 0));
}

static void add_layer(struct ruvm_onnx_naming *g, unsigned i)
{
    const struct ruvm_onnx_layer *l = &g->d.layers[i];
    add_norm(g, &l->attn_norm, i, RUVM_ROLE_ATTN_NORM);
    if (l->q == l->k) {
        add_linear(g, l->q, i, RUVM_ROLE_QKV);
    } else {
        add_linear(g, l->q, i, RUVM_TENSOR_WQ);
        add_linear(g, l->k, i, RUVM_TENSOR_WK);
        add_linear(g, l->v, i, RUVM_TENSOR_WV);
    }
    add_linear(g, l->o, i, RUVM_TENSOR_WO);
    add_norm(g, &l->ffn_norm, i, RUVM_ROLE_FFN_NORM);
    if (l->gate)
        add_linear(g, l->gate, i, RUVM_TENSOR_W_GATE);
    add_linear(g, l->up, i, RUVM_TENSOR_W_UP);
    add_linear(g, l->down, i, RUVM_TENSOR_W_DOWN);
}

static void add_tensors(struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_embedding *e = &g->d.embed;
    add_table(g, e->tensor, e->vocab, RUVM_TENSOR_EMBED);
    if (e->positions != RUVM_ONNX_NONE)
        add_table(g, e->positions, e->n_positions, RUVM_TENSOR_POSITION);
    for (unsigned i = 0; i < g->d.n_layers; i++)
        add_layer(g, i);
    add_norm(g, &g->d.final_norm, 0, RUVM_ROLE_FINAL_NORM);
    if (!g->tied)
        add_linear(g, g->d.head, 0, RUVM_TENSOR_HEAD);
}

/* The head is the embedding: the same tensor, or, after folding, a transposed copy of it. */
static bool is_tied(struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_embedding *e = &g->d.embed;
    const struct ruvm_onnx_linear *head = g->d.head;
    struct ruvm_view a = table(g, e->tensor, e->vocab), b = matrix(g, head);
    if (head->weight == e->tensor)
        return !head->by_columns;
    float *rows = ruvm_arena_alloc(g->arena, 2 * (size_t)e->dim, sizeof *rows);
    g->is_short = g->is_short || !rows;
    if (!rows || head->rows != e->vocab || head->cols != e->dim)
        return false;
    for (uint64_t i = 0; i < e->vocab; i++) {
        ruvm_view_row(&a, i, rows);
        ruvm_view_row(&b, i, rows + e->dim);
        if (memcmp(rows, rows + e->dim, (size_t)e->dim * sizeof *rows) != 0)
            return false;
    }
    return true;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Fused and separate projections in one network have no names. */
static void choose_dialect(struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_layer *first = &g->d.layers[0];
    bool fused = first->q == first->k, learned = g->d.embed.positions != RUVM_ONNX_NONE;
    for (uint32_t i = 1; i < g->d.n_layers; i++) {
        const struct ruvm_onnx_layer *l = &g->d.layers[i];
        if ((l->q == l->k) != fused || l->rows.per_head != first->rows.per_head)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "layer %u makes q, k and v in another way than layer 0", i);
    }
    g->dialect = NULL;
    if (first->rows.per_head && (learned || first->gate))
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "q, k and v of each head at once, as in GPT-NeoX, but with %s",
                           learned ? "learned positions" : "a gated feed-forward");
    else if (first->rows.per_head)
        g->dialect = ruvm_names_find("Hugging Face GPT-NeoX");
    else if (!fused && !learned && first->gate)
        g->dialect = ruvm_names_find("Hugging Face Llama");
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int find_decoder(struct ruvm_onnx_naming *g, struct ruvm_error *err)
{
    struct ruvm_onnx_walk w;
    int rc = ruvm_onnx_walk_init(&w, g->arena, g->o, err);
    if (rc != RUVM_OK)
        return rc;
    if (ruvm_onnx_report_is_classifier(&w))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is a classifier of %u linear layers, not a language model: ruvm quantize "
                         "makes an image of it",
                         w.n_linears);
    if (g->o->n_sparse)
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "%u sparse initializers; dense ones are accepted", g->o->n_sparse);
    rc = ruvm_onnx_report_operators(&g->report, g->arena, g->o, err);
    if (rc == RUVM_OK)
        rc = ruvm_onnx_layers_find(&g->d, g->arena, &w, &g->report, err);
    if (rc == RUVM_OK && g->report.n == 0)
        ruvm_onnx_attention_find(&g->a, &w, &g->d, &g->report);
    if (rc == RUVM_OK && g->report.n == 0)
        rc = ruvm_onnx_numbers_windows(g, &w, err);
    return rc == RUVM_OK ? ruvm_problems_report(&g->report, err) : rc;
}

int ruvm_onnx_graph_read(struct ruvm_tensors *out, struct ruvm_arena *arena,
                         const struct ruvm_onnx *o, const struct ruvm_tensors *config,
                         struct ruvm_error *err)
{
    struct ruvm_onnx_naming g = {.out = out, .arena = arena, .o = o, .config = config};
    *out = (struct ruvm_tensors){.format = "ONNX model"};
    int rc = find_decoder(&g, err);
    if (rc != RUVM_OK)
        return rc;
    choose_dialect(&g);
    g.tied = is_tied(&g);
    ruvm_onnx_numbers_add(&g);
    add_tensors(&g);
    if (g.is_short)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
    return ruvm_problems_report(&g.report, err);
}
