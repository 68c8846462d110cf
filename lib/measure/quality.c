/* Compares two distributions at every position of a text.
 *
 * The engine computes a few tokens at once, and so does the reference; then each
 * position yields a divergence, two losses and two agreements. The divergences
 * are kept to the end, because a percentile needs them all.
 */
#include "lib/measure/quality.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/convert/engine_open.h"

enum { CHUNK = 32, TOP = 5 };

struct meter {
    const struct ruvm_quality_options *o;
    struct ruvm_error *err;
    struct ruvm_engine *engine;
    uint32_t vocab;
    int32_t *logits;    /* [CHUNK, vocab] of the image */
    double *p, *q;      /* [vocab] log-probabilities of float and image */
    double *divergence; /* [n_positions] */
    uint64_t n;         /* positions measured */
    double loss, loss_float;
    uint64_t top1, top5;
};

void ruvm_quality_log_softmax(double *x, uint32_t n)
{
    double best = x[0], sum = 0.0;
    for (uint32_t i = 1; i < n; i++)
        best = fmax(best, x[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp(x[i] - best);
    double norm = best + log(sum);
    for (uint32_t i = 0; i < n; i++)
        x[i] -= norm;
}

double ruvm_quality_divergence(const double *p, const double *q, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp(p[i]) * (p[i] - q[i]);
    return sum;
}

/* How many values come before value i: larger ones, and equal ones of lower id. */
static uint32_t rank_of(const double *x, uint32_t n, uint32_t i)
{
    uint32_t rank = 0;
    for (uint32_t j = 0; j < n; j++)
        rank += x[j] > x[i] || (x[j] >= x[i] && j < i);
    return rank;
}

static uint32_t largest(const double *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static void compare(struct meter *m, const float *reference, uint32_t next)
{
    for (uint32_t i = 0; i < m->vocab; i++)
        m->p[i] = (double)reference[i];
    ruvm_quality_log_softmax(m->p, m->vocab);
    m->divergence[m->n] = ruvm_quality_divergence(m->p, m->q, m->vocab);
    m->loss_float -= m->p[next];
    uint32_t rank = rank_of(m->q, m->vocab, largest(m->p, m->vocab));
    m->top1 += rank == 0;
    m->top5 += rank < TOP;
}

static int tell(const struct meter *m, uint64_t done)
{
    const struct ruvm_progress *p = &m->o->progress;
    if (p->report && p->report(p->user, "measure", done, m->o->text->n_positions) != 0)
        return ruvm_fail(m->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* n tokens at the engine's position, each followed by the one it should predict. reference:
 * the float model's logits, step floats apart, or NULL. */
static int measure_chunk(struct meter *m, const uint32_t *tokens, uint32_t n,
                         const float *reference, size_t step)
{
    uint16_t ids[CHUNK] = {0};
    for (uint32_t t = 0; t < n; t++)
        ids[t] = (uint16_t)tokens[t]; /* of the image, which has no more */
    int rc = ruvm_engine_eval(m->engine, ids, n, m->logits);
    if (rc != RUVM_OK)
        return ruvm_fail(m->err, rc, "a window of the text does not fit the image: %s",
                         ruvm_status_text(rc));
    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t i = 0; i < m->vocab; i++)
            m->q[i] = m->logits[(size_t)t * m->vocab + i] / 65536.0;
        ruvm_quality_log_softmax(m->q, m->vocab);
        m->loss -= m->q[tokens[t + 1]];
        if (reference)
            compare(m, reference + t * step, tokens[t + 1]);
        m->n++;
    }
    return RUVM_OK;
}

/* A window while the reference reads it. */
struct window {
    struct meter *m;
    const uint32_t *tokens;
    uint64_t before; /* positions of the windows before */
};

static int see_logits(void *user, uint32_t first, uint32_t n, const float *logits, size_t step)
{
    struct window *w = user;
    return measure_chunk(w->m, w->tokens + first, n, logits, step);
}

static int see_progress(void *user, uint32_t done)
{
    const struct window *w = user;
    return tell(w->m, w->before + done);
}

static int measure_window(struct meter *m, const uint32_t *tokens, uint32_t n_predictions)
{
    struct window w = {m, tokens, m->n};
    const struct ruvm_reference_reader reader = {
        .user = &w, .logits = see_logits, .progress = see_progress};
    int rc = ruvm_engine_rewind(m->engine, 0);
    if (rc == RUVM_OK && m->o->reference)
        return ruvm_reference_read(m->o->reference, tokens, n_predictions, &reader, m->err);
    for (uint32_t i = 0; i < n_predictions && rc == RUVM_OK; i += CHUNK) {
        uint32_t left = n_predictions - i;
        rc = measure_chunk(m, tokens + i, left < CHUNK ? left : CHUNK, NULL, 0);
        if (rc == RUVM_OK)
            rc = tell(m, m->n);
    }
    return rc;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of the mean of x[n], whose neighbours are not independent: from the means of blocks. */
static double standard_error(const double *x, uint64_t n)
{
    enum { BLOCK = 64 };
    uint64_t n_blocks = n / BLOCK;
    double sum = 0.0, squares = 0.0;
    if (n_blocks < 2)
        return 0.0;
    for (uint64_t b = 0; b < n_blocks; b++) {
        double mean = 0.0;
        for (uint64_t i = 0; i < BLOCK; i++)
            mean += x[b * BLOCK + i] / BLOCK;
        sum += mean;
        squares += mean * mean;
    }
    double blocks = (double)n_blocks, variance = (squares - sum * sum / blocks) / (blocks - 1.0);
    return sqrt(fmax(variance, 0.0) / blocks);
}

static void conclude(struct ruvm_quality *q, struct meter *m)
{
    double n = (double)m->n;
    *q = (struct ruvm_quality){.n_positions = m->n, .perplexity = exp(m->loss / n)};
    snprintf(q->text_source, sizeof q->text_source, "%s", m->o->text->source);
    if (!m->o->reference)
        return;
    double sum = 0.0;
    for (uint64_t i = 0; i < m->n; i++)
        sum += m->divergence[i];
    q->kl_mean_error = standard_error(m->divergence, m->n);
    qsort(m->divergence, (size_t)m->n, sizeof *m->divergence, ascending);
    q->kl_mean = sum / n;
    q->kl_p99 =
        m->divergence[(m->n * 99 - 1) / 100]; /* the smallest value that 99 % do not exceed */
    q->perplexity_float = exp(m->loss_float / n);
    q->top1 = (double)m->top1 / n;
    q->top5 = (double)m->top5 / n;
}

static int open_meter(struct meter *m, struct ruvm_arena *arena)
{
    const struct ruvm_quality_options *o = m->o;
    struct ruvm_model_info info;
    int rc = ruvm_model_info(&info, o->image, o->image_bytes);
    if (rc != RUVM_OK)
        return ruvm_fail(m->err, rc, "the image cannot be read: %s", ruvm_status_text(rc));
    m->vocab = info.vocab;
    m->logits = ruvm_arena_alloc(arena, (size_t)CHUNK * m->vocab, sizeof *m->logits);
    m->p = ruvm_arena_alloc(arena, m->vocab, sizeof *m->p);
    m->q = ruvm_arena_alloc(arena, m->vocab, sizeof *m->q);
    m->divergence = ruvm_arena_alloc(arena, (size_t)o->text->n_positions, sizeof(double));
    if (!m->logits || !m->p || !m->q || !m->divergence)
        return ruvm_fail(m->err, RUVM_ERR_MEMORY, "memory is short for measuring %llu positions",
                         (unsigned long long)o->text->n_positions);
    struct ruvm_engine_options engine = {.kernels = o->kernels, .block = CHUNK, .mask = o->mask};
    return ruvm_engine_open(&m->engine, arena, o->image, o->image_bytes, &engine, m->err);
}

int ruvm_quality_measure(struct ruvm_quality *q, const struct ruvm_quality_options *o,
                         struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct meter m = {.o = o, .err = err};
    const struct ruvm_text *text = o->text;
    if (text->n_positions == 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "there is no text to measure on");
    int rc = open_meter(&m, &arena);
    for (uint32_t w = 0; w < text->n_windows && rc == RUVM_OK; w++) {
        uint32_t n = text->first[w + 1] - text->first[w];
        rc = measure_window(&m, text->tokens + text->first[w], n - 1);
    }
    if (rc == RUVM_OK)
        conclude(q, &m);
    ruvm_arena_free(&arena);
    return rc;
}
