/* Reads the numbers of a decoder out of its ONNX graph.
 *
 * What a graph cannot show (the context it was made for, sometimes the base of RoPE) is taken from
 * properties of the file or from a config.json; what both say must agree.
 */
#include "lib/import/onnx_numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 32 };

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
static bool told(const struct ruvm_onnx_naming *g, const char *key, double *x)
{
    return (g->config && ruvm_tensors_number(g->config, key, x)) || property(g->o, key, x);
}

static void put(struct ruvm_onnx_naming *g, const char *key, double x)
{
    g->is_short = g->is_short || !ruvm_tensors_meta(g->out, g->arena, key, x);
}

/* A number that the graph shows (0: does not); it must agree with what is told. */
static double shown(struct ruvm_onnx_naming *g, const char *key, double x)
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

/* A kind, which is 0 in a Llama; it must agree with what is told. */
static void kind(struct ruvm_onnx_naming *g, const char *key, double x)
{
    double other;
    if (g->config && ruvm_tensors_number(g->config, key, &other) && (other < x || other > x))
        ruvm_problems_note(&g->report, RUVM_ERR_MISMATCH,
                           "%s is %g in the graph, but %g in its config", key, x, other);
    put(g, key, x);
}

/* Positions of its tables of angles, else of its mask; 0: it has none. */
static double positions_of(const struct ruvm_onnx_naming *g)
{
    return g->a.context ? (double)g->a.context : (double)g->windows[0].known;
}

/* A context that is told may be longer than tables of angles, but not than learned positions. */
static double context(struct ruvm_onnx_naming *g)
{
    double x, learned = (double)g->d.embed.n_positions;
    if (!told(g, "max_seq_len", &x))
        return learned > 0 ? learned : positions_of(g);
    if (learned > 0 && x > learned)
        ruvm_problems_note(&g->report, RUVM_ERR_MISMATCH,
                           "its config tells %.0f positions, but the graph has %.0f learned ones: "
                           "export it with a dynamic length of text",
                           x, learned);
    return x;
}

static bool has_scaling(const struct ruvm_onnx_naming *g)
{
    const char *kind = g->config ? ruvm_tensors_text(g->config, "rope_scaling") : NULL;
    return kind && strcmp(kind, "none") != 0;
}

static void add_heads(struct ruvm_onnx_naming *g)
{
    double n_heads = 0, q = (double)g->d.layers[0].rows.q_rows;
    double k = (double)g->d.layers[0].rows.k_rows;
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

static void add_turning(struct ruvm_onnx_naming *g)
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

/* What is the same in all layers of a decoder. */
static void check_layers(struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_layer *first = &g->d.layers[0];
    double eps = g->d.final_norm.eps;
    for (uint32_t i = 0; i < g->d.n_layers; i++) {
        const struct ruvm_onnx_layer *l = &g->d.layers[i];
        double a = l->attn_norm.eps, b = l->ffn_norm.eps;
        if (fabs(a - eps) > 1e-3 * eps || fabs(b - eps) > 1e-3 * eps)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "layer %u: norms add %g and %g, the last norm %g; one number "
                               "for all is accepted",
                               i, a, b, eps);
        if (l->attn_norm.centred != g->d.final_norm.centred ||
            l->ffn_norm.centred != g->d.final_norm.centred)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "layer %u: RMSNorm and LayerNorm in one network; one kind is "
                               "accepted",
                               i);
        if (l->activation != first->activation || l->parallel != first->parallel)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "layer %u: its feed-forward differs from that of layer 0 "
                               "(activation, or what it reads)",
                               i);
    }
}

static void add_kinds(struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_layer *first = &g->d.layers[0];
    kind(g, "norm_kind", g->d.final_norm.centred);
    kind(g, "activation", first->activation);
    kind(g, "positions", g->d.embed.positions != RUVM_ONNX_NONE);
    if (first->parallel)
        kind(g, "parallel", 1);
}

static void add_sizes(struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_decoder *d = &g->d;
    shown(g, "vocab_size", (double)d->embed.vocab);
    shown(g, "dim", (double)d->embed.dim);
    shown(g, "hidden_dim", (double)d->layers[0].up->rows);
    shown(g, "n_layers", d->n_layers);
    add_heads(g);
    shown(g, "norm_eps", d->final_norm.eps);
    shown(g, "max_seq_len", context(g));
    if (d->embed.positions == RUVM_ONNX_NONE)
        add_turning(g);
    put(g, "tied", g->tied);
}

/* ---- windows ----------------------------------------------------------------------------------
 */

int ruvm_onnx_numbers_windows(struct ruvm_onnx_naming *g, struct ruvm_onnx_walk *w,
                              struct ruvm_error *err)
{
    g->windows = ruvm_arena_alloc(g->arena, g->d.n_layers, sizeof *g->windows);
    if (!g->windows)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the layers");
    for (uint32_t i = 0; i < g->d.n_layers; i++) {
        const struct ruvm_onnx_layer *l = &g->d.layers[i];
        g->windows[i] = ruvm_onnx_window_find(w, l->scores, l->softmax);
        if (g->windows[i].odd)
            ruvm_onnx_report_node(&g->report, w, l->softmax,
                                  "its mask is neither causal nor a window of the last positions");
    }
    return RUVM_OK;
}

/* What the config tells of a layer; 0: no window. */
static double told_window(const struct ruvm_onnx_naming *g, uint32_t layer)
{
    double x = 0;
    const char *local = ruvm_tensors_text(g->config, "local_layers");
    if (local && (strlen(local) <= layer || local[layer] != '1'))
        return 0;
    return ruvm_tensors_number(g->config, "window", &x) ? x : 0;
}

/* A mask that was folded for a short text shows no window that is longer. */
static void compare_windows(struct ruvm_onnx_naming *g)
{
    for (uint32_t i = 0; i < g->d.n_layers; i++) {
        const struct ruvm_onnx_window *x = &g->windows[i];
        double shows = (double)x->window, told = told_window(g, i);
        bool agrees =
            x->window ? !(shows < told) && !(shows > told) : told < 1 || (double)x->known <= told;
        if (!agrees)
            ruvm_problems_note(&g->report, RUVM_ERR_MISMATCH,
                               "layer %u: a token sees %.0f positions in the graph, but %.0f in "
                               "its config (0: all before it)",
                               i, shows, told);
    }
}

static void add_windows(struct ruvm_onnx_naming *g, double positions)
{
    char *local = ruvm_arena_alloc(g->arena, (size_t)g->d.n_layers + 1, 1);
    uint64_t window = 0;
    g->is_short = g->is_short || !local;
    for (uint32_t i = 0; i < g->d.n_layers && local; i++) {
        const struct ruvm_onnx_window *x = &g->windows[i];
        local[i] = x->window ? '1' : '0';
        window = window ? window : x->window;
        if (x->window && x->window != window)
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "layer %u: a token sees %llu positions, elsewhere %llu; one number "
                               "is accepted",
                               i, (unsigned long long)x->window, (unsigned long long)window);
        if (x->known && !x->window && (double)x->known < positions) {
            ruvm_problems_note(&g->report, RUVM_ERR_UNSUPPORTED,
                               "the graph shows its mask for %llu positions only: put the "
                               "model's config.json (as Hugging Face has it) beside the file, or "
                               "export it with a dynamic length of text",
                               (unsigned long long)x->known);
            return;
        }
    }
    if (!window || !local)
        return;
    put(g, "window", (double)window);
    g->is_short = g->is_short || !ruvm_tensors_meta_text(g->out, g->arena, "local_layers", local);
}

/* ---- the rest -----------------------------------------------------------------------------------
 */

/* Whatever else a config says (tokens, windows, scaling) belongs to the model too. */
static void add_config(struct ruvm_onnx_naming *g)
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

/* Whether a bias is wherever GPT-2 and GPT-NeoX have one. */
static bool has_biases(const struct ruvm_onnx_naming *g)
{
    bool all = g->d.final_norm.bias != RUVM_ONNX_NONE;
    for (uint32_t i = 0; i < g->d.n_layers; i++) {
        const struct ruvm_onnx_layer *l = &g->d.layers[i];
        all = all && l->attn_norm.bias != RUVM_ONNX_NONE && l->ffn_norm.bias != RUVM_ONNX_NONE &&
              l->o->bias != RUVM_ONNX_NONE && l->up->bias != RUVM_ONNX_NONE &&
              l->down->bias != RUVM_ONNX_NONE;
    }
    return all;
}

/* The family that a network is like; NULL: none. */
static const char *family(const struct ruvm_onnx_naming *g)
{
    const struct ruvm_onnx_layer *l = &g->d.layers[0];
    bool has_bias = l->q->bias != RUVM_ONNX_NONE, learned = g->d.embed.n_positions != 0;
    if (!g->d.final_norm.centred)
        return l->gate && !l->parallel ? has_bias ? "qwen2" : "llama" : NULL;
    if (l->gate || !has_biases(g))
        return NULL;
    if (learned)
        return has_bias ? "gpt2" : "gpt_neo";
    return has_bias ? "gpt_neox" : NULL;
}

static void add_architecture(struct ruvm_onnx_naming *g)
{
    static const char *const tokens[] = {"bos", "eos", "pad"};
    const char *told_name = g->config ? ruvm_tensors_text(g->config, "architecture") : NULL;
    const char *name = told_name ? told_name : family(g);
    double x;
    if (name)
        g->is_short =
            g->is_short || !ruvm_tensors_meta_text(g->out, g->arena, "architecture", name);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (property(g->o, tokens[i], &x))
            put(g, tokens[i], x);
}

void ruvm_onnx_numbers_add(struct ruvm_onnx_naming *g)
{
    double positions = 0;
    check_layers(g);
    add_architecture(g);
    add_sizes(g);
    add_kinds(g);
    if (g->config)
        compare_windows(g);
    else if (ruvm_tensors_number(g->out, "max_seq_len", &positions))
        add_windows(g, positions);
    add_config(g);
}
