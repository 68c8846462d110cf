/* A part of a vocabulary: some of its pieces, under new ids in their old order.
 *
 *     bool *keep = ...;
 *     rc = ruvm_vocab_part_of_text(keep, &vocab, text, n_bytes, &work, err);
 *     if (rc == RUVM_OK)
 *         rc = ruvm_vocab_part_take(&part, &arena, &vocab, keep, err);
 *     ... encode with part.vocab: id i is the source's part.old[i] ...
 *
 * A tokenizer of an image has 16 bits for an id. A source that needs more is read through
 * parts, each with what the text at hand can need.
 */
#ifndef RUVM_PRUNE_VOCAB_PART_H
#define RUVM_PRUNE_VOCAB_PART_H

#include "formats/vocab.h"

struct ruvm_vocab_part {
    struct ruvm_vocab vocab;
    uint32_t *old; /* [vocab.n_pieces] the id that each new one had */
    uint32_t *now; /* [n_pieces before] the new id, or RUVM_VOCAB_NONE */
};

/* The pieces kept, the merges whose three pieces are kept; BOS, EOS, unknown and ends follow.
 * keep: [v->n_pieces]. Lives in the arena. RUVM_ERR_MEMORY. */
int ruvm_vocab_part_take(struct ruvm_vocab_part *part, struct ruvm_arena *arena,
                         const struct ruvm_vocab *v, const bool *keep, struct ruvm_error *err);

/* Sets keep for every piece that the encoder can meet in this text, and for what it needs
 * beside: a text is encoded to the very same tokens with these alone. RUVM_ERR_MEMORY. */
int ruvm_vocab_part_of_text(bool *keep, const struct ruvm_vocab *v, const char *text, size_t n,
                            struct ruvm_arena *work, struct ruvm_error *err);

#endif
