/* Pruning of tokens: rows of the embedding and the head go, and everything that names a
 * token by its id follows. */
#include <stdio.h>
#include <string.h>

#include "lib/prune/prune_job.h"
#include "lib/prune/prune_vocab.h"
#include "lib/prune/vocab_part.h"

static int choose(struct ruvm_prune_job *j, struct ruvm_vocab_part *part)
{
    const struct ruvm_text *t = &j->now.calibration;
    const struct ruvm_vocab *v = &j->now.vocab;
    bool *keep = ruvm_arena_alloc(&j->work, v->n_pieces, sizeof *keep);
    if (!keep)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u tokens", v->n_pieces);
    for (uint32_t i = 0; i < t->first[t->n_windows]; i++)
        keep[t->tokens[i]] = true;
    int rc = ruvm_prune_vocab(keep, v, &j->work, j->err);
    return rc == RUVM_OK ? ruvm_vocab_part_take(part, j->arena, v, keep, j->err) : rc;
}

static int cut_tables(struct ruvm_prune_job *j, const struct ruvm_vocab_part *part)
{
    struct ruvm_model *m = &j->now.model;
    uint32_t n = part->vocab.n_pieces;
    m->embed = ruvm_prune_rows(j, m->embed, part->old, n);
    m->head = m->tied ? m->embed : ruvm_prune_rows(j, m->head, part->old, n);
    m->vocab = n;
    return m->embed && m->head ? RUVM_OK : RUVM_ERR_MEMORY;
}

/* ---- texts ------------------------------------------------------------------ */

/* The token a window begins with, the start of a text, also begins what follows a pruned
 * token; a window that begins with a pruned one has no start left and goes on from the next. */
static void cut_window(struct ruvm_text *out, const uint32_t *token, const uint32_t *end,
                       const struct ruvm_vocab_part *part)
{
    uint32_t start = part->now[*token++];
    bool is_open = start != RUVM_VOCAB_NONE;
    if (is_open)
        ruvm_text_window(out, start);
    for (; token < end; token++) {
        uint32_t now = part->now[*token];
        if (now != RUVM_VOCAB_NONE && !is_open)
            ruvm_text_window(out, start != RUVM_VOCAB_NONE ? start : now);
        if (now != RUVM_VOCAB_NONE && (is_open || start != RUVM_VOCAB_NONE))
            ruvm_text_token(out, now);
        is_open = now != RUVM_VOCAB_NONE;
    }
}

static int cut_text(struct ruvm_prune_job *j, struct ruvm_text *t,
                    const struct ruvm_vocab_part *part)
{
    struct ruvm_text out;
    if (!ruvm_text_reserve(&out, j->arena, t->n_positions))
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the text renumbered");
    memcpy(out.source, t->source, sizeof out.source);
    for (uint32_t w = 0; w < t->n_windows; w++)
        cut_window(&out, t->tokens + t->first[w], t->tokens + t->first[w + 1], part);
    ruvm_text_window(&out, 0);
    *t = out;
    return RUVM_OK;
}

static int cut_texts(struct ruvm_prune_job *j, const struct ruvm_vocab_part *part)
{
    int rc = cut_text(j, &j->now.calibration, part);
    return rc == RUVM_OK && j->now.eval.n_windows ? cut_text(j, &j->now.eval, part) : rc;
}

/* What share of the text to measure on would have been a pruned token. */
static double share_of(const struct ruvm_text *eval, const struct ruvm_vocab_part *part)
{
    uint32_t n = eval->first[eval->n_windows], n_pruned = 0;
    for (uint32_t i = 0; i < n; i++)
        n_pruned += part->now[eval->tokens[i]] == RUVM_VOCAB_NONE;
    return (double)n_pruned / n;
}

static void describe(char *what, size_t what_bytes, const struct ruvm_prune_job *j,
                     const struct ruvm_vocab_part *part)
{
    const struct ruvm_text *eval = &j->now.eval;
    uint32_t n_old = j->now.vocab.n_pieces;
    int n = snprintf(what, what_bytes, "%u of %u tokens", n_old - part->vocab.n_pieces, n_old);
    if (eval->n_windows)
        snprintf(what + n, what_bytes - (size_t)n, ", %.2f %% of the text",
                 100.0 * share_of(eval, part));
}

int ruvm_prune_tokens(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step)
{
    struct ruvm_vocab_part part;
    int rc = choose(j, &part);
    if (rc != RUVM_OK)
        return rc;
    describe(step->what, sizeof step->what, j, &part);
    j->tokens = part.old;
    j->now.vocab = part.vocab;
    rc = cut_tables(j, &part);
    return rc == RUVM_OK ? cut_texts(j, &part) : rc;
}
