/* States: a session whose engine reads texts token by token. */
#include "lib/bundle/states.h"

#include <stdlib.h>
#include <string.h>

#include "formats/rag_layout.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/run/session.h"

struct ruvm_states {
    struct ruvm_session *session;
    uint32_t crc;
    int32_t *state; /* [dims] */
};

static int check(const struct ruvm_states *s, struct ruvm_error *err)
{
    const struct ruvm_session *session = s->session;
    uint32_t dims = session->info.dim;
    if (!session->has_tokenizer)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: has no tokenizer to read text with: quantize the model again with "
                         "--tokenizer",
                         session->file.name);
    if (dims < RUVM_RAG_MIN_DIMS || dims > RUVM_RAG_MAX_DIMS)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: has states of %u dimensions: vectors of a blob have %d to %d",
                         session->file.name, dims, RUVM_RAG_MIN_DIMS, RUVM_RAG_MAX_DIMS);
    return RUVM_OK;
}

int ruvm_states_open(struct ruvm_states **states, const char *model, struct ruvm_error *err)
{
    const struct ruvm_session_options o = {.model = model};
    struct ruvm_states *s = calloc(1, sizeof *s);
    *states = NULL;
    if (!s)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a model's states");
    int rc = ruvm_session_open(&s->session, &o, err);
    if (rc == RUVM_OK)
        rc = check(s, err);
    if (rc == RUVM_OK) {
        s->crc = ruvm_crc32(0, s->session->file.data, s->session->file.size);
        s->state = calloc(s->session->info.dim, sizeof *s->state);
        if (!s->state)
            rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a model's states");
    }
    if (rc == RUVM_OK)
        *states = s;
    else
        ruvm_states_close(s);
    return rc;
}

void ruvm_states_close(struct ruvm_states *s)
{
    if (!s)
        return;
    ruvm_session_close(s->session);
    free(s->state);
    free(s);
}

struct ruvm_session *ruvm_states_session(struct ruvm_states *s)
{
    return s->session;
}

uint32_t ruvm_states_dims(const struct ruvm_states *s)
{
    return s->session->info.dim;
}

uint32_t ruvm_states_crc(const struct ruvm_states *s)
{
    return s->crc;
}

uint32_t ruvm_states_bytes(const struct ruvm_states *s)
{
    return (uint32_t)s->session->file.size;
}

int ruvm_states_walk(struct ruvm_states *s, const uint16_t *tokens, uint32_t n,
                     const struct ruvm_states_sink *sink, struct ruvm_error *err)
{
    struct ruvm_engine *e = s->session->engine;
    int rc = ruvm_engine_rewind(e, 0);
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++) {
        rc = ruvm_engine_eval(e, &tokens[i], 1, NULL);
        if (rc != RUVM_OK)
            break;
        ruvm_engine_hidden(e, s->state);
        if (sink->take(sink->context, i, s->state))
            return ruvm_fail(err, RUVM_ERR_IO, "interrupted");
    }
    return rc == RUVM_OK
               ? rc
               : ruvm_fail(err, rc, "%s: %s", s->session->file.name, ruvm_status_text(rc));
}

/* ---- the mean ------------------------------------------------------------------------- */

struct pool {
    int64_t *sum; /* [dims] */
    uint32_t dims;
};

static int add_state(void *context, uint32_t i, const int32_t *state)
{
    struct pool *p = context;
    (void)i;
    for (uint32_t d = 0; d < p->dims; d++)
        p->sum[d] += state[d];
    return 0;
}

static int pool_text(struct ruvm_states *s, struct pool *p, uint16_t *ids, const char *text,
                     size_t n, uint32_t *n_tokens, struct ruvm_error *err)
{
    const struct ruvm_states_sink sink = {add_state, p};
    uint32_t context = s->session->context;
    int n_ids = ruvm_encode(&s->session->tokenizer, ids, RUVM_MAX_TOKENS(n), n ? text : "", n, 0);
    int rc = n_ids < 0 ? n_ids : RUVM_OK;
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: its vocabulary cannot express a text: %s",
                         s->session->file.name, ruvm_status_text(rc));
    *n_tokens = (uint32_t)n_ids;
    for (uint32_t i = 0; rc == RUVM_OK && i < *n_tokens; i += context)
        rc = ruvm_states_walk(s, ids + i, *n_tokens - i < context ? *n_tokens - i : context, &sink,
                              err);
    return rc;
}

int ruvm_states_embed(struct ruvm_states *s, int32_t *x, const char *text, size_t n,
                      struct ruvm_error *err)
{
    struct pool p = {.dims = ruvm_states_dims(s)};
    uint32_t n_tokens = 0;
    uint16_t *ids = malloc(RUVM_MAX_TOKENS(n) * sizeof *ids);
    p.sum = calloc(p.dims, sizeof *p.sum);
    int rc = ids && p.sum ? pool_text(s, &p, ids, text, n, &n_tokens, err)
                          : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a text of %zu bytes", n);
    for (uint32_t d = 0; rc == RUVM_OK && d < p.dims; d++)
        x[d] = n_tokens ? (int32_t)(p.sum[d] / n_tokens) : 0;
    free(ids);
    free(p.sum);
    return rc;
}
