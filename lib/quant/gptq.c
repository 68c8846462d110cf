/* Rounds rows one by one; all of them share the factors of the moments.
 *
 * For each row a few scales around the chosen one are tried in full and the one with the
 * least error is kept: the step of least mean square error is not the best once errors
 * make up for one another.
 */
#include "lib/quant/gptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/quant/steps.h"

/* A part of the mean importance is added to each column's: inputs not seen may still come. */
#define DAMPING 0.01
#define OUTPUT_DAMPING 0.1

/* Scales tried, relative to the chosen one. */
static const double trials[] = {1.0, 0.94, 0.88, 1.06, 0.82, 1.12};
enum { N_TRIALS = sizeof trials / sizeof *trials, N_SWEEPS = 4, N_POLISHES = 8 };

/* ---- factors --------------------------------------------------------------- */

struct column {
    double importance;
    uint32_t index;
};

static int by_importance(const void *a, const void *b)
{
    const struct column *x = a, *y = b;
    if (x->importance > y->importance)
        return -1;
    if (x->importance < y->importance)
        return 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool sort_columns(struct ruvm_gptq *g)
{
    struct column *columns = calloc(g->n, sizeof *columns);
    if (!columns)
        return false;
    for (uint32_t i = 0; i < g->n; i++)
        columns[i] = (struct column){g->importance[i], i};
    qsort(columns, g->n, sizeof *columns, by_importance);
    for (uint32_t i = 0; i < g->n; i++)
        g->order[i] = columns[i].index;
    free(columns);
    return true;
}

/* Moments in the order of the columns: R with R R^T = M from the last column on, then each
 * column of R over its diagonal, transposed: what column i takes of errors j < i. */
static void factorize(struct ruvm_gptq *g)
{
    uint32_t n = g->n;
    double *r = g->feedback; /* row k holds column k of R, as it is made */
    for (uint32_t k = n; k-- > 0;) {
        double *column = r + (size_t)k * n;
        const double *m = g->moments + (size_t)g->order[k] * n;
        for (uint32_t i = 0; i <= k; i++)
            column[i] = m[g->order[i]];
        for (uint32_t j = k + 1; j < n; j++) {
            const double *later = r + (size_t)j * n;
            double x = later[k];
            for (uint32_t i = 0; i <= k; i++)
                column[i] -= later[i] * x;
        }
        double root = sqrt(fmax(column[k], 1e-12));
        for (uint32_t i = 0; i <= k; i++)
            column[i] /= root;
    }
    for (uint32_t k = 0; k < n; k++) {
        double *column = r + (size_t)k * n, diagonal = column[k];
        for (uint32_t i = 0; i < k; i++)
            column[i] /= diagonal;
    }
}

int ruvm_gptq_open(struct ruvm_gptq *g, struct ruvm_arena *arena, const double *moments, uint32_t n,
                   struct ruvm_error *err)
{
    double mean = 0.0;
    *g = (struct ruvm_gptq){.n = n};
    g->moments = ruvm_arena_alloc(arena, n, n * sizeof(double));
    g->feedback = ruvm_arena_alloc(arena, n, n * sizeof(double));
    g->importance = ruvm_arena_alloc(arena, n, sizeof(double));
    g->order = ruvm_arena_alloc(arena, n, sizeof *g->order);
    if (!g->moments || !g->feedback || !g->importance || !g->order)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the moments of %u inputs", n);
    for (uint32_t i = 0; i < n; i++)
        mean += moments[(size_t)i * n + i] / n;
    double unit = mean > 0.0 ? 1.0 / mean : 0.0;
    for (size_t i = 0; i < (size_t)n * n; i++)
        g->moments[i] = moments[i] * unit;
    for (uint32_t i = 0; i < n; i++) {
        g->moments[(size_t)i * n + i] += DAMPING;
        g->importance[i] = g->moments[(size_t)i * n + i];
    }
    if (!sort_columns(g))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the order of %u inputs", n);
    factorize(g);
    return RUVM_OK;
}

/* ---- one row --------------------------------------------------------------- */

struct row {
    const struct ruvm_gptq *g;
    const float *w;
    int type, max_level;
    const uint8_t *mult;
    uint32_t group;
    double unit;      /* worth of scale 1 */
    double *step;     /* [n] of each column */
    double *lost;     /* [n] errors, in order */
    double *gradient; /* [n] (q - w) M */
    int8_t *level;    /* [n] */
};

static void set_steps(struct row *r, uint32_t scale)
{
    for (uint32_t c = 0; c < r->g->n; c++)
        r->step[c] = r->unit * scale * r->mult[c / r->group];
}

static int nearest(const struct row *r, uint32_t c, double w)
{
    if (r->step[c] > 0.0)
        return ruvm_steps_level(r->type, r->max_level, w / r->step[c]);
    return r->type == RUVM_TYPE_INT8 || r->type == RUVM_TYPE_TERNARY ? 0 : 1;
}

static void feed_forward(struct row *r)
{
    const struct ruvm_gptq *g = r->g;
    for (uint32_t i = 0; i < g->n; i++) {
        const double *feedback = g->feedback + (size_t)i * g->n;
        uint32_t c = g->order[i];
        double w = (double)r->w[c];
        for (uint32_t j = 0; j < i; j++)
            w += r->lost[j] * feedback[j];
        int level = nearest(r, c, w);
        r->level[c] = (int8_t)level;
        r->lost[i] = (double)r->w[c] - level * r->step[c];
    }
}

/* gradient = (q - w) M; returns the error (q - w) M (q - w)^T. */
static double find_gradient(struct row *r)
{
    const struct ruvm_gptq *g = r->g;
    double error = 0.0;
    memset(r->gradient, 0, g->n * sizeof(double));
    for (uint32_t c = 0; c < g->n; c++) {
        const double *m = g->moments + (size_t)c * g->n;
        double off = r->level[c] * r->step[c] - (double)r->w[c];
        for (uint32_t i = 0; i < g->n; i++)
            r->gradient[i] += off * m[i];
    }
    for (uint32_t c = 0; c < g->n; c++)
        error += (r->level[c] * r->step[c] - (double)r->w[c]) * r->gradient[c];
    return error;
}

static bool sweep(struct row *r)
{
    const struct ruvm_gptq *g = r->g;
    bool moved = false;
    for (uint32_t c = 0; c < g->n; c++) {
        const double *m = g->moments + (size_t)c * g->n;
        double at = r->level[c] * r->step[c];
        int level = nearest(r, c, at - r->gradient[c] / m[c]);
        double by = level * r->step[c] - at;
        if (level == r->level[c])
            continue;
        moved = true;
        r->level[c] = (int8_t)level;
        for (uint32_t i = 0; i < g->n; i++)
            r->gradient[i] += by * m[i];
    }
    return moved;
}

static double round_row(struct row *r, uint32_t scale)
{
    set_steps(r, scale);
    feed_forward(r);
    find_gradient(r);
    for (int k = 0; k < N_SWEEPS && sweep(r); k++)
        ;
    return find_gradient(r);
}

/* The scale that fits the levels best: least squares, along q: s' = s (1 - q M (q - w) / q M q). */
static uint32_t fitted_scale(struct row *r, uint32_t scale)
{
    const struct ruvm_gptq *g = r->g;
    double along = 0.0, size = 0.0;
    for (uint32_t c = 0; c < g->n; c++)
        along += r->level[c] * r->step[c] * r->gradient[c];
    for (uint32_t c = 0; c < g->n; c++) {
        const double *m = g->moments + (size_t)c * g->n;
        double sum = 0.0;
        for (uint32_t i = 0; i < g->n; i++)
            sum += m[i] * (r->level[i] * r->step[i]);
        size += sum * (r->level[c] * r->step[c]);
    }
    double fitted = size > 0.0 ? scale * (1.0 - along / size) : scale;
    return fitted < 1.0 ? 1 : fitted > UINT16_MAX ? UINT16_MAX : (uint32_t)lround(fitted);
}

static uint32_t scaled(uint16_t scale, double by)
{
    double x = scale * by;
    return x < 1.0 ? 1 : x > UINT16_MAX ? UINT16_MAX : (uint32_t)lround(x);
}

static void keep_if_better(struct row *r, struct ruvm_quant_matrix *q, uint32_t index,
                           uint32_t scale, double *least)
{
    double error = round_row(r, scale);
    if (error >= *least)
        return;
    *least = error;
    q->scale[index] = (uint16_t)scale;
    memcpy(q->level + (size_t)index * q->cols, r->level, q->cols);
}

static void best_of_trials(struct row *r, struct ruvm_quant_matrix *q, uint32_t index)
{
    uint16_t chosen = q->scale[index];
    double least = HUGE_VAL;
    for (int k = 0; k < (chosen ? N_TRIALS : 1); k++) {
        double before = least;
        keep_if_better(r, q, index, chosen ? scaled(chosen, trials[k]) : 0, &least);
        if (chosen && least < before)
            keep_if_better(r, q, index, fitted_scale(r, q->scale[index]), &least);
    }
}

/* A scale that trials make larger needs room above it. */
static void make_room(struct ruvm_quant_matrix *q)
{
    for (uint32_t r = 0; r < q->rows; r++)
        if (q->scale[r] > UINT16_MAX / 2 && q->scale_exp < RUVM_MAX_EXP) {
            for (uint32_t i = 0; i < q->rows; i++)
                q->scale[i] = (uint16_t)(q->scale[i] ? (q->scale[i] + 1) / 2 : 0);
            q->scale_exp++;
            return;
        }
}

int ruvm_gptq_round(const struct ruvm_gptq *g, struct ruvm_quant_matrix *q, const float *w,
                    struct ruvm_error *err)
{
    struct row r = {.g = g,
                    .type = q->scheme.type,
                    .max_level = ruvm_codes_max_level(q->scheme.type),
                    .group = ruvm_quant_matrix_group(q)};
    double *work = calloc(3 * (size_t)g->n, sizeof *work);
    r.level = calloc(g->n, 1);
    if (!work || !r.level) {
        free(work);
        free(r.level);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a row of %u", g->n);
    }
    r.step = work;
    r.lost = work + g->n;
    r.gradient = work + 2 * (size_t)g->n;
    make_room(q);
    r.unit = ldexp(1.0, q->scale_exp);
    for (uint32_t i = 0; i < q->rows; i++) {
        r.w = w + (size_t)i * q->cols;
        r.mult = q->mult + (size_t)i * q->n_groups;
        best_of_trials(&r, q, i);
    }
    free(work);
    free(r.level);
    return RUVM_OK;
}

/* ---- all rows together ------------------------------------------------------- */

/* Columns one after the other: what moves in one is spread over the rows at once, and over
 * the other columns when it is done. */
struct polish {
    const struct ruvm_gptq *g;
    struct ruvm_quant_matrix *q;
    const float *w;
    const double *outputs;
    double *gradient; /* [cols, rows] of F (Q - W) M, damped */
    double *moved;    /* [rows] of the present column */
    double *spread;   /* [rows] F moved */
    double damping;   /* of F */
};

static double coupling(const struct polish *p, uint32_t a, uint32_t b)
{
    return p->outputs[(size_t)a * p->q->rows + b] + (a == b ? p->damping : 0.0);
}

/* gradient[c, :] += (F moved) m for every column of that row of M. */
static void spread_column(struct polish *p, uint32_t column)
{
    uint32_t rows = p->q->rows, n = p->q->cols;
    const double *m = p->g->moments + (size_t)column * n;
    memset(p->spread, 0, rows * sizeof(double));
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < rows && fabs(p->moved[r]) > 0.0; i++)
            p->spread[i] += p->moved[r] * coupling(p, r, i);
    for (uint32_t c = 0; c < n; c++)
        for (uint32_t i = 0; i < rows; i++)
            p->gradient[(size_t)c * rows + i] += p->spread[i] * m[c];
}

static bool polish_column(struct polish *p, uint32_t c)
{
    const struct ruvm_quant_matrix *q = p->q;
    uint32_t rows = q->rows, group = ruvm_quant_matrix_group(q);
    int max_level = ruvm_codes_max_level(q->scheme.type);
    double own = p->g->moments[(size_t)c * q->cols + c];
    double *gradient = p->gradient + (size_t)c * rows;
    bool any = false;
    memset(p->moved, 0, rows * sizeof(double));
    for (uint32_t r = 0; r < rows; r++) {
        double step = ruvm_quant_matrix_step(q, r, c / group);
        int8_t *level = &q->level[(size_t)r * q->cols + c];
        if (step <= 0.0)
            continue;
        double wish = *level - gradient[r] / (coupling(p, r, r) * own) / step;
        int best = ruvm_steps_level(q->scheme.type, max_level, wish);
        if (best == *level)
            continue;
        double by = (best - *level) * step;
        any = true;
        *level = (int8_t)best;
        p->moved[r] += by;
        for (uint32_t i = 0; i < rows; i++) /* of this column; the others follow */
            gradient[i] += by * coupling(p, r, i) * own;
    }
    return any;
}

static void start_polish(struct polish *p)
{
    const struct ruvm_quant_matrix *q = p->q;
    uint32_t group = ruvm_quant_matrix_group(q);
    for (uint32_t c = 0; c < q->cols; c++) {
        for (uint32_t r = 0; r < q->rows; r++) {
            size_t i = (size_t)r * q->cols + c;
            p->moved[r] = q->level[i] * ruvm_quant_matrix_step(q, r, c / group) - (double)p->w[i];
        }
        spread_column(p, c);
    }
}

static bool polish_sweep(struct polish *p)
{
    bool any = false;
    uint32_t rows = p->q->rows;
    for (uint32_t i = 0; i < p->q->cols; i++) {
        uint32_t c = p->g->order[i];
        double *kept = p->gradient + (size_t)c * rows;
        if (!polish_column(p, c))
            continue;
        any = true;
        /* what polish_column added to its own column comes again with the spreading */
        double own = p->g->moments[(size_t)c * p->q->cols + c];
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t k = 0; k < rows && fabs(p->moved[r]) > 0.0; k++)
                kept[k] -= p->moved[r] * coupling(p, r, k) * own;
        spread_column(p, c);
    }
    return any;
}

int ruvm_gptq_polish(const struct ruvm_gptq *g, struct ruvm_quant_matrix *q, const float *w,
                     const double *outputs, struct ruvm_error *err)
{
    struct polish p = {.g = g, .q = q, .w = w, .outputs = outputs};
    p.gradient = calloc((size_t)q->rows * q->cols, sizeof(double));
    p.moved = calloc(2 * (size_t)q->rows, sizeof(double));
    int rc = RUVM_OK;
    if (p.gradient && p.moved) {
        p.spread = p.moved + q->rows;
        for (uint32_t r = 0; r < q->rows; r++)
            p.damping += OUTPUT_DAMPING * outputs[(size_t)r * q->rows + r] / q->rows;
        if (p.damping > 0.0) /* else no output of this matrix means anything */
            start_polish(&p);
        for (int k = 0; k < N_POLISHES && p.damping > 0.0 && polish_sweep(&p); k++)
            ;
    } else {
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a matrix of %u x %u", q->rows,
                       q->cols);
    }
    free(p.gradient);
    free(p.moved);
    return rc;
}
