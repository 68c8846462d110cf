#include "tests/train/plain_network.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "formats/formats.h"
#include "tests/support/tiny_model.h"

void plain_open(struct ruvm_network *net, struct ruvm_model *m, struct ruvm_arena *arena,
                const struct tiny_shape *shape)
{
    struct ruvm_buffer file = tiny_checkpoint(shape);
    struct ruvm_tensors tensors = {0};
    struct ruvm_error err = {0};
    uint8_t *bytes = ruvm_arena_alloc(arena, file.size, 1);
    memcpy(bytes, file.data, file.size);
    size_t size = file.size;
    ruvm_buffer_free(&file);
    const struct ruvm_format *f = ruvm_formats_probe(bytes, size);
    cr_assert_not_null(f);
    cr_assert_eq(f->read(&tensors, arena, bytes, size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_model_from_tensors(m, arena, &tensors, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_network_open(net, arena, m, &err), RUVM_OK, "%s", err.text);
}

void plain_open_tiny(struct ruvm_network *net, struct ruvm_model *m, struct ruvm_arena *arena,
                     int n)
{
    struct ruvm_error err = {0};
    struct ruvm_tensors tensors = tiny_models_make(arena, n, TINY_RUVM, 6);
    if (n == TINY_MISTRAL) { /* RoPE scaled, as in Llama 3 */
        ruvm_tensors_meta_text(&tensors, arena, "rope_scaling", "linear");
        tiny_models_set(&tensors, arena, "rope_factor", 2.5);
    }
    if (n == TINY_GPT2) /* as in OPT */
        tiny_models_set(&tensors, arena, "activation", 3);
    cr_assert_eq(ruvm_model_from_tensors(m, arena, &tensors, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_network_open(net, arena, m, &err), RUVM_OK, "%s", err.text);
}

void plain_tokens(uint32_t *tokens, uint32_t n, uint32_t vocab, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)(tiny_random(&seed) % vocab);
}

/* Sizes of one token's state, and the caches of all tokens. */
struct plain {
    const struct ruvm_network *net;
    const double *values;
    double *keys, *vals; /* [n_layers, n, kv_dim] */
    uint32_t n, kv_dim, q_dim, position;
};

static uint32_t find(const struct ruvm_network *net, int kind, uint32_t layer)
{
    uint32_t i = 0;
    while (net->matrices[i].kind != kind || net->matrices[i].layer != layer)
        i++;
    return i;
}

static void times(double *y, const struct plain *p, uint32_t matrix, const double *x)
{
    const struct ruvm_network_matrix *m = &p->net->matrices[matrix];
    const double *w = p->values + (m->w - p->net->values);
    const double *bias = m->bias ? p->values + (m->bias - p->net->values) : NULL;
    double mean = 0;
    for (uint32_t c = 0; c < m->cols; c++)
        mean += fabs(x[c]) / m->cols;
    for (uint32_t r = 0; r < m->rows; r++) {
        y[r] = bias ? bias[r] : 0;
        for (uint32_t c = 0; c < m->cols; c++)
            y[r] += w[(size_t)r * m->cols + c] * (!m->signs ? x[c] : x[c] < 0 ? -mean : mean);
    }
}

/* bias: enum ruvm_bias_kind */
static void norm(double *y, const struct plain *p, uint32_t which, int bias, const double *h)
{
    const struct ruvm_network *net = p->net;
    uint32_t dim = net->dim;
    const double *gain = p->values + (net->norms - net->values) + (size_t)which * dim;
    const float *at = ruvm_network_bias(net, bias, bias == RUVM_BIAS_FINAL_NORM ? 0 : which / 2);
    const double *shift = at ? p->values + (at - net->values) : NULL;
    double square = 0, mean = 0;
    for (uint32_t i = 0; i < dim && net->norm == RUVM_NORM_LAYER; i++)
        mean += h[i] / dim;
    for (uint32_t i = 0; i < dim; i++)
        square += (h[i] - mean) * (h[i] - mean);
    for (uint32_t i = 0; i < dim; i++)
        y[i] = gain[i] * (h[i] - mean) / sqrt(square / dim + (double)net->norm_eps) +
               (shift ? shift[i] : 0);
}

static void turn(double *x, const struct plain *p, uint32_t cols)
{
    const struct ruvm_network *net = p->net;
    for (uint32_t i = 0; i < cols; i += 2) {
        uint32_t d = i % net->head_dim;
        if (d >= net->rotary_dim)
            continue;
        double angle = p->position * pow((double)net->rope_theta, -(double)d / net->rotary_dim);
        if (net->rope_factors)
            angle /= (double)net->rope_factors[d / 2];
        double a = x[i], b = x[i + 1];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + 1] = a * sin(angle) + b * cos(angle);
    }
}

static void head(double *out, const double *q, const struct plain *p, uint32_t l, size_t cache)
{
    const struct ruvm_network *net = p->net;
    uint32_t head_dim = net->head_dim, end = p->position + 1, first = 0;
    double scale = net->score_scale > 0 ? (double)net->score_scale : 1 / sqrt(head_dim);
    double sum = 0, *w = calloc(end, sizeof *w);
    if (net->windows && end > net->windows[l])
        first = end - net->windows[l];
    for (uint32_t t = first; t < end; t++) {
        double score = 0;
        for (uint32_t d = 0; d < head_dim; d++)
            score += q[d] * p->keys[cache + (size_t)t * p->kv_dim + d];
        sum += w[t] = exp(score * scale);
    }
    for (uint32_t d = 0; d < head_dim; d++) {
        out[d] = 0;
        for (uint32_t t = first; t < end; t++)
            out[d] += w[t] / sum * p->vals[cache + (size_t)t * p->kv_dim + d];
    }
    free(w);
}

/* out = what attention adds */
static void attend(double *out, const double *h, const struct plain *p, uint32_t l)
{
    const struct ruvm_network *net = p->net;
    double x[256], q[256], mixed[256];
    size_t cache = (size_t)l * p->n * p->kv_dim;
    double *k = p->keys + cache + (size_t)p->position * p->kv_dim;
    norm(x, p, 2 * l, RUVM_BIAS_ATTN_NORM, h);
    times(q, p, find(net, RUVM_TENSOR_WQ, l), x);
    times(k, p, find(net, RUVM_TENSOR_WK, l), x);
    times(p->vals + cache + (size_t)p->position * p->kv_dim, p, find(net, RUVM_TENSOR_WV, l), x);
    if (net->pos == RUVM_POS_ROPE) {
        turn(q, p, p->q_dim);
        turn(k, p, p->kv_dim);
    }
    for (uint32_t i = 0; i < net->n_heads; i++)
        head(mixed + i * net->head_dim, q + i * net->head_dim, p, l,
             cache + i / (net->n_heads / net->n_kv_heads) * net->head_dim);
    times(out, p, find(net, RUVM_TENSOR_WO, l), mixed);
}

static double activated(double x, int act)
{
    switch (act) {
    case RUVM_ACT_SILU_GATED: return x / (1 + exp(-x));
    case RUVM_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case RUVM_ACT_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
    default: return x > 0 ? x : 0;
    }
}

static void feed(double *out, const double *h, const struct plain *p, uint32_t l)
{
    const struct ruvm_network *net = p->net;
    bool gated = net->act == RUVM_ACT_SILU_GATED;
    double x[256], up[256], gate[256];
    norm(x, p, 2 * l + 1, RUVM_BIAS_FFN_NORM, h);
    times(up, p, find(net, RUVM_TENSOR_W_UP, l), x);
    if (gated)
        times(gate, p, find(net, RUVM_TENSOR_W_GATE, l), x);
    for (uint32_t i = 0; i < net->hidden; i++)
        up[i] = gated ? up[i] * activated(gate[i], net->act) : activated(up[i], net->act);
    times(out, p, find(net, RUVM_TENSOR_W_DOWN, l), up);
}

static void layer(double *h, const struct plain *p, uint32_t l)
{
    const struct ruvm_network *net = p->net;
    double attended[256], fed[256];
    attend(attended, h, p, l);
    if (net->parallel)
        feed(fed, h, p, l);
    for (uint32_t i = 0; i < net->dim; i++)
        h[i] += attended[i];
    if (!net->parallel)
        feed(fed, h, p, l);
    for (uint32_t i = 0; i < net->dim; i++)
        h[i] += fed[i];
}

void plain_forward(double *logits, const struct ruvm_network *net, const double *values,
                   const uint32_t *tokens, uint32_t n)
{
    double h[256], x[256];
    struct plain p = {.net = net, .values = values, .n = n};
    p.kv_dim = net->n_kv_heads * net->head_dim;
    p.q_dim = net->n_heads * net->head_dim;
    cr_assert(net->dim <= 256 && net->hidden <= 256 && p.q_dim <= 256);
    p.keys = calloc((size_t)net->n_layers * n * p.kv_dim, sizeof *p.keys);
    p.vals = calloc((size_t)net->n_layers * n * p.kv_dim, sizeof *p.vals);
    for (uint32_t t = 0; t < n; t++) {
        p.position = t;
        for (uint32_t i = 0; i < net->dim; i++)
            h[i] = values[(size_t)tokens[t] * net->dim + i];
        for (uint32_t i = 0; i < net->dim && net->pos == RUVM_POS_LEARNED; i++)
            h[i] += values[((size_t)net->vocab + t) * net->dim + i];
        for (uint32_t l = 0; l < net->n_layers; l++)
            layer(h, &p, l);
        norm(x, &p, 2 * net->n_layers, RUVM_BIAS_FINAL_NORM, h);
        times(logits + (size_t)t * net->vocab, &p, net->tied ? 0 : net->n_matrices - 1, x);
    }
    free(p.keys);
    free(p.vals);
}
