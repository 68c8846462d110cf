/* Truth: the nearest vectors by floats, and how many of them the codes find. */
#ifndef RUVM_MEASURE_RAG_TRUTH_H
#define RUVM_MEASURE_RAG_TRUTH_H

#include "lib/measure/rag_subject.h"
#include "lib/vector/search.h"

/* What ranks x[dims] by its distance from q: the smaller the nearer. metric is one of enum
 * ruvm_metric; hyperbolic points as in lib/bundle/codes.h. */
double ruvm_rag_truth_rank(unsigned metric, const float *q, const float *x, uint32_t dims);

/* Of the k nearest vectors of each of the first n_queries queries, the share that is among
 * hits[n_queries, k], n_hits of each; equally near ones count as well. Negative without
 * memory. */
double ruvm_rag_truth_recall(const struct ruvm_rag_subject *s, uint32_t n_queries,
                             const struct ruvm_hit *hits, uint32_t k);

#endif
