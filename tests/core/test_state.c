/* States: an engine that takes one goes on as the engine that gave it, whatever its kernels,
 * block and context. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/ruvm.h"
#include "tests/core/random_image.h"

enum { N_PROMPT = 20, N_REST = 11 };

static const struct random_shape shapes[] = {
    {.vocab = 40,
     .dim = 16,
     .hidden = 20,
     .context = 40,
     .head_dim = 8,
     .layers = 1,
     .heads = 2,
     .kv_heads = 1,
     .tied = true,
     .seed = 1},
    {.vocab = 97,
     .dim = 36,
     .hidden = 50,
     .context = 64,
     .head_dim = 6,
     .layers = 3,
     .heads = 6,
     .kv_heads = 3,
     .seed = 2,
     .k_bits = 4},
    {.vocab = 97,
     .dim = 36,
     .hidden = 50,
     .context = 64,
     .head_dim = 14,
     .layers = 2,
     .heads = 4,
     .kv_heads = 2,
     .seed = 3,
     .v_bits = 4},
    {.vocab = 64,
     .dim = 30,
     .hidden = 31,
     .context = 70,
     .head_dim = 16,
     .layers = 2,
     .heads = 2,
     .kv_heads = 2,
     .seed = 4,
     .k_bits = 4,
     .v_bits = 4,
     .window = 5,
     .local = "10"},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct engine {
    struct ruvm_engine *e;
    void *memory;
};

static struct engine open_engine(const uint8_t *image, size_t n,
                                 const struct ruvm_engine_options *o)
{
    struct engine made = {0};
    size_t bytes;
    cr_assert_eq(ruvm_engine_bytes(image, n, o, &bytes), RUVM_OK);
    made.memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(made.memory, 0xA5, bytes);
    cr_assert_eq(ruvm_engine_init(&made.e, made.memory, bytes, image, n, o), RUVM_OK);
    return made;
}

static void draw_tokens(uint16_t *tokens, size_t n, const struct random_shape *s)
{
    uint64_t rng = s->seed;
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint16_t)(random_next(&rng) % s->vocab);
}

static void *save(const struct ruvm_engine *e, size_t *bytes)
{
    *bytes = ruvm_engine_state_bytes(e, ruvm_engine_position(e));
    uint8_t *state = malloc(*bytes + 1);
    state[*bytes] = 0x5A;
    cr_assert_eq(ruvm_engine_state_save(e, state, *bytes), RUVM_OK);
    cr_assert_eq(state[*bytes], 0x5A, "no byte more than it says");
    return state;
}

static void expect_same_logits(const struct engine *a, const struct engine *b, uint32_t vocab)
{
    cr_assert_eq(
        memcmp(ruvm_engine_logits(a->e), ruvm_engine_logits(b->e), vocab * sizeof(int32_t)), 0);
}

Test(state, another_engine_goes_on_from_it)
{
    for (int i = 0; i < N_SHAPES; i++) {
        const struct random_shape *s = &shapes[i];
        uint16_t tokens[N_PROMPT + N_REST];
        size_t n, bytes;
        uint8_t *image = random_image(s, &n);
        draw_tokens(tokens, N_PROMPT + N_REST, s);
        struct engine from = open_engine(image, n, NULL);
        cr_assert_eq(ruvm_engine_eval(from.e, tokens, N_PROMPT, NULL), RUVM_OK);
        void *state = save(from.e, &bytes);
        for (unsigned k = 0; ruvm_kernels_all[k]; k++) {
            const struct ruvm_engine_options o = {
                .context = N_PROMPT + N_REST, .block = k + 1, .kernels = ruvm_kernels_all[k]};
            if (!ruvm_kernels_all[k]->available())
                continue;
            struct engine to = open_engine(image, n, &o);
            cr_assert_eq(ruvm_engine_state_load(to.e, N_PROMPT, state, bytes), RUVM_OK);
            cr_assert_eq(ruvm_engine_position(to.e), N_PROMPT);
            cr_assert_eq(ruvm_engine_rewind(from.e, N_PROMPT), RUVM_OK);
            if (k == 0)
                expect_same_logits(&from, &to, s->vocab);
            cr_assert_eq(ruvm_engine_eval(from.e, tokens + N_PROMPT, N_REST, NULL), RUVM_OK);
            cr_assert_eq(ruvm_engine_eval(to.e, tokens + N_PROMPT, N_REST, NULL), RUVM_OK);
            expect_same_logits(&from, &to, s->vocab);
            free(to.memory);
        }
        free(state);
        free(from.memory);
        free(image);
    }
}

Test(state, its_first_tokens_can_be_kept_alone)
{
    const struct random_shape *s = &shapes[1];
    uint16_t tokens[N_PROMPT];
    size_t n, bytes;
    uint8_t *image = random_image(s, &n);
    draw_tokens(tokens, N_PROMPT, s);
    struct engine a = open_engine(image, n, NULL), b = open_engine(image, n, NULL);
    cr_assert_eq(ruvm_engine_eval(a.e, tokens, N_PROMPT, NULL), RUVM_OK);
    void *state = save(a.e, &bytes);
    cr_assert_eq(ruvm_engine_state_load(b.e, N_PROMPT, state, bytes), RUVM_OK);
    for (int i = 0; i < 2; i++) {
        struct engine *e = i ? &b : &a;
        cr_assert_eq(ruvm_engine_rewind(e->e, 7), RUVM_OK);
        cr_assert_eq(ruvm_engine_eval(e->e, tokens + 12, 5, NULL), RUVM_OK);
    }
    expect_same_logits(&a, &b, s->vocab);
    free(state);
    free(a.memory);
    free(b.memory);
    free(image);
}

Test(state, its_bytes_are_logits_keys_and_values)
{
    static const size_t vectors[N_SHAPES] = {8 + 8, 4 + 6, 14 + 8, 9 + 9}; /* key and value */
    for (int i = 0; i < N_SHAPES; i++) {
        const struct random_shape *s = &shapes[i];
        size_t n;
        uint8_t *image = random_image(s, &n);
        struct engine a = open_engine(image, n, NULL);
        cr_assert_eq(ruvm_engine_state_bytes(a.e, 0), 4u * s->vocab);
        cr_assert_eq(ruvm_engine_state_bytes(a.e, 9),
                     4u * s->vocab + 9u * s->layers * s->kv_heads * vectors[i], "shape %d", i);
        free(a.memory);
        free(image);
    }
}

Test(state, what_cannot_be_one_is_refused)
{
    for (int i = 0; i < N_SHAPES; i++) {
        const struct random_shape *s = &shapes[i];
        const struct ruvm_engine_options small = {.context = 4};
        uint16_t tokens[5];
        size_t n, bytes;
        uint8_t *image = random_image(s, &n);
        draw_tokens(tokens, 5, s);
        struct engine a = open_engine(image, n, NULL), b = open_engine(image, n, &small);
        cr_assert_eq(ruvm_engine_eval(a.e, tokens, 5, NULL), RUVM_OK);
        uint8_t *state = save(a.e, &bytes);
        cr_assert_eq(ruvm_engine_state_save(a.e, state, bytes - 1), RUVM_ERR_ARG);
        cr_assert_eq(ruvm_engine_state_load(b.e, 5, state, bytes), RUVM_ERR_FULL);
        cr_assert_eq(ruvm_engine_state_load(b.e, 4, state, bytes), RUVM_ERR_ARG);
        cr_assert_eq(ruvm_engine_state_load(a.e, 5, state, bytes + 1), RUVM_ERR_ARG);
        cr_assert_eq(ruvm_engine_position(a.e), 5);
        memset(state + 4 * s->vocab, 0x80, bytes - 4 * s->vocab); /* -128, or a step of 128 */
        int rc = ruvm_engine_state_load(a.e, 5, state, bytes);
        cr_assert_eq(rc, s->k_bits == 4 && s->v_bits == 4 ? RUVM_OK : RUVM_ERR_CORRUPT);
        memset(state + 4 * s->vocab, 0, bytes - 4 * s->vocab); /* a step of 0 */
        rc = ruvm_engine_state_load(a.e, 5, state, bytes);
        cr_assert_eq(rc, s->k_bits == 4 || s->v_bits == 4 ? RUVM_ERR_CORRUPT : RUVM_OK);
        cr_assert_eq(ruvm_engine_position(a.e), rc == RUVM_OK ? 5 : 0);
        free(state);
        free(a.memory);
        free(b.memory);
        free(image);
    }
}
