/* A Hugging Face config.json as metadata: one row a family, and what families share.
 *
 * A config has dozens of keys, and most of them do not matter here (dropout, types, caches).
 * Those that change the network are of two kinds: the ones below, which we follow, and the
 * ones in the lists of refusals, which we cannot. Keys that a config leaves out have the value
 * that the family's configuration class gives them.
 */
#include "lib/import/hub_config.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/base/problems.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define MODEL_TYPES "llama, mistral, qwen2, gpt2, gpt_neo, gpt_neox"

/* The numbers of the directory's keys. */
enum { NORM_RMS = 0, NORM_LAYER = 1 };
enum { ACT_SILU_GATED, ACT_GELU_TANH, ACT_GELU_ERF, ACT_RELU };
enum { POSITIONS_ROPE = 0, POSITIONS_LEARNED = 1 };

enum {
    MAX_NUMBER = 1 << 30, /* of a size: what is more is no network */
    MAX_LAYERS = 1 << 16, /* that a text of local layers is made for */
    VALUE_BYTES = 80,     /* of a foreign value in a message */
};

static const struct family {
    const char *name;
    const char *dim, *hidden, *layers, *heads, *context, *eps, *activation;
    double default_eps;
    bool tied, is_gpt, rope, kv_given; /* kv_given: num_key_value_heads may not be left out */
} families[] = {
    {"llama", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
     "max_position_embeddings", "rms_norm_eps", "hidden_act", 1e-6, .rope = true},
    {"mistral", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
     "max_position_embeddings", "rms_norm_eps", "hidden_act", 1e-6, .rope = true, .kv_given = true},
    {"qwen2", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
     "max_position_embeddings", "rms_norm_eps", "hidden_act", 1e-6, .rope = true, .kv_given = true},
    {"gpt2", "n_embd", "n_inner", "n_layer", "n_head", "n_positions", "layer_norm_epsilon",
     "activation_function", 1e-5, .tied = true, .is_gpt = true},
    {"gpt_neo", "hidden_size", "intermediate_size", "num_layers", "num_heads",
     "max_position_embeddings", "layer_norm_epsilon", "activation_function", 1e-5, .tied = true,
     .is_gpt = true},
    {"gpt_neox", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
     "max_position_embeddings", "layer_norm_eps", "hidden_act", 1e-5, .is_gpt = true, .rope = true},
};

struct config {
    const cJSON *json, *scaling; /* scaling: rope_scaling or rope_parameters, or NULL */
    const struct family *f;
    struct ruvm_tensors *t;
    struct ruvm_arena *arena;
    struct ruvm_problems problems;
    bool no_memory;
    uint64_t dim, n_layers, n_heads, head_dim, context;
};

/* ---- reading and setting -------------------------------------------------------- */

/* null is the same as not given. */
static const cJSON *in(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static const cJSON *get(const struct config *c, const char *key)
{
    return in(c->json, key);
}

static bool is_null(const struct config *c, const char *key)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(c->json, key));
}

static void set(struct config *c, const char *key, double number)
{
    c->no_memory |= !ruvm_tensors_meta(c->t, c->arena, key, number);
}

static void set_text(struct config *c, const char *key, const char *text)
{
    c->no_memory |= !ruvm_tensors_meta_text(c->t, c->arena, key, text);
}

/* The value as JSON, cut; returns buffer. */
static const char *show(const cJSON *item, char *buffer)
{
    char *text = cJSON_PrintUnformatted(item);
    snprintf(buffer, VALUE_BYTES, "%s", text ? text : "?");
    cJSON_free(text);
    return buffer;
}

/* "key is value, accepted: what" */
static void refuse(struct config *c, const char *key, const cJSON *item, const char *accepted)
{
    char value[VALUE_BYTES];
    ruvm_problems_note(&c->problems, RUVM_ERR_UNSUPPORTED, "%s is %s, accepted: %s", key,
                       show(item, value), accepted);
}

/* A size from 1; `missing` when it is not given, which is a problem when that is 0. */
static uint64_t size(struct config *c, const char *key, uint64_t missing)
{
    const cJSON *item = get(c, key);
    uint64_t value;
    if (item && ruvm_json_whole(item, MAX_NUMBER, &value) && value > 0)
        return value;
    if (item)
        refuse(c, key, item, "a whole number from 1");
    else if (!missing)
        ruvm_problems_note(&c->problems, RUVM_ERR_UNSUPPORTED, "%s is not given", key);
    return item ? 0 : missing;
}

static double real(struct config *c, const char *key, const cJSON *item, double missing)
{
    if (!item)
        return missing;
    if (cJSON_IsNumber(item) && item->valuedouble > 0 && item->valuedouble < 1e300)
        return item->valuedouble;
    refuse(c, key, item, "a number above 0");
    return missing;
}

static bool is_on(struct config *c, const char *key, bool missing)
{
    const cJSON *item = get(c, key);
    if (item && !cJSON_IsBool(item))
        refuse(c, key, item, "true or false");
    return item ? cJSON_IsTrue(item) : missing;
}

/* ---- what we cannot follow ------------------------------------------------------ */

static bool is_zero(const cJSON *item)
{
    uint64_t value;
    return ruvm_json_whole(item, 0, &value);
}

static void check_refusals(struct config *c)
{
    static const char *const switches[] = {
        "is_encoder_decoder",
        "add_cross_attention",
        "scale_attn_by_inverse_layer_idx",
        "alibi",
    };
    static const char *const parts[] = {
        "quantization_config", "num_local_experts", "num_experts",
        "n_routed_experts",    "vision_config",     "text_config",
    };
    for (size_t i = 0; i < COUNT(switches); i++)
        if (is_on(c, switches[i], false))
            refuse(c, switches[i], get(c, switches[i]), "false");
    for (size_t i = 0; i < COUNT(parts); i++)
        if (get(c, parts[i]) && !is_zero(get(c, parts[i])))
            refuse(c, parts[i], get(c, parts[i]), "none (a plain, dense, unquantized decoder)");
}

static void find_family(struct config *c)
{
    const cJSON *item = get(c, "model_type");
    const char *name = cJSON_GetStringValue(item);
    for (size_t i = 0; i < COUNT(families) && name; i++)
        if (strcmp(families[i].name, name) == 0)
            c->f = &families[i];
    if (!item)
        ruvm_problems_note(&c->problems, RUVM_ERR_UNSUPPORTED,
                           "model_type is not given, accepted: " MODEL_TYPES);
    else if (!c->f)
        refuse(c, "model_type", item, MODEL_TYPES);
}

/* ---- shape and parts ------------------------------------------------------------ */

static uint64_t kv_heads(struct config *c)
{
    const char *key = "num_key_value_heads";
    if (c->f->is_gpt)
        return c->n_heads;
    return size(c, key, c->f->kv_given && !is_null(c, key) ? 0 : c->n_heads + !c->n_heads);
}

static void read_shape(struct config *c)
{
    const struct family *f = c->f;
    c->dim = size(c, f->dim, 0);
    c->n_layers = size(c, f->layers, 0);
    c->n_heads = size(c, f->heads, 0);
    c->context = size(c, f->context, 0);
    c->head_dim = c->n_heads ? c->dim / c->n_heads : 0;
    set(c, "dim", (double)c->dim);
    set(c, "hidden_dim", (double)size(c, f->hidden, f->is_gpt ? 4 * c->dim + !c->dim : 0));
    set(c, "n_layers", (double)c->n_layers);
    set(c, "n_heads", (double)c->n_heads);
    set(c, "n_kv_heads", (double)kv_heads(c));
    set(c, "vocab_size", (double)size(c, "vocab_size", 0));
    set(c, "max_seq_len", (double)c->context);
    if (f->is_gpt || !get(c, "head_dim"))
        return;
    c->head_dim = size(c, "head_dim", 0);
    set(c, "head_dim", (double)c->head_dim);
}

static void read_norm(struct config *c)
{
    set(c, "norm_kind", c->f->is_gpt ? NORM_LAYER : NORM_RMS);
    set(c, "norm_eps", real(c, c->f->eps, get(c, c->f->eps), c->f->default_eps));
    set(c, "tied", is_on(c, "tie_word_embeddings", c->f->tied));
}

static void read_activation(struct config *c)
{
    static const struct {
        const char *name;
        bool is_gpt;
        int activation;
    } known[] = {
        {"silu", false, ACT_SILU_GATED},    {"swish", false, ACT_SILU_GATED},
        {"gelu_new", true, ACT_GELU_TANH},  {"gelu_pytorch_tanh", true, ACT_GELU_TANH},
        {"gelu_fast", true, ACT_GELU_TANH}, {"gelu_accurate", true, ACT_GELU_TANH},
        {"gelu", true, ACT_GELU_ERF},       {"gelu_python", true, ACT_GELU_ERF},
        {"relu", true, ACT_RELU},
    };
    bool is_neox = c->f->is_gpt && c->f->rope;
    const cJSON *item = get(c, c->f->activation);
    const char *name = !c->f->is_gpt ? "silu" : is_neox ? "gelu" : "gelu_new";
    if (item)
        name = cJSON_GetStringValue(item);
    for (size_t i = 0; i < COUNT(known) && name; i++)
        if (known[i].is_gpt == c->f->is_gpt && strcmp(known[i].name, name) == 0) {
            set(c, "activation", known[i].activation);
            return;
        }
    refuse(c, c->f->activation, item,
           c->f->is_gpt ? "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu" : "silu");
}

/* ---- RoPE ----------------------------------------------------------------------- */

static void need_scaling(struct config *c, const char *theirs, const char *ours)
{
    const cJSON *item = in(c->scaling, theirs);
    double value = real(c, theirs, item, 0);
    if (!item)
        ruvm_problems_note(&c->problems, RUVM_ERR_UNSUPPORTED, "rope_scaling: %s is not given",
                           theirs);
    set(c, ours, value);
}

#define SCALINGS                                                                                   \
    "null, or types default, linear, llama3, yarn, dynamic (without "                              \
    "original_max_position_embeddings)"

/* It turns otherwise than the default only beyond max_position_embeddings, our context. */
static bool is_dynamic(const struct config *c, const char *type)
{
    return strcmp(type, "dynamic") == 0 && !in(c->scaling, "original_max_position_embeddings");
}

/* By how much YaRN scales angles' cosines and sines, as DeepSeek's models write it. */
static double magnitude(double factor, double part)
{
    return factor > 1 ? 0.1 * part * log(factor) + 1 : 1;
}

static void may_scale(struct config *c, const char *theirs, const char *ours)
{
    const cJSON *item = in(c->scaling, theirs);
    if (item)
        set(c, ours, real(c, theirs, item, 1));
}

/* The original context is the whole one where it is not given. */
static void read_yarn(struct config *c)
{
    const char *context = "original_max_position_embeddings", *whole = "truncate";
    const cJSON *part = in(c->scaling, "mscale"), *all = in(c->scaling, "mscale_all_dim");
    double factor = real(c, "factor", in(c->scaling, "factor"), 1);
    set_text(c, "rope_scaling", "yarn");
    need_scaling(c, "factor", "rope_factor");
    set(c, "rope_original_context", real(c, context, in(c->scaling, context), (double)c->context));
    may_scale(c, "beta_fast", "rope_beta_fast");
    may_scale(c, "beta_slow", "rope_beta_slow");
    if (cJSON_IsFalse(in(c->scaling, whole)))
        set(c, "rope_whole", 0);
    if (in(c->scaling, "attention_factor"))
        may_scale(c, "attention_factor", "rope_attention");
    else if (part && all)
        set(c, "rope_attention",
            magnitude(factor, real(c, "mscale", part, 1)) /
                magnitude(factor, real(c, "mscale_all_dim", all, 1)));
}

static void read_scaling(struct config *c)
{
    const cJSON *item = in(c->scaling, "rope_type");
    item = item ? item : in(c->scaling, "type");
    const char *type = item ? cJSON_GetStringValue(item) : "default";
    /* rope_parameters may be one object a kind of layer */
    bool nested = c->scaling && (!cJSON_IsObject(c->scaling) || cJSON_IsObject(c->scaling->child));
    if (nested || !type) {
        refuse(c, "rope_scaling", c->scaling, SCALINGS);
    } else if (strcmp(type, "linear") == 0) {
        set_text(c, "rope_scaling", "linear");
        need_scaling(c, "factor", "rope_factor");
    } else if (strcmp(type, "llama3") == 0) {
        set_text(c, "rope_scaling", "llama3");
        need_scaling(c, "factor", "rope_factor");
        need_scaling(c, "low_freq_factor", "rope_low_freq");
        need_scaling(c, "high_freq_factor", "rope_high_freq");
        need_scaling(c, "original_max_position_embeddings", "rope_original_context");
    } else if (strcmp(type, "yarn") == 0) {
        read_yarn(c);
    } else if (strcmp(type, "default") != 0 && !is_dynamic(c, type)) {
        refuse(c, "rope_scaling", c->scaling, SCALINGS);
    }
}

/* The key of rope_parameters, where newer files have it, else of the config itself. */
static const cJSON *rope_item(const struct config *c, const char *key)
{
    const cJSON *item = in(get(c, "rope_parameters"), key);
    return item ? item : get(c, key);
}

/* Which part of a head turns: all of it, but in GPT-NeoX. */
static void read_rotary(struct config *c)
{
    const char *key = get(c, "rotary_pct") ? "rotary_pct" : "partial_rotary_factor";
    const cJSON *item = rope_item(c, key);
    double part = real(c, key, item, c->f->is_gpt ? 0.25 : 1);
    if (part >= 1 && part <= 1)
        return;
    if (part > 1 || !c->f->is_gpt) {
        refuse(c, key, item, c->f->is_gpt ? "0 to 1" : "1");
        return;
    }
    uint64_t n = (uint64_t)((double)c->head_dim * part);
    if (c->head_dim && (n == 0 || n % 2 != 0))
        ruvm_problems_note(&c->problems, RUVM_ERR_UNSUPPORTED,
                           "rotary_pct %g turns %llu of a head's %llu values, accepted: an even "
                           "number of them",
                           part, (unsigned long long)n, (unsigned long long)c->head_dim);
    set(c, "rotary_dim", (double)n);
}

static void read_positions(struct config *c)
{
    set(c, "positions", c->f->rope ? POSITIONS_ROPE : POSITIONS_LEARNED);
    if (!c->f->rope)
        return;
    c->scaling = get(c, "rope_scaling");
    c->scaling = c->scaling ? c->scaling : get(c, "rope_parameters");
    const char *key = get(c, "rotary_emb_base") ? "rotary_emb_base" : "rope_theta";
    set(c, "rope_theta", real(c, key, rope_item(c, key), 10000));
    set(c, "rope_halves", 1);
    read_rotary(c);
    read_scaling(c);
}

/* ---- attention ------------------------------------------------------------------ */

/* A digit a layer, all '0', or NULL (after the sizes or the memory were found wanting). */
static char *layer_digits(struct config *c)
{
    if (c->n_layers == 0 || c->n_layers > MAX_LAYERS)
        return NULL;
    char *digits = ruvm_arena_alloc(c->arena, (size_t)c->n_layers + 1, 1);
    c->no_memory |= !digits;
    return digits ? memset(digits, '0', (size_t)c->n_layers) : NULL;
}

/* A window that reaches over the whole context is none. */
static void set_window(struct config *c, uint64_t window, const char *digits)
{
    if (window == 0 || window >= c->context || (digits && !strchr(digits, '1')))
        return;
    set(c, "window", (double)window);
    if (digits && strchr(digits, '0'))
        set_text(c, "local_layers", digits);
}

/* A kind of layer at place *i; false after noting what it is instead. */
static bool put_kind(struct config *c, char *digits, uint64_t *i, const cJSON *kind)
{
    const char *text = cJSON_GetStringValue(kind);
    bool local = text && (strcmp(text, "local") == 0 || strcmp(text, "sliding_attention") == 0);
    bool global = text && (strcmp(text, "global") == 0 || strcmp(text, "full_attention") == 0);
    if (!local && !global)
        refuse(c, "a layer's attention", kind, "global, local, full_attention, sliding_attention");
    if (*i < c->n_layers)
        digits[*i] = local ? '1' : '0';
    ++*i;
    return local || global;
}

static void check_count(struct config *c, const char *key, uint64_t n)
{
    if (n != c->n_layers)
        ruvm_problems_note(&c->problems, RUVM_ERR_MISMATCH, "%s names %llu layers, %s is %llu", key,
                           (unsigned long long)n, c->f->layers, (unsigned long long)c->n_layers);
}

/* ["global", "local", ...] */
static void read_kinds(struct config *c, char *digits, const char *key)
{
    uint64_t n = 0;
    const cJSON *kind;
    cJSON_ArrayForEach(kind, get(c, key)) if (!put_kind(c, digits, &n, kind)) return;
    check_count(c, key, n);
}

/* [[["global", "local"], 12], ...]: each list so many times. */
static void read_repeated_kinds(struct config *c, char *digits, const char *key)
{
    uint64_t n = 0, times;
    const cJSON *pair, *kind;
    cJSON_ArrayForEach(pair, get(c, key))
    {
        const cJSON *kinds = pair->child;
        if (!kinds || !ruvm_json_whole(kinds->next, MAX_NUMBER, &times)) {
            refuse(c, key, pair, "lists such as [[\"global\", \"local\"], 12]");
            return;
        }
        for (uint64_t i = 0; i < times && n <= c->n_layers && kinds->child; i++)
            cJSON_ArrayForEach(kind, kinds) if (!put_kind(c, digits, &n, kind)) return;
    }
    check_count(c, key, n);
}

static void read_neo_window(struct config *c)
{
    char *digits = layer_digits(c);
    set(c, "score_scale", 1);
    if (!digits)
        return;
    if (get(c, "attention_layers"))
        read_kinds(c, digits, "attention_layers");
    else if (get(c, "attention_types"))
        read_repeated_kinds(c, digits, "attention_types");
    else
        for (uint64_t i = 1; i < c->n_layers; i += 2)
            digits[i] = '1';
    set_window(c, size(c, "window_size", 256), digits);
}

/* Off unless use_sliding_window; then in the layers from max_window_layers on. */
static void read_qwen2_window(struct config *c)
{
    const cJSON *from = get(c, "max_window_layers");
    uint64_t first = 28;
    char *digits = layer_digits(c);
    if (!is_on(c, "use_sliding_window", false) || is_null(c, "sliding_window") || !digits)
        return;
    if (from && !ruvm_json_whole(from, MAX_NUMBER, &first))
        refuse(c, "max_window_layers", from, "a whole number");
    if (get(c, "layer_types"))
        read_kinds(c, digits, "layer_types");
    else
        for (uint64_t i = first; i < c->n_layers; i++)
            digits[i] = '1';
    set_window(c, size(c, "sliding_window", 4096), digits);
}

static void read_attention(struct config *c)
{
    const char *name = c->f->name;
    if (strcmp(name, "mistral") == 0 && !is_null(c, "sliding_window"))
        set_window(c, size(c, "sliding_window", 4096), NULL);
    else if (strcmp(name, "qwen2") == 0)
        read_qwen2_window(c);
    else if (strcmp(name, "gpt_neo") == 0)
        read_neo_window(c);
    else if (strcmp(name, "gpt2") == 0 && !is_on(c, "scale_attn_weights", true))
        set(c, "score_scale", 1);
    else if (strcmp(name, "gpt_neox") == 0)
        set(c, "parallel", is_on(c, "use_parallel_residual", true));
}

/* ---- tokens --------------------------------------------------------------------- */

/* Small test models keep ids that their vocabulary has not: those are no tokens. */
static void set_token(struct config *c, const char *key, const cJSON *item)
{
    uint64_t id;
    double vocab = 0;
    ruvm_tensors_number(c->t, "vocab_size", &vocab);
    if (ruvm_json_whole(item, MAX_NUMBER, &id) && (double)id < vocab)
        set(c, key, (double)id);
}

static void read_tokens(struct config *c)
{
    const cJSON *eos = get(c, "eos_token_id"), *item;
    set_token(c, "bos", get(c, "bos_token_id"));
    set_token(c, "pad", get(c, "pad_token_id"));
    if (!cJSON_IsArray(eos))
        set_token(c, "eos", eos);
    else
        cJSON_ArrayForEach(item, eos) set_token(c, "eos", item);
}

/* ---- all of it ------------------------------------------------------------------ */

static void read_network(struct config *c)
{
    set_text(c, "architecture", c->f->name);
    read_shape(c);
    read_norm(c);
    read_activation(c);
    read_positions(c);
    read_attention(c);
    read_tokens(c);
}

int ruvm_hub_config_read(struct ruvm_tensors *t, struct ruvm_arena *arena, const void *text,
                         size_t n, struct ruvm_error *err)
{
    struct config c = {.t = t, .arena = arena};
    cJSON *json = ruvm_json_parse(text, n, err);
    if (!json)
        return RUVM_ERR_CORRUPT;
    c.json = json;
    find_family(&c);
    check_refusals(&c);
    if (c.f)
        read_network(&c);
    cJSON_Delete(json);
    if (c.no_memory)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the configuration");
    return ruvm_problems_report(&c.problems, err);
}
