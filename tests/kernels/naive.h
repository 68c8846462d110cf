/* The kernels once more, straight from the sentences of kernels/kernels.h: 64-bit
 * sums, one element at a time, nothing shared with the sources but exact.h. */
#ifndef TESTS_KERNELS_NAIVE_H
#define TESTS_KERNELS_NAIVE_H

#include "kernels/exact.h"
#include "kernels/kernels.h"
#include "tests/kernels/naive_codes.h"

static int naive_available(void)
{
    return 1;
}

static void naive_matmul_s8(const struct ruvm_matmul *m)
{
    for (uint32_t v = 0; v < m->n_vecs; v++)
        for (uint32_t r = 0; r < m->n_rows; r++) {
            int64_t sum = 0;
            for (uint32_t c = 0; c < m->n_cols; c++)
                sum += m->w[(size_t)r * m->row_bytes + c] * m->x[(size_t)v * m->x_stride + c];
            m->out[(size_t)v * m->out_stride + r] = (int32_t)sum;
        }
}

static void naive_scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                         uint32_t head_dim, uint32_t stride)
{
    for (uint32_t p = 0; p < n_pos; p++) {
        int64_t sum = 0;
        for (uint32_t d = 0; d < head_dim; d++)
            sum += q[d] * k[(size_t)p * stride + d];
        out[p] = (int32_t)sum;
    }
}

static uint32_t naive_weights(uint16_t *e, const int32_t *s, uint32_t n_pos, uint32_t mult,
                              uint32_t shift)
{
    int64_t max = INT64_MIN;
    uint32_t sum = 0;
    for (uint32_t p = 0; p < n_pos; p++)
        max = s[p] > max ? s[p] : max;
    for (uint32_t p = 0; p < n_pos; p++) {
        e[p] = (uint16_t)ruvm_exp2_weight(((uint64_t)(max - s[p]) * mult) >> shift);
        sum += e[p];
    }
    return sum;
}

static void naive_mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                      uint32_t head_dim, uint32_t stride)
{
    for (uint32_t d = 0; d < head_dim; d++) {
        int64_t sum = acc[d];
        for (uint32_t p = 0; p < n_pos; p++)
            sum += e[p] * v[(size_t)p * stride + d];
        acc[d] = (int32_t)sum;
    }
}

static int64_t naive_clamp(int64_t x, int64_t most)
{
    return x > most ? most : x < -most ? -most : x;
}

static uint32_t naive_amax(const int32_t *x, uint32_t n)
{
    int64_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t a = x[i] < 0 ? -(int64_t)x[i] : x[i];
        max = a > max ? a : max;
    }
    return (uint32_t)max;
}

static uint32_t naive_largest(const int32_t *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static uint32_t naive_rotate_one(int32_t *v, uint32_t n, const int16_t *turn, uint32_t n_pairs)
{
    uint32_t most = naive_amax(v, n), down = 0;
    while (most >> down >= 16384)
        down++;
    for (uint32_t i = 0; i < n; i++)
        v[i] >>= down;
    for (uint32_t p = 0; p < n_pairs; p++) {
        int64_t a = v[2 * p], b = v[2 * p + 1], c = turn[p], s = turn[n_pairs + p];
        v[2 * p] = (int32_t)((a * c - b * s + 8192) >> 14);
        v[2 * p + 1] = (int32_t)((a * s + b * c + 8192) >> 14);
    }
    return down;
}

static void naive_rotate(struct ruvm_turned *out, int32_t *v, const struct ruvm_turn *t)
{
    uint32_t n = t->head_dim;
    for (uint32_t h = 0; h < t->n_heads; h++, v += n) {
        out[h].down = naive_rotate_one(v, n, t->turn, t->n_pairs);
        out[h].largest = 0;
        if (!t->scale)
            continue;
        for (uint32_t i = 0; i < n; i++)
            v[i] = (int32_t)((int64_t)v[i] * t->scale[(t->first + h) / t->share * n + i]);
        out[h].largest = naive_amax(v, n);
    }
}

static void naive_to_cache(int8_t *q, const int32_t *v, uint32_t n, const struct ruvm_to_cache *p)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t x = (int64_t)v[i] * p->inverse[i] * p->mult;
        x = naive_clamp((x + ((int64_t)1 << (p->shift - 1))) >> p->shift, 32767);
        q[i] = (int8_t)naive_clamp(x - (p->zero ? p->zero[i] : 0), 127);
    }
}

static void naive_narrow(int16_t *q, const int32_t *x, uint32_t n, uint32_t up, uint32_t down,
                         uint32_t mult)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = up ? (int64_t)x[i] * ((int64_t)1 << up) : x[i] >> down;
        q[i] = (int16_t)((v * mult + (1 << 17)) >> 18);
    }
}

static void naive_divide(int32_t *out, const int32_t *x, const uint16_t *scale, uint32_t n,
                         uint32_t down, uint32_t inverse)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t q = ((int64_t)(x[i] >> down) * inverse) >> 23;
        out[i] = (int32_t)(naive_clamp(q, 32767) * scale[i]);
    }
}

static void naive_unpack(int8_t *v, const uint8_t *codes, const uint8_t *m, uint32_t n_pos,
                         uint32_t n)
{
    for (uint32_t i = 0; i < n_pos * n; i++) {
        int code = i % 2 ? codes[i / 2] >> 4 : codes[i / 2] & 15;
        v[i] = (int8_t)(((2 * code - 15) * m[i / n] + 8) >> 4);
    }
}

static void naive_rescale(int32_t *x, const uint16_t *scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = (int32_t)(((int64_t)x[i] * scale[i] + 32768) >> 16);
}

static void naive_quantize(int8_t *q, const int32_t *x, uint32_t n, uint32_t n_padded, uint32_t up,
                           uint32_t down, uint32_t mult)
{
    for (uint32_t i = 0; i < n_padded; i++) {
        int64_t v = i < n ? ((int64_t)x[i] * ((int64_t)1 << up)) >> down : 0;
        q[i] = (int8_t)(i < n ? (v * mult + (1 << 23)) >> 24 : 0);
    }
}

static void naive_add(int32_t *h, const int32_t *x, uint32_t n, uint32_t mult, uint32_t shift)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = h[i] + (((int64_t)x[i] * mult + ((int64_t)1 << (shift - 1))) >> shift);
        h[i] = (int32_t)(v > INT32_MAX ? INT32_MAX : v < -INT32_MAX ? -INT32_MAX : v);
    }
}

static void naive_add_scaled(int32_t *h, int32_t *x, uint32_t n, const struct ruvm_addition *p)
{
    for (uint32_t i = 0; p->is_first && i < n; i++)
        h[i] = 0;
    naive_rescale(x, p->scale, n);
    naive_add(h, x, n, p->mult, p->shift);
}

static uint64_t naive_norm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                           uint32_t down)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = ((int64_t)h[i] + (down ? (int64_t)1 << (down - 1) : 0)) >> down;
        y[i] = (int32_t)(v * gain[i]);
        sum += (uint64_t)(v * v);
    }
    return sum;
}

static void naive_swiglu(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                         const struct ruvm_swiglu *p)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t g = gate[i] >> p->gate_down, u = up[i] >> p->up_down;
        int64_t s = ruvm_sigmoid_q15((int32_t)((g * p->mult) >> p->shift));
        x[i] = (int32_t)(((g * s + 16384) >> 15) * u);
    }
}

static uint32_t naive_spread(const int32_t *h, uint32_t n, int32_t *mean)
{
    int64_t sum = n / 2, most = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += h[i];
    int64_t m = sum / n;
    while (m * n > sum)
        m--;
    for (uint32_t i = 0; i < n; i++) {
        int64_t d = h[i] > m ? h[i] - m : m - h[i];
        most = d > most ? d : most;
    }
    *mean = (int32_t)m;
    return (uint32_t)most;
}

static uint64_t naive_layernorm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                                const struct ruvm_centre *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = (int64_t)h[i] - c->mean;
        v = c->down ? (v + ((int64_t)1 << (c->down - 1))) >> c->down : v * ((int64_t)1 << c->up);
        y[i] = (int32_t)((v * gain[i] + 128) >> 8);
        sum += (uint64_t)(v * v);
    }
    return sum;
}

static void naive_scale(int32_t *x, uint32_t n, uint32_t mult, uint32_t shift)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = (int32_t)(((int64_t)x[i] * mult + ((int64_t)1 << (shift - 1))) >> shift);
}

static void naive_add_bias(int32_t *x, const int16_t *bias, uint32_t n, uint32_t mult,
                           uint32_t shift)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t b = bias[i];
        naive_add(x + i, &b, 1, mult, shift);
    }
}

static void naive_gelu(int32_t *x, const int32_t *in, uint32_t n, const struct ruvm_gelu *p)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t g = in[i] >> p->down;
        x[i] = (int32_t)(g * ruvm_gelu_q15(p->row, (int32_t)((g * p->mult) >> p->shift)));
    }
}

static void naive_relu(int32_t *x, const int32_t *in, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = in[i] < 0 ? 0 : in[i];
}

static const struct ruvm_kernels naive = {
    .name = "naive",
    .available = naive_available,
    .matmul_s8 = naive_matmul_s8,
    .matmul_int4 = naive_int4,
    .matmul_int3 = naive_int3,
    .matmul_int2 = naive_int2,
    .matmul_binary = naive_binary,
    .matmul_ternary = naive_ternary,
    .matmul_xnor = naive_xnor,
    .scores = naive_scores,
    .weights = naive_weights,
    .mix = naive_mix,
    .rotate = naive_rotate,
    .to_cache = naive_to_cache,
    .narrow = naive_narrow,
    .divide = naive_divide,
    .unpack = naive_unpack,
    .rescale = naive_rescale,
    .amax = naive_amax,
    .largest = naive_largest,
    .quantize = naive_quantize,
    .add_scaled = naive_add_scaled,
    .norm = naive_norm,
    .swiglu = naive_swiglu,
    .spread = naive_spread,
    .layernorm = naive_layernorm,
    .scale = naive_scale,
    .add_bias = naive_add_bias,
    .gelu = naive_gelu,
    .relu = naive_relu,
};

#endif
