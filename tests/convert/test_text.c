/* Files cut into windows: every token predicted once, and documents kept apart. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/convert/text.h"
#include "lib/ruvm_tool.h"
#include "tests/support/tiny_model.h"

static const struct tiny_shape shape = {.dim = 16,
                                        .hidden = 16,
                                        .layers = 1,
                                        .heads = 2,
                                        .kv_heads = 1,
                                        .vocab = 60,
                                        .context = 12,
                                        .seed = 1};

/* A tokenizer of 60 pieces, from an image made for it. */
static struct ruvm_map image;
static struct ruvm_tokenizer tokenizer;

static void make_tokenizer(void)
{
    struct ruvm_buffer model = tiny_checkpoint(&shape), pieces = tiny_tokenizer(shape.vocab);
    struct ruvm_quantize_options o = {.no_quality = true};
    struct ruvm_quantize_result r;
    o.input = tiny_file(model.data, model.size);
    o.tokenizer = tiny_file(pieces.data, pieces.size);
    o.output = tiny_path();
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    ruvm_quantize_free(&r);
    cr_assert_eq(ruvm_file_map(&image, o.output, NULL), RUVM_OK);
    cr_assert_eq(ruvm_tokenizer_init(&tokenizer, image.data, image.size), RUVM_OK);
    remove(o.input);
    remove(o.tokenizer);
    remove(o.output);
    ruvm_buffer_free(&model);
    ruvm_buffer_free(&pieces);
}

TestSuite(text, .init = make_tokenizer);

struct cut {
    struct ruvm_arena arena;
    struct ruvm_text text;
    struct ruvm_error err;
    int rc;
};

static struct cut read_text(const char *bytes, uint32_t context, uint64_t max, bool documents)
{
    struct cut c = {0};
    const char *path = tiny_file(bytes, strlen(bytes));
    struct ruvm_text_options o = {
        .tokenizer = &tokenizer, .context = context, .max_positions = max, .documents = documents};
    c.rc = ruvm_text_read(&c.text, &c.arena, path, &o, &c.err);
    remove(path);
    return c;
}

/* Windows as text, each between brackets, the start token left out. */
static const char *show(const struct ruvm_text *t)
{
    static char out[4096];
    size_t used = 0;
    for (uint32_t w = 0; w < t->n_windows; w++) {
        const uint32_t *tokens = t->tokens + t->first[w];
        cr_assert_eq(tokens[0], 1, "every window starts with BOS");
        out[used++] = '[';
        for (uint32_t i = 1; i < t->first[w + 1] - t->first[w]; i++) {
            size_t n;
            const uint8_t *text = ruvm_decode(&tokenizer, 5, (uint16_t)tokens[i], &n);
            memcpy(out + used, tokens[i] == 1 ? (const uint8_t *)"$" : text,
                   tokens[i] == 1 ? 1 : n);
            used += tokens[i] == 1 ? 1 : n;
        }
        out[used++] = ']';
    }
    out[used] = '\0';
    return out;
}

Test(text, a_stream_is_cut_where_the_context_ends)
{
    /* a space is put before the text; a, c, d are always alone in this vocabulary */
    struct cut c = read_text("cdacdacdac", 4, 0, false);
    cr_assert_eq(c.rc, RUVM_OK, "%s", c.err.text);
    cr_assert_str_eq(show(&c.text), "[ cda][cdac][dac]");
    cr_assert_eq(c.text.n_positions, 11);
    ruvm_arena_free(&c.arena);
}

Test(text, documents_start_windows_and_end_with_the_separator)
{
    struct cut c = read_text("cda\n<|end|>\nddd\n<|end|>\n\n<|end|>\nccccc\n<|end|>\n", 4, 0, true);
    cr_assert_eq(c.rc, RUVM_OK, "%s", c.err.text);
    cr_assert_str_eq(show(&c.text), "[ cda][$][ ddd][$][ ccc][cc$]");
    ruvm_arena_free(&c.arena);
    c = read_text("cda\n<|end|>\ndd", 9, 0, true);
    cr_assert_str_eq(show(&c.text), "[ cda$][ dd$]", "the last document needs no mark");
    ruvm_arena_free(&c.arena);
}

Test(text, stops_after_enough_positions)
{
    struct cut c = read_text("cdacdacdac", 4, 6, false);
    cr_assert_str_eq(show(&c.text), "[ cda][cd]");
    cr_assert_eq(c.text.n_positions, 6);
    ruvm_arena_free(&c.arena);
    c = read_text("cda\n<|end|>\nddd\n<|end|>\nccc", 9, 6, true);
    cr_assert_str_eq(show(&c.text), "[ cda$][ ]");
    ruvm_arena_free(&c.arena);
}

/* A long file is only read as far as it is needed, with the same tokens. */
Test(text, a_long_stream_has_the_tokens_of_its_beginning)
{
    enum { BYTES = 40000 };
    char *bytes = malloc(BYTES + 1);
    uint64_t rng = 9;
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (char)('a' + tiny_random(&rng) % 26);
    bytes[BYTES] = '\0';
    struct cut whole = read_text(bytes, 12, 0, false), part = read_text(bytes, 12, 100, false);
    cr_assert_eq(part.text.n_positions, 100);
    cr_assert_gt(whole.text.n_positions, 30000);
    size_t n = 12 * (100 / 12); /* whole windows */
    cr_assert(memcmp(whole.text.tokens, part.text.tokens, 4 * n) == 0);
    ruvm_arena_free(&whole.arena);
    ruvm_arena_free(&part.arena);
    free(bytes);
}

Test(text, refuses_nothing_and_says_why)
{
    struct cut c = read_text("", 4, 0, false);
    cr_assert_eq(c.rc, RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(c.err.text, "holds no text"), "%s", c.err.text);
    ruvm_arena_free(&c.arena);
    c = read_text("\n<|end|>\n", 4, 0, true);
    cr_assert_eq(c.rc, RUVM_ERR_CORRUPT);
    ruvm_arena_free(&c.arena);
    struct ruvm_text_options o = {.tokenizer = &tokenizer, .context = 4};
    struct ruvm_error err = {0};
    struct ruvm_arena arena = {0};
    cr_assert_eq(ruvm_text_read(&c.text, &arena, "/nonexistent/x", &o, &err), RUVM_ERR_IO);
}

/* Tokens of window w are 100 w, 100 w + 1, ... */
static struct ruvm_text numbered(struct ruvm_arena *arena, const uint32_t *lengths, uint32_t n)
{
    struct ruvm_text t;
    cr_assert(ruvm_text_reserve(&t, arena, 1000));
    for (uint32_t w = 0; w < n; w++) {
        ruvm_text_window(&t, 100 * w);
        for (uint32_t i = 1; i <= lengths[w]; i++)
            ruvm_text_token(&t, 100 * w + i);
    }
    ruvm_text_window(&t, 0);
    return t;
}

Test(text, a_part_is_taken_from_all_over_it)
{
    static const uint32_t lengths[] = {10, 10, 10, 10, 10, 10, 10, 10};
    struct ruvm_arena arena = {0};
    struct ruvm_text t = numbered(&arena, lengths, 8), part;
    cr_assert_eq(ruvm_text_spread(&part, &arena, &t, 20, NULL), RUVM_OK);
    cr_assert(part.n_windows == 2 && part.n_positions == 20);
    cr_assert(part.tokens[0] == 300 && part.tokens[10] == 310 && part.tokens[11] == 700);
    cr_assert_eq(ruvm_text_spread(&part, &arena, &t, 25, NULL), RUVM_OK);
    cr_assert(part.n_positions == 25 && part.first[3] - part.first[2] == 6, "the last is cut");
    cr_assert_eq(ruvm_text_spread(&part, &arena, &t, 80, NULL), RUVM_OK);
    cr_assert(part.tokens == t.tokens && part.n_windows == 8);
    ruvm_arena_free(&arena);
}

Test(text, a_part_of_one_long_window_is_its_beginning)
{
    static const uint32_t lengths[] = {90};
    struct ruvm_arena arena = {0};
    struct ruvm_text t = numbered(&arena, lengths, 1), part;
    cr_assert_eq(ruvm_text_spread(&part, &arena, &t, 7, NULL), RUVM_OK);
    cr_assert(part.n_windows == 1 && part.n_positions == 7 && part.tokens[7] == 7);
    ruvm_arena_free(&arena);
}
