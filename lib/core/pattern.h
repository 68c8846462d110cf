/* Cuts a text into the words that merges stay within. */
#ifndef RUVM_CORE_PATTERN_H
#define RUVM_CORE_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the first word of n > 0 bytes; at least 1. pattern: as in the image. Of
 * RUVM_PATTERN_SPACES nothing is known here. */
size_t ruvm_pattern_word(unsigned pattern, const uint8_t *text, size_t n);

#endif
