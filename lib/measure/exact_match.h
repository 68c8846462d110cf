/* Exact match: the share of questions that a model answers to the letter. */
#ifndef RUVM_MEASURE_EXACT_MATCH_H
#define RUVM_MEASURE_EXACT_MATCH_H

#include "lib/ruvm_tool.h"

struct ruvm_exact_match {
    uint32_t n_questions, n_exact;
};

/* path: lines of JSON, each an object with the texts "prompt" and "answer"; other keys and
 * empty lines are ignored. An answer is greedy, goes on until the text ends or the context is
 * full, and counts when its bytes are the expected ones, white space at the end of either
 * left out. The session's sampler must be greedy. RUVM_ERR_IO, _CORRUPT and _FULL with the
 * line, _UNSUPPORTED without a tokenizer. */
int ruvm_exact_match_measure(struct ruvm_exact_match *m, struct ruvm_session *s, const char *path,
                             const struct ruvm_progress *progress, struct ruvm_error *err);

#endif
