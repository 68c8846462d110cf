/* The table of dialects. The first row is our own and names tensors in every report;
 * a directory's dialect is the one whose embedding it holds, because every language
 * model has one and each dialect calls it differently. */
#include "lib/convert/names.h"

#include <stdio.h>
#include <string.h>

static const struct ruvm_dialect dialects[] = {
    {"RUVM",
     {
         [RUVM_TENSOR_EMBED] = "embed",
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
     }},
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
     }},
};

const struct ruvm_dialect *ruvm_names_dialect(const struct ruvm_tensors *t)
{
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (ruvm_tensors_find(t, dialects[i].roles[RUVM_TENSOR_EMBED]))
            return &dialects[i];
    return NULL;
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
