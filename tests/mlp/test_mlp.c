/* Classifiers on a chip: every table of kernels gives the same logits, which are near those of
 * the float model; memory is exact; nothing that is damaged opens.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mlp/classifier.h"
#include "tests/mlp/random_layers.h"
#include "tests/support/repair_image.h"
#include "tests/support/strict_kernels.h"

enum { ROWS = 12, GUARD = 64 };

static const struct random_layers plain = {.widths = {7, 19, 11, 3},
                                           .act = RUVM_MLP_ACT_RELU,
                                           .type = "int8",
                                           .seed = 5,
                                           .labels = "one\ntwo\nthree\n"};

/* ---- equality ----------------------------------------------------------------------------- */

static uint32_t logits_crc(const uint8_t *image, size_t size, const struct ruvm_kernels *k,
                           uint64_t seed)
{
    struct ruvm_classifier c;
    struct ruvm_error err = {0};
    double x[300];
    uint32_t crc = 0;
    cr_assert(ruvm_classifier_open(&c, image, size, k, "test", &err) == RUVM_OK, "%s", err.text);
    for (int i = 0; i < ROWS; i++) {
        random_layers_row(x, c.image.img.dim, &seed);
        ruvm_classifier_take(&c, x);
        ruvm_classifier_eval(&c);
        crc = ruvm_logits_crc(crc, c.logits, c.image.img.vocab);
    }
    ruvm_classifier_close(&c);
    return crc;
}

static void check_equal(const struct random_layers *o)
{
    struct ruvm_arena arena = {0};
    struct ruvm_layers l;
    size_t size;
    random_layers_make(&l, &arena, o);
    uint8_t *image = random_layers_image(&size, &l, o);
    uint32_t expected = logits_crc(image, size, &ruvm_kernels_scalar, o->seed);
    cr_assert_eq(logits_crc(image, size, &strict_kernels, o->seed), expected);
    for (unsigned i = 0; ruvm_kernels_all[i]; i++)
        if (ruvm_kernels_all[i]->available())
            cr_assert_eq(logits_crc(image, size, ruvm_kernels_all[i], o->seed), expected,
                         "%s, %s, activation %u", ruvm_kernels_all[i]->name, o->type, o->act);
    free(image);
    ruvm_arena_free(&arena);
}

Test(mlp, equal_on_every_table_with_every_type)
{
    static const char *const types[] = {"int8", "int4",   "int4:row", "int3",
                                        "int2", "binary", "ternary",  "xnor"};
    static const uint32_t widths[][6] = {
        {7, 19, 11, 3}, {1, 1}, {33, 5, 64, 1}, {128, 96, 10}, {200, 31, 17, 5, 2}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            struct random_layers o = {.type = types[t], .act = RUVM_MLP_ACT_RELU, .seed = w + 9};
            memcpy(o.widths, widths[w], sizeof o.widths);
            check_equal(&o);
        }
}

Test(mlp, equal_with_every_activation)
{
    for (uint8_t act = 0; act < RUVM_MLP_N_ACTS; act++) {
        struct random_layers o = plain;
        o.act = act;
        o.labels = NULL;
        check_equal(&o);
    }
}

/* ---- what it computes ------------------------------------------------------------------------ */

/* Largest difference from the float model, over the range of its logits. */
static double error_of(const struct random_layers *o)
{
    struct ruvm_arena arena = {0};
    struct ruvm_layers l;
    struct ruvm_classifier c;
    size_t size;
    uint64_t state = 77;
    double x[300], work[600], logits[300], low = 0, high = 0, worst = 0;
    random_layers_make(&l, &arena, o);
    uint8_t *image = random_layers_image(&size, &l, o);
    cr_assert_eq(ruvm_classifier_open(&c, image, size, NULL, "test", NULL), RUVM_OK);
    for (int row = 0; row < 100; row++) {
        random_layers_row(x, ruvm_layers_inputs(&l), &state);
        cr_assert_eq(ruvm_classifier_take(&c, x), 0);
        ruvm_classifier_eval(&c);
        ruvm_layers_run(&l, logits, x, work);
        for (uint32_t i = 0; i < ruvm_layers_outputs(&l); i++) {
            worst = fmax(worst, fabs(c.logits[i] / 65536.0 - logits[i]));
            low = fmin(low, logits[i]);
            high = fmax(high, logits[i]);
        }
    }
    ruvm_classifier_close(&c);
    free(image);
    ruvm_arena_free(&arena);
    return worst / (high - low);
}

Test(mlp, int8_is_near_the_float_model_with_every_activation)
{
    for (uint8_t act = 0; act < RUVM_MLP_N_ACTS; act++) {
        struct random_layers o = plain;
        o.act = act;
        double error = error_of(&o);
        cr_assert(error < 0.02, "activation %u is off by %g of the range", act, error);
    }
}

Test(mlp, probabilities_are_those_of_softmax_and_sigmoid)
{
    for (uint8_t output = 0; output < RUVM_MLP_N_OUTPUTS; output++) {
        struct random_layers o = plain;
        struct ruvm_arena arena = {0};
        struct ruvm_layers l;
        struct ruvm_classifier c;
        size_t size;
        const int32_t logits[3] = {-120000, 65536, 40000};
        uint16_t p[3];
        o.output = output;
        random_layers_make(&l, &arena, &o);
        uint8_t *image = random_layers_image(&size, &l, &o);
        cr_assert_eq(ruvm_classifier_open(&c, image, size, NULL, "test", NULL), RUVM_OK);
        ruvm_mlp_probabilities(c.mlp, logits, p);
        double sum = 0;
        for (int i = 0; i < 3; i++)
            sum += exp(logits[i] / 65536.0);
        for (int i = 0; i < 3; i++) {
            double v = logits[i] / 65536.0;
            double exact = output == RUVM_MLP_OUT_SIGMOID ? 1 / (1 + exp(-v)) : exp(v) / sum;
            cr_assert(fabs(p[i] / 32768.0 - exact) < 2e-4);
        }
        cr_assert_eq(ruvm_mlp_best(c.mlp, logits), 1);
        size_t n;
        const char *label = ruvm_mlp_label(c.mlp, 2, &n);
        cr_assert(n == 5 && memcmp(label, "three", 5) == 0);
        cr_assert_null(ruvm_mlp_label(c.mlp, 3, &n));
        ruvm_classifier_close(&c);
        free(image);
        ruvm_arena_free(&arena);
    }
}

/* The same integers on every machine, for ever: a change here changes what images compute. */
Test(mlp, golden_logits)
{
    static const struct {
        const char *type;
        uint32_t crc;
    } golden[] = {{"int8", 0xb248fd87},
                  {"int4", 0x18a51399},
                  {"ternary", 0x4306f8b6},
                  {"binary", 0x7ea06a5c}};
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct ruvm_arena arena = {0};
        struct ruvm_layers l;
        size_t size;
        struct random_layers o = plain;
        o.type = golden[i].type;
        o.act = RUVM_MLP_ACT_GELU_ERF;
        random_layers_make(&l, &arena, &o);
        uint8_t *image = random_layers_image(&size, &l, &o);
        uint32_t crc = logits_crc(image, size, NULL, 1);
        cr_expect_eq(crc, golden[i].crc, "%s: 0x%08x", o.type, crc);
        free(image);
        ruvm_arena_free(&arena);
    }
}

/* ---- memory ------------------------------------------------------------------------------------
 */

Test(mlp, memory_is_exact)
{
    struct ruvm_arena arena = {0};
    struct ruvm_layers l;
    struct ruvm_mlp *m;
    size_t size, bytes;
    int32_t x[7] = {0}, logits[3];
    random_layers_make(&l, &arena, &plain);
    uint8_t *image = random_layers_image(&size, &l, &plain);
    cr_assert_eq(ruvm_mlp_bytes(image, size, &bytes), RUVM_OK);
    uint8_t *memory = aligned_alloc(64, (bytes + GUARD + 63) / 64 * 64);
    memset(memory, 0xA5, bytes + GUARD);
    cr_assert_eq(ruvm_mlp_init(&m, memory, bytes - 1, image, size, NULL), RUVM_ERR_MEMORY);
    cr_assert_eq(ruvm_mlp_init(&m, memory + 4, bytes, image, size, NULL), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_mlp_init(&m, memory, bytes, image, size, NULL), RUVM_OK);
    ruvm_mlp_run(m, x, logits);
    for (size_t i = bytes; i < bytes + GUARD; i++)
        cr_assert_eq(memory[i], 0xA5);
    free(memory);
    free(image);
    ruvm_arena_free(&arena);
}

/* ---- damage -------------------------------------------------------------------------------------
 */

static uint8_t *open_plain(size_t *size, struct ruvm_mlp_image *m)
{
    struct ruvm_arena arena = {0};
    struct ruvm_layers l;
    random_layers_make(&l, &arena, &plain);
    uint8_t *image = random_layers_image(size, &l, &plain);
    cr_assert_eq(ruvm_mlp_image_open(m, image, *size, NULL), RUVM_OK);
    ruvm_arena_free(&arena);
    return image;
}

Test(mlp, an_engine_says_what_it_is)
{
    struct ruvm_mlp_image m;
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    size_t size;
    uint8_t *image = open_plain(&size, &m);
    cr_assert(ruvm_mlp_image_probe(image, size));
    cr_assert_eq(ruvm_image_open(&img, image, size, &fault), RUVM_ERR_UNSUPPORTED);
    cr_assert_str_eq(fault.what, "a classifier, not a language model");
    free(image);
}

/* Each breaks one rule; checksums are made right again. */
Test(mlp, damage_is_named)
{
    struct ruvm_mlp_image m;
    size_t size;
    uint8_t *image = open_plain(&size, &m);
    size_t mlp = (size_t)(m.mlp - image), labels = (size_t)(m.labels - image);
    size_t layer = mlp + RUVM_MLP_LAYERS, input = layer + 3 * RUVM_MLP_LAYER_BYTES;
    const struct {
        size_t at;
        uint8_t value;
        const char *what;
    } cases[] = {
        {RUVM_HDR_HEADS, 1, "a language model, not a classifier"},
        {RUVM_HDR_CONTEXT, 1, "context of a classifier"},
        {RUVM_HDR_KV_HEADS, 1, "key heads of a classifier"},
        {RUVM_HDR_LAYERS, 0, "number of layers"},
        {RUVM_HDR_HIDDEN, 20, "widest hidden layer"},
        {RUVM_HDR_VOCAB, 4, "outputs of the last layer"},
        {mlp + RUVM_MLP_OUTPUT, 3, "kind of outputs"},
        {mlp + 5, 1, "reserved byte"},
        {layer + RUVM_MLP_LAYER_ACT, RUVM_MLP_N_ACTS, "kind of activation"},
        {layer + RUVM_MLP_LAYER_BIAS_EXP, 100, "exponent"},
        {layer + RUVM_MLP_LAYER_SLOPE, 1, "slope of an activation that has none is not 0"},
        {layer + RUVM_MLP_LAYER_WIDTH, 0, "outputs of a layer"},
        {layer + 7, 1, "reserved byte of a layer"},
        {layer + RUVM_MLP_LAYER_WIDTH, 20, "size of the section"},
        {input + RUVM_MLP_INPUT_SHIFT, 0, "shift of an input"},
        {input + RUVM_MLP_INPUT_SHIFT, RUVM_MLP_MAX_SHIFT + 1, "shift of an input"},
        {input + RUVM_MLP_INPUT_EXP, 40, "exponent"},
        {labels, '\n', "name of a class is empty"},
        {labels + 1, '\n', "names of classes"},
        {labels + 1, 7, "name has a control character"},
        {labels + 1, 0xFF, "name is not UTF-8"},
        {labels + 13, 'x', "last name has no end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ruvm_image_fault fault;
        uint8_t before = image[cases[i].at];
        image[cases[i].at] = cases[i].value;
        repair_image(image, size);
        int rc = ruvm_mlp_image_open(&m, image, size, &fault);
        cr_expect_neq(rc, RUVM_OK, "case %zu", i);
        cr_expect_str_eq(fault.what, cases[i].what, "case %zu: %s", i, fault.what);
        image[cases[i].at] = before;
    }
    free(image);
}

/* Whatever opens runs within its memory (the sanitizers watch). */
Test(mlp, any_byte_may_change)
{
    struct ruvm_mlp_image m;
    struct ruvm_classifier c;
    size_t size, opened = 0;
    uint8_t *sound = open_plain(&size, &m), *image = aligned_alloc(64, (size + 63) / 64 * 64);
    for (size_t at = 0; at < size; at++) {
        memcpy(image, sound, size);
        image[at] ^= 0x41;
        cr_assert_neq(ruvm_mlp_image_open(&m, image, size, NULL), RUVM_OK, "byte %zu", at);
        repair_image(image, size);
        if (ruvm_classifier_open(&c, image, size, &strict_kernels, "test", NULL) == RUVM_OK) {
            ruvm_classifier_eval(&c);
            ruvm_classifier_close(&c);
            opened++;
        }
    }
    cr_assert(opened > 100); /* weights, biases, centres */
    free(image);
    free(sound);
}
