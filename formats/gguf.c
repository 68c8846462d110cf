/* The importer of GGUF: metadata of llama.cpp's architectures under our own keys.
 *
 * A table says what each architecture is that its metadata does not say (how its positions
 * turn, which norm and activation it has), another which keys it needs. What is missing or
 * not supported is collected and told in one message.
 */
#include "formats/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buffer.h"

enum { KEY_BYTES = 96 };

static const struct arch {
    const char *name;         /* general.architecture */
    const char *architecture; /* ours */
    bool halves;              /* RoPE pairs i and i + rotary_dim / 2 */
    bool layer_norm;
    uint8_t activation; /* 0 SiLU-gated, 1 GELU by tanh, 2 GELU by erf */
    bool learned;       /* positions */
} archs[] = {
    {"llama", "llama", false, false, 0, false}, /* llama.cpp permutes rows of q and k */
    {"qwen2", "qwen2", true, false, 0, false},
    {"gpt2", "gpt2", false, true, 1, true},
    /* Pythia's GELU; llama.cpp itself runs every GPT-NeoX by tanh */
    {"gptneox", "gpt_neox", true, true, 2, false},
};

static const struct field {
    const char *suffix; /* behind "llama." */
    const char *key;
    enum { REQUIRED, OPTIONAL } need;
} fields[] = {
    {"embedding_length", "dim", REQUIRED},
    {"feed_forward_length", "hidden_dim", REQUIRED},
    {"block_count", "n_layers", REQUIRED},
    {"attention.head_count", "n_heads", REQUIRED},
    {"context_length", "max_seq_len", REQUIRED},
    {"attention.key_length", "head_dim", OPTIONAL},
    {"rope.freq_base", "rope_theta", OPTIONAL},
    {"rope.dimension_count", "rotary_dim", OPTIONAL},
    {"attention.sliding_window", "window", OPTIONAL},
};

static const struct {
    const char *name, *key;
} tokens[] = {
    {"tokenizer.ggml.bos_token_id", "bos"},
    {"tokenizer.ggml.eos_token_id", "eos"},
    {"tokenizer.ggml.padding_token_id", "pad"},
    {"tokenizer.ggml.add_bos_token", "add_bos_token"},
    {"tokenizer.ggml.add_space_prefix", "add_space_prefix"},
};

struct job {
    const struct ruvm_gguf *g;
    struct ruvm_tensors *out;
    struct ruvm_arena *arena;
    const struct arch *arch;
    struct ruvm_buffer problems;
    bool full; /* memory is short */
};

#define NOTE(j, ...)                                                                               \
    do {                                                                                           \
        ruvm_buffer_printf(&(j)->problems, "%s", (j)->problems.size ? "; " : "");                  \
        ruvm_buffer_printf(&(j)->problems, __VA_ARGS__);                                           \
    } while (0)

static void put(struct job *j, const char *key, double number)
{
    j->full |= !ruvm_tensors_meta(j->out, j->arena, key, number);
}

static void put_text(struct job *j, const char *key, const char *text)
{
    j->full |= !ruvm_tensors_meta_text(j->out, j->arena, key, text);
}

/* ---- values of an architecture ------------------------------------------------------ */

static const char *key_of(const struct job *j, const char *suffix, char *key)
{
    snprintf(key, KEY_BYTES, "%s.%s", j->arch->name, suffix);
    return key;
}

/* All elements alike: a value for every layer that is one for all of them. */
static bool number_of_array(struct job *j, const char *key, struct ruvm_gguf_array a, double *x)
{
    double other;
    if (!ruvm_gguf_next_number(&a, x))
        return false;
    while (ruvm_gguf_next_number(&a, &other))
        if (other != *x) {
            NOTE(j, "%s differs from layer to layer (%g and %g)", key, *x, other);
            return true;
        }
    return true;
}

/* false when it is not there. */
static bool number(struct job *j, const char *suffix, double *x)
{
    char key[KEY_BYTES];
    struct ruvm_gguf_array a;
    key_of(j, suffix, key);
    if (ruvm_gguf_array(j->g, key, &a))
        return number_of_array(j, key, a, x);
    return ruvm_gguf_number(j->g, key, x);
}

static bool text_is(struct ruvm_gguf_string s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.text, text, s.n) == 0;
}

static void put_fields(struct job *j)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        double x;
        if (number(j, fields[i].suffix, &x))
            put(j, fields[i].key, x);
        else if (fields[i].need == REQUIRED)
            NOTE(j, "%s.%s is missing", j->arch->name, fields[i].suffix);
    }
}

/* llama.cpp wants GPT-2's head to be stored although it is the embedding. */
static bool is_tied(const struct job *j, const struct ruvm_view *embed)
{
    const struct ruvm_view *head = ruvm_tensors_find(j->out, "output.weight");
    if (!head || strcmp(j->arch->name, "gpt2") != 0)
        return !head;
    return embed && embed->dtype == head->dtype && embed->bytes == head->bytes &&
           memcmp(embed->data, head->data, head->bytes) == 0;
}

/* Those whose default is another one. */
static void put_derived(struct job *j)
{
    double x;
    const char *eps =
        j->arch->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    if (number(j, eps, &x))
        put(j, "norm_eps", x);
    else
        NOTE(j, "%s.%s is missing", j->arch->name, eps);
    if (number(j, "attention.head_count_kv", &x) || number(j, "attention.head_count", &x))
        put(j, "n_kv_heads", x);
    if (number(j, "attention.scale", &x) && x != 0)
        put(j, "score_scale", x);
    const struct ruvm_view *embed = ruvm_tensors_find(j->out, "token_embd.weight");
    if (number(j, "vocab_size", &x))
        put(j, "vocab_size", x);
    else if (embed)
        put(j, "vocab_size", (double)embed->dims[0]);
    put(j, "tied", is_tied(j, embed));
}

static void put_kind(struct job *j)
{
    double parallel = 1;
    put_text(j, "architecture", j->arch->architecture);
    put(j, "norm_kind", j->arch->layer_norm);
    put(j, "activation", j->arch->activation);
    put(j, "positions", j->arch->learned);
    if (!j->arch->learned)
        put(j, "rope_halves", j->arch->halves);
    if (strcmp(j->arch->name, "gptneox") == 0) {
        number(j, "use_parallel_residual", &parallel);
        put(j, "parallel", parallel != 0);
    }
}

/* ---- RoPE's scaling ------------------------------------------------------------------ */

/* YaRN as llama.cpp turns by it: its attn_factor multiplies what the paper has. */
static void put_yarn(struct job *j, double factor)
{
    static const char *const fixed[] = {"rope.scaling.yarn_ext_factor",
                                        "rope.scaling.yarn_attn_factor"};
    double x;
    put(j, "rope_factor", factor);
    if (number(j, "rope.scaling.yarn_beta_fast", &x))
        put(j, "rope_beta_fast", x);
    if (number(j, "rope.scaling.yarn_beta_slow", &x))
        put(j, "rope_beta_slow", x);
    if (number(j, "rope.scaling.attn_factor", &x) && (x < 1 || x > 1))
        put(j, "rope_attention", x * (0.1 * log(factor) + 1));
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (number(j, fixed[i], &x) && (x < 1 || x > 1))
            NOTE(j, "%s.%s is %g (accepted: 1)", j->arch->name, fixed[i], x);
    if (number(j, "rope.scaling.yarn_log_multiplier", &x) && (x < 0 || x > 0))
        NOTE(j, "%s.rope.scaling.yarn_log_multiplier is %g (accepted: 0)", j->arch->name, x);
    if (!number(j, "rope.scaling.original_context_length", &x) && number(j, "context_length", &x))
        put(j, "rope_original_context", x);
}

/* A factor without a type is linear, as llama.cpp has it; a factor of 0 or 1 is none. */
static void put_scaling(struct job *j)
{
    char key[KEY_BYTES];
    double factor = 0, context;
    struct ruvm_gguf_string type = {(const uint8_t *)"linear", 6};
    ruvm_gguf_text(j->g, key_of(j, "rope.scaling.type", key), &type);
    if (!number(j, "rope.scaling.factor", &factor))
        number(j, "rope.scale_linear", &factor);
    bool factors = ruvm_tensors_find(j->out, "rope_freqs.weight") != NULL;
    bool scaled = factor != 0 && factor != 1 && !text_is(type, "none");
    bool yarn = text_is(type, "yarn");
    if (!text_is(type, "none") && !text_is(type, "linear") && !yarn)
        NOTE(j, "%s is %.*s (accepted: none, linear, yarn, and llama3's rope_freqs.weight)", key,
             type.n < KEY_BYTES ? (int)type.n : KEY_BYTES, (const char *)type.text);
    else if (scaled && factors)
        NOTE(j, "%s is %s beside rope_freqs.weight (accepted: one of them)", key,
             yarn ? "yarn" : "linear");
    put_text(j, "rope_scaling", factors ? "factors" : !scaled ? "none" : yarn ? "yarn" : "linear");
    if (scaled && yarn)
        put_yarn(j, factor);
    else if (scaled)
        put(j, "rope_factor", factor);
    if (number(j, "rope.scaling.original_context_length", &context))
        put(j, "rope_original_context", context);
}

/* ---- what is not a plain decoder ------------------------------------------------------ */

static void check_rest(struct job *j)
{
    double experts = 0, n_keys = 0, n_values = 0;
    number(j, "expert_count", &experts);
    if (experts > 0)
        NOTE(j, "%s.expert_count is %g (a mixture of experts; accepted: dense networks)",
             j->arch->name, experts);
    if (number(j, "attention.key_length", &n_keys) &&
        number(j, "attention.value_length", &n_values) && n_keys != n_values)
        NOTE(j, "%s.attention.value_length is %g, key_length %g (accepted: the same)",
             j->arch->name, n_values, n_keys);
}

/* A token beyond the vocabulary is how some files say that there is none. */
static void put_tokens(struct job *j)
{
    double n_tokens = 0, x;
    ruvm_tensors_number(j->out, "vocab_size", &n_tokens);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (ruvm_gguf_number(j->g, tokens[i].name, &x) && x < n_tokens)
            put(j, tokens[i].key, x);
}

static int report(struct job *j, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    if (j->full || !ruvm_buffer_ok(&j->problems))
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the metadata");
    else if (j->problems.size)
        rc = ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "metadata: %.*s", (int)j->problems.size,
                       (const char *)j->problems.data);
    ruvm_buffer_free(&j->problems);
    return rc;
}

static int read_meta(struct job *j, struct ruvm_error *err)
{
    put_kind(j);
    put_fields(j);
    put_derived(j);
    if (!j->arch->learned)
        put_scaling(j);
    check_rest(j);
    put_tokens(j);
    return report(j, err);
}

/* ---- which file it is ------------------------------------------------------------------ */

static int find_arch(struct job *j, struct ruvm_error *err)
{
    struct ruvm_gguf_string s;
    if (!ruvm_gguf_text(j->g, "general.architecture", &s))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "metadata: general.architecture is missing");
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (text_is(s, archs[i].name)) {
            j->arch = &archs[i];
            return RUVM_OK;
        }
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                     "metadata: general.architecture is '%.*s'; ruvm reads llama (Mistral "
                     "included), qwen2, gpt2 and gptneox",
                     s.n < KEY_BYTES ? (int)s.n : KEY_BYTES, (const char *)s.text);
}

/* Parts and additions of a model. */
static int check_whole(const struct ruvm_gguf *g, struct ruvm_error *err)
{
    double n_files = 1, file = 0;
    struct ruvm_gguf_string type;
    ruvm_gguf_number(g, "split.no", &file);
    if (ruvm_gguf_number(g, "split.count", &n_files) && n_files > 1)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is file %.0f of %.0f of a split model: join them with llama-gguf-split "
                         "--merge",
                         file + 1, n_files);
    if (ruvm_gguf_text(g, "general.type", &type) && !text_is(type, "model"))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "metadata: general.type is '%.*s', expected 'model' (an addition to a "
                         "model: merge it into its model first)",
                         type.n < KEY_BYTES ? (int)type.n : KEY_BYTES, (const char *)type.text);
    if (g->n_tensors == 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "holds no tensors (a vocabulary alone?)");
    return RUVM_OK;
}

int ruvm_gguf_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                   size_t size, struct ruvm_error *err)
{
    struct ruvm_gguf g;
    struct job j = {.g = &g, .out = out, .arena = arena};
    *out = (struct ruvm_tensors){0};
    int rc = ruvm_gguf_open(&g, arena, data, size, err);
    if (rc == RUVM_OK)
        rc = check_whole(&g, err);
    if (rc == RUVM_OK)
        rc = find_arch(&j, err);
    if (rc == RUVM_OK)
        rc = ruvm_gguf_tensors(out, arena, &g, err);
    if (rc != RUVM_OK)
        return rc;
    out->format = g.version == 2 ? "GGUF v2" : "GGUF v3";
    return read_meta(&j, err);
}
