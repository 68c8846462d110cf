/* The networks people have: one small image of each, whose logits are the same for ever
 * and on every machine; and what their parts promise exactly.
 *
 * tests/golden/networks holds the images, for the decoder of the format and for the
 * emulated chips. After a change of the format, or of what the engine computes, make
 * them again and copy the new checksums from the messages:
 *
 *     RUVM_REGENERATE_GOLDEN=1 build/release/tests/core/test --filter 'networks/golden*'
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_read.h"
#include "kernels/kernels.h"
#include "lib/base/file.h"
#include "lib/ruvm.h"
#include "tests/core/plain_model.h"
#include "tests/core/random_image.h"
#include "tests/support/repair_image.h"

#define BIT(kind) (1u << RUVM_BIAS_##kind)
#define OF_ATTENTION (BIT(WQ) | BIT(WK) | BIT(WV) | BIT(WO))
#define OF_NORMS (BIT(ATTN_NORM) | BIT(FFN_NORM) | BIT(FINAL_NORM))
#define OF_FEED_FORWARD (BIT(W_UP) | BIT(W_DOWN))

static const char *const pieces[] = {" ",  "h",  "e",  "l",    "o",      "w",
                                     "r",  "d",  "he", "ll",   "hell",   "hello",
                                     " w", "or", "ld", " wor", " world", " hello"};

/* What all have in common. */
#define SMALL                                                                                      \
    .vocab = 24, .dim = 16, .context = 32, .head_dim = 8, .layers = 2, .heads = 2,                 \
    .pieces = pieces, .n_pieces = sizeof pieces / sizeof *pieces

static const uint8_t int4_types[] = {RUVM_TYPE_INT4 | 4 << RUVM_TYPE_GROUP_SHIFT};
static const uint8_t mixed_types[] = {
    RUVM_TYPE_INT8, RUVM_TYPE_INT4 | 5 << RUVM_TYPE_GROUP_SHIFT, RUVM_TYPE_TERNARY,
    RUVM_TYPE_INT3 | 4 << RUVM_TYPE_GROUP_SHIFT, RUVM_TYPE_BINARY | 4 << RUVM_TYPE_GROUP_SHIFT};

static const struct network {
    const char *name;
    uint32_t crc; /* of the logits of `tokens` */
    struct random_shape shape;
} networks[] = {
    {"mistral",
     0x03db5141,
     {SMALL, .hidden = 20, .kv_heads = 1, .tied = false, .window = 6, .seed = 41}},
    {"qwen2",
     0x0f211f35,
     {SMALL, .tied = true, .hidden = 20, .kv_heads = 1, .biases = BIT(WQ) | BIT(WK) | BIT(WV),
      .k_bits = 4, .seed = 42}},
    {"gpt2",
     0xc22e6c69,
     {SMALL, .kv_heads = 2, .tied = true, .hidden = 20, .norm = RUVM_NORM_LAYER,
      .act = RUVM_ACT_GELU_TANH, .pos = RUVM_POS_LEARNED,
      .biases = OF_ATTENTION | OF_NORMS | OF_FEED_FORWARD, .types = int4_types, .n_types = 1,
      .seed = 43}},
    {"gpt_neo",
     0xc89e30bb,
     {SMALL, .kv_heads = 2, .tied = true, .hidden = 20, .norm = RUVM_NORM_LAYER,
      .act = RUVM_ACT_GELU_TANH, .pos = RUVM_POS_LEARNED, .window = 5, .local = "01", .score = 1,
      .biases = BIT(WO) | OF_NORMS | OF_FEED_FORWARD, .seed = 44}},
    {"gpt_neox",
     0x4a3403f6,
     {SMALL, .kv_heads = 2, .hidden = 20, .norm = RUVM_NORM_LAYER, .act = RUVM_ACT_GELU_ERF,
      .rope_dims = 4, .tied = false, .parallel = true,
      .biases = OF_ATTENTION | OF_NORMS | OF_FEED_FORWARD, .types = mixed_types,
      .n_types = sizeof mixed_types, .v_bits = 4, .seed = 45}},
    /* OPT: ReLU, LayerNorm, learned positions */
    {"relu",
     0x5640be74,
     {SMALL, .kv_heads = 2, .tied = true, .norm = RUVM_NORM_LAYER, .act = RUVM_ACT_RELU,
      .pos = RUVM_POS_LEARNED, .hidden = 29, .biases = OF_ATTENTION | OF_NORMS | OF_FEED_FORWARD,
      .seed = 46}},
};
enum { N_NETWORKS = sizeof networks / sizeof *networks, N_TOKENS = 30 };

static void fill_tokens(uint16_t *tokens, uint16_t vocab)
{
    uint64_t rng = 77;
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = (uint16_t)(random_next(&rng) % vocab);
}

/* The logits after each token; free() them. */
static int32_t *run(const uint8_t *image, size_t size, const uint16_t *tokens,
                    const struct ruvm_engine_options *o)
{
    struct ruvm_engine *e;
    struct ruvm_image img;
    size_t bytes;
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_bytes(image, size, o, &bytes), RUVM_OK);
    void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    cr_assert_eq(ruvm_engine_init(&e, memory, bytes, image, size, o), RUVM_OK);
    int32_t *logits = malloc((size_t)N_TOKENS * img.vocab * sizeof *logits);
    cr_assert_eq(ruvm_engine_eval(e, tokens, N_TOKENS, logits), RUVM_OK);
    free(memory);
    return logits;
}

static int32_t *run_shape(const struct random_shape *s, const uint16_t *tokens,
                          const struct ruvm_engine_options *o)
{
    size_t size;
    uint8_t *image = random_image(s, &size);
    int32_t *logits = run(image, size, tokens, o);
    free(image);
    return logits;
}

/* ---- golden ---------------------------------------------------------------- */

static void check_file(const char *folder, const char *name, const uint8_t *image, size_t size)
{
    char path[100];
    struct ruvm_map map;
    struct ruvm_error err = {0};
    snprintf(path, sizeof path, "%s/%s.ruvm", folder, name);
    if (getenv("RUVM_REGENERATE_GOLDEN"))
        cr_assert_eq(ruvm_file_write(path, image, size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    cr_assert(map.size == size && memcmp(map.data, image, size) == 0, "%s", path);
    ruvm_file_unmap(&map);
}

Test(networks, golden_files_are_what_the_writer_makes)
{
    for (int i = 0; i < N_NETWORKS; i++) {
        size_t size;
        uint8_t *image = random_image(&networks[i].shape, &size);
        cr_assert_leq(size, 8192);
        check_file("tests/golden/networks", networks[i].name, image, size);
        check_file("tests/fuzz/corpus/ruvm_image", networks[i].name, image, size);
        free(image);
    }
}

Test(networks, golden_logits_are_what_they_were)
{
    for (int i = 0; i < N_NETWORKS; i++) {
        const struct random_shape *s = &networks[i].shape;
        for (const struct ruvm_kernels *const *k = ruvm_kernels_all; *k; k++) {
            uint16_t tokens[N_TOKENS];
            const struct ruvm_engine_options o = {.kernels = *k, .block = 7};
            if (!(*k)->available())
                continue;
            fill_tokens(tokens, s->vocab);
            int32_t *logits = run_shape(s, tokens, &o);
            uint32_t crc = ruvm_logits_crc(0, logits, (size_t)N_TOKENS * s->vocab);
            cr_expect_eq(crc, networks[i].crc, "%s, %s: 0x%08x", networks[i].name, (*k)->name, crc);
            free(logits);
        }
    }
}

/* ---- windows --------------------------------------------------------------- */

/* How many positions, from the first one on, have other logits when token 0 is another. */
static int reach_of_token_0(const struct random_shape *s)
{
    uint16_t tokens[N_TOKENS];
    int reach = 0;
    fill_tokens(tokens, s->vocab);
    int32_t *a = run_shape(s, tokens, NULL);
    tokens[0] = (uint16_t)((tokens[0] + 1) % s->vocab);
    int32_t *b = run_shape(s, tokens, NULL);
    for (int p = 0; p < N_TOKENS; p++) {
        size_t at = (size_t)p * s->vocab;
        if (memcmp(a + at, b + at, s->vocab * sizeof *a) != 0)
            reach = p + 1;
    }
    free(a);
    free(b);
    return reach;
}

/* Through each layer a token is seen from window - 1 positions further on. */
Test(networks, a_window_ends_what_a_token_sees)
{
    static const struct {
        uint16_t window;
        const char *local;
        int reach;
    } cases[] = {
        {0, NULL, N_TOKENS}, {1, NULL, 1},         {2, NULL, 3},
        {4, NULL, 7},        {4, "11", 7},         {1, "01", N_TOKENS},
        {5, "00", N_TOKENS}, {40, NULL, N_TOKENS}, {29, "11", N_TOKENS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (uint8_t bits = 0; bits <= 4; bits += 4) {
            struct random_shape s = networks[0].shape;
            s.window = cases[i].window;
            s.local = cases[i].local;
            s.k_bits = s.v_bits = bits;
            cr_expect_eq(reach_of_token_0(&s), cases[i].reach, "case %zu: %d", i,
                         reach_of_token_0(&s));
        }
    }
}

/* Blocks of unpacked values begin at the window, wherever that is. */
Test(networks, a_window_may_begin_anywhere_in_a_long_context)
{
    static uint16_t tokens[1200];
    struct random_shape s = networks[0].shape;
    uint64_t rng = 3;
    s.context = 1200;
    s.layers = 1;
    s.window = 1100;
    s.k_bits = s.v_bits = 4;
    for (int i = 0; i < 1200; i++)
        tokens[i] = (uint16_t)(random_next(&rng) % s.vocab);
    size_t size, bytes;
    uint8_t *image = random_image(&s, &size);
    uint32_t crc[2];
    for (int i = 0; i < 2; i++) {
        struct ruvm_engine *e;
        tokens[99] = (uint16_t)i; /* the last one that position 1199 does not see */
        cr_assert_eq(ruvm_engine_bytes(image, size, NULL, &bytes), RUVM_OK);
        void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
        cr_assert_eq(ruvm_engine_init(&e, memory, bytes, image, size, NULL), RUVM_OK);
        cr_assert_eq(ruvm_engine_eval(e, tokens, 1200, NULL), RUVM_OK);
        crc[i] = ruvm_logits_crc(0, ruvm_engine_logits(e), s.vocab);
        free(memory);
    }
    cr_assert_eq(crc[0], crc[1]);
    free(image);
}

/* ---- the other parts --------------------------------------------------------- */

static uint32_t rows_of_gelu; /* a bit for each row of the table that was asked for */

static void spy_gelu(int32_t *x, const int32_t *in, uint32_t n, const struct ruvm_gelu *p)
{
    rows_of_gelu |= 1u << p->row;
    ruvm_kernels_scalar.gelu(x, in, n, p);
}

/* The two differ by less than what eight bits lose, so one has to look. */
Test(networks, each_gelu_is_its_own)
{
    struct ruvm_kernels spy = ruvm_kernels_scalar;
    const struct ruvm_engine_options o = {.kernels = &spy};
    spy.gelu = spy_gelu;
    for (int i = 0; i < N_NETWORKS; i++) {
        uint16_t tokens[N_TOKENS];
        uint8_t act = networks[i].shape.act;
        rows_of_gelu = 0;
        fill_tokens(tokens, networks[i].shape.vocab);
        free(run_shape(&networks[i].shape, tokens, &o));
        cr_expect_eq(rows_of_gelu, act == RUVM_ACT_GELU_TANH  ? 1
                                   : act == RUVM_ACT_GELU_ERF ? 2
                                                              : 0);
    }
}

/* The same token again and again: only its position tells one from the other. Its row of
 * positions is what does, so a context cannot be longer than there are rows. */
Test(networks, learned_positions_tell_tokens_apart)
{
    struct random_shape s = networks[2].shape;
    uint16_t tokens[N_TOKENS] = {0};
    struct ruvm_image img;
    size_t size, bytes;
    int32_t *logits = run_shape(&s, tokens, NULL);
    for (int p = 1; p < N_TOKENS; p++) {
        const int32_t *now = logits + (size_t)p * s.vocab, *before = now - s.vocab;
        cr_expect(memcmp(now, before, s.vocab * sizeof *now) != 0, "position %d", p);
    }
    free(logits);
    uint8_t *image = random_image(&s, &size);
    struct ruvm_engine_options o = {.context = s.context + 1u};
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_image_find(&img, RUVM_TENSOR_POSITION, 0).rows, s.context);
    cr_assert_eq(ruvm_engine_bytes(image, size, &o, &bytes), RUVM_ERR_ARG);
    free(image);
}

/* The halves of a parallel layer are added in any order: with nothing to attend to, and
 * attention's output silent, it is as a serial one; else it is not. */
Test(networks, parallel_halves_read_the_same_input)
{
    struct random_shape s = networks[4].shape, serial = s;
    uint16_t tokens[N_TOKENS];
    size_t n = (size_t)N_TOKENS * s.vocab;
    serial.parallel = false;
    fill_tokens(tokens, s.vocab);
    int32_t *a = run_shape(&s, tokens, NULL), *b = run_shape(&serial, tokens, NULL);
    cr_expect(memcmp(a, b, n * sizeof *a) != 0);
    free(a);
    free(b);
}

/* As GPT-2 has them: two channels 2^17 times larger than the others, whose gains make up for
 * it. 15 bits would leave nothing of the others. */
Test(networks, layernorm_keeps_what_is_next_to_a_large_channel)
{
    struct random_shape s = networks[5].shape;
    struct ruvm_image img;
    uint16_t tokens[N_TOKENS];
    size_t size, n = (size_t)N_TOKENS * s.vocab;
    double error = 0, all = 0;
    s.types = NULL;
    s.biases = BIT(W_DOWN);
    uint8_t *image = random_image(&s, &size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    image[ruvm_image_section(&img, 0).off + RUVM_ARCH_RESID_EXP] = (uint8_t)-12;
    int16_t *bias = (int16_t *)(void *)(image + ((const uint8_t *)img.bias - image));
    int16_t *gain = (int16_t *)(void *)(image + ((const uint8_t *)img.norm_gain - image));
    image[(const uint8_t *)img.bias_exp - image] = 2;
    for (uint32_t i = 0; i < s.dim; i++)
        bias[i] = (int16_t)(i == 0 ? INT16_MAX : i == 1 ? -INT16_MAX : 0);
    for (uint32_t norm = 2; norm < 5; norm++)
        gain[norm * s.dim] = gain[norm * s.dim + 1] = 1;
    repair_image(image, size);
    fill_tokens(tokens, s.vocab);
    int32_t *found = run(image, size, tokens, NULL);
    double *expected = plain_logits(&img, tokens, N_TOKENS);
    for (size_t i = 0; i < n; i++) {
        error += pow(found[i] / 65536.0 - expected[i], 2);
        all += pow(expected[i], 2);
    }
    cr_expect(sqrt(error / all) < 0.05, "off by %g", sqrt(error / all));
    free(expected);
    free(found);
    free(image);
}

/* A parallel layer keeps a copy of the residual, and nothing else costs memory. */
Test(networks, memory_of_the_parts)
{
    struct random_shape s = networks[0].shape;
    size_t size, plain, other;
    const struct ruvm_engine_options o = {.block = 4};
    uint8_t *image = random_image(&s, &size);
    cr_assert_eq(ruvm_engine_bytes(image, size, &o, &plain), RUVM_OK);
    free(image);
    s.parallel = true;
    s.norm = RUVM_NORM_LAYER;
    s.biases = (1u << RUVM_N_BIASES) - 1;
    image = random_image(&s, &size);
    cr_assert_eq(ruvm_engine_bytes(image, size, &o, &other), RUVM_OK);
    cr_assert_eq(other, plain + 4 * s.dim * sizeof(int32_t));
    free(image);
}
