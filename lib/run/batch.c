/* Engines for texts that are computed together, and many prompts answered by them.
 *
 * Each text has a lane: a session of its own as far as texts differ, with all else shared.
 * In every round what the lanes want to have computed, a prompt or the token drawn last,
 * goes through the weights together; then each draws its next token. A lane that is done
 * takes the next prompt, so that no lane waits for the longest text.
 */
#include "lib/run/batch.h"

#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/run/turn.h"

enum { ENGINE_ALIGN = 64 };

int ruvm_batch_open(struct ruvm_batch *b, struct ruvm_session *s, uint32_t n,
                    struct ruvm_error *err)
{
    size_t bytes = ruvm_align_up(s->memory_bytes, ENGINE_ALIGN);
    *b = (struct ruvm_batch){.engines = {s->engine}, .n = n};
    if (n < 1 || n > RUVM_BATCH_MOST)
        return ruvm_fail(err, RUVM_ERR_ARG, "a batch of %u texts: 1 to %d are possible", n,
                         RUVM_BATCH_MOST);
    if (n > 1 && bytes > SIZE_MAX / n)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u engines", n);
    b->memory = n > 1 ? aligned_alloc(ENGINE_ALIGN, bytes * (n - 1)) : NULL;
    if (n > 1 && !b->memory)
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "no memory for %u engines of %zu bytes: lower the context (--ctx) or "
                         "the batch (--batch)",
                         n, bytes);
    for (uint32_t i = 1; i < n; i++) {
        int rc = ruvm_engine_init_like(&b->engines[i], (char *)b->memory + (i - 1) * bytes, bytes,
                                       s->engine);
        if (rc != RUVM_OK)
            return ruvm_fail(err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
    }
    ruvm_engine_rewind(s->engine, 0);
    return RUVM_OK;
}

void ruvm_batch_close(struct ruvm_batch *b)
{
    free(b->memory);
    *b = (struct ruvm_batch){0};
}

/* ---- many prompts ------------------------------------------------------------ */

struct lane {
    struct ruvm_session s; /* its engine, tokens, logits and sampler are the lane's */
    struct ruvm_turn turn;
    struct ruvm_generate_options options;
    struct ruvm_generate_result result;
    struct ruvm_error err;
    size_t prompt;
    bool is_busy, is_answering; /* the prompt is computed */
};

struct many {
    struct ruvm_session *s;
    const struct ruvm_many_options *o;
    struct ruvm_batch batch;
    struct lane *lanes; /* [batch.n] */
    uint16_t *tokens;   /* [batch.n, context + 1] */
    int32_t *logits;    /* [batch.n, vocab] */
    struct ruvm_row *rows;
    size_t n_rows, next; /* prompt */
};

static void finish(struct many *m, struct lane *l, int rc)
{
    if (rc == RUVM_OK)
        ruvm_outlet_end(&l->turn.outlet);
    ruvm_outlet_close(&l->turn.outlet);
    l->is_busy = false;
    if (rc == RUVM_OK && l->result.stop == RUVM_STOP_CALLER)
        m->next = m->o->n_prompts; /* nobody wants more */
    m->o->end(m->o->user, l->prompt, rc == RUVM_OK ? &l->result : NULL, &l->err);
}

/* The next prompt, if there is one; one that cannot be taken is over at once. */
static void begin(struct many *m, struct lane *l)
{
    while (!l->is_busy && m->next < m->o->n_prompts) {
        l->prompt = m->next++;
        l->err = (struct ruvm_error){0};
        l->result = (struct ruvm_generate_result){0};
        l->options = m->o->options(m->o->user, l->prompt);
        l->turn = (struct ruvm_turn){.s = &l->s, .o = &l->options, .r = &l->result, .err = &l->err};
        l->s.sampler = m->s->sampler;
        l->is_busy = true;
        l->is_answering = false;
        int rc = ruvm_turn_begin(&l->turn);
        if (rc == RUVM_OK)
            rc = ruvm_prompt_take(&l->turn);
        if (rc != RUVM_OK)
            finish(m, l, rc);
    }
}

/* What the engine has not seen yet. */
static uint32_t add_rows(struct many *m, struct lane *l)
{
    uint32_t known = ruvm_engine_position(l->s.engine), n = l->s.n_tokens - known;
    for (uint32_t i = known; i < l->s.n_tokens; i++)
        m->rows[m->n_rows++] = (struct ruvm_row){l->s.engine, l->s.tokens[i]};
    return n;
}

static void step(struct many *m, struct lane *l)
{
    if (!l->is_answering)
        l->turn.last = l->s.tokens[l->s.n_tokens - 1];
    l->is_answering = true;
    if (ruvm_turn_step(&l->turn, ruvm_engine_logits(l->s.engine), &l->result.stop))
        finish(m, l, RUVM_OK);
}

/* Computes what all want; each lane is charged for its share of the time. */
static int compute(struct many *m)
{
    uint32_t share[RUVM_BATCH_MOST] = {0};
    m->n_rows = 0;
    for (uint32_t i = 0; i < m->batch.n; i++)
        if (m->lanes[i].is_busy)
            share[i] = add_rows(m, &m->lanes[i]);
    if (m->n_rows == 0)
        return RUVM_OK;
    double start = ruvm_clock_s();
    int rc = ruvm_engine_eval_rows(m->batch.engines[0], m->rows, m->n_rows);
    double seconds = (ruvm_clock_s() - start) / (double)m->n_rows;
    for (uint32_t i = 0; i < m->batch.n; i++) {
        struct lane *l = &m->lanes[i];
        *(l->is_answering ? &l->result.generate_s : &l->result.prompt_s) += share[i] * seconds;
        if (!l->is_answering)
            l->result.n_computed = share[i];
    }
    return rc;
}

static bool is_any_busy(const struct many *m)
{
    for (uint32_t i = 0; i < m->batch.n; i++)
        if (m->lanes[i].is_busy)
            return true;
    return false;
}

static int answer_all(struct many *m)
{
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < m->batch.n; i++)
        begin(m, &m->lanes[i]);
    while (rc == RUVM_OK && is_any_busy(m)) {
        rc = compute(m);
        for (uint32_t i = 0; rc == RUVM_OK && i < m->batch.n; i++) {
            if (m->lanes[i].is_busy)
                step(m, &m->lanes[i]);
            begin(m, &m->lanes[i]);
        }
    }
    for (uint32_t i = 0; i < m->batch.n; i++)
        if (m->lanes[i].is_busy)
            finish(m, &m->lanes[i], rc);
    return rc;
}

static int open_lanes(struct many *m, struct ruvm_error *err)
{
    size_t n = m->batch.n, context = m->s->context;
    m->lanes = calloc(n, sizeof *m->lanes);
    m->tokens = calloc(n * (context + 1), sizeof *m->tokens);
    m->logits = calloc(n * m->s->info.vocab, sizeof *m->logits);
    m->rows = calloc(n * context, sizeof *m->rows);
    if (!m->lanes || !m->tokens || !m->logits || !m->rows)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a batch of %zu texts", n);
    for (size_t i = 0; i < n; i++) {
        struct ruvm_session *s = &m->lanes[i].s;
        *s = *m->s;
        s->engine = m->batch.engines[i];
        s->tokens = m->tokens + i * (context + 1);
        s->logits = m->logits + i * s->info.vocab;
        s->draft = NULL;
        s->n_tokens = 0;
    }
    return RUVM_OK;
}

int ruvm_generate_many(struct ruvm_session *s, const struct ruvm_many_options *o,
                       struct ruvm_error *err)
{
    struct many m = {.s = s, .o = o};
    bool few = o->n_prompts > 0 && o->n_prompts < o->batch; /* more engines would be idle */
    int rc = ruvm_batch_open(&m.batch, s, few ? (uint32_t)o->n_prompts : o->batch, err);
    if (rc == RUVM_OK)
        rc = open_lanes(&m, err);
    if (rc == RUVM_OK)
        rc = answer_all(&m);
    if (rc != RUVM_OK)
        ruvm_fail(err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
    s->n_tokens = 0;
    ruvm_engine_rewind(s->engine, 0);
    free(m.lanes);
    free(m.tokens);
    free(m.logits);
    free(m.rows);
    ruvm_batch_close(&m.batch);
    return rc;
}
