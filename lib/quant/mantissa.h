/* Mantissa: a real scale as the image stores it, 16 bits times a power of two.
 *
 *     exp = ruvm_mantissa_exponent(largest);
 *     m = ruvm_mantissa_round(value, exp);       value is about m * 2^exp
 *
 * The exponent is chosen once for a group of scales, from the largest of them.
 */
#ifndef RUVM_QUANT_MANTISSA_H
#define RUVM_QUANT_MANTISSA_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the image has a scale of this size. */
bool ruvm_mantissa_fits(double largest);
/* Such that the largest of a group has a mantissa in (32767, 65535]; within the image's
 * limits of exponents. */
int ruvm_mantissa_exponent(double largest);
/* value / 2^exp rounded, 0 only for 0, at most 65535. */
uint16_t ruvm_mantissa_round(double value, int exp);

#endif
