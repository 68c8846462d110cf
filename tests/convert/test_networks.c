/* Six networks from three containers: the same float model, the same logits, the same image;
 * and an image that says nearly what the float model says. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "lib/base/crc32.h"
#include "lib/convert/calibrate.h"
#include "lib/convert/image_build.h"
#include "lib/convert/weights.h"
#include "lib/measure/quality.h"
#include "tests/support/tiny_models.h"

static struct ruvm_arena arena;
static struct ruvm_error err;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(networks, .fini = fini);

static struct ruvm_model open_tensors(const struct ruvm_tensors *t)
{
    struct ruvm_model m;
    int rc = ruvm_model_from_tensors(&m, &arena, t, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    return m;
}

static struct ruvm_model open_model(int network, int dialect)
{
    struct ruvm_tensors t = tiny_models_make(&arena, network, dialect, 1);
    return open_tensors(&t);
}

static struct ruvm_reference *open_reference(const struct ruvm_model *m)
{
    struct ruvm_reference *r;
    cr_assert_eq(ruvm_reference_open(&r, &arena, m, m->context, &err), RUVM_OK, "%s", err.text);
    return r;
}

/* Of the logits of a fixed text as long as the context. */
static uint32_t logits_crc(const struct ruvm_model *m)
{
    struct ruvm_reference *r = open_reference(m);
    uint32_t crc = 0;
    for (uint32_t i = 0; i < m->context; i++) {
        const float *logits = ruvm_reference_step(r, (uint16_t)(i * 7 % m->vocab));
        crc = ruvm_crc32(crc, logits, m->vocab * sizeof *logits);
    }
    return crc;
}

/* ---- containers ------------------------------------------------------------ */

static void expect_same(const struct ruvm_view *a, const struct ruvm_view *b, const char *what)
{
    float x[64], y[64];
    cr_assert_eq(a == NULL, b == NULL, "%s", what);
    if (!a)
        return;
    cr_assert(a->n_dims == b->n_dims && a->dims[0] == b->dims[0], "%s", what);
    size_t cols = (size_t)a->dims[a->n_dims - 1];
    cr_assert(cols <= 64 && cols == b->dims[b->n_dims - 1], "%s", what);
    for (uint64_t r = 0; r < (a->n_dims == 2 ? a->dims[0] : 1); r++) {
        ruvm_view_row(a, r, x);
        ruvm_view_row(b, r, y);
        cr_assert(memcmp(x, y, cols * sizeof *x) == 0, "%s row %u", what, (unsigned)r);
    }
}

static void expect_same_model(const struct ruvm_model *a, const struct ruvm_model *b)
{
    char name[48];
    cr_assert(a->norm == b->norm && a->act == b->act && a->pos == b->pos && a->tied == b->tied);
    cr_assert(a->parallel == b->parallel && a->window == b->window);
    cr_assert(a->rotary_dim == b->rotary_dim && a->n_heads == b->n_heads);
    for (int kind = RUVM_TENSOR_EMBED; kind <= RUVM_TENSOR_POSITION; kind++)
        for (unsigned l = 0; l < a->n_layers; l++)
            expect_same(ruvm_model_tensor(a, kind, l, name), ruvm_model_tensor(b, kind, l, name),
                        name);
    for (unsigned l = 0; l < a->n_layers; l++) {
        expect_same(a->layers[l].attn_norm, b->layers[l].attn_norm, "attn_norm");
        expect_same(a->layers[l].ffn_norm, b->layers[l].ffn_norm, "ffn_norm");
        for (int k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
            expect_same(a->layers[l].bias[k], b->layers[l].bias[k], "bias");
        cr_assert_eq(a->layers[l].windowed, b->layers[l].windowed);
    }
    expect_same(a->final_norm, b->final_norm, "final_norm");
    expect_same(a->final_bias, b->final_bias, "final_bias");
    cr_assert_eq(ruvm_model_parameters(a), ruvm_model_parameters(b));
}

Test(networks, each_container_gives_the_same_model)
{
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_model plain = open_model(n, TINY_RUVM);
        for (int d = TINY_HUGGING_FACE; d < TINY_DIALECTS; d++) {
            struct ruvm_model m = open_model(n, d);
            expect_same_model(&plain, &m);
            cr_expect_eq(logits_crc(&plain), logits_crc(&m), "%s %d", tiny_network_name(n), d);
        }
    }
}

/* ---- the float model ------------------------------------------------------- */

/* Checked once against plain PyTorch, whose logits differ by less than 1e-5. */
Test(networks, the_float_model_gives_the_same_bits_everywhere)
{
    static const uint32_t crc[TINY_NETWORKS] = {0x8bc14995, 0x81c5317b, 0x9db60e41,
                                                0x554648c3, 0xb0aacfef, 0x05402be4};
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_model m = open_model(n, TINY_RUVM);
        uint32_t got = logits_crc(&m);
        cr_expect_eq(got, crc[n], "%s: 0x%08x", tiny_network_name(n), got);
    }
}

static uint32_t crc_with(int network, const char *key, double number)
{
    struct ruvm_tensors t = tiny_models_make(&arena, network, TINY_RUVM, 1);
    tiny_models_set(&t, &arena, key, number);
    struct ruvm_model m = open_tensors(&t);
    return logits_crc(&m);
}

Test(networks, a_window_wider_than_the_context_is_none)
{
    uint32_t none = crc_with(TINY_MISTRAL, "window", 0);
    cr_assert_eq(none, crc_with(TINY_MISTRAL, "window", TINY_CONTEXT));
    cr_assert_eq(none, crc_with(TINY_MISTRAL, "window", 4096));
    cr_assert_neq(none, crc_with(TINY_MISTRAL, "window", TINY_CONTEXT - 1));
}

Test(networks, numbers_that_say_nothing_new_change_nothing)
{
    uint32_t llama = crc_with(TINY_LLAMA, "rope_theta", 10000);
    cr_assert_eq(llama, crc_with(TINY_LLAMA, "score_scale", 1 / sqrt(6)));
    cr_assert_eq(llama, crc_with(TINY_LLAMA, "score_scale", (double)(1 / sqrtf(6))));
    cr_assert_eq(llama, crc_with(TINY_LLAMA, "rotary_dim", 6));
    cr_assert_eq(llama, crc_with(TINY_LLAMA, "head_dim", 6));
    cr_assert_neq(llama, crc_with(TINY_LLAMA, "score_scale", 1));
    cr_assert_neq(llama, crc_with(TINY_LLAMA, "rotary_dim", 4));
    cr_assert_neq(llama, crc_with(TINY_LLAMA, "parallel", 1));
}

/* A token sees nothing but itself: the first position's logits, at any position. */
Test(networks, a_window_of_one_forgets_all_before)
{
    struct ruvm_tensors t = tiny_models_make(&arena, TINY_MISTRAL, TINY_RUVM, 1);
    tiny_models_set(&t, &arena, "window", 1);
    struct ruvm_model m = open_tensors(&t);
    struct ruvm_reference *r = open_reference(&m);
    float first[TINY_VOCAB];
    memcpy(first, ruvm_reference_step(r, 5), sizeof first);
    for (uint16_t i = 1; i < TINY_CONTEXT; i++) {
        const float *logits = ruvm_reference_step(r, i % 2 ? 9 : 5);
        for (int k = 0; k < TINY_VOCAB && i % 2 == 0; k++)
            cr_assert_float_eq(logits[k], first[k], 1e-5, "position %u", i);
    }
}

Test(networks, a_part_of_the_context_is_a_part_of_the_table)
{
    struct ruvm_model m = open_model(TINY_GPT2, TINY_HUGGING_FACE), whole = m;
    char name[48];
    ruvm_model_cut_context(&m, 9);
    const struct ruvm_view *v = ruvm_model_tensor(&m, RUVM_TENSOR_POSITION, 0, name);
    cr_assert_str_eq(name, "positions");
    cr_assert(m.context == 9 && v->dims[0] == 9 && v->dims[1] == TINY_DIM);
    struct ruvm_reference *a = open_reference(&m), *b = open_reference(&whole);
    for (uint16_t i = 0; i < 9; i++)
        cr_assert(memcmp(ruvm_reference_step(a, i), ruvm_reference_step(b, i),
                         TINY_VOCAB * sizeof(float)) == 0);
}

/* ---- the image ------------------------------------------------------------- */

static struct ruvm_samples_options samples(const struct ruvm_model *m, uint64_t seed)
{
    return (struct ruvm_samples_options){.n_positions = 1000,
                                         .seed = seed,
                                         .start = 1,
                                         .end = RUVM_VOCAB_NONE,
                                         .context = m->context,
                                         .fill_context = true,
                                         .stage = "sample"};
}

static void choose(struct ruvm_scheme *schemes, const struct ruvm_model *m, const char *type)
{
    struct ruvm_scheme_tensor tensors[40];
    struct ruvm_scheme_rules rules = {.type = type, .tied = m->tied};
    cr_assert_leq(ruvm_image_build_most(m), 40);
    uint32_t n = ruvm_image_build_tensors(tensors, m);
    cr_assert_eq(ruvm_scheme_choose(schemes, tensors, n, &rules, &err), RUVM_OK);
}

static struct ruvm_buffer build(const struct ruvm_model *m, const char *type,
                                enum ruvm_method method)
{
    struct ruvm_scheme schemes[40];
    struct ruvm_weights_loss losses[40];
    struct ruvm_image_build b;
    struct ruvm_calibration c;
    struct ruvm_buffer image = {0};
    struct ruvm_weights_options o = {.method = method};
    struct ruvm_samples_options so = samples(m, 2);
    choose(schemes, m, type);
    cr_assert_eq(ruvm_image_build_open(&b, &arena, m, schemes, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_weights_quantize(&b, NULL, losses, &o, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_calibrate_init(&c, &arena, m, &err), RUVM_OK);
    cr_assert_eq(ruvm_calibrate_run(&c, &arena, open_reference(m), m, &so, &err), RUVM_OK, "%s",
                 err.text);
    ruvm_image_build_ranges(&b, &c);
    cr_assert_eq(ruvm_image_build_write(&b, &err), RUVM_OK, "%s", err.text);
    ruvm_buffer_bytes(&image, b.file.data, b.file.size);
    ruvm_image_build_close(&b);
    return image;
}

Test(networks, each_container_gives_the_same_image)
{
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_model plain = open_model(n, TINY_RUVM);
        struct ruvm_buffer image = build(&plain, NULL, RUVM_METHOD_AUTO);
        for (int d = TINY_HUGGING_FACE; d < TINY_DIALECTS; d++) {
            struct ruvm_model m = open_model(n, d);
            struct ruvm_buffer other = build(&m, NULL, RUVM_METHOD_AUTO);
            cr_expect(image.size == other.size && memcmp(image.data, other.data, image.size) == 0,
                      "%s %d", tiny_network_name(n), d);
            ruvm_buffer_free(&other);
        }
        ruvm_buffer_free(&image);
    }
}

/* Mean KL of the image on other samples, in nats. */
static double loss_of(const struct ruvm_model *m, const struct ruvm_buffer *image)
{
    struct ruvm_text text;
    struct ruvm_quality q;
    struct ruvm_samples_options so = samples(m, 3);
    struct ruvm_reference *r = open_reference(m);
    cr_assert_eq(ruvm_samples_draw(&text, &arena, r, m->vocab, &so, &err), RUVM_OK, "%s", err.text);
    struct ruvm_quality_options o = {
        .image = image->data, .image_bytes = image->size, .text = &text, .reference = r};
    cr_assert_eq(ruvm_quality_measure(&q, &o, &err), RUVM_OK, "%s", err.text);
    return q.kl_mean;
}

Test(networks, an_image_says_what_the_float_model_says)
{
    static const struct {
        const char *type;
        enum ruvm_method method;
        double most;
    } cases[] = {
        {NULL, RUVM_METHOD_AUTO, 0.002},
        {"int8", RUVM_METHOD_MSE, 0.002},
        {"int4:32", RUVM_METHOD_MSE, 0.15},
        {"int4:32", RUVM_METHOD_RTN, 0.2},
    };
    for (int n = 0; n < TINY_NETWORKS; n++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct ruvm_model m = open_model(n, TINY_HUGGING_FACE);
            struct ruvm_buffer image = build(&m, cases[i].type, cases[i].method);
            double kl = loss_of(&m, &image);
            cr_expect_lt(kl, cases[i].most, "%s %s: %g", tiny_network_name(n),
                         cases[i].type ? cases[i].type : "", kl);
            ruvm_buffer_free(&image);
        }
}

/* ---- the student ------------------------------------------------------------- */

Test(networks, a_student_takes_quantized_positions)
{
    struct ruvm_model m = open_model(TINY_GPT_NEO, TINY_HUGGING_FACE);
    struct ruvm_student s;
    struct ruvm_quant_matrix q;
    char name[48];
    double row[TINY_DIM];
    float got[TINY_DIM], *w = ruvm_arena_alloc(&arena, TINY_CONTEXT, TINY_DIM * sizeof *w);
    cr_assert_eq(ruvm_quant_weights(w, &m.positions, "w", NULL), RUVM_OK);
    cr_assert(ruvm_quant_matrix_open(&q, &arena, (struct ruvm_scheme){RUVM_TYPE_INT4, 0},
                                     TINY_CONTEXT, TINY_DIM));
    cr_assert_eq(ruvm_weights_matrix(&q, w, RUVM_METHOD_MSE, NULL, &err), RUVM_OK);
    cr_assert_eq(ruvm_student_open(&s, &arena, &m, &err), RUVM_OK);
    cr_assert_eq(ruvm_student_matrix(&s, RUVM_TENSOR_POSITION, 0, &q, &err), RUVM_OK);
    const struct ruvm_view *v = ruvm_model_tensor(&s.model, RUVM_TENSOR_POSITION, 0, name);
    for (uint32_t r = 0; r < TINY_CONTEXT; r++) {
        ruvm_view_row(v, r, got);
        ruvm_quant_matrix_row(&q, r, row);
        for (uint32_t c = 0; c < TINY_DIM; c++)
            cr_assert_float_eq((double)got[c], (double)(float)row[c], 0);
    }
    cr_assert_neq(m.positions.data, v->data, "the model is as it was");
}

Test(networks, a_student_takes_biases)
{
    struct ruvm_model m = open_model(TINY_GPT_NEOX, TINY_HUGGING_FACE);
    struct ruvm_student s;
    float x[TINY_HIDDEN], got[TINY_HIDDEN];
    for (int i = 0; i < TINY_HIDDEN; i++)
        x[i] = (float)i;
    cr_assert_eq(ruvm_student_open(&s, &arena, &m, &err), RUVM_OK);
    cr_assert_eq(ruvm_student_bias(&s, RUVM_BIAS_W_UP, 1, x, TINY_HIDDEN, &err), RUVM_OK);
    cr_assert_eq(ruvm_student_bias(&s, RUVM_BIAS_FINAL_NORM, 0, x, TINY_DIM, &err), RUVM_OK);
    ruvm_view_row(s.model.layers[1].bias[RUVM_BIAS_W_UP], 0, got);
    cr_assert_arr_eq(got, x, sizeof x);
    ruvm_view_row(s.model.final_bias, 0, got);
    cr_assert_arr_eq(got, x, TINY_DIM * sizeof *x);
    cr_assert(s.model.layers[0].bias[RUVM_BIAS_W_UP] == m.layers[0].bias[RUVM_BIAS_W_UP]);
    cr_assert(m.final_bias != s.model.final_bias, "the model is as it was");
}
