/* config.json of each family, with the keys that Hugging Face's classes have for it. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/export/export.h"

enum { NUMBER_BYTES = 32, MAX_DIGITS = 9 /* of a float */ };

struct config {
    const struct ruvm_export_job *j;
    const struct ruvm_model *m;
    cJSON *json;
};

/* The shortest decimal number that is this float. */
static double shortest(float x)
{
    char text[NUMBER_BYTES];
    for (int digits = 1; digits <= MAX_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        float back = strtof(text, NULL);
        if (!(back < x || back > x))
            break;
    }
    return strtod(text, NULL);
}

static void set(const struct config *c, const char *key, double number)
{
    cJSON_AddNumberToObject(c->json, key, number);
}

static void set_text(const struct config *c, const char *key, const char *text)
{
    cJSON_AddStringToObject(c->json, key, text);
}

static void set_bool(const struct config *c, const char *key, bool value)
{
    cJSON_AddBoolToObject(c->json, key, value);
}

/* ---- what families share ----------------------------------------------------------- */

static const char *type_name(enum ruvm_dtype dtype)
{
    return dtype == RUVM_DTYPE_F16 ? "float16" : dtype == RUVM_DTYPE_BF16 ? "bfloat16" : "float32";
}

static void set_token(const struct config *c, const char *key, const char *ours)
{
    uint32_t id = ruvm_export_token(c->j, ours);
    if (id != RUVM_VOCAB_NONE)
        set(c, key, id);
    else
        cJSON_AddNullToObject(c->json, key);
}

/* One token, or a list when several end a text. */
static void set_ends(const struct config *c)
{
    const struct ruvm_export_source *s = &c->j->source;
    if (!s->has_vocab || s->vocab.n_ends == 0) {
        set_token(c, "eos_token_id", "eos");
        return;
    }
    cJSON *ends = cJSON_AddArrayToObject(c->json, "eos_token_id");
    if (s->vocab.eos != RUVM_VOCAB_NONE)
        cJSON_AddItemToArray(ends, cJSON_CreateNumber(s->vocab.eos));
    for (uint32_t i = 0; i < s->vocab.n_ends; i++)
        cJSON_AddItemToArray(ends, cJSON_CreateNumber(s->vocab.ends[i]));
}

static void set_common(const struct config *c)
{
    cJSON *classes = cJSON_AddArrayToObject(c->json, "architectures");
    cJSON_AddItemToArray(classes, cJSON_CreateString(c->j->family->class_name));
    set_text(c, "model_type", c->j->family->name);
    set_text(c, "torch_dtype", type_name(c->j->dtype));
    set(c, "vocab_size", c->m->vocab);
    set_bool(c, "tie_word_embeddings", c->m->tied);
    set_token(c, "bos_token_id", "bos");
    set_ends(c);
}

static const char *activation(const struct ruvm_model *m)
{
    return m->act == RUVM_ACT_GELU_TANH  ? "gelu_new"
           : m->act == RUVM_ACT_GELU_ERF ? "gelu"
           : m->act == RUVM_ACT_RELU     ? "relu"
                                         : "silu";
}

/* ---- RoPE ---------------------------------------------------------------------------- */

static void set_scaling(cJSON *scaling, const char *type, const char *key, double value)
{
    if (!cJSON_HasObjectItem(scaling, "rope_type")) {
        cJSON_AddStringToObject(scaling, "rope_type", type);
        cJSON_AddStringToObject(scaling, "type", type); /* for releases before 4.43 */
    }
    cJSON_AddNumberToObject(scaling, key, value);
}

/* The four numbers of "llama3" are in the source's metadata, or nobody knows them. */
static int set_llama3(const struct config *c, cJSON *scaling)
{
    static const char *const keys[][2] = {
        {"rope_factor", "factor"},
        {"rope_low_freq", "low_freq_factor"},
        {"rope_high_freq", "high_freq_factor"},
        {"rope_original_context", "original_max_position_embeddings"},
    };
    const struct ruvm_tensors *t = c->j->source.tensors;
    const char *kind = t ? ruvm_tensors_text(t, "rope_scaling") : NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double x;
        if (!kind || strcmp(kind, "llama3") != 0 || !ruvm_tensors_number(t, keys[i][0], &x))
            return ruvm_fail(c->j->err, RUVM_ERR_UNSUPPORTED,
                             "the factors of RoPE are known one by one, but config.json can only "
                             "say what they were made of; --to gguf can write them");
        set_scaling(scaling, "llama3", keys[i][1], x);
    }
    return RUVM_OK;
}

static int set_rope(const struct config *c)
{
    float factor;
    set(c, "rope_theta", shortest(c->m->rope_theta));
    if (!c->m->rope_factors)
        return RUVM_OK;
    cJSON *scaling = cJSON_AddObjectToObject(c->json, "rope_scaling");
    if (!ruvm_export_family_linear(c->m, &factor))
        return set_llama3(c, scaling);
    set_scaling(scaling, "linear", "factor", shortest(factor));
    return RUVM_OK;
}

/* The part of a head that turns, such that the product rounded down is the number again. */
static double rotary_part(const struct ruvm_model *m)
{
    double part = (double)m->rotary_dim / m->head_dim;
    while (floor(m->head_dim * part) < m->rotary_dim)
        part = nextafter(part, 2);
    return part;
}

/* ---- windows --------------------------------------------------------------------------- */

static bool has_window(const struct ruvm_model *m, uint32_t layer)
{
    return m->window != 0 && m->layers[layer].windowed;
}

/* ["full_attention", "sliding_attention", ...] */
static void set_kinds(const struct config *c, const char *key, const char *all, const char *some)
{
    cJSON *kinds = cJSON_AddArrayToObject(c->json, key);
    for (uint32_t l = 0; l < c->m->n_layers; l++)
        cJSON_AddItemToArray(kinds, cJSON_CreateString(has_window(c->m, l) ? some : all));
}

/* [[["global"], 1], [["local"], 1], ...] */
static void set_types(const struct config *c)
{
    cJSON *types = cJSON_AddArrayToObject(c->json, "attention_types");
    for (uint32_t l = 0; l < c->m->n_layers; l++) {
        cJSON *pair = cJSON_CreateArray(), *kinds = cJSON_CreateArray();
        const char *kind = has_window(c->m, l) ? "local" : "global";
        cJSON_AddItemToArray(kinds, cJSON_CreateString(kind));
        cJSON_AddItemToArray(pair, kinds);
        cJSON_AddItemToArray(pair, cJSON_CreateNumber(1));
        cJSON_AddItemToArray(types, pair);
    }
}

static void set_gated_window(const struct config *c)
{
    bool is_qwen2 = c->j->family->windows == RUVM_EXPORT_LAYER_WINDOWS;
    if (is_qwen2) {
        set_bool(c, "use_sliding_window", c->m->window != 0);
        set(c, "max_window_layers", c->m->n_layers);
        set_kinds(c, "layer_types", "full_attention", "sliding_attention");
    }
    if (c->m->window)
        set(c, "sliding_window", c->m->window);
    else if (c->j->family->windows != RUVM_EXPORT_NO_WINDOW)
        cJSON_AddNullToObject(c->json, "sliding_window");
}

/* ---- families --------------------------------------------------------------------------- */

static void set_sizes(const struct config *c, bool neo)
{
    set(c, "hidden_size", c->m->dim);
    set(c, "intermediate_size", c->m->hidden);
    set(c, neo ? "num_layers" : "num_hidden_layers", c->m->n_layers);
    set(c, neo ? "num_heads" : "num_attention_heads", c->m->n_heads);
    set(c, "max_position_embeddings", c->m->context);
}

static int set_gated(const struct config *c)
{
    unsigned biases = ruvm_export_family_biases(c->m);
    set_sizes(c, false);
    set(c, "num_key_value_heads", c->m->n_kv_heads);
    set(c, "head_dim", c->m->head_dim);
    set(c, "rms_norm_eps", shortest(c->m->norm_eps));
    set_text(c, "hidden_act", activation(c->m));
    if (c->j->family->may) {
        set_bool(c, "attention_bias", (biases & 15u << RUVM_BIAS_WQ) != 0);
        set_bool(c, "mlp_bias", (biases & 7u << RUVM_BIAS_W_UP) != 0);
    }
    set_gated_window(c);
    return set_rope(c);
}

static void set_gpt2(const struct config *c)
{
    set(c, "n_embd", c->m->dim);
    set(c, "n_inner", c->m->hidden);
    set(c, "n_layer", c->m->n_layers);
    set(c, "n_head", c->m->n_heads);
    set(c, "n_positions", c->m->context);
    set(c, "layer_norm_epsilon", shortest(c->m->norm_eps));
    set_text(c, "activation_function", activation(c->m));
    set_bool(c, "scale_attn_weights", c->m->score_scale <= 0);
}

static void set_gpt_neo(const struct config *c)
{
    set_sizes(c, true);
    set(c, "layer_norm_epsilon", shortest(c->m->norm_eps));
    set_text(c, "activation_function", activation(c->m));
    set(c, "window_size", c->m->window ? c->m->window : c->m->context);
    set_types(c);
    set_kinds(c, "attention_layers", "global", "local");
}

static int set_gpt_neox(const struct config *c)
{
    set_sizes(c, false);
    set(c, "layer_norm_eps", shortest(c->m->norm_eps));
    set_text(c, "hidden_act", activation(c->m));
    set_bool(c, "attention_bias", true);
    set_bool(c, "use_parallel_residual", c->m->parallel);
    set(c, "rotary_pct", rotary_part(c->m));
    set(c, "rotary_emb_base", shortest(c->m->rope_theta));
    return set_rope(c);
}

static int set_family(const struct config *c)
{
    const char *name = c->j->family->name;
    set_common(c);
    if (c->j->family->gated)
        return set_gated(c);
    if (strcmp(name, "gpt_neox") == 0)
        return set_gpt_neox(c);
    if (strcmp(name, "gpt2") == 0)
        set_gpt2(c);
    else
        set_gpt_neo(c);
    return RUVM_OK;
}

int ruvm_export_config(struct ruvm_buffer *out, const struct ruvm_export_job *j)
{
    struct config c = {.j = j, .m = &j->source.model, .json = cJSON_CreateObject()};
    int rc = c.json ? set_family(&c) : RUVM_OK;
    char *text = rc == RUVM_OK ? cJSON_Print(c.json) : NULL;
    if (text)
        ruvm_buffer_printf(out, "%s\n", text);
    if (rc == RUVM_OK && (!text || !ruvm_buffer_ok(out)))
        rc = ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for config.json");
    cJSON_free(text);
    cJSON_Delete(c.json);
    return rc;
}
