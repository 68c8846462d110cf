/* Multiply-accumulates and bytes a second of each kernel, and how near to a roof that is.
 *
 * A kernel is too fast for a clock, so one measurement is as many calls as fill half a
 * millisecond, on one piece of the weights after the other. Roofs, tables, kernels and
 * shapes take turns in every repetition: a disturbance of the machine then meets all of
 * them alike.
 */
#include "lib/measure/kernel_rates.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/measure/kernel_calls.h"
#include "lib/measure/roofs.h"
#include "lib/measure/roofs_threads.h"
#include "lib/measure/spread.h"

enum { DEFAULT_REPETITIONS = 9 };

/* One kernel of one table with one shape. */
struct cell {
    const struct ruvm_kernels *kernels;
    struct ruvm_kernel_call call;
    uint32_t n_calls; /* in one measurement */
    double *rates;    /* [repetitions] calls a second */
};

struct rates {
    struct ruvm_roofs roofs;
    struct ruvm_roofs_threads threads;
    struct ruvm_kernel_room room;
    struct cell *cells; /* owned */
    double *values;     /* the cells' rates, owned */
    uint32_t n_cells, repetitions;
    uint64_t n_done; /* cells, of all rounds */
};

/* Seconds of n calls. */
static double time_calls(struct rates *r, const struct cell *c, uint32_t n)
{
    const struct ruvm_kernel_call *call = &c->call;
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < n; i++)
        call->kind->run(call, c->kernels, &r->room,
                        ruvm_roofs_next(&r->roofs, call->level, call->advance));
    return ruvm_clock_s() - start;
}

/* Finds how many calls one measurement takes; this is also the warm-up. */
static void calibrate(struct rates *r, struct cell *c)
{
    c->n_calls = 1;
    while (time_calls(r, c, c->n_calls) < RUVM_ROOFS_MEASUREMENT_S && c->n_calls < 1u << 24)
        c->n_calls *= 2;
}

static void add_cells(struct rates *r, const struct ruvm_kernels *k,
                      const struct ruvm_kernel_call *calls, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!ruvm_kernel_calls_has(k, &calls[i]))
            continue;
        double *rates = r->values + (size_t)r->n_cells * r->repetitions;
        r->cells[r->n_cells++] = (struct cell){.kernels = k, .call = calls[i], .rates = rates};
    }
}

static int open_cells(struct rates *r, struct ruvm_error *err)
{
    struct ruvm_kernel_call calls[RUVM_KERNEL_CALLS];
    uint32_t n = ruvm_kernel_calls_list(calls, &r->roofs.shape), n_tables = 0;
    while (ruvm_kernels_all[n_tables])
        n_tables++;
    r->cells = calloc((size_t)n * n_tables, sizeof *r->cells);
    r->values = calloc((size_t)n * n_tables * r->repetitions, sizeof *r->values);
    if (!r->cells || !r->values)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for measuring kernels");
    for (uint32_t i = 0; i < n_tables; i++)
        if (ruvm_kernels_all[i]->available())
            add_cells(r, ruvm_kernels_all[i], calls, n);
    return RUVM_OK;
}

/* Asked after each cell, so that nobody waits for a round to be interrupted. */
static bool goes_on(struct rates *r, const struct ruvm_progress *p)
{
    uint64_t all = (uint64_t)r->n_cells * (1 + r->repetitions);
    r->n_done++;
    return !p->report || p->report(p->user, "kernels", r->n_done, all) == 0;
}

static bool calibrate_all(struct rates *r, const struct ruvm_progress *p)
{
    for (uint32_t i = 0; i < r->n_cells; i++) {
        calibrate(r, &r->cells[i]);
        if (!goes_on(r, p))
            return false;
    }
    return true;
}

static bool measure_round(struct rates *r, uint32_t round, const struct ruvm_progress *p)
{
    ruvm_roofs_measure(&r->roofs, round);
    ruvm_roofs_threads_measure(&r->threads, round);
    for (uint32_t i = 0; i < r->n_cells; i++) {
        struct cell *c = &r->cells[i];
        ruvm_roofs_warm(&r->roofs, c->call.level);
        c->rates[round] = c->n_calls / time_calls(r, c, c->n_calls);
        if (!goes_on(r, p))
            return false;
    }
    return true;
}

static int measure(struct rates *r, const struct ruvm_progress *p, struct ruvm_error *err)
{
    bool on = calibrate_all(r, p);
    for (uint32_t round = 0; on && round < r->repetitions; round++)
        on = measure_round(r, round, p);
    return on ? RUVM_OK : ruvm_fail(err, RUVM_ERR_IO, "interrupted");
}

/* Multiplications, or the values of a vector. */
static double work_of(const struct ruvm_kernel_call *c)
{
    return (double)c->cols * (c->rows ? (double)c->rows * c->vectors : 1);
}

/* Seconds that the slower of the two roofs needs for a call, over those that it took. */
static void set_share(struct ruvm_bench_kernel *out, const struct cell *cell,
                      const struct ruvm_bench_roofs *roofs, double calls_per_s)
{
    const struct ruvm_kernel_call *c = &cell->call;
    const bool multiplies = ruvm_kernel_calls_multiplies(cell->kernels, c);
    double read_s = c->bytes * 1e-9 / roofs->levels[c->level].gb_per_s.median;
    double multiply_s = multiplies ? work_of(c) * 1e-9 / roofs->gmac_per_s.median : 0;
    out->arithmetic_binds = multiply_s > read_s;
    out->roof_share = (out->arithmetic_binds ? multiply_s : read_s) * calls_per_s;
}

static void report(struct ruvm_bench_kernel *out, const struct cell *c,
                   const struct ruvm_bench_roofs *roofs, uint32_t repetitions)
{
    const struct ruvm_kernel_call *call = &c->call;
    struct ruvm_spread calls = ruvm_spread_of(c->rates, repetitions);
    *out = (struct ruvm_bench_kernel){.rows = call->rows,
                                      .cols = call->cols,
                                      .vectors = call->vectors,
                                      .level = call->level,
                                      .multiplies = call->rows > 0};
    strncpy(out->kernels, c->kernels->name, sizeof out->kernels - 1);
    strncpy(out->name, call->kind->name, sizeof out->name - 1);
    out->gmac_per_s = ruvm_spread_scaled(calls, work_of(call) * 1e-9);
    out->gb_per_s = ruvm_spread_scaled(calls, call->bytes * 1e-9);
    set_share(out, c, roofs, calls.median);
}

/* The measurements as a list, the caller's. */
static int make_list(struct ruvm_bench_result *out, struct rates *r, struct ruvm_error *err)
{
    out->kernel_list = calloc(r->n_cells, sizeof *out->kernel_list);
    if (!out->kernel_list)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the rates of the kernels");
    ruvm_roofs_report(&r->roofs, &out->roofs, r->repetitions);
    ruvm_roofs_threads_report(&r->threads, &out->roofs, r->repetitions);
    for (uint32_t i = 0; i < r->n_cells; i++)
        report(&out->kernel_list[i], &r->cells[i], &out->roofs, r->repetitions);
    out->n_kernels = r->n_cells;
    return RUVM_OK;
}

int ruvm_kernel_rates_measure(struct ruvm_bench_result *out, const struct ruvm_bench_options *o,
                              struct ruvm_error *err)
{
    struct rates r = {.repetitions = o->repetitions ? o->repetitions : DEFAULT_REPETITIONS};
    int rc = ruvm_roofs_open(&r.roofs, r.repetitions, err);
    if (rc == RUVM_OK)
        rc = ruvm_roofs_threads_open(&r.threads, &r.roofs, o->threads, r.repetitions, err);
    if (rc == RUVM_OK)
        rc = ruvm_kernel_room_open(&r.room, err);
    if (rc == RUVM_OK)
        rc = open_cells(&r, err);
    if (rc == RUVM_OK)
        rc = measure(&r, &o->progress, err);
    if (rc == RUVM_OK)
        rc = make_list(out, &r, err);
    free(r.cells);
    free(r.values);
    ruvm_kernel_room_close(&r.room);
    ruvm_roofs_threads_close(&r.threads);
    ruvm_roofs_close(&r.roofs);
    return rc;
}
