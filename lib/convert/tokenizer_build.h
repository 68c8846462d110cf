/* Builds the `tokn` section: a vocabulary as the engine searches it. */
#ifndef RUVM_CONVERT_TOKENIZER_BUILD_H
#define RUVM_CONVERT_TOKENIZER_BUILD_H

#include "formats/vocab.h"
#include "lib/base/buffer.h"

/* Appends the section's bytes to out. RUVM_ERR_UNSUPPORTED when the vocabulary exceeds the
 * image's limits, RUVM_ERR_MEMORY. */
int ruvm_tokenizer_build(struct ruvm_buffer *out, const struct ruvm_vocab *vocab,
                         struct ruvm_error *err);

#endif
