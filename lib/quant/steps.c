/* Looks for steps: first what each group would like best, then the row's scale and whole
 * multipliers that come nearest to all of these wishes together.
 *
 * Sixteen multipliers cost next to nothing: on stories260K in INT4 with groups of 16 the
 * mean KL was 0.0704 with free steps and 0.0711 with these.
 */
#include "lib/quant/steps.h"

#include <stdlib.h>
#include <string.h>

#include "lib/quant/mantissa.h"
#include "lib/train/isa.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

/* Fractions of the largest weight that are tried as the largest level. */
enum { N_FRACTIONS = 48 };
#define FRACTION_MIN 0.2
#define FRACTION_MAX 1.06

/* Scales of a row that are tried: the largest wish is this many times 15 of them. */
enum { N_ROW_SCALES = 25 };
#define ROW_SCALE_MIN 0.8
#define ROW_SCALE_MAX 2.0

enum { N_REFINEMENTS = 2 };

/* One group of weights. */
struct group {
    const float *w;
    const double *importance; /* or NULL */
    uint32_t n;
    int type, max_level;
};

static double weight_of(const struct group *g, uint32_t i)
{
    return g->importance ? g->importance[i] : 1.0;
}

static double error_of(const struct group *g, double step)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < g->n; i++) {
        double w = (double)g->w[i];
        double lost =
            w - (step > 0.0 ? step * ruvm_steps_level(g->type, g->max_level, w / step) : 0.0);
        sum += weight_of(g, i) * lost * lost;
    }
    return sum;
}

/* ---- several steps at once ------------------------------------------------------- */

/* Errors of this many steps are summed side by side: each of them still runs plainly from the
 * first weight to the last, so none differs from error_of() by a bit. */
enum { ABREAST = 8 };

/* 2 * floor(x / 2) + 1 as ruvm_steps_level() has it, of types with odd levels. */
static inline RUVM_ISA_BODY void odd_errors_body(double *restrict errors, const struct group *g,
                                                 const double *restrict steps)
{
    double sums[ABREAST] = {0.0}, most = g->max_level;
    for (uint32_t i = 0; i < g->n; i++) {
        double w = (double)g->w[i], weight = weight_of(g, i);
        for (int k = 0; k < ABREAST; k++) {
            double level = 2 * floor(w / steps[k] / 2) + 1;
            level = level > most ? most : level;
            level = level < -most ? -most : level;
            double lost = w - steps[k] * level;
            sums[k] += weight * lost * lost;
        }
    }
    for (int k = 0; k < ABREAST; k++)
        errors[k] = sums[k];
}

RUVM_ISA_EACH(odd_errors, (double *errors, const struct group *g, const double *steps), errors, g,
              steps)

static bool has_odd_levels(int type)
{
    return type != RUVM_TYPE_INT8 && type != RUVM_TYPE_TERNARY;
}

/* errors[k] = error_of(g, steps[k]), all steps above 0. */
static void errors_of(double *errors, const struct group *g, const double *steps, int n)
{
    int k = 0;
    for (; has_odd_levels(g->type) && k + ABREAST <= n; k += ABREAST)
        odd_errors(errors + k, g, steps + k);
    for (; k < n; k++)
        errors[k] = error_of(g, steps[k]);
}

static double largest_of(const struct group *g)
{
    return (double)ruvm_quant_largest(g->w, g->n);
}

static double mean_magnitude(const struct group *g)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < g->n; i++)
        sum += fabs((double)g->w[i]);
    return sum / g->n;
}

static bool is_sign(int type)
{
    return type == RUVM_TYPE_BINARY || type == RUVM_TYPE_XNOR;
}

/* The step for which the levels of `step` fit best: least squares. */
static double refine(const struct group *g, double step)
{
    double up = 0.0, down = 0.0;
    for (uint32_t i = 0; i < g->n; i++) {
        double w = (double)g->w[i];
        int level = ruvm_steps_level(g->type, g->max_level, w / step);
        up += weight_of(g, i) * w * level;
        down += weight_of(g, i) * level * level;
    }
    return down > 0.0 ? up / down : step;
}

static double best_step(const struct group *g)
{
    double largest = largest_of(g), best = largest / g->max_level, least = error_of(g, best);
    double steps[N_FRACTIONS], errors[N_FRACTIONS];
    for (int k = 0; k < N_FRACTIONS; k++) {
        double fraction = FRACTION_MIN + (FRACTION_MAX - FRACTION_MIN) * k / (N_FRACTIONS - 1);
        steps[k] = largest * fraction / g->max_level;
    }
    if (largest > 0.0)
        errors_of(errors, g, steps, N_FRACTIONS);
    for (int k = 0; k < N_FRACTIONS && largest > 0.0; k++)
        if (errors[k] < least) {
            least = errors[k];
            best = steps[k];
        }
    for (int k = 0; k < N_REFINEMENTS && best > 0.0; k++) {
        double step = refine(g, best), error = error_of(g, step);
        if (error < least) {
            least = error;
            best = step;
        }
    }
    return best;
}

static double wanted_step(const struct group *g, enum ruvm_steps_rule rule)
{
    if (rule == RUVM_STEPS_MSE)
        return best_step(g);
    if (g->type == RUVM_TYPE_TERNARY || is_sign(g->type))
        return mean_magnitude(g);
    return largest_of(g) / g->max_level;
}

/* ---- a row with multipliers -------------------------------------------------- */

struct row {
    const struct ruvm_quant_matrix *q;
    const float *w;
    const double *importance;
    enum ruvm_steps_rule rule;
    double *wish;    /* [n_groups] steps */
    uint8_t *mult;   /* [n_groups] result */
    uint8_t *trials; /* [N_ROW_SCALES, n_groups] */
};

static struct group group_of(const struct row *r, uint32_t i)
{
    uint32_t size = ruvm_quant_matrix_group(r->q), first = i * size, left = r->q->cols - first;
    return (struct group){.w = r->w + first,
                          .importance = r->importance ? r->importance + first : NULL,
                          .n = left < size ? left : size,
                          .type = r->q->scheme.type,
                          .max_level = ruvm_codes_max_level(r->q->scheme.type)};
}

/* The multipliers near the wish of group i for each scale of the row that is tried: the best
 * of them goes to r->trials, and its error is added to the sum of that scale. */
static void add_mults(const struct row *r, uint32_t i, const double *scales, double *sums)
{
    enum { NEAR = 3 };
    double mults[N_ROW_SCALES * NEAR], steps[N_ROW_SCALES * NEAR], errors[N_ROW_SCALES * NEAR];
    struct group g = group_of(r, i);
    if (r->wish[i] <= 0.0)
        return; /* the multiplier is 0 */
    for (int k = 0; k < N_ROW_SCALES * NEAR; k++) {
        double scale = scales[k / NEAR], near = floor(r->wish[i] / scale + 0.5);
        mults[k] = fmin(fmax(near + k % NEAR - 1, 1.0), RUVM_MULT_MAX);
        steps[k] = mults[k] * scale;
    }
    errors_of(errors, &g, steps, N_ROW_SCALES * NEAR);
    for (int k = 0; k < N_ROW_SCALES; k++) {
        int best = k * NEAR;
        for (int d = 1; d < NEAR; d++)
            best = errors[k * NEAR + d] < errors[best] ? k * NEAR + d : best;
        sums[k] += errors[best];
        r->trials[(size_t)k * r->q->n_groups + i] = (uint8_t)mults[best];
    }
}

/* Nothing is clipped: the largest wish has the largest multiplier, others round up. */
static double multiples_above(struct row *r, double largest)
{
    double scale = largest / RUVM_MULT_MAX;
    for (uint32_t i = 0; i < r->q->n_groups; i++) {
        double m = ceil(r->wish[i] / scale - 1e-9);
        r->mult[i] = (uint8_t)fmin(m, RUVM_MULT_MAX);
    }
    return scale;
}

static double multiples_near(struct row *r, double largest)
{
    double scales[N_ROW_SCALES], sums[N_ROW_SCALES] = {0.0};
    size_t n = r->q->n_groups, best = 0;
    for (int k = 0; k < N_ROW_SCALES; k++) {
        double factor = ROW_SCALE_MIN + (ROW_SCALE_MAX - ROW_SCALE_MIN) * k / (N_ROW_SCALES - 1);
        scales[k] = largest * factor / RUVM_MULT_MAX;
    }
    memset(r->trials, 0, n * N_ROW_SCALES);
    for (uint32_t i = 0; i < n; i++)
        add_mults(r, i, scales, sums);
    for (size_t k = 1; k < N_ROW_SCALES; k++)
        best = sums[k] < sums[best] ? k : best;
    memcpy(r->mult, r->trials + best * n, n);
    return scales[best];
}

/* The real scale of a row; its multipliers are set. */
static double choose_row(struct row *r)
{
    double largest = 0.0;
    for (uint32_t i = 0; i < r->q->n_groups; i++) {
        struct group g = group_of(r, i);
        r->wish[i] = wanted_step(&g, r->rule);
        largest = fmax(largest, r->wish[i]);
    }
    if (!r->q->scheme.group || largest <= 0.0)
        return largest;
    return r->rule == RUVM_STEPS_MSE ? multiples_near(r, largest) : multiples_above(r, largest);
}

/* ---- all rows ---------------------------------------------------------------- */

static void round_scales(struct ruvm_quant_matrix *q, const double *scale)
{
    double largest = 0.0;
    for (uint32_t r = 0; r < q->rows; r++)
        largest = fmax(largest, scale[r]);
    q->scale_exp = (int8_t)ruvm_mantissa_exponent(largest);
    for (uint32_t r = 0; r < q->rows; r++)
        q->scale[r] = ruvm_mantissa_round(scale[r], q->scale_exp);
}

int ruvm_steps_find(const struct ruvm_quant_matrix *slice, double *scale, const float *w,
                    enum ruvm_steps_rule rule, const double *importance, struct ruvm_error *err)
{
    struct row r = {.q = slice, .importance = importance, .rule = rule};
    r.wish = calloc(slice->n_groups, sizeof *r.wish);
    r.trials = calloc(slice->n_groups, N_ROW_SCALES);
    bool ok = r.wish && r.trials;
    for (uint32_t i = 0; ok && i < slice->rows; i++) {
        r.w = w + (size_t)i * slice->cols;
        r.mult = slice->mult + (size_t)i * slice->n_groups;
        scale[i] = choose_row(&r);
    }
    free(r.wish);
    free(r.trials);
    return ok ? RUVM_OK
              : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u rows", slice->rows);
}

int ruvm_steps_choose(struct ruvm_quant_matrix *q, const float *w, enum ruvm_steps_rule rule,
                      const double *importance, struct ruvm_error *err)
{
    double *scale = calloc(q->rows, sizeof *scale);
    if (!scale)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u rows", q->rows);
    int rc = ruvm_steps_find(q, scale, w, rule, importance, err);
    if (rc == RUVM_OK)
        round_scales(q, scale);
    free(scale);
    return rc;
}

/* ruvm_steps_level() for n weights of one step: what lies beyond the levels is cut off first, so
 * that whole numbers fit an int and no rounding is left to a library. */
static inline RUVM_ISA_BODY void round_weights_body(int8_t *level, const float *w, uint32_t n,
                                                    double step, int most, bool odd)
{
    for (uint32_t i = 0; i < n; i++) {
        double x = (double)w[i] / step;
        x = x > most + 1 ? most + 1 : x;
        x = x < -most - 1 ? -most - 1 : x;
        double y = odd ? x / 2 : x;
        int whole = (int)y;
        double rest = y - whole;
        int nearest = whole + (rest >= 0.5) - (rest <= -0.5), below = whole - (rest < 0.0);
        int l = odd ? 2 * below + 1 : nearest;
        l = l > most ? most : l;
        level[i] = (int8_t)(l < -most ? -most : l);
    }
}

RUVM_ISA_EACH(round_weights,
              (int8_t * level, const float *w, uint32_t n, double step, int most, bool odd), level,
              w, n, step, most, odd)

void ruvm_steps_round(struct ruvm_quant_matrix *q, const float *w)
{
    uint32_t group = ruvm_quant_matrix_group(q);
    int most = ruvm_codes_max_level(q->scheme.type);
    bool odd = has_odd_levels(q->scheme.type);
    for (uint32_t r = 0; r < q->rows; r++)
        for (uint32_t g = 0, c = 0; c < q->cols; g++, c += group) {
            double step = ruvm_quant_matrix_step(q, r, g);
            uint32_t left = q->cols - c, n = left < group ? left : group;
            int8_t *level = q->level + (size_t)r * q->cols + c;
            if (step > 0.0)
                round_weights(level, w + (size_t)r * q->cols + c, n, step, most, odd);
            else
                memset(level, odd, n);
        }
}

void ruvm_steps_take(struct ruvm_quant_matrix *q, const double *scale)
{
    round_scales(q, scale);
}
