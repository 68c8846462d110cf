/* The table of dialects. The first row is our own and names tensors in every report; a
 * directory's dialect is the one whose embedding it holds, because every language model
 * has one. Where two dialects call it the same, the first layer's attention tells them apart.
 *
 * Hugging Face's names have a prefix when the model was saved with its head, and none when it
 * was saved without: two rows made by one macro.
 */
#include "lib/import/names.h"

#include <stdio.h>
#include <string.h>

/* Llama, Mistral and Qwen2. */
#define LLAMA(P)                                                                                   \
    {                                                                                              \
        "Hugging Face Llama",                                                                      \
            {                                                                                      \
                [RUVM_TENSOR_EMBED] = P "embed_tokens.weight",                                     \
                [RUVM_TENSOR_WQ] = P "layers.*.self_attn.q_proj.weight",                           \
                [RUVM_TENSOR_WK] = P "layers.*.self_attn.k_proj.weight",                           \
                [RUVM_TENSOR_WV] = P "layers.*.self_attn.v_proj.weight",                           \
                [RUVM_TENSOR_WO] = P "layers.*.self_attn.o_proj.weight",                           \
                [RUVM_TENSOR_W_UP] = P "layers.*.mlp.up_proj.weight",                              \
                [RUVM_TENSOR_W_GATE] = P "layers.*.mlp.gate_proj.weight",                          \
                [RUVM_TENSOR_W_DOWN] = P "layers.*.mlp.down_proj.weight",                          \
                [RUVM_TENSOR_HEAD] = "lm_head.weight",                                             \
                [RUVM_ROLE_ATTN_NORM] = P "layers.*.input_layernorm.weight",                       \
                [RUVM_ROLE_FFN_NORM] = P "layers.*.post_attention_layernorm.weight",               \
                [RUVM_ROLE_FINAL_NORM] = P "norm.weight",                                          \
            },                                                                                     \
            false, false,                                                                          \
    }

#define GPT2(P)                                                                                    \
    {                                                                                              \
        "Hugging Face GPT-2",                                                                      \
            {                                                                                      \
                [RUVM_TENSOR_EMBED] = P "wte.weight",                                              \
                [RUVM_TENSOR_POSITION] = P "wpe.weight",                                           \
                [RUVM_ROLE_QKV] = P "h.*.attn.c_attn.weight",                                      \
                [RUVM_TENSOR_WO] = P "h.*.attn.c_proj.weight",                                     \
                [RUVM_TENSOR_W_UP] = P "h.*.mlp.c_fc.weight",                                      \
                [RUVM_TENSOR_W_DOWN] = P "h.*.mlp.c_proj.weight",                                  \
                [RUVM_TENSOR_HEAD] = "lm_head.weight",                                             \
                [RUVM_ROLE_ATTN_NORM] = P "h.*.ln_1.weight",                                       \
                [RUVM_ROLE_FFN_NORM] = P "h.*.ln_2.weight",                                        \
                [RUVM_ROLE_FINAL_NORM] = P "ln_f.weight",                                          \
            },                                                                                     \
            true, false,                                                                           \
    }

#define GPT_NEO(P)                                                                                 \
    {                                                                                              \
        "Hugging Face GPT-Neo",                                                                    \
            {                                                                                      \
                [RUVM_TENSOR_EMBED] = P "wte.weight",                                              \
                [RUVM_TENSOR_POSITION] = P "wpe.weight",                                           \
                [RUVM_TENSOR_WQ] = P "h.*.attn.attention.q_proj.weight",                           \
                [RUVM_TENSOR_WK] = P "h.*.attn.attention.k_proj.weight",                           \
                [RUVM_TENSOR_WV] = P "h.*.attn.attention.v_proj.weight",                           \
                [RUVM_TENSOR_WO] = P "h.*.attn.attention.out_proj.weight",                         \
                [RUVM_TENSOR_W_UP] = P "h.*.mlp.c_fc.weight",                                      \
                [RUVM_TENSOR_W_DOWN] = P "h.*.mlp.c_proj.weight",                                  \
                [RUVM_TENSOR_HEAD] = "lm_head.weight",                                             \
                [RUVM_ROLE_ATTN_NORM] = P "h.*.ln_1.weight",                                       \
                [RUVM_ROLE_FFN_NORM] = P "h.*.ln_2.weight",                                        \
                [RUVM_ROLE_FINAL_NORM] = P "ln_f.weight",                                          \
            },                                                                                     \
            false, false,                                                                          \
    }

#define GPT_NEOX(P)                                                                                \
    {                                                                                              \
        "Hugging Face GPT-NeoX",                                                                   \
            {                                                                                      \
                [RUVM_TENSOR_EMBED] = P "embed_in.weight",                                         \
                [RUVM_ROLE_QKV] = P "layers.*.attention.query_key_value.weight",                   \
                [RUVM_TENSOR_WO] = P "layers.*.attention.dense.weight",                            \
                [RUVM_TENSOR_W_UP] = P "layers.*.mlp.dense_h_to_4h.weight",                        \
                [RUVM_TENSOR_W_DOWN] = P "layers.*.mlp.dense_4h_to_h.weight",                      \
                [RUVM_TENSOR_HEAD] = "embed_out.weight",                                           \
                [RUVM_ROLE_ATTN_NORM] = P "layers.*.input_layernorm.weight",                       \
                [RUVM_ROLE_FFN_NORM] = P "layers.*.post_attention_layernorm.weight",               \
                [RUVM_ROLE_FINAL_NORM] = P "final_layer_norm.weight",                              \
            },                                                                                     \
            false, true,                                                                           \
    }

static const struct ruvm_dialect dialects[] = {
    {"RUVM",
     {
         [RUVM_TENSOR_EMBED] = "embed",
         [RUVM_TENSOR_POSITION] = "positions",
         [RUVM_TENSOR_WQ] = "layers.*.wq",
         [RUVM_TENSOR_WK] = "layers.*.wk",
         [RUVM_TENSOR_WV] = "layers.*.wv",
         [RUVM_TENSOR_WO] = "layers.*.wo",
         [RUVM_TENSOR_W_UP] = "layers.*.w_up",
         [RUVM_TENSOR_W_GATE] = "layers.*.w_gate",
         [RUVM_TENSOR_W_DOWN] = "layers.*.w_down",
         [RUVM_TENSOR_HEAD] = "head",
         [RUVM_ROLE_ATTN_NORM] = "layers.*.attn_norm",
         [RUVM_ROLE_FFN_NORM] = "layers.*.ffn_norm",
         [RUVM_ROLE_FINAL_NORM] = "final_norm",
         [RUVM_ROLE_QKV] = "layers.*.wqkv",
     },
     false,
     false},
    {"Meta",
     {
         [RUVM_TENSOR_EMBED] = "tok_embeddings.weight",
         [RUVM_TENSOR_WQ] = "layers.*.attention.wq.weight",
         [RUVM_TENSOR_WK] = "layers.*.attention.wk.weight",
         [RUVM_TENSOR_WV] = "layers.*.attention.wv.weight",
         [RUVM_TENSOR_WO] = "layers.*.attention.wo.weight",
         [RUVM_TENSOR_W_UP] = "layers.*.feed_forward.w3.weight",
         [RUVM_TENSOR_W_GATE] = "layers.*.feed_forward.w1.weight",
         [RUVM_TENSOR_W_DOWN] = "layers.*.feed_forward.w2.weight",
         [RUVM_TENSOR_HEAD] = "output.weight",
         [RUVM_ROLE_ATTN_NORM] = "layers.*.attention_norm.weight",
         [RUVM_ROLE_FFN_NORM] = "layers.*.ffn_norm.weight",
         [RUVM_ROLE_FINAL_NORM] = "norm.weight",
     },
     false,
     false},
    {"GGUF",
     {
         [RUVM_TENSOR_EMBED] = "token_embd.weight",
         [RUVM_TENSOR_POSITION] = "position_embd.weight",
         [RUVM_ROLE_QKV] = "blk.*.attn_qkv.weight",
         [RUVM_TENSOR_WQ] = "blk.*.attn_q.weight",
         [RUVM_TENSOR_WK] = "blk.*.attn_k.weight",
         [RUVM_TENSOR_WV] = "blk.*.attn_v.weight",
         [RUVM_TENSOR_WO] = "blk.*.attn_output.weight",
         [RUVM_TENSOR_W_UP] = "blk.*.ffn_up.weight",
         [RUVM_TENSOR_W_GATE] = "blk.*.ffn_gate.weight",
         [RUVM_TENSOR_W_DOWN] = "blk.*.ffn_down.weight",
         [RUVM_TENSOR_HEAD] = "output.weight",
         [RUVM_ROLE_ATTN_NORM] = "blk.*.attn_norm.weight",
         [RUVM_ROLE_FFN_NORM] = "blk.*.ffn_norm.weight",
         [RUVM_ROLE_FINAL_NORM] = "output_norm.weight",
     },
     false,
     false},
    LLAMA("model."),
    LLAMA(""),
    GPT2("transformer."),
    GPT2(""),
    GPT_NEO("transformer."),
    GPT_NEO(""),
    GPT_NEOX("gpt_neox."),
    GPT_NEOX(""),
};

static bool has_role(const struct ruvm_tensors *t, const struct ruvm_dialect *d, int role)
{
    char name[RUVM_NAME_BYTES];
    return d->roles[role] &&
           ruvm_tensors_find(t, ruvm_names_write(name, sizeof name, d, role, 0)) != NULL;
}

const struct ruvm_dialect *ruvm_names_dialect(const struct ruvm_tensors *t)
{
    const struct ruvm_dialect *found = NULL;
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        const struct ruvm_dialect *d = &dialects[i];
        if (!has_role(t, d, RUVM_TENSOR_EMBED))
            continue;
        if (has_role(t, d, RUVM_TENSOR_WQ) || has_role(t, d, RUVM_ROLE_QKV))
            return d;
        found = found ? found : d;
    }
    return found;
}

const struct ruvm_dialect *ruvm_names_find(const char *name)
{
    size_t i = 0;
    while (i + 1 < sizeof dialects / sizeof *dialects && strcmp(dialects[i].name, name) != 0)
        i++;
    return &dialects[i];
}

const char *ruvm_names_write(char *name, size_t name_bytes, const struct ruvm_dialect *dialect,
                             int role, unsigned layer)
{
    const char *pattern = (dialect ? dialect : &dialects[0])->roles[role];
    const char *star = strchr(pattern, '*');
    if (star)
        snprintf(name, name_bytes, "%.*s%u%s", (int)(star - pattern), pattern, layer, star + 1);
    else
        snprintf(name, name_bytes, "%s", pattern);
    return name;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

const char *ruvm_names_write_bias(char *name, size_t name_bytes, const struct ruvm_dialect *dialect,
                                  int role, unsigned layer)
{
    ruvm_names_write(name, name_bytes, dialect, role, layer);
    size_t n = strlen(name), cut = ends_with(name, ".weight") ? strlen(".weight") : 0;
    snprintf(name + n - cut, name_bytes - (n - cut), ".bias");
    return name;
}

bool ruvm_names_is_buffer(const char *name)
{
    static const char *const ends[] = {
        ".attn.bias",           ".attn.masked_bias", ".attention.bias",   ".attention.masked_bias",
        ".rotary_emb.inv_freq", "rope.freqs",        "rope_freqs.weight",
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i]))
            return true;
    return false;
}
