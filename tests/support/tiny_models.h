/* The six networks with random weights, as directories in the names, orders and orientations
 * of each container: one network, whatever it is stored in. */
#ifndef TESTS_SUPPORT_TINY_MODELS_H
#define TESTS_SUPPORT_TINY_MODELS_H

#include "formats/tensors.h"

enum tiny_network {
    TINY_LLAMA,
    TINY_MISTRAL,
    TINY_QWEN2,
    TINY_GPT2,
    TINY_GPT_NEO,
    TINY_GPT_NEOX,
    TINY_NETWORKS,
};

/* RUVM: as the float model has them. Hugging Face: with prefix, RoPE in halves, fused and
 * turned as the network's own code does. GGUF: q, k and v concatenated where it does, Llama's
 * pairs put next to each other. */
enum tiny_dialect { TINY_RUVM, TINY_HUGGING_FACE, TINY_GGUF, TINY_DIALECTS };

enum {
    TINY_DIM = 24,
    TINY_HIDDEN = 40,
    TINY_LAYERS = 3,
    TINY_VOCAB = 50,
    TINY_CONTEXT = 40,
    TINY_WINDOW = 7, /* of Mistral, and of GPT-Neo's layer 1 */
};

const char *tiny_network_name(int n); /* "gpt_neox" */
/* The config.json that a Hugging Face directory of it has. */
const char *tiny_network_config(int n);

/* n: enum tiny_network, d: enum tiny_dialect. Everything lives in the arena. */
struct ruvm_tensors tiny_models_make(struct ruvm_arena *arena, int n, int d, uint64_t seed);

/* Sets a number of the metadata. */
void tiny_models_set(struct ruvm_tensors *t, struct ruvm_arena *arena, const char *key,
                     double number);
/* The tensor of that name, to change it; asserts that it is there. */
struct ruvm_view *tiny_models_view(struct ruvm_tensors *t, const char *name);

#endif
