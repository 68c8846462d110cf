/* JSONL: an object a line, "text" its passage and the rest its metadata.
 *
 * "title" or "heading" becomes the context, "ttl" (seconds from now) or "expires" (seconds
 * since 1970) its end; an array "vector" or "embedding" is for lib/bundle/given.h. All other
 * members are kept as metadata, as they are.
 */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/bundle/document.h"

enum { MAX_LINE = 16 << 20 }; /* bytes; a tree of JSON costs 40 times its text */

struct place {
    const char *name;
    size_t line;
};

/* A text of one of the two names, taken out of the object, or NULL. */
static cJSON *take_text(cJSON *object, const char *name, const char *other)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    const char *found = cJSON_IsString(item) ? name : other;
    item = cJSON_GetObjectItemCaseSensitive(object, found);
    return cJSON_IsString(item) ? cJSON_DetachItemFromObjectCaseSensitive(object, found) : NULL;
}

/* Vectors are no metadata. */
static void drop_vector(cJSON *object)
{
    static const char *const names[] = {"vector", "embedding"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(object, names[i])))
            cJSON_DeleteItemFromObjectCaseSensitive(object, names[i]);
}

/* The time of "expires" or "ttl"; false: it is there but no time. */
static bool take_time(cJSON *object, uint32_t now, uint32_t *expires)
{
    cJSON *end = cJSON_DetachItemFromObjectCaseSensitive(object, "expires");
    cJSON *ttl = cJSON_DetachItemFromObjectCaseSensitive(object, "ttl");
    uint64_t value = 0;
    bool sound = (!end || ruvm_json_whole(end, UINT32_MAX, &value)) &&
                 (!ttl || (ruvm_json_whole(ttl, UINT32_MAX - now, &value) && value > 0));
    *expires = (uint32_t)(ttl ? value + now : value);
    cJSON_Delete(end);
    cJSON_Delete(ttl);
    return sound;
}

static int pass_on(const struct ruvm_passage_sink *sink, cJSON *object, const cJSON *text,
                   const cJSON *title, uint32_t expires, struct ruvm_error *err)
{
    struct ruvm_passage p = {
        .text = text->valuestring, .n_text = strlen(text->valuestring), .expires = expires};
    if (title) {
        p.context = title->valuestring;
        p.n_context = strlen(title->valuestring);
    }
    char *meta = object->child ? cJSON_PrintUnformatted(object) : NULL;
    if (object->child && !meta)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for metadata");
    p.meta = meta;
    int rc = sink->take(sink->context, &p, err);
    cJSON_free(meta);
    return rc;
}

static int read_object(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                       cJSON *object, const struct place *at, struct ruvm_error *err)
{
    uint32_t expires;
    drop_vector(object);
    cJSON *text = take_text(object, "text", "content");
    cJSON *title = take_text(object, "title", "heading");
    int rc;
    if (!text)
        rc = ruvm_fail(err, RUVM_ERR_CORRUPT,
                       "%s: line %zu: has no \"text\": each line is an object with a string of "
                       "that name",
                       at->name, at->line);
    else if (!take_time(object, d->now, &expires))
        rc = ruvm_fail(err, RUVM_ERR_CORRUPT,
                       "%s: line %zu: \"ttl\" and \"expires\" are whole numbers of seconds",
                       at->name, at->line);
    else
        rc = pass_on(sink, object, text, title, expires, err);
    cJSON_Delete(text);
    cJSON_Delete(title);
    return rc;
}

static int read_line(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                     const char *line, size_t n, const struct place *at, struct ruvm_error *err)
{
    struct ruvm_error why = {0};
    if (n > MAX_LINE)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: line %zu: is longer than %d MiB", at->name,
                         at->line, MAX_LINE >> 20);
    cJSON *object = ruvm_json_parse(line, n, &why);
    if (!object)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: line %zu: %s", at->name, at->line, why.text);
    int rc = read_object(d, sink, object, at, err);
    cJSON_Delete(object);
    return rc;
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", p[i]))
            return false;
    return true;
}

int ruvm_jsonl_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                    struct ruvm_error *err)
{
    const char *p = d->data, *end = p + d->size;
    struct place at = {d->name, 0};
    int rc = RUVM_OK;
    for (size_t n; rc == RUVM_OK && p < end; p += n + 1) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        n = (size_t)((newline ? newline : end) - p);
        at.line++;
        if (!is_blank(p, n))
            rc = read_line(d, sink, p, n, &at, err);
        if (!newline)
            break;
    }
    return rc;
}
