/* Batches: which windows of a text each step of training sees.
 *
 * An epoch shows every window once, in an order of its own that depends on seed and
 * epoch only; the few that do not fill a last batch sit out. So a step's batch is a function
 * of its number, and a run can go on from any step.
 */
#ifndef RUVM_TRAIN_BATCHES_H
#define RUVM_TRAIN_BATCHES_H

#include "lib/convert/text.h"

struct ruvm_batches {
    const struct ruvm_text *text;
    uint64_t seed;
    uint32_t batch;  /* windows in each; at most those of the text */
    uint32_t *order; /* [n_windows] of the epoch */
    uint64_t epoch;  /* that order is of; none yet: UINT64_MAX */
};

/* The text is borrowed. RUVM_ERR_MEMORY, _ARG when it holds nothing. Lives in the arena. */
int ruvm_batches_open(struct ruvm_batches *b, struct ruvm_arena *arena,
                      const struct ruvm_text *text, uint32_t batch, uint64_t seed,
                      struct ruvm_error *err);
/* The b->batch windows of a step, the longest first; valid until the next call. */
const uint32_t *ruvm_batches_step(struct ruvm_batches *b, uint64_t step);
/* Predictions in a window. */
uint32_t ruvm_batches_positions(const struct ruvm_batches *b, uint32_t window);

#endif
