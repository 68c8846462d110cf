/* All threads read, or multiply, at the same time, each what a model's threads would.
 *
 * Caches of one core are read by each thread for itself; in the largest one, which is shared,
 * all read the same bytes from different places on; and of DRAM each reads a part of its own,
 * so that nobody finds there what another one has just brought near. A thread warms its cache
 * and waits for the others before its clock starts; the time is from the first one's start to
 * the last one's end.
 */
#include "lib/measure/roofs_threads.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/pool.h"
#include "lib/measure/spread.h"

enum {
    PIECE = 1 << 16,
    TIMES = 4, /* as much as one thread does: they neither begin nor end together exactly */
};
#define LONGEST_WAIT_S 1e-3 /* for others that the machine has no processor for now */

struct ruvm_roofs_thread {
    size_t cursor[RUVM_ROOFS_LEVELS];
    double start_s, end_s, amount; /* of the measurement at hand: bytes or products */
    uint32_t sink;                 /* what the loops return */
};

/* What a thread reads of a level again and again. */
struct region {
    const uint8_t *start;
    size_t bytes, first; /* where it begins */
};

static size_t chunks(size_t bytes)
{
    return bytes / RUVM_ROOF_CHUNK * RUVM_ROOF_CHUNK;
}

static struct region region_of(const struct ruvm_roofs_threads *t, uint32_t level, uint32_t thread)
{
    const struct ruvm_bench_roofs *s = &t->one->shape;
    size_t placed = (size_t)s->levels[level].placed_bytes;
    size_t all = (size_t)s->levels[s->n_levels - 1].placed_bytes;
    if (level + 1 == s->n_levels) {
        size_t part = chunks(placed / t->n);
        return (struct region){t->one->memory + part * thread, part, 0};
    }
    if (level + 2 == s->n_levels)
        return (struct region){t->one->memory, placed, chunks(placed / t->n * thread)};
    return (struct region){t->one->memory + thread % (all / placed) * placed, placed, 0};
}

/* ---- one thread -------------------------------------------------------------------- */

struct work {
    struct ruvm_roofs_threads *t;
    uint32_t level; /* n_levels: multiply */
    _Atomic uint32_t n_ready;
};

static void read_level(const struct ruvm_roofs_threads *t, struct ruvm_roofs_thread *own,
                       uint32_t level, const struct region *r)
{
    for (uint32_t i = 0; i < TIMES * t->one->pieces[level]; i++) {
        size_t at = own->cursor[level], left = r->bytes - at;
        size_t n = left < PIECE ? left : PIECE;
        own->sink ^= t->one->loops->read(r->start + at, n);
        own->cursor[level] = n == left ? 0 : at + n;
        own->amount += (double)n;
    }
}

static void multiply(const struct ruvm_roofs_threads *t, struct ruvm_roofs_thread *own)
{
    uint32_t rounds = TIMES * t->one->rounds;
    own->sink ^= t->one->loops->multiply((const int8_t *)t->one->memory, rounds);
    own->amount = (double)rounds * t->one->loops->macs;
}

static void meet(struct work *w)
{
    double start = ruvm_clock_s();
    atomic_fetch_add(&w->n_ready, 1u);
    while (atomic_load(&w->n_ready) < w->t->n && ruvm_clock_s() - start < LONGEST_WAIT_S)
        ;
}

static void run(void *user, uint32_t i, uint32_t thread)
{
    struct work *w = user;
    const struct ruvm_roofs *one = w->t->one;
    struct ruvm_roofs_thread *own = &w->t->threads[i];
    bool reads = w->level < one->shape.n_levels;
    struct region r = {0};
    (void)thread;
    if (reads)
        r = region_of(w->t, w->level, i);
    if (w->level + 1 < one->shape.n_levels)
        own->sink ^= one->loops->read(r.start, r.bytes);
    meet(w);
    own->amount = 0;
    own->start_s = ruvm_clock_s();
    if (reads)
        read_level(w->t, own, w->level, &r);
    else
        multiply(w->t, own);
    own->end_s = ruvm_clock_s();
}

/* ---- all of them --------------------------------------------------------------------- */

/* A second, from the first start to the last end. */
static double rate_of_all(struct ruvm_roofs_threads *t, uint32_t level)
{
    struct work w = {.t = t, .level = level};
    ruvm_pool_run(t->pool, run, &w, t->n);
    struct ruvm_roofs_thread all = t->threads[0];
    for (uint32_t i = 1; i < t->n; i++) {
        const struct ruvm_roofs_thread *own = &t->threads[i];
        all.start_s = own->start_s < all.start_s ? own->start_s : all.start_s;
        all.end_s = own->end_s > all.end_s ? own->end_s : all.end_s;
        all.amount += own->amount;
    }
    return all.amount / (all.end_s - all.start_s);
}

void ruvm_roofs_threads_measure(struct ruvm_roofs_threads *t, uint32_t repetition)
{
    for (uint32_t i = 0; t->pool && i <= t->one->shape.n_levels; i++)
        t->rates[i][repetition] = rate_of_all(t, i);
}

static int take_memory(struct ruvm_roofs_threads *t, uint32_t repetitions, struct ruvm_error *err)
{
    t->threads = calloc(t->n, sizeof *t->threads);
    t->values = calloc((size_t)repetitions * (RUVM_ROOFS_LEVELS + 1), sizeof *t->values);
    if (!t->threads || !t->values)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for measuring %u threads", t->n);
    for (uint32_t i = 0; i <= RUVM_ROOFS_LEVELS; i++)
        t->rates[i] = t->values + (size_t)repetitions * i;
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t level = 0; level < t->one->shape.n_levels; level++)
            t->threads[i].cursor[level] = region_of(t, level, i).first;
    return RUVM_OK;
}

int ruvm_roofs_threads_open(struct ruvm_roofs_threads *t, const struct ruvm_roofs *one,
                            uint32_t n_threads, uint32_t repetitions, struct ruvm_error *err)
{
    *t = (struct ruvm_roofs_threads){.one = one, .n = n_threads ? n_threads : 1};
    if (n_threads == 0)
        t->n = ruvm_pool_processors();
    if (t->n == 1)
        return RUVM_OK;
    int rc = ruvm_pool_open(&t->pool, t->n, err);
    if (rc != RUVM_OK)
        return rc;
    t->n = ruvm_pool_threads(t->pool);
    return take_memory(t, repetitions, err);
}

void ruvm_roofs_threads_report(const struct ruvm_roofs_threads *t, struct ruvm_bench_roofs *roofs,
                               uint32_t repetitions)
{
    roofs->n_threads = t->n;
    if (!t->pool)
        return;
    for (uint32_t i = 0; i < roofs->n_levels; i++)
        roofs->levels[i].threads_gb_per_s =
            ruvm_spread_scaled(ruvm_spread_of(t->rates[i], repetitions), 1e-9);
    roofs->threads_gmac_per_s =
        ruvm_spread_scaled(ruvm_spread_of(t->rates[roofs->n_levels], repetitions), 1e-9);
}

void ruvm_roofs_threads_close(struct ruvm_roofs_threads *t)
{
    ruvm_pool_close(t->pool);
    free(t->threads);
    free(t->values);
}
