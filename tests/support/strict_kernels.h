/* The scalar kernels, with every promise that kernels.h demands of a caller checked before
 * and every one that it gives checked after: a breach aborts and says where. Put into an
 * engine it proves that the engine keeps the contract on which faster tables rely. */
#ifndef TESTS_SUPPORT_STRICT_KERNELS_H
#define TESTS_SUPPORT_STRICT_KERNELS_H

#include <stdio.h>
#include <stdlib.h>

#include "formats/ruvm_codes.h"
#include "kernels/elementwise.h"

#define STRICT(holds)                                                                              \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "%s: not so: %s\n", __func__, #holds);                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { STRICT_RAW = 1 << 30 };

static int strict_within(int64_t x, int64_t limit)
{
    return x >= -limit && x <= limit;
}

static int strict_available(void)
{
    return 1;
}

static void strict_matmul_s8(const struct ruvm_matmul *m)
{
    STRICT(m->n_cols % 16 == 0 && m->n_cols <= m->row_bytes && m->n_cols <= m->x_stride);
    STRICT((uintptr_t)m->w % 16 == 0 && (uintptr_t)m->x % 16 == 0);
    STRICT(m->row_bytes % 16 == 0 && m->x_stride % 16 == 0 && m->n_rows <= m->out_stride);
    for (uint32_t r = 0; r < m->n_rows; r++)
        for (uint32_t c = 0; c < m->n_cols; c++)
            STRICT(m->w[(size_t)r * m->row_bytes + c] != -128);
    for (uint32_t v = 0; v < m->n_vecs; v++)
        for (uint32_t c = 0; c < m->n_cols; c++)
            STRICT(m->x[(size_t)v * m->x_stride + c] != -128);
    ruvm_kernels_scalar.matmul_s8(m);
}

/* What all packed weights have in common; then the sums must stay below 2^30. */
static void strict_codes(const struct ruvm_matmul_codes *m, int type)
{
    STRICT((uintptr_t)m->w % 4 == 0 && m->row_bytes % 4 == 0);
    STRICT((uintptr_t)m->x % 16 == 0 && m->x_stride % 16 == 0 && m->n_rows <= m->out_stride);
    STRICT(m->first_col % 32 == 0 && m->n_cols % 16 == 0 && m->n_cols > 0);
    STRICT(m->row_bytes >= ruvm_codes_row_bytes(type, m->first_col + m->n_cols));
    STRICT(m->group == 0 || m->group == 16 || m->group == 32 || m->group == 64);
    STRICT((m->group == 0) == (m->mult == NULL));
    STRICT(m->mult_bytes >= ruvm_codes_mult_bytes(m->group ? m->first_col + 1 : 0, m->group));
    for (uint32_t v = 0; v < m->n_vecs; v++) {
        const int8_t *x = m->x + (size_t)v * m->x_stride;
        for (uint32_t c = 0; c < m->n_cols; c++)
            STRICT(x[c] != -128);
        for (uint32_t c = m->n_cols; c % 32 != 0; c++)
            STRICT(x[c] == 0);
    }
}

static void strict_sums(const struct ruvm_matmul_codes *m)
{
    for (uint32_t v = 0; v < m->n_vecs; v++)
        for (uint32_t r = 0; r < m->n_rows; r++)
            STRICT(strict_within(m->out[(size_t)v * m->out_stride + r], STRICT_RAW - 1));
}

static void strict_matmul_int4(const struct ruvm_matmul_codes *m)
{
    strict_codes(m, RUVM_TYPE_INT4);
    ruvm_kernels_scalar.matmul_int4(m);
    strict_sums(m);
}

static void strict_matmul_int3(const struct ruvm_matmul_codes *m)
{
    strict_codes(m, RUVM_TYPE_INT3);
    ruvm_kernels_scalar.matmul_int3(m);
    strict_sums(m);
}

static void strict_matmul_int2(const struct ruvm_matmul_codes *m)
{
    strict_codes(m, RUVM_TYPE_INT2);
    ruvm_kernels_scalar.matmul_int2(m);
    strict_sums(m);
}

static void strict_matmul_binary(const struct ruvm_matmul_codes *m)
{
    strict_codes(m, RUVM_TYPE_BINARY);
    ruvm_kernels_scalar.matmul_binary(m);
    strict_sums(m);
}

static void strict_matmul_ternary(const struct ruvm_matmul_codes *m)
{
    STRICT(m->first_col == 0 && m->group == 0 && m->mult == NULL);
    STRICT((uintptr_t)m->x % 16 == 0 && m->x_stride % 16 == 0 && m->n_rows <= m->out_stride);
    STRICT(m->row_bytes == ruvm_codes_row_bytes(RUVM_TYPE_TERNARY, m->n_cols));
    STRICT(m->n_cols <= m->x_stride);
    for (uint32_t r = 0; r < m->n_rows; r++)
        STRICT(ruvm_codes_valid(RUVM_TYPE_TERNARY, m->w + (size_t)r * m->row_bytes, m->n_cols));
    for (uint32_t v = 0; v < m->n_vecs; v++)
        for (uint32_t c = 0; c < m->n_cols; c++)
            STRICT(m->x[(size_t)v * m->x_stride + c] != -128);
    ruvm_kernels_scalar.matmul_ternary(m);
    strict_sums(m);
}

/* x is a row of signs; its padding is zeros, as that of w. */
static void strict_matmul_xnor(const struct ruvm_matmul_codes *m)
{
    STRICT(m->first_col == 0 && m->group == 0 && m->mult == NULL);
    STRICT((uintptr_t)m->w % 4 == 0 && m->row_bytes % 4 == 0);
    STRICT((uintptr_t)m->x % 16 == 0 && m->x_stride % 16 == 0 && m->n_rows <= m->out_stride);
    STRICT(m->row_bytes == ruvm_codes_row_bytes(RUVM_TYPE_XNOR, m->n_cols));
    for (uint32_t v = 0; v < m->n_vecs; v++) {
        const int8_t *x = m->x + (size_t)v * m->x_stride;
        STRICT(ruvm_codes_valid(RUVM_TYPE_XNOR, (const uint8_t *)x, m->n_cols));
    }
    ruvm_kernels_scalar.matmul_xnor(m);
    for (uint32_t v = 0; v < m->n_vecs; v++)
        for (uint32_t r = 0; r < m->n_rows; r++)
            STRICT(strict_within(m->out[(size_t)v * m->out_stride + r], m->n_cols));
}

static void strict_scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                          uint32_t head_dim, uint32_t stride)
{
    STRICT(head_dim <= 2048 && head_dim % 2 == 0 && head_dim <= stride && n_pos >= 1);
    for (uint32_t d = 0; d < head_dim; d++)
        STRICT(strict_within(q[d], RUVM_Q_MAX));
    for (uint32_t p = 0; p < n_pos; p++)
        for (uint32_t d = 0; d < head_dim; d++)
            STRICT(k[(size_t)p * stride + d] != -128);
    ruvm_kernels_scalar.scores(out, q, k, n_pos, head_dim, stride);
}

static uint32_t strict_weights(uint16_t *e, const int32_t *s, uint32_t n_pos, uint32_t mult,
                               uint32_t shift)
{
    STRICT(n_pos >= 1 && n_pos <= 65535 && mult <= INT32_MAX && shift <= 62);
    uint32_t sum = ruvm_kernels_scalar.weights(e, s, n_pos, mult, shift);
    STRICT(sum >= RUVM_E_MAX && sum < 1u << 30);
    for (uint32_t p = 0; p < n_pos; p++)
        STRICT(e[p] <= RUVM_E_MAX);
    return sum;
}

static void strict_mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos,
                       uint32_t head_dim, uint32_t stride)
{
    STRICT(n_pos <= RUVM_MIX_BLOCK && head_dim <= stride);
    for (uint32_t d = 0; d < head_dim; d++)
        STRICT(strict_within(acc[d], (int64_t)(RUVM_MIX_BLOCK - n_pos) * RUVM_E_MAX * 127));
    for (uint32_t p = 0; p < n_pos; p++)
        for (uint32_t d = 0; d < head_dim; d++)
            STRICT(v[(size_t)p * stride + d] != -128);
    ruvm_kernels_scalar.mix(acc, e, v, n_pos, head_dim, stride);
}

static void strict_rotate(struct ruvm_turned *out, int32_t *v, const struct ruvm_turn *t)
{
    uint32_t n = t->n_heads * t->head_dim;
    struct ruvm_turn plain = *t;
    STRICT(2 * t->n_pairs <= t->head_dim && (!t->scale || t->share > 0));
    for (uint32_t i = 0; i < n; i++)
        STRICT(v[i] != INT32_MIN);
    for (uint32_t i = 0; i < 2 * t->n_pairs; i++)
        STRICT(strict_within(t->turn[i], 1 << 14));
    plain.scale = NULL;
    ruvm_kernels_scalar.rotate(out, v, &plain);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(v[i], 23172)); /* 2^14 * sqrt 2, and rounding */
    for (uint32_t h = 0; t->scale && h < t->n_heads; h++, v += t->head_dim)
        out[h].largest = ruvm_elementwise_fold(v, ruvm_elementwise_scale_of(t, h), t->head_dim);
}

static void strict_to_cache(int8_t *q, const int32_t *v, uint32_t n, const struct ruvm_to_cache *p)
{
    STRICT(p->mult <= INT32_MAX && p->shift >= 1 && p->shift <= 62);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(v[i], (1 << 15) - 1));
    ruvm_kernels_scalar.to_cache(q, v, n, p);
    for (uint32_t i = 0; i < n; i++)
        STRICT(q[i] != -128);
}

static void strict_narrow(int16_t *q, const int32_t *x, uint32_t n, uint32_t up, uint32_t down,
                          uint32_t mult)
{
    STRICT((up == 0 || down == 0) && up < 32 && down < 32);
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = (int64_t)x[i] * ((int64_t)1 << up) >> down;
        STRICT(strict_within(v, 1 << 16));
        STRICT(strict_within((v * mult + (1 << 17)) >> 18, RUVM_Q_MAX));
    }
    ruvm_kernels_scalar.narrow(q, x, n, up, down, mult);
}

static void strict_divide(int32_t *out, const int32_t *x, const uint16_t *scale, uint32_t n,
                          uint32_t down, uint32_t inverse)
{
    STRICT(down < 32 && inverse < 1u << 18);
    ruvm_kernels_scalar.divide(out, x, scale, n, down, inverse);
}

/* Each query in turn, by the kernels above. */
static void strict_attend(const struct ruvm_attend *a)
{
    STRICT(a->n >= 1 && a->n <= RUVM_ATTEND_QUERIES);
    STRICT(a->head_dim % 8 == 0 && a->head_dim >= 8 && a->head_dim <= RUVM_ATTEND_MAX_DIM);
    for (uint32_t i = 0; i < a->n; i++) {
        int16_t q[RUVM_ATTEND_MAX_DIM];
        int32_t scores[RUVM_MIX_BLOCK], mixed[RUVM_ATTEND_MAX_DIM] = {0};
        uint16_t weights[RUVM_MIX_BLOCK];
        uint32_t dim = a->head_dim, n_pos = a->n_pos[i];
        STRICT(n_pos <= RUVM_MIX_BLOCK);
        strict_narrow(q, a->v[i], dim, a->up[i], a->down[i], a->narrow_mult[i]);
        strict_scores(scores, q, a->keys, n_pos, dim, dim);
        struct ruvm_divisor by =
            ruvm_divisor_of(strict_weights(weights, scores, n_pos, a->mult[i], a->shift[i]));
        strict_mix(mixed, weights, a->values, n_pos, dim, dim);
        strict_divide(a->v[i], mixed, a->scale, dim, by.down, by.inverse);
    }
}

static void strict_unpack(int8_t *v, const uint8_t *codes, const uint8_t *m, uint32_t n_pos,
                          uint32_t n)
{
    STRICT(n % 2 == 0);
    for (uint32_t p = 0; p < n_pos; p++)
        STRICT(m[p] <= 135);
    ruvm_kernels_scalar.unpack(v, codes, m, n_pos, n);
}

static void strict_rescale(int32_t *x, const uint16_t *scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(x[i], STRICT_RAW - 1));
    ruvm_kernels_scalar.rescale(x, scale, n);
}

static uint32_t strict_amax(const int32_t *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        STRICT(x[i] != INT32_MIN);
    return ruvm_kernels_scalar.amax(x, n);
}

static uint32_t strict_largest(const int32_t *x, uint32_t n)
{
    STRICT(n > 0);
    return ruvm_kernels_scalar.largest(x, n);
}

static void strict_quantize(int8_t *q, const int32_t *x, uint32_t n, uint32_t n_padded, uint32_t up,
                            uint32_t down, uint32_t mult)
{
    STRICT((up == 0 || down == 0) && up < 32 && down < 32 && n <= n_padded && n_padded % 16 == 0);
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = ((int64_t)x[i] * ((int64_t)1 << up)) >> down;
        STRICT(strict_within(v, 1 << 16));
        STRICT(strict_within((v * mult + (1 << 23)) >> 24, 127));
    }
    ruvm_kernels_scalar.quantize(q, x, n, n_padded, up, down, mult);
}

static void strict_add_scaled(int32_t *h, int32_t *x, uint32_t n, const struct ruvm_addition *p)
{
    STRICT(p->mult <= INT32_MAX && p->shift >= 1 && p->shift <= 62);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(x[i], STRICT_RAW - 1));
    ruvm_kernels_scalar.add_scaled(h, x, n, p);
    for (uint32_t i = 0; i < n; i++)
        STRICT(h[i] != INT32_MIN);
}

static uint64_t strict_norm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                            uint32_t down)
{
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within((h[i] + (((int64_t)1 << down) >> 1)) >> down, 1 << 15));
    return ruvm_kernels_scalar.norm(y, h, gain, n, down);
}

static void strict_swiglu(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                          const struct ruvm_swiglu *p)
{
    STRICT(p->mult < 1 << 15 && p->shift <= 30);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(gate[i] >> p->gate_down, 1 << 15) &&
               strict_within(up[i] >> p->up_down, 1 << 15));
    ruvm_kernels_scalar.swiglu(x, up, gate, n, p);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(x[i], STRICT_RAW));
}

static uint32_t strict_spread(const int32_t *h, uint32_t n, int32_t *mean)
{
    STRICT(n > 0 && n <= 65535);
    for (uint32_t i = 0; i < n; i++)
        STRICT(h[i] != INT32_MIN);
    return ruvm_kernels_scalar.spread(h, n, mean);
}

static uint64_t strict_layernorm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                                 const struct ruvm_centre *c)
{
    STRICT((c->up == 0 || c->down == 0) && c->up < 24 && c->down < 32 && n <= 65535);
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = (int64_t)h[i] - c->mean;
        STRICT(strict_within(c->down ? (v + ((int64_t)1 << (c->down - 1))) >> c->down
                                     : v * ((int64_t)1 << c->up),
                             1 << 23));
    }
    return ruvm_kernels_scalar.layernorm(y, h, gain, n, c);
}

static void strict_scale(int32_t *x, uint32_t n, uint32_t mult, uint32_t shift)
{
    STRICT(mult <= INT32_MAX && shift >= 1 && shift <= 62);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(((int64_t)x[i] * mult + ((int64_t)1 << (shift - 1))) >> shift,
                             STRICT_RAW));
    ruvm_kernels_scalar.scale(x, n, mult, shift);
}

static void strict_add_bias(int32_t *x, const int16_t *bias, uint32_t n, uint32_t mult,
                            uint32_t shift)
{
    STRICT(mult <= INT32_MAX && shift >= 1 && shift <= 62);
    ruvm_kernels_scalar.add_bias(x, bias, n, mult, shift);
    for (uint32_t i = 0; i < n; i++)
        STRICT(x[i] != INT32_MIN);
}

static void strict_gelu(int32_t *x, const int32_t *in, uint32_t n, const struct ruvm_gelu *p)
{
    STRICT(p->row < 2 && p->mult < 1 << 15 && p->shift <= 30);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(in[i] >> p->down, 1 << 15));
    ruvm_kernels_scalar.gelu(x, in, n, p);
    for (uint32_t i = 0; i < n; i++)
        STRICT(strict_within(x[i], STRICT_RAW));
}

static const struct ruvm_kernels strict_kernels = {
    .name = "strict",
    .available = strict_available,
    .matmul_s8 = strict_matmul_s8,
    .matmul_int4 = strict_matmul_int4,
    .matmul_int3 = strict_matmul_int3,
    .matmul_int2 = strict_matmul_int2,
    .matmul_binary = strict_matmul_binary,
    .matmul_ternary = strict_matmul_ternary,
    .matmul_xnor = strict_matmul_xnor,
    .scores = strict_scores,
    .weights = strict_weights,
    .mix = strict_mix,
    .attend = strict_attend,
    .rotate = strict_rotate,
    .to_cache = strict_to_cache,
    .narrow = strict_narrow,
    .divide = strict_divide,
    .unpack = strict_unpack,
    .rescale = strict_rescale,
    .amax = strict_amax,
    .largest = strict_largest,
    .quantize = strict_quantize,
    .add_scaled = strict_add_scaled,
    .norm = strict_norm,
    .swiglu = strict_swiglu,
    .spread = strict_spread,
    .layernorm = strict_layernorm,
    .scale = strict_scale,
    .add_bias = strict_add_bias,
    .gelu = strict_gelu,
    .relu = ruvm_elementwise_relu,
};

#endif
