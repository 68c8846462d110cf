/* Pool: threads that wait for jobs.
 *
 *     rc = ruvm_pool_open(&pool, n_threads, err);
 *     ruvm_pool_run(pool, job, user, n_jobs);     as often as you like
 *     ruvm_pool_close(pool);
 *
 * A run has n_jobs jobs, taken one after the other by whoever is free. Which thread gets which
 * job is chance: jobs that must give the same result every time write to places of
 * their own. With one thread, or when threads cannot be had, the caller does it all.
 *
 * A run that follows another one within some ten microseconds costs less than one of these, for
 * the threads look out that long before they sleep. A thread that the system does not let run is
 * not waited for unless it has taken a job.
 */
#ifndef RUVM_BASE_POOL_H
#define RUVM_BASE_POOL_H

#include <stdint.h>

#include "lib/base/error.h"

struct ruvm_pool;

/* Processors that this process may use; >= 1. */
uint32_t ruvm_pool_processors(void);
/* n threads, the caller's included; 0: one a processor. RUVM_ERR_MEMORY. */
int ruvm_pool_open(struct ruvm_pool **pool, uint32_t n, struct ruvm_error *err);
/* How many there are; >= 1. */
uint32_t ruvm_pool_threads(const struct ruvm_pool *pool);
/* Calls job(user, i, thread) for each i < n_jobs, thread < ruvm_pool_threads(); returns when all
 * are done. */
void ruvm_pool_run(struct ruvm_pool *pool, void (*job)(void *user, uint32_t i, uint32_t thread),
                   void *user, uint32_t n_jobs);
/* pool may be NULL. */
void ruvm_pool_close(struct ruvm_pool *pool);

#endif
