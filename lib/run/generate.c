/* One turn of generation: the prompt in, tokens out until something ends them.
 *
 * The engine is asked only for what is needed: a token that was drawn is
 * computed when another one is to follow it, so a context of n positions yields
 * one token more than there is room for. What was said stays in the session, and
 * the next turn of a conversation goes on from there. A token that ends the text
 * is counted and reported, but it is no part of the conversation.
 */

#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/run/draft.h"
#include "lib/run/knn.h"
#include "lib/run/prompt_cache.h"
#include "lib/run/turn.h"

/* Computes what the engine has not seen yet; at least the last token, so that the
 * logits are those of this text whatever the engine did in between. */
static int compute(struct ruvm_turn *t, uint32_t *n, double *seconds)
{
    struct ruvm_session *s = t->s;
    double start = ruvm_clock_s();
    uint32_t known = ruvm_engine_position(s->engine);
    known = known < s->n_tokens ? known : s->n_tokens - 1;
    if (ruvm_engine_rewind(s->engine, known) != RUVM_OK)
        ruvm_engine_rewind(s->engine, known = 0); /* a window has forgotten too much */
    *n = s->n_tokens - known;
    int rc = ruvm_engine_eval(s->engine, s->tokens + known, *n, NULL);
    *seconds += ruvm_clock_s() - start;
    return rc == RUVM_OK ? rc : ruvm_fail(t->err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
}

/* ---- the prompt ------------------------------------------------------------ */

/* Tokens that the engine knows from a file, if this turn begins anew. */
static int load_cache(struct ruvm_turn *t, bool *is_used)
{
    double start = ruvm_clock_s();
    *is_used = t->o->prompt_cache && (!t->o->continue_context || t->s->n_tokens == 0);
    if (!*is_used)
        return RUVM_OK;
    int rc = ruvm_prompt_cache_load(t->s, t->o->prompt_cache, t->r->cache_note,
                                    sizeof t->r->cache_note, t->err);
    t->known = ruvm_engine_position(t->s->engine);
    t->r->prompt_s += ruvm_clock_s() - start;
    return rc;
}

/* The prompt's tokens, computed as far as they are not known; a file that knows other ones is
 * replaced. Equal ones leave nothing to do, for the logits came with them. */
static int take_prompt(struct ruvm_turn *t)
{
    struct ruvm_session *s = t->s;
    bool caches;
    int rc = load_cache(t, &caches);
    uint32_t loaded = t->known;
    if (rc == RUVM_OK)
        rc = ruvm_prompt_take(t);
    if (rc != RUVM_OK)
        return rc;
    if (caches && loaded && t->r->n_reused == loaded && s->n_tokens == loaded)
        return RUVM_OK;
    t->r->n_reused -= t->r->n_reused == s->n_tokens;
    rc = compute(t, &t->r->n_computed, &t->r->prompt_s);
    if (rc != RUVM_OK || !caches)
        return rc;
    t->r->cache_written = true;
    return ruvm_prompt_cache_save(s, t->o->prompt_cache, t->err);
}

/* ---- the answer ------------------------------------------------------------ */

/* What a blob of states says is mixed in; the result is in the session's own copy. */
static const int32_t *mixed(struct ruvm_session *s, const int32_t *logits)
{
    memcpy(s->logits, logits, s->info.vocab * sizeof *logits);
    ruvm_run_knn_mix(s->knn, s->engine, s->logits, s->info.vocab);
    return s->logits;
}

/* One more token. What the first took is no decoding: it was drawn from the prompt's logits. */
static void count_token(struct ruvm_turn *t)
{
    struct ruvm_generate_result *r = t->r;
    if (r->n_tokens++ == 0)
        t->first_s = r->generate_s;
    r->n_decoded = r->n_tokens - 1;
    r->decode_s = r->generate_s - t->first_s;
}

/* Draws a token. The CRC is taken outside the clock: it
 * proves the generation and is no part of it. */
static uint16_t draw(struct ruvm_turn *t, const int32_t *logits)
{
    struct ruvm_session *s = t->s;
    uint32_t vocab = s->info.vocab;
    double start = ruvm_clock_s();
    if (s->knn)
        logits = mixed(s, logits);
    t->r->generate_s += ruvm_clock_s() - start;
    if (!t->o->no_crc)
        t->r->logits_crc32 = ruvm_logits_crc(t->r->logits_crc32, logits, vocab);
    start = ruvm_clock_s();
    uint16_t id = ruvm_session_sample(s, logits);
    t->r->generate_s += ruvm_clock_s() - start;
    count_token(t);
    return id;
}

static void say(struct ruvm_turn *t, uint16_t id)
{
    const struct ruvm_tokenizer *tokenizer = &t->s->tokenizer;
    size_t n;
    if (!t->s->has_tokenizer)
        return;
    const uint8_t *bytes = ruvm_decode(tokenizer, t->last, id, &n);
    if (!ruvm_is_end(tokenizer, id))
        ruvm_outlet_put(&t->outlet, bytes, n);
    t->last = id;
}

static bool ends_text(const struct ruvm_turn *t, uint16_t id)
{
    return t->s->has_tokenizer && !t->o->ignore_end && ruvm_is_end(&t->s->tokenizer, id);
}

bool ruvm_turn_step(struct ruvm_turn *t, const int32_t *logits, enum ruvm_stop *stop)
{
    struct ruvm_session *s = t->s;
    uint16_t id = draw(t, logits);
    bool refused = t->o->token && t->o->token(t->o->user, id) != 0;
    bool ended = ends_text(t, id);
    if (!ended)
        s->tokens[s->n_tokens++] = id;
    if (!ended && !refused)
        say(t, id);
    if (ended)
        *stop = RUVM_STOP_END;
    else if (t->outlet.stopped)
        *stop = RUVM_STOP_STRING;
    else if (refused || t->outlet.refused)
        *stop = RUVM_STOP_CALLER;
    else if (t->r->n_tokens == t->o->n_tokens)
        *stop = RUVM_STOP_COUNT;
    else if (s->n_tokens > s->context)
        *stop = RUVM_STOP_CONTEXT;
    else
        return false;
    return true;
}

/* Tokens that may still be drawn after the next one, and have room in the context. */
static uint32_t room_for_guesses(const struct ruvm_turn *t)
{
    const struct ruvm_session *s = t->s;
    uint32_t wanted = t->o->n_tokens ? t->o->n_tokens - t->r->n_tokens - 1 : UINT32_MAX;
    uint32_t room = s->context - s->n_tokens;
    return wanted < room ? wanted : room;
}

/* Draws from the logits behind each guess as long as the guesses are what is drawn; then the
 * engine forgets the others. True at the end of the turn. */
static bool accept(struct ruvm_turn *t, uint32_t n, enum ruvm_stop *stop)
{
    struct ruvm_session *s = t->s;
    const int32_t *logits = s->draft->rows;
    uint32_t first = s->n_tokens, right = 0;
    bool done = false, matches = true;
    for (; matches && !done; logits += s->info.vocab) {
        uint16_t guess = right < n ? s->tokens[first + right] : 0;
        done = ruvm_turn_step(t, logits, stop);
        matches =
            right < n && s->n_tokens == first + right + 1 && s->tokens[first + right] == guess;
        right += matches;
    }
    ruvm_engine_rewind(s->engine, first + right);
    t->r->drafts.n_rounds++;
    t->r->drafts.n_tokens += n;
    t->r->drafts.n_accepted += right;
    ruvm_draft_learn(s->draft, n, right);
    return done;
}

/* The tokens that are not computed yet and n guesses behind them, as a block. */
static int compute_guesses(struct ruvm_turn *t, uint32_t n)
{
    struct ruvm_session *s = t->s;
    double start = ruvm_clock_s();
    uint32_t known = s->n_tokens - 1;
    int rc = ruvm_engine_rewind(s->engine, known);
    if (rc == RUVM_OK)
        rc = ruvm_engine_eval(s->engine, s->tokens + known, n + 1, s->draft->rows);
    t->r->generate_s += ruvm_clock_s() - start;
    return rc == RUVM_OK ? rc : ruvm_fail(t->err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
}

static uint32_t guess(struct ruvm_turn *t)
{
    struct ruvm_draft *d = t->s->draft;
    if (!d || !ruvm_pace_wants_draft(&d->pace))
        return 0;
    double start = ruvm_clock_s();
    uint32_t n = ruvm_draft_guess(d, t->s, room_for_guesses(t));
    t->r->generate_s += ruvm_clock_s() - start;
    return n;
}

/* Computes what the next token needs and draws it, and further ones that were guessed. */
static int round_of(struct ruvm_turn *t, bool *done, enum ruvm_stop *stop)
{
    struct ruvm_session *s = t->s;
    double start = t->r->generate_s;
    uint32_t before = t->r->n_tokens, n = guess(t), n_computed;
    int rc = n ? compute_guesses(t, n) : compute(t, &n_computed, &t->r->generate_s);
    if (rc != RUVM_OK)
        return rc;
    *done = n ? accept(t, n, stop) : ruvm_turn_step(t, ruvm_engine_logits(s->engine), stop);
    if (s->draft)
        ruvm_pace_note(&s->draft->pace, n != 0, t->r->n_tokens - before, t->r->generate_s - start);
    return RUVM_OK;
}

static int answer(struct ruvm_turn *t)
{
    struct ruvm_session *s = t->s;
    enum ruvm_stop stop;
    int rc = RUVM_OK;
    uint32_t n_off = s->draft ? s->draft->pace.n_off : 0;
    t->last = s->tokens[s->n_tokens - 1];
    bool done = ruvm_turn_step(t, ruvm_engine_logits(s->engine), &stop);
    while (rc == RUVM_OK && !done)
        rc = round_of(t, &done, &stop);
    if (rc != RUVM_OK)
        return rc;
    ruvm_outlet_end(&t->outlet);
    t->r->stop = stop;
    t->r->drafts.n_switched_off = s->draft ? s->draft->pace.n_off - n_off : 0;
    return RUVM_OK;
}

int ruvm_turn_begin(struct ruvm_turn *t)
{
    size_t max_put = t->s->has_tokenizer ? t->s->tokenizer.max_piece : 0;
    return ruvm_outlet_open(&t->outlet, t->o, max_put, t->err);
}

int ruvm_generate(struct ruvm_session *s, const struct ruvm_generate_options *o,
                  struct ruvm_generate_result *r, struct ruvm_error *err)
{
    struct ruvm_turn t = {.s = s, .o = o, .r = r, .err = err};
    *r = (struct ruvm_generate_result){0};
    int rc = ruvm_turn_begin(&t);
    if (rc == RUVM_OK)
        rc = take_prompt(&t);
    if (rc == RUVM_OK)
        rc = answer(&t);
    ruvm_outlet_close(&t.outlet);
    return rc;
}
