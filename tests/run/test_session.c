/* Sessions: what opens, and what a person is told when it does not. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/base/bytes.h"
#include "lib/run/session.h"
#include "tests/run/tiny_image.h"

Test(open, the_demo_model_is_built_in_and_aligned)
{
    static const char *const names[] = {NULL, "demo"};
    for (int i = 0; i < 2; i++) {
        struct ruvm_file file;
        struct ruvm_error err = {0};
        struct ruvm_model_info info;
        cr_assert_eq(ruvm_file_open(&file, names[i], &err), RUVM_OK);
        cr_assert_eq((uintptr_t)file.data % 64, 0);
        cr_assert_str_eq(file.name, "demo");
        cr_assert_eq(ruvm_model_info(&info, file.data, file.size), RUVM_OK);
        cr_assert(info.has_tokenizer);
        ruvm_file_close(&file);
        cr_assert_null(file.data);
    }
}

Test(open, a_file_is_mapped_as_it_is)
{
    struct ruvm_file file;
    const char *path = tiny_file("abc", 3);
    cr_assert_eq(ruvm_file_open(&file, path, NULL), RUVM_OK);
    cr_assert_eq(file.size, 3);
    cr_assert_eq(memcmp(file.data, "abc", 3), 0);
    cr_assert_eq((uintptr_t)file.data % 64, 0);
    cr_assert_str_eq(file.name, path);
    ruvm_file_close(&file);
}

Test(kernels, the_list_is_that_of_the_tables)
{
    unsigned n = 0;
    bool available;
    const char *name, *last = "";
    for (; (name = ruvm_kernels_list(n, &available)); n++) {
        const struct ruvm_kernels *k = NULL;
        struct ruvm_error err = {0};
        cr_assert_str_eq(name, ruvm_kernels_all[n]->name);
        cr_assert_eq(available, ruvm_kernels_all[n]->available() != 0);
        cr_assert_eq(ruvm_kernels_find(&k, name, &err), available ? RUVM_OK : RUVM_ERR_ARG);
        cr_assert(!available || strcmp(ruvm_kernels_name(k), name) == 0);
        last = name;
    }
    cr_assert_str_eq(last, "scalar");
    cr_assert_null(ruvm_kernels_list(n + 1, &available));
}

Test(kernels, an_unknown_name_is_answered_with_the_known_ones)
{
    const struct ruvm_kernels *k;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_kernels_find(&k, "abacus", &err), RUVM_ERR_ARG);
    cr_assert(strstr(err.text, "abacus"), "%s", err.text);
    cr_assert(strstr(err.text, "scalar"), "%s", err.text);
    cr_assert_eq(ruvm_kernels_find(&k, NULL, &err), RUVM_OK);
}

Test(session, uses_exactly_what_the_engine_asks_for)
{
    static const uint32_t contexts[] = {0, 8};
    const char *image = tiny_image(TINY_BYTES);
    for (int i = 0; i < 2; i++) {
        struct ruvm_session *s;
        struct ruvm_error err = {0};
        struct ruvm_session_options o = {
            .model = image, .context = contexts[i], .block = 3, .kernels = "scalar"};
        struct ruvm_engine_options engine = {.context = contexts[i], .block = 3};
        struct ruvm_file file;
        size_t bytes;
        cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_file_open(&file, image, &err), RUVM_OK);
        cr_assert_eq(ruvm_engine_bytes(file.data, file.size, &engine, &bytes), RUVM_OK);
        cr_assert_eq(ruvm_session_engine_bytes(s), bytes);
        cr_assert_str_eq(ruvm_session_kernels(s), "scalar");
        cr_assert_eq(ruvm_session_info(s)->vocab, 288);
        cr_assert_not_null(ruvm_session_tokenizer(s));
        cr_assert_eq(ruvm_engine_position(ruvm_session_engine(s)), 0);
        ruvm_file_close(&file);
        ruvm_session_close(s);
    }
}

Test(session, works_without_a_tokenizer)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    struct ruvm_session_options o = {.model = tiny_image("tests/golden/tiny-v1.bin", NULL)};
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    cr_assert_null(ruvm_session_tokenizer(s));
    ruvm_session_close(s);
}

static void expect_refusal(const struct ruvm_session_options *o, int status, const char *word)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    int rc = ruvm_session_open(&s, o, &err);
    cr_assert_eq(rc, status, "%s: status %d: %s", word, rc, err.text);
    cr_assert_eq(err.code, status);
    cr_assert_null(s);
    cr_assert(strstr(err.text, word), "\"%s\" is not in: %s", word, err.text);
    if (o->model)
        cr_assert(strstr(err.text, o->model), "no file name in: %s", err.text);
}

Test(session, says_what_a_file_is_that_is_no_image)
{
    static const char page[] = "<!DOCTYPE html><html><body>404</body></html>";
    static const struct {
        const char *path, *text, *word;
        size_t n;
        int status;
    } files[] = {
        {.path = "tests/no-such-file", .word = "No such file", .status = RUVM_ERR_IO},
        {.path = "tests", .word = "directory", .status = RUVM_ERR_IO},
        {.path = "tests/golden/tiny-legacy.bin",
         .word = "quantize",
         .status = RUVM_ERR_UNSUPPORTED},
        {.path = "tests/golden/tiny-v2.bin", .word = "quantize", .status = RUVM_ERR_UNSUPPORTED},
        {.text = page, .n = sizeof page - 1, .word = "HTML", .status = RUVM_ERR_UNSUPPORTED},
        {.text = "", .n = 0, .word = "empty", .status = RUVM_ERR_UNSUPPORTED},
        {.text = "RUVM", .n = 4, .word = "byte", .status = RUVM_ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct ruvm_session_options o = {.model = files[i].path};
        if (!o.model)
            o.model = tiny_file(files[i].text, files[i].n);
        expect_refusal(&o, files[i].status, files[i].word);
    }
}

Test(session, a_bare_layout_is_explained)
{
    /* vocab 4, dim 4, hidden 4, one layer, one head, 8 positions */
    uint8_t bare[32 + 4 * 4 + 7 * 16 + 4 * 4] = {'R', 'U', 'V', 'M', 4, 0, 4, 0, 4, 0, 1, 1, 8, 0};
    struct ruvm_session_options o = {.model = tiny_file(bare, sizeof bare)};
    expect_refusal(&o, RUVM_ERR_UNSUPPORTED, "v0");
}

Test(session, a_damaged_image_is_diagnosed)
{
    struct ruvm_file file;
    cr_assert_eq(ruvm_file_open(&file, tiny_image(TINY_BYTES), NULL), RUVM_OK);
    uint8_t *copy = malloc(file.size);
    cr_assert_not_null(copy);
    memcpy(copy, file.data, file.size);
    copy[file.size / 2] ^= 1;
    struct ruvm_session_options o = {.model = tiny_file(copy, file.size)};
    expect_refusal(&o, RUVM_ERR_CORRUPT, "CRC");
    o.model = tiny_file(file.data, file.size - 5);
    expect_refusal(&o, RUVM_ERR_CORRUPT, "byte");
    free(copy);
    ruvm_file_close(&file);
}

Test(session, options_out_of_range_are_refused_with_the_range)
{
    struct ruvm_session_options context = {.model = tiny_image(TINY_BYTES), .context = 60000};
    struct ruvm_session_options block = {.block = 65};
    struct ruvm_session_options kernels = {.kernels = "abacus"};
    expect_refusal(&context, RUVM_ERR_ARG, "60000");
    expect_refusal(&block, RUVM_ERR_ARG, "64");
    expect_refusal(&kernels, RUVM_ERR_ARG, "scalar");
}

Test(session, masks_are_read_as_they_are_written)
{
    static const struct {
        const char *text;
        struct ruvm_mask mask;
    } good[] = {{"none", {0}},
                {"window:64", {RUVM_MASK_WINDOW, {64}}},
                {"window:64,4", {RUVM_MASK_WINDOW, {64, 4}}},
                {"strided:1,65535", {RUVM_MASK_STRIDED, {1, 65535}}},
                {"dilated:3,2", {RUVM_MASK_DILATED, {3, 2}}},
                {"bigbird:3", {RUVM_MASK_BIGBIRD, {3}}},
                {"bigbird:3,0,64", {RUVM_MASK_BIGBIRD, {3, 0, 64}}}};
    static const char *const bad[] = {"",
                                      "windows:3",
                                      "window",
                                      "window:",
                                      "window:0",
                                      "window:3,",
                                      "window:3,1,1",
                                      "window:65536",
                                      "window:+3",
                                      "window: 3",
                                      "window:3;4",
                                      "strided:4",
                                      "dilated:,3",
                                      "dilated:3,0",
                                      "bigbird:1,1,65",
                                      "none:0",
                                      "bigbird:1,2,3,4",
                                      "window:99999999999999999999"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct ruvm_mask m;
        cr_assert_eq(ruvm_mask_parse(&m, good[i].text, NULL), RUVM_OK, "%s", good[i].text);
        cr_assert_eq(memcmp(&m, &good[i].mask, sizeof m), 0, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ruvm_mask m;
        struct ruvm_error err = {0};
        cr_assert_eq(ruvm_mask_parse(&m, bad[i], &err), RUVM_ERR_ARG, "%s", bad[i]);
        cr_assert(strstr(err.text, "window:N,SINKS"), "%s", err.text);
    }
}

Test(session, closing_nothing_is_allowed)
{
    ruvm_session_close(NULL);
}

/* ---- beside each other --------------------------------------------------------- */

/* Logits after some tokens. */
static void expect_logits(struct ruvm_session *s, const int32_t *expected)
{
    static const uint16_t tokens[] = {1, 7, 3, 30, 12};
    struct ruvm_engine *e = ruvm_session_engine(s);
    cr_assert_eq(ruvm_engine_rewind(e, 0), RUVM_OK);
    cr_assert_eq(ruvm_engine_eval(e, tokens, 5, NULL), RUVM_OK);
    size_t n = ruvm_session_info(s)->vocab * sizeof *expected;
    cr_assert_eq(memcmp(ruvm_engine_logits(e), expected, n), 0);
}

Test(session, beside_another_shares_its_weights_and_computes_the_same)
{
    const struct ruvm_session_options o = {.model = tiny_image(TINY_LETTERS), .context = 24};
    const struct ruvm_session_options others[] = {
        {.context = 9, .block = 2}, {.kernels = "scalar"}, {.mask = "window:9,3"}, {.threads = 2}};
    static const uint16_t tokens[] = {1, 7, 3, 30, 12};
    struct ruvm_session *host, *guest;
    struct ruvm_error err = {0};
    int32_t expected[40];
    cr_assert_eq(ruvm_session_open(&host, &o, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_session_info(host)->vocab, 40);
    cr_assert_eq(ruvm_engine_eval(ruvm_session_engine(host), tokens, 5, NULL), RUVM_OK);
    memcpy(expected, ruvm_engine_logits(ruvm_session_engine(host)), sizeof expected);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(ruvm_session_open_beside(&guest, host, &others[i], &err), RUVM_OK, "%s",
                     err.text);
        cr_assert_eq(guest->file.data, host->file.data);
        if (guest->kernels == host->kernels)
            cr_assert_eq(guest->panels.data, host->panels.data);
        else
            cr_assert(!guest->panels.data || guest->panels.data != host->panels.data);
        expect_logits(guest, expected);
        ruvm_session_close(guest);
        expect_logits(host, expected);
    }
    const struct ruvm_session_options wrong = {.context = 1000};
    cr_assert_eq(ruvm_session_open_beside(&guest, host, &wrong, &err), RUVM_ERR_ARG);
    cr_assert_null(guest);
    expect_logits(host, expected);
    ruvm_session_close(host);
}

/* An embedding that is not the head is only looked up, in the image: it has no copy. */
Test(session, lays_out_what_is_multiplied_and_nothing_else)
{
    static const char *const checkpoints[] = {"tests/golden/tiny-v1.bin",
                                              "tests/golden/tiny-v1-untied.bin"};
    for (int untied = 0; untied < 2; untied++) {
        struct ruvm_session *s;
        struct ruvm_error err = {0};
        struct ruvm_session_options o = {.model = tiny_image(checkpoints[untied], NULL)};
        cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
        const struct ruvm_image *img = &s->panels.img;
        for (uint32_t i = 0; s->panels.of_tensor && i < img->n_tensors; i++) {
            struct ruvm_tensor t = ruvm_image_tensor(img, i);
            bool has = s->panels.of_tensor[i] != NULL;
            cr_assert_eq(has, t.kind != RUVM_TENSOR_EMBED || !untied, "tensor %u", i);
        }
        ruvm_session_close(s);
    }
}
