/* The oracle of the training tests: the same network in doubles, written for reading, one
 * token at a time, sharing no code with lib/train. */
#ifndef TESTS_TRAIN_PLAIN_NETWORK_H
#define TESTS_TRAIN_PLAIN_NETWORK_H

#include "lib/train/network.h"
#include "tests/support/tiny_models.h"

/* A network from tiny_checkpoint(); lives in the arena. */
struct tiny_shape;
void plain_open(struct ruvm_network *net, struct ruvm_model *m, struct ruvm_arena *arena,
                const struct tiny_shape *shape);

/* The same of the six networks (with linear RoPE scaling in Mistral, ReLU in GPT-2). */
void plain_open_tiny(struct ruvm_network *net, struct ruvm_model *m, struct ruvm_arena *arena,
                     int n);

/* logits [n, vocab]. values: [net->n_values], used instead of net->values. */
void plain_forward(double *logits, const struct ruvm_network *net, const double *values,
                   const uint32_t *tokens, uint32_t n);

/* Tokens that a test feeds: n random ones. */
void plain_tokens(uint32_t *tokens, uint32_t n, uint32_t vocab, uint64_t seed);

#endif
