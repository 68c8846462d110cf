/* Builds the `gold` section: a prompt, the image's own greedy tokens, a CRC of their logits. */
#ifndef RUVM_CONVERT_GOLDEN_H
#define RUVM_CONVERT_GOLDEN_H

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/ruvm.h"

enum { RUVM_GOLDEN_TOKENS = 32 }; /* fewer when the context is short */

/* Appends the section to out. image: a whole image, with or without golden vectors. With
 * `run` false only its size is right: for a look at how large an image will be.
 * *n_tokens receives the number of greedy tokens. */
int ruvm_golden_build(struct ruvm_buffer *out, const void *image, size_t image_bytes, bool run,
                      uint32_t *n_tokens, struct ruvm_error *err);

#endif
