/* From a prompt to tokens of the session. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/run/chat.h"
#include "lib/run/turn.h"

enum { CUSTOMARY_START = 1 }; /* BOS where SentencePiece and llama2.c put it */

static int does_not_fit(const struct ruvm_turn *t, size_t n)
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

/* How many of the tokens the engine knows at their places; it forgets the others. */
static uint32_t keep_known(struct ruvm_turn *t, const uint16_t *ids, size_t n)
{
    const struct ruvm_session *s = t->s;
    uint32_t first = s->n_tokens, same = 0;
    while (same < n && first + same < t->known && s->tokens[first + same] == ids[same])
        same++;
    if (first + same >= t->known || ruvm_engine_rewind(s->engine, first + same) == RUVM_OK)
        return same;
    ruvm_engine_rewind(s->engine, first); /* a window has forgotten what comes before the rest */
    return 0;
}

static int append(struct ruvm_turn *t, const uint16_t *ids, size_t n)
{
    struct ruvm_session *s = t->s;
    if (s->n_tokens > s->context || n > s->context - s->n_tokens)
        return does_not_fit(t, n);
    t->r->n_reused = keep_known(t, ids, n);
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

static int encode_into(struct ruvm_turn *t, uint16_t *ids, size_t max_ids)
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

static int encode_message(struct ruvm_turn *t)
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

static int encode(struct ruvm_turn *t)
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

int ruvm_prompt_take(struct ruvm_turn *t)
{
    struct ruvm_session *s = t->s;
    if (!t->o->continue_context) {
        if (t->o->keep_prefix && s->n_tokens && t->known == 0)
            t->known = ruvm_engine_position(s->engine);
        s->n_tokens = 0;
        if (t->known == 0)
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
