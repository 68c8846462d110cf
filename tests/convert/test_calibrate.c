/* Own samples and the ranges seen on them: repeatable, complete, and honest about NaN. */
#define _POSIX_C_SOURCE 200809L /* access */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_layout.h"
#include "lib/convert/calibrate.h"
#include "lib/import/source.h"
#include "tests/support/tiny_model.h"

static const struct tiny_shape shape = {.dim = 24,
                                        .hidden = 20,
                                        .layers = 2,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .vocab = 50,
                                        .context = 16,
                                        .seed = 3};
enum { KV_DIM = 12 };

struct opened {
    struct ruvm_source source;
    struct ruvm_reference *reference;
};

static struct opened open_bytes(const struct ruvm_buffer *bytes)
{
    struct opened o;
    struct ruvm_error err = {0};
    const char *path = tiny_file(bytes->data, bytes->size);
    struct ruvm_source_options so = {.path = path};
    cr_assert_eq(ruvm_source_open(&o.source, &so, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_reference_open(&o.reference, &o.source.arena, &o.source.model,
                                     o.source.model.context, &err),
                 RUVM_OK);
    remove(path);
    return o;
}

static struct opened open_shape(void)
{
    struct ruvm_buffer b = tiny_checkpoint(&shape);
    struct opened o = open_bytes(&b);
    ruvm_buffer_free(&b);
    return o;
}

static struct ruvm_samples_options options(uint64_t n, uint64_t seed, bool fill)
{
    return (struct ruvm_samples_options){.n_positions = n,
                                         .seed = seed,
                                         .start = 1,
                                         .end = 2,
                                         .context = shape.context,
                                         .fill_context = fill};
}

Test(samples, the_same_seed_gives_the_same_text_and_another_seed_another)
{
    struct opened o = open_shape();
    struct ruvm_text a, b, c;
    struct ruvm_samples_options oa = options(300, 7, false), oc = options(300, 8, false);
    uint32_t vocab = o.source.model.vocab;
    cr_assert_eq(ruvm_samples_draw(&a, &o.source.arena, o.reference, vocab, &oa, NULL), RUVM_OK);
    cr_assert_eq(ruvm_samples_draw(&b, &o.source.arena, o.reference, vocab, &oa, NULL), RUVM_OK);
    cr_assert_eq(ruvm_samples_draw(&c, &o.source.arena, o.reference, vocab, &oc, NULL), RUVM_OK);
    cr_assert_eq(a.n_positions, 300);
    cr_assert(a.n_tokens == b.n_tokens && a.n_windows == b.n_windows);
    cr_assert(memcmp(a.tokens, b.tokens, 4 * a.n_tokens) == 0);
    cr_assert(memcmp(a.tokens, c.tokens, 4 * 100) != 0);
    ruvm_source_close(&o.source);
}

/* Windows begin with the start token, hold an end only as their last token, and fit. */
Test(samples, windows_end_where_texts_end)
{
    struct opened o = open_shape();
    struct ruvm_text t;
    struct ruvm_samples_options so = options(500, 1, false);
    ruvm_samples_draw(&t, &o.source.arena, o.reference, o.source.model.vocab, &so, NULL);
    uint64_t positions = 0;
    for (uint32_t w = 0; w < t.n_windows; w++) {
        const uint32_t *tokens = t.tokens + t.first[w];
        uint32_t n = t.first[w + 1] - t.first[w];
        cr_assert_eq(tokens[0], 1);
        cr_assert(n >= 2 && n <= shape.context + 1);
        for (uint32_t i = 1; i + 1 < n; i++)
            cr_assert(tokens[i] != 1 && tokens[i] != 2, "window %u goes on after an end", w);
        bool ended = tokens[n - 1] == 1 || tokens[n - 1] == 2;
        cr_assert(ended || n == shape.context + 1 || w + 1 == t.n_windows);
        positions += n - 1;
    }
    cr_assert_eq(positions, t.n_positions);
    ruvm_source_close(&o.source);
}

Test(samples, filled_windows_visit_every_position)
{
    struct opened o = open_shape();
    struct ruvm_text t;
    struct ruvm_samples_options so = options(16 * 20, 1, true);
    ruvm_samples_draw(&t, &o.source.arena, o.reference, o.source.model.vocab, &so, NULL);
    cr_assert_eq(t.n_windows, 20);
    for (uint32_t w = 0; w <= t.n_windows; w++)
        cr_assert_eq(t.first[w], 17 * w);
    ruvm_source_close(&o.source);
}

/* Frequencies of the first token after the start, against the model's own softmax. */
Test(samples, are_drawn_from_the_models_distribution)
{
    enum { DRAWS = 20000 };
    struct opened o = open_shape();
    struct ruvm_text t;
    struct ruvm_samples_options so = options(DRAWS, 5, true);
    so.context = 1;
    ruvm_samples_draw(&t, &o.source.arena, o.reference, o.source.model.vocab, &so, NULL);
    cr_assert_eq(t.n_windows, DRAWS);
    double count[50] = {0}, sum = 0, chi2 = 0;
    for (uint32_t w = 0; w < DRAWS; w++)
        count[t.tokens[t.first[w] + 1]]++;
    ruvm_reference_reset(o.reference);
    const float *logits = ruvm_reference_step(o.reference, 1);
    for (int i = 0; i < 50; i++)
        sum += exp((double)logits[i]);
    for (int i = 0; i < 50; i++) {
        double expected = DRAWS * exp((double)logits[i]) / sum;
        chi2 += (count[i] - expected) * (count[i] - expected) / expected;
    }
    cr_assert_lt(chi2, 90, "chi squared of 49 degrees is above 90 once in 3000 times");
    ruvm_source_close(&o.source);
}

/* What the model would never say is what these are for. */
Test(samples, of_any_token_take_the_whole_vocabulary)
{
    struct opened o = open_shape();
    struct ruvm_text t;
    struct ruvm_samples_options so = options(5000, 5, true);
    so.any_token = true;
    ruvm_samples_draw(&t, &o.source.arena, o.reference, o.source.model.vocab, &so, NULL);
    double count[50] = {0}, chi2 = 0;
    cr_assert_eq(t.n_positions, 5000);
    for (uint32_t w = 0; w < t.n_windows; w++)
        for (uint32_t i = t.first[w] + 1; i < t.first[w + 1]; i++)
            count[t.tokens[i]]++;
    for (int i = 0; i < 50; i++)
        chi2 += (count[i] - 100) * (count[i] - 100) / 100;
    cr_assert_lt(chi2, 90, "chi squared of 49 degrees is above 90 once in 3000 times");
    ruvm_source_close(&o.source);
}

static int stop_at_100(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    cr_assert(strcmp(stage, "watch") == 0 && done <= total);
    return done >= 100;
}

Test(samples, can_be_interrupted)
{
    struct opened o = open_shape();
    struct ruvm_text t;
    struct ruvm_error err = {0};
    struct ruvm_samples_options so = options(5000, 1, false);
    so.stage = "watch";
    so.progress.report = stop_at_100;
    cr_assert_eq(ruvm_samples_draw(&t, &o.source.arena, o.reference, 50, &so, &err), RUVM_ERR_IO);
    cr_assert_str_eq(err.text, "interrupted");
    ruvm_source_close(&o.source);
}

/* What the calibration should find, kept as plainly as possible. */
static float low[2 * KV_DIM], high[2 * KV_DIM], loudest;

static void remember(void *user, unsigned layer, const float *k, const float *v)
{
    (void)user;
    (void)v;
    for (unsigned i = 0; i < KV_DIM; i++) {
        low[layer * KV_DIM + i] = fminf(low[layer * KV_DIM + i], k[i]);
        high[layer * KV_DIM + i] = fmaxf(high[layer * KV_DIM + i], k[i]);
    }
}

static void remember_loudest(void *user, const float *h)
{
    (void)user;
    for (uint32_t i = 0; i < shape.dim; i++)
        loudest = fmaxf(loudest, fabsf(h[i]));
}

Test(calibrate, sees_the_extremes_of_every_channel)
{
    struct opened o = open_shape();
    struct ruvm_calibration c;
    struct ruvm_text t;
    struct ruvm_samples_options so = options(400, 11, true);
    cr_assert_eq(ruvm_calibrate_init(&c, &o.source.arena, &o.source.model, NULL), RUVM_OK);
    cr_assert_eq(ruvm_calibrate_run(&c, &o.source.arena, o.reference, &o.source.model, &so, NULL),
                 RUVM_OK);
    for (int i = 0; i < 2 * KV_DIM; i++)
        low[i] = 1e9f, high[i] = -1e9f;
    ruvm_reference_observe(o.reference,
                           &(struct ruvm_observer){.kv = remember, .residual = remember_loudest});
    ruvm_samples_draw(&t, &o.source.arena, o.reference, 50, &so, NULL);
    float own_high = high[0], own_low = low[0];
    so.any_token = true;
    so.n_positions = 400 / 4;
    ruvm_samples_draw(&t, &o.source.arena, o.reference, 50, &so, NULL);
    cr_assert(high[0] > own_high || low[0] < own_low, "any tokens widen this channel's range");
    for (int i = 0; i < 2 * KV_DIM; i++) {
        cr_assert(c.key[i].low >= low[i] && c.key[i].low <= low[i], "channel %d", i);
        cr_assert(c.key[i].high >= high[i] && c.key[i].high <= high[i], "channel %d", i);
        cr_assert(c.value[i].low < c.value[i].high);
    }
    float seen = fmaxf(c.residual.high, -c.residual.low);
    cr_assert(seen >= loudest && seen <= loudest);
    ruvm_source_close(&o.source);
}

Test(calibrate, a_run_leaves_no_observer_behind)
{
    struct opened o = open_shape();
    struct ruvm_calibration c;
    struct ruvm_samples_options so = options(10, 1, true);
    ruvm_calibrate_init(&c, &o.source.arena, &o.source.model, NULL);
    ruvm_calibrate_run(&c, &o.source.arena, o.reference, &o.source.model, &so, NULL);
    struct ruvm_range before = c.residual;
    c.residual = (struct ruvm_range){0, 0};
    ruvm_reference_reset(o.reference);
    ruvm_reference_step(o.reference, 3);
    cr_assert(c.residual.low >= 0 && c.residual.high <= 0 && before.low < before.high);
    ruvm_source_close(&o.source);
}

/* The sanitizers see the same code run on the tiny models. */
#ifdef __SANITIZE_ADDRESS__
enum { TOO_SLOW = 1 };
#else
enum { TOO_SLOW = 0 };
#endif

/* One character that the model never writes must not spoil the story after it. */
Test(calibrate, rare_characters_in_a_prompt_do_little_harm)
{
    static const char story[] =
        "\xd0\x9f\xd1\x80\xd0\xb8 [a] {b} | \x01 Once upon a time, there was a little boy "
        "named Tom. Tom loved to play with his red ball in the park. One day, Tom saw a big dog. "
        "The dog was very sad because it had lost its bone. Tom said, \"I will help you.\"";
    const char *folder = getenv("RUVM_SHARED_MODELS");
    char model[512], tokenizer[512];
    snprintf(model, sizeof model, "%s/stories260K.bin", folder ? folder : "");
    snprintf(tokenizer, sizeof tokenizer, "%s/tok512.bin", folder ? folder : "");
    if (TOO_SLOW || !folder || access(model, R_OK) != 0) {
        fprintf(stderr, "skipped: rare characters on stories260K: %s\n",
                TOO_SLOW ? "too slow under sanitizers" : "RUVM_SHARED_MODELS holds no model");
        return;
    }
    struct ruvm_quantize_options o = {
        .input = model, .tokenizer = tokenizer, .eval_text = tiny_file(story, sizeof story - 1)};
    struct ruvm_quantize_result r;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    cr_assert_lt(r.quality.kl_mean, 0.03, "%g; 0.3 when these tokens are clipped",
                 r.quality.kl_mean);
    ruvm_quantize_free(&r);
}

/* A weight that is not a number reaches the activations. */
Test(calibrate, refuses_activations_that_are_not_finite)
{
    struct ruvm_buffer b = tiny_checkpoint(&shape);
    size_t weights = (b.size - TINY_FIRST_WEIGHT) / 4, norm = (size_t)shape.vocab * shape.dim;
    const uint32_t nan = 0x7fc00000;
    cr_assert(norm < weights);
    memcpy(b.data + TINY_FIRST_WEIGHT + 4 * norm, &nan, 4);
    struct opened o = open_bytes(&b);
    struct ruvm_calibration c;
    struct ruvm_error err = {0};
    struct ruvm_samples_options so = options(50, 1, true);
    ruvm_calibrate_init(&c, &o.source.arena, &o.source.model, NULL);
    cr_assert_eq(ruvm_calibrate_run(&c, &o.source.arena, o.reference, &o.source.model, &so, &err),
                 RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "not"), "%s", err.text);
    ruvm_buffer_free(&b);
    ruvm_source_close(&o.source);
}
