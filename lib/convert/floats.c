/* Sums of one fixed order, and functions made of IEEE additions, multiplications, divisions
 * and square roots only: nothing here is left to a compiler or a C library.
 */
#include "lib/convert/floats.h"

#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h" /* enum ruvm_act */
#include "lib/base/exp.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

/* ---- sums ------------------------------------------------------------------ */

/* Four floats added and multiplied together: gcc and clang have them on every machine,
 * and left to itself gcc interleaves the columns instead. */
struct four {
    float __attribute__((vector_size(16))) f;
};

static struct four load(const float *p)
{
    struct four v;
    memcpy(&v, p, sizeof v);
    return v;
}

void ruvm_floats_tile(float *out, const float *tile, const float *x, uint32_t cols)
{
    struct four a = {{0}}, b = a, c = a, d = a;
    for (uint32_t i = 0; i < cols; i++, tile += RUVM_FLOATS_LANES) {
        a.f += load(tile).f * x[i];
        b.f += load(tile + 4).f * x[i];
        c.f += load(tile + 8).f * x[i];
        d.f += load(tile + 12).f * x[i];
    }
    memcpy(out, &a, sizeof a);
    memcpy(out + 4, &b, sizeof b);
    memcpy(out + 8, &c, sizeof c);
    memcpy(out + 12, &d, sizeof d);
}

void ruvm_floats_multiply(float *out, const struct ruvm_floats_matrix *w, const float *x)
{
    for (uint32_t r = 0; r < w->rows; r += RUVM_FLOATS_LANES)
        ruvm_floats_tile(out + r, w->tiles + (size_t)r * w->cols, x, w->cols);
}

static float sum_lanes(const float *lanes)
{
    float sum = 0;
    for (int l = 0; l < RUVM_FLOATS_LANES; l++)
        sum += lanes[l];
    return sum;
}

static float sum_of(const float *x, size_t n)
{
    float lanes[RUVM_FLOATS_LANES] = {0};
    size_t whole = n / RUVM_FLOATS_LANES * RUVM_FLOATS_LANES;
    for (size_t i = 0; i < whole; i += RUVM_FLOATS_LANES)
        for (size_t l = 0; l < RUVM_FLOATS_LANES; l++)
            lanes[l] += x[i + l];
    for (size_t i = whole; i < n; i++)
        lanes[i - whole] += x[i];
    return sum_lanes(lanes);
}

void ruvm_floats_add(float *h, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h[i] += x[i];
}

/* ---- norms and softmax ------------------------------------------------------ */

void ruvm_floats_rms_norm(float *out, const float *h, const float *gain, size_t n, float eps)
{
    for (size_t i = 0; i < n; i++)
        out[i] = h[i] * h[i];
    float scale = 1.0f / sqrtf(sum_of(out, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        out[i] = gain[i] * (scale * h[i]);
}

void ruvm_floats_layer_norm(float *out, const float *h, const float *gain, const float *bias,
                            size_t n, float eps)
{
    float mean = sum_of(h, n) / (float)n;
    for (size_t i = 0; i < n; i++)
        out[i] = (h[i] - mean) * (h[i] - mean);
    float scale = 1.0f / sqrtf(sum_of(out, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        out[i] = gain[i] * (scale * (h[i] - mean));
    if (bias)
        ruvm_floats_add(out, bias, n);
}

void ruvm_floats_softmax(float *s, size_t n, float scale)
{
    float max = s[0];
    for (size_t i = 1; i < n; i++)
        max = s[i] > max ? s[i] : max;
    for (size_t i = 0; i < n; i++)
        s[i] = ruvm_exp_f32((s[i] - max) * scale);
    float share = 1.0f / sum_of(s, n);
    for (size_t i = 0; i < n; i++)
        s[i] *= share;
}

/* ---- signs and activations --------------------------------------------------- */

void ruvm_floats_signs(float *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] < 0 ? -x[i] : x[i];
    float mean = sum_of(out, n) / (float)n;
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] < 0 ? -mean : mean;
}

void ruvm_floats_gate(float *up, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        up[i] *= gate[i] / (1.0f + ruvm_exp_f32(-gate[i]));
}

/* (1 + tanh(y)) / 2 is the logistic function of 2y. */
static float gelu_tanh(float x)
{
    float y = 0.797884561f * (x + 0.044715f * x * x * x);
    return x / (1.0f + ruvm_exp_f32(-2.0f * y));
}

/* The error function to 2e-7: Abramowitz and Stegun, Handbook of Mathematical Functions,
 * 7.1.26. */
static float erf_f32(float x)
{
    float size = x < 0 ? -x : x, t = 1.0f / (1.0f + 0.3275911f * size);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float y = 1.0f - p * t * ruvm_exp_f32(-size * size);
    return x < 0 ? -y : y;
}

static float gelu_erf(float x)
{
    return 0.5f * x * (1.0f + erf_f32(x * 0.707106781f));
}

void ruvm_floats_activate(float *x, size_t n, int act)
{
    for (size_t i = 0; i < n; i++)
        switch (act) {
        case RUVM_ACT_GELU_TANH: x[i] = gelu_tanh(x[i]); break;
        case RUVM_ACT_GELU_ERF: x[i] = gelu_erf(x[i]); break;
        default: x[i] = x[i] > 0 ? x[i] : 0; break;
        }
}
