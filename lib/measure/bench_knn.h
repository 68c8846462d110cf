/* What neighbours in a blob do to a model's perplexity. */
#ifndef RUVM_MEASURE_BENCH_KNN_H
#define RUVM_MEASURE_BENCH_KNN_H

#include "lib/convert/text.h"
#include "lib/ruvm_tool.h"

/* Perplexity of the text with the blob of o->knn and without it, at the same positions of one
 * pass: fills the result's. */
int ruvm_bench_knn(struct ruvm_bench_result *r, struct ruvm_session *s,
                   const struct ruvm_bench_options *o, const struct ruvm_text *text,
                   struct ruvm_error *err);

#endif
