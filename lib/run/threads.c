/* How many threads help is a question to the machine and to the model: it is asked.
 *
 * One thread and more take turns at the matrices of a layer, and the fastest round of each
 * decides, so that a disturbance does not. What a run of the pool costs by itself then says how
 * much work is worth a run. Where other processes keep the threads from answering at all, there
 * is nothing to learn: then all of them are used. A model whose layers are too small for any of
 * this keeps its one thread without being measured: its first token would have to wait.
 *
 * On a machine that is busy otherwise a thread may be taken away from a part it has begun, and
 * all wait for it. So the caller watches what sharing saves, and works alone for a while when it
 * loses: results are the same.
 */
#include "lib/run/threads.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
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
    MOST_CALLS = 100,
    CHOICES = 7, /* 1, and RUVM_MAX_PARTS by halves */
};
#define BUDGET_S 3e-3
#define CREDIT_S 0.5e-3        /* a thread that is taken away is missing for longer */
#define SHORTEST_PAUSE_S 20e-3 /* after a loss: the next trial costs at most a time slice */
#define LONGEST_PAUSE_S 1.0
#define LONGEST_ANSWER_S 50e-6 /* of a thread that is there */
#define USUAL_RUN_S 0.5e-6     /* where nobody answered */
#define LEAST_GAIN 0.95        /* of the time: less is not worth a processor */
#define WAKING_S 50e-6         /* until a thread that sleeps is there */
#define RUNS_WORTH 2           /* work of two threads below so many runs is not split */

/* ---- the pool as the core sees it ------------------------------------------------ */

static void run_job(void *user, uint32_t i, uint32_t thread)
{
    struct ruvm_threads *t = user;
    double start = thread ? 0 : ruvm_clock_s();
    t->part(t->job, i, t->parallel.n_parts);
    if (thread)
        return;
    t->pace.own_s += ruvm_clock_s() - start;
    t->pace.n_own++;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* The others' parts would have taken the caller as long as its own ones did. What was saved
 * is forgotten beyond what a lost time slice costs, so that losing is seen soon. */
static void note(struct ruvm_threads *t, double start, double end)
{
    double part_s = t->pace.n_own ? t->pace.own_s / t->pace.n_own : 0;
    double saved = part_s * (t->parallel.n_parts - t->pace.n_own);
    double waited = end - start - t->pace.own_s;
    t->pace.gain_s = least(t->pace.gain_s + saved - waited, CREDIT_S);
    if (t->pace.n_own == 0 || t->pace.gain_s > -CREDIT_S) {
        t->pace.pause_s = t->pace.gain_s == CREDIT_S ? SHORTEST_PAUSE_S : t->pace.pause_s;
        return;
    }
    t->pace.gain_s = 0;
    t->pace.until_s = end + t->pace.pause_s;
    t->pace.pause_s = least(2 * t->pace.pause_s, LONGEST_PAUSE_S);
}

static void run(void *user, void (*part)(void *job, uint32_t i, uint32_t n), void *job)
{
    struct ruvm_threads *t = user;
    double start = ruvm_clock_s();
    t->part = part;
    t->job = job;
    t->pace.own_s = t->pace.n_own = 0;
    if (start < t->pace.until_s) {
        for (uint32_t i = 0; i < t->parallel.n_parts; i++)
            part(job, i, t->parallel.n_parts);
        return;
    }
    ruvm_pool_run(t->pool, run_job, t, t->parallel.n_parts);
    note(t, start, ruvm_clock_s());
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
    t->pace.pause_s = SHORTEST_PAUSE_S;
    return rc;
}

void ruvm_threads_close(struct ruvm_threads *t)
{
    ruvm_pool_close(t->pool);
    *t = (struct ruvm_threads){0};
}

/* ---- measuring --------------------------------------------------------------- */

/* A number of threads, and its fastest round. */
struct choice {
    uint32_t n;
    double seconds;
};

struct trial {
    struct ruvm_threads *t;
    struct ruvm_engine *e;
    struct choice choices[CHOICES]; /* the first has one thread */
    uint32_t n_choices, n_rounds;
    uint64_t work; /* of a layer */
};

/* n matrices of a layer that share their input, with one vector; returns the multiplications. */
static uint64_t multiply(struct ruvm_engine *e, const enum ruvm_tensor_kind *kinds, uint32_t n,
                         uint32_t layer)
{
    struct ruvm_tensor w[3];
    uint64_t work = 0;
    for (uint32_t i = 0; i < n; i++) {
        w[i] = ruvm_image_find(&e->img, kinds[i], layer);
        work += (uint64_t)w[i].rows * w[i].cols;
    }
    ruvm_vector_matmul_all(e, w, n, 1);
    return work;
}

/* All of them, as many at once as the engine does. */
static uint64_t multiply_layer(struct ruvm_engine *e, uint32_t layer)
{
    static const enum ruvm_tensor_kind kinds[] = {
        RUVM_TENSOR_WQ,   RUVM_TENSOR_WK,     RUVM_TENSOR_WV,    RUVM_TENSOR_WO,
        RUVM_TENSOR_W_UP, RUVM_TENSOR_W_GATE, RUVM_TENSOR_W_DOWN};
    uint32_t n_up = e->img.act == RUVM_ACT_SILU_GATED ? 2 : 1;
    return multiply(e, kinds, 3, layer) + multiply(e, kinds + 3, 1, layer) +
           multiply(e, kinds + 4, n_up, layer) + multiply(e, kinds + 6, 1, layer);
}

static void measure_round(struct trial *m)
{
    uint32_t layer = m->n_rounds % m->e->img.n_layers;
    for (uint32_t i = 0; i < m->n_choices; i++) {
        m->t->pace.until_s = m->t->pace.gain_s = 0; /* each time is the threads' own */
        m->t->parallel.n_parts = m->choices[i].n;
        m->t->parallel.min_work = m->choices[i].n == 1 ? UINT64_MAX : 0;
        double start = ruvm_clock_s();
        m->work = multiply_layer(m->e, layer);
        m->choices[i].seconds = least(m->choices[i].seconds, ruvm_clock_s() - start);
    }
    m->n_rounds++;
}

struct call {
    double start;
    atomic_bool answered;
};

/* Part 0 waits until somebody else is at part 1. */
static void answer(void *job, uint32_t i, uint32_t n_parts)
{
    struct call *c = job;
    (void)n_parts;
    if (i == 1)
        atomic_store(&c->answered, true);
    while (i == 0 && !atomic_load(&c->answered) && ruvm_clock_s() - c->start < LONGEST_ANSWER_S)
        ;
}

/* Seconds of a run of the pool in which another thread does something, as a busy machine has its
 * quiet moments; LONGEST_ANSWER_S if none came. */
static double measure_run(struct ruvm_threads *t)
{
    double fastest = LONGEST_ANSWER_S;
    t->part = answer;
    double begin = ruvm_clock_s();
    for (uint32_t i = 0; i < MOST_CALLS && ruvm_clock_s() - begin < BUDGET_S / 2; i++) {
        struct call c = {.start = ruvm_clock_s()};
        t->job = &c;
        ruvm_pool_run(t->pool, run_job, t, t->parallel.n_parts);
        if (atomic_load(&c.answered))
            fastest = least(fastest, ruvm_clock_s() - c.start);
    }
    return fastest;
}

/* Those asked for and one, or all by halves. */
static void list_choices(struct trial *m)
{
    m->choices[m->n_choices++] = (struct choice){1, INFINITY};
    for (uint32_t n = m->t->parallel.n_parts; n > 1 && m->n_choices < CHOICES; n /= 2) {
        m->choices[m->n_choices++] = (struct choice){n, INFINITY};
        if (m->t->asked)
            break;
    }
}

/* The fastest, if it is not one thread: its numbers become the session's. What a busy machine
 * takes away later is seen while it runs. */
static uint32_t best_of(const struct trial *m)
{
    double best = LEAST_GAIN * m->choices[0].seconds;
    uint32_t n = m->t->asked ? m->t->asked : 1;
    for (uint32_t i = 1; i < m->n_choices; i++) {
        if (m->choices[i].seconds < best) {
            best = m->choices[i].seconds;
            n = m->choices[i].n;
        }
    }
    return n;
}

static void decide(struct trial *m, bool they_come)
{
    struct ruvm_parallel *p = &m->t->parallel;
    double rate = (double)m->work / m->choices[0].seconds;
    p->n_parts = they_come ? best_of(m) : m->choices[1].n;
    p->min_work = UINT64_MAX;
    if (p->n_parts == 1)
        return;
    double run_s = measure_run(m->t);
    run_s = run_s < LONGEST_ANSWER_S ? run_s : USUAL_RUN_S;
    p->min_work = (uint64_t)(RUNS_WORTH * run_s * rate);
    p->min_block = (uint64_t)(WAKING_S * rate);
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
    bool they_come = measure_run(t) < LONGEST_ANSWER_S;
    double start = ruvm_clock_s();
    while (m.n_rounds < LEAST_ROUNDS ||
           (m.n_rounds < MOST_ROUNDS && ruvm_clock_s() - start < BUDGET_S))
        measure_round(&m);
    decide(&m, they_come);
    t->pace.until_s = t->pace.gain_s = 0;
    t->pace.pause_s = SHORTEST_PAUSE_S;
}
