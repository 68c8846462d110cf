/* The float model: a foreign directory with its meaning settled.
 *
 * What model.c decides once, nobody asks again: which tensor is which, rows are
 * outputs, RoPE pairs are (2i, 2i+1), query, key and value stand alone, the head is tied or
 * not, shapes agree. Numbers that are 0 or NULL are those of a Llama.
 */
#ifndef RUVM_IMPORT_MODEL_H
#define RUVM_IMPORT_MODEL_H

#include "formats/ruvm_layout.h" /* enum ruvm_norm, ruvm_act, ruvm_bias_kind */
#include "formats/tensors.h"
#include "formats/vocab.h"

struct ruvm_layer {
    const struct ruvm_view *attn_norm, *ffn_norm; /* [dim] */
    const struct ruvm_view *wq;                   /* [n_heads * head_dim, dim] */
    const struct ruvm_view *wk, *wv;              /* [n_kv_heads * head_dim, dim] */
    const struct ruvm_view *wo;                   /* [dim, n_heads * head_dim] */
    const struct ruvm_view *w_up, *w_gate;        /* [hidden, dim]; w_gate NULL: not gated */
    const struct ruvm_view *w_down;               /* [dim, hidden] */
    /* enum ruvm_bias_kind: [rows] of a matrix, [dim] of a norm; NULL: none */
    const struct ruvm_view *bias[RUVM_BIAS_FINAL_NORM];
    bool windowed; /* a token sees model.window positions, itself included */
};

struct ruvm_model {
    uint32_t vocab, dim, hidden, n_layers, n_heads, n_kv_heads, head_dim, context;
    float norm_eps, rope_theta;
    bool tied;
    uint8_t norm, act, pos; /* enum ruvm_norm, ruvm_act, ruvm_pos */
    bool parallel;          /* attention and feed-forward read the same residual */
    uint32_t window;        /* of the layers that have one */
    float score_scale;      /* 0: 1 / sqrt(head_dim) */
    uint32_t rotary_dim;    /* leading dimensions of a head that turn; 0: positions are learned */
    const float *rope_factors; /* [rotary_dim / 2] each pair turns so many times slower, or NULL */
    const struct ruvm_view *embed;      /* [vocab, dim] */
    struct ruvm_view positions;         /* [context, dim] when learned; data NULL: RoPE */
    const struct ruvm_view *head;       /* [vocab, dim]; embed when tied */
    const struct ruvm_view *final_norm; /* [dim] */
    const struct ruvm_view *final_bias; /* [dim] or NULL */
    struct ruvm_layer *layers;          /* [n_layers] */
};

/* Gives meaning to a directory. Every problem (missing tensors, shapes that
 * disagree, limits of the image) is listed in one message. RUVM_ERR_UNSUPPORTED,
 * _MISMATCH, _MEMORY. Views are those of the directory, or of the arena in another order.
 *
 * Metadata: numbers vocab_size dim hidden_dim max_seq_len n_layers n_heads n_kv_heads
 * norm_eps; and, where they are not as in Llama: architecture (text) head_dim tied
 * rope_theta norm_kind activation positions rotary_dim rope_halves parallel window
 * local_layers (text) score_scale rope_scaling (text) rope_factor rope_low_freq
 * rope_high_freq rope_original_context rope_beta_fast rope_beta_slow rope_attention
 * rope_whole. */
int ruvm_model_from_tensors(struct ruvm_model *m, struct ruvm_arena *arena,
                            const struct ruvm_tensors *t, struct ruvm_error *err);

/* Uses fewer positions than the model was made for; context <= m->context. */
void ruvm_model_cut_context(struct ruvm_model *m, uint32_t context);

/* RUVM_ERR_MISMATCH with both numbers when vocabulary and embedding rows disagree. */
int ruvm_model_check_vocab(const struct ruvm_model *m, const struct ruvm_vocab *v,
                           struct ruvm_error *err);

/* Radians that pair i turns each position; i < rotary_dim / 2. */
double ruvm_model_turn(const struct ruvm_model *m, uint32_t i);
/* The positions that a token sees in a layer: the context unless it has a smaller window. */
uint32_t ruvm_model_window(const struct ruvm_model *m, uint32_t layer);
/* What scores are multiplied with. */
float ruvm_model_score_scale(const struct ruvm_model *m);
/* Numbers that training chose, in all matrices, norms and biases. */
uint64_t ruvm_model_parameters(const struct ruvm_model *m);

/* Where the model keeps the view of a matrix, for who makes one; not for POSITION. */
const struct ruvm_view **ruvm_model_place(struct ruvm_model *m, int kind, unsigned layer);

/* Bits 1 << enum ruvm_bias_kind of the biases that any layer has. */
unsigned ruvm_model_bias_kinds(const struct ruvm_model *m);

/* The tensor of an image kind (enum ruvm_tensor_kind) and layer, and its canonical
 * name "layers.0.wq" in `name` (at least 48 bytes). NULL: the network has none. */
const struct ruvm_view *ruvm_model_tensor(const struct ruvm_model *m, int kind, unsigned layer,
                                          char *name);

#endif
