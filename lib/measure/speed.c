/* How many tokens a second: the two numbers that a user of a model asks for.
 *
 * Reading a prompt works on many tokens at once, writing an answer on one at a
 * time, so they are measured apart. Nothing but the engine is inside the clock:
 * no tokenizer, no printing. The prompt's ids are arbitrary, since an integer
 * engine takes the same time for each.
 *
 * Several measurements take turns, once forwards and once backwards, so that a machine that
 * grows slower meanwhile does so for all of them.
 */
#include "lib/measure/speed.h"

#include <stdlib.h>

#include "kernels/kernels.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/measure/spread.h"
#include "lib/run/batch.h"

enum { DEFAULT_TOKENS = 128, DEFAULT_REPETITIONS = 9 };

struct run {
    struct ruvm_engine *engine;
    const struct ruvm_kernels *kernels;
    struct ruvm_batch batch; /* texts that are generated together; the first is engine's */
    struct ruvm_error *err;  /* a code in it: this one takes no part */
    uint32_t vocab, n_prompt, n_generate;
    uint16_t start;
    uint16_t *prompt;     /* [n_prompt] */
    double *prompt_rates; /* [repetitions] */
    double *decode_rates; /* [repetitions] */
    uint32_t n;           /* rounds measured */
};

/* All that take turns. */
struct turns {
    struct run *runs; /* [n] */
    uint32_t n, repetitions;
    const struct ruvm_progress *progress;
    uint64_t n_done; /* measurements of all */
};

static void fill_prompt(struct run *r)
{
    uint32_t state = 1;
    r->prompt[0] = r->start;
    for (uint32_t i = 1; i < r->n_prompt; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        r->prompt[i] = (uint16_t)((state >> 16) % r->vocab);
    }
}

/* Tokens a second, or a negative status. */
static double read_prompt(const struct run *r)
{
    ruvm_engine_rewind(r->engine, 0);
    double start = ruvm_clock_s();
    int rc = ruvm_engine_eval(r->engine, r->prompt, r->n_prompt, NULL);
    return rc == RUVM_OK ? r->n_prompt / (ruvm_clock_s() - start) : rc;
}

/* Each text begins with another token; the tokens of all count. */
static double decode(const struct run *r)
{
    struct ruvm_row rows[RUVM_BATCH_MOST];
    uint32_t n = r->batch.n;
    for (uint32_t t = 0; t < n; t++) {
        rows[t] = (struct ruvm_row){r->batch.engines[t], (uint16_t)((r->start + t) % r->vocab)};
        ruvm_engine_rewind(rows[t].engine, 0);
    }
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < r->n_generate; i++) {
        int rc = ruvm_engine_eval_rows(r->engine, rows, n);
        if (rc != RUVM_OK)
            return rc;
        for (uint32_t t = 0; t < n; t++)
            rows[t].token =
                (uint16_t)r->kernels->largest(ruvm_engine_logits(rows[t].engine), r->vocab);
    }
    return (double)n * r->n_generate / (ruvm_clock_s() - start);
}

static void measure_run(struct run *r, bool keep)
{
    double prompt = read_prompt(r), generate = decode(r);
    if (prompt < 0 || generate < 0) {
        ruvm_fail(r->err, (int)(prompt < 0 ? prompt : generate),
                  "measuring speed: the engine refused its tokens");
        return;
    }
    if (keep) {
        r->prompt_rates[r->n] = prompt;
        r->decode_rates[r->n++] = generate;
    }
}

static bool tell(struct turns *t, bool keep)
{
    const struct ruvm_progress *p = t->progress;
    uint64_t total = (uint64_t)t->n * t->repetitions;
    t->n_done += keep;
    return !p->report || p->report(p->user, "speed", t->n_done, total) == 0;
}

/* False: interrupted, which ends all of them. */
static bool measure_round(struct turns *t, uint32_t round)
{
    for (uint32_t k = 0; k < t->n; k++) {
        struct run *r = &t->runs[round % 2 ? t->n - 1 - k : k];
        if (!r->err->code)
            measure_run(r, round > 0);
        if (!tell(t, round > 0))
            return false;
    }
    return true;
}

/* The first round warms up and is forgotten. */
static void measure(struct turns *t)
{
    uint32_t round = 0;
    while (round <= t->repetitions && measure_round(t, round))
        round++;
    for (uint32_t i = 0; i < t->n; i++) {
        struct run *r = &t->runs[i];
        if (r->err->code)
            continue;
        if (round <= t->repetitions)
            ruvm_fail(r->err, RUVM_ERR_IO, "interrupted");
        ruvm_engine_rewind(r->engine, 0);
    }
}

/* What was asked for, or the default as far as the context allows. */
int ruvm_speed_choose_length(uint32_t *n, uint32_t asked, const struct ruvm_session *s,
                             struct ruvm_error *err)
{
    *n = asked ? asked : DEFAULT_TOKENS < s->context ? DEFAULT_TOKENS : s->context;
    if (*n > s->context)
        return ruvm_fail(err, RUVM_ERR_FULL,
                         "%s: measuring %u tokens at once: the context holds %u; measure fewer or "
                         "raise --ctx (at most %u for this model)",
                         s->file.name, *n, s->context, s->info.context);
    return RUVM_OK;
}

uint16_t ruvm_speed_start(const struct ruvm_session *s)
{
    const struct ruvm_tokenizer *t = ruvm_session_tokenizer(s);
    return t && t->bos < t->n_pieces ? t->bos : 0;
}

static int open_run(struct run *r, struct ruvm_session *s, const struct ruvm_bench_options *o,
                    uint32_t repetitions)
{
    r->engine = ruvm_session_engine(s);
    r->kernels = s->kernels;
    r->vocab = ruvm_session_info(s)->vocab;
    r->start = ruvm_speed_start(s);
    int rc = ruvm_speed_choose_length(&r->n_prompt, o->prompt_tokens, s, r->err);
    if (rc == RUVM_OK)
        rc = ruvm_speed_choose_length(&r->n_generate, o->generate_tokens, s, r->err);
    if (rc == RUVM_OK)
        rc = ruvm_batch_open(&r->batch, s, o->batch ? o->batch : 1, r->err);
    if (rc != RUVM_OK)
        return rc;
    r->prompt = calloc(r->n_prompt, sizeof *r->prompt);
    r->prompt_rates = calloc(repetitions, sizeof(double));
    r->decode_rates = calloc(repetitions, sizeof(double));
    if (!r->prompt || !r->prompt_rates || !r->decode_rates)
        return ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for measuring speed");
    fill_prompt(r);
    return RUVM_OK;
}

static void close_run(struct run *r)
{
    ruvm_batch_close(&r->batch);
    free(r->prompt);
    free(r->prompt_rates);
    free(r->decode_rates);
}

static struct ruvm_speed speed_of(struct run *r)
{
    return (struct ruvm_speed){.prompt_tokens = r->n_prompt,
                               .generate_tokens = r->n_generate,
                               .prompt = ruvm_spread_of(r->prompt_rates, r->n),
                               .decode = ruvm_spread_of(r->decode_rates, r->n)};
}

void ruvm_speed_measure(struct ruvm_speed *speeds, struct ruvm_session *const *sessions,
                        const struct ruvm_bench_options *o, uint32_t n, struct ruvm_error *errs)
{
    struct turns t = {.runs = calloc(n, sizeof *t.runs),
                      .n = n,
                      .repetitions = o->repetitions ? o->repetitions : DEFAULT_REPETITIONS,
                      .progress = &o->progress};
    for (uint32_t i = 0; i < n; i++) {
        if (!t.runs && !errs[i].code)
            ruvm_fail(&errs[i], RUVM_ERR_MEMORY, "no memory for measuring speed");
        if (!t.runs)
            continue;
        t.runs[i].err = &errs[i];
        if (!errs[i].code)
            open_run(&t.runs[i], sessions[i], &o[i], t.repetitions);
    }
    if (t.runs)
        measure(&t);
    for (uint32_t i = 0; t.runs && i < n; i++) {
        if (!errs[i].code)
            speeds[i] = speed_of(&t.runs[i]);
        close_run(&t.runs[i]);
    }
    free(t.runs);
}
