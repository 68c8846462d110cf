/* Network: a decoder in floats that can be trained: all its values in one array.
 *
 *     struct ruvm_network net, grad;
 *     ruvm_network_open(&net, &arena, &model, err);
 *     ruvm_network_like(&grad, &arena, &net, err);
 *
 * Gradients, and an optimizer's averages, are networks of the same shape: element i of
 * one's values belongs to element i of the other's. pass.h computes with it.
 */
#ifndef RUVM_TRAIN_NETWORK_H
#define RUVM_TRAIN_NETWORK_H

#include "lib/import/model.h"

struct ruvm_network_matrix {
    float *w;            /* [rows, cols], within values */
    float *bias;         /* [rows], within values; NULL: none */
    uint32_t rows, cols; /* outputs, inputs */
    uint8_t kind, layer; /* enum ruvm_tensor_kind; layer 0 for embedding, positions and head */
    bool signs;          /* XNOR: the input is reduced to signs times their mean size */
};

struct ruvm_network {
    /* What it computes, as struct ruvm_model has it. */
    uint32_t vocab, dim, hidden, n_layers, n_heads, n_kv_heads, head_dim, context;
    float norm_eps, rope_theta;
    bool tied;
    uint8_t norm, act, pos; /* enum ruvm_norm, ruvm_act, ruvm_pos */
    bool parallel;
    float score_scale; /* 0: 1 / sqrt(head_dim) */
    uint32_t rotary_dim;
    const float *rope_factors; /* [rotary_dim / 2] or NULL; the model's */
    const uint32_t *windows;   /* [n_layers] positions that a token sees; NULL: all */
    uint32_t biases;           /* a bit for each enum ruvm_bias_kind that the layers have */
    /* Its values: the matrices, then the norms, then the biases. */
    float *values; /* [n_values] */
    size_t n_values;
    /* In the order of an image: embedding; positions, when learned; wq wk wv wo w_up w_gate
     * (where gated) w_down of each layer; the head unless tied. */
    uint32_t n_matrices;
    struct ruvm_network_matrix *matrices; /* [n_matrices] */
    float *norms; /* [2 * n_layers + 1, dim]: attention and feed-forward of each layer, final */
    float *bias;  /* of each layer in the order of the kinds; last that of the final norm */
};

/* Index of a matrix; the head's is the embedding's when tied. */
uint32_t ruvm_network_index(const struct ruvm_network *net, int kind, uint32_t layer);
/* A bias of a kind (enum ruvm_bias_kind), and its length; NULL: the network has none. layer is
 * 0 for that of the final norm. */
float *ruvm_network_bias(const struct ruvm_network *net, int kind, uint32_t layer);
uint32_t ruvm_network_bias_length(const struct ruvm_network *net, int kind);
/* Radians that pair i < rotary_dim / 2 turns each position. */
double ruvm_network_turn(const struct ruvm_network *net, uint32_t i);

/* The values of a model; a bias that only some layers have is 0 in the others.
 * RUVM_ERR_MEMORY. Lives in the arena, and as long as the model. */
int ruvm_network_open(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_model *m, struct ruvm_error *err);
/* The same shape, all values 0. */
int ruvm_network_like(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_network *shape, struct ruvm_error *err);
/* Any shape: the numbers of *net before `values` are given, the rest is made; values 0. For
 * a model with parts cut away. */
int ruvm_network_empty(struct ruvm_network *net, struct ruvm_arena *arena, struct ruvm_error *err);

#endif
