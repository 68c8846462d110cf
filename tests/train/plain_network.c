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

void plain_tokens(uint16_t *tokens, uint32_t n, uint32_t vocab, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (uint16_t)(tiny_random(&seed) % vocab);
}

/* Sizes of one token's state, and the caches of all tokens. */
struct plain {
    const struct ruvm_network *net;
    const double *values;
    double *keys, *vals; /* [n_layers, n, kv_dim] */
    uint32_t n, kv_dim, q_dim;
};

static void times(double *y, const struct plain *p, uint32_t matrix, const double *x)
{
    const struct ruvm_network_matrix *m = &p->net->matrices[matrix];
    const double *w = p->values + (m->w - p->net->values);
    double mean = 0;
    for (uint32_t c = 0; c < m->cols; c++)
        mean += fabs(x[c]) / m->cols;
    for (uint32_t r = 0; r < m->rows; r++) {
        y[r] = 0;
        for (uint32_t c = 0; c < m->cols; c++)
            y[r] += w[(size_t)r * m->cols + c] * (!m->signs ? x[c] : x[c] < 0 ? -mean : mean);
    }
}

static void norm(double *y, const struct plain *p, uint32_t which, const double *h)
{
    uint32_t dim = p->net->dim;
    const double *gain = p->values + (p->net->norms - p->net->values) + (size_t)which * dim;
    double square = 0;
    for (uint32_t i = 0; i < dim; i++)
        square += h[i] * h[i];
    for (uint32_t i = 0; i < dim; i++)
        y[i] = gain[i] * h[i] / sqrt(square / dim + (double)p->net->norm_eps);
}

static void turn(double *x, const struct plain *p, uint32_t cols, uint32_t position)
{
    uint32_t head_dim = p->net->head_dim;
    for (uint32_t i = 0; i < cols; i += 2) {
        double angle =
            position * pow((double)p->net->rope_theta, -(double)(i % head_dim) / head_dim);
        double a = x[i], b = x[i + 1];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + 1] = a * sin(angle) + b * cos(angle);
    }
}

static void head(double *out, const double *q, const struct plain *p, size_t cache,
                 uint32_t position)
{
    uint32_t head_dim = p->net->head_dim;
    double sum = 0, *w = malloc((position + 1) * sizeof *w);
    for (uint32_t t = 0; t <= position; t++) {
        double score = 0;
        for (uint32_t d = 0; d < head_dim; d++)
            score += q[d] * p->keys[cache + (size_t)t * p->kv_dim + d];
        sum += w[t] = exp(score / sqrt(head_dim));
    }
    for (uint32_t d = 0; d < head_dim; d++) {
        out[d] = 0;
        for (uint32_t t = 0; t <= position; t++)
            out[d] += w[t] / sum * p->vals[cache + (size_t)t * p->kv_dim + d];
    }
    free(w);
}

static void layer(double *h, const struct plain *p, uint32_t l, uint32_t position)
{
    const struct ruvm_network *net = p->net;
    double x[256], q[256], mixed[256], up[256], gate[256];
    uint32_t first = 1 + 7 * l;
    size_t cache = (size_t)l * p->n * p->kv_dim;
    double *k = p->keys + cache + (size_t)position * p->kv_dim;
    norm(x, p, 2 * l, h);
    times(q, p, first, x);
    times(k, p, first + 1, x);
    times(p->vals + cache + (size_t)position * p->kv_dim, p, first + 2, x);
    turn(q, p, p->q_dim, position);
    turn(k, p, p->kv_dim, position);
    for (uint32_t i = 0; i < net->n_heads; i++)
        head(mixed + i * net->head_dim, q + i * net->head_dim, p,
             cache + i / (net->n_heads / net->n_kv_heads) * net->head_dim, position);
    times(x, p, first + 3, mixed);
    for (uint32_t i = 0; i < net->dim; i++)
        h[i] += x[i];
    norm(x, p, 2 * l + 1, h);
    times(up, p, first + 4, x);
    times(gate, p, first + 5, x);
    for (uint32_t i = 0; i < net->hidden; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    times(x, p, first + 6, up);
    for (uint32_t i = 0; i < net->dim; i++)
        h[i] += x[i];
}

void plain_forward(double *logits, const struct ruvm_network *net, const double *values,
                   const uint16_t *tokens, uint32_t n)
{
    double h[256], x[256];
    struct plain p = {.net = net, .values = values, .n = n};
    p.kv_dim = net->n_kv_heads * net->head_dim;
    p.q_dim = net->n_heads * net->head_dim;
    cr_assert(net->dim <= 256 && net->hidden <= 256 && p.q_dim <= 256);
    p.keys = calloc((size_t)net->n_layers * n * p.kv_dim, sizeof *p.keys);
    p.vals = calloc((size_t)net->n_layers * n * p.kv_dim, sizeof *p.vals);
    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t i = 0; i < net->dim; i++)
            h[i] = values[(size_t)tokens[t] * net->dim + i];
        for (uint32_t l = 0; l < net->n_layers; l++)
            layer(h, &p, l, t);
        norm(x, &p, 2 * net->n_layers, h);
        times(logits + (size_t)t * net->vocab, &p, net->tied ? 0 : net->n_matrices - 1, x);
    }
    free(p.keys);
    free(p.vals);
}
