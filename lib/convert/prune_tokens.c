/* Pruning of tokens: rows of the embedding and the head go, and everything that names a
 * token by its id follows. */
#include <stdio.h>
#include <string.h>

#include "lib/convert/prune_job.h"
#include "lib/convert/prune_vocab.h"

struct renumbering {
    bool *keep;    /* [n_old] */
    uint32_t *old; /* [n_new] the id that each new one had */
    uint16_t *now; /* [n_old] the new id, or RUVM_NO_TOKEN */
    uint32_t n_old, n_new;
};

static int choose(struct ruvm_prune_job *j, struct renumbering *r)
{
    const struct ruvm_text *t = &j->now.calibration;
    r->n_old = j->now.vocab.n_pieces;
    r->keep = ruvm_arena_alloc(&j->work, r->n_old, sizeof *r->keep);
    r->now = ruvm_arena_alloc(&j->work, r->n_old, sizeof *r->now);
    r->old = ruvm_arena_alloc(j->arena, r->n_old, sizeof *r->old);
    if (!r->keep || !r->now || !r->old)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u tokens", r->n_old);
    for (uint32_t i = 0; i < t->first[t->n_windows]; i++)
        r->keep[t->tokens[i]] = true;
    int rc = ruvm_prune_vocab(r->keep, &j->now.vocab, &j->work, j->err);
    for (uint32_t i = 0; i < r->n_old; i++) {
        r->now[i] = r->keep[i] ? (uint16_t)r->n_new : RUVM_NO_TOKEN;
        if (r->keep[i])
            r->old[r->n_new++] = i;
    }
    return rc;
}

/* ---- the model and the vocabulary ------------------------------------------- */

static int cut_tables(struct ruvm_prune_job *j, const struct renumbering *r)
{
    struct ruvm_model *m = &j->now.model;
    m->embed = ruvm_prune_rows(j, m->embed, r->old, r->n_new);
    m->head = m->tied ? m->embed : ruvm_prune_rows(j, m->head, r->old, r->n_new);
    m->vocab = r->n_new;
    return m->embed && m->head ? RUVM_OK : RUVM_ERR_MEMORY;
}

static uint32_t renumbered(const struct renumbering *r, uint32_t id)
{
    return id < r->n_old ? r->now[id] : RUVM_NO_TOKEN;
}

/* Those merges whose three tokens are still there, in their order. */
static int cut_merges(struct ruvm_prune_job *j, const struct renumbering *r)
{
    struct ruvm_vocab *v = &j->now.vocab;
    struct ruvm_merge *merges = ruvm_arena_alloc(j->arena, v->n_merges + 1u, sizeof *merges);
    uint32_t n = 0;
    if (!merges)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u merges", v->n_merges);
    for (uint32_t i = 0; i < v->n_merges; i++) {
        const struct ruvm_merge *m = &v->merges[i];
        if (r->keep[m->left] && r->keep[m->right] && r->keep[m->result])
            merges[n++] = (struct ruvm_merge){r->now[m->left], r->now[m->right], r->now[m->result]};
    }
    v->merges = merges;
    v->n_merges = n;
    return RUVM_OK;
}

static int cut_vocab(struct ruvm_prune_job *j, const struct renumbering *r)
{
    struct ruvm_vocab *v = &j->now.vocab;
    struct ruvm_piece *pieces = ruvm_arena_alloc(j->arena, r->n_new, sizeof *pieces);
    if (!pieces)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u tokens", r->n_new);
    for (uint32_t i = 0; i < r->n_new; i++)
        pieces[i] = v->pieces[r->old[i]];
    v->pieces = pieces;
    v->n_pieces = r->n_new;
    v->bos = renumbered(r, v->bos);
    v->eos = renumbered(r, v->eos);
    v->unk = renumbered(r, v->unk);
    for (uint32_t i = 0; i < v->n_ends; i++)
        v->ends[i] = renumbered(r, v->ends[i]);
    return cut_merges(j, r);
}

/* ---- texts ------------------------------------------------------------------ */

/* The token a window begins with, the start of a text, also begins what follows a pruned
 * token; a window that begins with a pruned one has no start left and goes on from the next. */
static void cut_window(struct ruvm_text *out, const uint16_t *token, const uint16_t *end,
                       const struct renumbering *r)
{
    uint16_t start = r->now[*token++];
    bool is_open = start != RUVM_NO_TOKEN;
    if (is_open)
        ruvm_text_window(out, start);
    for (; token < end; token++) {
        uint16_t now = r->now[*token];
        if (now != RUVM_NO_TOKEN && !is_open)
            ruvm_text_window(out, start != RUVM_NO_TOKEN ? start : now);
        if (now != RUVM_NO_TOKEN && (is_open || start != RUVM_NO_TOKEN))
            ruvm_text_token(out, now);
        is_open = now != RUVM_NO_TOKEN;
    }
}

static int cut_text(struct ruvm_prune_job *j, struct ruvm_text *t, const struct renumbering *r)
{
    struct ruvm_text out;
    if (!ruvm_text_reserve(&out, j->arena, t->n_positions))
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the text renumbered");
    memcpy(out.source, t->source, sizeof out.source);
    for (uint32_t w = 0; w < t->n_windows; w++)
        cut_window(&out, t->tokens + t->first[w], t->tokens + t->first[w + 1], r);
    ruvm_text_window(&out, 0);
    *t = out;
    return RUVM_OK;
}

static int cut_texts(struct ruvm_prune_job *j, const struct renumbering *r)
{
    int rc = cut_text(j, &j->now.calibration, r);
    return rc == RUVM_OK && j->now.eval.n_windows ? cut_text(j, &j->now.eval, r) : rc;
}

/* What share of the text to measure on would have been a pruned token. */
static double share_of(const struct ruvm_text *eval, const struct renumbering *r)
{
    uint32_t n = eval->first[eval->n_windows], n_pruned = 0;
    for (uint32_t i = 0; i < n; i++)
        n_pruned += r->now[eval->tokens[i]] == RUVM_NO_TOKEN;
    return (double)n_pruned / n;
}

static void describe(char *what, size_t what_bytes, const struct ruvm_text *eval,
                     const struct renumbering *r)
{
    int n = snprintf(what, what_bytes, "%u of %u tokens", r->n_old - r->n_new, r->n_old);
    if (eval->n_windows)
        snprintf(what + n, what_bytes - (size_t)n, ", %.2f %% of the text",
                 100.0 * share_of(eval, r));
}

int ruvm_prune_tokens(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step)
{
    struct renumbering r = {0};
    int rc = choose(j, &r);
    if (rc != RUVM_OK)
        return rc;
    describe(step->what, sizeof step->what, &j->now.eval, &r);
    j->tokens = r.old;
    rc = cut_tables(j, &r);
    if (rc == RUVM_OK)
        rc = cut_vocab(j, &r);
    return rc == RUVM_OK ? cut_texts(j, &r) : rc;
}
