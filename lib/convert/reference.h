/* The float reference: a plain float forward pass, the oracle of every loss we print.
 *
 * Weights are expanded to float once, so this is for models that fit in memory
 * four bytes a weight. Single sequence, any position, no tricks: each line can be
 * checked against the papers (Llama: arXiv 2302.13971, GPT-NeoX: 2204.06745; LayerNorm:
 * 1607.06450, GELU: 1606.08415). Optionally observes what the calibration needs.
 */
#ifndef RUVM_CONVERT_REFERENCE_H
#define RUVM_CONVERT_REFERENCE_H

#include "lib/convert/model.h"

struct ruvm_reference;

/* Sees intermediate values; any member may be NULL. layer < n_layers. */
struct ruvm_observer {
    void *user;
    void (*kv)(void *user, unsigned layer, const float *k,
               const float *v);                   /* [kv_dim], k rotated */
    void (*residual)(void *user, const float *h); /* [dim]: embedded, after each half */
    /* The vector x that the matrices of this kind are about to multiply. WQ: once for wq, wk
     * and wv, [dim]; WO: the mixed heads, [n_heads * head_dim]; W_UP: once for up and gate,
     * [dim]; W_DOWN: the gated or activated units, [hidden]; HEAD: the normed residual, [dim],
     * layer 0. */
    void (*input)(void *user, int kind, unsigned layer, const float *x);
};

/* RUVM_ERR_MEMORY. context: positions at most. Lives in the arena. */
int ruvm_reference_open(struct ruvm_reference **r, struct ruvm_arena *arena,
                        const struct ruvm_model *m, uint32_t context, struct ruvm_error *err);
void ruvm_reference_observe(struct ruvm_reference *r, const struct ruvm_observer *o);
/* Feeds one token at the next position; returns logits [vocab], valid until the next call. */
const float *ruvm_reference_step(struct ruvm_reference *r, uint32_t token);
void ruvm_reference_reset(struct ruvm_reference *r); /* back to position 0 */
uint32_t ruvm_reference_position(const struct ruvm_reference *r);

#endif
