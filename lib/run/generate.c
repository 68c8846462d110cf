/* One turn of generation: the prompt in, tokens out until something ends them.
 *
 * The engine is asked only for what is needed: a token that was drawn is
 * computed when another one is to follow it, so a context of n positions yields
 * one token more than there is room for. What was said stays in the session, and
 * the next turn of a conversation goes on from there. A token that ends the text
 * is counted and reported, but it is no part of the conversation.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/run/chat.h"
#include "lib/run/outlet.h"
#include "lib/run/session.h"

enum { CUSTOMARY_START = 1 }; /* BOS where SentencePiece and llama2.c put it */

struct turn {
    struct ruvm_session *s;
    const struct ruvm_generate_options *o;
    struct ruvm_generate_result *r;
    struct ruvm_error *err;
    struct ruvm_outlet outlet;
    uint16_t last; /* the token before the next one, for its text */
};

/* ---- the prompt ------------------------------------------------------------ */

static int does_not_fit(const struct turn *t, size_t n)
{
    const struct ruvm_session *s = t->s;
    if (s->n_tokens)
        return ruvm_fail(t->err, RUVM_ERR_FULL,
                         "the conversation has %u tokens and this turn %zu more, the context holds "
                         "%u: begin anew or raise --ctx (at most %u for this model)",
                         s->n_tokens, n, s->context, s->info.context);
    return ruvm_fail(t->err, RUVM_ERR_FULL,
                     "the prompt has %zu tokens, the context holds %u: shorten it or raise --ctx "
                     "(at most %u for this model)",
                     n, s->context, s->info.context);
}

static int append(struct turn *t, const uint16_t *ids, size_t n)
{
    struct ruvm_session *s = t->s;
    if (s->n_tokens > s->context || n > s->context - s->n_tokens)
        return does_not_fit(t, n);
    memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
    s->n_tokens += (uint32_t)n;
    t->r->n_prompt_tokens = (uint32_t)n;
    return RUVM_OK;
}

/* A text needs a first token to be predicted from, even an empty one. */
static uint16_t start_of(const struct ruvm_session *s)
{
    if (s->has_tokenizer && s->tokenizer.bos != RUVM_NO_PREVIOUS)
        return s->tokenizer.bos;
    return s->info.vocab > CUSTOMARY_START ? CUSTOMARY_START : 0;
}

static int encode_into(struct turn *t, uint16_t *ids, size_t max_ids)
{
    const struct ruvm_session *s = t->s;
    unsigned flags = s->n_tokens ? RUVM_ENCODE_PLAIN : 0;
    const void *text = t->o->n_prompt_bytes ? t->o->prompt : "";
    int n = ruvm_encode(&s->tokenizer, ids, max_ids, text, t->o->n_prompt_bytes, flags);
    if (n < 0)
        return ruvm_fail(t->err, n, "the vocabulary cannot express the prompt: %s",
                         ruvm_status_text(n));
    if (n == 0 && s->n_tokens == 0)
        ids[n++] = start_of(s);
    return append(t, ids, (size_t)n);
}

static int encode_message(struct turn *t)
{
    const struct ruvm_chat_turn turn = {.message = t->o->prompt,
                                        .n_bytes = t->o->n_prompt_bytes,
                                        .system = t->o->system,
                                        .first = t->s->n_tokens == 0};
    uint16_t *ids;
    size_t n;
    int rc = ruvm_chat_encode(&ids, &n, &t->s->tokenizer, &turn, t->err);
    if (rc == RUVM_OK)
        rc = append(t, ids, n);
    free(ids);
    return rc;
}

static int encode(struct turn *t)
{
    if (t->o->chat)
        return encode_message(t);
    size_t max_ids = RUVM_MAX_TOKENS(t->o->n_prompt_bytes);
    uint16_t *ids = malloc(max_ids * sizeof *ids);
    if (!ids)
        return ruvm_fail(t->err, RUVM_ERR_MEMORY, "no memory for a prompt of %zu bytes",
                         t->o->n_prompt_bytes);
    int rc = encode_into(t, ids, max_ids);
    free(ids);
    return rc;
}

static int take_prompt(struct turn *t)
{
    struct ruvm_session *s = t->s;
    if (!t->o->continue_context) {
        s->n_tokens = 0;
        ruvm_engine_rewind(s->engine, 0);
    }
    if (s->has_tokenizer)
        return encode(t);
    if (t->o->n_prompt_bytes || t->o->n_stops || !t->o->token)
        return ruvm_fail(t->err, RUVM_ERR_UNSUPPORTED,
                         "%s: has no tokenizer, so it takes and gives token ids only: quantize the "
                         "model again with --tokenizer",
                         s->file.name);
    const uint16_t start = start_of(s);
    return append(t, &start, s->n_tokens ? 0 : 1);
}

/* Computes what the engine has not seen yet; at least the last token, so that the
 * logits are those of this text whatever the engine did in between. */
static int compute(struct turn *t, double *seconds)
{
    struct ruvm_session *s = t->s;
    double start = ruvm_clock_s();
    uint32_t known = ruvm_engine_position(s->engine);
    known = known < s->n_tokens ? known : s->n_tokens - 1;
    int rc = ruvm_engine_rewind(s->engine, known);
    if (rc == RUVM_OK)
        rc = ruvm_engine_eval(s->engine, s->tokens + known, s->n_tokens - known, NULL);
    *seconds += ruvm_clock_s() - start;
    return rc == RUVM_OK ? rc : ruvm_fail(t->err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
}

/* ---- the answer ------------------------------------------------------------ */

/* Draws a token from the engine's logits, which stay as they are. The CRC is taken
 * outside the clock: it proves the generation and is no part of it. */
static uint16_t draw(struct turn *t)
{
    struct ruvm_session *s = t->s;
    const int32_t *logits = ruvm_engine_logits(s->engine);
    uint32_t vocab = s->info.vocab;
    t->r->logits_crc32 = ruvm_logits_crc(t->r->logits_crc32, logits, vocab);
    double start = ruvm_clock_s();
    memcpy(s->logits, logits, vocab * sizeof *logits);
    uint16_t id = ruvm_sample(&s->sampler, s->logits, vocab, s->tokens, s->n_tokens);
    t->r->generate_s += ruvm_clock_s() - start;
    t->r->n_tokens++;
    return id;
}

static void say(struct turn *t, uint16_t id)
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

static bool ends_text(const struct turn *t, uint16_t id)
{
    return t->s->has_tokenizer && !t->o->ignore_end && ruvm_is_end(&t->s->tokenizer, id);
}

/* Draws, keeps and says one token. True when it is the last of this turn, with the reason. */
static bool step(struct turn *t, enum ruvm_stop *stop)
{
    struct ruvm_session *s = t->s;
    uint16_t id = draw(t);
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

static int answer(struct turn *t)
{
    enum ruvm_stop stop;
    int rc = RUVM_OK;
    t->last = t->s->tokens[t->s->n_tokens - 1];
    while (rc == RUVM_OK && !step(t, &stop))
        rc = compute(t, &t->r->generate_s);
    if (rc != RUVM_OK)
        return rc;
    ruvm_outlet_end(&t->outlet);
    t->r->stop = stop;
    return RUVM_OK;
}

int ruvm_generate(struct ruvm_session *s, const struct ruvm_generate_options *o,
                  struct ruvm_generate_result *r, struct ruvm_error *err)
{
    struct turn t = {.s = s, .o = o, .r = r, .err = err};
    *r = (struct ruvm_generate_result){0};
    size_t max_put = s->has_tokenizer ? s->tokenizer.max_piece : 0;
    int rc = ruvm_outlet_open(&t.outlet, o, max_put, err);
    if (rc == RUVM_OK)
        rc = take_prompt(&t);
    if (rc == RUVM_OK)
        rc = compute(&t, &r->prompt_s);
    if (rc == RUVM_OK)
        rc = answer(&t);
    ruvm_outlet_close(&t.outlet);
    return rc;
}
