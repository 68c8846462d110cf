/* Threads that sleep on one condition until there is a run, and take jobs from a counter.
 *
 * A run ends when its jobs are done, whether or not every thread has woken up by then: on a
 * busy machine that takes longer than many a run, and a model is thousands of them.
 */
#define _POSIX_C_SOURCE 200809L
#include "lib/train/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_THREADS = 256, STACK_BYTES = 1 << 20 };

struct worker {
    struct ruvm_pool *pool;
    pthread_t thread;
    uint32_t index;
};

struct ruvm_pool {
    pthread_mutex_t lock;
    pthread_cond_t start, finish;
    struct worker *workers; /* [n_workers]; the caller is none of them */
    uint32_t n_workers;
    uint32_t n_busy; /* workers that joined the present run */
    bool is_open;    /* it may be joined: there may be jobs left */
    uint64_t n_runs; /* a worker that has seen fewer has work to do */
    bool ends;
    void (*job)(void *user, uint32_t i, uint32_t thread);
    void *user;
    uint32_t n_jobs;
    atomic_uint next_job;
};

static void take_jobs(struct ruvm_pool *p, uint32_t thread)
{
    for (uint32_t i; (i = atomic_fetch_add(&p->next_job, 1u)) < p->n_jobs;)
        p->job(p->user, i, thread);
}

static void *work(void *user)
{
    struct worker *w = user;
    struct ruvm_pool *p = w->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->ends && p->n_runs == seen)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->ends)
            break;
        seen = p->n_runs;
        if (!p->is_open)
            continue;
        p->n_busy++;
        pthread_mutex_unlock(&p->lock);
        take_jobs(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->n_busy == 0)
            pthread_cond_signal(&p->finish);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static uint32_t processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (uint32_t)n;
}

/* As many as the system gives: with fewer the work only takes longer. */
static void start_workers(struct ruvm_pool *p, uint32_t n)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (; p->n_workers < n; p->n_workers++) {
        struct worker *w = &p->workers[p->n_workers];
        *w = (struct worker){.pool = p, .index = p->n_workers + 1};
        if (pthread_create(&w->thread, &attr, work, w) != 0)
            break;
    }
    pthread_attr_destroy(&attr);
}

int ruvm_pool_open(struct ruvm_pool **pool, uint32_t n, struct ruvm_error *err)
{
    n = n == 0 ? processors() : n > MAX_THREADS ? MAX_THREADS : n;
    struct ruvm_pool *p = calloc(1, sizeof *p);
    struct worker *workers = calloc(n, sizeof *workers);
    if (!p || !workers) {
        free(p);
        free(workers);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u threads", n);
    }
    p->workers = workers;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->finish, NULL);
    start_workers(p, n - 1);
    *pool = p;
    return RUVM_OK;
}

uint32_t ruvm_pool_threads(const struct ruvm_pool *p)
{
    return p->n_workers + 1;
}

void ruvm_pool_run(struct ruvm_pool *p, void (*job)(void *user, uint32_t i, uint32_t thread),
                   void *user, uint32_t n_jobs)
{
    pthread_mutex_lock(&p->lock);
    p->job = job;
    p->user = user;
    p->n_jobs = n_jobs;
    p->is_open = true;
    p->n_runs++;
    atomic_store(&p->next_job, 0u);
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    take_jobs(p, 0);
    pthread_mutex_lock(&p->lock);
    p->is_open = false;
    while (p->n_busy > 0)
        pthread_cond_wait(&p->finish, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void ruvm_pool_close(struct ruvm_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ends = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->n_workers; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->finish);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}
