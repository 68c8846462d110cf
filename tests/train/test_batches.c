/* What a step sees depends on its number alone, and an epoch shows everything once. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lib/train/batches.h"
#include "tests/support/tiny_model.h"

enum { WINDOWS = 47, BATCH = 5, BATCHES = WINDOWS / BATCH };

struct fixture {
    struct ruvm_arena arena;
    struct ruvm_text text;
    struct ruvm_batches b;
};

static void open_fixture(struct fixture *f, uint32_t batch, uint64_t seed)
{
    struct ruvm_error err = {0};
    uint64_t rng = 4;
    *f = (struct fixture){0};
    cr_assert(ruvm_text_reserve(&f->text, &f->arena, 5000));
    for (int w = 0; w < WINDOWS; w++) {
        ruvm_text_window(&f->text, 1);
        for (uint64_t n = 1 + tiny_random(&rng) % 60; n > 0; n--)
            ruvm_text_token(&f->text, (uint32_t)w);
    }
    ruvm_text_window(&f->text, 1);
    cr_assert_eq(ruvm_batches_open(&f->b, &f->arena, &f->text, batch, seed, &err), RUVM_OK);
}

Test(batches, an_epoch_shows_a_window_at_most_once)
{
    struct fixture f;
    open_fixture(&f, BATCH, 1);
    for (int epoch = 0; epoch < 3; epoch++) {
        bool seen[WINDOWS] = {false};
        for (int i = 0; i < BATCHES; i++) {
            const uint32_t *w = ruvm_batches_step(&f.b, (uint64_t)(epoch * BATCHES + i));
            for (int j = 0; j < BATCH; j++) {
                cr_assert(w[j] < WINDOWS && !seen[w[j]]);
                seen[w[j]] = true;
                cr_assert(j == 0 || ruvm_batches_positions(&f.b, w[j - 1]) >=
                                        ruvm_batches_positions(&f.b, w[j]));
            }
        }
    }
    ruvm_arena_free(&f.arena);
}

Test(batches, a_step_does_not_depend_on_those_before)
{
    struct fixture f, g;
    uint32_t kept[BATCH];
    open_fixture(&f, BATCH, 1);
    open_fixture(&g, BATCH, 1);
    for (uint64_t step = 0; step < 3 * BATCHES; step++)
        memcpy(kept, ruvm_batches_step(&f.b, step), sizeof kept);
    cr_assert_arr_eq(ruvm_batches_step(&g.b, 3 * BATCHES - 1), kept, sizeof kept);
    ruvm_arena_free(&f.arena);
    ruvm_arena_free(&g.arena);
}

Test(batches, epochs_and_seeds_have_orders_of_their_own)
{
    struct fixture f, g;
    uint32_t first[BATCH];
    open_fixture(&f, BATCH, 1);
    open_fixture(&g, BATCH, 2);
    memcpy(first, ruvm_batches_step(&f.b, 0), sizeof first);
    cr_assert_arr_neq(ruvm_batches_step(&g.b, 0), first, sizeof first);
    cr_assert_arr_neq(ruvm_batches_step(&f.b, BATCHES), first, sizeof first);
    ruvm_arena_free(&f.arena);
    ruvm_arena_free(&g.arena);
}

Test(batches, a_short_text_is_one_batch)
{
    struct fixture f;
    open_fixture(&f, 1000, 1);
    cr_assert_eq(f.b.batch, WINDOWS);
    const uint32_t *w = ruvm_batches_step(&f.b, 7);
    uint64_t positions = 0;
    for (int i = 0; i < WINDOWS; i++)
        positions += ruvm_batches_positions(&f.b, w[i]);
    cr_assert_eq(positions, f.text.n_positions);
    ruvm_arena_free(&f.arena);
}

Test(batches, no_text_is_refused)
{
    struct ruvm_arena arena = {0};
    struct ruvm_text text;
    struct ruvm_batches b;
    struct ruvm_error err = {0};
    cr_assert(ruvm_text_reserve(&text, &arena, 5));
    cr_assert_eq(ruvm_batches_open(&b, &arena, &text, 4, 1, &err), RUVM_ERR_ARG);
    ruvm_arena_free(&arena);
}
