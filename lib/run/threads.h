/* The threads of a session: how many help, found by measurement when a model is opened, and
 * whether they still do while it runs.
 *
 *     rc = ruvm_threads_open(&threads, asked, weight_bytes, err);
 *     ... engine options .parallel = &threads.parallel ...
 *     ruvm_threads_choose(&threads, engine);
 *     ruvm_threads_close(&threads);
 */
#ifndef RUVM_RUN_THREADS_H
#define RUVM_RUN_THREADS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/ruvm.h"

struct ruvm_error;
struct ruvm_pool;

struct ruvm_threads {
    struct ruvm_parallel parallel; /* n_parts 1: one thread, and nothing else is set */
    struct ruvm_pool *pool;        /* owned */
    uint32_t asked;                /* 0: as many as help */
    struct {
        double gain_s;           /* what sharing has saved lately, or lost */
        double until_s, pause_s; /* none is shared until then; how long that was */
        double own_s;            /* of the run at hand: the caller's parts, and how many */
        uint32_t n_own;
    } pace;
    void (*part)(void *job, uint32_t i, uint32_t n_parts); /* of the run at hand */
    void *job;
};

/* asked: 0, or how many. A model of few bytes of weights is not worth trying, nor is a
 * machine of one processor. RUVM_ERR_ARG: more than RUVM_MAX_PARTS. _MEMORY. */
int ruvm_threads_open(struct ruvm_threads *t, uint32_t asked, size_t weight_bytes,
                      struct ruvm_error *err);
/* Multiplies some layers of the engine's model with fewer and with more threads for a few
 * milliseconds, and sets how many share the work from now on, and which work. The engine
 * computes nothing meanwhile; what it knows stays. */
void ruvm_threads_choose(struct ruvm_threads *t, struct ruvm_engine *e);
void ruvm_threads_close(struct ruvm_threads *t);

#endif
