/* Turns of a conversation as tokens, in the form that a model was trained with. */
#ifndef RUVM_RUN_CHAT_H
#define RUVM_RUN_CHAT_H

#include "lib/ruvm_tool.h"

struct ruvm_chat_turn {
    const void *message; /* any bytes: special tokens in it are plain text */
    size_t n_bytes;
    const char *system; /* what the model is told first, or NULL; counts in the first turn */
    bool first;
};

/* *ids is malloc'ed, also after a failure it can be freed. RUVM_ERR_UNSUPPORTED: there is no
 * template, or not a common one. */
int ruvm_chat_encode(uint16_t **ids, size_t *n_ids, const struct ruvm_tokenizer *t,
                     const struct ruvm_chat_turn *turn, struct ruvm_error *err);

#endif
