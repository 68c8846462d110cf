/* The arithmetic between the products, in loops that compilers turn into vectors. */
#include "lib/train/math.h"

#include <math.h>

#include "formats/ruvm_layout.h" /* enum ruvm_act */
#include "lib/base/exp.h"
#include "lib/train/isa.h"

enum { LANES = 16 };

/* ---- sums -------------------------------------------------------------------- */

static inline RUVM_ISA_BODY float sum_lanes(const float *lanes)
{
    float sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

static inline RUVM_ISA_BODY float sum_of_products(const float *x, const float *y, size_t n)
{
    float lanes[LANES] = {0};
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += x[i + l] * y[i + l];
    for (size_t i = whole; i < n; i++)
        lanes[i - whole] += x[i] * y[i];
    return sum_lanes(lanes);
}

static inline RUVM_ISA_BODY void add_body(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

RUVM_ISA_EACH(add, (float *y, const float *x, size_t n), y, x, n)

void ruvm_math_add(float *y, const float *x, size_t n)
{
    add(y, x, n);
}

static inline RUVM_ISA_BODY void blend_body(float *restrict y, const float *restrict x, float share,
                                            size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = share * y[i] + (1.0f - share) * x[i];
}

RUVM_ISA_EACH(blend, (float *y, const float *x, float share, size_t n), y, x, share, n)

void ruvm_math_blend(float *y, const float *x, float share, size_t n)
{
    blend(y, x, share, n);
}

/* ---- RMS norm -------------------------------------------------------------- */

static inline RUVM_ISA_BODY void norm_body(float *restrict y, const float *restrict h,
                                           const float *restrict gain, float *inverse, uint32_t dim,
                                           float eps)
{
    float scale = 1.0f / sqrtf(sum_of_products(h, h, dim) / (float)dim + eps);
    *inverse = scale;
    for (uint32_t i = 0; i < dim; i++)
        y[i] = gain[i] * (scale * h[i]);
}

RUVM_ISA_EACH(norm,
              (float *y, const float *h, const float *gain, float *inverse, uint32_t dim,
               float eps),
              y, h, gain, inverse, dim, eps)

void ruvm_math_norm(float *y, float *inverse, const float *h, const float *gain, uint32_t n,
                    uint32_t dim, float eps)
{
    for (size_t t = 0; t < n; t++)
        norm(y + t * dim, h + t * dim, gain, inverse + t, dim, eps);
}

/* With s = inverse: y_i = g_i s h_i and ds/dh_i = -s^3 h_i / dim. scaled: dim work. */
static inline RUVM_ISA_BODY void norm_back_body(float *restrict dh, float *restrict dgain,
                                                const float *restrict dy, const float *restrict h,
                                                const float *restrict gain, float s, uint32_t dim)
{
    float lanes[LANES] = {0};
    uint32_t whole = dim / LANES * LANES;
    for (uint32_t i = 0; i < whole; i += LANES)
        for (uint32_t l = 0; l < LANES; l++)
            lanes[l] += dy[i + l] * gain[i + l] * h[i + l];
    for (uint32_t i = whole; i < dim; i++)
        lanes[i - whole] += dy[i] * gain[i] * h[i];
    float pull = sum_lanes(lanes) * s * s / (float)dim;
    for (uint32_t i = 0; i < dim; i++) {
        dgain[i] += dy[i] * (s * h[i]);
        dh[i] += s * (dy[i] * gain[i] - h[i] * pull);
    }
}

RUVM_ISA_EACH(norm_back,
              (float *dh, float *dgain, const float *dy, const float *h, const float *gain, float s,
               uint32_t dim),
              dh, dgain, dy, h, gain, s, dim)

void ruvm_math_norm_backward(float *dh, float *dgain, const float *dy, const float *h,
                             const float *inverse, const float *gain, uint32_t n, uint32_t dim)
{
    for (size_t t = 0; t < n; t++)
        norm_back(dh + t * dim, dgain, dy + t * dim, h + t * dim, gain, inverse[t], dim);
}

/* ---- layer norm -------------------------------------------------------------- */

static inline RUVM_ISA_BODY float sum_of(const float *x, size_t n)
{
    float lanes[LANES] = {0};
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += x[i + l];
    for (size_t i = whole; i < n; i++)
        lanes[i - whole] += x[i];
    return sum_lanes(lanes);
}

/* y is room for the distances to the mean first. */
static inline RUVM_ISA_BODY void layer_norm_body(float *restrict y, const float *restrict h,
                                                 const float *restrict gain, float *stats,
                                                 uint32_t dim, float eps)
{
    float mean = sum_of(h, dim) / (float)dim;
    for (uint32_t i = 0; i < dim; i++)
        y[i] = h[i] - mean;
    float scale = 1.0f / sqrtf(sum_of_products(y, y, dim) / (float)dim + eps);
    for (uint32_t i = 0; i < dim; i++)
        y[i] = gain[i] * (scale * y[i]);
    stats[0] = mean;
    stats[1] = scale;
}

RUVM_ISA_EACH(layer_norm,
              (float *y, const float *h, const float *gain, float *stats, uint32_t dim, float eps),
              y, h, gain, stats, dim, eps)

void ruvm_math_layer_norm(float *y, float *stats, const float *h, const float *gain, uint32_t n,
                          uint32_t dim, float eps)
{
    for (size_t t = 0; t < n; t++)
        layer_norm(y + t * dim, h + t * dim, gain, stats + 2 * t, dim, eps);
}

/* With s = inverse and x = s (h - mean): dh = s (e - mean of e - x times mean of e x), where
 * e = g dy. */
static inline RUVM_ISA_BODY void layer_norm_back_body(float *restrict dh, float *restrict dgain,
                                                      const float *restrict dy,
                                                      const float *restrict h,
                                                      const float *restrict gain,
                                                      const float *stats, uint32_t dim)
{
    float mean = stats[0], s = stats[1], level[LANES] = {0}, along[LANES] = {0};
    for (uint32_t i = 0; i < dim; i += LANES) {
        uint32_t some = dim - i < LANES ? dim - i : LANES;
        for (uint32_t l = 0; l < some; l++) {
            float e = dy[i + l] * gain[i + l];
            level[l] += e;
            along[l] += e * (s * (h[i + l] - mean));
        }
    }
    float shift = sum_lanes(level) / (float)dim, pull = sum_lanes(along) / (float)dim;
    for (uint32_t i = 0; i < dim; i++) {
        float x = s * (h[i] - mean);
        dgain[i] += dy[i] * x;
        dh[i] += s * (dy[i] * gain[i] - shift - x * pull);
    }
}

RUVM_ISA_EACH(layer_norm_back,
              (float *dh, float *dgain, const float *dy, const float *h, const float *gain,
               const float *stats, uint32_t dim),
              dh, dgain, dy, h, gain, stats, dim)

void ruvm_math_layer_norm_backward(float *dh, float *dgain, const float *dy, const float *h,
                                   const float *stats, const float *gain, uint32_t n, uint32_t dim)
{
    for (size_t t = 0; t < n; t++)
        layer_norm_back(dh + t * dim, dgain, dy + t * dim, h + t * dim, gain, stats + 2 * t, dim);
}

/* ---- biases ------------------------------------------------------------------ */

void ruvm_math_bias(float *y, const float *bias, uint32_t n, uint32_t dim)
{
    for (size_t t = 0; t < n; t++)
        add(y + t * dim, bias, dim);
}

void ruvm_math_bias_backward(float *dbias, const float *dy, uint32_t n, uint32_t dim)
{
    for (size_t t = 0; t < n; t++)
        add(dbias, dy + t * dim, dim);
}

/* ---- SwiGLU ------------------------------------------------------------------ */

static inline RUVM_ISA_BODY void swiglu_body(float *restrict y, const float *restrict up,
                                             const float *restrict gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = up[i] * (gate[i] / (1.0f + ruvm_exp_f32(-gate[i])));
}

RUVM_ISA_EACH(swiglu, (float *y, const float *up, const float *gate, size_t n), y, up, gate, n)

void ruvm_math_swiglu(float *y, const float *up, const float *gate, size_t n)
{
    swiglu(y, up, gate, n);
}

/* With s the sigmoid of g: d(g s)/dg = s + g s (1 - s). */
static inline RUVM_ISA_BODY void swiglu_back_body(float *restrict up, float *restrict gate,
                                                  const float *restrict dy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], s = 1.0f / (1.0f + ruvm_exp_f32(-g));
        gate[i] = dy[i] * up[i] * (s + g * s * (1.0f - s));
        up[i] = dy[i] * (g * s);
    }
}

RUVM_ISA_EACH(swiglu_back, (float *up, float *gate, const float *dy, size_t n), up, gate, dy, n)

void ruvm_math_swiglu_backward(float *up, float *gate, const float *dy, size_t n)
{
    swiglu_back(up, gate, dy, n);
}

/* ---- activations without gate ------------------------------------------------- */

/* (1 + tanh(y)) / 2 is the logistic function of 2y. */
static const float tanh_root = 0.797884561f, tanh_cube = 0.044715f;

static inline RUVM_ISA_BODY float logistic_of(float x)
{
    float y = tanh_root * (x + tanh_cube * x * x * x);
    return 1.0f / (1.0f + ruvm_exp_f32(-2.0f * y));
}

static inline RUVM_ISA_BODY void gelu_tanh_body(float *restrict y, const float *restrict x,
                                                size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * logistic_of(x[i]);
}

static inline RUVM_ISA_BODY void gelu_tanh_back_body(float *restrict x, const float *restrict dy,
                                                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i], s = logistic_of(v);
        float slope = 2.0f * tanh_root * (1.0f + 3.0f * tanh_cube * v * v);
        x[i] = dy[i] * (s + v * s * (1.0f - s) * slope);
    }
}

/* The normal distribution up to x, to 1e-7: Abramowitz and Stegun, Handbook of Mathematical
 * Functions, 7.1.26. */
static inline RUVM_ISA_BODY float normal_up_to(float x)
{
    float size = (x < 0 ? -x : x) * 0.707106781f, t = 1.0f / (1.0f + 0.3275911f * size);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float beyond = 0.5f * (p * t * ruvm_exp_f32(-size * size));
    return x < 0 ? beyond : 1.0f - beyond;
}

static inline RUVM_ISA_BODY void gelu_erf_body(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * normal_up_to(x[i]);
}

static inline RUVM_ISA_BODY void gelu_erf_back_body(float *restrict x, const float *restrict dy,
                                                    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i], density = 0.398942280f * ruvm_exp_f32(-0.5f * v * v);
        x[i] = dy[i] * (normal_up_to(v) + v * density);
    }
}

static inline RUVM_ISA_BODY void relu_body(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0.0f;
}

static inline RUVM_ISA_BODY void relu_back_body(float *restrict x, const float *restrict dy,
                                                size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 0 ? dy[i] : 0.0f;
}

RUVM_ISA_EACH(gelu_tanh, (float *y, const float *x, size_t n), y, x, n)
RUVM_ISA_EACH(gelu_tanh_back, (float *x, const float *dy, size_t n), x, dy, n)
RUVM_ISA_EACH(gelu_erf, (float *y, const float *x, size_t n), y, x, n)
RUVM_ISA_EACH(gelu_erf_back, (float *x, const float *dy, size_t n), x, dy, n)
RUVM_ISA_EACH(relu, (float *y, const float *x, size_t n), y, x, n)
RUVM_ISA_EACH(relu_back, (float *x, const float *dy, size_t n), x, dy, n)

void ruvm_math_activate(float *y, const float *x, size_t n, int act)
{
    switch (act) {
    case RUVM_ACT_GELU_TANH: gelu_tanh(y, x, n); break;
    case RUVM_ACT_GELU_ERF: gelu_erf(y, x, n); break;
    default: relu(y, x, n); break;
    }
}

void ruvm_math_activate_backward(float *x, const float *dy, size_t n, int act)
{
    switch (act) {
    case RUVM_ACT_GELU_TANH: gelu_tanh_back(x, dy, n); break;
    case RUVM_ACT_GELU_ERF: gelu_erf_back(x, dy, n); break;
    default: relu_back(x, dy, n); break;
    }
}

/* ---- signs ------------------------------------------------------------------- */

static float mean_size(const float *x, uint32_t n)
{
    float sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += fabsf(x[i]);
    return sum / (float)n;
}

void ruvm_math_signs(float *y, const float *x, uint32_t n, uint32_t dim)
{
    for (uint32_t t = 0; t < n; t++, x += dim, y += dim) {
        float mean = mean_size(x, dim);
        for (uint32_t i = 0; i < dim; i++)
            y[i] = x[i] < 0 ? -mean : mean;
    }
}

void ruvm_math_signs_backward(float *dx, const float *dy, const float *x, uint32_t n, uint32_t dim)
{
    for (uint32_t t = 0; t < n; t++, x += dim, dy += dim, dx += dim) {
        float limit = 2.0f * mean_size(x, dim), dmean = 0;
        for (uint32_t i = 0; i < dim; i++)
            dmean += x[i] < 0 ? -dy[i] : dy[i];
        dmean /= (float)dim;
        for (uint32_t i = 0; i < dim; i++) {
            float through = fabsf(x[i]) <= limit ? dy[i] : 0.0f;
            dx[i] += through + (x[i] < 0 ? -dmean : dmean);
        }
    }
}

/* ---- the loss ------------------------------------------------------------------ */

static inline RUVM_ISA_BODY float largest(const float *x, size_t n)
{
    float lanes[LANES];
    for (size_t l = 0; l < LANES; l++)
        lanes[l] = x[l < n ? l : 0];
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (size_t i = whole; i < n; i++)
        lanes[i - whole] = x[i] > lanes[i - whole] ? x[i] : lanes[i - whole];
    for (size_t l = 1; l < LANES; l++)
        lanes[0] = lanes[l] > lanes[0] ? lanes[l] : lanes[0];
    return lanes[0];
}

/* Sums of one token's exponentials, and of the teacher's times the difference of logits. */
struct sums {
    float teacher, student, difference;
};

/* Both rows become exponentials of their distance to their largest. */
static inline RUVM_ISA_BODY void exponentials_body(struct sums *sums, float *restrict s,
                                                   float *restrict t, uint32_t n)
{
    float t_max = largest(t, n), s_max = largest(s, n);
    float ts[LANES] = {0}, ss[LANES] = {0}, ds[LANES] = {0};
    for (uint32_t i = 0; i < n; i += LANES) {
        uint32_t some = n - i < LANES ? n - i : LANES;
        float te[LANES] = {0}, se[LANES] = {0}, de[LANES] = {0};
        for (uint32_t l = 0; l < some; l++) {
            float a = t[i + l] - t_max, b = s[i + l] - s_max;
            te[l] = t[i + l] = ruvm_exp_f32(a);
            se[l] = s[i + l] = ruvm_exp_f32(b);
            de[l] = te[l] * (a - b);
        }
        for (uint32_t l = 0; l < LANES; l++) {
            ts[l] += te[l];
            ss[l] += se[l];
            ds[l] += de[l];
        }
    }
    *sums = (struct sums){sum_lanes(ts), sum_lanes(ss), sum_lanes(ds)};
}

RUVM_ISA_EACH(exponentials, (struct sums * sums, float *s, float *t, uint32_t n), sums, s, t, n)

static inline RUVM_ISA_BODY void difference_body(float *restrict s, const float *restrict t,
                                                 uint32_t n, float s_share, float t_share)
{
    for (uint32_t i = 0; i < n; i++)
        s[i] = s[i] * s_share - t[i] * t_share;
}

RUVM_ISA_EACH(difference, (float *s, const float *t, uint32_t n, float s_share, float t_share), s,
              t, n, s_share, t_share)

double ruvm_math_divergence(float *student, float *teacher, uint32_t n, uint32_t vocab, float scale)
{
    double loss = 0;
    for (uint32_t i = 0; i < n; i++, student += vocab, teacher += vocab) {
        struct sums sums;
        exponentials(&sums, student, teacher, vocab);
        difference(student, teacher, vocab, scale / sums.student, scale / sums.teacher);
        loss += (double)sums.difference / (double)sums.teacher + log((double)sums.student) -
                log((double)sums.teacher);
    }
    return loss;
}
