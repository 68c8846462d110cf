/* The likeliest token, of a vocabulary that is large enough to care: the core's sampler looks
 * at one logit after the other, for a chip has few of them and no room. */
#ifndef RUVM_RUN_LIKELIEST_H
#define RUVM_RUN_LIKELIEST_H

#include <stdint.h>

/* The first of the largest; n >= 1. */
uint32_t ruvm_likeliest_find(const int32_t *logits, uint32_t n);

#endif
