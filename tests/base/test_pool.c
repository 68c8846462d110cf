/* Every job is run once, by a thread of the pool, in each of many runs. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/base/pool.h"

enum { JOBS = 200 };

struct count {
    atomic_int runs[JOBS];
    uint32_t threads;
};

static void count_job(void *user, uint32_t i, uint32_t thread)
{
    struct count *c = user;
    atomic_fetch_add(&c->runs[i], thread < c->threads ? 1 : 1000);
}

static void check_pool(uint32_t threads)
{
    struct ruvm_error err = {0};
    struct ruvm_pool *pool;
    static struct count c;
    cr_assert_eq(ruvm_pool_open(&pool, threads, &err), RUVM_OK, "%s", err.text);
    c.threads = ruvm_pool_threads(pool);
    cr_assert(c.threads >= 1 && (threads == 0 || c.threads <= threads));
    for (int run = 1; run <= 50; run++) {
        ruvm_pool_run(pool, count_job, &c, run % 2 ? JOBS : 1);
        cr_assert_eq(atomic_load(&c.runs[0]), run);
        cr_assert_eq(atomic_load(&c.runs[JOBS - 1]), (run + 1) / 2);
    }
    ruvm_pool_run(pool, count_job, &c, 0);
    for (int i = 1; i < JOBS; i++)
        cr_assert_eq(atomic_load(&c.runs[i]), 25);
    ruvm_pool_close(pool);
}

Test(pool, one_thread)
{
    check_pool(1);
}

Test(pool, many_threads)
{
    check_pool(7);
}

Test(pool, a_thread_for_each_processor)
{
    check_pool(0);
}

/* Runs that come at once, and runs that come when all threads sleep. */
Test(pool, runs_after_each_other_and_after_a_pause)
{
    struct ruvm_pool *pool;
    static struct count c;
    cr_assert_eq(ruvm_pool_open(&pool, 3, NULL), RUVM_OK);
    c.threads = ruvm_pool_threads(pool);
    for (int run = 1; run <= 20000; run++) {
        if (run % 2000 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        ruvm_pool_run(pool, count_job, &c, 3);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(atomic_load(&c.runs[i]), run);
    }
    ruvm_pool_close(pool);
}

/* A job that takes long lets the caller sleep as well. */
static void slow_job(void *user, uint32_t i, uint32_t thread)
{
    (void)thread;
    nanosleep(&(struct timespec){.tv_nsec = i ? 20000000 : 0}, NULL);
    atomic_fetch_add((atomic_int *)user, 1);
}

Test(pool, waits_for_the_slowest)
{
    struct ruvm_pool *pool;
    atomic_int n = 0;
    cr_assert_eq(ruvm_pool_open(&pool, 2, NULL), RUVM_OK);
    for (int run = 1; run <= 5; run++) {
        ruvm_pool_run(pool, slow_job, &n, 2);
        cr_assert_eq(atomic_load(&n), 2 * run);
    }
    ruvm_pool_close(pool);
}

Test(pool, closing_none)
{
    ruvm_pool_close(NULL);
}
