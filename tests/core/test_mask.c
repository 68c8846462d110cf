/* Masks against their definition: an engine with a mask gives the logits of one without whose
 * softmax skips what the predicate hides, bit for bit; a window does so in a ring. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/ruvm.h"
#include "tests/core/random_image.h"

enum { N_TOKENS = 60, CONTEXT = 64, LONG_CONTEXT = 1100 };

static const struct random_shape shapes[] = {
    {.vocab = 40,
     .dim = 16,
     .hidden = 20,
     .context = CONTEXT,
     .head_dim = 8,
     .layers = 2,
     .heads = 2,
     .kv_heads = 1,
     .tied = true,
     .seed = 1},
    {.vocab = 50,
     .dim = 24,
     .hidden = 30,
     .context = CONTEXT,
     .head_dim = 6,
     .layers = 2,
     .heads = 4,
     .kv_heads = 2,
     .k_bits = 4,
     .v_bits = 4,
     .window = 9,
     .local = "10",
     .seed = 2},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const struct ruvm_mask masks[] = {
    {RUVM_MASK_WINDOW, {1}},        {RUVM_MASK_WINDOW, {7}},        {RUVM_MASK_WINDOW, {7, 3}},
    {RUVM_MASK_WINDOW, {16, 1}},    {RUVM_MASK_WINDOW, {50, 4}},    {RUVM_MASK_WINDOW, {500, 500}},
    {RUVM_MASK_STRIDED, {4, 5}},    {RUVM_MASK_STRIDED, {1, 1}},    {RUVM_MASK_DILATED, {6, 3}},
    {RUVM_MASK_DILATED, {1, 9}},    {RUVM_MASK_BIGBIRD, {5, 2, 3}}, {RUVM_MASK_BIGBIRD, {1, 0, 64}},
    {RUVM_MASK_BIGBIRD, {2, 0, 0}},
};
enum { N_MASKS = sizeof masks / sizeof *masks };

struct engine {
    struct ruvm_engine *e;
    void *memory;
    size_t bytes;
};

static struct engine open_engine(const uint8_t *image, size_t n,
                                 const struct ruvm_engine_options *o)
{
    struct engine made = {0};
    cr_assert_eq(ruvm_engine_bytes(image, n, o, &made.bytes), RUVM_OK);
    made.memory = aligned_alloc(64, (made.bytes + 63) & ~(size_t)63);
    memset(made.memory, 0xA5, made.bytes);
    cr_assert_eq(ruvm_engine_init(&made.e, made.memory, made.bytes, image, n, o), RUVM_OK);
    return made;
}

/* ---- the oracle: a softmax that skips ---------------------------------------- */

static const struct ruvm_mask *skipped;
static uint32_t skipped_at; /* position of the query */

static uint32_t skipping_weights(uint16_t *e, const int32_t *s, uint32_t n, uint32_t mult,
                                 uint32_t shift)
{
    int32_t seen[LONG_CONTEXT] = {0};
    uint16_t weights[LONG_CONTEXT];
    uint32_t n_seen = 0, first = skipped_at + 1 - n, at = 0;
    for (uint32_t p = 0; p < n; p++)
        if (ruvm_mask_sees(skipped, skipped_at, first + p))
            seen[n_seen++] = s[p];
    uint32_t total = ruvm_kernels_scalar.weights(weights, seen, n_seen, mult, shift);
    for (uint32_t p = 0; p < n; p++)
        e[p] = ruvm_mask_sees(skipped, skipped_at, first + p) ? weights[at++] : 0;
    return total;
}

/* Logits after each of n_tokens, [n_tokens, vocab]. */
static int32_t *skipping_logits(const uint8_t *image, size_t n, const struct random_shape *s,
                                const struct ruvm_mask *m, const uint16_t *tokens,
                                uint32_t n_tokens)
{
    struct ruvm_kernels kernels = ruvm_kernels_scalar;
    const struct ruvm_engine_options o = {.kernels = &kernels};
    int32_t *logits = calloc((size_t)n_tokens * s->vocab, sizeof *logits);
    kernels.weights = skipping_weights;
    skipped = m;
    struct engine made = open_engine(image, n, &o);
    for (skipped_at = 0; skipped_at < n_tokens; skipped_at++)
        cr_assert_eq(ruvm_engine_eval(made.e, tokens + skipped_at, 1,
                                      logits + (size_t)skipped_at * s->vocab),
                     RUVM_OK);
    free(made.memory);
    return logits;
}

static void draw_tokens(uint16_t *tokens, const struct random_shape *s, uint32_t n)
{
    uint64_t rng = s->seed;
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (uint16_t)(random_next(&rng) % s->vocab);
}

static void expect_rows(const int32_t *found, const int32_t *expected, size_t n, int mask)
{
    cr_assert_eq(memcmp(found, expected, n * sizeof *found), 0, "mask %d", mask);
}

Test(mask, is_dense_attention_that_skips_what_is_hidden)
{
    int32_t *found = calloc((size_t)N_TOKENS * 100, sizeof *found);
    for (int i = 0; i < N_SHAPES * N_MASKS; i++) {
        const struct random_shape *s = &shapes[i / N_MASKS];
        const struct ruvm_mask *m = &masks[i % N_MASKS];
        uint16_t tokens[N_TOKENS];
        size_t n;
        uint8_t *image = random_image(s, &n);
        draw_tokens(tokens, s, N_TOKENS);
        int32_t *expected = skipping_logits(image, n, s, m, tokens, N_TOKENS);
        for (unsigned k = 0; ruvm_kernels_all[k]; k++) {
            const struct ruvm_engine_options o = {
                .mask = *m, .block = 1 + 5 * k, .kernels = ruvm_kernels_all[k]};
            if (!ruvm_kernels_all[k]->available())
                continue;
            struct engine made = open_engine(image, n, &o);
            cr_assert_eq(ruvm_engine_eval(made.e, tokens, N_TOKENS, found), RUVM_OK);
            expect_rows(found, expected, (size_t)N_TOKENS * s->vocab, i % N_MASKS);
            free(made.memory);
        }
        free(expected);
        free(image);
    }
    free(found);
}

/* What is seen is worked out a thousand slots at a time. */
Test(mask, is_the_same_in_a_long_text)
{
    static const struct ruvm_mask long_masks[] = {
        {RUVM_MASK_WINDOW, {1000, 90}},     {RUVM_MASK_STRIDED, {30, 17}},
        {RUVM_MASK_DILATED, {40, 27}},      {RUVM_MASK_DILATED, {1030, 1}},
        {RUVM_MASK_BIGBIRD, {20, 1050, 9}}, {RUVM_MASK_BIGBIRD, {3, 2, 64}},
    };
    struct random_shape s = shapes[1];
    static uint16_t tokens[LONG_CONTEXT];
    size_t n;
    s.context = LONG_CONTEXT;
    s.window = 1050;
    uint8_t *image = random_image(&s, &n);
    int32_t *found = calloc((size_t)LONG_CONTEXT * s.vocab, sizeof *found);
    draw_tokens(tokens, &s, LONG_CONTEXT);
    for (size_t i = 0; i < sizeof long_masks / sizeof *long_masks; i++) {
        const struct ruvm_engine_options o = {
            .mask = long_masks[i], .block = 16, .kernels = ruvm_kernels_select(NULL)};
        int32_t *expected = skipping_logits(image, n, &s, &long_masks[i], tokens, LONG_CONTEXT);
        struct engine made = open_engine(image, n, &o);
        cr_assert_eq(ruvm_engine_eval(made.e, tokens, LONG_CONTEXT, found), RUVM_OK);
        expect_rows(found, expected, (size_t)LONG_CONTEXT * s.vocab, (int)i);
        free(made.memory);
        free(expected);
    }
    free(found);
    free(image);
}

/* ---- the ring ------------------------------------------------------------------- */

Test(mask, a_window_needs_no_more_memory_than_it_sees_and_a_block)
{
    const struct random_shape *s = &shapes[0];
    size_t n, whole, less, bytes;
    uint8_t *image = random_image(s, &n);
    struct ruvm_engine_options o = {.block = 3};
    cr_assert_eq(ruvm_engine_bytes(image, n, &o, &whole), RUVM_OK);
    o.mask = (struct ruvm_mask){RUVM_MASK_WINDOW, {12, 4}};
    cr_assert_eq(ruvm_engine_bytes(image, n, &o, &bytes), RUVM_OK);
    o.mask = (struct ruvm_mask){RUVM_MASK_NONE, {0}};
    o.context = 12 + 4 + 2;
    cr_assert_eq(ruvm_engine_bytes(image, n, &o, &less), RUVM_OK);
    cr_assert_lt(bytes, whole);
    cr_assert_eq(bytes, less);
    free(image);
}

/* Evaluates, goes back and evaluates again at random: what it allows, it computes right. */
Test(mask, a_ring_goes_back_as_far_as_it_says)
{
    uint64_t rng = 9;
    size_t refused = 0, back = 0;
    for (int i = 0; i < N_SHAPES * 5; i++) {
        const struct random_shape *s = &shapes[i / 5];
        const struct ruvm_engine_options o = {.mask = masks[i % 5],
                                              .block = 1 + 2u * (uint32_t)(i % 4)};
        uint16_t tokens[N_TOKENS];
        size_t n;
        uint8_t *image = random_image(s, &n);
        draw_tokens(tokens, s, N_TOKENS);
        int32_t *expected = skipping_logits(image, n, s, &o.mask, tokens, N_TOKENS);
        struct engine made = open_engine(image, n, &o);
        for (int step = 0; step < 300; step++) {
            uint32_t at = ruvm_engine_position(made.e);
            uint32_t more = 1 + (uint32_t)(random_next(&rng) % o.block);
            more = more < N_TOKENS - at ? more : N_TOKENS - at;
            if (more)
                cr_assert_eq(ruvm_engine_eval(made.e, tokens + at, more, NULL), RUVM_OK);
            at += more;
            expect_rows(ruvm_engine_logits(made.e), expected + (size_t)(at - 1) * s->vocab,
                        s->vocab, i % 5);
            uint32_t far = (uint32_t)(random_next(&rng) % (step % 9 ? more + 1 : at + 1));
            int rc = ruvm_engine_rewind(made.e, at - far);
            cr_assert(rc == RUVM_OK || far > more, "back by %u of the last %u", far, more);
            refused += rc != RUVM_OK;
            back += rc == RUVM_OK && far > 0;
            cr_assert_eq(ruvm_engine_position(made.e), rc == RUVM_OK ? at - far : at);
            if (ruvm_engine_position(made.e) == N_TOKENS)
                cr_assert_eq(ruvm_engine_rewind(made.e, 0), RUVM_OK);
        }
        free(made.memory);
        free(expected);
        free(image);
    }
    cr_assert(refused > 10 && back > 300, "%zu refused, %zu not: no test", refused, back);
}

Test(mask, a_state_of_a_ring_goes_on)
{
    for (uint32_t at = 1; at < N_TOKENS; at += 3) {
        const struct random_shape *s = &shapes[at % 2];
        const struct ruvm_engine_options o = {.mask = masks[2], .block = 4};
        uint16_t tokens[N_TOKENS];
        size_t n;
        uint8_t *image = random_image(s, &n);
        draw_tokens(tokens, s, N_TOKENS);
        int32_t *expected = skipping_logits(image, n, s, &o.mask, tokens, N_TOKENS);
        struct engine a = open_engine(image, n, &o), b = open_engine(image, n, &o);
        cr_assert_eq(ruvm_engine_eval(a.e, tokens, at, NULL), RUVM_OK);
        size_t bytes = ruvm_engine_state_bytes(a.e, at);
        void *state = malloc(bytes);
        cr_assert_eq(ruvm_engine_state_save(a.e, state, bytes), RUVM_OK);
        cr_assert_eq(ruvm_engine_state_load(b.e, at, state, bytes), RUVM_OK);
        cr_assert_eq(ruvm_engine_eval(b.e, tokens + at, N_TOKENS - at, NULL), RUVM_OK);
        expect_rows(ruvm_engine_logits(b.e), expected + (size_t)(N_TOKENS - 1) * s->vocab, s->vocab,
                    2);
        free(state);
        free(expected);
        free(a.memory);
        free(b.memory);
        free(image);
    }
}

/* ---- the definition ------------------------------------------------------------- */

Test(mask, each_kind_sees_what_its_name_says)
{
    const struct ruvm_mask window = {RUVM_MASK_WINDOW, {3, 2}};
    const struct ruvm_mask strided = {RUVM_MASK_STRIDED, {2, 4}};
    const struct ruvm_mask dilated = {RUVM_MASK_DILATED, {3, 4}};
    const struct ruvm_mask none = {0};
    static const char *const rows[] = {"##.......###", "...#...#..##", "...#...#...#",
                                       "############"};
    const struct ruvm_mask *const all[] = {&window, &strided, &dilated, &none};
    for (int i = 0; i < 4; i++) {
        for (uint32_t key = 0; key < 12; key++)
            cr_assert_eq(ruvm_mask_sees(all[i], 11, key), rows[i][key] == '#', "%d, %u", i, key);
        cr_assert_not(ruvm_mask_sees(all[i], 11, 12), "nothing sees what is to come");
    }
}

Test(mask, what_is_drawn_differs_from_token_to_token_and_not_from_run_to_run)
{
    const struct ruvm_mask m = {RUVM_MASK_BIGBIRD, {2, 1, 4}};
    uint64_t sum = 0, n = 0;
    for (uint32_t query = 100; query < 400; query++) {
        uint32_t drawn = 0;
        for (uint32_t key = 1; key + 2 <= query; key++) {
            bool sees = ruvm_mask_sees(&m, query, key);
            drawn += sees;
            sum += sees ? 1000u * key / query : 0;
        }
        cr_assert_leq(drawn, 4);
        n += drawn;
        cr_assert(ruvm_mask_sees(&m, query, 0) && ruvm_mask_sees(&m, query, query - 1));
    }
    cr_assert_gt(n, 300 * 3, "hardly ever two of four are the same or in the window");
    cr_assert(sum / n > 450 && sum / n < 550, "they are spread evenly: %d", (int)(sum / n));
    cr_assert(ruvm_mask_sees(&m, 399, 0));
}

Test(mask, numbers_that_make_none_are_refused)
{
    static const struct ruvm_mask wrong[] = {
        {RUVM_MASK_NONE, {1}},           {RUVM_MASK_WINDOW, {0, 4}},
        {RUVM_MASK_WINDOW, {4, 4, 1}},   {RUVM_MASK_STRIDED, {4, 0}},
        {RUVM_MASK_STRIDED, {0, 4}},     {RUVM_MASK_DILATED, {4, 0}},
        {RUVM_MASK_DILATED, {0, 1}},     {RUVM_MASK_BIGBIRD, {0, 1, 1}},
        {RUVM_MASK_BIGBIRD, {1, 1, 65}}, {5, {1, 1, 1}},
    };
    size_t n, bytes;
    uint8_t *image = random_image(&shapes[0], &n);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct ruvm_engine_options o = {.mask = wrong[i]};
        cr_assert_eq(ruvm_mask_check(&wrong[i]), RUVM_ERR_ARG, "%zu", i);
        cr_assert_eq(ruvm_engine_bytes(image, n, &o, &bytes), RUVM_ERR_ARG, "%zu", i);
    }
    for (int i = 0; i < N_MASKS; i++)
        cr_assert_eq(ruvm_mask_check(&masks[i]), RUVM_OK);
    free(image);
}
