/* The float model: a foreign directory with its meaning settled.
 *
 * What model.c decides once, nobody asks again: which tensor is which, rows are
 * outputs, RoPE pairs are (2i, 2i+1), the head is tied or not, shapes agree.
 */
#ifndef RUVM_CONVERT_MODEL_H
#define RUVM_CONVERT_MODEL_H

#include "formats/tensors.h"
#include "formats/vocab.h"

struct ruvm_layer {
    const struct ruvm_view *attn_norm, *ffn_norm; /* [dim] */
    const struct ruvm_view *wq;                   /* [n_heads * head_dim, dim] */
    const struct ruvm_view *wk, *wv;              /* [n_kv_heads * head_dim, dim] */
    const struct ruvm_view *wo;                   /* [dim, n_heads * head_dim] */
    const struct ruvm_view *w_up, *w_gate;        /* [hidden, dim] */
    const struct ruvm_view *w_down;               /* [dim, hidden] */
};

struct ruvm_model {
    uint32_t vocab, dim, hidden, n_layers, n_heads, n_kv_heads, head_dim, context;
    float norm_eps, rope_theta;
    bool tied;
    const struct ruvm_view *embed;      /* [vocab, dim] */
    const struct ruvm_view *head;       /* [vocab, dim]; embed when tied */
    const struct ruvm_view *final_norm; /* [dim] */
    struct ruvm_layer *layers;          /* [n_layers] */
};

/* Gives meaning to a directory. Every problem (missing tensors, shapes that
 * disagree, limits of the image) is listed in one message. RUVM_ERR_UNSUPPORTED,
 * _MISMATCH, _MEMORY. Views stay those of the directory. */
int ruvm_model_from_tensors(struct ruvm_model *m, struct ruvm_arena *arena,
                            const struct ruvm_tensors *t, struct ruvm_error *err);

/* RUVM_ERR_MISMATCH with both numbers when vocabulary and embedding rows disagree. */
int ruvm_model_check_vocab(const struct ruvm_model *m, const struct ruvm_vocab *v,
                           struct ruvm_error *err);

/* The tensor of an image kind (enum ruvm_tensor_kind) and layer, and its canonical
 * name "layers.0.wq" in `name` (at least 48 bytes). */
const struct ruvm_view *ruvm_model_tensor(const struct ruvm_model *m, int kind, unsigned layer,
                                          char *name);

#endif
