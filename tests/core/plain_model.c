/* One token after the other; keys and values saturate as a byte does, but are not rounded. */
#include "tests/core/plain_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

struct plain {
    const struct ruvm_image *img;
    uint32_t q_dim, kv_dim, position;
    double *h, *x, *q, *k, *v, *mixed, *up, *gate, *out; /* vectors */
    double *keys, *values;                               /* [layers, n, kv_dim] */
    uint32_t n;
};

static double *doubles(size_t n)
{
    double *p = calloc(n + 1, sizeof *p);
    if (!p)
        abort();
    return p;
}

static double real(double mantissa, int exponent)
{
    return ldexp(mantissa, exponent);
}

/* y = W x */
static void multiply(const struct plain *m, int kind, uint32_t layer, const double *x, double *y)
{
    struct ruvm_tensor w = ruvm_image_find(m->img, kind, layer);
    for (uint32_t r = 0; r < w.rows; r++) {
        double sum = 0;
        for (uint32_t c = 0; c < w.cols; c++)
            sum += w.data[(size_t)r * w.row_bytes + c] * x[c];
        y[r] = sum * real(w.scales[r], w.scale_exp);
    }
}

static void normalise(const struct plain *m, uint32_t norm)
{
    const struct ruvm_image *img = m->img;
    const int16_t *gain = img->norm_gain + (size_t)norm * img->dim;
    double squares = 0;
    for (uint32_t i = 0; i < img->dim; i++)
        squares += m->h[i] * m->h[i];
    double rms = sqrt(squares / img->dim + real(img->eps_mantissa, img->eps_exp));
    for (uint32_t i = 0; i < img->dim; i++)
        m->x[i] = m->h[i] / rms * real(gain[i], img->norm_exp[norm]);
}

static void rotate(const struct plain *m, double *head)
{
    for (uint32_t i = 0; i < m->img->rope_dims / 2u; i++) {
        double turns = m->position * (m->img->rope_inc[i] / 4294967296.0);
        double angle = 2 * acos(-1.0) * turns;
        double a = head[2 * i], b = head[2 * i + 1];
        head[2 * i] = a * cos(angle) - b * sin(angle);
        head[2 * i + 1] = a * sin(angle) + b * cos(angle);
    }
}

/* What a value is after its stay in the cache: array 0 holds the keys' scales, 2 the values'. */
static double cached(const struct plain *m, uint32_t layer, int array, uint32_t channel, double x)
{
    const uint8_t *record = m->img->kvsc + (size_t)layer * m->img->kvsc_bytes;
    const uint8_t *arrays = record + RUVM_KVSC_ARRAYS;
    size_t bytes = 2 * (size_t)m->kv_dim, at = 2 * (size_t)channel;
    double scale = real(ruvm_load_u16(arrays + (size_t)array * bytes + at), (int8_t)record[array]);
    double inverse =
        real(ruvm_load_u16(arrays + (size_t)(array + 1) * bytes + at), (int8_t)record[array + 1]);
    double zero = array == 0 ? (int16_t)ruvm_load_u16(arrays + 4 * bytes + at) : 0;
    return (fmin(fmax(x * inverse - zero, -127), 127) + zero) * scale;
}

static void remember(const struct plain *m, uint32_t layer)
{
    size_t row = ((size_t)layer * m->n + m->position) * m->kv_dim;
    for (uint32_t i = 0; i < m->kv_dim; i++) {
        m->keys[row + i] = cached(m, layer, 0, i, m->k[i]);
        m->values[row + i] = cached(m, layer, 2, i, m->v[i]);
    }
}

/* Query head q against key head j of each position so far. */
static void attend(const struct plain *m, const double *q, const double *keys, const double *values,
                   double *out)
{
    uint32_t hd = m->img->head_dim;
    double total = 0, *weights = doubles(m->position + 1u), best = -HUGE_VAL;
    for (uint32_t p = 0; p <= m->position; p++) {
        for (uint32_t d = 0; d < hd; d++)
            weights[p] += q[d] * keys[(size_t)p * m->kv_dim + d] / sqrt(hd);
        best = fmax(best, weights[p]);
    }
    memset(out, 0, hd * sizeof *out);
    for (uint32_t p = 0; p <= m->position; p++) {
        double w = exp(weights[p] - best);
        total += w;
        for (uint32_t d = 0; d < hd; d++)
            out[d] += w * values[(size_t)p * m->kv_dim + d];
    }
    for (uint32_t d = 0; d < hd; d++)
        out[d] /= total;
    free(weights);
}

static void add_attention(const struct plain *m, uint32_t layer)
{
    const struct ruvm_image *img = m->img;
    uint32_t hd = img->head_dim;
    normalise(m, 2 * layer);
    multiply(m, RUVM_TENSOR_WQ, layer, m->x, m->q);
    multiply(m, RUVM_TENSOR_WK, layer, m->x, m->k);
    multiply(m, RUVM_TENSOR_WV, layer, m->x, m->v);
    for (uint32_t i = 0; i < m->kv_dim; i += hd)
        rotate(m, m->k + i);
    remember(m, layer);
    for (uint32_t h = 0; h < img->n_heads; h++) {
        uint32_t kv_head = h * img->n_kv_heads / img->n_heads;
        size_t at = (size_t)layer * m->n * m->kv_dim + (size_t)kv_head * hd;
        rotate(m, m->q + (size_t)h * hd);
        attend(m, m->q + (size_t)h * hd, m->keys + at, m->values + at, m->mixed + (size_t)h * hd);
    }
    multiply(m, RUVM_TENSOR_WO, layer, m->mixed, m->out);
    for (uint32_t i = 0; i < img->dim; i++)
        m->h[i] += m->out[i];
}

static void add_feed_forward(const struct plain *m, uint32_t layer)
{
    normalise(m, 2 * layer + 1);
    multiply(m, RUVM_TENSOR_W_UP, layer, m->x, m->up);
    multiply(m, RUVM_TENSOR_W_GATE, layer, m->x, m->gate);
    for (uint32_t i = 0; i < m->img->hidden; i++)
        m->up[i] *= m->gate[i] / (1 + exp(-m->gate[i]));
    multiply(m, RUVM_TENSOR_W_DOWN, layer, m->up, m->out);
    for (uint32_t i = 0; i < m->img->dim; i++)
        m->h[i] += m->out[i];
}

static void step(const struct plain *m, uint16_t token, double *logits)
{
    struct ruvm_tensor w = ruvm_image_find(m->img, RUVM_TENSOR_EMBED, 0);
    for (uint32_t i = 0; i < w.cols; i++)
        m->h[i] = w.data[(size_t)token * w.row_bytes + i] * real(w.scales[token], w.scale_exp);
    for (uint32_t l = 0; l < m->img->n_layers; l++) {
        add_attention(m, l);
        add_feed_forward(m, l);
    }
    normalise(m, 2u * m->img->n_layers);
    multiply(m, RUVM_TENSOR_HEAD, 0, m->x, logits);
}

double *plain_logits(const struct ruvm_image *img, const uint16_t *tokens, uint32_t n)
{
    struct plain m = {.img = img,
                      .q_dim = (uint32_t)img->n_heads * img->head_dim,
                      .kv_dim = (uint32_t)img->n_kv_heads * img->head_dim,
                      .n = n};
    double *logits = doubles((size_t)n * img->vocab);
    size_t cache = (size_t)img->n_layers * n * m.kv_dim, d = img->dim, f = img->hidden;
    double *all = doubles(3 * d + 2 * f + 2 * m.q_dim + 2 * m.kv_dim + 2 * cache), *p = all;
    m.h = p, p += d;
    m.x = p, p += d;
    m.out = p, p += d;
    m.up = p, p += f;
    m.gate = p, p += f;
    m.q = p, p += m.q_dim;
    m.mixed = p, p += m.q_dim;
    m.k = p, p += m.kv_dim;
    m.v = p, p += m.kv_dim;
    m.keys = p, p += cache;
    m.values = p;
    for (; m.position < n; m.position++)
        step(&m, tokens[m.position], logits + (size_t)m.position * img->vocab);
    free(all);
    return logits;
}
