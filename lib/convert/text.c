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

void ruvm_text_window(struct ruvm_text *t, uint16_t start)
{
    if (ruvm_text_length(t) > 1)
        t->first[++t->n_windows] = (uint32_t)t->n_tokens;
    t->n_tokens = t->first[t->n_windows];
    t->tokens[t->n_tokens++] = start;
}

void ruvm_text_token(struct ruvm_text *t, uint16_t token)
{
    t->tokens[t->n_tokens++] = token;
    t->n_positions++;
}

/* Each window adds its share of n to the room there is, and is taken once it fits whole. The
 * last one is cut: it may be the only one. */
static void spread(struct ruvm_text *out, const struct ruvm_text *t, uint64_t n)
{
    for (uint32_t w = 0; w < t->n_windows; w++) {
        const uint16_t *token = t->tokens + t->first[w];
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
    const char *path;
    uint16_t *ids; /* room for the tokens of the whole file */
    size_t max_ids;
    struct ruvm_error *err;
};

static bool is_full(const struct cutter *c)
{
    return c->o->max_positions != 0 && c->text->n_positions >= c->o->max_positions;
}

/* The start token that ruvm_encode put first, or the customary one when it puts none. */
static uint16_t start_of(const struct ruvm_tokenizer *t)
{
    return t->bos != RUVM_NO_TOKEN ? t->bos : t->n_pieces > 1 ? 1 : 0;
}

static void append(struct cutter *c, uint16_t token)
{
    if (is_full(c))
        return;
    if (ruvm_text_length(c->text) > c->o->context)
        ruvm_text_window(c->text, start_of(c->tokenizer));
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
    ruvm_text_window(c->text, start_of(tok));
    for (int i = has_bos ? 1 : 0; i < n; i++)
        append(c, c->ids[i]);
    if (c->o->documents)
        append(c, start_of(tok));
    return RUVM_OK;
}

static size_t count_lines(const char *from, const char *to)
{
    size_t n = 0;
    for (; from < to; from++)
        n += *from == '\n';
    return n;
}

static int cut_documents(struct cutter *c, const char *bytes, size_t n_bytes)
{
    const size_t mark = strlen(DOCUMENT_END);
    const char *end = bytes + n_bytes;
    int rc = RUVM_OK;
    for (size_t line = 1; bytes < end && rc == RUVM_OK && !is_full(c);) {
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

static int cut_file(struct cutter *c, struct ruvm_arena *arena, const struct ruvm_map *map)
{
    size_t size = useful_bytes(c->o, map->size);
    uint64_t max = RUVM_MAX_TOKENS((uint64_t)size) + 1; /* and the end of a document */
    c->max_ids = (size_t)max;
    c->ids = malloc(c->max_ids * sizeof *c->ids);
    if (c->o->max_positions != 0 && c->o->max_positions < max)
        max = c->o->max_positions;
    int rc;
    if (!c->ids || !ruvm_text_reserve(c->text, arena, max))
        rc = ruvm_fail(c->err, RUVM_ERR_MEMORY, "%s: memory is short for its %zu bytes of text",
                       c->path, map->size);
    else if (c->o->documents)
        rc = cut_documents(c, (const char *)map->data, size);
    else
        rc = cut(c, (const char *)map->data, size, 1);
    free(c->ids);
    return rc;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int ruvm_text_read(struct ruvm_text *t, struct ruvm_arena *arena, const char *path,
                   const struct ruvm_text_options *o, struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    uint8_t joins[8192];
    struct ruvm_tokenizer tokenizer = *o->tokenizer;
    ruvm_tokenizer_joins(&tokenizer, joins);
    struct cutter c = {.text = t, .o = o, .tokenizer = &tokenizer, .path = path, .err = err};
    rc = cut_file(&c, arena, &map);
    ruvm_file_unmap(&map);
    if (rc != RUVM_OK)
        return rc;
    ruvm_text_window(t, start_of(o->tokenizer));
    if (t->n_positions == 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: holds no text; give some to measure on", path);
    snprintf(t->source, sizeof t->source, "%s", base_name(path));
    return RUVM_OK;
}
