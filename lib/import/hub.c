/* A Hugging Face directory, opened: the configuration, then the weights, then what there is of
 * a tokenizer.
 *
 * A safetensors file that stands in such a directory opens it as well, so that people may name
 * what they see.
 */
#include "lib/import/hub.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/safetensors.h"
#include "lib/base/json.h"
#include "lib/import/hub_config.h"
#include "lib/import/hub_parts.h"

enum {
    MAX_JSON_BYTES = 16 << 20, /* a tree has many times the bytes of its text */
    PROBE_BYTES = 9,
};

const char *ruvm_hub_folder(const struct ruvm_hub_opening *o)
{
    return o->folder[0] ? o->folder : ".";
}

int ruvm_hub_no_memory(struct ruvm_hub_opening *o)
{
    return ruvm_fail(o->err, RUVM_ERR_MEMORY, "%s: no memory", ruvm_hub_folder(o));
}

/* ---- paths ---------------------------------------------------------------------- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *ruvm_hub_join(struct ruvm_arena *arena, const char *folder, const char *name)
{
    size_t n = strlen(folder);
    char *path = ruvm_arena_alloc(arena, n + strlen(name) + 1, 1);
    if (path) {
        memcpy(path, folder, n);
        memcpy(path + n, name, strlen(name) + 1);
    }
    return path;
}

const char *ruvm_hub_find(struct ruvm_hub_opening *o, const char *name)
{
    const char *path = ruvm_hub_join(&o->hub->arena, o->folder, name);
    return path && is_file(path) ? path : NULL;
}

/* The part of a path up to its last slash; all of it and a slash when it is a folder's. */
static const char *folder_of(struct ruvm_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!is_folder(path))
        return ruvm_arena_text(arena, path, slash ? (size_t)(slash + 1 - path) : 0);
    return slash && slash[1] == '\0' ? path : ruvm_hub_join(arena, path, "/");
}

/* ---- JSON files ----------------------------------------------------------------- */

static int map_json(struct ruvm_map *map, const char *path, struct ruvm_error *err)
{
    int rc = ruvm_file_map(map, path, err);
    if (rc != RUVM_OK || map->size <= MAX_JSON_BYTES)
        return rc;
    rc = ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: has %zu bytes, expected up to %d", path,
                   map->size, MAX_JSON_BYTES);
    ruvm_file_unmap(map);
    return rc;
}

int ruvm_hub_json(cJSON **json, const char *path, struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = map_json(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    *json = ruvm_json_parse(map.data, map.size, err);
    ruvm_file_unmap(&map);
    if (*json)
        return RUVM_OK;
    ruvm_error_prefix(err, path);
    return RUVM_ERR_CORRUPT;
}

static int read_config(struct ruvm_hub_opening *o)
{
    struct ruvm_hub *hub = o->hub;
    struct ruvm_map map;
    hub->config = ruvm_hub_find(o, "config.json");
    if (!hub->config)
        return ruvm_fail(o->err, RUVM_ERR_UNSUPPORTED,
                         "%s: holds no config.json, which says what network the weights are; "
                         "is it a Hugging Face model?",
                         ruvm_hub_folder(o));
    int rc = map_json(&map, hub->config, o->err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_hub_config_read(&hub->tensors, &hub->arena, map.data, map.size, o->err);
    ruvm_file_unmap(&map);
    if (rc != RUVM_OK)
        ruvm_error_prefix(o->err, hub->config);
    return rc;
}

/* ---- the tokenizer -------------------------------------------------------------- */

/* chat_template is a text, or a list of {"name", "template"}. */
static const char *template_of(const cJSON *item)
{
    const cJSON *entry;
    if (!cJSON_IsArray(item))
        return cJSON_GetStringValue(item);
    cJSON_ArrayForEach(entry, item)
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "template"));
    }
    return NULL;
}

static int switch_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) != 0 : -1;
}

static int keep_template(struct ruvm_hub_opening *o, const char *text, size_t n)
{
    o->hub->chat_template = ruvm_arena_text(&o->hub->arena, text, n);
    return o->hub->chat_template ? RUVM_OK : ruvm_hub_no_memory(o);
}

static int read_tokenizer_config(struct ruvm_hub_opening *o)
{
    cJSON *json = NULL;
    int rc = ruvm_hub_json(&json, o->hub->tokenizer_config, o->err);
    if (rc != RUVM_OK)
        return rc;
    o->hub->add_bos = switch_of(json, "add_bos_token");
    const char *text = template_of(cJSON_GetObjectItemCaseSensitive(json, "chat_template"));
    if (text)
        rc = keep_template(o, text, strlen(text));
    cJSON_Delete(json);
    return rc;
}

static int read_template(struct ruvm_hub_opening *o, const char *path)
{
    struct ruvm_map map;
    int rc = map_json(&map, path, o->err);
    if (rc != RUVM_OK)
        return rc;
    rc = keep_template(o, (const char *)map.data, map.size);
    ruvm_file_unmap(&map);
    return rc;
}

static int find_tokenizer(struct ruvm_hub_opening *o)
{
    struct ruvm_hub *hub = o->hub;
    hub->tokenizer_json = ruvm_hub_find(o, "tokenizer.json");
    hub->tokenizer_model = ruvm_hub_find(o, "tokenizer.model");
    hub->tokenizer_config = ruvm_hub_find(o, "tokenizer_config.json");
    const char *template = ruvm_hub_find(o, "chat_template.jinja");
    int rc = hub->tokenizer_config ? read_tokenizer_config(o) : RUVM_OK;
    if (rc == RUVM_OK && template)
        rc = read_template(o, template);
    return rc;
}

/* A tied head may be stored all the same; Hugging Face's library does not look at it. */
static void drop_tied_head(struct ruvm_tensors *t)
{
    double tied = 0;
    size_t n = 0;
    if (!ruvm_tensors_number(t, "tied", &tied) || tied == 0)
        return;
    for (size_t i = 0; i < t->n_views; i++) {
        const char *name = t->views[i].name;
        if (strcmp(name, "lm_head.weight") != 0 && strcmp(name, "embed_out.weight") != 0)
            t->views[n++] = t->views[i];
    }
    t->n_views = n;
}

/* ---- opening -------------------------------------------------------------------- */

bool ruvm_hub_probe(const char *path)
{
    struct ruvm_arena arena = {0};
    uint8_t first[PROBE_BYTES];
    if (is_folder(path))
        return true;
    const char *folder = folder_of(&arena, path);
    const char *config = folder ? ruvm_hub_join(&arena, folder, "config.json") : NULL;
    FILE *f = config && is_file(config) && is_file(path) ? fopen(path, "rb") : NULL;
    size_t n = f ? fread(first, 1, sizeof first, f) : 0;
    if (f)
        fclose(f);
    ruvm_arena_free(&arena);
    return ruvm_safetensors_probe(first, n);
}

int ruvm_hub_open(struct ruvm_hub *hub, const char *path, struct ruvm_error *err)
{
    *hub = (struct ruvm_hub){.add_bos = -1};
    struct ruvm_hub_opening o = {.hub = hub, .folder = folder_of(&hub->arena, path), .err = err};
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    int rc = RUVM_OK;
    if (!o.folder)
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "%s: no memory", path);
    else if (!is_folder(path) && !is_file(path))
        rc = ruvm_fail(err, RUVM_ERR_IO, "%s: is neither a folder nor a file (check the name)",
                       path);
    if (rc == RUVM_OK)
        rc = read_config(&o);
    if (rc == RUVM_OK)
        rc = ruvm_hub_weights(&o, is_folder(path) ? NULL : file);
    if (rc == RUVM_OK)
        rc = find_tokenizer(&o);
    if (rc == RUVM_OK)
        drop_tied_head(&hub->tensors);
    else
        ruvm_hub_close(hub);
    return rc;
}

void ruvm_hub_close(struct ruvm_hub *hub)
{
    for (size_t i = 0; i < hub->n_files; i++)
        if (hub->files[i].map.data)
            ruvm_file_unmap(&hub->files[i].map);
    ruvm_arena_free(&hub->arena);
    *hub = (struct ruvm_hub){0};
}
