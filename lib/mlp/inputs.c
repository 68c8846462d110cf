/* The records are made so that the usual range has 13 bits, whatever the unit of an input is;
 * all that is lost is what fixed point loses.
 */
#include "lib/mlp/inputs.h"

#include <math.h>
#include <stdlib.h>

enum { USUAL_EXP = -16, ROOM = 4 /* ranges that do not saturate: INPUT_MAX is 15 bits */ };

/* ---- ranges ------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* An input that never changes in the data may do so later: it gets the range that half of the
 * others stay below. */
static void fill_constants(struct ruvm_inputs *in, double *work)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->n; i++)
        if (in->range[i] > 0)
            work[n++] = in->range[i];
    qsort(work, n, sizeof *work, compare);
    in->n_constant = in->n - n;
    for (uint32_t i = 0; i < in->n; i++)
        if (!(in->range[i] > 0))
            in->range[i] = n ? work[n / 2] : fmax(fabs(in->centre[i]), 1);
}

static void measure(struct ruvm_inputs *in, const struct ruvm_grid *grid)
{
    for (uint32_t i = 0; i < in->n; i++) {
        double low = grid->v[i], high = low;
        for (uint32_t r = 1; r < grid->n_rows; r++) {
            double x = grid->v[(size_t)r * grid->n_cols + i];
            low = fmin(low, x);
            high = fmax(high, x);
        }
        in->centre[i] = low + (high - low) / 2;
        in->range[i] = (high - low) / 2;
    }
}

int ruvm_inputs_ranges(struct ruvm_inputs *in, struct ruvm_arena *arena,
                       const struct ruvm_layers *l, const struct ruvm_grid *grid, double assumed,
                       struct ruvm_error *err)
{
    uint32_t n = ruvm_layers_inputs(l);
    *in = (struct ruvm_inputs){.n = n, .source = RUVM_INPUTS_ASSUMED};
    in->centre = ruvm_arena_alloc(arena, n, sizeof *in->centre);
    in->range = ruvm_arena_alloc(arena, n, sizeof *in->range);
    double *work = ruvm_arena_alloc(arena, n, sizeof *work);
    if (!in->centre || !in->range || !work)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u inputs", n);
    if (grid) {
        in->source = RUVM_INPUTS_MEASURED;
        measure(in, grid);
        fill_constants(in, work);
        return RUVM_OK;
    }
    bool told = l->centre && !(assumed > 0);
    in->source = told ? RUVM_INPUTS_GRAPH : RUVM_INPUTS_ASSUMED;
    for (uint32_t i = 0; i < n; i++) {
        in->centre[i] = told ? l->centre[i] : 0;
        in->range[i] = told ? l->range[i] : assumed > 0 ? assumed : RUVM_INPUTS_ASSUMED_RANGE;
    }
    return RUVM_OK;
}

/* ---- records ----------------------------------------------------------------- */

/* Q16 where that holds the range and is fine enough for it, else what 31 bits make of it. */
static int exponent_of(double most, double range)
{
    int e;
    if (most < 32767 && ldexp(range, -USUAL_EXP) >= 1 << (RUVM_MLP_INPUT_BITS - 1))
        return USUAL_EXP;
    frexp(most, &e);
    return e - 30;
}

/* ratio = mult / 2^shift with 16 bits of mult. */
static bool split(double ratio, struct ruvm_mlp_input *r)
{
    int e;
    double m = floor(ldexp(frexp(ratio, &e), 16) + 0.5);
    int shift = 16 - e;
    if (m > UINT16_MAX) {
        m = 32768;
        shift--;
    }
    for (; shift > RUVM_MLP_MAX_SHIFT; shift--)
        m = floor(m / 2);
    *r = (struct ruvm_mlp_input){.mult = (uint16_t)m, .shift = (uint8_t)shift};
    return m >= 1 && shift >= 1;
}

int ruvm_inputs_records(struct ruvm_inputs *in, struct ruvm_mlp_input *records,
                        struct ruvm_error *err)
{
    for (uint32_t i = 0; i < in->n; i++) {
        double most = fabs(in->centre[i]) + ROOM * in->range[i];
        int exp = exponent_of(most, in->range[i]);
        bool ok = most < 1e15 && exp >= RUVM_MIN_EXP && exp <= RUVM_MAX_EXP &&
                  split(ldexp(1, RUVM_MLP_INPUT_BITS + exp) / in->range[i], &records[i]);
        if (!ok)
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "input %u lies within %g +- %g: fixed point of 32 bits cannot hold "
                             "that; scale the inputs",
                             i, in->centre[i], in->range[i]);
        records[i].exp = (int8_t)exp;
        records[i].centre = ruvm_inputs_fixed(in->centre[i], (int8_t)exp);
        in->centre[i] = ldexp(records[i].centre, exp);
        in->range[i] = ldexp(1, RUVM_MLP_INPUT_BITS + exp + records[i].shift) / records[i].mult;
    }
    return RUVM_OK;
}

int32_t ruvm_inputs_fixed(double value, int8_t exp)
{
    double x = floor(ldexp(value, -exp) + 0.5);
    return x > INT32_MAX ? INT32_MAX : x < -INT32_MAX ? -INT32_MAX : (int32_t)x;
}
