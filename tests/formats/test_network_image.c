/* Images of other networks than Llama: their parts come back, and every rule that they
 * bring is checked. The images are the golden ones of tests/core/test_networks.c. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"
#include "tests/formats/breach.h"
#include "tests/support/repair_image.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A golden image in memory of its size; free() it. */
static uint8_t *load(const char *path, size_t *size)
{
    struct ruvm_map map;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    uint8_t *image = breach_copy(map.data, map.size);
    *size = map.size;
    ruvm_file_unmap(&map);
    return image;
}

static uint8_t *open_golden(const char *path, struct ruvm_image *img, size_t *size)
{
    uint8_t *image = load(path, size);
    cr_assert_eq(ruvm_image_open(img, image, *size, NULL), RUVM_OK);
    return image;
}

#define GPT2 "tests/golden/networks/gpt2.ruvm"
#define GPT_NEO "tests/golden/networks/gpt_neo.ruvm"
#define GPT_NEOX "tests/golden/networks/gpt_neox.ruvm"
#define QWEN2 "tests/golden/networks/qwen2.ruvm"
#define MISTRAL "tests/golden/networks/mistral.ruvm"

/* ---- what comes back -------------------------------------------------------- */

Test(network_image, kinds_come_back)
{
    static const struct {
        const char *path;
        uint8_t norm, act, pos;
        bool parallel;
        uint16_t rope_dims, window, window_0, window_1;
        uint32_t score;
    } expected[] = {
        {MISTRAL, RUVM_NORM_RMS, RUVM_ACT_SILU_GATED, RUVM_POS_ROPE, false, 8, 6, 6, 6, 0},
        {QWEN2, RUVM_NORM_RMS, RUVM_ACT_SILU_GATED, RUVM_POS_ROPE, false, 8, 0, 0, 0, 0},
        {GPT2, RUVM_NORM_LAYER, RUVM_ACT_GELU_TANH, RUVM_POS_LEARNED, false, 0, 0, 0, 0, 0},
        {GPT_NEO, RUVM_NORM_LAYER, RUVM_ACT_GELU_TANH, RUVM_POS_LEARNED, false, 0, 5, 0, 5, 1},
        {GPT_NEOX, RUVM_NORM_LAYER, RUVM_ACT_GELU_ERF, RUVM_POS_ROPE, true, 4, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT(expected); i++) {
        size_t size;
        struct ruvm_image img;
        uint8_t *image = open_golden(expected[i].path, &img, &size);
        cr_expect(img.norm == expected[i].norm && img.act == expected[i].act);
        cr_expect(img.pos == expected[i].pos && img.parallel == expected[i].parallel);
        cr_expect(img.rope_dims == expected[i].rope_dims && img.window == expected[i].window);
        cr_expect_eq(ruvm_image_window(&img, 0), expected[i].window_0);
        cr_expect_eq(ruvm_image_window(&img, 1), expected[i].window_1);
        cr_expect(img.score_mantissa == expected[i].score && img.score_exp == 0);
        cr_expect((img.rope_inc == NULL) == (img.pos == RUVM_POS_LEARNED));
        free(image);
    }
}

Test(network_image, tensors_come_back)
{
    static const uint8_t gpt2[] = {RUVM_TENSOR_EMBED, RUVM_TENSOR_POSITION, RUVM_TENSOR_WQ,
                                   RUVM_TENSOR_WK,    RUVM_TENSOR_WV,       RUVM_TENSOR_WO,
                                   RUVM_TENSOR_W_UP,  RUVM_TENSOR_W_DOWN,   RUVM_TENSOR_WQ,
                                   RUVM_TENSOR_WK,    RUVM_TENSOR_WV,       RUVM_TENSOR_WO,
                                   RUVM_TENSOR_W_UP,  RUVM_TENSOR_W_DOWN};
    size_t size;
    struct ruvm_image img;
    uint8_t *image = open_golden(GPT2, &img, &size);
    cr_assert_eq(img.n_tensors, COUNT(gpt2));
    for (unsigned i = 0; i < COUNT(gpt2); i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&img, i);
        cr_expect(t.kind == gpt2[i] && t.layer == (i < 2 ? 0 : (i - 2) / 6), "tensor %u", i);
        cr_expect_eq(ruvm_image_find(&img, t.kind, t.layer).data, t.data, "tensor %u", i);
    }
    struct ruvm_tensor positions = ruvm_image_find(&img, RUVM_TENSOR_POSITION, 0);
    cr_expect(positions.rows == img.context && positions.cols == img.dim);
    cr_expect_eq(ruvm_image_find(&img, RUVM_TENSOR_HEAD, 0).data, ruvm_image_tensor(&img, 0).data);
    free(image);
}

/* One behind the other, from the end of the exponents to the end of the section. */
Test(network_image, biases_come_back)
{
    static const char *const paths[] = {QWEN2, GPT2, GPT_NEO, GPT_NEOX};
    for (size_t i = 0; i < COUNT(paths); i++) {
        size_t size;
        struct ruvm_image img;
        uint8_t *image = open_golden(paths[i], &img, &size);
        const int16_t *next = img.bias;
        const int8_t *exponent = img.bias_exp;
        for (unsigned at = 0; at <= img.n_layers * RUVM_BIAS_FINAL_NORM; at++) {
            bool is_final = at == img.n_layers * RUVM_BIAS_FINAL_NORM;
            int kind = is_final ? RUVM_BIAS_FINAL_NORM : (int)at % RUVM_BIAS_FINAL_NORM;
            struct ruvm_bias b =
                ruvm_image_bias(&img, (enum ruvm_bias_kind)kind, at / RUVM_BIAS_FINAL_NORM);
            if (!(img.bias_kinds >> kind & 1)) {
                cr_expect(b.m == NULL && b.n == 0);
                continue;
            }
            cr_expect(b.m == next && b.exp == *exponent++, "%s: vector %u", paths[i], at);
            if (kind < RUVM_BIAS_ATTN_NORM)
                cr_expect_eq(b.n, ruvm_image_find(&img, RUVM_TENSOR_WQ + kind, 0).rows);
            else
                cr_expect_eq(b.n, img.dim);
            next += b.n;
        }
        for (unsigned s = 0; s < img.n_sections; s++) {
            struct ruvm_section section = ruvm_image_section(&img, s);
            if (strcmp(section.name, "BIAS") == 0)
                cr_expect_eq((const uint8_t *)next, section.data + section.size);
        }
        free(image);
    }
}

/* ---- broken rules ------------------------------------------------------------ */

/* Numbers of their sections, in the order in which random_image.c writes them. */
enum { NEO_ARCH, NEO_TENS, NEO_NORM, NEO_BIAS, NEO_WIND };
enum { NEOX_ARCH, NEOX_TENS, NEOX_NORM, NEOX_BIAS, NEOX_ROPE };
enum { QWEN_BIAS = 3 };

Test(network_image, rules_of_learned_positions_and_windows)
{
    static const struct breach breaches[] = {
        {NEO_ARCH, RUVM_ARCH_POS, 1, 0, CORRUPT, "rotating dimensions"},
        {NEO_ARCH, RUVM_ARCH_ROPE_DIMS, 2, 2, CORRUPT, "rotating dimensions of learned positions"},
        {NEO_ARCH, RUVM_ARCH_WINDOW, 2, 0, CORRUPT, "section of windows in a network without"},
        {NEO_ARCH, RUVM_ARCH_SCORE_EXP, 1, 31, CORRUPT, "exponent"},
        {NEO_ARCH, RUVM_ARCH_SCORE_EXP, 1, (uint8_t)-81, CORRUPT, "exponent"},
        {NEO_ARCH, RUVM_ARCH_ACT, 1, 0, CORRUPT, "size of the section"},
        {NEO_TENS, TENSOR(1, RUVM_TENS_KIND), 1, RUVM_TENSOR_WQ, CORRUPT, "kind of tensor"},
        {NEO_TENS, TENSOR(1, RUVM_TENS_ROWS), 4, 31, CORRUPT, "rows of a tensor"},
        {NEO_TENS, TENSOR(7, RUVM_TENS_KIND), 1, RUVM_TENSOR_W_GATE, CORRUPT, "kind of tensor"},
        {NEO_TENS, TENSOR(8, RUVM_TENS_LAYER), 1, 0, CORRUPT, "layer of a tensor"},
        {HEADER, RUVM_HDR_CONTEXT, 2, 31, CORRUPT, "max_seq_len"},
        {NEO_WIND, 1, 1, 2, UNSUPPORTED, "window of a layer"},
        {TABLE, ENTRY(NEO_WIND, RUVM_SEC_SIZE), 4, 1, CORRUPT, "gap before the section"},
    };
    size_t size;
    uint8_t *image = load(GPT_NEO, &size);
    breach_all(image, size, breaches, COUNT(breaches));
    free(image);
}

Test(network_image, rules_of_biases)
{
    static const struct breach breaches[] = {
        {NEOX_BIAS, RUVM_BIAS_KINDS, 2, 0, CORRUPT, "kinds of biases"},
        {NEOX_BIAS, RUVM_BIAS_KINDS, 2, 0x400, UNSUPPORTED, "kinds of biases"},
        {NEOX_BIAS, RUVM_BIAS_KINDS, 2, 0x3ff, CORRUPT,
         "bias of a gate in a network without gates"},
        {NEOX_BIAS, RUVM_BIAS_KINDS, 2, 0x3de, CORRUPT, "size of the section"},
        {NEOX_BIAS, RUVM_BIAS_EXPS, 1, 31, CORRUPT, "exponent"},
        {NEOX_BIAS, RUVM_BIAS_EXPS + 16, 1, (uint8_t)-81, CORRUPT, "exponent"},
        {NEOX_BIAS, RUVM_BIAS_EXPS + 17, 1, 1, CORRUPT, "padding of the exponents"},
        {NEOX_BIAS, 31, 1, 1, CORRUPT, "padding of the exponents"},
        {NEOX_ARCH, RUVM_ARCH_POS, 1, 1, CORRUPT, "rotating dimensions of learned positions"},
        {TABLE, ENTRY(NEOX_ROPE, RUVM_SEC_NAME), 4, 0x65706f72, CORRUPT,
         "required section is missing"},
    };
    size_t size;
    uint8_t *image = load(GPT_NEOX, &size);
    breach_all(image, size, breaches, COUNT(breaches));
    free(image);
    image = load(QWEN2, &size);
    breach_all(image, size,
               (const struct breach[]){
                   {QWEN_BIAS, RUVM_BIAS_KINDS, 2, 0x27, CORRUPT, "size of the section"}},
               1);
    free(image);
}

/* ROPE where positions are learned; sections that are empty. */
Test(network_image, sections_that_no_part_asks_for)
{
    size_t size;
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    uint8_t *image = open_golden(GPT_NEOX, &img, &size);
    uint8_t *arch = image + ruvm_image_section(&img, NEOX_ARCH).off;
    arch[RUVM_ARCH_POS] = RUVM_POS_LEARNED;
    ruvm_store_u16(arch + RUVM_ARCH_ROPE_DIMS, 0);
    repair_image(image, size);
    cr_assert_eq(breach_refused(image, size, &fault), RUVM_ERR_CORRUPT);
    cr_expect_str_eq(fault.what, "section of rotations, but positions are learned");
    cr_expect_str_eq(fault.section, "ROPE");
    free(image);

    image = open_golden(MISTRAL, &img, &size);
    uint8_t *name = image + RUVM_HDR_BYTES + ENTRY(img.n_sections - 1u, RUVM_SEC_NAME);
    memcpy(name, "BIAS", 4); /* the tokenizer, which is larger than any */
    repair_image(image, size);
    cr_assert_eq(breach_refused(image, size, &fault), RUVM_ERR_CORRUPT);
    cr_expect_str_eq(fault.section, "BIAS");
    free(image);
}
