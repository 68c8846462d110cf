/* A value depends only on the seed, on what it means and where it is: so each container is
 * written by asking for the values in its own order. */
#include "tests/support/tiny_models.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "tests/support/tiny_model.h"

/* What a tensor is; a bias is BIAS and its matrix. */
enum {
    ATTN_NORM = RUVM_TENSOR_POSITION + 1,
    FFN_NORM,
    FINAL_NORM,
    QKV,
    N_ROLES,
    BIAS = 32,
};

struct maker {
    struct ruvm_tensors t;
    struct ruvm_arena *arena;
    int n; /* enum tiny_network */
    int d; /* enum tiny_dialect */
    uint64_t seed;
    uint32_t heads, kv_heads, head_dim, rotary_dim;
};

/* ---- values ---------------------------------------------------------------- */

static double normal(uint64_t state)
{
    double sum = 0;
    for (int k = 0; k < 4; k++)
        sum += (double)(tiny_random(&state) >> 40) * 0x1p-24 - 0.5;
    return sum * 1.732;
}

static uint32_t rows_of(const struct maker *m, int role)
{
    switch (role) {
    case RUVM_TENSOR_EMBED:
    case RUVM_TENSOR_HEAD: return TINY_VOCAB;
    case RUVM_TENSOR_POSITION: return TINY_CONTEXT;
    case RUVM_TENSOR_WQ: return m->heads * m->head_dim;
    case RUVM_TENSOR_WK:
    case RUVM_TENSOR_WV: return m->kv_heads * m->head_dim;
    case RUVM_TENSOR_W_UP:
    case RUVM_TENSOR_W_GATE: return TINY_HIDDEN;
    default: return TINY_DIM;
    }
}

static uint32_t cols_of(const struct maker *m, int role)
{
    return role == RUVM_TENSOR_WO       ? m->heads * m->head_dim
           : role == RUVM_TENSOR_W_DOWN ? TINY_HIDDEN
                                        : TINY_DIM;
}

/* Element (row, col) as the float model has it; of a vector, (row, 0). */
static float value(const struct maker *m, int role, unsigned layer, uint32_t row, uint32_t col)
{
    uint64_t place = (((uint64_t)role * 256 + layer) << 32 | row) * 4096 + col;
    double x = normal(m->seed * 0x9E3779B97F4A7C15u + place * 0xD1B54A32D192ED03u);
    if (role >= BIAS)
        return (float)(0.3 * x);
    if (role >= ATTN_NORM)
        return (float)(1 + 0.2 * x);
    if (role == RUVM_TENSOR_EMBED || role == RUVM_TENSOR_POSITION)
        return (float)(0.4 * x);
    return (float)(1.3 * x / sqrt(cols_of(m, role)));
}

/* ---- the order of the rows ------------------------------------------------------ */

static bool has_rope(const struct maker *m)
{
    return m->rotary_dim != 0;
}

static bool has_halves(const struct maker *m)
{
    bool llama = m->n == TINY_LLAMA || m->n == TINY_MISTRAL;
    return has_rope(m) && (m->d == TINY_HUGGING_FACE || (m->d == TINY_GGUF && !llama));
}

/* Which row of the float model a container's row of q or k is. */
static uint32_t turned(const struct maker *m, uint32_t row)
{
    uint32_t head = row / m->head_dim, i = row % m->head_dim, half = m->rotary_dim / 2;
    if (!has_halves(m) || i >= m->rotary_dim)
        return row;
    return head * m->head_dim + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* Role and row of the float model of a row of q, k and v in one. */
static int take_apart(const struct maker *m, uint32_t *row)
{
    uint32_t q = rows_of(m, RUVM_TENSOR_WQ), kv = rows_of(m, RUVM_TENSOR_WK), n = m->head_dim;
    int part;
    if (m->n == TINY_GPT_NEOX && m->d == TINY_HUGGING_FACE) {
        part = (int)(*row / n % 3);
        *row = *row / (3 * n) * n + *row % n;
    } else {
        part = *row < q ? 0 : *row < q + kv ? 1 : 2;
        *row -= part == 0 ? 0 : part == 1 ? q : q + kv;
    }
    return RUVM_TENSOR_WQ + part;
}

static float stored(const struct maker *m, int role, unsigned layer, uint32_t row, uint32_t col)
{
    int bias = role >= BIAS ? BIAS : 0;
    role -= bias;
    if (role == QKV)
        role = take_apart(m, &row);
    if (role == RUVM_TENSOR_WQ || role == RUVM_TENSOR_WK)
        row = turned(m, row);
    return value(m, role + bias, layer, row, col);
}

/* ---- names ----------------------------------------------------------------- */

static const char *const ruvm_names[N_ROLES] = {
    "embed",
    "layers.%u.wq",
    "layers.%u.wk",
    "layers.%u.wv",
    "layers.%u.wo",
    "layers.%u.w_up",
    "layers.%u.w_gate",
    "layers.%u.w_down",
    "head",
    "positions",
    "layers.%u.attn_norm",
    "layers.%u.ffn_norm",
    "final_norm",
    NULL,
};
static const char *const gguf_names[N_ROLES] = {
    "token_embd.weight",      "blk.%u.attn_q.weight",      "blk.%u.attn_k.weight",
    "blk.%u.attn_v.weight",   "blk.%u.attn_output.weight", "blk.%u.ffn_up.weight",
    "blk.%u.ffn_gate.weight", "blk.%u.ffn_down.weight",    "output.weight",
    "position_embd.weight",   "blk.%u.attn_norm.weight",   "blk.%u.ffn_norm.weight",
    "output_norm.weight",     "blk.%u.attn_qkv.weight",
};
static const char *const llama_names[N_ROLES] = {
    "model.embed_tokens.weight",
    "model.layers.%u.self_attn.q_proj.weight",
    "model.layers.%u.self_attn.k_proj.weight",
    "model.layers.%u.self_attn.v_proj.weight",
    "model.layers.%u.self_attn.o_proj.weight",
    "model.layers.%u.mlp.up_proj.weight",
    "model.layers.%u.mlp.gate_proj.weight",
    "model.layers.%u.mlp.down_proj.weight",
    "lm_head.weight",
    NULL,
    "model.layers.%u.input_layernorm.weight",
    "model.layers.%u.post_attention_layernorm.weight",
    "model.norm.weight",
    NULL,
};
static const char *const gpt2_names[N_ROLES] = {
    [RUVM_TENSOR_EMBED] = "transformer.wte.weight",
    [RUVM_TENSOR_POSITION] = "transformer.wpe.weight",
    [QKV] = "transformer.h.%u.attn.c_attn.weight",
    [RUVM_TENSOR_WO] = "transformer.h.%u.attn.c_proj.weight",
    [RUVM_TENSOR_W_UP] = "transformer.h.%u.mlp.c_fc.weight",
    [RUVM_TENSOR_W_DOWN] = "transformer.h.%u.mlp.c_proj.weight",
    [ATTN_NORM] = "transformer.h.%u.ln_1.weight",
    [FFN_NORM] = "transformer.h.%u.ln_2.weight",
    [FINAL_NORM] = "transformer.ln_f.weight",
};
static const char *const gpt_neo_names[N_ROLES] = {
    [RUVM_TENSOR_EMBED] = "transformer.wte.weight",
    [RUVM_TENSOR_POSITION] = "transformer.wpe.weight",
    [RUVM_TENSOR_WQ] = "transformer.h.%u.attn.attention.q_proj.weight",
    [RUVM_TENSOR_WK] = "transformer.h.%u.attn.attention.k_proj.weight",
    [RUVM_TENSOR_WV] = "transformer.h.%u.attn.attention.v_proj.weight",
    [RUVM_TENSOR_WO] = "transformer.h.%u.attn.attention.out_proj.weight",
    [RUVM_TENSOR_W_UP] = "transformer.h.%u.mlp.c_fc.weight",
    [RUVM_TENSOR_W_DOWN] = "transformer.h.%u.mlp.c_proj.weight",
    [ATTN_NORM] = "transformer.h.%u.ln_1.weight",
    [FFN_NORM] = "transformer.h.%u.ln_2.weight",
    [FINAL_NORM] = "transformer.ln_f.weight",
};
static const char *const gpt_neox_names[N_ROLES] = {
    [RUVM_TENSOR_EMBED] = "gpt_neox.embed_in.weight",
    [QKV] = "gpt_neox.layers.%u.attention.query_key_value.weight",
    [RUVM_TENSOR_WO] = "gpt_neox.layers.%u.attention.dense.weight",
    [RUVM_TENSOR_W_UP] = "gpt_neox.layers.%u.mlp.dense_h_to_4h.weight",
    [RUVM_TENSOR_W_DOWN] = "gpt_neox.layers.%u.mlp.dense_4h_to_h.weight",
    [RUVM_TENSOR_HEAD] = "embed_out.weight",
    [ATTN_NORM] = "gpt_neox.layers.%u.input_layernorm.weight",
    [FFN_NORM] = "gpt_neox.layers.%u.post_attention_layernorm.weight",
    [FINAL_NORM] = "gpt_neox.final_layer_norm.weight",
};

static const char *pattern_of(const struct maker *m, int role)
{
    static const char *const *const hugging_face[] = {llama_names, llama_names,   llama_names,
                                                      gpt2_names,  gpt_neo_names, gpt_neox_names};
    return m->d == TINY_RUVM   ? ruvm_names[role]
           : m->d == TINY_GGUF ? gguf_names[role]
                               : hugging_face[m->n][role];
}

static const char *name_of(struct maker *m, int role, unsigned layer)
{
    char name[96];
    const char *pattern = pattern_of(m, role % BIAS), *hole = strstr(pattern, "%u");
    int n = hole ? snprintf(name, sizeof name, "%.*s%u%s", (int)(hole - pattern), pattern, layer,
                            hole + 2)
                 : snprintf(name, sizeof name, "%s", pattern);
    char *weight = role >= BIAS ? strstr(name, ".weight") : NULL;
    if (role >= BIAS)
        n = snprintf(weight ? weight : name + n, 8, ".bias") + (int)(weight ? weight - name : n);
    char *text = ruvm_arena_text(m->arena, name, (size_t)n);
    assert(text);
    return text;
}

/* ---- tensors --------------------------------------------------------------- */

static void add(struct maker *m, struct ruvm_view v, const float *x)
{
    size_t n = (size_t)(v.n_dims == 2 ? v.dims[0] * v.dims[1] : v.dims[0]);
    uint8_t *data = ruvm_arena_alloc(m->arena, n, 4);
    assert(data);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        ruvm_store_u32(data + 4 * i, bits);
    }
    v.data = data;
    v.bytes = 4 * n;
    bool added = ruvm_tensors_add(&m->t, m->arena, &v);
    assert(added);
    (void)added;
}

static uint32_t stored_rows(const struct maker *m, int role)
{
    return role == QKV ? rows_of(m, RUVM_TENSOR_WQ) + 2 * rows_of(m, RUVM_TENSOR_WK)
                       : rows_of(m, role);
}

static void add_vector(struct maker *m, int role, unsigned layer)
{
    uint32_t n = stored_rows(m, role % BIAS);
    float *x = ruvm_arena_alloc(m->arena, n, sizeof *x);
    for (uint32_t i = 0; i < n; i++)
        x[i] = stored(m, role, layer, i, 0);
    add(m, (struct ruvm_view){.name = name_of(m, role, layer), .n_dims = 1, .dims = {n}}, x);
}

static void add_matrix(struct maker *m, int role, unsigned layer)
{
    uint32_t rows = stored_rows(m, role), cols = cols_of(m, role);
    bool table = role == RUVM_TENSOR_EMBED || role == RUVM_TENSOR_POSITION;
    bool columns = m->n == TINY_GPT2 && m->d == TINY_HUGGING_FACE && !table;
    float *x = ruvm_arena_alloc(m->arena, rows, cols * sizeof *x);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++)
            x[columns ? c * rows + r : r * cols + c] = stored(m, role, layer, r, c);
    struct ruvm_view v = {.name = name_of(m, role, layer),
                          .n_dims = 2,
                          .dims = {columns ? cols : rows, columns ? rows : cols}};
    add(m, v, x);
}

/* A mask as PyTorch stores it. */
static void add_buffer(struct maker *m, unsigned layer)
{
    static const char *const names[] = {NULL,
                                        NULL,
                                        "model.layers.%u.self_attn.rotary_emb.inv_freq",
                                        "transformer.h.%u.attn.bias",
                                        "transformer.h.%u.attn.attention.bias",
                                        "gpt_neox.layers.%u.attention.masked_bias"};
    char name[96];
    const float one = 1;
    if (m->d != TINY_HUGGING_FACE || !names[m->n])
        return;
    const char *hole = strstr(names[m->n], "%u");
    int n = snprintf(name, sizeof name, "%.*s%u%s", (int)(hole - names[m->n]), names[m->n], layer,
                     hole + 2);
    const char *text = ruvm_arena_text(m->arena, name, (size_t)n);
    add(m, (struct ruvm_view){.name = text, .n_dims = 1, .dims = {1}}, &one);
}

static bool is_gpt(const struct maker *m)
{
    return m->n >= TINY_GPT2;
}

static void add_norm(struct maker *m, int role, unsigned layer)
{
    add_vector(m, role, layer);
    if (is_gpt(m))
        add_vector(m, BIAS + role, layer);
}

static void add_linear(struct maker *m, int role, unsigned layer)
{
    add_matrix(m, role, layer);
    bool part = role == QKV || (role >= RUVM_TENSOR_WQ && role <= RUVM_TENSOR_WV);
    if (part ? m->n == TINY_QWEN2 || (is_gpt(m) && m->n != TINY_GPT_NEO) : is_gpt(m))
        add_vector(m, BIAS + role, layer);
}

static void add_layer(struct maker *m, unsigned layer)
{
    bool fused = (m->n == TINY_GPT2 || m->n == TINY_GPT_NEOX) && m->d != TINY_RUVM;
    add_buffer(m, layer);
    add_norm(m, ATTN_NORM, layer);
    if (fused)
        add_linear(m, QKV, layer);
    for (int role = RUVM_TENSOR_WQ; role <= RUVM_TENSOR_WV && !fused; role++)
        add_linear(m, role, layer);
    add_linear(m, RUVM_TENSOR_WO, layer);
    add_norm(m, FFN_NORM, layer);
    add_linear(m, RUVM_TENSOR_W_UP, layer);
    if (!is_gpt(m))
        add_linear(m, RUVM_TENSOR_W_GATE, layer);
    add_linear(m, RUVM_TENSOR_W_DOWN, layer);
}

/* ---- the directory --------------------------------------------------------- */

void tiny_models_set(struct ruvm_tensors *t, struct ruvm_arena *arena, const char *key,
                     double number)
{
    for (size_t i = 0; i < t->n_meta; i++)
        if (strcmp(t->meta[i].key, key) == 0) {
            t->meta[i].number = number;
            return;
        }
    bool added = ruvm_tensors_meta(t, arena, key, number);
    assert(added);
    (void)added;
}

struct ruvm_view *tiny_models_view(struct ruvm_tensors *t, const char *name)
{
    size_t i = 0;
    while (i < t->n_views && strcmp(t->views[i].name, name) != 0)
        i++;
    assert(i < t->n_views);
    return &t->views[i];
}

const char *tiny_network_name(int n)
{
    static const char *const names[] = {"llama", "mistral", "qwen2", "gpt2", "gpt_neo", "gpt_neox"};
    return names[n];
}

static void set(struct maker *m, const char *key, double number)
{
    tiny_models_set(&m->t, m->arena, key, number);
}

static void add_meta(struct maker *m)
{
    bool learned = m->n == TINY_GPT2 || m->n == TINY_GPT_NEO;
    ruvm_tensors_meta_text(&m->t, m->arena, "architecture", tiny_network_name(m->n));
    set(m, "vocab_size", TINY_VOCAB);
    set(m, "dim", TINY_DIM);
    set(m, "hidden_dim", TINY_HIDDEN);
    set(m, "max_seq_len", TINY_CONTEXT);
    set(m, "n_layers", TINY_LAYERS);
    set(m, "n_heads", m->heads);
    set(m, "n_kv_heads", m->kv_heads);
    set(m, "norm_eps", 1e-5);
    set(m, "tied", learned);
    set(m, "rope_halves", has_halves(m));
    if (is_gpt(m)) {
        set(m, "norm_kind", 1);
        set(m, "activation", m->n == TINY_GPT_NEOX ? 2 : 1);
        set(m, "positions", learned);
    }
    if (m->n == TINY_GPT_NEOX) {
        set(m, "parallel", 1);
        set(m, "rotary_dim", m->rotary_dim);
    }
    if (m->n == TINY_GPT_NEO) {
        set(m, "score_scale", 1);
        ruvm_tensors_meta_text(&m->t, m->arena, "local_layers", "010");
    }
    if (m->n == TINY_GPT_NEO || m->n == TINY_MISTRAL)
        set(m, "window", TINY_WINDOW);
}

struct ruvm_tensors tiny_models_make(struct ruvm_arena *arena, int n, int d, uint64_t seed)
{
    struct maker m = {.arena = arena, .n = n, .d = d, .seed = seed, .heads = 4, .kv_heads = 2};
    m.t.format = "tiny model";
    if (is_gpt(&m))
        m.heads = m.kv_heads = n == TINY_GPT_NEOX ? 2 : 3;
    m.head_dim = TINY_DIM / m.heads;
    m.rotary_dim = n == TINY_GPT2 || n == TINY_GPT_NEO ? 0 : n == TINY_GPT_NEOX ? 4 : m.head_dim;
    add_meta(&m);
    add_matrix(&m, RUVM_TENSOR_EMBED, 0);
    if (!has_rope(&m))
        add_matrix(&m, RUVM_TENSOR_POSITION, 0);
    for (unsigned layer = 0; layer < TINY_LAYERS; layer++)
        add_layer(&m, layer);
    add_norm(&m, FINAL_NORM, 0);
    if (has_rope(&m))
        add_matrix(&m, RUVM_TENSOR_HEAD, 0);
    return m.t;
}

/* ---- config.json ----------------------------------------------------------- */

#define SIZES                                                                                      \
    "\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":3,\"vocab_size\":50,"       \
    "\"max_position_embeddings\":40"
#define GATED                                                                                      \
    SIZES                                                                                          \
    ",\"num_attention_heads\":4,\"num_key_value_heads\":2,\"rms_norm_eps\":1e-5,"                  \
    "\"rope_theta\":10000.0,\"hidden_act\":\"silu\""

const char *tiny_network_config(int n)
{
    static const char *const configs[TINY_NETWORKS] = {
        [TINY_LLAMA] = "{\"model_type\":\"llama\"," GATED "}",
        [TINY_MISTRAL] = "{\"model_type\":\"mistral\",\"sliding_window\":7," GATED "}",
        [TINY_QWEN2] = "{\"model_type\":\"qwen2\",\"use_sliding_window\":false," GATED "}",
        [TINY_GPT2] =
            "{\"model_type\":\"gpt2\",\"n_embd\":24,\"n_inner\":40,\"n_layer\":3,"
            "\"n_head\":3,\"n_positions\":40,\"vocab_size\":50}",
        [TINY_GPT_NEO] =
            "{\"model_type\":\"gpt_neo\",\"hidden_size\":24,\"intermediate_size\":40,"
            "\"num_layers\":3,\"num_heads\":3,\"max_position_embeddings\":40,"
            "\"vocab_size\":50,\"window_size\":7,"
            "\"attention_types\":[[[\"global\",\"local\",\"global\"],1]]}",
        [TINY_GPT_NEOX] =
            "{\"model_type\":\"gpt_neox\",\"num_attention_heads\":2,"
            "\"rotary_pct\":0.34,\"hidden_act\":\"gelu\"," SIZES "}",
    };
    return configs[n];
}
