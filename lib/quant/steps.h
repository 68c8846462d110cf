/* Steps: which real distance two levels of a row get, its scale and its multipliers.
 *
 *     ruvm_steps_choose(&q, weights, RUVM_STEPS_MSE, importance);
 *     ruvm_steps_round(&q, weights);
 *
 * Scales are rounded to the image's mantissas here, so whatever follows works with the
 * steps that the engine will use.
 */
#ifndef RUVM_QUANT_STEPS_H
#define RUVM_QUANT_STEPS_H

#include <math.h>

#include "lib/quant/matrix.h"

enum ruvm_steps_rule {
    /* The largest weight of a group becomes the largest level, so that nothing is clipped;
     * ternary and binary: the mean magnitude (absmean of BitNet b1.58, arXiv 2402.17764). */
    RUVM_STEPS_MAX,
    /* The least mean square error, each column's weighed with its importance. */
    RUVM_STEPS_MSE,
};

/* The level nearest to x = weight / step. */
static inline int ruvm_steps_level(int type, int max_level, double x)
{
    double level =
        type == RUVM_TYPE_INT8 || type == RUVM_TYPE_TERNARY ? round(x) : 2 * floor(x / 2) + 1;
    return level > max_level ? max_level : level < -max_level ? -max_level : (int)level;
}

/* Fills scale, mult and scale_exp of q for the weights w [rows, cols]. importance: [cols],
 * not negative, or NULL: all alike. A group of zeros gets the multiplier 0, a row of zeros
 * the scale 0. RUVM_ERR_MEMORY. */
int ruvm_steps_choose(struct ruvm_quant_matrix *q, const float *w, enum ruvm_steps_rule rule,
                      const double *importance, struct ruvm_error *err);

/* The same in slices of rows: each slice's real scales are found on their own, and its
 * multipliers set; then ruvm_steps_take() rounds the scales of all rows together. scale:
 * [slice->rows]. */
int ruvm_steps_find(const struct ruvm_quant_matrix *slice, double *scale, const float *w,
                    enum ruvm_steps_rule rule, const double *importance, struct ruvm_error *err);

/* Rounds every weight to the nearest level of its step. */
void ruvm_steps_round(struct ruvm_quant_matrix *q, const float *w);

/* Takes real scales [rows] that were found otherwise; levels and multipliers stay. */
void ruvm_steps_take(struct ruvm_quant_matrix *q, const double *scale);

#endif
