/* Generation, compared with the engine, tokenizer and sampler driven by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/run/tiny_image.h"

enum { MOST = 4096, HOT = 65536 };

/* What came out of a turn. */
struct heard {
    char text[MOST];
    size_t n_text;
    uint16_t ids[MOST];
    size_t n_ids;
    size_t refuse_text, refuse_id; /* the call to refuse, from 1; 0: none */
    size_t n_calls;
};

static int hear_text(void *user, const char *bytes, size_t n)
{
    struct heard *h = user;
    cr_assert_lt(h->n_text + n, sizeof h->text);
    memcpy(h->text + h->n_text, bytes, n);
    h->n_text += n;
    h->text[h->n_text] = '\0';
    return ++h->n_calls == h->refuse_text;
}

static int hear_id(void *user, uint16_t id)
{
    struct heard *h = user;
    cr_assert_lt(h->n_ids, (size_t)MOST);
    h->ids[h->n_ids++] = id;
    return h->n_ids == h->refuse_id;
}

static struct ruvm_session *open_with(const struct ruvm_session_options *o)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_session_open(&s, o, &err), RUVM_OK, "%s", err.text);
    return s;
}

static struct ruvm_session *open_image(const char *path, uint32_t temperature_q16, uint64_t seed)
{
    struct ruvm_session_options o = {.model = path,
                                     .sampler = {.temperature_q16 = temperature_q16}};
    ruvm_sampler_seed(&o.sampler, seed);
    return open_with(&o);
}

static struct ruvm_generate_options ask(const char *prompt, uint32_t n, struct heard *h)
{
    return (struct ruvm_generate_options){.prompt = prompt,
                                          .n_prompt_bytes = strlen(prompt),
                                          .n_tokens = n,
                                          .ignore_end = true,
                                          .text = hear_text,
                                          .token = hear_id,
                                          .user = h};
}

static struct ruvm_generate_result run(struct ruvm_session *s,
                                       const struct ruvm_generate_options *o)
{
    struct ruvm_generate_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_generate(s, o, &r, &err), RUVM_OK, "%s", err.text);
    return r;
}

/* ---- by hand --------------------------------------------------------------- */

struct by_hand {
    uint16_t ids[MOST]; /* prompt, then generated */
    size_t n_prompt, n;
    uint32_t crc;
    char text[MOST];
    size_t n_text;
};

static void decode_by_hand(struct by_hand *b, const struct ruvm_tokenizer *t)
{
    for (size_t i = b->n_prompt; i < b->n; i++) {
        size_t n;
        const uint8_t *bytes = ruvm_decode(t, b->ids[i - 1], b->ids[i], &n);
        memcpy(b->text + b->n_text, bytes, n);
        b->n_text += n;
    }
}

/* Prompt as given in b; n tokens with this sampler; scalar kernels, one token a call. */
static void generate_by_hand(struct by_hand *b, const char *path, struct ruvm_sampler sampler,
                             size_t n)
{
    struct ruvm_file file;
    struct ruvm_model_info info;
    struct ruvm_engine *e;
    size_t bytes;
    cr_assert_eq(ruvm_file_open(&file, path, NULL), RUVM_OK);
    cr_assert_eq(ruvm_model_info(&info, file.data, file.size), RUVM_OK);
    cr_assert_eq(ruvm_engine_bytes(file.data, file.size, NULL, &bytes), RUVM_OK);
    void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    cr_assert_eq(ruvm_engine_init(&e, memory, bytes, file.data, file.size, NULL), RUVM_OK);
    int32_t *logits = malloc(info.vocab * sizeof *logits);
    for (size_t i = 0; i < b->n_prompt; i++)
        cr_assert_eq(ruvm_engine_eval(e, &b->ids[i], 1, NULL), RUVM_OK);
    for (b->n = b->n_prompt; b->n < b->n_prompt + n; b->n++) {
        if (b->n > b->n_prompt)
            cr_assert_eq(ruvm_engine_eval(e, &b->ids[b->n - 1], 1, NULL), RUVM_OK);
        memcpy(logits, ruvm_engine_logits(e), info.vocab * sizeof *logits);
        b->crc = ruvm_logits_crc(b->crc, logits, info.vocab);
        b->ids[b->n] = ruvm_sample(&sampler, logits, info.vocab, b->ids, b->n);
    }
    struct ruvm_tokenizer t;
    if (ruvm_tokenizer_init(&t, file.data, file.size) == RUVM_OK)
        decode_by_hand(b, &t);
    free(logits);
    free(memory);
    ruvm_file_close(&file);
}

static size_t encode(uint16_t *ids, const struct ruvm_session *s, const char *text, unsigned flags)
{
    int n = ruvm_encode(ruvm_session_tokenizer(s), ids, MOST, text, strlen(text), flags);
    cr_assert_geq(n, 0);
    return (size_t)n;
}

Test(generate, gives_what_the_parts_give_by_hand)
{
    static const struct {
        const char *prompt;
        struct ruvm_sampler sampler;
    } cases[] = {
        {.prompt = "the sun"},
        {.prompt = ""},
        {.prompt = "a", .sampler = {.temperature_q16 = HOT, .state = 3}},
        {.prompt = "on", .sampler = {.temperature_q16 = HOT, .top_p_q16 = 60000, .state = 4}},
        {.prompt = "on", .sampler = {.repeat_q16 = 2 * HOT, .repeat_last = 8}},
    };
    const char *paths[] = {tiny_image(TINY_BYTES), tiny_image(TINY_LETTERS), NULL};
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        const char *path = paths[i % 3];
        static struct heard h;
        static struct by_hand b;
        h = (struct heard){0};
        b = (struct by_hand){0};
        struct ruvm_session_options o = {.model = path, .sampler = cases[i / 3].sampler};
        struct ruvm_session *s = open_with(&o);
        struct ruvm_generate_options g = ask(cases[i / 3].prompt, 12, &h);
        struct ruvm_generate_result r = run(s, &g);
        b.n_prompt = encode(b.ids, s, cases[i / 3].prompt, 0);
        generate_by_hand(&b, path, cases[i / 3].sampler, 12);
        cr_assert_eq(r.n_prompt_tokens, b.n_prompt);
        cr_assert_eq(r.n_tokens, 12);
        cr_assert_eq(h.n_ids, 12);
        cr_assert_eq(memcmp(h.ids, b.ids + b.n_prompt, 12 * sizeof *h.ids), 0, "case %zu", i);
        cr_assert_eq(r.logits_crc32, b.crc, "case %zu", i);
        cr_assert_eq(h.n_text, b.n_text, "case %zu", i);
        cr_assert_eq(memcmp(h.text, b.text, b.n_text), 0, "case %zu", i);
        cr_assert_eq(r.stop, RUVM_STOP_COUNT);
        cr_assert(r.prompt_s > 0 && r.generate_s > r.decode_s && r.decode_s > 0);
        cr_assert(r.n_computed == b.n_prompt && r.n_decoded == 11);
        ruvm_session_close(s);
    }
}

Test(generate, a_new_turn_forgets_what_was_before)
{
    static struct heard other, used, fresh;
    struct ruvm_session *s = open_image(NULL, 0, 0);
    struct ruvm_generate_options o = ask("The sun was warm and the dog slept", 5, &other);
    run(s, &o);
    o = ask("Once upon a time", 20, &used);
    struct ruvm_generate_result a = run(s, &o);
    ruvm_session_close(s);
    s = open_image(NULL, 0, 0);
    o.user = &fresh;
    struct ruvm_generate_result b = run(s, &o);
    cr_assert_str_eq(used.text, fresh.text);
    cr_assert_eq(a.logits_crc32, b.logits_crc32);
    cr_assert_gt(fresh.n_text, 20, "%s", fresh.text);
    ruvm_session_close(s);
}

Test(generate, the_logits_of_the_engine_stay_as_they_are)
{
    struct ruvm_session_options so = {.sampler = {.temperature_q16 = HOT, .state = 1}};
    struct ruvm_session *s = open_with(&so);
    struct ruvm_generate_options o = {.n_tokens = 1};
    uint32_t crc = run(s, &o).logits_crc32;
    const int32_t *logits = ruvm_engine_logits(ruvm_session_engine(s));
    cr_assert_eq(ruvm_logits_crc(0, logits, ruvm_session_info(s)->vocab), crc);
    ruvm_session_close(s);
}

Test(generate, a_character_never_completed_is_still_given)
{
    static struct heard h;
    static struct by_hand b;
    const char *path = tiny_image(TINY_BYTES);
    size_t incomplete = 0;
    for (uint32_t n = 1; n <= 28; n++) {
        struct ruvm_sampler sampler = {.temperature_q16 = HOT, .state = 3};
        struct ruvm_session *s = open_image(path, HOT, 3);
        h = (struct heard){0};
        b = (struct by_hand){0};
        struct ruvm_generate_options o = ask("", n, &h);
        run(s, &o);
        b.n_prompt = encode(b.ids, s, "", 0);
        generate_by_hand(&b, path, sampler, n);
        cr_assert_eq(h.n_text, b.n_text, "%u tokens", n);
        cr_assert_eq(memcmp(h.text, b.text, b.n_text), 0, "%u tokens", n);
        incomplete += b.n_text && (b.text[b.n_text - 1] & 0xC0) == 0xC0;
        ruvm_session_close(s);
    }
    cr_assert_gt(incomplete, 0, "no text ended within a character: no test");
}

Test(generate, only_the_seed_makes_a_difference)
{
    static struct heard heard[4];
    static const uint64_t seeds[4] = {7, 7, 8, 9};
    for (int i = 0; i < 4; i++) {
        struct ruvm_session *s = open_image(NULL, 2 * HOT, seeds[i]);
        struct ruvm_generate_options o = ask("Once", 30, &heard[i]);
        run(s, &o);
        ruvm_session_close(s);
    }
    cr_assert_str_eq(heard[0].text, heard[1].text);
    cr_assert_str_neq(heard[0].text, heard[2].text);
    cr_assert_str_neq(heard[2].text, heard[3].text);
}

Test(generate, kernels_and_blocks_make_no_difference)
{
    static const uint32_t blocks[] = {1, 3, 8, 64};
    static struct heard h;
    uint32_t crc = 0;
    size_t n = 0;
    bool available;
    const char *name;
    for (unsigned k = 0; (name = ruvm_kernels_list(k, &available)); k++) {
        for (size_t i = 0; i < 4 && available; i++, n++) {
            struct ruvm_session_options o = {.block = blocks[i], .kernels = name};
            struct ruvm_session *s = open_with(&o);
            h = (struct heard){0};
            struct ruvm_generate_options g = ask("Once upon a time there was a dog", 10, &h);
            struct ruvm_generate_result r = run(s, &g);
            cr_assert(n == 0 || r.logits_crc32 == crc, "%s, block %u", name, blocks[i]);
            crc = r.logits_crc32;
            ruvm_session_close(s);
        }
    }
    cr_assert_geq(n, 4);
}

/* ---- conversations --------------------------------------------------------- */

Test(generate, a_continued_turn_goes_on_where_the_last_one_ended)
{
    static struct heard whole, parts;
    struct ruvm_session *s = open_image(NULL, HOT, 5);
    struct ruvm_generate_options o = ask("Once upon a time", 24, &whole);
    run(s, &o);
    ruvm_session_close(s);
    s = open_image(NULL, HOT, 5);
    o = ask("Once upon a time", 8, &parts);
    run(s, &o);
    for (int i = 0; i < 2; i++) {
        o = ask("", 8, &parts);
        o.continue_context = true;
        cr_assert_eq(run(s, &o).n_prompt_tokens, 0);
    }
    cr_assert_eq(memcmp(whole.ids, parts.ids, 24 * sizeof *whole.ids), 0);
    cr_assert_str_eq(whole.text, parts.text);
    ruvm_session_close(s);
}

Test(generate, the_next_turn_is_encoded_as_a_continuation)
{
    static struct heard h;
    static struct by_hand b;
    const char *path = tiny_image(TINY_LETTERS);
    struct ruvm_session *s = open_image(path, 0, 0);
    struct ruvm_generate_options o = ask("the", 3, &h);
    run(s, &o);
    b.n_prompt = encode(b.ids, s, "the", 0);
    memcpy(b.ids + b.n_prompt, h.ids, 3 * sizeof *h.ids);
    b.n_prompt += 3;
    b.n_prompt += encode(b.ids + b.n_prompt, s, " sun", RUVM_ENCODE_PLAIN);
    h = (struct heard){0};
    o = ask(" sun", 4, &h);
    o.continue_context = true;
    struct ruvm_generate_result r = run(s, &o);
    cr_assert_eq(r.n_computed, r.n_prompt_tokens + 1, "with the last token of the turn before");
    cr_assert_eq(r.n_decoded, 3);
    generate_by_hand(&b, path, (struct ruvm_sampler){0}, 4);
    cr_assert_eq(memcmp(h.ids, b.ids + b.n_prompt, 4 * sizeof *h.ids), 0);
    cr_assert_eq(r.logits_crc32, b.crc);
    ruvm_session_close(s);
}

Test(generate, a_token_that_ends_the_text_is_not_part_of_the_conversation)
{
    static struct heard h;
    static struct by_hand b;
    const char *path = tiny_image(TINY_LETTERS);
    struct ruvm_session *s = open_image(path, HOT, 3);
    struct ruvm_generate_options o = ask("", 20, &h);
    struct ruvm_generate_result r = {0};
    o.ignore_end = false;
    for (int turns = 0; turns < 50 && r.stop != RUVM_STOP_END; turns++) {
        h = (struct heard){0};
        r = run(s, &o);
    }
    cr_assert_eq(r.stop, RUVM_STOP_END, "the model never ends: no test");
    b.n_prompt = encode(b.ids, s, "", 0);
    memcpy(b.ids + b.n_prompt, h.ids, (h.n_ids - 1) * sizeof *h.ids);
    b.n_prompt += h.n_ids - 1;
    b.n_prompt += encode(b.ids + b.n_prompt, s, "on", RUVM_ENCODE_PLAIN);
    o = ask("on", 1, &h);
    o.continue_context = true;
    r = run(s, &o);
    cr_assert_eq(r.n_computed, r.n_prompt_tokens, "what came before the end is computed");
    cr_assert(r.n_decoded == 0 && !(r.decode_s > 0));
    generate_by_hand(&b, path, (struct ruvm_sampler){0}, 1);
    cr_assert_eq(r.logits_crc32, b.crc);
    ruvm_session_close(s);
}

Test(generate, a_first_turn_may_be_called_a_continuation)
{
    static struct heard a, b;
    struct ruvm_session *s = open_image(NULL, 0, 0);
    struct ruvm_generate_options o = ask("Once", 6, &a);
    o.continue_context = true;
    uint32_t n = run(s, &o).n_prompt_tokens;
    o = ask("Once", 6, &b);
    cr_assert_eq(run(s, &o).n_prompt_tokens, n);
    cr_assert_str_eq(a.text, b.text);
    ruvm_session_close(s);
}

/* ---- ends ------------------------------------------------------------------ */

Test(generate, ends_with_the_token_that_ends_a_text)
{
    static struct heard on, end;
    const char *path = tiny_image(TINY_LETTERS);
    size_t n = 0, checked = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        on = end = (struct heard){0};
        struct ruvm_session *s = open_image(path, HOT, seed);
        struct ruvm_generate_options o = ask("", 20, &on);
        run(s, &o);
        ruvm_session_close(s);
        s = open_image(path, HOT, seed);
        for (n = 0; n < 20 && !ruvm_is_end(ruvm_session_tokenizer(s), on.ids[n]); n++)
            ;
        o = ask("", 20, &end);
        o.ignore_end = false;
        struct ruvm_generate_result r = run(s, &o);
        size_t expected = n < 20 ? n + 1 : 20; /* the end counts */
        cr_assert_eq(r.n_tokens, expected);
        cr_assert_eq(end.n_ids, expected);
        cr_assert_eq(memcmp(on.ids, end.ids, expected * sizeof *on.ids), 0);
        cr_assert_eq(r.stop, n < 20 ? RUVM_STOP_END : RUVM_STOP_COUNT);
        cr_assert_eq(memcmp(on.text, end.text, end.n_text), 0);
        checked += n < 20;
        ruvm_session_close(s);
    }
    cr_assert_geq(checked, 3, "the model hardly ever ends: no test");
}

Test(generate, ends_when_the_context_is_full_with_one_token_more)
{
    static struct heard h;
    struct ruvm_session_options so = {.model = tiny_image(TINY_BYTES), .context = 10};
    struct ruvm_session *s = open_with(&so);
    struct ruvm_generate_options o = ask("ab", 0, &h);
    struct ruvm_generate_result r = run(s, &o);
    cr_assert_eq(r.stop, RUVM_STOP_CONTEXT);
    cr_assert_eq(r.n_prompt_tokens + r.n_tokens, 11);
    cr_assert_eq(ruvm_engine_position(ruvm_session_engine(s)), 10);

    struct ruvm_error err = {0};
    o = ask("c", 1, &h);
    o.continue_context = true;
    cr_assert_eq(ruvm_generate(s, &o, &r, &err), RUVM_ERR_FULL);
    cr_assert(strstr(err.text, "11 tokens"), "%s", err.text);
    o.continue_context = false;
    run(s, &o);
    ruvm_session_close(s);
}

Test(generate, a_prompt_too_long_is_refused_with_both_numbers)
{
    static struct heard h;
    struct ruvm_generate_result r;
    struct ruvm_error err = {0};
    struct ruvm_session_options so = {.model = tiny_image(TINY_LETTERS), .context = 4};
    struct ruvm_session *s = open_with(&so);
    uint16_t ids[64];
    size_t n = encode(ids, s, "sun and moon", 0);
    char words[64];
    snprintf(words, sizeof words, "the prompt has %zu tokens, the context holds 4: shorten it", n);
    struct ruvm_generate_options o = ask("sun and moon", 4, &h);
    cr_assert_eq(ruvm_generate(s, &o, &r, &err), RUVM_ERR_FULL);
    cr_assert_eq(strncmp(err.text, words, strlen(words)), 0, "%s", err.text);
    cr_assert(strstr(err.text, "--ctx"));
    cr_assert_eq(h.n_ids, 0);
    o = ask("s", 1, &h);
    run(s, &o); /* the session is still good */
    ruvm_session_close(s);
}

Test(generate, a_prompt_may_fill_the_context_to_the_last_token)
{
    static struct heard h;
    const char *path = tiny_image(TINY_LETTERS);
    const char *prompt = "sun and moon";
    for (uint32_t more = 0; more < 2; more++) {
        uint16_t ids[64];
        struct ruvm_error err = {0};
        struct ruvm_generate_result r;
        struct ruvm_session *s = open_image(path, 0, 0);
        size_t n = encode(ids, s, prompt, 0);
        ruvm_session_close(s);
        struct ruvm_session_options so = {.model = path, .context = (uint32_t)n - more};
        s = open_with(&so);
        struct ruvm_generate_options o = ask(prompt, 5, &h);
        int rc = ruvm_generate(s, &o, &r, &err);
        cr_assert_eq(rc, more ? RUVM_ERR_FULL : RUVM_OK, "%s", err.text);
        cr_assert(more || (r.n_tokens == 1 && r.stop == RUVM_STOP_CONTEXT));
        cr_assert(!more || strstr(err.text, "the prompt has"), "%s", err.text);
        ruvm_session_close(s);
    }
}

Test(generate, a_stop_string_ends_the_text_before_it)
{
    static struct heard whole, cut;
    struct ruvm_session *s = open_image(NULL, 0, 0);
    struct ruvm_generate_options o = ask("Once upon a time", 40, &whole);
    run(s, &o);
    /* Every stretch of text, so that some begin and end within tokens. */
    for (size_t begin = 5; begin + 7 < whole.n_text && begin < 60; begin += 3) {
        char stop[8] = {0};
        memcpy(stop, whole.text + begin, 7);
        const char *stops[] = {"never said", stop};
        cut = (struct heard){0};
        o = ask("Once upon a time", 40, &cut);
        o.stops = stops;
        o.n_stops = 2;
        struct ruvm_generate_result r = run(s, &o);
        cr_assert_eq(r.stop, RUVM_STOP_STRING);
        cr_assert_eq(cut.n_text, (size_t)(strstr(whole.text, stop) - whole.text));
        cr_assert_eq(memcmp(whole.text, cut.text, cut.n_text), 0);
    }
    ruvm_session_close(s);
}

Test(generate, text_comes_in_whole_characters_as_soon_as_it_can)
{
    static struct heard h;
    struct ruvm_session *s = open_image(NULL, 0, 0);
    struct ruvm_generate_options o = ask("Once upon a time", 30, &h);
    run(s, &o);
    cr_assert_geq(h.n_calls, 20, "%zu calls for 30 tokens", h.n_calls);
    ruvm_session_close(s);
}

Test(generate, the_caller_may_stop_it)
{
    static struct heard h;
    struct ruvm_session *s = open_image(NULL, 0, 0);
    h = (struct heard){.refuse_id = 5};
    struct ruvm_generate_options o = ask("Once upon a time", 30, &h);
    struct ruvm_generate_result r = run(s, &o);
    cr_assert_eq(r.stop, RUVM_STOP_CALLER);
    cr_assert_eq(r.n_tokens, 5);
    h = (struct heard){.refuse_text = 3};
    r = run(s, &o);
    cr_assert_eq(r.stop, RUVM_STOP_CALLER);
    cr_assert_eq(h.n_calls, 3);
    ruvm_session_close(s);
}

Test(generate, needs_no_callbacks)
{
    struct ruvm_session *s = open_image(NULL, 0, 0);
    struct ruvm_generate_options o = {.n_tokens = 3, .ignore_end = true};
    cr_assert_eq(run(s, &o).n_tokens, 3);
    ruvm_session_close(s);
}

/* ---- without a tokenizer --------------------------------------------------- */

Test(generate, without_a_tokenizer_there_are_ids_only)
{
    static struct heard h;
    static struct by_hand b;
    struct ruvm_generate_result r;
    struct ruvm_error err = {0};
    const char *path = tiny_image("tests/golden/tiny-v1.bin", NULL);
    struct ruvm_session *s = open_image(path, 0, 0);
    struct ruvm_generate_options o = ask("text", 4, &h);
    cr_assert_eq(ruvm_generate(s, &o, &r, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "--tokenizer"), "%s", err.text);
    o = ask("", 4, &h);
    r = run(s, &o);
    b.ids[0] = 1;
    b.n_prompt = 1;
    generate_by_hand(&b, path, (struct ruvm_sampler){0}, 4);
    cr_assert_eq(memcmp(h.ids, b.ids + 1, 4 * sizeof *h.ids), 0);
    cr_assert_eq(r.logits_crc32, b.crc);
    cr_assert_eq(h.n_text, 0);
    o.token = NULL;
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_generate(s, &o, &r, &err), RUVM_ERR_UNSUPPORTED);
    ruvm_session_close(s);
}
