/* GPTQ against rounding to nearest, against all there is on small rows, and on odd inputs. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "lib/quant/gptq.h"
#include "lib/quant/steps.h"
#include "tests/quant/numbers.h"

enum { MAX_ROWS = 8, MAX_COLS = 80 };

static const struct ruvm_scheme schemes[] = {
    {RUVM_TYPE_INT8, 0},    {RUVM_TYPE_INT4, 0},    {RUVM_TYPE_INT4, 16},   {RUVM_TYPE_INT4, 32},
    {RUVM_TYPE_INT4, 64},   {RUVM_TYPE_INT3, 16},   {RUVM_TYPE_INT2, 16},   {RUVM_TYPE_INT2, 64},
    {RUVM_TYPE_TERNARY, 0}, {RUVM_TYPE_BINARY, 16}, {RUVM_TYPE_BINARY, 32}, {RUVM_TYPE_XNOR, 0},
};
enum { N_SCHEMES = sizeof schemes / sizeof *schemes };

/* A matrix, what its input looks like, and its rounding. */
struct problem {
    struct ruvm_arena arena;
    uint32_t rows, cols;
    float w[MAX_ROWS * MAX_COLS];
    double moments[MAX_COLS * MAX_COLS];
    struct ruvm_gptq g;
    struct ruvm_quant_matrix q;
};

/* moments += a correlated random input, as those of a model are. */
static void add_input(struct problem *p, uint64_t *rng)
{
    double x[MAX_COLS], common = number_normal(rng), before = 0.0;
    for (uint32_t c = 0; c < p->cols; c++) {
        x[c] = 0.6 * before + 0.5 * common + number_normal(rng) * (c % 7 == 3 ? 3.0 : 0.5);
        before = x[c];
    }
    for (uint32_t i = 0; i < p->cols; i++)
        for (uint32_t k = 0; k < p->cols; k++)
            p->moments[i * p->cols + k] += x[i] * x[k];
}

static struct problem make(uint32_t rows, uint32_t cols, uint32_t n_inputs, uint64_t *rng)
{
    struct problem p = {.rows = rows, .cols = cols};
    number_weights(p.w, (size_t)rows * cols, 0.1, rng);
    for (uint32_t i = 0; i < n_inputs; i++)
        add_input(&p, rng);
    return p;
}

/* Steps, and levels rounded to nearest. */
static void round_nearest(struct problem *p, struct ruvm_scheme s)
{
    cr_assert_eq(ruvm_gptq_open(&p->g, &p->arena, p->moments, p->cols, NULL), RUVM_OK);
    cr_assert(ruvm_quant_matrix_open(&p->q, &p->arena, s, p->rows, p->cols));
    cr_assert_eq(ruvm_steps_choose(&p->q, p->w, RUVM_STEPS_MSE, p->g.importance, NULL), RUVM_OK);
    ruvm_steps_round(&p->q, p->w);
}

static void round_gptq(struct problem *p)
{
    cr_assert_eq(ruvm_gptq_round(&p->g, &p->q, p->w, NULL), RUVM_OK);
}

/* (w - q) M (w - q)^T of a row, straight from the definition. */
static double row_error(const struct problem *p, uint32_t r)
{
    double off[MAX_COLS], sum = 0.0;
    ruvm_quant_matrix_row(&p->q, r, off);
    for (uint32_t c = 0; c < p->cols; c++)
        off[c] -= (double)p->w[r * p->cols + c];
    for (uint32_t i = 0; i < p->cols; i++)
        for (uint32_t k = 0; k < p->cols; k++)
            sum += off[i] * off[k] * p->g.moments[i * p->cols + k];
    return sum;
}

static double error_of(const struct problem *p)
{
    double sum = 0.0;
    for (uint32_t r = 0; r < p->rows; r++)
        sum += row_error(p, r);
    return sum;
}

static void check_levels(const struct problem *p)
{
    int max = ruvm_codes_max_level(p->q.scheme.type);
    bool even = p->q.scheme.type == RUVM_TYPE_INT8 || p->q.scheme.type == RUVM_TYPE_TERNARY;
    for (uint32_t i = 0; i < p->rows * p->cols; i++) {
        int level = p->q.level[i];
        cr_assert(level >= -max && level <= max && (even || level % 2 != 0), "type %d: level %d",
                  p->q.scheme.type, level);
    }
}

/* ---- factors --------------------------------------------------------------------- */

Test(gptq, the_most_important_column_is_first)
{
    uint64_t rng = 1;
    struct problem p = make(1, 30, 60, &rng);
    bool seen[MAX_COLS] = {0};
    round_nearest(&p, schemes[0]);
    double mean = 0.0;
    for (uint32_t i = 0; i < p.cols; i++) {
        cr_assert(p.g.order[i] < p.cols && !seen[p.g.order[i]]);
        seen[p.g.order[i]] = true;
        cr_assert(i == 0 || p.g.importance[p.g.order[i]] <= p.g.importance[p.g.order[i - 1]]);
        mean += p.g.importance[i] / p.cols;
    }
    cr_assert_float_eq(mean, 1.01, 1e-9, "a mean of 1, and the damping");
    ruvm_arena_free(&p.arena);
}

/* Solves a [n, n] x = b in place by elimination; a is positive definite. */
static void solve(double *a, double *b, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = k + 1; i < n; i++) {
            double by = a[i * n + k] / a[k * n + k];
            for (uint32_t j = k; j < n; j++)
                a[i * n + j] -= by * a[k * n + j];
            b[i] -= by * b[k];
        }
    for (uint32_t k = n; k-- > 0;) {
        for (uint32_t j = k + 1; j < n; j++)
            b[k] -= a[k * n + j] * b[j];
        b[k] /= a[k * n + k];
    }
}

/* With the error of column j fixed at 1 and those before i at 0 otherwise, the columns from
 * i on would best be off by -M[later, later]^-1 M[later, j]: column i takes its part. */
Test(gptq, feedback_is_what_the_later_columns_would_best_do)
{
    enum { N = 9 };
    uint64_t rng = 2;
    struct problem p = make(1, N, 40, &rng);
    round_nearest(&p, schemes[0]);
    for (uint32_t i = 1; i < N; i++)
        for (uint32_t j = 0; j < i; j++) {
            double a[N * N], b[N];
            uint32_t n = N - i;
            for (uint32_t r = 0; r < n; r++) {
                const double *m = p.g.moments + (size_t)p.g.order[i + r] * N;
                for (uint32_t c = 0; c < n; c++)
                    a[r * n + c] = m[p.g.order[i + c]];
                b[r] = m[p.g.order[j]];
            }
            solve(a, b, n);
            cr_assert_float_eq(p.g.feedback[i * N + j], b[0], 1e-9, "%u takes of %u", i, j);
        }
    ruvm_arena_free(&p.arena);
}

/* ---- rows ------------------------------------------------------------------------ */

Test(gptq, never_worse_than_rounding_to_nearest)
{
    static const uint32_t cols[] = {1, 5, 16, 31, 40, 67};
    uint64_t rng = 3;
    for (int i = 0; i < N_SCHEMES * 6; i++) {
        struct problem p = make(1 + number_below(&rng, MAX_ROWS), cols[i % 6], 100, &rng);
        double nearest[MAX_ROWS], all = 0.0;
        round_nearest(&p, schemes[i / 6]);
        for (uint32_t r = 0; r < p.rows; r++)
            all += nearest[r] = row_error(&p, r);
        round_gptq(&p);
        check_levels(&p);
        for (uint32_t r = 0; r < p.rows; r++)
            /* the slack: mantissas give up a bit for room above, of weights of 0.1 */
            cr_assert_leq(row_error(&p, r), nearest[r] + 1e-10, "scheme %d, %u columns, row %u",
                          i / 6, p.cols, r);
        cr_assert(p.cols < 16 || error_of(&p) < 0.9 * all, "scheme %d, %u columns: %g of %g", i / 6,
                  p.cols, error_of(&p), all);
        ruvm_arena_free(&p.arena);
    }
}

Test(gptq, one_column_makes_up_for_the_other)
{
    /* columns 1 and 2 always carry the same value */
    struct problem p = {
        .rows = 1, .cols = 3, .w = {127.0f, 0.4f, 0.4f}, .moments = {1, 0, 0, 0, 1, 1, 0, 1, 1}};
    round_nearest(&p, schemes[0]);
    cr_assert(p.q.level[1] == 0 && p.q.level[2] == 0);
    round_gptq(&p);
    cr_assert(p.q.level[0] == 127 && p.q.level[1] + p.q.level[2] == 1, "%d %d %d", p.q.level[0],
              p.q.level[1], p.q.level[2]);
    ruvm_arena_free(&p.arena);
}

/* The least error of all levels at the steps of row 0, which is all there is. */
static double least_error(struct problem *p)
{
    int8_t kept[MAX_COLS];
    int n_levels = p->q.scheme.type == RUVM_TYPE_BINARY ? 2 : 3, by = n_levels == 2 ? 2 : 1;
    double least = HUGE_VAL;
    uint32_t n = 1;
    memcpy(kept, p->q.level, p->cols);
    for (uint32_t c = 0; c < p->cols; c++)
        n *= (uint32_t)n_levels;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t left = i;
        for (uint32_t c = 0; c < p->cols; c++, left /= (uint32_t)n_levels)
            p->q.level[c] = (int8_t)(by * (int)(left % (uint32_t)n_levels) - 1);
        least = fmin(least, row_error(p, 0));
    }
    memcpy(p->q.level, kept, p->cols);
    return least;
}

Test(gptq, small_rows_are_near_the_best_of_all_levels)
{
    static const struct ruvm_scheme small[] = {{RUVM_TYPE_TERNARY, 0}, {RUVM_TYPE_BINARY, 0}};
    uint64_t rng = 4;
    for (int s = 0; s < 2; s++) {
        double nearest = 0.0, ours = 0.0, best = 0.0;
        for (int round = 0; round < 30; round++) {
            struct problem p = make(1, 7, 40, &rng);
            round_nearest(&p, small[s]);
            nearest += error_of(&p);
            round_gptq(&p);
            ours += error_of(&p);
            best += least_error(&p);
            ruvm_arena_free(&p.arena);
        }
        cr_assert(best <= ours * 1.000001 && ours < 1.15 * best, "%g, not %g", ours, best);
        cr_assert_lt(ours - best, 0.1 * (nearest - best), "%g, %g, %g", nearest, ours, best);
    }
}

/* ---- odd inputs -------------------------------------------------------------------- */

/* Rows 1 and group 1 of row 2 are zeros. */
Test(gptq, zeros_stay_zeros_in_every_type)
{
    uint64_t rng = 5;
    for (int i = 0; i < N_SCHEMES; i++) {
        struct problem p = make(3, 72, 100, &rng);
        double row[MAX_COLS];
        memset(p.w + 72, 0, 72 * sizeof *p.w);
        round_nearest(&p, schemes[i]);
        round_gptq(&p);
        check_levels(&p);
        cr_assert(p.q.scale[0] > 0 && p.q.scale[1] == 0 && p.q.scale[2] > 0);
        ruvm_quant_matrix_row(&p.q, 1, row);
        for (uint32_t c = 0; c < p.cols; c++)
            cr_assert(!(fabs(row[c]) > 0.0));
        ruvm_arena_free(&p.arena);
    }
}

Test(gptq, a_group_of_zeros_stays_zero)
{
    uint64_t rng = 6;
    for (int i = 0; i < N_SCHEMES; i++) {
        uint32_t group = schemes[i].group;
        struct problem p = make(2, 72, 100, &rng);
        double row[MAX_COLS];
        if (group == 0 || group > 32)
            continue;
        memset(p.w + 72 + group, 0, group * sizeof *p.w);
        round_nearest(&p, schemes[i]);
        round_gptq(&p);
        ruvm_quant_matrix_row(&p.q, 1, row);
        for (uint32_t c = group; c < 2 * group; c++)
            cr_assert(!(fabs(row[c]) > 0.0));
        cr_assert(fabs(row[0]) > 0.0 || fabs(row[1]) > 0.0);
        ruvm_arena_free(&p.arena);
    }
}

Test(gptq, inputs_that_were_hardly_or_never_seen)
{
    static const uint32_t n_inputs[] = {0, 1, 5};
    uint64_t rng = 7;
    for (int i = 0; i < N_SCHEMES * 3; i++) {
        struct problem p = make(4, 40, n_inputs[i % 3], &rng);
        round_nearest(&p, schemes[i / 3]);
        double nearest = error_of(&p);
        round_gptq(&p);
        check_levels(&p);
        cr_assert(isfinite(nearest) && error_of(&p) <= nearest * 1.0001, "scheme %d, %u inputs",
                  i / 3, n_inputs[i % 3]);
        ruvm_arena_free(&p.arena);
    }
}

/* A column that is always 0 takes nothing over, and nothing is lost in it. */
Test(gptq, a_dead_column_does_no_harm)
{
    uint64_t rng = 8;
    struct problem p = make(2, 24, 80, &rng);
    for (uint32_t i = 0; i < 24; i++)
        p.moments[5 * 24 + i] = p.moments[i * 24 + 5] = 0.0;
    round_nearest(&p, schemes[2]);
    double nearest = error_of(&p);
    round_gptq(&p);
    cr_assert_lt(error_of(&p), nearest);
    cr_assert_eq(p.g.order[23], 5);
    ruvm_arena_free(&p.arena);
}

Test(gptq, the_same_every_time)
{
    for (int i = 0; i < N_SCHEMES; i++) {
        uint64_t rng_a = 9, rng_b = 9;
        struct problem a = make(5, 40, 50, &rng_a), b = make(5, 40, 50, &rng_b);
        round_nearest(&a, schemes[i]);
        round_gptq(&a);
        round_nearest(&b, schemes[i]);
        round_gptq(&b);
        cr_assert_eq(memcmp(a.q.level, b.q.level, 5 * 40), 0);
        cr_assert_eq(memcmp(a.q.scale, b.q.scale, 5 * sizeof *a.q.scale), 0);
        cr_assert_eq(memcmp(a.q.mult, b.q.mult, (size_t)5 * a.q.n_groups), 0);
        cr_assert_eq(a.q.scale_exp, b.q.scale_exp);
        ruvm_arena_free(&a.arena);
        ruvm_arena_free(&b.arena);
    }
}

/* ---- rows together ------------------------------------------------------------------ */

/* trace(F D M D^T), damped as the polishing damps it: by a tenth of F's mean diagonal. */
static double coupled_error(const struct problem *p, const double *outputs)
{
    double off[MAX_ROWS][MAX_COLS], damping = 0.0, sum = 0.0;
    uint32_t rows = p->rows, cols = p->cols;
    for (uint32_t r = 0; r < rows; r++) {
        ruvm_quant_matrix_row(&p->q, r, off[r]);
        for (uint32_t c = 0; c < cols; c++)
            off[r][c] -= (double)p->w[r * cols + c];
        damping += 0.1 * outputs[r * rows + r] / rows;
    }
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t s = 0; s < rows; s++)
            for (uint32_t i = 0; i < cols; i++)
                for (uint32_t k = 0; k < cols; k++)
                    sum += (outputs[r * rows + s] + (r == s ? damping : 0.0)) * off[r][i] *
                           off[s][k] * p->g.moments[i * cols + k];
    return sum;
}

static void make_outputs(double *outputs, uint32_t rows, uint64_t *rng)
{
    for (int n = 0; n < 20; n++) {
        double g[MAX_ROWS], common = number_normal(rng);
        for (uint32_t r = 0; r < rows; r++)
            g[r] = common + 0.3 * number_normal(rng);
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t s = 0; s < rows; s++)
                outputs[r * rows + s] += g[r] * g[s];
    }
}

Test(gptq, polishing_lowers_the_error_of_all_rows_together)
{
    uint64_t rng = 10;
    for (int i = 0; i < N_SCHEMES; i++) {
        struct problem p = make(MAX_ROWS, 24, 60, &rng);
        double outputs[MAX_ROWS * MAX_ROWS] = {0};
        make_outputs(outputs, p.rows, &rng);
        round_nearest(&p, schemes[i]);
        round_gptq(&p);
        double before = coupled_error(&p, outputs);
        cr_assert_eq(ruvm_gptq_polish(&p.g, &p.q, p.w, outputs, NULL), RUVM_OK);
        double after = coupled_error(&p, outputs);
        check_levels(&p);
        cr_assert_lt(after, 0.98 * before, "scheme %d: %g of %g", i, after, before);
        /* and no further sweep finds anything else */
        cr_assert_eq(ruvm_gptq_polish(&p.g, &p.q, p.w, outputs, NULL), RUVM_OK);
        cr_assert_leq(coupled_error(&p, outputs), after * 1.000001);
        ruvm_arena_free(&p.arena);
    }
}

Test(gptq, outputs_that_mean_nothing_change_nothing)
{
    uint64_t rng = 11;
    struct problem p = make(4, 24, 60, &rng);
    const double none[4 * 4] = {0};
    int8_t before[4 * 24];
    round_nearest(&p, schemes[2]);
    round_gptq(&p);
    memcpy(before, p.q.level, sizeof before);
    cr_assert_eq(ruvm_gptq_polish(&p.g, &p.q, p.w, none, NULL), RUVM_OK);
    cr_assert_eq(memcmp(before, p.q.level, sizeof before), 0);
    ruvm_arena_free(&p.arena);
}
