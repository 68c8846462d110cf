/* The engine's promises on random models: exact memory, the same logits from every
 * kernel table and block size, rewinding, and refusals. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "kernels/kernels.h"
#include "lib/run/panels.h"
#include "lib/ruvm.h"
#include "tests/core/any_shape.h"
#include "tests/core/plain_model.h"
#include "tests/support/repair_image.h"
#include "tests/support/strict_kernels.h"

struct setup {
    struct ruvm_engine *e;
    uint8_t *memory;
    size_t bytes;
};

static struct setup start(const uint8_t *image, size_t image_bytes,
                          const struct ruvm_engine_options *o)
{
    struct setup s = {0};
    cr_assert_eq(ruvm_engine_bytes(image, image_bytes, o, &s.bytes), RUVM_OK);
    s.memory = aligned_alloc(64, (s.bytes + 63) & ~(size_t)63);
    cr_assert_not_null(s.memory);
    cr_assert_eq(ruvm_engine_init(&s.e, s.memory, s.bytes, image, image_bytes, o), RUVM_OK);
    return s;
}

static void fill_tokens(uint16_t *tokens, size_t n, uint16_t vocab, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint16_t)(random_next(&seed) % vocab);
}

/* Makes a tensor of layer 0 all zero, by its scales. */
static void silence(uint8_t *image, size_t bytes, int kind)
{
    struct ruvm_image img;
    cr_assert_eq(ruvm_image_open(&img, image, bytes, NULL), RUVM_OK);
    struct ruvm_tensor t = ruvm_image_find(&img, kind, 0);
    memset(image + ((const uint8_t *)t.scales - image), 0, 2 * (size_t)t.rows);
    repair_image(image, bytes);
}

/* All logits of a full context, as one engine setting computes them. */
static int32_t *all_logits(const uint8_t *image, size_t image_bytes, const struct random_shape *s,
                           const uint16_t *tokens, const struct ruvm_engine_options *o)
{
    struct setup u = start(image, image_bytes, o);
    int32_t *logits = malloc((size_t)s->context * s->vocab * sizeof *logits);
    cr_assert_eq(ruvm_engine_eval(u.e, tokens, s->context, logits), RUVM_OK);
    free(u.memory);
    return logits;
}

Test(engine, every_kernel_and_block_gives_the_same_logits)
{
    for (int i = 0; i < n_any_shapes; i++) {
        const struct random_shape shape = any_shape(i), *s = &shape;
        size_t bytes;
        uint8_t *image = random_image(s, &bytes);
        uint16_t tokens[1200];
        fill_tokens(tokens, s->context, s->vocab, 7);
        int32_t *expected = all_logits(image, bytes, s, tokens, NULL);
        size_t size = (size_t)s->context * s->vocab * sizeof *expected;
        for (const struct ruvm_kernels *const *k = ruvm_kernels_all; *k; k++) {
            static const uint32_t blocks[] = {1, 3, 64};
            struct ruvm_panels panels = {0};
            if ((*k)->available())
                cr_assert(ruvm_panels_plan(&panels, image, bytes, *k, NULL) == RUVM_OK &&
                          ruvm_panels_fill(&panels, NULL, NULL) == RUVM_OK);
            for (size_t b = 0; (*k)->available() && b < 6; b++) {
                struct ruvm_engine_options o = {.block = blocks[b % 3], .kernels = *k};
                o.panels = b < 3 ? NULL : panels.of_tensor;
                int32_t *found = all_logits(image, bytes, s, tokens, &o);
                cr_assert(memcmp(expected, found, size) == 0,
                          "shape %d kernels %s block %u panels %d", i, (*k)->name, o.block,
                          o.panels != NULL);
                free(found);
            }
            ruvm_panels_free(&panels);
        }
        free(expected);
        free(image);
    }
}

/* A layer of each type that has panels and of each of its groups; most of the image is the
 * embedding. */
enum { FAR_KINDS = 1 + 4 * 4, FAR_MATRICES = 7, FAR_TENSORS = 1 + FAR_KINDS * FAR_MATRICES };

static struct random_shape far_shape(uint8_t types[FAR_TENSORS])
{
    for (uint32_t i = 0; i < FAR_TENSORS; i++) {
        uint32_t kind = i ? (i - 1) / FAR_MATRICES : 0, log2 = kind ? (kind - 1) % 4 + 3 : 3;
        uint32_t type = kind ? RUVM_TYPE_INT4 + (kind - 1) / 4 : RUVM_TYPE_INT8;
        types[i] = (uint8_t)(type | (log2 > 3 ? log2 : 0) << RUVM_TYPE_GROUP_SHIFT);
    }
    return (struct random_shape){.vocab = 65000,
                                 .dim = 270,
                                 .hidden = 570,
                                 .context = 6,
                                 .head_dim = 30,
                                 .layers = FAR_KINDS,
                                 .heads = 9,
                                 .kv_heads = 3,
                                 .tied = true,
                                 .seed = 17,
                                 .types = types,
                                 .n_types = FAR_TENSORS};
}

/* Its panels are laid out and walked as those that come from memory. */
Test(engine, an_image_larger_than_caches_gives_the_same_logits)
{
    static uint8_t types[FAR_TENSORS];
    const struct random_shape s = far_shape(types);
    size_t bytes;
    uint8_t *image = random_image(&s, &bytes);
    uint16_t tokens[6];
    fill_tokens(tokens, s.context, s.vocab, 7);
    cr_assert(ruvm_panels_are_far(bytes));
    int32_t *expected = all_logits(image, bytes, &s, tokens, NULL);
    for (const struct ruvm_kernels *const *k = ruvm_kernels_all; *k; k++) {
        struct ruvm_panels panels = {0};
        if (!(*k)->available() || !(*k)->matmul_panels)
            continue;
        cr_assert(ruvm_panels_plan(&panels, image, bytes, *k, NULL) == RUVM_OK &&
                  ruvm_panels_fill(&panels, NULL, NULL) == RUVM_OK);
        for (uint32_t block = 1; block <= 5; block++) { /* few vectors and more, and what is left */
            struct ruvm_engine_options o = {
                .block = block, .kernels = *k, .panels = panels.of_tensor};
            int32_t *found = all_logits(image, bytes, &s, tokens, &o);
            cr_assert(memcmp(expected, found, (size_t)s.context * s.vocab * sizeof *found) == 0,
                      "kernels %s block %u", (*k)->name, block);
            free(found);
        }
        ruvm_panels_free(&panels);
    }
    free(expected);
    free(image);
}

Test(engine, keeps_the_contract_of_the_kernels)
{
    for (int i = 0; i < n_any_shapes; i++) {
        const struct random_shape shape = any_shape(i), *s = &shape;
        size_t bytes;
        uint8_t *image = random_image(s, &bytes);
        uint16_t tokens[1200];
        fill_tokens(tokens, s->context, s->vocab, 11);
        for (uint32_t block = 1; block <= 17; block += 16) { /* alone, and several at once */
            struct ruvm_engine_options o = {.kernels = &strict_kernels, .block = block};
            free(all_logits(image, bytes, s, tokens, &o));
        }
        free(image);
    }
}

/* Wrong heads, pairs, positions, scales or groups change logits by their own size; what
 * eight bits lose is two to seven hundredths of it. Rounding to four bits falls the other
 * way here and there, and a sign that flips is no small error at all. */
static double tolerance(const struct random_shape *s)
{
    for (size_t i = 0; i < s->n_types; i++)
        if (s->types[i] == RUVM_TYPE_XNOR)
            return 0.6;
    return s->k_bits == 4 || s->v_bits == 4 ? 0.3 : 0.1;
}

Test(engine, tracks_the_same_model_in_doubles)
{
    for (int i = 0; i < n_any_shapes; i++) {
        const struct random_shape shape = any_shape(i), *s = &shape;
        size_t bytes;
        uint8_t *image = random_image(s, &bytes);
        struct ruvm_image img;
        uint16_t tokens[1200];
        double error = 0, size = 0;
        fill_tokens(tokens, s->context, s->vocab, 5);
        cr_assert_eq(ruvm_image_open(&img, image, bytes, NULL), RUVM_OK);
        double *expected = plain_logits(&img, tokens, s->context);
        int32_t *found = all_logits(image, bytes, s, tokens, NULL);
        for (size_t j = 0; j < (size_t)s->context * s->vocab; j++) {
            error += pow(found[j] / 65536.0 - expected[j], 2);
            size += pow(expected[j], 2);
        }
        double off = sqrt(error / size);
        cr_assert(off < tolerance(s), "shape %d: off by %g", i, off);
        free(expected);
        free(found);
        free(image);
    }
}

/* How many logits of an image are off by more than two hundredths. */
static size_t count_off(const uint8_t *image, size_t bytes, const struct random_shape *s)
{
    struct ruvm_image img;
    uint16_t tokens[1200];
    size_t n_off = 0;
    fill_tokens(tokens, s->context, s->vocab, 13);
    cr_assert_eq(ruvm_image_open(&img, image, bytes, NULL), RUVM_OK);
    double *expected = plain_logits(&img, tokens, s->context);
    int32_t *found = all_logits(image, bytes, s, tokens, NULL);
    for (size_t j = 0; j < (size_t)s->context * s->vocab; j++)
        n_off += fabs(found[j] / 65536.0 - expected[j]) > 0.02 * fabs(expected[j]) + 0.001;
    free(expected);
    free(found);
    return n_off;
}

/* With nothing before the head its input is known, and so is every sign, but for one in
 * thousands that is a matter of rounding. */
Test(engine, an_xnor_head_sees_signs_of_the_mean_size)
{
    static const uint8_t types[] = {RUVM_TYPE_INT8, RUVM_TYPE_INT8, RUVM_TYPE_INT8,
                                    RUVM_TYPE_INT8, RUVM_TYPE_INT8, RUVM_TYPE_INT8,
                                    RUVM_TYPE_INT8, RUVM_TYPE_INT8, RUVM_TYPE_XNOR};
    size_t n = 0, n_off = 0;
    for (uint16_t dim = 1; dim < 100; dim++) {
        struct random_shape s = any_shape(0);
        size_t bytes;
        s.dim = dim;
        s.tied = false;
        s.types = types;
        s.n_types = 9;
        uint8_t *image = random_image(&s, &bytes);
        silence(image, bytes, RUVM_TENSOR_WO);
        silence(image, bytes, RUVM_TENSOR_W_DOWN);
        n_off += count_off(image, bytes, &s);
        n += (size_t)s.context * s.vocab;
        free(image);
    }
    cr_assert(n_off < n / 200, "%zu of %zu logits are off", n_off, n);
}

Test(engine, groups_have_32768_columns_at_most)
{
    static const uint8_t types[] = {RUVM_TYPE_INT8, RUVM_TYPE_INT8,
                                    RUVM_TYPE_INT8, RUVM_TYPE_INT8,
                                    RUVM_TYPE_INT8, RUVM_TYPE_INT8,
                                    RUVM_TYPE_INT8, RUVM_TYPE_INT4 | 4 << RUVM_TYPE_GROUP_SHIFT};
    struct random_shape s = any_shape(6);
    s.types = types;
    s.n_types = 8;
    for (uint16_t hidden = 32767; hidden <= 32769; hidden++) {
        size_t bytes;
        struct ruvm_image img;
        struct ruvm_image_fault fault;
        s.hidden = hidden;
        uint8_t *image = random_image(&s, &bytes);
        int rc = ruvm_image_open(&img, image, bytes, &fault);
        cr_assert_eq(rc, hidden <= 32768 ? RUVM_OK : RUVM_ERR_CORRUPT);
        if (rc == RUVM_OK) {
            struct ruvm_engine_options o = {.kernels = &strict_kernels};
            free(all_logits(image, bytes, &s, (const uint16_t[]){0}, &o));
        } else {
            cr_assert_str_eq(fault.what, "columns of a tensor with groups");
            cr_assert(fault.expected == 32768 && fault.found == 32769);
        }
        free(image);
    }
}

Test(engine, logits_depend_on_every_earlier_token)
{
    const struct random_shape shape = any_shape(1), *s = &shape;
    size_t bytes;
    uint8_t *image = random_image(s, &bytes);
    uint16_t tokens[40];
    fill_tokens(tokens, s->context, s->vocab, 7);
    int32_t *a = all_logits(image, bytes, s, tokens, NULL);
    tokens[0] = (uint16_t)((tokens[0] + 1) % s->vocab);
    int32_t *b = all_logits(image, bytes, s, tokens, NULL);
    size_t last = (size_t)(s->context - 1) * s->vocab;
    cr_assert(memcmp(a + last, b + last, s->vocab * sizeof *a) != 0);
    free(a);
    free(b);
    free(image);
}

/* The highest byte that a full context changes, of memory first filled with `fill`. */
static size_t high_water(const uint8_t *image, size_t image_bytes, const struct random_shape *s,
                         uint8_t fill, uint8_t *copy, size_t bytes)
{
    uint8_t *memory = aligned_alloc(64, (bytes + 127) & ~(size_t)63);
    memset(memory, fill, bytes + 64);
    struct ruvm_engine *e;
    uint16_t tokens[1200];
    fill_tokens(tokens, s->context, s->vocab, 9);
    cr_assert_eq(ruvm_engine_init(&e, memory, bytes, image, image_bytes, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_eval(e, tokens, s->context, NULL), RUVM_OK);
    for (size_t i = bytes; i < bytes + 64; i++)
        cr_assert_eq(memory[i], fill, "wrote %zu bytes past the end", i - bytes);
    memcpy(copy, memory, bytes);
    size_t top = bytes;
    while (top > 0 && memory[top - 1] == fill)
        top--;
    free(memory);
    return top;
}

Test(engine, memory_is_exact_and_equals_the_high_water_mark)
{
    for (int i = 0; i < n_any_shapes; i++) {
        const struct random_shape shape = any_shape(i), *s = &shape;
        size_t image_bytes, bytes;
        uint8_t *image = random_image(s, &image_bytes);
        cr_assert_eq(ruvm_engine_bytes(image, image_bytes, NULL, &bytes), RUVM_OK);
        uint8_t *copy = malloc(bytes);
        /* a byte may happen to equal one fill, not both */
        size_t a = high_water(image, image_bytes, s, 0x55, copy, bytes);
        size_t b = high_water(image, image_bytes, s, 0xAA, copy, bytes);
        size_t top = a > b ? a : b;
        cr_assert(top <= bytes && bytes - top < 16, "shape %d: %zu of %zu", i, top, bytes);
        struct ruvm_engine *e;
        cr_assert_eq(ruvm_engine_init(&e, copy, bytes - 1, image, image_bytes, NULL),
                     RUVM_ERR_MEMORY);
        free(copy);
        free(image);
    }
}

Test(engine, rewinding_repeats_exactly)
{
    const struct random_shape shape = any_shape(1), *s = &shape;
    size_t bytes;
    uint8_t *image = random_image(s, &bytes);
    struct setup u = start(image, bytes, NULL);
    uint16_t tokens[20];
    fill_tokens(tokens, 20, s->vocab, 3);
    cr_assert_eq(ruvm_engine_eval(u.e, tokens, 20, NULL), RUVM_OK);
    uint32_t crc = ruvm_logits_crc(0, ruvm_engine_logits(u.e), s->vocab);
    cr_assert_eq(ruvm_engine_rewind(u.e, 11), RUVM_OK);
    cr_assert_eq(ruvm_engine_position(u.e), 11);
    cr_assert_eq(ruvm_engine_eval(u.e, tokens + 11, 9, NULL), RUVM_OK);
    cr_assert_eq(ruvm_logits_crc(0, ruvm_engine_logits(u.e), s->vocab), crc);
    cr_assert_eq(ruvm_engine_rewind(u.e, 21), RUVM_ERR_ARG);
    free(u.memory);
    free(image);
}

Test(engine, refuses_what_does_not_fit)
{
    const struct random_shape shape = any_shape(0), *s = &shape;
    size_t bytes, need;
    uint8_t *image = random_image(s, &bytes);
    struct setup u = start(image, bytes, NULL);
    uint16_t tokens[25] = {0};
    cr_assert_eq(ruvm_engine_eval(u.e, tokens, 0, NULL), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_engine_eval(u.e, tokens, 25, NULL), RUVM_ERR_FULL);
    cr_assert_eq(ruvm_engine_position(u.e), 0, "a refused call appends nothing");
    tokens[3] = s->vocab;
    cr_assert_eq(ruvm_engine_eval(u.e, tokens, 5, NULL), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_engine_position(u.e), 0);
    struct ruvm_engine_options too_long = {.context = 25}, too_wide = {.block = 65};
    cr_assert_eq(ruvm_engine_bytes(image, bytes, &too_long, &need), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_engine_bytes(image, bytes, &too_wide, &need), RUVM_ERR_ARG);
    image[bytes - 1] ^= 1;
    cr_assert_eq(ruvm_engine_bytes(image, bytes, NULL, &need), RUVM_ERR_CORRUPT);
    free(u.memory);
    free(image);
}

Test(engine, a_smaller_context_costs_less_and_changes_nothing)
{
    const struct random_shape shape = any_shape(1), *s = &shape;
    size_t bytes, all;
    uint8_t *image = random_image(s, &bytes);
    cr_assert_eq(ruvm_engine_bytes(image, bytes, NULL, &all), RUVM_OK);
    struct ruvm_engine_options o = {.context = 10};
    struct setup small = start(image, bytes, &o), large = start(image, bytes, NULL);
    cr_assert(small.bytes < all);
    uint16_t tokens[10];
    fill_tokens(tokens, 10, s->vocab, 4);
    ruvm_engine_eval(small.e, tokens, 10, NULL);
    ruvm_engine_eval(large.e, tokens, 10, NULL);
    size_t size = s->vocab * sizeof(int32_t);
    cr_assert(memcmp(ruvm_engine_logits(small.e), ruvm_engine_logits(large.e), size) == 0);
    cr_assert_eq(ruvm_engine_eval(small.e, tokens, 1, NULL), RUVM_ERR_FULL);
    free(small.memory);
    free(large.memory);
    free(image);
}
