/* The network of a RUVM image in doubles, straight from the sentences of ruvm-image(5):
 * what the engine's integers must come close to. It shares no line with the engine. */
#ifndef TESTS_CORE_PLAIN_MODEL_H
#define TESTS_CORE_PLAIN_MODEL_H

#include "formats/ruvm_read.h"

/* The logits after each of n tokens, [n, vocab]; free() them. */
double *plain_logits(const struct ruvm_image *img, const uint16_t *tokens, uint32_t n);

#endif
