/* Prompt caches: the same answer with as without, and files that are refused with the reason. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/prompt_cache.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/file.h"
#include "lib/run/session.h"
#include "tests/run/tiny_image.h"

static const char story[] = "Once upon a time there was";

static struct ruvm_session *open_context(const char *model, uint32_t context)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    const struct ruvm_session_options o = {
        .model = model, .context = context, .sampler = {.temperature_q16 = 65536, .state = 3}};
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    return s;
}

/* A fresh session's answer to the prompt; path NULL: without a cache. */
static struct ruvm_generate_result ask_in(const char *model, uint32_t context, const char *prompt,
                                          const char *path)
{
    struct ruvm_session *s = open_context(model, context);
    struct ruvm_generate_result r;
    struct ruvm_error err = {0};
    const struct ruvm_generate_options o = {.prompt = prompt,
                                            .n_prompt_bytes = strlen(prompt),
                                            .n_tokens = 12,
                                            .ignore_end = true,
                                            .prompt_cache = path};
    cr_assert_eq(ruvm_generate(s, &o, &r, &err), RUVM_OK, "%s", err.text);
    ruvm_session_close(s);
    return r;
}

static struct ruvm_generate_result ask(const char *prompt, const char *path)
{
    return ask_in(NULL, 0, prompt, path);
}

Test(prompt_cache, the_answer_is_the_same_with_it)
{
    static const char *const prompts[] = {story,
                                          story,
                                          "Once upon a time there lived a dog",
                                          "Once upon",
                                          "Once upon a time",
                                          "The sun was warm",
                                          ""};
    static const bool written[] = {true, false, true, true, true, true, true};
    const char *path = tiny_path();
    uint32_t n_before = 0;
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        struct ruvm_generate_result plain = ask(prompts[i], NULL), r = ask(prompts[i], path);
        cr_assert_eq(r.logits_crc32, plain.logits_crc32, "%s", prompts[i]);
        cr_assert_eq(r.n_prompt_tokens, plain.n_prompt_tokens);
        cr_assert_eq(r.cache_written, written[i], "%s", prompts[i]);
        cr_assert_str_eq(r.cache_note, "");
        cr_assert_eq(plain.n_reused, 0);
        cr_assert(written[i] ? r.n_reused < r.n_prompt_tokens : r.n_reused == n_before);
        cr_assert_eq(r.n_computed, r.n_prompt_tokens - r.n_reused, "%s", prompts[i]);
        cr_assert(i < 2 || i > 4 || r.n_reused >= 1, "%s", prompts[i]);
        n_before = r.n_prompt_tokens;
    }
}

Test(prompt_cache, the_longest_common_beginning_is_reused)
{
    const char *path = tiny_path();
    uint32_t whole = ask(story, path).n_prompt_tokens;
    struct ruvm_generate_result r = ask("Once upon a time there was a dog", path);
    cr_assert_geq(r.n_reused, whole - 2);
    cr_assert_lt(r.n_reused, r.n_prompt_tokens);
}

Test(prompt_cache, later_turns_leave_it_alone)
{
    const char *path = tiny_path();
    struct ruvm_session *s = open_context(NULL, 0);
    struct ruvm_generate_result r;
    struct ruvm_generate_options o = {.prompt = story,
                                      .n_prompt_bytes = sizeof story - 1,
                                      .n_tokens = 5,
                                      .ignore_end = true,
                                      .prompt_cache = path};
    cr_assert_eq(ruvm_generate(s, &o, &r, NULL), RUVM_OK);
    cr_assert(r.cache_written);
    o.continue_context = true;
    cr_assert_eq(ruvm_generate(s, &o, &r, NULL), RUVM_OK);
    cr_assert(!r.cache_written && r.n_reused == 0);
    ruvm_session_close(s);
    cr_assert_not(ask(story, path).cache_written, "the file is still that of the first turn");
}

Test(prompt_cache, a_text_that_begins_as_the_last_one_did_is_computed_in_part)
{
    struct ruvm_session *s = open_context(NULL, 0);
    static const char *const prompts[] = {story, story, "Once upon a time the dog", "A cat", story};
    for (int i = 0; i < 5; i++) {
        struct ruvm_generate_result r, plain = ask(prompts[i], NULL);
        const struct ruvm_generate_options o = {.prompt = prompts[i],
                                                .n_prompt_bytes = strlen(prompts[i]),
                                                .n_tokens = 12,
                                                .ignore_end = true,
                                                .keep_prefix = true};
        s->sampler.state = 3;
        cr_assert_eq(ruvm_generate(s, &o, &r, NULL), RUVM_OK);
        cr_assert_eq(r.logits_crc32, plain.logits_crc32, "%s", prompts[i]);
        cr_assert_eq(r.n_prompt_tokens, plain.n_prompt_tokens);
        cr_assert(i == 0 ? r.n_reused == 0 : r.n_reused >= 1 && r.n_reused < r.n_prompt_tokens);
        cr_assert(i != 1 || r.n_reused == r.n_prompt_tokens - 1);
    }
    ruvm_session_close(s);
}

/* A window forgets, so that often all has to be computed; the answer is what it is without. */
Test(prompt_cache, a_window_is_kept_as_it_is)
{
    static const char *const prompts[] = {
        "Once upon a time there was a dog and a cat", "Once upon a time there was a dog and a cat",
        "Once upon a time there was a dog and a boy", "Once upon", "The sun was warm and the dog"};
    static const char *const masks[] = {"window:6,2", "window:200,3", "window:12"};
    for (int m = 0; m < 3; m++) {
        const char *path = tiny_path();
        struct ruvm_session *kept = NULL;
        for (int i = 0; i < 5; i++) {
            struct ruvm_generate_result r[3];
            for (int way = 0; way < 3; way++) { /* anew; from the file; after the last prompt */
                const struct ruvm_session_options so = {.mask = masks[m], .block = 3};
                const struct ruvm_generate_options o = {.prompt = prompts[i],
                                                        .n_prompt_bytes = strlen(prompts[i]),
                                                        .n_tokens = 12,
                                                        .ignore_end = true,
                                                        .keep_prefix = way == 2,
                                                        .prompt_cache = way == 1 ? path : NULL};
                struct ruvm_session *s = kept;
                if (way < 2 || !kept)
                    cr_assert_eq(ruvm_session_open(&s, &so, NULL), RUVM_OK);
                cr_assert_eq(ruvm_generate(s, &o, &r[way], NULL), RUVM_OK);
                cr_assert_eq(r[way].logits_crc32, r[0].logits_crc32, "%s, %d", masks[m], way);
                cr_assert_str_eq(r[way].cache_note, "");
                if (way < 2)
                    ruvm_session_close(s);
                else
                    kept = s;
            }
            cr_assert(i != 1 || r[1].n_reused == r[1].n_prompt_tokens);
            cr_assert(i != 2 || m != 1 || r[1].n_reused > 5);
        }
        ruvm_session_close(kept);
    }
}

Test(prompt_cache, a_mask_or_a_block_makes_another_state)
{
    static const struct ruvm_session_options options[] = {{.mask = "window:6,2", .block = 3},
                                                          {.mask = "window:6,2", .block = 4},
                                                          {.mask = "window:5,3", .block = 4},
                                                          {.mask = "strided:5,3"},
                                                          {.mask = "none", .block = 5}};
    static const char *const words[] = {"", "--block", "--mask", "--mask", "--mask"};
    const char *path = tiny_path();
    for (int i = 0; i < 5; i++) {
        struct ruvm_session *s;
        struct ruvm_generate_result r;
        const struct ruvm_generate_options o = {.n_tokens = 1, .prompt_cache = path};
        cr_assert_eq(ruvm_session_open(&s, &options[i], NULL), RUVM_OK);
        cr_assert_eq(ruvm_generate(s, &o, &r, NULL), RUVM_OK);
        cr_assert(i ? strstr(r.cache_note, words[i]) != NULL : !r.cache_note[0], "%s",
                  r.cache_note);
        ruvm_session_close(s);
    }
    cr_assert_not(ask("", path).cache_written, "without a mask the block does not matter");
}

/* ---- what does not fit ------------------------------------------------------- */

/* A cache with these bytes is told about in that word, and replaced by one that is right. */
static void expect_replaced(const void *bytes, size_t n, const char *word)
{
    const char *path = tiny_file(bytes, n);
    struct ruvm_generate_result plain = ask(story, NULL), r = ask(story, path);
    cr_assert_eq(r.logits_crc32, plain.logits_crc32, "%s", word);
    cr_assert(strstr(r.cache_note, word), "\"%s\" is not in: %s", word, r.cache_note);
    cr_assert(strstr(r.cache_note, path), "%s", r.cache_note);
    cr_assert(r.cache_written && r.n_reused == 0);
    r = ask(story, path);
    cr_assert(r.n_reused == r.n_prompt_tokens && r.cache_note[0] == '\0', "%s", word);
}

static struct ruvm_map map_of(const char *path)
{
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, path, NULL), RUVM_OK);
    return map;
}

Test(prompt_cache, damaged_files_are_replaced)
{
    const char *path = tiny_path();
    ask(story, path);
    struct ruvm_map map = map_of(path);
    uint8_t *copy = malloc(map.size + 1);
    for (size_t n = 4; n < map.size; n += n < 64 ? 1 : 307) {
        memcpy(copy, map.data, map.size);
        expect_replaced(copy, n, "byte");
        copy[n] ^= 0x40; /* anywhere: version, settings, sizes, CRC, tokens, state */
        expect_replaced(copy, map.size, "");
    }
    memcpy(copy, map.data, map.size);
    expect_replaced(copy, map.size + 1, "header speaks");
    free(copy);
    ruvm_file_unmap(&map);
}

/* A whole file that says something else at a byte. */
static void expect_other(const struct ruvm_map *map, size_t off, uint8_t value, const char *word)
{
    uint8_t *copy = malloc(map->size);
    memcpy(copy, map->data, map->size);
    copy[off] = value;
    ruvm_store_u32(copy + 40, ruvm_crc32(ruvm_crc32(0, copy, 40), copy + RUVM_PROMPT_CACHE_HEADER,
                                         map->size - RUVM_PROMPT_CACHE_HEADER));
    expect_replaced(copy, map->size, word);
    free(copy);
}

Test(prompt_cache, whole_files_that_do_not_fit_are_replaced)
{
    const char *path = tiny_path();
    uint32_t n = ask(story, path).n_prompt_tokens;
    struct ruvm_map map = map_of(path);
    uint32_t vocab = 512;
    expect_other(&map, 4, 2, "version");
    expect_other(&map, 6, 4, "bits");
    expect_other(&map, 8, (uint8_t)(map.data[8] + 1), "another model");
    expect_other(&map, 12, (uint8_t)(map.data[12] + 1), "another model");
    expect_other(&map, 16, (uint8_t)(map.data[16] + 1), "--ctx");
    expect_other(&map, 20, 1, "--mask");
    expect_other(&map, 45, 0xFF, "no engine wrote");                                   /* a token */
    expect_other(&map, 44 + ((2 * n + 3) & ~3u) + 4 * vocab, 0x80, "no engine wrote"); /* a key */
    ruvm_file_unmap(&map);
}

Test(prompt_cache, another_model_or_context_has_another)
{
    const char *path = tiny_path();
    struct ruvm_generate_result r = ask_in(tiny_image(TINY_LETTERS), 0, "on the", path);
    cr_assert(r.cache_written && r.cache_note[0] == '\0');
    r = ask_in(tiny_image(TINY_BYTES), 0, "on the", path);
    cr_assert(strstr(r.cache_note, "another model"), "%s", r.cache_note);
    cr_assert_eq(r.n_reused, 0);
    r = ask_in(tiny_image(TINY_BYTES), 30, "on the", path);
    cr_assert(strstr(r.cache_note, "--ctx"), "%s", r.cache_note);
}

Test(prompt_cache, a_file_that_is_something_else_is_left_as_it_is)
{
    static const char *const paths[] = {"-", "tests", "tests/no-such-folder/cache", NULL};
    static const char text[] = "a letter to a friend";
    for (int i = 0; i < 4; i++) {
        const char *path = paths[i] ? paths[i] : tiny_file(text, sizeof text);
        struct ruvm_session *s = open_context(NULL, 0);
        struct ruvm_generate_result r;
        struct ruvm_error err = {0};
        const struct ruvm_generate_options o = {.n_tokens = 1, .prompt_cache = path};
        int rc = ruvm_generate(s, &o, &r, &err);
        cr_assert_eq(rc, i == 1 || i == 2 ? RUVM_ERR_IO : RUVM_ERR_ARG, "%s: %s", path, err.text);
        ruvm_session_close(s);
        if (!paths[i]) {
            struct ruvm_map map = map_of(path);
            cr_assert(map.size == sizeof text && memcmp(map.data, text, sizeof text) == 0);
            ruvm_file_unmap(&map);
        }
    }
    struct ruvm_generate_result r = ask(story, tiny_file("", 0));
    cr_assert(r.cache_written && r.cache_note[0] == '\0', "an empty file is a new one");
}
