/* Rates of each kernel table: the multiplications alone. */
#ifndef RUVM_MEASURE_KERNEL_RATES_H
#define RUVM_MEASURE_KERNEL_RATES_H

#include "lib/ruvm_tool.h"

/* Every table of this machine times every shape, as decoding needs them: one vector, the
 * same matrix again and again. Its rows * cols bytes are read from the nearest cache that
 * holds them: the shapes go from 4 KB (L1) to 1.5 MB (L2 or L3). *list is the caller's to
 * free, NULL after a failure. RUVM_ERR_MEMORY, _IO "interrupted". */
int ruvm_kernel_rates_measure(struct ruvm_bench_kernel **list, uint32_t *n,
                              const struct ruvm_bench_options *o, struct ruvm_error *err);

#endif
