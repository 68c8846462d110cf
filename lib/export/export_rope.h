/* RoPE of an image as floats: which base its phase increments were made of. */
#ifndef RUVM_EXPORT_EXPORT_ROPE_H
#define RUVM_EXPORT_EXPORT_ROPE_H

#include <stdbool.h>
#include <stdint.h>

/* Finds the base, as round a number as gives all n / 2 increments exactly, and by which factors
 * [n / 2] pairs turn slower. true: they do; factors are all equal when one does for all. */
bool ruvm_export_rope(float *theta, float *factors, const uint32_t *increments, uint32_t n);

#endif
