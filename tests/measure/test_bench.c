/* The verb bench: its numbers recomputed another way, its options, its refusals.
 * Times differ from run to run, so of speeds only their relations are tested. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/measure/machine.h"
#include "lib/measure/spread.h"
#include "tests/support/tiny_model.h"

#define CHECKPOINT "tests/golden/tiny-v1.bin"
#define TOKENIZER "tests/golden/tiny-tokenizer-40.bin"

static struct ruvm_quality quantized_quality;

/* An image of the tiny committed checkpoint; remembers what quantize measured. */
static const char *image(const char *tokenizer)
{
    static char path[256]; /* tiny_path() keeps only the last few */
    struct ruvm_error err = {0};
    struct ruvm_quantize_result r;
    struct ruvm_quantize_options o = {
        .input = CHECKPOINT, .tokenizer = tokenizer, .output = path, .eval_tokens = 200, .seed = 3};
    snprintf(path, sizeof path, "%s", tiny_path());
    cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_OK, "%s", err.text);
    quantized_quality = r.quality;
    ruvm_quantize_free(&r);
    return o.output;
}

static const char *text_file(const char *text)
{
    return tiny_file(text, strlen(text));
}

static struct ruvm_bench_result bench(const struct ruvm_bench_options *o)
{
    struct ruvm_bench_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_bench(o, &r, &err), RUVM_OK, "%s", err.text);
    return r;
}

/* Fails with that status and all of these words. */
static void expect_refusal(const struct ruvm_bench_options *o, int status, const char *word,
                           const char *word2)
{
    struct ruvm_bench_result r;
    struct ruvm_error err = {0};
    int rc = ruvm_bench(o, &r, &err);
    cr_assert_eq(rc, status, "status %d: %s", rc, err.text);
    cr_assert(strstr(err.text, word), "\"%s\" is not in: %s", word, err.text);
    cr_assert(strstr(err.text, word2), "\"%s\" is not in: %s", word2, err.text);
    cr_assert_null(r.kernel_list);
}

/* ---- numbers --------------------------------------------------------------- */

Test(spread, is_the_median_the_quartiles_and_the_extremes)
{
    static const struct {
        double values[5];
        uint32_t n;
        struct ruvm_spread want;
    } cases[] = {
        {.n = 0, .want = {0}},
        {.values = {3}, .n = 1, .want = {3, 3, 3, 1, 3, 3}},
        {.values = {5, 1}, .n = 2, .want = {3, 1, 5, 2, 2, 4}},
        {.values = {9, 2, 4}, .n = 3, .want = {4, 2, 9, 3, 3, 6.5}},
        {.values = {4, 3, 2, 1}, .n = 4, .want = {2.5, 1, 4, 4, 1.75, 3.25}},
        {.values = {1, 1, 7, 1, 3}, .n = 5, .want = {1, 1, 7, 5, 1, 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double values[5];
        memcpy(values, cases[i].values, sizeof values);
        struct ruvm_spread s = ruvm_spread_of(values, cases[i].n);
        cr_assert_eq(memcmp(&s.median, &cases[i].want.median, sizeof s.median), 0, "case %zu", i);
        cr_assert(s.min <= cases[i].want.min && s.min >= cases[i].want.min, "case %zu", i);
        cr_assert(s.max <= cases[i].want.max && s.max >= cases[i].want.max, "case %zu", i);
        cr_assert_eq(memcmp(&s.q1, &cases[i].want.q1, 2 * sizeof s.q1), 0, "case %zu", i);
        cr_assert_eq(s.n, cases[i].n);
    }
}

static void check_spread(const struct ruvm_spread *s, uint32_t n)
{
    cr_assert_eq(s->n, n);
    cr_assert(s->min > 0 && s->min <= s->q1 && s->q1 <= s->median);
    cr_assert(s->median <= s->q3 && s->q3 <= s->max && isfinite(s->max));
}

Test(bench, speed_is_of_the_lengths_asked_for)
{
    struct ruvm_bench_options o = {.prompt_tokens = 20,
                                   .generate_tokens = 30,
                                   .repetitions = 3,
                                   .kernels = "scalar",
                                   .context = 64};
    double start = ruvm_clock_s();
    struct ruvm_bench_result r = bench(&o);
    double seconds = ruvm_clock_s() - start;
    cr_assert_eq(r.prompt_tokens, 20);
    cr_assert_eq(r.generate_tokens, 30);
    check_spread(&r.prompt_tokens_per_s, 3);
    check_spread(&r.decode_tokens_per_s, 3);
    /* The slowest rounds cannot have taken longer than the whole call. */
    cr_assert_gt(r.decode_tokens_per_s.min, 30 / seconds);
    cr_assert_gt(r.prompt_tokens_per_s.min, 20 / seconds);
    cr_assert_str_eq(r.model, "demo");
    cr_assert_str_eq(r.kernels, "scalar");
    cr_assert_gt(r.peak_rss_bytes, r.engine_bytes);
    cr_assert(!r.has_quality && !r.has_perplexity && !r.has_exact_match && r.n_kernels == 0);
    ruvm_bench_free(&r);
}

Test(bench, sizes_are_those_of_the_image_and_its_engine)
{
    struct ruvm_bench_options o = {.model = image(TOKENIZER), .repetitions = 1};
    struct ruvm_bench_result r = bench(&o);
    const struct ruvm_engine_options engine = {.block = r.block};
    struct ruvm_file file;
    size_t bytes;
    cr_assert_eq(ruvm_file_open(&file, o.model, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_bytes(file.data, file.size, &engine, &bytes), RUVM_OK);
    cr_assert_eq(r.image_bytes, file.size);
    cr_assert_eq(r.engine_bytes, bytes);
    struct ruvm_model_info info;
    cr_assert_eq(ruvm_model_info(&info, file.data, file.size), RUVM_OK);
    cr_assert_lt(info.context, 128);
    cr_assert_eq(r.prompt_tokens, info.context, "the default is what the context allows");
    cr_assert_eq(r.generate_tokens, info.context);
    ruvm_file_close(&file);
    ruvm_bench_free(&r);
}

/* ---- several in turns -------------------------------------------------------- */

enum { N_EACH = 4 };

Test(bench, each_of_several_is_what_it_is_alone)
{
    const char *path = image(TOKENIZER), *text = text_file("the sun on a moon the sun");
    struct ruvm_bench_options o[N_EACH] = {
        {.mask = "window:3,1", .block = 2}, {.batch = 3}, {.kernels = "scalar"}, {.context = 20}};
    struct ruvm_bench_result r[N_EACH];
    struct ruvm_error errs[N_EACH];
    for (int i = 0; i < N_EACH; i++) {
        o[i].model = path;
        o[i].eval_text = text;
        o[i].repetitions = 2;
    }
    cr_assert_eq(ruvm_bench_each(o, N_EACH, r, errs), RUVM_OK, "%s", errs[0].text);
    for (int i = 0; i < N_EACH; i++) {
        struct ruvm_bench_result alone = bench(&o[i]);
        check_spread(&r[i].decode_tokens_per_s, 2);
        check_spread(&r[i].prompt_tokens_per_s, 2);
        cr_assert_eq(r[i].engine_bytes, alone.engine_bytes);
        cr_assert_eq(r[i].kv_bytes, alone.kv_bytes);
        cr_assert_eq(r[i].image_crc, alone.image_crc);
        cr_assert_eq(r[i].seen_positions, alone.seen_positions);
        cr_assert_eq(r[i].batch, alone.batch);
        cr_assert_str_eq(r[i].kernels, alone.kernels);
        cr_assert_str_eq(r[i].mask, alone.mask);
        cr_assert_eq(memcmp(&r[i].perplexity, &alone.perplexity, sizeof(double)), 0);
        ruvm_bench_free(&alone);
        ruvm_bench_free(&r[i]);
    }
    cr_assert_eq(r[0].seen_positions, 0, "freed");
}

Test(bench, one_that_fails_takes_no_other_with_it)
{
    struct ruvm_bench_options o[N_EACH] = {{.mask = "window:0"},
                                           {.prompt_tokens = 17, .context = 16},
                                           {.context = 16, .prompt_tokens = 16},
                                           {.context = 16, .generate_tokens = 17}};
    struct ruvm_bench_result r[N_EACH];
    struct ruvm_error errs[N_EACH];
    o->repetitions = 3;
    cr_assert_eq(ruvm_bench_each(o, N_EACH, r, errs), RUVM_ERR_ARG, "the first that failed");
    cr_assert(strstr(errs[0].text, "window:0"), "%s", errs[0].text);
    cr_assert_eq(errs[1].code, RUVM_ERR_FULL);
    cr_assert_eq(errs[3].code, RUVM_ERR_FULL);
    cr_assert_eq(errs[2].code, RUVM_OK, "%s", errs[2].text);
    check_spread(&r[2].prompt_tokens_per_s, 3);
    cr_assert_eq(r[2].prompt_tokens, 16);
    ruvm_bench_free(&r[2]);
}

Test(bench, masks_are_counted)
{
    struct ruvm_bench_options o[3] = {
        {.mask = "none"}, {.mask = "window:5,2"}, {.mask = "dilated:3,4"}};
    struct ruvm_bench_result r[3];
    struct ruvm_error errs[3];
    for (int i = 0; i < 3; i++) {
        o[i].context = 40;
        o[i].block = 4;
        o[i].no_speed = true;
    }
    cr_assert_eq(ruvm_bench_each(o, 3, r, errs), RUVM_OK);
    cr_assert_eq(r[0].seen_positions, 40);
    cr_assert_eq(r[1].seen_positions, 7);
    cr_assert_eq(r[2].seen_positions, 3);
    cr_assert_eq(r[1].cached_positions, 5 + 2 + 3);
    cr_assert_eq(r[1].kv_bytes * 4, r[0].kv_bytes);
    cr_assert_eq(r[2].kv_bytes, r[0].kv_bytes);
    cr_assert_lt(r[1].engine_bytes, r[0].engine_bytes - (r[0].kv_bytes - r[1].kv_bytes) + 1);
}

Test(machine, is_one_line_with_its_kernels)
{
    char text[256], tiny[8];
    ruvm_machine_describe(text, sizeof text);
    cr_assert(strstr(text, "processor"), "%s", text);
    cr_assert(strstr(text, "scalar"), "%s", text);
    cr_assert(strstr(text, "gcc ") || strstr(text, "clang "), "%s", text);
    cr_assert(!strchr(text, '\n'));
    ruvm_machine_describe(tiny, sizeof tiny);
    cr_assert_eq(strlen(tiny), 7);
    cr_assert_gt(ruvm_machine_peak_rss_bytes(), 100000);
}

/* ---- quality --------------------------------------------------------------- */

Test(bench, quality_on_own_samples_is_what_quantize_measured)
{
    struct ruvm_bench_options o = {.model = image(TOKENIZER),
                                   .quality = CHECKPOINT,
                                   .eval_tokens = 200,
                                   .seed = 3,
                                   .repetitions = 1};
    struct ruvm_bench_result r = bench(&o);
    cr_assert(r.has_quality);
    cr_assert_eq(r.quality.n_positions, 200);
    cr_assert_eq(memcmp(&r.quality, &quantized_quality, sizeof r.quality), 0,
                 "KL %g, quantize says %g", r.quality.kl_mean, quantized_quality.kl_mean);
    ruvm_bench_free(&r);
}

/* Minus the logarithm of the probability of `next` after the engine's last token. */
static double loss_of(const struct ruvm_engine *e, uint32_t vocab, uint16_t next)
{
    const int32_t *logits = ruvm_engine_logits(e);
    double sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        sum += exp((logits[i] - logits[next]) / 65536.0);
    return log(sum);
}

/* Losses of each token of the text, and of its end when it is a document. */
static double document_loss(struct ruvm_session *s, const char *text, bool end, size_t *n)
{
    const struct ruvm_tokenizer *t = ruvm_session_tokenizer(s);
    struct ruvm_engine *e = ruvm_session_engine(s);
    uint16_t ids[64];
    int n_ids = ruvm_encode(t, ids, 64, text, strlen(text), 0);
    double loss = 0;
    cr_assert_eq(ids[0], t->bos);
    cr_assert_eq(ruvm_engine_rewind(e, 0), RUVM_OK);
    if (end)
        ids[n_ids++] = t->bos;
    for (int i = 1; i < n_ids; i++) {
        cr_assert_eq(ruvm_engine_eval(e, &ids[i - 1], 1, NULL), RUVM_OK);
        loss += loss_of(e, t->n_pieces, ids[i]);
    }
    *n += (size_t)(n_ids - 1);
    return loss;
}

Test(bench, perplexity_of_documents_predicts_their_ends)
{
    static const char *const texts[] = {"the sun\n<|end|>\na moon on\n<|end|>\n", "the sun"};
    for (int documents = 0; documents < 2; documents++) {
        struct ruvm_session *s;
        struct ruvm_bench_options o = {.model = image(TOKENIZER),
                                       .repetitions = 1,
                                       .documents = documents,
                                       .eval_text = text_file(texts[!documents])};
        struct ruvm_session_options so = {.model = o.model};
        struct ruvm_bench_result r = bench(&o);
        size_t n = 0;
        cr_assert_eq(ruvm_session_open(&s, &so, NULL), RUVM_OK);
        double loss = document_loss(s, "the sun", documents, &n);
        if (documents)
            loss += document_loss(s, "a moon on", documents, &n);
        cr_assert(r.has_perplexity && !r.has_quality);
        cr_assert_eq(r.perplexity_positions, n);
        cr_assert_float_eq(r.perplexity, exp(loss / (double)n), 1e-9 * r.perplexity);
        ruvm_session_close(s);
        ruvm_bench_free(&r);
    }
}

Test(bench, quality_needs_the_same_vocabulary_and_a_tokenizer_for_texts)
{
    struct ruvm_bench_options o = {
        .model = image(TOKENIZER), .repetitions = 1, .quality = "tests/golden/tiny-legacy.bin"};
    expect_refusal(&o, RUVM_ERR_MISMATCH, "288", "40");
    o = (struct ruvm_bench_options){
        .model = image(NULL), .repetitions = 1, .eval_text = text_file("the sun")};
    expect_refusal(&o, RUVM_ERR_UNSUPPORTED, "--tokenizer", o.model);
    o = (struct ruvm_bench_options){.repetitions = 1, .quality = "no-such-file"};
    expect_refusal(&o, RUVM_ERR_IO, "no-such-file", "");
    o = (struct ruvm_bench_options){.repetitions = 1, .eval_text = "no-such-file"};
    expect_refusal(&o, RUVM_ERR_IO, "no-such-file", "");
}

/* ---- exact match ----------------------------------------------------------- */

struct answer {
    char text[1024];
    size_t n;
};

static int hear(void *user, const char *bytes, size_t n)
{
    struct answer *a = user;
    cr_assert_lt(a->n + n, sizeof a->text);
    memcpy(a->text + a->n, bytes, n);
    a->n += n;
    return 0;
}

/* The greedy answer of a model, as JSON may hold it: letters only. */
static struct answer answer_of(const char *path, const char *prompt)
{
    struct ruvm_session *s;
    struct ruvm_generate_result r;
    struct answer a = {.n = 0};
    struct ruvm_session_options so = {.model = path};
    struct ruvm_generate_options o = {
        .prompt = prompt, .n_prompt_bytes = strlen(prompt), .text = hear, .user = &a};
    cr_assert_eq(ruvm_session_open(&s, &so, NULL), RUVM_OK);
    cr_assert_eq(ruvm_generate(s, &o, &r, NULL), RUVM_OK);
    ruvm_session_close(s);
    cr_assert_gt(a.n, 1);
    return a;
}

Test(bench, exact_match_counts_answers_that_agree_to_the_letter)
{
    const char *path = image(TOKENIZER);
    struct answer sun = answer_of(path, "the sun"), a = answer_of(path, "a");
    char lines[8192];
    struct {
        const char *text;
        int n; /* of the text */
        const char *after;
        int exact;
    } cases[] = {
        {sun.text, (int)sun.n, "", 1},         {sun.text, (int)sun.n, " \\n", 1},
        {sun.text, (int)sun.n, "x", 0},        {sun.text, (int)sun.n - 1, "", 0},
        {sun.text + 1, (int)sun.n - 1, "", 0}, {"", 0, "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(lines, sizeof lines,
                 "{\"prompt\": \"the sun\", \"answer\": \"%.*s%s\"}\n\n"
                 "  {\"other\": [1], \"answer\": \"%.*s\", \"prompt\": \"a\"}\r\n",
                 cases[i].n, cases[i].text, cases[i].after, (int)a.n, a.text);
        struct ruvm_bench_options o = {
            .model = path, .repetitions = 1, .questions = text_file(lines)};
        struct ruvm_bench_result r = bench(&o);
        cr_assert(r.has_exact_match);
        cr_assert_eq(r.n_questions, 2);
        cr_assert_float_eq(r.exact_match, (1 + cases[i].exact) / 2.0, 1e-12, "case %zu", i);
        ruvm_bench_free(&r);
    }
}

Test(bench, bad_questions_are_named_by_line)
{
    static const struct {
        const char *text, *word;
        int status;
    } files[] = {
        {"{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"prompt\": \"a\"}\n", "line 2",
         RUVM_ERR_CORRUPT},
        {"\n\n{\"prompt\": \"a\", \"answer\": 1}", "line 3", RUVM_ERR_CORRUPT},
        {"{\"prompt\": \"a\", \"answer\": \"b\"", "line 1", RUVM_ERR_CORRUPT},
        {"{\"prompt\": \"a\", \"answer\": \"b\"} {}", "line 1", RUVM_ERR_CORRUPT},
        {"[]", "line 1", RUVM_ERR_CORRUPT},
        {"\n", "no questions", RUVM_ERR_CORRUPT},
        {"", "no questions", RUVM_ERR_CORRUPT},
        {"{\"prompt\": \"an on an on an on an on an on an on an on an on an on an on an on an on"
         " an on an on an on an on an on an on an on an on an on an on\", \"answer\": \"b\"}",
         "line 1", RUVM_ERR_FULL},
    };
    const char *path = image(TOKENIZER);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct ruvm_bench_options o = {
            .model = path, .repetitions = 1, .questions = text_file(files[i].text)};
        expect_refusal(&o, files[i].status, files[i].word, o.questions);
    }
}

/* ---- refusals -------------------------------------------------------------- */

Test(bench, lengths_beyond_the_context_are_refused)
{
    struct ruvm_bench_options prompt = {.prompt_tokens = 33, .context = 32};
    struct ruvm_bench_options decode = {.generate_tokens = 33, .context = 32};
    expect_refusal(&prompt, RUVM_ERR_FULL, "33", "32");
    expect_refusal(&decode, RUVM_ERR_FULL, "33", "32");
}

struct stopper {
    const char *stage;
    int calls;
};

static int stop_at(void *user, const char *stage, uint64_t done, uint64_t total)
{
    struct stopper *s = user;
    cr_assert_leq(done, total);
    s->calls++;
    return strcmp(stage, s->stage) == 0;
}

Test(bench, progress_may_stop_each_stage)
{
    static const char *const stages[] = {"speed", "kernels", "questions", "sample", "measure"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        struct stopper s = {.stage = stages[i]};
        struct ruvm_bench_options o = {.model = image(TOKENIZER),
                                       .repetitions = 2,
                                       .kernel_rates = i == 1,
                                       .questions =
                                           text_file("{\"prompt\": \"a\", \"answer\": \"b\"}\n"),
                                       .quality = CHECKPOINT,
                                       .progress = {.report = stop_at, .user = &s}};
        expect_refusal(&o, RUVM_ERR_IO, "interrupted", "");
        cr_assert_gt(s.calls, 0);
    }
}
