/* The float reference: a plain float forward pass, the oracle of every loss we print.
 *
 * A small model is expanded to float once. A large one stays in the file: rows become
 * floats while they are multiplied, and several tokens share them. Every way gives the same
 * bits. No tricks: each line can be checked against the papers (Llama: arXiv 2302.13971,
 * GPT-NeoX: 2204.06745; LayerNorm: 1607.06450, GELU: 1606.08415). Optionally observes what
 * the calibration needs.
 */
#ifndef RUVM_CONVERT_REFERENCE_H
#define RUVM_CONVERT_REFERENCE_H

#include "lib/import/model.h"
#include "lib/ruvm_tool.h"

struct ruvm_pool;
struct ruvm_reference;

enum { RUVM_REFERENCE_BLOCK = 16 }; /* tokens that share the weights */

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

enum ruvm_reference_weights {
    RUVM_REFERENCE_AUTO,     /* in place when the model is large */
    RUVM_REFERENCE_TILED,    /* as floats in memory, four bytes a weight */
    RUVM_REFERENCE_IN_PLACE, /* in the file */
};

struct ruvm_reference_options {
    uint32_t context;     /* positions of a sequence that steps can fill */
    uint32_t n_sequences; /* that steps advance side by side, at most BLOCK; 0: 1 */
    uint32_t window;      /* positions that a window read at once may have; 0: the context */
    enum ruvm_reference_weights weights;
    struct ruvm_pool *pool; /* of threads for a model in place; borrowed; NULL: none */
    /* Steps overwrite the keys and values of this one, where both have the same shape: only
     * one of the two may be stepped from a reset on. NULL: its own */
    const struct ruvm_reference *share;
};

/* Whether a model is too large to be kept as floats. */
bool ruvm_reference_is_large(const struct ruvm_model *m);
/* Bytes of keys and values that steps keep for each position of a sequence. */
size_t ruvm_reference_position_bytes(const struct ruvm_model *m);

/* RUVM_ERR_MEMORY. context: positions at most. Lives in the arena; the model's views are
 * borrowed. */
int ruvm_reference_open(struct ruvm_reference **r, struct ruvm_arena *arena,
                        const struct ruvm_model *m, uint32_t context, struct ruvm_error *err);
int ruvm_reference_open_with(struct ruvm_reference **r, struct ruvm_arena *arena,
                             const struct ruvm_model *m, const struct ruvm_reference_options *o,
                             struct ruvm_error *err);
void ruvm_reference_observe(struct ruvm_reference *r, const struct ruvm_observer *o);
uint32_t ruvm_reference_context(const struct ruvm_reference *r);
uint32_t ruvm_reference_sequences(const struct ruvm_reference *r);
uint32_t ruvm_reference_window(const struct ruvm_reference *r); /* at least the context */

/* Feeds one token at the next position of sequence 0; returns logits [vocab], valid until
 * the next call. */
const float *ruvm_reference_step(struct ruvm_reference *r, uint32_t token);
/* The same of sequences 0 .. n - 1, token i to sequence i; vector i has its logits. */
const float *ruvm_reference_step_each(struct ruvm_reference *r, const uint32_t *tokens, uint32_t n);
/* Floats from one vector of logits to the next. */
size_t ruvm_reference_logits_step(const struct ruvm_reference *r);
void ruvm_reference_reset(struct ruvm_reference *r); /* all sequences back to position 0 */
void ruvm_reference_restart(struct ruvm_reference *r, uint32_t sequence); /* one of them */

/* Who reads a window; any function may be NULL. What is not 0 ends the reading. */
struct ruvm_reference_reader {
    void *user;
    /* Logits of n tokens, of which the first is at that position. */
    int (*logits)(void *user, uint32_t first, uint32_t n, const float *logits, size_t step);
    int (*progress)(void *user, uint32_t done); /* positions' worth of work, 0 .. n */
};

/* Reads n tokens from position 0, layer after layer, so that keys and values of one layer are
 * kept only; sequences of steps do not notice. An observer sees each layer's values in the
 * order of the positions. RUVM_ERR_MEMORY; or what the reader returned. */
int ruvm_reference_read(struct ruvm_reference *r, const uint32_t *tokens, uint32_t n,
                        const struct ruvm_reference_reader *reader, struct ruvm_error *err);

#endif
