/* Guesses from the text (prompt lookup) and from a draft model.
 *
 * The model draws its guess with a copy of the target's sampler, random state included: the
 * same random number against nearly the same distribution mostly gives the same token, so
 * that drafts pay at any temperature.
 */
#include "lib/run/draft.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/core/engine.h"

/* Tokens at the end of the text that are looked for: one alone says too little. */
enum { SHORTEST_GRAM = 2, LONGEST_GRAM = 4, FIRST_LENGTH = 4 };

/* ---- opening --------------------------------------------------------------- */

static bool same_tokens(const struct ruvm_session *a, const struct ruvm_session *b)
{
    const struct ruvm_image *x = &a->engine->img, *y = &b->engine->img;
    if (x->vocab != y->vocab || x->tokn_bytes != y->tokn_bytes)
        return false;
    return x->tokn_bytes == 0 || memcmp(x->tokn, y->tokn, x->tokn_bytes) == 0;
}

static int open_model(struct ruvm_draft *d, const struct ruvm_session *s,
                      const struct ruvm_session_options *o, struct ruvm_error *err)
{
    const struct ruvm_session_options model = {
        .model = o->draft, .block = o->block, .threads = 1, .kernels = o->kernels};
    int rc = ruvm_session_open_within(&d->model, &model, s->context, err);
    if (rc != RUVM_OK || same_tokens(s, d->model))
        return rc;
    return ruvm_fail(err, RUVM_ERR_ARG,
                     "%s: cannot draft for %s, whose tokens are others (%u and %u of them): make "
                     "both images with the same tokenizer",
                     d->model->file.name, s->file.name, d->model->info.vocab, s->info.vocab);
}

static int set_up(struct ruvm_draft *d, const struct ruvm_session *s,
                  const struct ruvm_session_options *o, struct ruvm_error *err)
{
    d->most = o->draft_tokens ? o->draft_tokens : RUVM_DRAFT_DEFAULT;
    if (d->most > RUVM_DRAFT_MAX)
        return ruvm_fail(err, RUVM_ERR_ARG, "a draft of %u tokens is too long: %d at most", d->most,
                         RUVM_DRAFT_MAX);
    d->length = d->most < FIRST_LENGTH ? d->most : FIRST_LENGTH;
    d->rows = calloc((size_t)(d->most + 1) * s->info.vocab, sizeof *d->rows);
    if (!d->rows)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for drafts of %u tokens", d->most);
    return strcmp(o->draft, "ngram") == 0 ? RUVM_OK : open_model(d, s, o, err);
}

int ruvm_draft_open(struct ruvm_draft **draft, const struct ruvm_session *s,
                    const struct ruvm_session_options *o, struct ruvm_error *err)
{
    struct ruvm_draft *d = calloc(1, sizeof *d);
    *draft = NULL;
    if (!d)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for drafts");
    int rc = set_up(d, s, o, err);
    if (rc == RUVM_OK)
        *draft = d;
    else
        ruvm_draft_close(d);
    return rc;
}

void ruvm_draft_close(struct ruvm_draft *d)
{
    if (!d)
        return;
    ruvm_session_close(d->model);
    free(d->rows);
    free(d);
}

/* ---- from the text --------------------------------------------------------- */

/* How many tokens before a and b, LONGEST_GRAM at most, are equal; a < b. */
static uint32_t equal_before(const uint16_t *tokens, uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    while (n < LONGEST_GRAM && n < a && tokens[a - 1 - n] == tokens[b - 1 - n])
        n++;
    return n;
}

/* Where the last tokens stood before, as many of them as possible and as late as possible;
 * 0: nowhere. */
static uint32_t find_gram(const uint16_t *tokens, uint32_t n_tokens)
{
    uint32_t best = 0, longest = SHORTEST_GRAM - 1;
    for (uint32_t at = n_tokens; at-- > 1 && longest < LONGEST_GRAM;) {
        uint32_t n = equal_before(tokens, at, n_tokens);
        if (n > longest) {
            longest = n;
            best = at;
        }
    }
    return best;
}

/* What followed there; the copy may run into itself, which repeats a period. */
static uint32_t guess_text(struct ruvm_session *s, uint32_t most)
{
    uint32_t from = find_gram(s->tokens, s->n_tokens);
    if (from == 0)
        return 0;
    for (uint32_t i = 0; i < most; i++)
        s->tokens[s->n_tokens + i] = s->tokens[from + i];
    return most;
}

/* ---- from a model ---------------------------------------------------------- */

/* Computes of the text what the model has not seen, at least its last token. */
static int catch_up(struct ruvm_session *m, const struct ruvm_session *s)
{
    uint32_t known = ruvm_engine_position(m->engine), same = 0;
    while (same < known && same + 1 < s->n_tokens && m->tokens[same] == s->tokens[same])
        same++;
    memcpy(m->tokens, s->tokens, s->n_tokens * sizeof *m->tokens);
    m->n_tokens = s->n_tokens;
    ruvm_engine_rewind(m->engine, same);
    return ruvm_engine_eval(m->engine, m->tokens + same, m->n_tokens - same, NULL);
}

static uint32_t guess_model(struct ruvm_session *m, struct ruvm_session *s, uint32_t most)
{
    m->sampler = s->sampler;
    if (s->n_tokens > m->context)
        return 0;
    uint32_t room = m->context + 1 - s->n_tokens;
    most = most < room ? most : room;
    int rc = catch_up(m, s);
    for (uint32_t i = 0; i < most; i++) {
        if (i)
            rc = ruvm_engine_eval(m->engine, &m->tokens[m->n_tokens - 1], 1, NULL);
        if (rc != RUVM_OK)
            return i;
        uint16_t id = ruvm_session_sample(m, ruvm_engine_logits(m->engine));
        m->tokens[m->n_tokens++] = s->tokens[s->n_tokens + i] = id;
    }
    return most;
}

/* ---- both ------------------------------------------------------------------ */

uint32_t ruvm_draft_guess(struct ruvm_draft *d, struct ruvm_session *s, uint32_t most)
{
    most = most < d->length ? most : d->length;
    if (most == 0)
        return 0;
    return d->model ? guess_model(d->model, s, most) : guess_text(s, most);
}

void ruvm_draft_learn(struct ruvm_draft *d, uint32_t n, uint32_t n_right)
{
    uint32_t length = n_right == n ? (n < d->length ? d->length : d->length + 2) : n_right + 1;
    d->length = length < d->most ? length : d->most;
}
