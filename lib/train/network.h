/* Network: a Llama in floats that can be trained: all its values in one array.
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

#include "lib/convert/model.h"

struct ruvm_network_matrix {
    float *w;            /* [rows, cols], within values */
    uint32_t rows, cols; /* outputs, inputs */
    uint8_t kind, layer; /* enum ruvm_tensor_kind; layer 0 for embedding and head */
    bool signs;          /* XNOR: the input is reduced to signs times their mean size */
};

struct ruvm_network {
    uint32_t vocab, dim, hidden, n_layers, n_heads, n_kv_heads, head_dim, context;
    float norm_eps, rope_theta;
    bool tied;
    float *values; /* [n_values]: the matrices, then the norms */
    size_t n_values;
    /* In the order of an image: embedding; wq wk wv wo w_up w_gate w_down of each layer;
     * the head unless tied. */
    uint32_t n_matrices;
    struct ruvm_network_matrix *matrices; /* [n_matrices] */
    float *norms; /* [2 * n_layers + 1, dim]: attention and feed-forward of each layer, final */
};

/* Index of a matrix; the head's is the embedding's when tied. */
uint32_t ruvm_network_index(const struct ruvm_network *net, int kind, uint32_t layer);

/* Whether the model is one that can be trained: a Llama, for now. */
bool ruvm_network_knows(const struct ruvm_model *m);
/* RUVM_ERR_UNSUPPORTED when it is not, and what else to do. */
int ruvm_network_check(const struct ruvm_model *m, struct ruvm_error *err);

/* The values of a model. RUVM_ERR_UNSUPPORTED when it is not known, _MEMORY. Lives in the
 * arena. */
int ruvm_network_open(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_model *m, struct ruvm_error *err);
/* The same shape, all values 0. */
int ruvm_network_like(struct ruvm_network *net, struct ruvm_arena *arena,
                      const struct ruvm_network *shape, struct ruvm_error *err);
/* Any shape: the numbers of *net before `values` are given, the rest is made; values 0. For
 * a model with parts cut away. */
int ruvm_network_empty(struct ruvm_network *net, struct ruvm_arena *arena, struct ruvm_error *err);

#endif
