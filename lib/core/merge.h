/* Merges neighbours until none is left that may be. */
#ifndef RUVM_CORE_MERGE_H
#define RUVM_CORE_MERGE_H

#include "lib/core/pieces.h"

/* In place; returns how many ids are left. */
size_t ruvm_merge_all(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n);

#endif
