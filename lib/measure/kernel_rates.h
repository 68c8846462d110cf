/* Rates of each kernel of each table, against the machine's own roofs. */
#ifndef RUVM_MEASURE_KERNEL_RATES_H
#define RUVM_MEASURE_KERNEL_RATES_H

#include "lib/ruvm_tool.h"

/* Every table of this machine times every kernel and shape of kernel_calls.h. Fills roofs
 * and the list of r, which is the caller's to free, NULL after a failure. RUVM_ERR_MEMORY,
 * _IO "interrupted". */
int ruvm_kernel_rates_measure(struct ruvm_bench_result *r, const struct ruvm_bench_options *o,
                              struct ruvm_error *err);

#endif
