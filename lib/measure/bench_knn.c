/* One pass over a text, a token at a time: the loss of the next token by the model's logits,
 * and by those that the neighbours were mixed into, which are what ruvm run --knn draws from.
 */
#include "lib/measure/bench_knn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/measure/quality.h"
#include "lib/run/knn.h"
#include "lib/run/session.h"

enum { REPORT_EVERY = 64 };

struct meter {
    struct ruvm_session *s;
    struct ruvm_run_knn *knn;
    const struct ruvm_bench_options *o;
    struct ruvm_error *err;
    int32_t *logits; /* [vocab] */
    double *q;       /* [vocab] */
    double loss, loss_knn, seconds;
    uint64_t n, n_all;
};

static double loss_of(struct meter *m, const int32_t *logits, uint32_t next)
{
    uint32_t vocab = m->s->info.vocab;
    for (uint32_t i = 0; i < vocab; i++)
        m->q[i] = logits[i] / 65536.0;
    ruvm_quality_log_softmax(m->q, vocab);
    return -m->q[next];
}

static int measure_token(struct meter *m, uint32_t token, uint32_t next)
{
    const struct ruvm_progress *p = &m->o->progress;
    struct ruvm_engine *e = m->s->engine;
    uint16_t id = (uint16_t)token;
    int rc = ruvm_engine_eval(e, &id, 1, NULL);
    if (rc != RUVM_OK)
        return ruvm_fail(m->err, rc, "%s: %s", m->s->file.name, ruvm_status_text(rc));
    m->loss += loss_of(m, ruvm_engine_logits(e), next);
    memcpy(m->logits, ruvm_engine_logits(e), m->s->info.vocab * sizeof *m->logits);
    double start = ruvm_clock_s();
    ruvm_run_knn_mix(m->knn, e, m->logits, m->s->info.vocab);
    m->seconds += ruvm_clock_s() - start;
    m->loss_knn += loss_of(m, m->logits, next);
    bool stop = ++m->n % REPORT_EVERY == 0 && p->report &&
                p->report(p->user, "measure", m->n, m->n_all) != 0;
    return stop ? ruvm_fail(m->err, RUVM_ERR_IO, "interrupted") : RUVM_OK;
}

static int measure(struct meter *m, const struct ruvm_text *text)
{
    int rc = RUVM_OK;
    for (uint32_t w = 0; rc == RUVM_OK && w < text->n_windows; w++) {
        ruvm_engine_rewind(m->s->engine, 0);
        for (uint32_t i = text->first[w]; rc == RUVM_OK && i + 1 < text->first[w + 1]; i++)
            rc = measure_token(m, text->tokens[i], text->tokens[i + 1]);
    }
    return rc;
}

static void note(const struct meter *m, struct ruvm_bench_result *r)
{
    double n = (double)m->n;
    r->has_perplexity = r->has_knn = true;
    r->perplexity = exp(m->loss / n);
    r->perplexity_knn = exp(m->loss_knn / n);
    r->perplexity_positions = m->n;
    r->knn_chunks = m->knn->rag.n;
    r->knn_k = m->knn->knn.k;
    r->knn_share = m->knn->knn.share_q16 / 65536.0;
    r->knn_spread = m->knn->knn.spread_q16 / 65536.0;
    r->knn_us = 1e6 * m->seconds / n;
}

int ruvm_bench_knn(struct ruvm_bench_result *r, struct ruvm_session *s,
                   const struct ruvm_bench_options *o, const struct ruvm_text *text,
                   struct ruvm_error *err)
{
    struct meter m = {.s = s, .o = o, .err = err, .n_all = text->n_positions};
    const struct ruvm_session_options knn = {.knn = o->knn,
                                             .knn_k = o->knn_k,
                                             .knn_share_q16 = o->knn_share_q16,
                                             .knn_spread_q16 = o->knn_spread_q16};
    int rc = ruvm_run_knn_open(&m.knn, s, &knn, err);
    m.logits = calloc(s->info.vocab, sizeof *m.logits);
    m.q = calloc(s->info.vocab, sizeof *m.q);
    if (rc == RUVM_OK)
        rc = m.logits && m.q
                 ? measure(&m, text)
                 : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u logits", s->info.vocab);
    if (rc == RUVM_OK)
        note(&m, r);
    ruvm_run_knn_close(m.knn);
    free(m.logits);
    free(m.q);
    return rc;
}
