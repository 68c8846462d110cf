/* The size from which on the graph is faster than the scan. */
#ifndef RUVM_MEASURE_RAG_CROSSOVER_H
#define RUVM_MEASURE_RAG_CROSSOVER_H

#include "lib/ruvm_tool.h"

/* Of sizes [n <= RUVM_BENCH_RAG_POINTS], ascending, their medians fitted so that a larger one is
 * never better for the scan: one disturbed measurement does not decide. 0: the scan is faster at
 * all of them. */
uint32_t ruvm_rag_crossover(const struct ruvm_bench_rag_size *sizes, uint32_t n);

#endif
