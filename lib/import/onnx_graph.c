/* From the graph of an ONNX decoder to a directory with names and numbers.
 *
 * The tensors get the names that they have in a Hugging Face checkpoint, whatever the exporter
 * called them, and the numbers come from the graph itself. What a graph cannot show (the context it
 * was made for, sometimes the base of RoPE) is taken from properties of the file or from a
 * config.json; what both say must agree.
 */
#include "lib/import/onnx_graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/import/onnx_attention.h"

enum { NAME_BYTES = 64, NUMBER_BYTES = 32 };

struct naming {
    struct ruvm_tensors *out;
    struct ruvm_arena *arena;
    const struct ruvm_onnx *o;
    const struct ruvm_tensors *config; /* NULL: none */
    struct ruvm_onnx_decoder d;
    struct ruvm_onnx_attention a;
    struct ruvm_problems report;
    bool is_short; /* of memory */
    bool tied;
};

/* ---- tensors ------------------------------------------------------------------------------- */

/* layer -1: of no layer. */
static void add_view(struct naming *g, struct ruvm_view *v, int layer, const char *name)
{
    char text[NAME_BYTES];
    int n = layer < 0 ? snprintf(text, sizeof text, "%s", name)
                      : snprintf(text, sizeof text, "model.layers.%d.%s", layer, name);
    v->name = ruvm_arena_text(g->arena, text, (size_t)n);
    g->is_short = g->is_short || !v->name || !ruvm_tensors_add(g->out, g->arena, v);
}

static void add_vector(struct naming *g, uint32_t tensor, int layer, const char *name)
{
    const struct ruvm_onnx_tensor *t = &g->o->tensors[tensor];
    struct ruvm_view v = {.n_dims = 1, .dims = {t->n_values}};
    ruvm_onnx_view(t, &v);
    add_view(g, &v, layer, name);
}

static struct ruvm_view matrix(const struct naming *g, const struct ruvm_onnx_linear *l)
{
    struct ruvm_view v = {.n_dims = 2, .dims = {l->rows, l->cols}};
    ruvm_onnx_view(&g->o->tensors[l->weight], &v);
    v.stride = l->by_columns ? l->rows : 0;
    return v;
}

static void add_linear(struct naming *g, const struct ruvm_onnx_linear *l, int layer,
                       const char *name)
{
    char text[NAME_BYTES];
    struct ruvm_view v = matrix(g, l);
    snprintf(text, sizeof text, "%s.weight", name);
    add_view(g, &v, layer, text);
    snprintf(text, sizeof text, "%s.bias", name);
    if (l->bias != RUVM_ONNX_NONE)
        add_vector(g, l->bias, layer, text);
}

static struct ruvm_view embedding(const struct naming *g)
{
    struct ruvm_view v = {.n_dims = 2, .dims = {g->d.vocab, g->d.dim}};
    ruvm_onnx_view(&g->o->tensors[g->d.embed], &v);
    return v;
}

static void add_tensors(struct naming *g)
{
    const struct ruvm_onnx_decoder *d = &g->d;
    struct ruvm_view embed = embedding(g);
    add_view(g, &embed, -1, "model.embed_tokens.weight");
    for (uint32_t i = 0; i < d->n_layers; i++) {
        const struct ruvm_onnx_layer *l = &d->layers[i];
        int layer = (int)i;
        add_vector(g, l->attn_norm.gain, layer, "input_layernorm.weight");
        add_linear(g, l->q, layer, "self_attn.q_proj");
        add_linear(g, l->k, layer, "self_attn.k_proj");
        add_linear(g, l->v, layer, "self_attn.v_proj");
        add_linear(g, l->o, layer, "self_attn.o_proj");
        add_vector(g, l->ffn_norm.gain, layer, "post_attention_layernorm.weight");
        add_linear(g, l->gate, layer, "mlp.gate_proj");
        add_linear(g, l->up, layer, "mlp.up_proj");
        add_linear(g, l->down, layer, "mlp.down_proj");
    }
    add_vector(g, d->final_norm.gain, -1, "model.norm.weight");
    if (!g->tied)
        add_linear(g, d->head, -1, "lm_head");
}

/* The head is the embedding: the same tensor, or, after folding, a transposed copy of it. */
static bool is_tied(struct naming *g)
{
    const struct ruvm_onnx_linear *head = g->d.head;
    struct ruvm_view a = embedding(g), b = matrix(g, head);
    if (head->weight == g->d.embed)
        return !head->by_columns;
    float *rows = ruvm_arena_alloc(g->arena, 2 * (size_t)g->d.dim, sizeof *rows);
    g->is_short = g->is_short || !rows;
    if (!rows || head->rows != g->d.vocab || head->cols != g->d.dim)
        return false;
    for (uint64_t i = 0; i < g->d.vocab; i++) {
        ruvm_view_row(&a, i, rows);
        ruvm_view_row(&b, i, rows + g->d.dim);
        if (memcmp(rows, rows + g->d.dim, (size_t)g->d.dim * sizeof *rows) != 0)
            return false;
    }
    return true;
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* What config.json calls a number, for people who put it into metadata_props. */
static const struct {
    const char *key, *other;
} aliases[] = {
    {"n_heads", "num_attention_heads"},
    {"n_kv_heads", "num_key_value_heads"},
    {"n_layers", "num_hidden_layers"},
    {"dim", "hidden_size"},
    {"hidden_dim", "intermediate_size"},
    {"max_seq_len", "max_position_embeddings"},
    {"norm_eps", "rms_norm_eps"},
    {"rope_theta", "rope_theta"},
    {"head_dim", "head_dim"},
    {"bos", "bos_token_id"},
    {"eos", "eos_token_id"},
};

static bool is_key(struct ruvm_onnx_text text, const char *key)
{
    if (ruvm_onnx_is(text, key))
        return true;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i].key, key) == 0 && ruvm_onnx_is(text, aliases[i].other))
            return true;
    return false;
}

static bool property(const struct ruvm_onnx *o, const char *key, double *x)
{
    char text[NUMBER_BYTES], *end;
    for (uint32_t i = 0; i < o->n_properties; i++) {
        struct ruvm_onnx_text value = o->properties[i].value;
        if (!is_key(o->properties[i].key, key) || value.size == 0 || value.size >= sizeof text)
            continue;
        memcpy(text, value.at, value.size);
        text[value.size] = '\0';
        *x = strtod(text, &end);
        if (*end == '\0' && isfinite(*x))
            return true;
    }
    return false;
}

/* A number from outside the graph. */
static bool told(const struct naming *g, const char *key, double *x)
{
    return (g->config && ruvm_tensors_number(g->config, key, x)) || property(g->o, key, x);
}

static void put(struct naming *g, const char *key, double x)
{
    g->is_short = g->is_short || !ruvm_tensors_meta(g->out, g->arena, key, x);
}

/* A number that the graph shows (0: does not); it must agree with what is told. */
static double shown(struct naming *g, const char *key, double x)
{
    double other;
    bool is_told = told(g, key, &other);
    if (is_told && x > 0 && fabs(other - x) > 1e-3 * x)
        ruvm_problems_note(&g->report, RUVM_ERR_MISMATCH,
                           "%s is %g in the graph, but %g in its config", key, x, other);
    if (!is_told && !(x > 0)) {
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "the graph does not show %s: put the model's config.json (as "
                           "Hugging Face has it) beside the file",
                           key);
        return 0;
    }
    x = is_told ? other : x;
    put(g, key, x);
    return x;
}

/* A context that is told may be longer than the tables of the graph. */
static double context(struct naming *g)
{
    double x;
    return told(g, "max_seq_len", &x) ? x : (double)g->a.context;
}

static bool has_scaling(const struct naming *g)
{
    const char *kind = g->config ? ruvm_tensors_text(g->config, "rope_scaling") : NULL;
    return kind && strcmp(kind, "none") != 0;
}

static void add_heads(struct naming *g)
{
    double n_heads = 0, q = (double)g->d.layers[0].q->rows, k = (double)g->d.layers[0].k->rows;
    double size = (double)g->a.head_dim;
    if (g->a.head_dim)
        n_heads = q / size;
    n_heads = shown(g, "n_heads", n_heads);
    if (!(n_heads >= 1))
        return;
    size = size > 0 ? size : q / n_heads;
    shown(g, "head_dim", size);
    shown(g, "n_kv_heads", k / size);
    if (g->a.rotary_dim && (double)g->a.rotary_dim < size)
        put(g, "rotary_dim", (double)g->a.rotary_dim);
    if (g->a.score_scale > 0 || g->a.score_scale < 0)
        put(g, "score_scale", g->a.score_scale);
}

static void add_turning(struct naming *g)
{
    if (g->a.scaled && !has_scaling(g))
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "its RoPE frequencies are scaled: put the model's config.json (as "
                           "Hugging Face has it) beside the file");
    else if (g->a.rotary_dim == 2) /* one frequency, 1, whatever the base */
        put(g, "rope_theta", 10000);
    else
        shown(g, "rope_theta", g->a.theta);
    put(g, "rope_halves", g->a.halves);
}

static void add_numbers(struct naming *g)
{
    const struct ruvm_onnx_decoder *d = &g->d;
    shown(g, "vocab_size", (double)d->vocab);
    shown(g, "dim", (double)d->dim);
    shown(g, "hidden_dim", (double)d->layers[0].gate->rows);
    shown(g, "n_layers", d->n_layers);
    add_heads(g);
    shown(g, "norm_eps", d->final_norm.eps);
    shown(g, "max_seq_len", context(g));
    add_turning(g);
    put(g, "tied", g->tied);
    put(g, "norm_kind", 0);
    put(g, "activation", 0);
    put(g, "positions", 0);
}

static void check_eps(struct naming *g)
{
    for (uint32_t i = 0; i < g->d.n_layers; i++) {
        double a = g->d.layers[i].attn_norm.eps, b = g->d.layers[i].ffn_norm.eps;
        double eps = g->d.final_norm.eps;
        if (fabs(a - eps) > 1e-3 * eps || fabs(b - eps) > 1e-3 * eps)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "layer %u: norms add %g and %g, the last norm %g; one number "
                               "for all is accepted",
                               i, a, b, eps);
    }
}

/* Whatever else a config says (tokens, windows, scaling) belongs to the model too. */
static void add_config(struct naming *g)
{
    double x;
    for (size_t i = 0; g->config && i < g->config->n_meta; i++) {
        const struct ruvm_meta *m = &g->config->meta[i];
        if (ruvm_tensors_number(g->out, m->key, &x) || ruvm_tensors_text(g->out, m->key))
            continue;
        bool ok = m->text ? ruvm_tensors_meta_text(g->out, g->arena, m->key, m->text)
                          : ruvm_tensors_meta(g->out, g->arena, m->key, m->number);
        g->is_short = g->is_short || !ok;
    }
}

static void add_architecture(struct naming *g)
{
    static const char *const tokens[] = {"bos", "eos", "pad"};
    const char *told_name = g->config ? ruvm_tensors_text(g->config, "architecture") : NULL;
    bool has_bias = g->d.layers[0].q->bias != RUVM_ONNX_NONE;
    const char *name = told_name ? told_name : has_bias ? "qwen2" : "llama";
    double x;
    g->is_short = g->is_short || !ruvm_tensors_meta_text(g->out, g->arena, "architecture", name);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (property(g->o, tokens[i], &x))
            put(g, tokens[i], x);
}

/* ---- the whole
 * ----------------------------------------------------------------------------------- */

static int find_decoder(struct naming *g, struct ruvm_error *err)
{
    struct ruvm_onnx_walk w;
    int rc = ruvm_onnx_walk_init(&w, g->arena, g->o, err);
    if (rc != RUVM_OK)
        return rc;
    if (ruvm_onnx_report_is_classifier(&w))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is a classifier of %u linear layers: the engine runs language models "
                         "only (ruvm inspect lists it)",
                         w.n_linears);
    if (g->o->n_sparse)
        ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                           "%u sparse initializers; dense ones are accepted", g->o->n_sparse);
    rc = ruvm_onnx_report_operators(&g->report, g->arena, g->o, err);
    if (rc == RUVM_OK)
        rc = ruvm_onnx_layers_find(&g->d, g->arena, &w, &g->report, err);
    if (rc == RUVM_OK && g->report.n == 0)
        ruvm_onnx_attention_find(&g->a, &w, &g->d, &g->report);
    return rc == RUVM_OK ? ruvm_problems_report(&g->report, err) : rc;
}

int ruvm_onnx_graph_read(struct ruvm_tensors *out, struct ruvm_arena *arena,
                         const struct ruvm_onnx *o, const struct ruvm_tensors *config,
                         struct ruvm_error *err)
{
    struct naming g = {.out = out, .arena = arena, .o = o, .config = config};
    *out = (struct ruvm_tensors){.format = "ONNX model"};
    int rc = find_decoder(&g, err);
    if (rc != RUVM_OK)
        return rc;
    check_eps(&g);
    g.tied = is_tied(&g);
    add_architecture(&g);
    add_numbers(&g);
    add_tensors(&g);
    add_config(&g);
    if (g.is_short)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
    return ruvm_problems_report(&g.report, err);
}
