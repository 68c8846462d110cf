/* The state of the float reference: shared by its opening and its passes. */
#ifndef RUVM_CONVERT_REFERENCE_STATE_H
#define RUVM_CONVERT_REFERENCE_STATE_H

#include "lib/convert/linear.h"
#include "lib/convert/reference.h"

struct ruvm_reference_norm {
    float *gain, *bias; /* [dim]; bias may be NULL */
};

struct ruvm_reference_layer {
    struct ruvm_reference_norm attn_norm, ffn_norm;
    struct ruvm_linear wq, wk, wv, wo, w_up, w_gate, w_down;
};

/* Keys and values of one layer. They have the shape of the matrices: scores are a matrix
 * (positions x head_dim) times the query, the mix of values a matrix (head_dim x positions)
 * times the weights. */
struct ruvm_reference_cache {
    float *keys;      /* [n_kv_heads] matrices of context x head_dim */
    float *values;    /* [n_kv_heads] matrices of head_dim x context */
    uint32_t context; /* positions there is room for */
};

/* One token of a block. */
struct ruvm_reference_item {
    uint32_t position;
    struct ruvm_reference_cache cache; /* of the layer being computed */
};

struct ruvm_reference {
    struct ruvm_model m;
    struct ruvm_observer observer;
    uint32_t context, n_sequences, farthest; /* farthest: positions of any window */
    uint32_t q_dim, kv_dim;
    struct ruvm_linear embed, head;
    struct ruvm_linear_work work;
    float *positions; /* [farthest, dim] or NULL */
    struct ruvm_reference_norm final_norm;
    struct ruvm_reference_layer *layers; /* [n_layers] */
    float *turns;                        /* [farthest, rotary_dim]: cosine and sine of each pair */
    struct ruvm_reference_cache *caches; /* [n_sequences, n_layers] */
    uint32_t *position;                  /* [n_sequences] */

    /* A block of n tokens, each vector padded to whole tiles. */
    struct ruvm_reference_item items[RUVM_REFERENCE_BLOCK];
    uint32_t n;
    struct ruvm_floats_vectors h, x, y, q, k, v, mixed, up, gate, logits;
    float *scores; /* [context] */
};

/* Embeds a token at a position: h [dim]. */
void ruvm_reference_embed(struct ruvm_reference *r, float *h, uint32_t token, uint32_t position);
/* Adds a layer to r->h of the block's items, whose caches are those of this layer. */
void ruvm_reference_layer(struct ruvm_reference *r, uint32_t layer);
/* Predictions of the block into r->logits. */
void ruvm_reference_predict(struct ruvm_reference *r);

#endif
