/* The same roofs with all threads at once: what a model may hope for from more of them. They
 * share the largest cache, memory and the clock whatever a program does.
 *
 *     rc = ruvm_roofs_threads_open(&t, &m, n_threads, repetitions, err);
 *     ruvm_roofs_threads_measure(&t, n);
 *     ruvm_roofs_threads_report(&t, &roofs, repetitions);
 *     ruvm_roofs_threads_close(&t);
 */
#ifndef RUVM_MEASURE_ROOFS_THREADS_H
#define RUVM_MEASURE_ROOFS_THREADS_H

#include "lib/measure/roofs.h"

struct ruvm_pool;

struct ruvm_roofs_threads {
    const struct ruvm_roofs *one; /* opened; whose memory and loops they use */
    struct ruvm_pool *pool;       /* owned; NULL: one thread, and nothing is measured */
    uint32_t n;
    struct ruvm_roofs_thread *threads;    /* [n] owned */
    double *values;                       /* owned */
    double *rates[RUVM_ROOFS_LEVELS + 1]; /* [repetitions] a second: bytes, then products */
};

/* n_threads: 0 for as many as there are processors. RUVM_ERR_MEMORY. */
int ruvm_roofs_threads_open(struct ruvm_roofs_threads *t, const struct ruvm_roofs *one,
                            uint32_t n_threads, uint32_t repetitions, struct ruvm_error *err);
void ruvm_roofs_threads_measure(struct ruvm_roofs_threads *t, uint32_t repetition);
/* Into the roofs that ruvm_roofs_report() filled. */
void ruvm_roofs_threads_report(const struct ruvm_roofs_threads *t, struct ruvm_bench_roofs *roofs,
                               uint32_t repetitions);
void ruvm_roofs_threads_close(struct ruvm_roofs_threads *t);

#endif
