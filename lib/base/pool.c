/* Threads that take jobs from one counter, and sleep when there have been none for a while.
 *
 * The counter holds how many jobs the run has and which is the next one, in one word: who
 * advances it owns a job of the present run, so what the run is about needs no lock. The
 * caller is done when all jobs are, whichever threads have come for them. To wake a sleeper
 * takes microseconds, so both sides first look again and again for about as long; who sleeps
 * says so before he looks the last time, and who has news looks for sleepers afterwards.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "lib/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_THREADS = 256,
    STACK_BYTES = 1 << 20,
    LOOKS = 2000, /* 20 to 80 microseconds */
};

struct worker {
    struct ruvm_pool *pool;
    pthread_t thread;
    uint32_t index;
};

struct ruvm_pool {
    _Atomic uint64_t jobs; /* how many << 32, and the next one */
    _Atomic uint32_t n_done;
    atomic_bool ends;
    void (*job)(void *user, uint32_t i, uint32_t thread);
    void *user;
    uint32_t looks; /* before a thread sleeps */

    _Atomic uint32_t n_asleep; /* workers */
    atomic_bool caller_sleeps;
    pthread_mutex_t lock;
    pthread_cond_t start, finish;

    struct worker *workers; /* [n_workers]; the caller is none of them */
    uint32_t n_workers;
};

/* Tells the processor that this is a loop that waits. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- jobs ------------------------------------------------------------------- */

static bool take_job(struct ruvm_pool *p, uint32_t *i)
{
    uint64_t now = atomic_load(&p->jobs);
    while ((uint32_t)now < now >> 32) {
        if (atomic_compare_exchange_weak(&p->jobs, &now, now + 1)) {
            *i = (uint32_t)now;
            return true;
        }
    }
    return false;
}

static void wake_caller(struct ruvm_pool *p)
{
    if (!atomic_load(&p->caller_sleeps))
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->finish);
    pthread_mutex_unlock(&p->lock);
}

/* How many the run has is read before the last one is done: then it may be another run. */
static void take_jobs(struct ruvm_pool *p, uint32_t thread)
{
    for (uint32_t i; take_job(p, &i);) {
        uint32_t n = (uint32_t)(atomic_load(&p->jobs) >> 32);
        p->job(p->user, i, thread);
        if (atomic_fetch_add(&p->n_done, 1u) + 1 == n && thread > 0)
            wake_caller(p);
    }
}

static bool has_news(struct ruvm_pool *p)
{
    uint64_t now = atomic_load(&p->jobs);
    return (uint32_t)now < now >> 32 || atomic_load(&p->ends);
}

/* ---- workers ------------------------------------------------------------------ */

static void sleep_until_news(struct ruvm_pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1u);
    while (!has_news(p))
        pthread_cond_wait(&p->start, &p->lock);
    atomic_fetch_sub(&p->n_asleep, 1u);
    pthread_mutex_unlock(&p->lock);
}

static void wait_for_news(struct ruvm_pool *p)
{
    for (uint32_t i = 0; i < p->looks; i++) {
        if (has_news(p))
            return;
        relax();
    }
    sleep_until_news(p);
}

static void *work(void *user)
{
    struct worker *w = user;
    while (!atomic_load(&w->pool->ends)) {
        take_jobs(w->pool, w->index);
        wait_for_news(w->pool);
    }
    return NULL;
}

static void wake_workers(struct ruvm_pool *p)
{
    if (atomic_load(&p->n_asleep) == 0)
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
}

/* ---- the caller --------------------------------------------------------------- */

static void wait_for_all(struct ruvm_pool *p, uint32_t n_jobs)
{
    for (uint32_t i = 0; i < p->looks; i++) {
        if (atomic_load(&p->n_done) == n_jobs)
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->n_done) != n_jobs)
        pthread_cond_wait(&p->finish, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

void ruvm_pool_run(struct ruvm_pool *p, void (*job)(void *user, uint32_t i, uint32_t thread),
                   void *user, uint32_t n_jobs)
{
    p->job = job;
    p->user = user;
    atomic_store(&p->n_done, 0u);
    atomic_store(&p->jobs, (uint64_t)n_jobs << 32);
    if (n_jobs > 1)
        wake_workers(p);
    take_jobs(p, 0);
    wait_for_all(p, n_jobs);
}

/* ---- opening ------------------------------------------------------------------ */

uint32_t ruvm_pool_processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < n)
        n = CPU_COUNT(&set);
#endif
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
    uint32_t processors = ruvm_pool_processors();
    n = n == 0 ? processors : n > MAX_THREADS ? MAX_THREADS : n;
    struct ruvm_pool *p = calloc(1, sizeof *p);
    struct worker *workers = calloc(n, sizeof *workers);
    if (!p || !workers) {
        free(p);
        free(workers);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u threads", n);
    }
    p->workers = workers;
    p->looks = n > processors ? 0 : LOOKS; /* who looks would be in the way of who works */
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

void ruvm_pool_close(struct ruvm_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->ends, true);
    pthread_mutex_lock(&p->lock);
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
