/* The small sections: each real number comes back within its rounding. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "lib/convert/image_parts.h"

Test(image_parts, arch)
{
    static const struct {
        float eps, residual;
        int resid_exp;
    } table[] = {
        {1e-5f, 0.0f, -24}, {1e-6f, 4.0f, -24}, {1e-12f, 4.01f, -23},
        {0.1f, 64.0f, -20}, {1e-5f, 1e6f, -6},  {0.0f, 1e30f, RUVM_MAX_EXP},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ruvm_model m = {
            .head_dim = 48, .rotary_dim = 48, .norm_eps = table[i].eps, .tied = i % 2 == 0};
        struct ruvm_calibration c = {.residual = {-table[i].residual, table[i].residual / 2}};
        struct ruvm_buffer b = {0};
        ruvm_image_parts_arch(&b, &m, &c);
        cr_assert_eq(b.size, RUVM_ARCH_BYTES);
        cr_assert_eq(b.data[RUVM_ARCH_FLAGS], i % 2 == 0 ? RUVM_ARCH_FLAG_TIED : 0);
        cr_assert_eq(ruvm_load_u16(b.data + RUVM_ARCH_HEAD_DIM), 48);
        cr_assert_eq(ruvm_load_u16(b.data + RUVM_ARCH_ROPE_DIMS), 48);
        uint32_t mantissa = ruvm_load_u32(b.data + RUVM_ARCH_EPS);
        double eps = ldexp(mantissa, (int8_t)b.data[RUVM_ARCH_EPS_EXP]);
        cr_assert_float_eq(eps, (double)table[i].eps, 0.0, "a float's 24 bits fit");
        cr_assert(mantissa == 0 || (mantissa >> 30 == 1));
        cr_assert_eq((int8_t)b.data[RUVM_ARCH_RESID_EXP], table[i].resid_exp, "row %zu", i);
        ruvm_buffer_free(&b);
    }
}

static struct ruvm_view vector_of(const float *x, uint32_t n, const char *name)
{
    return (struct ruvm_view){.name = name,
                              .dtype = RUVM_DTYPE_F32,
                              .n_dims = 1,
                              .dims = {n},
                              .data = (const uint8_t *)x,
                              .bytes = n * sizeof *x};
}

Test(image_parts, norms_stand_in_order_behind_their_exponents)
{
    enum { DIM = 3 };
    const float gains[3][DIM] = {{1.0f, -0.5f, 0.25f}, {1000.0f, 3.0f, 0.0f}, {1e-4f, 0, 0}};
    struct ruvm_view v[3];
    for (uint32_t i = 0; i < 3; i++)
        v[i] = vector_of(gains[i], DIM, "norm");
    struct ruvm_layer layer = {.attn_norm = &v[0], .ffn_norm = &v[1]};
    struct ruvm_model m = {.dim = DIM, .n_layers = 1, .layers = &layer, .final_norm = &v[2]};
    struct ruvm_arena arena = {0};
    struct ruvm_buffer b = {0};
    cr_assert_eq(ruvm_image_parts_norm(&b, &arena, &m, NULL), RUVM_OK);
    cr_assert_eq(b.size, 16 + 3 * DIM * 2);
    for (uint32_t i = 0; i < 3; i++) {
        int16_t most = 0;
        for (uint32_t k = 0; k < DIM; k++) {
            int16_t mantissa = (int16_t)ruvm_load_u16(b.data + 16 + 2 * (i * DIM + k));
            most = mantissa > most ? mantissa : most;
            double step = ldexp(1.0, (int8_t)b.data[i]);
            cr_assert_float_eq(mantissa * step, (double)gains[i][k], step / 2, "%u %u", i, k);
        }
        cr_assert_gt(most, 16383);
    }
    ruvm_buffer_free(&b);
    ruvm_arena_free(&arena);
}

Test(image_parts, a_norm_that_is_not_finite_is_named)
{
    float bad[2] = {1.0f, NAN};
    struct ruvm_view v = vector_of(bad, 2, "layers.0.ffn_norm.weight");
    float good[2] = {1.0f, 1.0f};
    struct ruvm_view w = vector_of(good, 2, "other");
    struct ruvm_layer layer = {.attn_norm = &w, .ffn_norm = &v};
    struct ruvm_model m = {.dim = 2, .n_layers = 1, .layers = &layer, .final_norm = &w};
    struct ruvm_arena arena = {0};
    struct ruvm_buffer b = {0};
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_image_parts_norm(&b, &arena, &m, &err), RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "layers.0.ffn_norm.weight: value 1"), "%s", err.text);
    ruvm_buffer_free(&b);
    ruvm_arena_free(&arena);
}

Test(image_parts, rope_turns)
{
    struct ruvm_model m = {.head_dim = 8, .rotary_dim = 8, .rope_theta = 10000};
    const double turn = 6.283185307179586;
    struct ruvm_buffer b = {0};
    ruvm_image_parts_rope(&b, &m);
    cr_assert_eq(b.size, 16);
    cr_assert_eq(ruvm_load_u32(b.data), 683565276, "one radian a position");
    for (uint32_t i = 0; i < 4; i++) {
        double angle = ruvm_load_u32(b.data + 4 * i) * 0x1p-32 * turn;
        cr_assert_float_eq(angle, pow(10000, -2.0 * i / 8), 1e-9);
    }
    ruvm_buffer_free(&b);
}

/* One layer's record: keys and values of n channels. */
struct kv {
    struct ruvm_buffer b;
    uint32_t n;
};

static double real_at(const struct kv *kv, int array, uint32_t i, int exp_off)
{
    const uint8_t *p = kv->b.data + RUVM_KVSC_ARRAYS + 2 * ((size_t)array * kv->n + i);
    return ldexp(ruvm_load_u16(p), (int8_t)kv->b.data[exp_off]);
}

static double zero_at(const struct kv *kv, uint32_t i)
{
    const uint8_t *p = kv->b.data + RUVM_KVSC_ARRAYS + 2 * ((size_t)4 * kv->n + i);
    return (int16_t)ruvm_load_u16(p);
}

static const struct ruvm_range ranges[] = {
    {-1.0f, 1.0f},   {-0.5f, 18.9f},   {-29.5f, 0.0f}, {3.0f, 3.1f}, {0.0f, 0.0f},
    {-1e-6f, 1e-6f}, {-7.0f, -6.999f}, {0.1f, 0.2f},   {5.0f, 5.0f}, {1e30f, -1e30f},
};
enum { N = sizeof ranges / sizeof *ranges };

static struct kv build_kv(float size)
{
    static struct ruvm_range scaled[N];
    for (int i = 0; i < N; i++)
        scaled[i] = (struct ruvm_range){ranges[i].low * size, ranges[i].high * size};
    struct ruvm_calibration c = {.n_layers = 1, .kv_dim = N, .key = scaled, .value = scaled};
    struct kv kv = {.n = N};
    ruvm_image_parts_kv(&kv.b, &c);
    cr_assert_eq(kv.b.size, RUVM_KVSC_ARRAYS + 10 * N);
    return kv;
}

/* What the engine stores of every value in the range comes back within half a step (and
 * what the two roundings of a scale differ by). */
Test(image_parts, cached_values_come_back)
{
    static const float sizes[] = {1.0f, 0.01f, 777.0f};
    for (size_t s = 0; s < 3; s++) {
        struct kv kv = build_kv(sizes[s]);
        for (uint32_t i = 0; i < N - 1; i++) {
            double low = (double)(ranges[i].low * sizes[s]);
            double high = (double)(ranges[i].high * sizes[s]);
            double step = real_at(&kv, 0, i, RUVM_KVSC_K_EXP);
            double inverse = real_at(&kv, 1, i, RUVM_KVSC_K_INV_EXP);
            cr_assert_float_eq(step * inverse, 1.0, 0.002, "channel %u", i);
            for (int k = 0; k <= 20; k++) {
                double x = low + (high - low) * k / 20;
                double cached = round(x * inverse) - zero_at(&kv, i);
                cr_assert_leq(fabs(cached), 127, "channel %u: %g is clipped", i, x);
                double back = (cached + zero_at(&kv, i)) * step;
                cr_assert_leq(fabs(back - x), 0.5 * step + 0.002 * fabs(x), "channel %u", i);
            }
        }
        ruvm_buffer_free(&kv.b);
    }
}

/* A lopsided key channel has half the step of a value channel of the same range. */
Test(image_parts, keys_are_centred_and_values_are_not)
{
    struct kv kv = build_kv(1.0f);
    double key = real_at(&kv, 0, 2, RUVM_KVSC_K_EXP), value = real_at(&kv, 2, 2, RUVM_KVSC_V_EXP);
    cr_assert_float_eq(value / key, 2.0, 0.02);
    cr_assert_float_eq(zero_at(&kv, 2) * key, -14.75, 0.1);
    cr_assert_float_eq(zero_at(&kv, 0), 0.0, 0.0);
    cr_assert_leq(fabs(zero_at(&kv, 8)), RUVM_KVSC_ZERO_MAX, "a constant channel");
    cr_assert_float_eq(zero_at(&kv, 9), 0.0, 0.0, "a channel never seen");
    ruvm_buffer_free(&kv.b);
}

Test(image_parts, silence_is_valid)
{
    struct ruvm_range none[2] = {{INFINITY, -INFINITY}, {0, 0}};
    struct ruvm_calibration c = {.n_layers = 1, .kv_dim = 2, .key = none, .value = none};
    struct kv kv = {.n = 2};
    ruvm_image_parts_kv(&kv.b, &c);
    for (uint32_t i = 0; i < 2; i++)
        for (int array = 0; array < 4; array += 2)
            cr_assert_gt(real_at(&kv, array, i, array ? RUVM_KVSC_V_EXP : RUVM_KVSC_K_EXP), 0.0);
    ruvm_buffer_free(&kv.b);
}

/* ---- networks that are no Llama -------------------------------------------------- */

Test(image_parts, arch_of_other_networks)
{
    struct ruvm_layer layers[2] = {{.windowed = false}, {.windowed = true}};
    struct ruvm_model m = {.n_layers = 2,
                           .layers = layers,
                           .context = 100,
                           .head_dim = 12,
                           .rotary_dim = 4,
                           .norm = RUVM_NORM_LAYER,
                           .act = RUVM_ACT_GELU_ERF,
                           .parallel = true,
                           .window = 30,
                           .score_scale = 0.75f};
    struct ruvm_calibration c = {.residual = {0, 1}};
    struct ruvm_buffer b = {0}, w = {0};
    ruvm_image_parts_arch(&b, &m, &c);
    ruvm_image_parts_window(&w, &m);
    cr_assert(b.data[RUVM_ARCH_NORM] == 1 && b.data[RUVM_ARCH_ACT] == 2 &&
              b.data[RUVM_ARCH_POS] == 0);
    cr_assert_eq(b.data[RUVM_ARCH_FLAGS], RUVM_ARCH_FLAG_PARALLEL);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_ARCH_ROPE_DIMS), 4);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_ARCH_WINDOW), 30);
    double scale =
        ldexp(ruvm_load_u32(b.data + RUVM_ARCH_SCORE), (int8_t)b.data[RUVM_ARCH_SCORE_EXP]);
    cr_assert_float_eq(scale, 0.75, 0.0);
    cr_assert(w.size == 2 && w.data[0] == 0 && w.data[1] == 1);
    ruvm_buffer_free(&b);
    ruvm_buffer_free(&w);
    layers[0].windowed = true;
    ruvm_image_parts_arch(&b, &m, &c);
    ruvm_image_parts_window(&w, &m);
    cr_assert(ruvm_load_u16(b.data + RUVM_ARCH_WINDOW) == 30 && w.size == 0, "all layers have it");
    ruvm_buffer_free(&b);
    m.context = 30;
    m.pos = RUVM_POS_LEARNED;
    m.rotary_dim = 0;
    ruvm_image_parts_arch(&b, &m, &c);
    ruvm_image_parts_window(&w, &m);
    ruvm_image_parts_rope(&w, &m);
    cr_assert(ruvm_load_u16(b.data + RUVM_ARCH_WINDOW) == 0 && w.size == 0, "it never closes");
    cr_assert(b.data[RUVM_ARCH_POS] == 1 && ruvm_load_u16(b.data + RUVM_ARCH_ROPE_DIMS) == 0);
    ruvm_buffer_free(&b);
}

/* Layer 1 has a bias of wk and layer 0 has none; both have one of ffn_norm. */
Test(image_parts, biases_stand_in_the_order_of_their_bits)
{
    enum { VECTORS = 5 };
    static const float key[2] = {3.0f, -1.5f}, norm0[4] = {0, 0, 0, 0}, norm1[4] = {1e-3f, 0, 0, 1},
                       last[4] = {-0.5f, 0.25f, 0, 0};
    struct ruvm_view k = vector_of(key, 2, "k"), n0 = vector_of(norm0, 4, "n0"),
                     n1 = vector_of(norm1, 4, "n1"), f = vector_of(last, 4, "f");
    struct ruvm_layer layers[2] = {{.bias[RUVM_BIAS_FFN_NORM] = &n0},
                                   {.bias[RUVM_BIAS_WK] = &k, .bias[RUVM_BIAS_FFN_NORM] = &n1}};
    struct ruvm_model m = {.n_layers = 2,
                           .layers = layers,
                           .dim = 4,
                           .n_heads = 2,
                           .n_kv_heads = 1,
                           .head_dim = 2,
                           .final_bias = &f};
    static const float zeros[2] = {0, 0};
    static const struct {
        const float *x;
        uint32_t n;
    } expected[VECTORS] = {{zeros, 2}, {norm0, 4}, {key, 2}, {norm1, 4}, {last, 4}};
    struct ruvm_arena arena = {0};
    struct ruvm_buffer b = {0};
    cr_assert_eq(ruvm_image_parts_bias(&b, &arena, &m, NULL), RUVM_OK);
    cr_assert_eq(b.size, 16 + 2 * 16);
    cr_assert_eq(ruvm_load_u16(b.data),
                 1 << RUVM_BIAS_WK | 1 << RUVM_BIAS_FFN_NORM | 1 << RUVM_BIAS_FINAL_NORM);
    const uint8_t *at = b.data + 16;
    for (int v = 0; v < VECTORS; v++) {
        int exp = (int8_t)b.data[RUVM_BIAS_EXPS + v];
        for (uint32_t i = 0; i < expected[v].n; i++, at += 2) {
            double step = ldexp(1, exp), x = (int16_t)ruvm_load_u16(at) * step;
            cr_assert_float_eq(x, (double)expected[v].x[i], step / 2, "vector %d value %u", v, i);
        }
        cr_assert_eq(exp == 0, v < 2, "a vector of zeros has exponent 0");
    }
    ruvm_buffer_free(&b);
    layers[1].bias[RUVM_BIAS_WK] = layers[0].bias[RUVM_BIAS_FFN_NORM] = NULL;
    layers[1].bias[RUVM_BIAS_FFN_NORM] = m.final_bias = NULL;
    cr_assert(ruvm_image_parts_bias(&b, &arena, &m, NULL) == RUVM_OK && b.size == 0);
    ruvm_arena_free(&arena);
}

Test(image_parts, scaled_rope_turns_slower)
{
    static const float factors[2] = {1, 8};
    struct ruvm_model m = {
        .head_dim = 8, .rotary_dim = 4, .rope_theta = 10000, .rope_factors = factors};
    struct ruvm_buffer b = {0};
    ruvm_image_parts_rope(&b, &m);
    cr_assert_eq(b.size, 8);
    cr_assert_eq(ruvm_load_u32(b.data), 683565276);
    cr_assert_float_eq(ruvm_load_u32(b.data + 4), 683565275.6 / 100 / 8, 0.51);
    ruvm_buffer_free(&b);
}
