/* Random vocabularies of every kind, and tokenizers of them. */
#ifndef TESTS_PRUNE_RANDOM_VOCAB_H
#define TESTS_PRUNE_RANDOM_VOCAB_H

#include "formats/vocab.h"
#include "lib/base/buffer.h"
#include "lib/ruvm.h"

enum { RANDOM_VOCAB_PIECES = 128, RANDOM_VOCAB_TEXT = 80 };

/* A tokenizer of a vocabulary, without an image; ruvm_buffer_free(&e.section). */
struct random_vocab_encoder {
    struct ruvm_buffer section;
    struct ruvm_tokenizer t;
};

struct random_vocab_encoder random_vocab_encoder(const struct ruvm_vocab *v);

/* A text of so many letters, up to 40 of them in RANDOM_VOCAB_TEXT bytes; returns its bytes. */
size_t random_vocab_text(char *out, uint64_t *rng, size_t n_letters);

/* Specials, bytes (some written as text), letters, and pieces that are joined from others or
 * from nothing that is there; some twice, some with equal scores. */
struct ruvm_vocab random_vocab(struct ruvm_arena *arena, uint64_t *rng);

#endif
