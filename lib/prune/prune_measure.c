/* What a step of pruning cost: up to three float models read the same text side by side,
 * the source, the one before the step, and the one after it. */
#include <math.h>

#include "lib/convert/reference.h"
#include "lib/measure/quality.h"
#include "lib/prune/prune_job.h"

/* One of the models. */
struct reader {
    struct ruvm_reference *r;
    const uint32_t *tokens; /* its ids of those of the text; NULL: the same */
    double *log_p;          /* [vocab of the text] of the next token */
    double loss;            /* sum over the positions */
};

struct meter {
    struct ruvm_prune_job *j;
    struct reader source, before, after;
    bool first; /* the model before is the source, but for its tokens at most */
    double divergence;
};

/* The softmax over the tokens of the text alone: what a pruned token had is shared out. */
static void read_token(struct reader *r, uint32_t token, uint32_t vocab)
{
    const float *logits = ruvm_reference_step(r->r, r->tokens ? r->tokens[token] : token);
    for (uint32_t i = 0; i < vocab; i++)
        r->log_p[i] = (double)logits[r->tokens ? r->tokens[i] : i];
    ruvm_quality_log_softmax(r->log_p, vocab);
}

static void measure_token(struct meter *m, uint32_t token, uint32_t next)
{
    uint32_t vocab = m->j->now.model.vocab;
    read_token(&m->source, token, vocab);
    read_token(&m->after, token, vocab);
    if (!m->first)
        read_token(&m->before, token, vocab);
    m->source.loss -= m->source.log_p[next];
    m->before.loss -= m->first ? m->source.log_p[next] : m->before.log_p[next];
    m->after.loss -= m->after.log_p[next];
    m->divergence += ruvm_quality_divergence(m->source.log_p, m->after.log_p, vocab);
}

static int measure_text(struct meter *m)
{
    const struct ruvm_text *t = &m->j->now.eval;
    uint64_t done = 0;
    int rc = RUVM_OK;
    for (uint32_t w = 0; w < t->n_windows && rc == RUVM_OK; w++) {
        ruvm_reference_reset(m->source.r);
        ruvm_reference_reset(m->after.r);
        if (!m->first)
            ruvm_reference_reset(m->before.r);
        for (uint32_t i = t->first[w]; i + 1 < t->first[w + 1] && rc == RUVM_OK; i++) {
            measure_token(m, t->tokens[i], t->tokens[i + 1]);
            if (++done % 32 == 0 || done == t->n_positions)
                rc = ruvm_prune_tell(m->j, "measure pruning", done, t->n_positions);
        }
    }
    return rc;
}

static int open_reader(struct ruvm_prune_job *j, struct reader *r, const struct ruvm_model *m)
{
    r->log_p = ruvm_arena_alloc(&j->work, j->now.model.vocab, sizeof *r->log_p);
    if (!r->log_p)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for measuring");
    r->tokens = m->vocab == j->now.model.vocab ? NULL : j->tokens;
    return ruvm_reference_open(&r->r, &j->work, m, m->context, j->err);
}

int ruvm_prune_measure(struct ruvm_prune_job *j, const struct ruvm_model *source,
                       const struct ruvm_model *before, struct ruvm_quantize_prune *step)
{
    struct meter m = {.j = j, .first = before->layers == source->layers};
    double n = (double)j->now.eval.n_positions;
    int rc = open_reader(j, &m.source, source);
    if (rc == RUVM_OK)
        rc = open_reader(j, &m.after, &j->now.model);
    if (rc == RUVM_OK && !m.first)
        rc = open_reader(j, &m.before, before);
    if (rc == RUVM_OK)
        rc = measure_text(&m);
    if (rc != RUVM_OK)
        return rc;
    step->kl_mean = m.divergence / n;
    step->perplexity_before = exp(m.before.loss / n);
    step->perplexity_after = exp(m.after.loss / n);
    if (isfinite(m.divergence))
        return RUVM_OK;
    return ruvm_fail(j->err, RUVM_ERR_CORRUPT,
                     "a prediction of the float model is not finite: its weights are damaged or "
                     "of another architecture");
}
