/* Prune vocab: which pieces of a vocabulary must stay for a given choice of tokens. */
#ifndef RUVM_PRUNE_PRUNE_VOCAB_H
#define RUVM_PRUNE_PRUNE_VOCAB_H

#include "formats/vocab.h"

/* keep: [n_pieces] in: the tokens wanted; out: those and what the tokenizer needs with them.
 * These are BOS, EOS, further ends, the unknown token, the special tokens that a chat template
 * names, a piece for every byte that has one, the space that is put before a text, and every
 * piece that comes up while a kept one is merged from its characters. With them a text that
 * used only wanted tokens is encoded to the very same ones, and any other text is still
 * expressed, by shorter pieces or bytes, if it was before (a character of several bytes needs
 * their byte pieces). RUVM_ERR_MEMORY. */
int ruvm_prune_vocab(bool *keep, const struct ruvm_vocab *v, struct ruvm_arena *work,
                     struct ruvm_error *err);

#endif
