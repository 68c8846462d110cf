/* The tokenizer of an image as a vocabulary again: the inverse of tokenizer_build.h. */
#ifndef RUVM_EXPORT_EXPORT_TOKN_H
#define RUVM_EXPORT_EXPORT_TOKN_H

#include "formats/vocab.h"

/* section: one that was checked, in place; texts stay there. What is built of the result is the
 * section again. RUVM_ERR_MEMORY. */
int ruvm_export_tokn(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *section,
                     struct ruvm_error *err);

#endif
