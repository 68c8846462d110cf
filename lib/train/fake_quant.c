/* One group of a row at a time: its step as the image has it, then its levels. */
#include "lib/train/fake_quant.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "lib/train/isa.h"

enum { STEPS_TRIED = 42, STEPS_TO_MAX = 40 }; /* of those 40ths of the largest weight's */

/* A step is never 0, not even that of a row of zeros. */
static const float min_step = 1e-12f;

/* ---- one group ------------------------------------------------------------------- */

/* What the levels of a type are. */
struct levels {
    bool has_zero; /* all whole numbers; else the odd ones */
    float max;
    float end; /* where clipping begins */
};

static struct levels levels_of(int type)
{
    bool has_zero = type == RUVM_TYPE_INT8 || type == RUVM_TYPE_TERNARY;
    float max = (float)ruvm_codes_max_level(type);
    struct levels l = {has_zero, max, max + (has_zero ? 0.5f : 1.0f)};
    return l;
}

static inline RUVM_ISA_BODY float level_of(float x, bool has_zero, float max)
{
    float level = has_zero ? floorf(x + 0.5f) : 2.0f * floorf(x * 0.5f) + 1.0f;
    level = level > max ? max : level;
    return level < -max ? -max : level;
}

static inline RUVM_ISA_BODY void quantize_body(float *restrict out, const float *restrict w,
                                               uint32_t n, struct levels l, float inverse,
                                               float worth)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = level_of(w[i] * inverse, l.has_zero, l.max) * worth;
}

/* out = levels of w * inverse, times worth. */
RUVM_ISA_EACH(quantize,
              (float *out, const float *w, uint32_t n, struct levels l, float inverse, float worth),
              out, w, n, l, inverse, worth)

static inline RUVM_ISA_BODY void differentiate_body(float *restrict dstep, float *restrict dw,
                                                    const float *restrict w, uint32_t n,
                                                    struct levels l, float inverse)
{
    for (uint32_t i = 0; i < n; i++) {
        float x = w[i] * inverse, level = level_of(x, l.has_zero, l.max);
        bool inside = fabsf(x) <= l.end;
        dstep[i] = dw[i] * (inside ? level - x : level);
        dw[i] = inside ? dw[i] : 0.0f;
    }
}

/* dw becomes the derivative by w; dstep [n] what each weight adds to the step's. */
RUVM_ISA_EACH(differentiate,
              (float *dstep, float *dw, const float *w, uint32_t n, struct levels l, float inverse),
              dstep, dw, w, n, l, inverse)

/* ---- steps of the image -------------------------------------------------------- */

uint32_t ruvm_fake_quant_groups(const struct ruvm_fake_quant *f)
{
    if (f->type == RUVM_FAKE_QUANT_FLOAT)
        return 0;
    return f->group ? (f->cols + f->group - 1) / f->group : 1;
}

float ruvm_fake_quant_half_gap(const struct ruvm_fake_quant *f)
{
    return levels_of(f->type).has_zero ? 0.5f : 1.0f;
}

static uint32_t group_cols(const struct ruvm_fake_quant *f, uint32_t g)
{
    uint32_t group = f->group ? f->group : f->cols, left = f->cols - g * group;
    return left < group ? left : group;
}

/* The scale of a row: the largest step gets the largest multiplier. */
static float scale_of(const struct ruvm_fake_quant *f, const float *steps)
{
    float largest = steps[0];
    for (uint32_t g = 1; g < ruvm_fake_quant_groups(f); g++)
        largest = steps[g] > largest ? steps[g] : largest;
    return f->group ? largest / RUVM_MULT_MAX : largest;
}

static uint8_t multiplier_of(const struct ruvm_fake_quant *f, float scale, float step)
{
    if (!f->group)
        return 1;
    float m = floorf(step / scale + 0.5f);
    return (uint8_t)(m < 1 ? 1 : m > RUVM_MULT_MAX ? RUVM_MULT_MAX : m);
}

/* ---- rows ------------------------------------------------------------------------ */

/* The step with the least square error, out of some below and above that which puts the
 * largest weight on the largest level. */
static float best_step(const struct ruvm_fake_quant *f, const float *w, uint32_t n)
{
    struct levels l = levels_of(f->type);
    float largest = 0, best = min_step;
    double least = HUGE_VAL;
    for (uint32_t i = 0; i < n; i++)
        largest = fabsf(w[i]) > largest ? fabsf(w[i]) : largest;
    for (int t = 1; t <= STEPS_TRIED && largest / l.max > min_step; t++) {
        float step = largest / l.max * (float)t / STEPS_TO_MAX;
        double error = 0;
        for (uint32_t i = 0; i < n; i++) {
            float miss = w[i] - level_of(w[i] / step, l.has_zero, l.max) * step;
            error += (double)miss * (double)miss;
        }
        if (error < least) {
            least = error;
            best = step;
        }
    }
    return best;
}

void ruvm_fake_quant_start(const struct ruvm_fake_quant *f, float *steps, const float *w)
{
    uint32_t n_groups = ruvm_fake_quant_groups(f);
    for (uint32_t r = 0; r < f->rows && n_groups > 0; r++)
        for (uint32_t g = 0; g < n_groups; g++) {
            *steps++ = best_step(f, w, group_cols(f, g));
            w += group_cols(f, g);
        }
}

void ruvm_fake_quant_weights(const struct ruvm_fake_quant *f, float *out, const float *w,
                             const float *steps)
{
    uint32_t n_groups = ruvm_fake_quant_groups(f);
    if (n_groups == 0) {
        memcpy(out, w, (size_t)f->rows * f->cols * sizeof *out);
        return;
    }
    struct levels l = levels_of(f->type);
    for (uint32_t r = 0; r < f->rows; r++, steps += n_groups) {
        float scale = scale_of(f, steps);
        for (uint32_t g = 0; g < n_groups; g++) {
            uint32_t n = group_cols(f, g);
            float step = scale * multiplier_of(f, scale, steps[g]);
            quantize(out, w, n, l, 1.0f / step, step);
            w += n;
            out += n;
        }
    }
}

/* Of one group of any size; d log step = step * d step. */
static float group_gradient(float *dw, const float *w, uint32_t n, struct levels l, float step)
{
    enum { PIECE = 64 };
    float parts[PIECE], sum = 0;
    for (uint32_t i = 0; i < n; i += PIECE) {
        uint32_t some = n - i < PIECE ? n - i : PIECE;
        differentiate(parts, dw + i, w + i, some, l, 1.0f / step);
        for (uint32_t j = 0; j < some; j++)
            sum += parts[j];
    }
    return sum * step;
}

void ruvm_fake_quant_gradient(const struct ruvm_fake_quant *f, float *dw, float *dsteps,
                              const float *w, const float *steps)
{
    uint32_t n_groups = ruvm_fake_quant_groups(f);
    struct levels l = levels_of(f->type);
    for (uint32_t r = 0; r < f->rows && n_groups > 0; r++, steps += n_groups) {
        float scale = scale_of(f, steps);
        for (uint32_t g = 0; g < n_groups; g++) {
            uint32_t n = group_cols(f, g);
            float step = scale * multiplier_of(f, scale, steps[g]);
            *dsteps++ = group_gradient(dw, w, n, l, step);
            w += n;
            dw += n;
        }
    }
}

void ruvm_fake_quant_row(const struct ruvm_fake_quant *f, int8_t *levels, float *scale,
                         uint8_t *multipliers, const float *w, const float *steps)
{
    struct levels l = levels_of(f->type);
    *scale = scale_of(f, steps);
    for (uint32_t g = 0; g < ruvm_fake_quant_groups(f); g++) {
        multipliers[g] = multiplier_of(f, *scale, steps[g]);
        float inverse = 1.0f / (*scale * multipliers[g]);
        for (uint32_t i = group_cols(f, g); i > 0; i--)
            *levels++ = (int8_t)level_of(*w++ * inverse, l.has_zero, l.max);
    }
}
