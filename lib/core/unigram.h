/* Chooses the pieces of a text that together are the likeliest. */
#ifndef RUVM_CORE_UNIGRAM_H
#define RUVM_CORE_UNIGRAM_H

#include "lib/core/pieces.h"

/* Appends the ids of the text behind the n_ids that stand in ids; room for one a byte, and
 * for the prefix. Returns how many ids there are now, or RUVM_ERR_UNSUPPORTED. */
int ruvm_unigram_encode(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                        struct ruvm_cursor text);

#endif
