/* How many threads help is a question to the machine and to the model: it is asked.
 *
 * One thread and more take turns at the matrices of a layer, and the medians decide, so that
 * a disturbance meets both and does not. What a run of the pool costs by itself then says how
 * much work is worth a run. A model whose layers are too small for any of this keeps its one
 * thread without being measured: its first token would have to wait.
 */
#include "lib/run/threads.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/pool.h"
#include "lib/core/engine.h"
#include "lib/core/parallel.h"

enum {
    LEAST_BYTES = 1 << 20, /* of weights: below, a layer takes about as long as a run */
    LEAST_ROUNDS = 5,
    MOST_ROUNDS = 25,
    CHOICES = 7, /* 1, and RUVM_MAX_PARTS by halves */
};
#define BUDGET_S 3e-3
#define LEAST_GAIN 0.9 /* of the time: less is not worth a processor */
#define RUNS_WORTH 4   /* work below so many runs is not split */

/* ---- the pool as the core sees it ------------------------------------------------ */

static void run_job(void *user, uint32_t i, uint32_t thread)
{
    const struct ruvm_threads *t = user;
    (void)thread;
    t->part(t->job, i, t->parallel.n_parts);
}

static void run(void *user, void (*part)(void *job, uint32_t i, uint32_t n), void *job)
{
    struct ruvm_threads *t = user;
    t->part = part;
    t->job = job;
    ruvm_pool_run(t->pool, run_job, t, t->parallel.n_parts);
}

int ruvm_threads_open(struct ruvm_threads *t, uint32_t asked, size_t weight_bytes,
                      struct ruvm_error *err)
{
    uint32_t n = asked ? asked : ruvm_pool_processors();
    *t = (struct ruvm_threads){.parallel = {.n_parts = 1}, .asked = asked};
    if (asked > RUVM_MAX_PARTS)
        return ruvm_fail(err, RUVM_ERR_ARG, "%u threads are too many: %d at most", asked,
                         RUVM_MAX_PARTS);
    n = n < RUVM_MAX_PARTS ? n : RUVM_MAX_PARTS;
    if (n == 1 || (asked == 0 && weight_bytes < LEAST_BYTES))
        return RUVM_OK;
    int rc = ruvm_pool_open(&t->pool, n, err);
    if (rc == RUVM_OK)
        t->parallel = (struct ruvm_parallel){.run = run, .user = t, .n_parts = n};
    return rc;
}

void ruvm_threads_close(struct ruvm_threads *t)
{
    ruvm_pool_close(t->pool);
    *t = (struct ruvm_threads){0};
}

/* ---- measuring --------------------------------------------------------------- */

/* Times of one number of threads. */
struct choice {
    uint32_t n;
    double seconds[MOST_ROUNDS];
};

struct trial {
    struct ruvm_threads *t;
    struct ruvm_engine *e;
    struct choice choices[CHOICES]; /* the first has one thread */
    uint32_t n_choices, n_rounds;
    uint64_t work; /* of a layer */
};

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return values[n / 2];
}

/* The matrices of a layer with one vector; returns their multiplications. */
static uint64_t multiply_layer(struct ruvm_engine *e, uint32_t layer)
{
    uint64_t work = 0;
    for (uint32_t i = 0; i < e->img.n_tensors; i++) {
        const struct ruvm_tensor w = ruvm_image_tensor(&e->img, i);
        if (w.layer != layer || w.kind == RUVM_TENSOR_EMBED || w.kind == RUVM_TENSOR_POSITION ||
            w.kind == RUVM_TENSOR_HEAD)
            continue;
        const struct ruvm_part p = {
            .n_cols = e->x_stride, .n_tokens = 1, .out = e->work, .out_stride = w.rows};
        ruvm_vector_matmul(e, &w, &p);
        work += (uint64_t)w.rows * w.cols;
    }
    return work;
}

static void measure_round(struct trial *m)
{
    uint32_t layer = m->n_rounds % m->e->img.n_layers;
    for (uint32_t i = 0; i < m->n_choices; i++) {
        m->t->parallel.n_parts = m->choices[i].n;
        m->t->parallel.min_work = m->choices[i].n == 1 ? UINT64_MAX : 0;
        double start = ruvm_clock_s();
        m->work = multiply_layer(m->e, layer);
        m->choices[i].seconds[m->n_rounds] = ruvm_clock_s() - start;
    }
    m->n_rounds++;
}

static void no_work(void *job, uint32_t i, uint32_t n_parts)
{
    (void)job, (void)i, (void)n_parts;
}

/* Seconds of a run of the pool that does nothing. */
static double measure_run(struct ruvm_threads *t)
{
    double seconds[MOST_ROUNDS];
    for (uint32_t i = 0; i < MOST_ROUNDS; i++) {
        double start = ruvm_clock_s();
        run(t, no_work, NULL);
        seconds[i] = ruvm_clock_s() - start;
    }
    return median(seconds, MOST_ROUNDS);
}

/* Those asked for and one, or all by halves. */
static void list_choices(struct trial *m)
{
    m->choices[m->n_choices++].n = 1;
    for (uint32_t n = m->t->parallel.n_parts; n > 1 && m->n_choices < CHOICES; n /= 2) {
        m->choices[m->n_choices++].n = n;
        if (m->t->asked)
            break;
    }
}

/* The fastest, if it is not one thread: its numbers become the session's. */
static void decide(struct trial *m)
{
    struct ruvm_parallel *p = &m->t->parallel;
    double one = median(m->choices[0].seconds, m->n_rounds), best = LEAST_GAIN * one;
    uint32_t n = m->t->asked ? m->t->asked : 1;
    for (uint32_t i = 1; i < m->n_choices; i++) {
        double s = median(m->choices[i].seconds, m->n_rounds);
        if (s < best) {
            best = s;
            n = m->choices[i].n;
        }
    }
    p->n_parts = n;
    p->min_work = UINT64_MAX;
    if (n > 1)
        p->min_work = (uint64_t)(RUNS_WORTH * measure_run(m->t) * (double)m->work / one);
}

void ruvm_threads_choose(struct ruvm_threads *t, struct ruvm_engine *e)
{
    struct trial m = {.t = t, .e = e};
    if (t->parallel.n_parts < 2)
        return;
    memset(e->x, 1, e->x_stride);
    memset(e->signs, 0, e->sign_stride);
    ruvm_parallel_refresh(e);
    list_choices(&m);
    multiply_layer(e, 0); /* wakes the threads, and brings the first layer near */
    double start = ruvm_clock_s();
    while (m.n_rounds < LEAST_ROUNDS ||
           (m.n_rounds < MOST_ROUNDS && ruvm_clock_s() - start < BUDGET_S))
        measure_round(&m);
    decide(&m);
}
