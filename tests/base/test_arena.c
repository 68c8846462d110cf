/* The arena gives zeroed, aligned, separate memory, and refuses the absurd. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/arena.h"

Test(arena, gives_zeroed_aligned_memory_of_any_size)
{
    static const size_t sizes[] = {1, 63, 64, 65, 1000, 65535, 65536, 65537, 1 << 20, 3};
    struct ruvm_arena arena = {0};
    size_t total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *p = ruvm_arena_alloc(&arena, sizes[i], 1);
        cr_assert_not_null(p, "%zu bytes", sizes[i]);
        cr_assert_eq((uintptr_t)p % 64, 0, "%zu bytes", sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            cr_assert_eq(p[j], 0, "byte %zu of %zu", j, sizes[i]);
        memset(p, 0xff, sizes[i]); /* would show in a later one that overlaps */
        total += sizes[i];
        cr_assert_eq(arena.used_bytes, total);
    }
    ruvm_arena_free(&arena);
}

Test(arena, keeps_what_was_written)
{
    enum { N = 5000 };
    static uint32_t *words[N];
    struct ruvm_arena arena = {0};
    for (uint32_t i = 0; i < N; i++) {
        words[i] = ruvm_arena_alloc(&arena, 1 + i % 40, sizeof(uint32_t));
        cr_assert_not_null(words[i]);
        for (uint32_t j = 0; j < 1 + i % 40; j++)
            words[i][j] = i;
    }
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < 1 + i % 40; j++)
            cr_assert_eq(words[i][j], i);
    ruvm_arena_free(&arena);
}

Test(arena, refuses_a_product_that_overflows)
{
    static const struct {
        size_t count, size;
    } cases[] = {
        {SIZE_MAX, 2},
        {2, SIZE_MAX},
        {SIZE_MAX, 1},
        {SIZE_MAX / 4 + 2, 4},
        {1, SIZE_MAX},
        {PTRDIFF_MAX, 1},
        {(size_t)1 << 33, (size_t)1 << 31}, /* 0 modulo 2^64 */
    };
    struct ruvm_arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_null(ruvm_arena_alloc(&arena, cases[i].count, cases[i].size), "case %zu", i);
    cr_assert_eq(arena.used_bytes, 0);
    cr_assert_not_null(ruvm_arena_alloc(&arena, 1, 1), "a refusal is not sticky");
    ruvm_arena_free(&arena);
}

Test(arena, gives_a_pointer_for_nothing)
{
    struct ruvm_arena arena = {0};
    cr_assert_not_null(ruvm_arena_alloc(&arena, 0, 8));
    cr_assert_not_null(ruvm_arena_alloc(&arena, 8, 0));
    cr_assert_eq(arena.used_bytes, 0);
    ruvm_arena_free(&arena);
}

Test(arena, copies_text_and_ends_it)
{
    struct ruvm_arena arena = {0};
    char *text = ruvm_arena_text(&arena, "once upon", 4);
    cr_assert_str_eq(text, "once");
    cr_assert_str_eq(ruvm_arena_text(&arena, NULL, 0), "");
    char *raw = ruvm_arena_text(&arena, "a\0b", 3);
    cr_assert_arr_eq(raw, "a\0b", 4);
    cr_assert_null(ruvm_arena_text(&arena, "", SIZE_MAX));
    ruvm_arena_free(&arena);
}

Test(arena, is_ready_again_after_it_was_freed)
{
    struct ruvm_arena arena = {0};
    ruvm_arena_free(&arena);
    for (int i = 0; i < 3; i++) {
        cr_assert_not_null(ruvm_arena_alloc(&arena, 100000, 3));
        ruvm_arena_free(&arena);
        cr_assert_null(arena.blocks);
        cr_assert_eq(arena.used_bytes, 0);
    }
}
