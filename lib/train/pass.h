/* Pass: one sequence through a network, forward and back.
 *
 *     ruvm_pass_open(&pass, &arena, &net, net.context, err);
 *     float *logits = ruvm_pass_forward(pass, &net, tokens, n, NULL);
 *     ... turn logits into the derivative of a loss by them ...
 *     ruvm_pass_backward(pass, &net, &grad, NULL);
 *
 * A pass is the memory of what the way back needs; a thread has its own. It borrows the
 * network during a call only, so many passes may share one. What is computed is what
 * lib/convert/reference.h computes of the same model.
 */
#ifndef RUVM_TRAIN_PASS_H
#define RUVM_TRAIN_PASS_H

#include "lib/train/network.h"

struct ruvm_pass;

/* Sees what goes into each matrix; any function may be NULL. `matrix` is an index of
 * net->matrices; for a tied network the use as a head is 0 (looking a token or a position up
 * is no product; backward() sees it apart). x is what the matrix multiplies: signs times their mean
 * for one with `signs`. Called by the thread that runs the pass. */
struct ruvm_network_observer {
    void *user;
    /* x [n, cols] */
    void (*forward)(void *user, uint32_t matrix, const float *x, uint32_t n);
    /* x [n, cols], dy [n, rows] the derivative by the product; last of all for the embedding,
     * and the positions when learned, with x NULL and dy [n, dim] the derivative by what was
     * looked up */
    void (*backward)(void *user, uint32_t matrix, const float *x, const float *dy, uint32_t n);
};

/* For networks of the shape of net (values and `signs` may differ) and sequences of at most
 * max_tokens, which are no more than the context where positions are learned.
 * RUVM_ERR_MEMORY. Lives in the arena. */
int ruvm_pass_open(struct ruvm_pass **pass, struct ruvm_arena *arena,
                   const struct ruvm_network *net, uint32_t max_tokens, struct ruvm_error *err);

/* Logits [n, vocab] after each of n tokens from position 0 on, 1 <= n <= max_tokens, each
 * < vocab. They belong to the pass, and the caller may change them. o may be NULL. */
float *ruvm_pass_forward(struct ruvm_pass *pass, const struct ruvm_network *net,
                         const uint32_t *tokens, uint32_t n, const struct ruvm_network_observer *o);

/* Once after a forward with the same net and tokens still in place: its logits now hold
 * the derivative of the loss by them. Adds to grad; NULL: only the observer is told. */
void ruvm_pass_backward(struct ruvm_pass *pass, const struct ruvm_network *net,
                        struct ruvm_network *grad, const struct ruvm_network_observer *o);

/* The input of the head [n, dim] in the last forward: with it ruvm_pass_head() gives the
 * same logits again, without all that comes before. */
const float *ruvm_pass_hidden(const struct ruvm_pass *pass);
float *ruvm_pass_head(struct ruvm_pass *pass, const struct ruvm_network *net, const float *hidden,
                      uint32_t n);

#endif
