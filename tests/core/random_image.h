/* Random RUVM images of any shape, for tests of the engine: no importer, no
 * quantizer, only the writer. Weights, gains and scales are plausible, so that
 * attention and gates work in their interesting ranges. */
#ifndef TESTS_CORE_RANDOM_IMAGE_H
#define TESTS_CORE_RANDOM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random_shape {
    uint16_t vocab, dim, hidden, context, head_dim;
    uint16_t rope_dims; /* 0: all of head_dim */
    uint8_t layers, heads, kv_heads;
    bool tied;
    uint8_t k_bits, v_bits; /* 0: 8 */
    /* the network; zeros are that of Llama */
    uint8_t norm, act, pos;
    bool parallel;
    uint16_t window;
    const char *local; /* a '1' for each layer with the window, a '0' for the others; or NULL */
    uint32_t score;    /* mantissa and exponent as in ARCH */
    int8_t score_exp;
    uint16_t biases; /* kinds as in BIAS */
    uint64_t seed;
    const uint8_t *types; /* type bytes as in TENS: tensor i has number i % n_types; or NULL */
    size_t n_types;
    const char *const *pieces; /* tokenizer: pieces 3.. in order of rank, or NULL for none */
    size_t n_pieces;
};

/* The image, 64-byte aligned; free() it. *bytes receives its size. */
uint8_t *random_image(const struct random_shape *shape, size_t *bytes);

/* splitmix64, for tests that need more numbers. */
uint64_t random_next(uint64_t *state);

#endif
