/* Spread: repeated measurements in five numbers. */
#ifndef RUVM_MEASURE_SPREAD_H
#define RUVM_MEASURE_SPREAD_H

#include "lib/ruvm_tool.h"

/* values[n] is sorted in place. The median of an even number is the mean of the middle two. */
struct ruvm_spread ruvm_spread_of(double *values, uint32_t n);
/* The same in another unit. */
struct ruvm_spread ruvm_spread_scaled(struct ruvm_spread s, double factor);

#endif
