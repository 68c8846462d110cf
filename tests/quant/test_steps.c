/* Steps against a search through everything they could be. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/quant/steps.h"
#include "lib/train/isa.h"
#include "tests/quant/numbers.h"

enum { MAX_COLS = 200, N_TYPES = RUVM_N_TYPES };

/* ---- a plain quantizer ------------------------------------------------------- */

/* The error of the nearest level that the type has, all levels tried. */
static double nearest_error(int type, double w, double step)
{
    int max = ruvm_codes_max_level(type);
    int by = type == RUVM_TYPE_INT8 || type == RUVM_TYPE_TERNARY ? 1 : 2;
    double least = HUGE_VAL;
    for (int level = -max; level <= max; level += by)
        least = fmin(least, fabs(w - level * step));
    return least;
}

static double plain_error(int type, const float *w, const double *importance, uint32_t n,
                          double step)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        double e = nearest_error(type, (double)w[i], step);
        sum += (importance ? importance[i] : 1.0) * e * e;
    }
    return sum;
}

static double largest_of(const float *w, uint32_t n)
{
    double largest = 0.0;
    for (uint32_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)w[i]));
    return largest;
}

/* The least error of any step of a fine grid. */
static double grid_error(int type, const float *w, const double *importance, uint32_t n)
{
    double least = HUGE_VAL, top = 1.5 * largest_of(w, n) / ruvm_codes_max_level(type);
    for (int i = 1; i <= 600; i++)
        least = fmin(least, plain_error(type, w, importance, n, top * i / 600));
    return least;
}

/* ---- ours ---------------------------------------------------------------------- */

struct quantized {
    struct ruvm_arena arena;
    struct ruvm_quant_matrix q;
};

static struct quantized quantize(struct ruvm_scheme s, const float *w, uint32_t rows, uint32_t cols,
                                 enum ruvm_steps_rule rule, const double *importance)
{
    struct quantized z = {0};
    cr_assert(ruvm_quant_matrix_open(&z.q, &z.arena, s, rows, cols));
    cr_assert_eq(ruvm_steps_choose(&z.q, w, rule, importance, NULL), RUVM_OK);
    ruvm_steps_round(&z.q, w);
    return z;
}

static double error_of(const struct quantized *z, const float *w, const double *importance)
{
    double sum = 0.0, row[MAX_COLS];
    for (uint32_t r = 0; r < z->q.rows; r++) {
        ruvm_quant_matrix_row(&z->q, r, row);
        for (uint32_t c = 0; c < z->q.cols; c++) {
            double e = (double)w[(size_t)r * z->q.cols + c] - row[c];
            sum += (importance ? importance[c] : 1.0) * e * e;
        }
    }
    return sum;
}

static double error_by(enum ruvm_steps_rule rule, struct ruvm_scheme s, const float *w, uint32_t n,
                       const double *importance)
{
    struct quantized z = quantize(s, w, 1, n, rule, importance);
    double error = error_of(&z, w, importance);
    ruvm_arena_free(&z.arena);
    return error;
}

static void random_importance(double *importance, uint32_t n, uint64_t *rng)
{
    for (uint32_t i = 0; i < n; i++)
        importance[i] = 0.01 + 1.0 / (1 + number_below(rng, 20));
}

/* Of few columns a lucky step may catch all at once, and no search of 48 steps promises to
 * find it; of a hundred it cannot. */
Test(steps, no_step_of_a_long_row_is_much_better)
{
    uint64_t rng = 3;
    for (int type = 0; type < N_TYPES; type++)
        for (int round = 0; round < 4; round++) {
            float w[140];
            double weights[140], *importance = round % 2 ? weights : NULL;
            uint32_t n = 100 + number_below(&rng, 41);
            number_weights(w, n, 0.1, &rng);
            random_importance(weights, n, &rng);
            struct ruvm_scheme s = {(uint8_t)type, 0};
            double least = grid_error(type, w, importance, n);
            double error = error_by(RUVM_STEPS_MSE, s, w, n, importance);
            double slack = type == RUVM_TYPE_INT8 ? 1.4 : 1.03; /* 48 steps tried; 255 levels */
            cr_assert_leq(error, slack * least, "type %d, %u columns: %g, not %g", type, n, error,
                          least);
        }
}

Test(steps, the_least_square_error_is_never_above_that_of_the_largest_weight)
{
    uint64_t rng = 12;
    for (int round = 0; round < 400; round++) {
        float w[MAX_COLS];
        double weights[MAX_COLS], *importance = round % 2 ? weights : NULL;
        uint8_t type = (uint8_t)number_below(&rng, N_TYPES);
        uint32_t n = 1 + number_below(&rng, MAX_COLS);
        number_weights(w, n, 0.1, &rng);
        random_importance(weights, n, &rng);
        struct ruvm_scheme s = {type, ruvm_codes_has_groups(type) && round % 4 < 2 ? 16 : 0};
        double least = error_by(RUVM_STEPS_MSE, s, w, n, importance);
        double largest = error_by(RUVM_STEPS_MAX, s, w, n, importance);
        /* scales of 16 bits add a little to either, most where nothing else is lost */
        cr_assert_leq(least, 1.001 * largest + 1e-9 * n, "type %d, %u columns: %g above %g", type,
                      n, least, largest);
    }
}

/* All scales of a grid; for each group the best of all 16 multipliers. */
static double grid_groups(int type, const float *w, uint32_t n, uint32_t group)
{
    double least = HUGE_VAL, top = 2.5 * largest_of(w, n) / ruvm_codes_max_level(type) / 15;
    for (int i = 1; i <= 300; i++) {
        double sum = 0.0;
        for (uint32_t first = 0; first < n && sum < least; first += group) {
            double best = HUGE_VAL;
            for (int m = 0; m <= 15; m++)
                best = fmin(best,
                            plain_error(type, w + first, NULL,
                                        n - first < group ? n - first : group, top * i / 300 * m));
            sum += best;
        }
        least = fmin(least, sum);
    }
    return least;
}

Test(steps, no_multipliers_of_a_long_row_are_much_better)
{
    static const uint8_t types[] = {RUVM_TYPE_INT4, RUVM_TYPE_INT3, RUVM_TYPE_INT2,
                                    RUVM_TYPE_BINARY};
    enum { N = 168 }; /* ten groups and a ragged 8 */
    uint64_t rng = 4;
    for (int round = 0; round < 12; round++) {
        float w[N];
        number_weights(w, N, 1.0, &rng);
        for (int i = 0; i < N; i++)
            w[i] *= i / 16 % 3 == 1 ? 0.2f : 1.0f;
        struct ruvm_scheme s = {types[round % 4], 16};
        double least = grid_groups(s.type, w, N, 16);
        double error = error_by(RUVM_STEPS_MSE, s, w, N, NULL);
        cr_assert_leq(error, 1.15 * least, "type %d: %g, not %g", s.type, error, least);
    }
}

Test(steps, groups_help_where_sizes_differ)
{
    uint64_t rng = 5;
    float w[2 * 64];
    number_weights(w, 2 * 64, 1.0, &rng);
    for (int i = 0; i < 2 * 64; i++)
        w[i] *= i % 64 < 32 ? 0.1f : 1.0f;
    struct quantized row =
        quantize((struct ruvm_scheme){RUVM_TYPE_INT4, 0}, w, 2, 64, RUVM_STEPS_MSE, NULL);
    struct quantized groups =
        quantize((struct ruvm_scheme){RUVM_TYPE_INT4, 16}, w, 2, 64, RUVM_STEPS_MSE, NULL);
    cr_assert_lt(error_of(&groups, w, NULL), 0.8 * error_of(&row, w, NULL));
    ruvm_arena_free(&row.arena);
    ruvm_arena_free(&groups.arena);
}

/* ---- the largest weight ---------------------------------------------------------- */

Test(steps, the_rule_of_the_largest_never_clips)
{
    static const struct ruvm_scheme schemes[] = {
        {RUVM_TYPE_INT8, 0},  {RUVM_TYPE_INT4, 0},  {RUVM_TYPE_INT4, 16}, {RUVM_TYPE_INT4, 64},
        {RUVM_TYPE_INT3, 16}, {RUVM_TYPE_INT2, 32}, {RUVM_TYPE_INT2, 0},
    };
    uint64_t rng = 6;
    for (int round = 0; round < 200; round++) {
        struct ruvm_scheme s = schemes[round % 7];
        uint32_t rows = 1 + number_below(&rng, 6), cols = 1 + number_below(&rng, 100);
        float w[6 * 100];
        double size = ldexp(1.0, (int)number_below(&rng, 60) - 40);
        for (uint32_t i = 0; i < rows * cols; i++)
            w[i] = (float)(number_uniform(&rng) * size);
        struct quantized z = quantize(s, w, rows, cols, RUVM_STEPS_MAX, NULL);
        uint32_t group = ruvm_quant_matrix_group(&z.q);
        double half = s.type == RUVM_TYPE_INT8 ? 0.5 : 1.0; /* odd levels are 2 steps apart */
        for (uint32_t i = 0; i < rows * cols; i++) {
            uint32_t r = i / cols, c = i % cols;
            double step = ruvm_quant_matrix_step(&z.q, r, c / group);
            double off = fabs((double)w[i] - z.q.level[i] * step);
            /* the mantissa of a quiet row is rounded: by 1/2 of it, 127 times */
            double slack = 0.5 * ruvm_codes_max_level(s.type) / z.q.scale[r];
            cr_assert(off <= (half + slack) * step * 1.000001, "round %d: %g steps", round,
                      off / step);
            cr_assert(z.q.mult[(size_t)r * z.q.n_groups + c / group] <= 15);
        }
        ruvm_arena_free(&z.arena);
    }
}

Test(steps, int8_is_within_half_a_step)
{
    uint64_t rng = 1;
    for (int round = 0; round < 200; round++) {
        uint32_t rows = 1 + number_below(&rng, 8), cols = 1 + number_below(&rng, 40);
        float w[8 * 40];
        double size = ldexp(1.0, (int)number_below(&rng, 60) - 40);
        uint16_t most = 0;
        for (uint32_t i = 0; i < rows * cols; i++)
            w[i] = (float)(number_uniform(&rng) * size);
        struct quantized z =
            quantize((struct ruvm_scheme){RUVM_TYPE_INT8, 0}, w, rows, cols, RUVM_STEPS_MAX, NULL);
        for (uint32_t r = 0; r < rows; r++) {
            double step = ruvm_quant_matrix_step(&z.q, r, 0);
            most = z.q.scale[r] > most ? z.q.scale[r] : most;
            double allowed = 0.5 + 127 * 0.5 / z.q.scale[r];
            for (uint32_t c = 0; c < cols; c++) {
                double lost = fabs((double)w[r * cols + c] - z.q.level[r * cols + c] * step);
                cr_assert(lost <= allowed * step, "round %d: %g", round, lost / step);
            }
        }
        cr_assert(most > 32767, "round %d: largest mantissa %u", round, most);
        ruvm_arena_free(&z.arena);
    }
}

Test(steps, int8_halves_round_away_from_zero)
{
    const float w[] = {127.0f, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, 0.49f, -127.0f};
    const int8_t expected[] = {127, 1, -1, 2, 3, -3, 0, -127};
    struct quantized z =
        quantize((struct ruvm_scheme){RUVM_TYPE_INT8, 0}, w, 1, 8, RUVM_STEPS_MAX, NULL);
    cr_assert_float_eq(ruvm_quant_matrix_step(&z.q, 0, 0), 1.0, 0.0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(z.q.level[i], expected[i], "%g became %d", (double)w[i], z.q.level[i]);
    ruvm_arena_free(&z.arena);
}

Test(steps, signs_and_ternary_take_the_mean_size)
{
    static const uint8_t types[] = {RUVM_TYPE_BINARY, RUVM_TYPE_XNOR, RUVM_TYPE_TERNARY};
    const float w[] = {1, -2, 3, -0.4f, 0.1f, -5.5f}; /* mean size 2 */
    static const int8_t levels[3][6] = {
        {1, -1, 1, -1, 1, -1}, {1, -1, 1, -1, 1, -1}, {1, -1, 1, 0, 0, -1}};
    for (int i = 0; i < 3; i++) {
        struct quantized z =
            quantize((struct ruvm_scheme){types[i], 0}, w, 1, 6, RUVM_STEPS_MAX, NULL);
        cr_assert_float_eq(ruvm_quant_matrix_step(&z.q, 0, 0), 2.0, 1e-4);
        cr_assert_eq(memcmp(z.q.level, levels[i], 6), 0, "type %d", types[i]);
        ruvm_arena_free(&z.arena);
    }
}

/* ---- zeros ------------------------------------------------------------------------- */

Test(steps, zeros_stay_zeros_in_every_type)
{
    static const enum ruvm_steps_rule rules[] = {RUVM_STEPS_MAX, RUVM_STEPS_MSE};
    uint64_t rng = 7;
    for (int i = 0; i < 2 * N_TYPES * 2; i++) {
        uint8_t type = (uint8_t)(i / 4), group = i % 4 < 2 && ruvm_codes_has_groups(type) ? 16 : 0;
        float w[3 * 40];
        double row[40], work[40];
        number_weights(w, 3 * 40, 1.0, &rng);
        memset(w + 40, 0, 40 * sizeof *w);          /* row 1 */
        memset(w + 2 * 40 + 16, 0, 16 * sizeof *w); /* group 1 of row 2 */
        struct quantized z =
            quantize((struct ruvm_scheme){type, group}, w, 3, 40, rules[i % 2], NULL);
        cr_assert_eq(z.q.scale[1], 0);
        cr_assert(z.q.scale[0] > 0 && z.q.scale[2] > 0);
        ruvm_quant_matrix_row(&z.q, 1, row);
        for (int c = 0; c < 40; c++)
            cr_assert(!(fabs(row[c]) > 0.0));
        struct ruvm_quant_loss loss = ruvm_quant_matrix_loss(&z.q, w, work);
        cr_assert(loss.zero_rows == 1 && loss.first_zero_row == 1);
        if (group) {
            const uint8_t *mult = z.q.mult + 2 * (size_t)z.q.n_groups;
            cr_assert(mult[0] > 0 && mult[1] == 0 && mult[2] > 0, "type %d", type);
        }
        ruvm_arena_free(&z.arena);
    }
}

Test(steps, a_very_quiet_row_keeps_a_scale)
{
    const float w[] = {1.0f, 1e-9f};
    for (uint8_t type = 0; type < N_TYPES; type++) {
        struct quantized z = quantize((struct ruvm_scheme){type, 0}, w, 2, 1, RUVM_STEPS_MAX, NULL);
        cr_assert_eq(z.q.scale[1], 1, "0 would silence it on purpose only");
        ruvm_arena_free(&z.arena);
    }
}

Test(steps, columns_without_importance_do_no_harm)
{
    const double none[20] = {0};
    float w[20];
    uint64_t rng = 8;
    number_weights(w, 20, 1.0, &rng);
    for (uint8_t type = 0; type < N_TYPES; type++) {
        uint8_t group = ruvm_codes_has_groups(type) ? 16 : 0;
        struct quantized z =
            quantize((struct ruvm_scheme){type, group}, w, 1, 20, RUVM_STEPS_MSE, none);
        double row[20];
        ruvm_quant_matrix_row(&z.q, 0, row);
        for (int c = 0; c < 20; c++)
            cr_assert(isfinite(row[c]) && fabs(row[c]) < 10.0);
        ruvm_arena_free(&z.arena);
    }
}

/* ---- single levels, scales of training --------------------------------------------- */

Test(steps, a_level_is_the_nearest_one)
{
    for (int type = 0; type < N_TYPES; type++) {
        int max = ruvm_codes_max_level(type);
        for (double x = -140.03; x < 140; x += 0.11) {
            int level = ruvm_steps_level(type, max, x);
            cr_assert(abs(level) <= max);
            cr_assert_float_eq(fabs(x - level), nearest_error(type, x, 1.0), 1e-9, "type %d: %g",
                               type, x);
        }
        cr_assert_eq(ruvm_steps_level(type, max, HUGE_VAL), max);
        cr_assert_eq(ruvm_steps_level(type, max, -1e300), -max);
    }
}

/* Whole rows at once, on every instruction set: halves, what is just beside them, what lies far
 * beyond the levels. */
Test(steps, rows_are_rounded_as_single_weights_are)
{
    enum { N = 4001 };
    static float w[N];
    static int8_t level[N];
    for (int type = 0; type < N_TYPES; type++)
        for (int isa = 0; isa < RUVM_N_ISAS; isa++) {
            struct ruvm_arena arena = {0};
            struct ruvm_quant_matrix q;
            cr_assert(ruvm_quant_matrix_open_sliced(
                &q, &arena, (struct ruvm_scheme){.type = (uint8_t)type}, 1, N));
            q.level = level;
            q.scale[0] = 40000;
            q.scale_exp = -12;
            double step = ruvm_quant_matrix_step(&q, 0, 0);
            for (int i = 0; i < N; i++)
                w[i] = (float)((i - N / 2) * 0.125 * step);
            w[1] = nextafterf((float)(0.5 * step), 0.0f);
            w[2] = nextafterf((float)(-0.5 * step), 0.0f);
            w[3] = 3e38f;
            w[4] = -3e38f;
            w[5] = -0.0f;
            ruvm_isa_limit((enum ruvm_isa)isa);
            ruvm_steps_round(&q, w);
            for (int i = 0; i < N; i++)
                cr_assert_eq(
                    level[i],
                    ruvm_steps_level(type, ruvm_codes_max_level(type), (double)w[i] / step),
                    "type %d, set %d, %g steps", type, isa, (double)w[i] / step);
            ruvm_arena_free(&arena);
        }
    ruvm_isa_limit(RUVM_N_ISAS);
}

Test(steps, scales_of_training_are_taken_to_sixteen_bits)
{
    const double scale[] = {0.125, 0.03, 0.0, 1e-9};
    struct ruvm_arena arena = {0};
    struct ruvm_quant_matrix q;
    cr_assert(ruvm_quant_matrix_open(&q, &arena, (struct ruvm_scheme){RUVM_TYPE_INT4, 16}, 4, 20));
    q.mult[1] = 7;
    ruvm_steps_take(&q, scale);
    cr_assert_eq(q.mult[1], 7);
    cr_assert_float_eq(ldexp(q.scale[0], q.scale_exp), 0.125, 0.0);
    cr_assert_float_eq(ldexp(q.scale[1], q.scale_exp), 0.03, 0.125 / 65536);
    cr_assert(q.scale[2] == 0 && q.scale[3] == 1);
    ruvm_arena_free(&arena);
}
