/* Multiply-accumulates and bytes a second of matmul_s8, for each table and shape.
 *
 * A kernel is too fast for a clock, so one measurement is as many calls as fill
 * half a millisecond. Tables and shapes take turns in every repetition: a
 * disturbance of the machine then meets all of them alike.
 */
#include "lib/measure/kernel_rates.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/measure/spread.h"

enum { ALIGN = 64, DEFAULT_REPETITIONS = 9, MAX_CELLS = 128 };

static const double measurement_s = 0.5e-3;

/* Projections and feed-forwards of models of 0.2 to 40 million weights. */
static const struct shape {
    uint32_t rows, cols;
} shapes[] = {
    {64, 64}, {176, 64}, {64, 176}, {512, 64}, {768, 288}, {2048, 768},
};
enum {
    N_SHAPES = sizeof shapes / sizeof *shapes,
    MOST_ROWS = 2048,
    MOST_COLS = 768,
    MOST_WEIGHTS = MOST_ROWS * MOST_COLS
};

/* One table with one shape. */
struct cell {
    const struct ruvm_kernels *kernels;
    struct shape shape;
    uint32_t calls; /* in one measurement */
    double *rates;  /* [repetitions] calls a second */
};

struct rates {
    struct cell cells[MAX_CELLS];
    uint32_t n_cells, repetitions;
    int8_t *w, *x;
    int32_t *out;
    double *values; /* the cells' rates */
};

static void fill(int8_t *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (int8_t)((int32_t)((state >> 16) % 255) - 127);
    }
}

/* Seconds of n calls. */
static double time_calls(const struct rates *r, const struct cell *c, uint32_t n)
{
    const struct ruvm_matmul m = {
        .w = r->w,
        .x = r->x,
        .out = r->out,
        .n_rows = c->shape.rows,
        .n_cols = c->shape.cols,
        .row_bytes = c->shape.cols,
        .n_vecs = 1,
        .x_stride = c->shape.cols,
        .out_stride = c->shape.rows,
    };
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < n; i++)
        c->kernels->matmul_s8(&m);
    return ruvm_clock_s() - start;
}

/* Finds how many calls one measurement takes; this is also the warm-up. */
static void calibrate(const struct rates *r, struct cell *c)
{
    c->calls = 1;
    while (time_calls(r, c, c->calls) < measurement_s && c->calls < 1u << 24)
        c->calls *= 2;
}

static int open_rates(struct rates *r, struct ruvm_error *err)
{
    for (unsigned i = 0; ruvm_kernels_all[i]; i++)
        for (unsigned j = 0; j < N_SHAPES && r->n_cells < MAX_CELLS; j++)
            if (ruvm_kernels_all[i]->available())
                r->cells[r->n_cells++] =
                    (struct cell){.kernels = ruvm_kernels_all[i], .shape = shapes[j]};
    r->w = aligned_alloc(ALIGN, MOST_WEIGHTS);
    r->x = aligned_alloc(ALIGN, MOST_COLS);
    r->out = aligned_alloc(ALIGN, MOST_ROWS * sizeof *r->out);
    r->values = calloc((size_t)r->n_cells * r->repetitions, sizeof *r->values);
    if (!r->w || !r->x || !r->out || !r->values)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for measuring kernels");
    fill(r->w, MOST_WEIGHTS);
    fill(r->x, MOST_COLS);
    for (uint32_t i = 0; i < r->n_cells; i++)
        r->cells[i].rates = r->values + (size_t)i * r->repetitions;
    return RUVM_OK;
}

static void close_rates(struct rates *r)
{
    free(r->w);
    free(r->x);
    free(r->out);
    free(r->values);
}

static int measure(struct rates *r, const struct ruvm_progress *p, struct ruvm_error *err)
{
    for (uint32_t i = 0; i < r->n_cells; i++)
        calibrate(r, &r->cells[i]);
    for (uint32_t n = 0; n < r->repetitions; n++) {
        for (uint32_t i = 0; i < r->n_cells; i++) {
            struct cell *c = &r->cells[i];
            c->rates[n] = c->calls / time_calls(r, c, c->calls);
        }
        if (p->report && p->report(p->user, "kernels", n + 1, r->repetitions) != 0)
            return ruvm_fail(err, RUVM_ERR_IO, "interrupted");
    }
    return RUVM_OK;
}

static struct ruvm_spread scaled(struct ruvm_spread s, double factor)
{
    s.median *= factor;
    s.min *= factor;
    s.max *= factor;
    return s;
}

static void report(struct ruvm_bench_kernel *out, const struct cell *c, uint32_t repetitions)
{
    struct ruvm_spread calls = ruvm_spread_of(c->rates, repetitions);
    double weights = (double)c->shape.rows * c->shape.cols;
    *out = (struct ruvm_bench_kernel){.rows = c->shape.rows, .cols = c->shape.cols};
    strncpy(out->kernels, c->kernels->name, sizeof out->kernels - 1);
    out->gmac_per_s = scaled(calls, weights * 1e-9);
    out->gb_per_s = scaled(calls, weights * sizeof(int8_t) * 1e-9);
}

/* The measurements as a list, the caller's. */
static int make_list(struct ruvm_bench_kernel **list, const struct rates *r, struct ruvm_error *err)
{
    *list = calloc(r->n_cells, sizeof **list);
    if (!*list)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the rates of the kernels");
    for (uint32_t i = 0; i < r->n_cells; i++)
        report(&(*list)[i], &r->cells[i], r->repetitions);
    return RUVM_OK;
}

int ruvm_kernel_rates_measure(struct ruvm_bench_kernel **list, uint32_t *n,
                              const struct ruvm_bench_options *o, struct ruvm_error *err)
{
    struct rates r = {.repetitions = o->repetitions ? o->repetitions : DEFAULT_REPETITIONS};
    int rc = open_rates(&r, err);
    *list = NULL;
    if (rc == RUVM_OK)
        rc = measure(&r, &o->progress, err);
    if (rc == RUVM_OK)
        rc = make_list(list, &r, err);
    *n = *list ? r.n_cells : 0;
    close_rates(&r);
    return rc;
}
