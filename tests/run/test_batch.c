/* Many prompts together, compared with each prompt alone. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/run/batch.h"
#include "tests/run/tiny_image.h"

enum { N_PROMPTS = 9, MOST = 4096 };

static const char *const prompts[N_PROMPTS] = {
    "the", "", "the end", "a longer prompt than the others have", "the", "x", "end", "and", "no",
};

struct heard {
    char text[MOST];
    size_t n_text;
    uint16_t ids[MOST];
    size_t n_ids, refuse_id;
    struct ruvm_generate_result result;
    struct ruvm_error err;
    uint32_t n_ends;
    bool has_failed;
};

static struct heard together[N_PROMPTS], alone[N_PROMPTS];

static int hear_text(void *user, const char *bytes, size_t n)
{
    struct heard *h = user;
    cr_assert_lt(h->n_text + n, sizeof h->text);
    memcpy(h->text + h->n_text, bytes, n);
    h->n_text += n;
    return 0;
}

static int hear_id(void *user, uint16_t id)
{
    struct heard *h = user;
    cr_assert_lt(h->n_ids, (size_t)MOST);
    h->ids[h->n_ids++] = id;
    return h->n_ids == h->refuse_id;
}

/* Prompts end at different times: that is what lanes are for. */
static struct ruvm_generate_options ask(struct heard *h, size_t i)
{
    static const char *const stops[] = {"e"};
    return (struct ruvm_generate_options){
        .prompt = prompts[i],
        .n_prompt_bytes = strlen(prompts[i]),
        .n_tokens = (uint32_t)(i % 3 ? 3 + 4 * i : 0),
        .ignore_end = i % 2,
        .stops = stops,
        .n_stops = i % 4 == 3,
        .text = hear_text,
        .token = hear_id,
        .user = h,
    };
}

static struct ruvm_generate_options options_of(void *user, size_t i)
{
    (void)user;
    return ask(&together[i], i);
}

static void on_end(void *user, size_t i, const struct ruvm_generate_result *r,
                   const struct ruvm_error *err)
{
    struct heard *h = &together[i];
    (void)user;
    h->n_ends++;
    h->has_failed = !r;
    if (r)
        h->result = *r;
    else
        h->err = *err;
}

static struct ruvm_session *open_session(const char *path, const char *mask, uint32_t threads)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    struct ruvm_session_options o = {
        .model = path,
        .context = 30,
        .mask = mask,
        .threads = threads,
        .sampler = {.temperature_q16 = 80000, .repeat_q16 = 70000, .repeat_last = 20}};
    ruvm_sampler_seed(&o.sampler, 5);
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    return s;
}

static void answer_alone(struct ruvm_session *s)
{
    memset(alone, 0, sizeof alone);
    for (size_t i = 0; i < N_PROMPTS; i++) {
        struct heard *h = &alone[i];
        const struct ruvm_generate_options o = ask(h, i);
        ruvm_session_seed(s, 5);
        h->has_failed = ruvm_generate(s, &o, &h->result, &h->err) != RUVM_OK;
    }
    ruvm_session_seed(s, 5);
}

static void answer_together(struct ruvm_session *s, uint32_t batch)
{
    struct ruvm_error err = {0};
    const struct ruvm_many_options o = {
        .batch = batch, .n_prompts = N_PROMPTS, .options = options_of, .end = on_end};
    for (size_t i = 0; i < N_PROMPTS; i++)
        together[i] = (struct heard){.refuse_id = together[i].refuse_id};
    cr_assert_eq(ruvm_generate_many(s, &o, &err), RUVM_OK, "%s", err.text);
}

static void expect_equal(uint32_t batch)
{
    for (size_t i = 0; i < N_PROMPTS; i++) {
        const struct heard *a = &alone[i], *b = &together[i];
        cr_assert_eq(b->n_ends, 1, "prompt %zu of a batch of %u", i, batch);
        cr_assert_eq(a->has_failed, b->has_failed, "prompt %zu of a batch of %u", i, batch);
        cr_assert(a->n_text == b->n_text && memcmp(a->text, b->text, a->n_text) == 0);
        cr_assert(a->n_ids == b->n_ids && memcmp(a->ids, b->ids, 2 * a->n_ids) == 0,
                  "prompt %zu of a batch of %u", i, batch);
        cr_assert_eq(a->result.logits_crc32, b->result.logits_crc32);
        cr_assert(a->result.stop == b->result.stop &&
                  a->result.n_prompt_tokens == b->result.n_prompt_tokens &&
                  a->result.n_computed == b->result.n_computed &&
                  a->result.n_decoded == b->result.n_decoded);
        cr_assert_str_eq(a->err.text, b->err.text);
        cr_assert(b->has_failed || (b->result.prompt_s > 0 && b->result.n_tokens == b->n_ids));
    }
}

Test(batch, answers_are_those_of_each_prompt_alone)
{
    const char *path = tiny_image(TINY_LETTERS);
    static const char *const masks[] = {NULL, "window:6,2"};
    for (uint32_t m = 0; m < 2; m++) {
        struct ruvm_session *s = open_session(path, masks[m], m ? 2 : 1);
        answer_alone(s);
        cr_assert(alone[3].has_failed, "one is longer than the context");
        for (uint32_t batch = 1; batch <= N_PROMPTS + 2; batch += 2) {
            answer_together(s, batch);
            expect_equal(batch);
            cr_assert_eq(ruvm_engine_position(ruvm_session_engine(s)), 0);
        }
        ruvm_session_close(s);
    }
}

Test(batch, a_receiver_that_stops_stops_those_that_have_not_begun)
{
    struct ruvm_session *s = open_session(tiny_image(TINY_LETTERS), NULL, 1);
    together[2].refuse_id = 2;
    answer_together(s, 3);
    cr_assert_eq(together[2].result.stop, RUVM_STOP_CALLER);
    cr_assert_eq(together[2].n_ids, 2);
    cr_assert_eq(together[0].n_ends, 1);
    cr_assert_eq(together[N_PROMPTS - 1].n_ends, 0);
    together[2].refuse_id = 0;
    answer_alone(s);
    answer_together(s, 3);
    expect_equal(3);
    ruvm_session_close(s);
}

Test(batch, refuses_other_sizes)
{
    struct ruvm_session *s = open_session(NULL, NULL, 1);
    struct ruvm_error err = {0};
    struct ruvm_many_options o = {.batch = 0, .options = options_of, .end = on_end};
    cr_assert_eq(ruvm_generate_many(s, &o, &err), RUVM_ERR_ARG);
    o.batch = RUVM_BATCH_MOST + 1;
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_generate_many(s, &o, &err), RUVM_ERR_ARG);
    cr_assert(strstr(err.text, "65"), "%s", err.text);
    ruvm_session_close(s);
}
