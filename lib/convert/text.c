/* Cuts a text into windows of tokens, each as long as the context allows.
 *
 * A stream is encoded once and cut anywhere; the start token is put before each
 * piece and every token is predicted exactly once. Documents are encoded one by
 * one, because a window must begin where a text begins.
 */
#define _GNU_SOURCE /* memmem */
#include "lib/convert/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/base/file.h"

#define DOCUMENT_END "\n<|end|>\n"

/* first[] has room for a window a prediction, the one being made and its end. */
bool ruvm_text_reserve(struct ruvm_text *t, struct ruvm_arena *arena, uint64_t max_positions)
{
    *t = (struct ruvm_text){0};
    t->tokens = ruvm_arena_alloc(arena, 2 * max_positions + 2, sizeof *t->tokens);
    t->first = ruvm_arena_alloc(arena, max_positions + 2, sizeof *t->first);
    return t->tokens && t->first && max_positions < UINT32_MAX / 2;
}

uint32_t ruvm_text_length(const struct ruvm_text *t)
{
    return (uint32_t)(t->n_tokens - t->first[t->n_windows]);
}

void ruvm_text_window(struct ruvm_text *t, uint32_t start)
{
    if (ruvm_text_length(t) > 1)
        t->first[++t->n_windows] = (uint32_t)t->n_tokens;
    t->n_tokens = t->first[t->n_windows];
    t->tokens[t->n_tokens++] = start;
}

void ruvm_text_token(struct ruvm_text *t, uint32_t token)
{
    t->tokens[t->n_tokens++] = token;
    t->n_positions++;
}

/* Each window adds its share of n to the room there is, and is taken once it fits whole. The
 * last one is cut: it may be the only one. */
static void spread(struct ruvm_text *out, const struct ruvm_text *t, uint64_t n)
{
    for (uint32_t w = 0; w < t->n_windows; w++) {
        const uint32_t *token = t->tokens + t->first[w];
        uint64_t room = n * (w + 1) / t->n_windows - out->n_positions;
        uint64_t here = t->first[w + 1] - t->first[w] - 1;
        if (here > room && w + 1 == t->n_windows)
            here = room;
        if (here > room)
            continue;
        ruvm_text_window(out, *token++);
        for (uint64_t i = 0; i < here; i++)
            ruvm_text_token(out, *token++);
    }
    ruvm_text_window(out, t->tokens[0]);
}

int ruvm_text_spread(struct ruvm_text *out, struct ruvm_arena *arena, const struct ruvm_text *t,
                     uint64_t n, struct ruvm_error *err)
{
    *out = *t;
    if (t->n_positions <= n)
        return RUVM_OK;
    if (!ruvm_text_reserve(out, arena, n))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a part of the text");
    memcpy(out->source, t->source, sizeof out->source);
    spread(out, t, n);
    return RUVM_OK;
}

/* What is needed while a file becomes windows. */
struct cutter {
    struct ruvm_text *text;
    const struct ruvm_text_options *o;
    const struct ruvm_tokenizer *tokenizer; /* with joins: a long text is cut for speed */
    const uint32_t *old;                    /* the source's ids, or NULL */
    const char *path;
    uint16_t *ids; /* room for the tokens of all the bytes */
    size_t max_ids;
    struct ruvm_error *err;
};

bool ruvm_text_is_full(const struct ruvm_text *t, const struct ruvm_text_options *o)
{
    return o->max_positions != 0 && t->n_positions >= o->max_positions;
}

/* The start token that ruvm_encode put first, or the customary one when it puts none. */
static uint32_t start_of(const struct ruvm_tokenizer *t, const uint32_t *old)
{
    if (t->bos != RUVM_NO_TOKEN)
        return old ? old[t->bos] : t->bos;
    return t->n_pieces > 1 ? 1 : 0;
}

static void append(struct cutter *c, uint32_t token)
{
    if (ruvm_text_is_full(c->text, c->o))
        return;
    if (ruvm_text_length(c->text) > c->o->context)
        ruvm_text_window(c->text, start_of(c->tokenizer, c->old));
    ruvm_text_token(c->text, token);
}

/* One document, or the whole stream. */
static int cut(struct cutter *c, const char *bytes, size_t n_bytes, size_t line)
{
    const struct ruvm_tokenizer *tok = c->tokenizer;
    int n = ruvm_encode(tok, c->ids, c->max_ids, bytes, n_bytes, 0);
    if (n < 0)
        return ruvm_fail(c->err, n,
                         "%s: text at line %zu: holds a character that the "
                         "vocabulary has no token for; use a text in the model's language",
                         c->path, line);
    bool has_bos = n > 0 && (tok->flags & RUVM_TOKN_FLAG_ADD_BOS) && tok->bos != RUVM_NO_TOKEN;
    ruvm_text_window(c->text, start_of(tok, c->old));
    for (int i = has_bos ? 1 : 0; i < n; i++)
        append(c, c->old ? c->old[c->ids[i]] : c->ids[i]);
    if (c->o->documents)
        append(c, start_of(tok, c->old));
    return RUVM_OK;
}

static size_t count_lines(const char *from, const char *to)
{
    size_t n = 0;
    for (; from < to; from++)
        n += *from == '\n';
    return n;
}

static int cut_documents(struct cutter *c, const char *bytes, size_t n_bytes, size_t line)
{
    const size_t mark = strlen(DOCUMENT_END);
    const char *end = bytes + n_bytes;
    int rc = RUVM_OK;
    while (bytes < end && rc == RUVM_OK && !ruvm_text_is_full(c->text, c->o)) {
        const char *stop = memmem(bytes, (size_t)(end - bytes), DOCUMENT_END, mark);
        const char *next = stop ? stop + mark : end;
        size_t n = (size_t)((stop ? stop : end) - bytes);
        if (n > 0)
            rc = cut(c, bytes, n, line);
        line += count_lines(bytes, next);
        bytes = next;
    }
    return rc;
}

/* Bytes of the file that can matter: a token covers max_piece bytes at most. The slack
 * keeps the end of what is encoded away from the last token that is used. */
static size_t useful_bytes(const struct ruvm_text_options *o, size_t size)
{
    uint64_t n = (o->max_positions + 256) * o->tokenizer->max_piece;
    bool whole = o->documents || o->max_positions == 0 || n > size;
    return whole ? size : (size_t)n;
}

int ruvm_text_add(struct ruvm_text *t, const struct ruvm_text_options *o, const uint32_t *old,
                  const char *path, const char *bytes, size_t n_bytes, size_t line,
                  struct ruvm_error *err)
{
    uint8_t joins[8192];
    struct ruvm_tokenizer tok = *o->tokenizer;
    struct cutter c = {.text = t, .o = o, .tokenizer = &tok, .old = old, .path = path, .err = err};
    ruvm_tokenizer_joins(&tok, joins);
    c.max_ids = RUVM_MAX_TOKENS(n_bytes);
    c.ids = malloc(c.max_ids * sizeof *c.ids);
    if (!c.ids)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short for %zu bytes of text", path,
                         n_bytes);
    int rc = o->documents ? cut_documents(&c, bytes, n_bytes, line) : cut(&c, bytes, n_bytes, line);
    free(c.ids);
    return rc;
}

/* ---- files ------------------------------------------------------------------ */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int ruvm_text_end(struct ruvm_text *t, uint32_t start, const char *path, struct ruvm_error *err)
{
    ruvm_text_window(t, start);
    if (t->n_positions == 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: holds no text; give some to measure on", path);
    snprintf(t->source, sizeof t->source, "%s", base_name(path));
    return RUVM_OK;
}

static int cut_file(struct ruvm_text *t, struct ruvm_arena *arena, const struct ruvm_map *map,
                    const char *path, const struct ruvm_text_options *o, struct ruvm_error *err)
{
    size_t size = useful_bytes(o, map->size);
    uint64_t max = RUVM_MAX_TOKENS((uint64_t)size) + 1; /* and the end of a document */
    if (o->max_positions != 0 && o->max_positions < max)
        max = o->max_positions;
    if (!ruvm_text_reserve(t, arena, max))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short for its %zu bytes of text",
                         path, map->size);
    return ruvm_text_add(t, o, NULL, path, (const char *)map->data, size, 1, err);
}

int ruvm_text_read(struct ruvm_text *t, struct ruvm_arena *arena, const char *path,
                   const struct ruvm_text_options *o, struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = cut_file(t, arena, &map, path, o, err);
    ruvm_file_unmap(&map);
    return rc == RUVM_OK ? ruvm_text_end(t, start_of(o->tokenizer, NULL), path, err) : rc;
}
