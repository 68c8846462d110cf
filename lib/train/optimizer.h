/* Optimizer: Adam (arXiv 1412.6980) over one flat array of parameters.
 *
 *     ruvm_optimizer_open(&o, &arena, n, err);      then fill o.values
 *     ... fill o.gradient, ruvm_optimizer_begin(&o), ruvm_optimizer_move() for each span ...
 *
 * Each span of parameters has its own rate. A step size is positive and is moved in proportion
 * (as if its logarithm were), everything else by addition.
 */
#ifndef RUVM_TRAIN_OPTIMIZER_H
#define RUVM_TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/arena.h"
#include "lib/base/error.h"

struct ruvm_optimizer_span {
    size_t first, n;   /* parameters */
    float rate;        /* a step of Adam is about so long */
    bool proportional; /* the gradient is that by the logarithm */
};

struct ruvm_optimizer {
    size_t n;
    float *values, *gradient;      /* [n] */
    float *mean, *square;          /* [n] running averages of the gradient and of its square */
    double mean_left, square_left; /* what share of them is still the 0 they began with */
};

/* All 0. RUVM_ERR_MEMORY. Lives in the arena. */
int ruvm_optimizer_open(struct ruvm_optimizer *o, struct ruvm_arena *arena, size_t n,
                        struct ruvm_error *err);
/* Once a step, before the spans. */
void ruvm_optimizer_begin(struct ruvm_optimizer *o);
/* Moves one span by share of its rate. Spans may be moved by different threads. */
void ruvm_optimizer_move(const struct ruvm_optimizer *o, const struct ruvm_optimizer_span *span,
                         float share);

#endif
