/* Finds and reads the tokenizer of a model.
 *
 * Hugging Face keeps what a tokenizer is in one file and how it is used (does a text begin with
 * BOS, how does a conversation look) in another beside it: both are read wherever the first is
 * found, be it in the model's folder or where a person points.
 */
#include "lib/import/vocab_open.h"

#include <string.h>
#include <sys/stat.h>

#include "formats/gguf_read.h"
#include "formats/tokenizer_gpt2.h"
#include "lib/import/hub_parts.h"

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* ---- paths ---------------------------------------------------------------------- */

static bool is_file(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The file `name` in a folder, whose path ends with a slash or is empty; or NULL. */
static const char *find(struct ruvm_arena *arena, const char *folder, const char *name)
{
    const char *path = folder ? ruvm_hub_join(arena, folder, name) : NULL;
    return is_file(path) ? path : NULL;
}

static const char *folder_of(struct ruvm_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return ruvm_arena_text(arena, path, slash ? (size_t)(slash + 1 - path) : 0);
}

/* ---- one file -------------------------------------------------------------------- */

static bool has_config(const struct ruvm_map *map)
{
    const char *kind = ruvm_vocab_probe(map->data, map->size);
    return kind && (strstr(kind, "Hugging Face") || strstr(kind, "SentencePiece"));
}

static int read_config(struct ruvm_vocab *v, struct ruvm_arena *arena, const char *path,
                       struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = map.size <= CONFIG_BYTES_MAX
             ? ruvm_vocab_read_config(v, arena, map.data, map.size, err)
             : ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "has %zu bytes, expected up to %d", map.size,
                         CONFIG_BYTES_MAX);
    ruvm_file_unmap(&map);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, path);
    return rc;
}

static int read_file(struct ruvm_vocab *v, struct ruvm_vocab_file *file, struct ruvm_arena *arena,
                     const char *path, struct ruvm_error *err)
{
    int rc = ruvm_file_map(&file->map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_vocab_read_any(v, arena, file->map.data, file->map.size, err);
    if (rc != RUVM_OK) {
        ruvm_error_prefix(err, path);
        ruvm_vocab_close(file);
        return rc;
    }
    const char *config = has_config(&file->map)
                             ? find(arena, folder_of(arena, path), "tokenizer_config.json")
                             : NULL;
    return config ? read_config(v, arena, config, err) : RUVM_OK;
}

/* Of two files that say the same the second is read when the first cannot be. */
static int read_either(struct ruvm_vocab *v, struct ruvm_vocab_file *file, struct ruvm_arena *arena,
                       const char *const *paths, struct ruvm_error *err)
{
    struct ruvm_error first = {0};
    int rc = read_file(v, file, arena, paths[0] ? paths[0] : paths[1], &first);
    if (rc == RUVM_ERR_UNSUPPORTED && paths[0] && paths[1] &&
        read_file(v, file, arena, paths[1], NULL) == RUVM_OK)
        return RUVM_OK;
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "%s", first.text);
}

/* ---- GPT-2's own files -------------------------------------------------------------- */

static bool has_pair(struct ruvm_arena *arena, const char *folder)
{
    return find(arena, folder, ruvm_tokenizer_gpt2_names[RUVM_TOKENIZER_GPT2_VOCAB]) &&
           find(arena, folder, ruvm_tokenizer_gpt2_names[RUVM_TOKENIZER_GPT2_MERGES]);
}

/* Nothing of the files is needed afterwards. */
static int read_pair(struct ruvm_vocab *v, struct ruvm_arena *arena, const char *folder,
                     struct ruvm_error *err)
{
    struct ruvm_map maps[RUVM_TOKENIZER_GPT2_FILES] = {{0}};
    struct ruvm_tokenizer_gpt2 files = {0};
    int rc = RUVM_OK;
    for (int i = 0; i < RUVM_TOKENIZER_GPT2_FILES && rc == RUVM_OK; i++) {
        const char *path = find(arena, folder, ruvm_tokenizer_gpt2_names[i]);
        if (path)
            rc = ruvm_file_map(&maps[i], path, err);
        files.file[i].data = maps[i].data;
        files.file[i].size = maps[i].size;
    }
    if (rc == RUVM_OK) {
        rc = ruvm_tokenizer_gpt2_read(v, arena, &files, err);
        if (rc != RUVM_OK)
            ruvm_error_prefix(err, *folder ? folder : ".");
    }
    for (int i = 0; i < RUVM_TOKENIZER_GPT2_FILES; i++)
        if (maps[i].data)
            ruvm_file_unmap(&maps[i]);
    const char *config = find(arena, folder, ruvm_tokenizer_gpt2_names[RUVM_TOKENIZER_GPT2_CONFIG]);
    return rc == RUVM_OK && config ? read_config(v, arena, config, err) : rc;
}

/* ---- a folder ------------------------------------------------------------------------ */

static int read_folder(struct ruvm_vocab *v, struct ruvm_vocab_file *file, struct ruvm_arena *arena,
                       const char *path, struct ruvm_error *err)
{
    size_t n = strlen(path);
    const char *folder =
        n && path[n - 1] == '/' ? path : (const char *)ruvm_hub_join(arena, path, "/");
    const char *const paths[2] = {find(arena, folder, "tokenizer.json"),
                                  find(arena, folder, "tokenizer.model")};
    if (!paths[0] && !paths[1] && has_pair(arena, folder))
        return read_pair(v, arena, folder, err);
    if (!paths[0] && !paths[1])
        return ruvm_fail(err, RUVM_ERR_IO,
                         "%s: holds neither tokenizer.json nor tokenizer.model, nor vocab.json "
                         "with merges.txt",
                         path);
    return read_either(v, file, arena, paths, err);
}

int ruvm_vocab_open(struct ruvm_vocab *v, struct ruvm_vocab_file *file, struct ruvm_arena *arena,
                    const char *path, struct ruvm_error *err)
{
    return is_folder(path) ? read_folder(v, file, arena, path, err)
                           : read_file(v, file, arena, path, err);
}

void ruvm_vocab_close(struct ruvm_vocab_file *file)
{
    if (file->map.data)
        ruvm_file_unmap(&file->map);
    *file = (struct ruvm_vocab_file){0};
}

/* ---- what comes with weights ------------------------------------------------------- */

static int read_gguf(struct ruvm_vocab *v, bool *found, struct ruvm_arena *arena,
                     const struct ruvm_container *c, struct ruvm_error *err)
{
    struct ruvm_gguf g;
    int rc = ruvm_gguf_open(&g, arena, c->file.data, c->file.size, err);
    *found = rc == RUVM_OK && ruvm_gguf_find(&g, "tokenizer.ggml.tokens");
    if (*found)
        rc = ruvm_vocab_read_any(v, arena, c->file.data, c->file.size, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, c->path);
    return rc;
}

static int read_hub(struct ruvm_vocab *v, bool *found, struct ruvm_vocab_file *file,
                    struct ruvm_arena *arena, struct ruvm_container *c, struct ruvm_error *err)
{
    const struct ruvm_hub *hub = &c->hub;
    const char *const paths[2] = {hub->tokenizer_json, hub->tokenizer_model};
    const char *folder = folder_of(arena, hub->config);
    bool pair = !paths[0] && !paths[1] && has_pair(arena, folder);
    *found = paths[0] || paths[1] || pair;
    int rc = pair     ? read_pair(v, arena, folder, err)
             : *found ? read_either(v, file, arena, paths, err)
                      : RUVM_OK;
    if (rc == RUVM_OK && *found && hub->chat_template)
        v->chat = hub->chat_template; /* chat_template.jinja counts more */
    return rc;
}

static int read_beside(struct ruvm_vocab *v, bool *found, struct ruvm_vocab_file *file,
                       struct ruvm_arena *arena, struct ruvm_container *c, struct ruvm_error *err)
{
    const char *const paths[2] = {ruvm_container_beside(c, "tokenizer.json"),
                                  ruvm_container_beside(c, "tokenizer.model")};
    const char *pair =
        ruvm_container_beside(c, ruvm_tokenizer_gpt2_names[RUVM_TOKENIZER_GPT2_VOCAB]);
    const char *folder = pair && !paths[0] && !paths[1] ? folder_of(arena, pair) : NULL;
    bool has = folder && has_pair(arena, folder);
    *found = paths[0] || paths[1] || has;
    if (has)
        return read_pair(v, arena, folder, err);
    return *found ? read_either(v, file, arena, paths, err) : RUVM_OK;
}

int ruvm_vocab_find(struct ruvm_vocab *v, bool *found, struct ruvm_vocab_file *file,
                    struct ruvm_arena *arena, struct ruvm_container *c, struct ruvm_error *err)
{
    *found = false;
    switch (c->kind) {
    case RUVM_CONTAINER_GGUF: return read_gguf(v, found, arena, c, err);
    case RUVM_CONTAINER_HUB: return read_hub(v, found, file, arena, c, err);
    case RUVM_CONTAINER_ONNX: return read_beside(v, found, file, arena, c, err);
    default: return RUVM_OK;
    }
}

/* ---- the network's own words -------------------------------------------------------- */

static uint32_t token_of(const struct ruvm_meta *m)
{
    return !m->text && m->number >= 0 && m->number < RUVM_VOCAB_MAX ? (uint32_t)m->number
                                                                    : RUVM_VOCAB_NONE;
}

/* The first "eos" is it, more of them are further ends. */
void ruvm_vocab_follow(struct ruvm_vocab *v, const struct ruvm_tensors *network)
{
    bool has_end = false;
    for (size_t i = 0; i < network->n_meta; i++) {
        const struct ruvm_meta *m = &network->meta[i];
        if (strcmp(m->key, "bos") == 0)
            ruvm_vocab_configure(v, token_of(m), RUVM_VOCAB_NONE);
        if (strcmp(m->key, "eos") != 0)
            continue;
        if (has_end)
            ruvm_vocab_add_end(v, token_of(m));
        else
            ruvm_vocab_configure(v, RUVM_VOCAB_NONE, token_of(m));
        has_end = true;
    }
}
