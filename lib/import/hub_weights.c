/* The weights of a Hugging Face directory: which files they are in, and their tensors as one
 * directory.
 *
 * Where the weights are is looked for in the order of Hugging Face's own library: one
 * model.safetensors; an index that says in which file each tensor is; else the only
 * safetensors file. Names in an index are those of files in the directory and nothing else: a
 * path could lead out of it. (A file may still be a link to elsewhere: the caches of Hugging
 * Face's library are made of such links, and who makes them owns the directory.)
 */
#include "lib/import/hub_parts.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/safetensors.h"
#include "lib/base/json.h"
#include "lib/base/problems.h"

#define WEIGHTS "model.safetensors"
#define INDEX "model.safetensors.index.json"

enum { MAX_FILES = 1024 };

/* ---- files of weights ----------------------------------------------------------- */

/* Places for n files. */
static int make_files(struct ruvm_hub_opening *o, size_t n)
{
    o->hub->files = ruvm_arena_alloc(&o->hub->arena, n, sizeof *o->hub->files);
    return o->hub->files ? RUVM_OK : ruvm_hub_no_memory(o);
}

/* Into the next place; name is copied. */
static int add_file(struct ruvm_hub_opening *o, const char *name)
{
    struct ruvm_hub *hub = o->hub;
    struct ruvm_hub_file *f = &hub->files[hub->n_files];
    f->name = ruvm_arena_text(&hub->arena, name, strlen(name));
    f->path = ruvm_hub_join(&hub->arena, o->folder, name);
    if (!f->name || !f->path)
        return ruvm_hub_no_memory(o);
    hub->n_files++;
    return RUVM_OK;
}

static int read_file(struct ruvm_hub_opening *o, struct ruvm_hub_file *f)
{
    struct ruvm_hub *hub = o->hub;
    int rc = ruvm_file_map(&f->map, f->path, o->err);
    if (rc != RUVM_OK)
        return rc;
    f->first_view = hub->tensors.n_views;
    if (ruvm_safetensors_probe(f->map.data, f->map.size))
        rc = ruvm_safetensors_add(&hub->tensors, &hub->arena, f->map.data, f->map.size, o->err);
    else
        rc = ruvm_fail(o->err, RUVM_ERR_CORRUPT, "is no safetensors file; it looks like %s",
                       ruvm_formats_guess(f->map.data, f->map.size));
    f->end_view = hub->tensors.n_views;
    if (rc != RUVM_OK)
        ruvm_error_prefix(o->err, f->path);
    return rc;
}

static int read_files(struct ruvm_hub_opening *o)
{
    int rc = RUVM_OK;
    for (size_t i = 0; i < o->hub->n_files && rc == RUVM_OK; i++)
        rc = read_file(o, &o->hub->files[i]);
    return rc;
}

static int open_single(struct ruvm_hub_opening *o, const char *name)
{
    int rc = make_files(o, 1);
    if (rc == RUVM_OK)
        rc = add_file(o, name);
    return rc == RUVM_OK ? read_files(o) : rc;
}

/* ---- the index ------------------------------------------------------------------ */

static struct ruvm_hub_file *known_file(const struct ruvm_hub *hub, const char *name)
{
    for (size_t i = 0; i < hub->n_files; i++)
        if (strcmp(hub->files[i].name, name) == 0)
            return &hub->files[i];
    return NULL;
}

/* Notes a name that is none of a file of the directory. */
static int add_indexed_file(struct ruvm_hub_opening *o, struct ruvm_problems *p, const char *name)
{
    struct ruvm_hub *hub = o->hub;
    if (hub->n_files == MAX_FILES)
        return ruvm_fail(o->err, RUVM_ERR_UNSUPPORTED, "names more than %d files", MAX_FILES);
    if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED,
                           "names the file \"%.100s\", accepted: files of the same directory",
                           name);
        /* remembered, so that it is noted once */
    } else if (!ruvm_hub_find(o, name)) {
        ruvm_problems_note(p, RUVM_ERR_IO, "%.100s is missing", name);
    }
    return add_file(o, name);
}

static int list_files(struct ruvm_hub_opening *o, const cJSON *weight_map)
{
    struct ruvm_problems problems = {0};
    const cJSON *item;
    int rc = make_files(o, MAX_FILES);
    cJSON_ArrayForEach(item, weight_map)
    {
        const char *name = cJSON_GetStringValue(item);
        if (rc == RUVM_OK && !name)
            rc = ruvm_fail(o->err, RUVM_ERR_CORRUPT, "%.100s is in no file", item->string);
        if (rc == RUVM_OK && !known_file(o->hub, name))
            rc = add_indexed_file(o, &problems, name);
        if (rc != RUVM_OK)
            return rc;
    }
    return ruvm_problems_report(&problems, o->err);
}

static int by_name(const void *a, const void *b)
{
    const struct ruvm_view *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const struct ruvm_view *look_up(const struct ruvm_view **sorted, size_t n, const char *name)
{
    const struct ruvm_view key = {.name = name}, *wanted = &key;
    const struct ruvm_view **found =
        n ? bsearch(&wanted, sorted, n, sizeof *sorted, by_name) : NULL;
    return found ? *found : NULL;
}

/* Each tensor of the index is in the file that it names. */
static int check_index(struct ruvm_hub_opening *o, const cJSON *weight_map)
{
    const struct ruvm_tensors *t = &o->hub->tensors;
    struct ruvm_problems problems = {0};
    const struct ruvm_view **sorted = malloc((t->n_views + 1) * sizeof *sorted);
    if (!sorted)
        return ruvm_hub_no_memory(o);
    for (size_t i = 0; i < t->n_views; i++)
        sorted[i] = &t->views[i];
    qsort(sorted, t->n_views, sizeof *sorted, by_name);
    const cJSON *item;
    cJSON_ArrayForEach(item, weight_map)
    {
        const struct ruvm_hub_file *f = known_file(o->hub, item->valuestring);
        const struct ruvm_view *v = look_up(sorted, t->n_views, item->string);
        size_t at = v ? (size_t)(v - t->views) : 0;
        bool is_there = v && at >= f->first_view && at < f->end_view;
        if (!is_there && !ruvm_safetensors_is_buffer(item->string))
            ruvm_problems_note(&problems, RUVM_ERR_MISMATCH, "%.100s is not in %.60s", item->string,
                               f->name);
    }
    free(sorted);
    return ruvm_problems_report(&problems, o->err);
}

static int read_indexed(struct ruvm_hub_opening *o, const cJSON *index, const char *path)
{
    const cJSON *weight_map = cJSON_GetObjectItemCaseSensitive(index, "weight_map");
    int rc;
    if (cJSON_IsObject(weight_map))
        rc = list_files(o, weight_map);
    else
        rc = ruvm_fail(o->err, RUVM_ERR_CORRUPT, "has no weight_map");
    if (rc != RUVM_OK) {
        ruvm_error_prefix(o->err, path);
        return rc;
    }
    rc = read_files(o); /* names the file itself */
    if (rc != RUVM_OK)
        return rc;
    rc = check_index(o, weight_map);
    if (rc != RUVM_OK)
        ruvm_error_prefix(o->err, path);
    return rc;
}

static bool names_file(const cJSON *index, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(index, "weight_map"))
    {
        const char *file = cJSON_GetStringValue(item);
        if (file && strcmp(file, name) == 0)
            return true;
    }
    return false;
}

/* By the index at path; when a file was asked for that it does not name, that file alone. */
static int open_indexed(struct ruvm_hub_opening *o, const char *path, const char *file)
{
    cJSON *index = NULL;
    int rc = ruvm_hub_json(&index, path, o->err);
    if (rc != RUVM_OK)
        return rc;
    rc = !file || names_file(index, file) ? read_indexed(o, index, path) : open_single(o, file);
    cJSON_Delete(index);
    return rc;
}

/* ---- the weights ---------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n > n_end && strcmp(text + n - n_end, end) == 0;
}

struct listing {
    unsigned n_safetensors;
    const char *name; /* of one of them */
    bool has_pickle;  /* pytorch_model.bin and its like */
};

static int list_folder(struct ruvm_hub_opening *o, struct listing *l)
{
    DIR *dir = opendir(ruvm_hub_folder(o));
    if (!dir)
        return ruvm_fail(o->err, RUVM_ERR_IO, "%s: cannot be listed (check the permissions)",
                         ruvm_hub_folder(o));
    for (const struct dirent *d; (d = readdir(dir));) {
        l->has_pickle |= strncmp(d->d_name, "pytorch_model", 13) == 0 ||
                         ends_with(d->d_name, ".pt") || ends_with(d->d_name, ".pth");
        if (!ends_with(d->d_name, ".safetensors"))
            continue;
        l->n_safetensors++;
        l->name = ruvm_arena_text(&o->hub->arena, d->d_name, strlen(d->d_name));
    }
    closedir(dir);
    return l->n_safetensors && !l->name ? ruvm_hub_no_memory(o) : RUVM_OK;
}

static int open_only_file(struct ruvm_hub_opening *o)
{
    struct listing l = {0};
    int rc = list_folder(o, &l);
    if (rc != RUVM_OK)
        return rc;
    if (l.n_safetensors == 1)
        return open_single(o, l.name);
    if (l.n_safetensors > 1)
        return ruvm_fail(o->err, RUVM_ERR_UNSUPPORTED,
                         "%s: holds %u safetensors files, but neither " WEIGHTS " nor " INDEX
                         "; name the file to take",
                         ruvm_hub_folder(o), l.n_safetensors);
    if (l.has_pickle)
        return ruvm_fail(o->err, RUVM_ERR_UNSUPPORTED,
                         "%s: its weights are a Python pickle (*.bin, *.pt), which is a program; "
                         "save them as safetensors first: python3 -c \"from transformers import "
                         "AutoModelForCausalLM as M; M.from_pretrained('OLD')"
                         ".save_pretrained('NEW')\" (see ruvm-quantize(1))",
                         ruvm_hub_folder(o));
    return ruvm_fail(o->err, RUVM_ERR_UNSUPPORTED,
                     "%s: holds no weights; expected " WEIGHTS ", or " INDEX
                     " and the files that "
                     "it names, or one other *.safetensors",
                     ruvm_hub_folder(o));
}

/* file: the one that was named instead of the folder, or NULL. */
int ruvm_hub_weights(struct ruvm_hub_opening *o, const char *file)
{
    const char *index = ruvm_hub_find(o, INDEX);
    if (file)
        return index ? open_indexed(o, index, file) : open_single(o, file);
    if (ruvm_hub_find(o, WEIGHTS))
        return open_single(o, WEIGHTS);
    return index ? open_indexed(o, index, NULL) : open_only_file(o);
}
