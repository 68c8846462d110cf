/* One token after the other; keys and values saturate as a byte does, but are not rounded
 * to eight bits. To four they are, for there rounding is no longer small. */
#include "tests/core/plain_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

struct plain {
    const struct ruvm_image *img;
    uint32_t q_dim, kv_dim, position;
    double *h, *input, *x, *q, *k, *v, *mixed, *up, *gate, *out; /* vectors */
    double *keys, *values;                                       /* [layers, n, kv_dim] */
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

/* ---- weights, straight from the page ---------------------------------------- */

/* Byte of a column in a row of words that hold b bits a column, and the code in it. */
static unsigned code(const uint8_t *row, uint32_t c, unsigned b)
{
    uint32_t in_word = 32 / b, word = c / in_word, k = c % in_word;
    return row[4 * word + k % 4] >> b * (k / 4) & ((1u << b) - 1);
}

static int ternary(const uint8_t *row, uint32_t c, uint32_t row_bytes)
{
    unsigned v = row[c % row_bytes] * 243u / 256;
    static const unsigned power[] = {81, 27, 9, 3, 1};
    return (int)(v / power[c / row_bytes] % 3) - 1;
}

static int level(const struct ruvm_tensor *w, uint32_t r, uint32_t c)
{
    const uint8_t *row = (const uint8_t *)w->data + (size_t)r * w->row_bytes;
    const uint8_t *block = row + c / 32 * 12;
    switch (w->type) {
    case RUVM_TYPE_INT8: return (int8_t)row[c];
    case RUVM_TYPE_INT4: return 2 * (int)code(row, c, 4) - 15;
    case RUVM_TYPE_INT3:
        return 2 * (int)(code(block, c % 32, 2) + 4 * code(block + 8, c % 32, 1)) - 7;
    case RUVM_TYPE_INT2: return 2 * (int)code(row, c, 2) - 3;
    case RUVM_TYPE_TERNARY: return ternary(row, c, w->row_bytes);
    default: return 2 * (int)code(row, c, 1) - 1;
    }
}

static double weight(const struct ruvm_tensor *w, uint32_t r, uint32_t c)
{
    double mult = 1;
    if (w->group) {
        uint32_t g = c / w->group;
        mult = (w->mult[(size_t)r * w->mult_bytes + g / 2] >> (g % 2 ? 4 : 0)) & 15;
    }
    return level(w, r, c) * mult * real(w->scales[r], w->scale_exp);
}

/* The input of an XNOR matrix: signs of its size. What eight bits round to 0 is positive. */
static void reduce(const double *x, double *signs, uint32_t n)
{
    double sum = 0, most = 0;
    for (uint32_t c = 0; c < n; c++) {
        sum += fabs(x[c]);
        most = fmax(most, fabs(x[c]));
    }
    for (uint32_t c = 0; c < n; c++)
        signs[c] = x[c] >= -most / 254 ? sum / n : -sum / n;
}

/* y = W x + b */
static void multiply(const struct plain *m, int kind, uint32_t layer, const double *x, double *y)
{
    struct ruvm_tensor w = ruvm_image_find(m->img, kind, layer);
    struct ruvm_bias bias = {0};
    double *signs = doubles(w.cols);
    if (kind != RUVM_TENSOR_HEAD) /* kinds of layers' matrices and of their biases agree */
        bias = ruvm_image_bias(m->img, (enum ruvm_bias_kind)(kind - RUVM_TENSOR_WQ), layer);
    if (w.type == RUVM_TYPE_XNOR) {
        reduce(x, signs, w.cols);
        x = signs;
    }
    for (uint32_t r = 0; r < w.rows; r++) {
        y[r] = bias.m ? real(bias.m[r], bias.exp) : 0;
        for (uint32_t c = 0; c < w.cols; c++)
            y[r] += weight(&w, r, c) * x[c];
    }
    free(signs);
}

/* ---- the network ------------------------------------------------------------- */

static struct ruvm_bias bias_of_norm(const struct ruvm_image *img, uint32_t norm)
{
    if (norm == 2u * img->n_layers)
        return ruvm_image_bias(img, RUVM_BIAS_FINAL_NORM, 0);
    return ruvm_image_bias(img, norm % 2 ? RUVM_BIAS_FFN_NORM : RUVM_BIAS_ATTN_NORM, norm / 2);
}

/* x = norm of h */
static void normalise(const struct plain *m, const double *h, uint32_t norm)
{
    const struct ruvm_image *img = m->img;
    const int16_t *gain = img->norm_gain + (size_t)norm * img->dim;
    struct ruvm_bias bias = bias_of_norm(img, norm);
    double squares = 0, mean = 0;
    for (uint32_t i = 0; i < img->dim && img->norm == RUVM_NORM_LAYER; i++)
        mean += h[i] / img->dim;
    for (uint32_t i = 0; i < img->dim; i++)
        squares += (h[i] - mean) * (h[i] - mean);
    double rms = sqrt(squares / img->dim + real(img->eps_mantissa, img->eps_exp));
    for (uint32_t i = 0; i < img->dim; i++) {
        m->x[i] = (h[i] - mean) / rms * real(gain[i], img->norm_exp[norm]);
        m->x[i] += bias.m ? real(bias.m[i], bias.exp) : 0;
    }
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

/* The arrays of KVSC that belong to keys and to values. */
enum { OF_KEYS = 0, OF_VALUES = 2 };

static double kv_scale(const struct plain *m, uint32_t layer, int array, uint32_t channel)
{
    const uint8_t *record = m->img->kvsc + (size_t)layer * m->img->kvsc_bytes;
    size_t at = RUVM_KVSC_ARRAYS + 2 * ((size_t)array * m->kv_dim + channel);
    return real(ruvm_load_u16(record + at), (int8_t)record[array]);
}

static double kv_zero(const struct plain *m, uint32_t layer, uint32_t channel)
{
    const uint8_t *record = m->img->kvsc + (size_t)layer * m->img->kvsc_bytes;
    return (int16_t)ruvm_load_u16(record + RUVM_KVSC_ARRAYS +
                                  2 * (4 * (size_t)m->kv_dim + channel));
}

/* 16 levels, the odd fifteenths of the largest value. */
static void round_to_4_bits(double *v, uint32_t n)
{
    double most = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmax(most, fabs(v[i]));
    for (uint32_t i = 0; i < n && most > 0; i++)
        v[i] = (2 * fmin(fmax(floor((v[i] / most * 15 + 16) / 2), 0), 15) - 15) * most / 15;
}

/* What a head's values are after their stay in the cache. */
static void keep(const struct plain *m, uint32_t layer, int arrays, uint32_t first, const double *v,
                 double *out)
{
    uint32_t hd = m->img->head_dim;
    for (uint32_t i = 0; i < hd; i++) {
        double zero = arrays == OF_KEYS ? kv_zero(m, layer, first + i) : 0;
        double steps = v[i] * kv_scale(m, layer, arrays + 1, first + i) - zero;
        out[i] = fmin(fmax(steps, -127), 127);
    }
    if ((arrays == OF_KEYS ? m->img->k_bits : m->img->v_bits) == 4)
        round_to_4_bits(out, hd);
    for (uint32_t i = 0; i < hd; i++) {
        double zero = arrays == OF_KEYS ? kv_zero(m, layer, first + i) : 0;
        out[i] = (out[i] + zero) * kv_scale(m, layer, arrays, first + i);
    }
}

static void remember(const struct plain *m, uint32_t layer)
{
    size_t row = ((size_t)layer * m->n + m->position) * m->kv_dim;
    for (uint32_t i = 0; i < m->kv_dim; i += m->img->head_dim) {
        keep(m, layer, OF_KEYS, i, m->k + i, m->keys + row + i);
        keep(m, layer, OF_VALUES, i, m->v + i, m->values + row + i);
    }
}

/* The first position that the current one sees. */
static uint32_t first_seen(const struct plain *m, uint32_t layer)
{
    const struct ruvm_image *img = m->img;
    bool is_local = img->window > 0 && (!img->wind || img->wind[layer]);
    return is_local && m->position >= img->window ? m->position - img->window + 1u : 0;
}

/* Query head q against key head j of each position from `first` on. */
static void attend(const struct plain *m, uint32_t first, const double *q, const double *keys,
                   const double *values, double *out)
{
    const struct ruvm_image *img = m->img;
    uint32_t hd = img->head_dim;
    double total = 0, *weights = doubles(m->position + 1u), best = -HUGE_VAL;
    double scale =
        img->score_mantissa ? real(img->score_mantissa, img->score_exp) : 1 / sqrt((double)hd);
    for (uint32_t p = first; p <= m->position; p++) {
        for (uint32_t d = 0; d < hd; d++)
            weights[p] += q[d] * keys[(size_t)p * m->kv_dim + d] * scale;
        best = fmax(best, weights[p]);
    }
    memset(out, 0, hd * sizeof *out);
    for (uint32_t p = first; p <= m->position; p++) {
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
    uint32_t hd = img->head_dim, first = first_seen(m, layer);
    normalise(m, m->h, 2 * layer);
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
        attend(m, first, m->q + (size_t)h * hd, m->keys + at, m->values + at,
               m->mixed + (size_t)h * hd);
    }
    multiply(m, RUVM_TENSOR_WO, layer, m->mixed, m->out);
    for (uint32_t i = 0; i < img->dim; i++)
        m->h[i] += m->out[i];
}

static double activate(int act, double x)
{
    switch (act) {
    case RUVM_ACT_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case RUVM_ACT_GELU_ERF: return x / 2 * (1 + erf(x / sqrt(2)));
    case RUVM_ACT_RELU: return fmax(x, 0);
    default: return x / (1 + exp(-x));
    }
}

/* input: what the layer's second norm reads. */
static void add_feed_forward(const struct plain *m, uint32_t layer, const double *input)
{
    int act = m->img->act;
    normalise(m, input, 2 * layer + 1);
    multiply(m, RUVM_TENSOR_W_UP, layer, m->x, m->up);
    if (act == RUVM_ACT_SILU_GATED)
        multiply(m, RUVM_TENSOR_W_GATE, layer, m->x, m->gate);
    for (uint32_t i = 0; i < m->img->hidden; i++)
        m->up[i] = act == RUVM_ACT_SILU_GATED ? m->up[i] * activate(act, m->gate[i])
                                              : activate(act, m->up[i]);
    multiply(m, RUVM_TENSOR_W_DOWN, layer, m->up, m->out);
    for (uint32_t i = 0; i < m->img->dim; i++)
        m->h[i] += m->out[i];
}

static void step(const struct plain *m, uint16_t token, double *logits)
{
    struct ruvm_tensor w = ruvm_image_find(m->img, RUVM_TENSOR_EMBED, 0);
    for (uint32_t i = 0; i < w.cols; i++)
        m->h[i] = weight(&w, token, i);
    if (m->img->pos == RUVM_POS_LEARNED) {
        struct ruvm_tensor positions = ruvm_image_find(m->img, RUVM_TENSOR_POSITION, 0);
        for (uint32_t i = 0; i < w.cols; i++)
            m->h[i] += weight(&positions, m->position, i);
    }
    for (uint32_t l = 0; l < m->img->n_layers; l++) {
        memcpy(m->input, m->h, w.cols * sizeof *m->h);
        add_attention(m, l);
        add_feed_forward(m, l, m->img->parallel ? m->input : m->h);
    }
    normalise(m, m->h, 2u * m->img->n_layers);
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
    double *all = doubles(4 * d + 2 * f + 2 * m.q_dim + 2 * m.kv_dim + 2 * cache), *p = all;
    m.h = p, p += d;
    m.input = p, p += d;
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
