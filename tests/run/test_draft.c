/* Speculation against the same turns without: equal tokens, logits, texts and ends, whatever
 * is guessed and however long. And the pace, with a clock of our own. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/core/engine.h"
#include "lib/run/draft.h"
#include "tests/run/tiny_image.h"

enum { MOST = 400, VOCAB = 60, ONE = 65536 };

struct heard {
    char text[MOST * 4];
    size_t n_text;
    uint16_t ids[MOST];
    size_t n_ids, refuse_id; /* the id to refuse, from 1; 0: none */
};

static int hear_text(void *user, const char *bytes, size_t n)
{
    struct heard *h = user;
    cr_assert_leq(h->n_text + n, sizeof h->text);
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

/* An image of a random model; its tokenizer depends on nothing but VOCAB. */
static const char *random_model(uint64_t seed, uint32_t context)
{
    struct tiny_shape shape = {.dim = 16 + 8 * (uint32_t)(seed % 3),
                               .hidden = 24,
                               .layers = 1 + (uint32_t)(seed % 2),
                               .heads = 2,
                               .kv_heads = 1 + (uint32_t)(seed % 2),
                               .vocab = VOCAB,
                               .context = context,
                               .seed = seed};
    struct ruvm_buffer model = tiny_checkpoint(&shape), pieces = tiny_tokenizer(VOCAB);
    const char *checkpoint = tiny_file(model.data, model.size);
    const char *path = tiny_image(checkpoint, tiny_file(pieces.data, pieces.size));
    ruvm_buffer_free(&model);
    ruvm_buffer_free(&pieces);
    return path;
}

static struct ruvm_session *open_with(const struct ruvm_session_options *o)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_session_open(&s, o, &err), RUVM_OK, "%s", err.text);
    return s;
}

static struct ruvm_generate_result run(struct ruvm_session *s,
                                       const struct ruvm_generate_options *o)
{
    struct ruvm_generate_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_generate(s, o, &r, &err), RUVM_OK, "%s", err.text);
    return r;
}

/* Turns of a conversation with these options; adds up what the drafts did. */
static struct ruvm_generate_drafts converse(const struct ruvm_session_options *so, bool always,
                                            const struct ruvm_generate_options *o, struct heard *h,
                                            struct ruvm_generate_result r[3])
{
    static const char *const lines[3] = {"the onion", "on the", "no"};
    struct ruvm_generate_drafts sum = {0};
    struct ruvm_session *s = open_with(so);
    if (s->draft)
        s->draft->pace.always = always;
    for (int i = 0; i < 3; i++) {
        struct ruvm_generate_options turn = *o;
        turn.prompt = lines[i];
        turn.n_prompt_bytes = strlen(lines[i]);
        turn.continue_context = i > 0;
        turn.text = hear_text;
        turn.token = hear_id;
        turn.user = h;
        if (s->n_tokens + turn.n_prompt_bytes > s->context)
            turn.continue_context = false;
        r[i] = run(s, &turn);
        sum.n_rounds += r[i].drafts.n_rounds;
        sum.n_tokens += r[i].drafts.n_tokens;
        sum.n_accepted += r[i].drafts.n_accepted;
        cr_assert_leq(ruvm_engine_position(s->engine), s->n_tokens);
    }
    ruvm_session_close(s);
    return sum;
}

static void expect_equal(const struct heard *a, const struct heard *b,
                         const struct ruvm_generate_result *x, const struct ruvm_generate_result *y,
                         const char *what)
{
    cr_assert_eq(a->n_ids, b->n_ids, "%s: %zu and %zu tokens", what, a->n_ids, b->n_ids);
    cr_assert_eq(memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids), 0, "%s", what);
    cr_assert_eq(a->n_text, b->n_text, "%s", what);
    cr_assert_eq(memcmp(a->text, b->text, a->n_text), 0, "%s", what);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(x[i].logits_crc32, y[i].logits_crc32, "%s, turn %d", what, i);
        cr_assert_eq(x[i].n_tokens, y[i].n_tokens, "%s, turn %d", what, i);
        cr_assert_eq(x[i].stop, y[i].stop, "%s, turn %d", what, i);
    }
}

/* Random settings of the case: sampler, block, context. */
static struct ruvm_session_options settings(uint64_t *rng, const char *model)
{
    static const uint32_t temperatures[] = {0, 0, ONE / 3, ONE, 3 * ONE};
    struct ruvm_session_options o = {.model = model, .block = 1 + (uint32_t)(tiny_random(rng) % 9)};
    o.sampler.temperature_q16 = temperatures[tiny_random(rng) % 5];
    o.sampler.top_p_q16 = tiny_random(rng) % 2 ? 60000 : 0;
    o.sampler.top_k = tiny_random(rng) % 3 ? 0 : 5;
    o.sampler.repeat_q16 = tiny_random(rng) % 4 ? 0 : 2 * ONE;
    o.sampler.repeat_last = 8;
    o.context = tiny_random(rng) % 3 ? 0 : 40;
    o.mask = (const char *const[]){NULL,        NULL,          "window:9,2",
                                   "window:20", "strided:4,3", "bigbird:5,1,4"}[tiny_random(rng) %
                                                                                6];
    ruvm_sampler_seed(&o.sampler, tiny_random(rng));
    return o;
}

Test(draft, makes_no_difference_to_what_is_said)
{
    static const uint32_t lengths[] = {0, 1, 2, 5, 63};
    struct ruvm_generate_drafts sum[3] = {0};
    uint64_t rng = 5;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const char *model = random_model(seed, 96);
        const char *sources[3] = {"ngram", model, random_model(seed + 10, 64)};
        for (int i = 0; i < 30; i++) {
            static struct heard plain, drafted;
            struct ruvm_generate_result x[3], y[3];
            char what[64];
            plain = drafted = (struct heard){.refuse_id = i % 7 ? 0 : 20};
            struct ruvm_session_options so = settings(&rng, model);
            const struct ruvm_generate_options o = {
                .n_tokens = tiny_random(&rng) % 4 ? 40 : 0,
                .ignore_end = tiny_random(&rng) % 2,
                .stops = (const char *const[]){"zq", "nn"},
                .n_stops = tiny_random(&rng) % 3,
            };
            converse(&so, false, &o, &plain, x);
            so.draft = sources[i % 3];
            so.draft_tokens = lengths[tiny_random(&rng) % 5];
            struct ruvm_generate_drafts d = converse(&so, i % 4 != 0, &o, &drafted, y);
            snprintf(what, sizeof what, "seed %d, case %d", (int)seed, i);
            expect_equal(&plain, &drafted, x, y, what);
            cr_assert_leq(d.n_accepted, d.n_tokens);
            if (so.mask) /* which the draft model does not have */
                continue;
            sum[i % 3].n_tokens += d.n_tokens;
            sum[i % 3].n_accepted += d.n_accepted;
        }
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_gt(sum[i].n_accepted, 100, "source %d: hardly a guess was right: no test", i);
        cr_assert(i == 1 || sum[i].n_accepted < sum[i].n_tokens,
                  "source %d: no guess was wrong: no test", i);
    }
    cr_assert_gt(sum[1].n_accepted * 100.0, sum[1].n_tokens * 95.0,
                 "a model that drafts for itself has %u of %u guesses right", sum[1].n_accepted,
                 sum[1].n_tokens);
}

Test(draft, the_demo_says_the_same_at_any_temperature)
{
    for (uint32_t t = 0; t <= 2 * ONE; t += ONE / 2) {
        static struct heard plain, drafted;
        struct ruvm_generate_result x[3], y[3];
        plain = drafted = (struct heard){0};
        struct ruvm_session_options so = {
            .sampler = {.temperature_q16 = t, .top_p_q16 = 58982, .state = t}};
        const struct ruvm_generate_options o = {.n_tokens = 60};
        converse(&so, false, &o, &plain, x);
        so.draft = t % ONE ? "demo" : "ngram";
        converse(&so, true, &o, &drafted, y);
        expect_equal(&plain, &drafted, x, y, so.draft);
    }
}

/* ---- sampling ---------------------------------------------------------------- */

enum { DRAWN = 160, TEXTS = 40 };

/* How far drawn tokens are from what the model gives each of them: the likeliest one's share,
 * and how surprising they are. Given the text before it a token's deviation has mean 0 and a
 * variance that the distribution tells, so the sums over theirs are normal, variance 1. */
struct deviation {
    double likeliest, likeliest_variance, surprise, surprise_variance;
};

static void add_token(struct deviation *d, const int32_t *logits, uint32_t vocab, uint16_t id)
{
    uint32_t best = ruvm_kernels_scalar.largest(logits, vocab);
    double total = 0, mean = 0, square = 0;
    for (uint32_t i = 0; i < vocab; i++)
        total += exp((logits[i] - (double)logits[best]) / ONE);
    for (uint32_t i = 0; i < vocab; i++) {
        double log_p = (logits[i] - (double)logits[best]) / ONE - log(total);
        mean -= exp(log_p) * log_p;
        square += exp(log_p) * log_p * log_p;
    }
    double share = 1 / total;
    d->likeliest += (id == best) - share;
    d->likeliest_variance += share * (1 - share);
    d->surprise += log(total) - (logits[id] - (double)logits[best]) / ONE - mean;
    d->surprise_variance += square - mean * mean;
}

/* Texts of the demo at that temperature, held against its distribution at temperature 1. */
static struct deviation draw_texts(const char *draft, uint32_t temperature)
{
    struct ruvm_session_options so = {.sampler = {.temperature_q16 = temperature}, .draft = draft};
    struct ruvm_session *s = open_with(&so);
    uint32_t vocab = s->info.vocab, n_accepted = 0;
    int32_t *logits = malloc((size_t)s->context * vocab * sizeof *logits);
    struct deviation d = {0};
    if (s->draft)
        s->draft->pace.always = true;
    for (uint64_t seed = 1; seed <= TEXTS; seed++) {
        const struct ruvm_generate_options o = {.prompt = "Once upon a time",
                                                .n_prompt_bytes = 16,
                                                .n_tokens = DRAWN,
                                                .ignore_end = true};
        ruvm_session_seed(s, seed);
        struct ruvm_generate_result r = run(s, &o);
        n_accepted += r.drafts.n_accepted;
        ruvm_engine_rewind(s->engine, 0);
        cr_assert_eq(ruvm_engine_eval(s->engine, s->tokens, s->n_tokens, logits), RUVM_OK);
        for (uint32_t i = s->n_tokens - DRAWN; i < s->n_tokens; i++)
            add_token(&d, logits + (size_t)(i - 1) * vocab, vocab, s->tokens[i]);
    }
    cr_assert(!draft || n_accepted > TEXTS, "%s: %u guesses were right: no test", draft,
              n_accepted);
    free(logits);
    ruvm_session_close(s);
    return d;
}

static double worst_of(struct deviation d)
{
    double a = fabs(d.likeliest) / sqrt(d.likeliest_variance);
    double b = fabs(d.surprise) / sqrt(d.surprise_variance);
    return a > b ? a : b;
}

Test(draft, sampled_tokens_are_distributed_as_the_model_says)
{
    static const char *const drafts[] = {NULL, "demo", "ngram"};
    for (int i = 0; i < 3; i++) {
        double worst = worst_of(draw_texts(drafts[i], ONE));
        cr_assert_lt(worst, 3.5, "%s: %g standard deviations", drafts[i], worst);
    }
    double colder = worst_of(draw_texts("demo", ONE * 3 / 4));
    cr_assert_gt(colder, 5, "the test sees nothing: %g standard deviations", colder);
}

Test(draft, a_text_that_repeats_is_guessed_from_itself)
{
    struct ruvm_session_options so = {.draft = "ngram", .draft_tokens = 3};
    struct ruvm_session *s = open_with(&so);
    static const uint16_t text[] = {7, 5, 6, 9, 5, 6, 8, 4, 5, 6};
    memcpy(s->tokens, text, sizeof text);
    s->n_tokens = 10;
    cr_assert_eq(ruvm_draft_guess(s->draft, s, 9), 3);
    cr_assert_eq(s->tokens[10], 8, "the latest of two equal places");
    cr_assert_eq(s->tokens[11], 4);
    cr_assert_eq(s->tokens[12], 5);
    s->tokens[7] = 9; /* 9 5 6 stands before, which is longer than 5 6 */
    cr_assert_eq(ruvm_draft_guess(s->draft, s, 2), 2, "as many as there is room for");
    cr_assert_eq(s->tokens[10], 8, "of the longer one");
    cr_assert_eq(ruvm_draft_guess(s->draft, s, 0), 0);
    s->tokens[9] = 3;
    cr_assert_eq(ruvm_draft_guess(s->draft, s, 9), 0, "one token alone is no place");
    for (int i = 0; i < 10; i++)
        s->tokens[i] = 2;
    cr_assert_eq(ruvm_draft_guess(s->draft, s, 9), 3, "a period goes on");
    cr_assert_eq(s->tokens[12], 2);
    ruvm_session_close(s);
}

Test(draft, lengths_follow_what_is_accepted)
{
    struct ruvm_draft d = {.most = 7, .length = 4};
    ruvm_draft_learn(&d, 4, 4);
    cr_assert_eq(d.length, 6);
    ruvm_draft_learn(&d, 2, 2); /* cut by the room: says nothing about 6 */
    cr_assert_eq(d.length, 6);
    ruvm_draft_learn(&d, 6, 6);
    cr_assert_eq(d.length, 7);
    ruvm_draft_learn(&d, 7, 2);
    cr_assert_eq(d.length, 3);
    ruvm_draft_learn(&d, 3, 0);
    cr_assert_eq(d.length, 1);
}

Test(draft, other_tokens_are_refused)
{
    const char *other = tiny_image("tests/golden/tiny-v1.bin", NULL);
    const char *drafts[] = {random_model(1, 32), other, "tests/no-such-file"};
    static const int codes[] = {RUVM_ERR_ARG, RUVM_ERR_ARG, RUVM_ERR_IO};
    static const char *const words[] = {"same tokenizer", "same tokenizer", "No such file"};
    for (int i = 0; i < 3; i++) {
        struct ruvm_session *s;
        struct ruvm_error err = {0};
        struct ruvm_session_options o = {.model = tiny_image(TINY_LETTERS), .draft = drafts[i]};
        cr_assert_eq(ruvm_session_open(&s, &o, &err), codes[i]);
        cr_assert(strstr(err.text, words[i]) && strstr(err.text, drafts[i]), "%s", err.text);
        cr_assert_null(s);
    }
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    struct ruvm_session_options o = {.draft = "ngram", .draft_tokens = 64};
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_ERR_ARG);
    cr_assert(strstr(err.text, "63"), "%s", err.text);
}

/* ---- the pace -------------------------------------------------------------- */

/* n rounds in which a token costs so much with drafts, and 1 without; returns how many of
 * them had drafts. */
static uint32_t play(struct ruvm_pace *p, uint32_t n, double cost)
{
    uint32_t drafted = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool wants = ruvm_pace_wants_draft(p);
        ruvm_pace_note(p, wants, wants ? 3 : 1, wants ? 3 * cost : 1);
        drafted += wants;
    }
    return drafted;
}

Test(pace, drafts_stay_where_they_win_and_go_where_they_lose)
{
    struct ruvm_pace wins = {0}, loses = {0}, about_equal = {0};
    cr_assert_gt(play(&wins, 2000, 0.5), 1800);
    cr_assert_eq(wins.n_off, 0);
    cr_assert_lt(play(&loses, 4000, 1.5), 200);
    cr_assert_geq(loses.n_off, 3);
    play(&about_equal, 500, 0.97);
    cr_assert_eq(about_equal.is_on, false, "not clearly faster: it does not begin");
    struct ruvm_pace on = {0};
    play(&on, 300, 0.5);
    play(&on, 300, 0.97);
    cr_assert_eq(on.is_on, true, "nor does it stop");
    play(&on, 300, 1.05);
    cr_assert_eq(on.is_on, false);
}

Test(pace, comes_back_when_drafts_pay_again)
{
    struct ruvm_pace p = {0};
    play(&p, 1000, 2);
    cr_assert_eq(p.is_on, false);
    play(&p, 2 * RUVM_PACE_MAX_PAUSE, 0.4);
    cr_assert_eq(p.is_on, true);
    cr_assert_gt(play(&p, 1000, 0.4), 900);
}

Test(pace, the_first_round_of_a_trial_is_not_counted)
{
    struct ruvm_pace p = {0};
    while (!ruvm_pace_wants_draft(&p))
        ruvm_pace_note(&p, false, 1, 1);
    ruvm_pace_note(&p, true, 1, 1000); /* a draft model catches up */
    play(&p, RUVM_PACE_TRIAL, 0.5);
    cr_assert_eq(p.is_on, true);
}

Test(pace, rounds_without_a_guess_are_no_trial)
{
    struct ruvm_pace p = {.stage = RUVM_PACE_TRYING};
    for (int i = 0; i < 1000; i++)
        ruvm_pace_note(&p, false, 1, 1);
    cr_assert_eq(p.stage, RUVM_PACE_TRYING);
}
