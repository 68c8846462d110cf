/* An ONNX file opened by its path, with the files beside it that hold its data.
 *
 * A location is a path below the model's folder, and that is checked twice: by its letters (not
 * absolute, no ".." in it) and, after symbolic links are followed, by where it leads. It may lead
 * back to the model itself: its bytes are then used like those of any other file. Only regular
 * files are opened, so that a pipe cannot keep a reader waiting.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/onnx_tensor.h"

enum { MAX_LOCATION_BYTES = 1024, MAX_FOLDER_BYTES = 4096 };

struct opening {
    struct ruvm_onnx *o;
    struct ruvm_error *err;
    char *folder; /* of the model, all links followed, no '/' at its end but in the root */
    struct ruvm_onnx_text *locations; /* [o->n_others] */
};

#define NAMED(text) ruvm_onnx_tensor_shown(text), (text).size ? (text).at : ""

static int refuse(const struct opening *x, int code, const struct ruvm_onnx_tensor *t,
                  const char *why)
{
    return ruvm_fail(x->err, code, "tensor %.*s: its data is in \"%.*s\", %s", NAMED(t->name),
                     NAMED(t->location), why);
}

/* ---- where a location leads --------------------------------------------------------- */

static bool has_parent(struct ruvm_onnx_text s)
{
    for (size_t i = 0, start = 0; i <= s.size; i++) {
        if (i < s.size && s.at[i] != '/')
            continue;
        if (i - start == 2 && memcmp(s.at + start, "..", 2) == 0)
            return true;
        start = i + 1;
    }
    return false;
}

static const char *bad_letters(struct ruvm_onnx_text s)
{
    if (s.size > MAX_LOCATION_BYTES)
        return "a name that is too long";
    if (memchr(s.at, '\0', s.size))
        return "a name with a NUL in it";
    if (s.at[0] == '/')
        return "an absolute path; only files in the model's folder are opened";
    if (has_parent(s))
        return "a path with \"..\" in it; only files in the model's folder are opened";
    return NULL;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (strcmp(folder, "/") == 0)
        return true;
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* The real path of a location (free() it), or NULL after saying why not. */
static char *find(const struct opening *x, const struct ruvm_onnx_tensor *t, int *rc)
{
    const char *why = bad_letters(t->location);
    char *real = NULL;
    struct stat st;
    *rc = RUVM_ERR_UNSUPPORTED;
    if (!why) {
        char joined[MAX_FOLDER_BYTES + MAX_LOCATION_BYTES + 2];
        int n = snprintf(joined, sizeof joined, "%s/%.*s", x->folder, (int)t->location.size,
                         t->location.at);
        real = n > 0 && (size_t)n < sizeof joined ? realpath(joined, NULL) : NULL;
        *rc = real ? RUVM_ERR_UNSUPPORTED : RUVM_ERR_IO;
    }
    if (!why && !real)
        why = "which is not there; it belongs into the model's folder";
    else if (!why && !is_below(real, x->folder))
        why = "a link out of the model's folder; only files in it are opened";
    else if (!why && (stat(real, &st) != 0 || !S_ISREG(st.st_mode)))
        why = "which is no regular file";
    if (!why)
        return real;
    free(real);
    *rc = refuse(x, *rc, t, why);
    return NULL;
}

/* ---- maps ----------------------------------------------------------------------------- */

static const struct ruvm_map *opened(const struct opening *x, struct ruvm_onnx_text location)
{
    for (uint32_t i = x->o->n_others; i > 0; i--) /* neighbours share a file */
        if (x->locations[i - 1].size == location.size &&
            memcmp(x->locations[i - 1].at, location.at, location.size) == 0)
            return &x->o->others[i - 1];
    return NULL;
}

static int map_location(struct opening *x, const struct ruvm_onnx_tensor *t,
                        const struct ruvm_map **map)
{
    struct ruvm_onnx *o = x->o;
    int rc;
    *map = opened(x, t->location);
    if (*map)
        return RUVM_OK;
    char *path = find(x, t, &rc);
    if (!path)
        return rc;
    rc = ruvm_file_map(&o->others[o->n_others], path, x->err);
    free(path);
    if (rc != RUVM_OK)
        return rc;
    x->locations[o->n_others] = t->location;
    *map = &o->others[o->n_others++];
    return RUVM_OK;
}

static int attach(struct opening *x, struct ruvm_onnx_tensor *t)
{
    const struct ruvm_map *map;
    if (ruvm_onnx_tensor_value_bytes(t->type) == 0)
        return RUVM_OK;
    int rc = map_location(x, t, &map);
    if (rc != RUVM_OK)
        return rc;
    if (t->off > map->size || t->bytes > map->size - t->off)
        return ruvm_fail(x->err, RUVM_ERR_CORRUPT,
                         "tensor %.*s: its data is %zu bytes from byte %llu of \"%.*s\", which "
                         "has only %zu",
                         NAMED(t->name), t->bytes, (unsigned long long)t->off, NAMED(t->location),
                         map->size);
    t->data = map->data + t->off;
    return RUVM_OK;
}

static int attach_all(struct opening *x, struct ruvm_arena *arena)
{
    struct ruvm_onnx *o = x->o;
    uint32_t n = 0;
    for (uint32_t i = 0; i < o->n_tensors; i++)
        n += o->tensors[i].is_external;
    if (n == 0)
        return RUVM_OK;
    o->others = ruvm_arena_alloc(arena, n, sizeof *o->others);
    x->locations = ruvm_arena_alloc(arena, n, sizeof *x->locations);
    if (!o->others || !x->locations)
        return ruvm_fail(x->err, RUVM_ERR_MEMORY, "no memory for the list of files");
    int rc = RUVM_OK;
    for (uint32_t i = 0; rc == RUVM_OK && i < o->n_tensors; i++)
        if (o->tensors[i].is_external)
            rc = attach(x, &o->tensors[i]);
    return rc;
}

/* ---- the whole -------------------------------------------------------------------------- */

/* The folder of a file, all links followed; free() it. */
static char *folder_of(const char *path)
{
    char *copy = malloc(strlen(path) + 2), *real;
    if (!copy)
        return NULL;
    strcpy(copy, path);
    char *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy ? 1 : 0] = '\0';
    else
        strcpy(copy, ".");
    real = realpath(copy, NULL);
    free(copy);
    return real;
}

int ruvm_onnx_open(struct ruvm_onnx *o, struct ruvm_arena *arena, const char *path,
                   struct ruvm_error *err)
{
    struct ruvm_map file;
    struct opening x = {.o = o, .err = err};
    *o = (struct ruvm_onnx){0};
    int rc = ruvm_file_map(&file, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_onnx_parse(o, arena, file.data, file.size, err);
    o->file = file;
    if (rc == RUVM_OK) {
        x.folder = folder_of(path);
        rc = x.folder ? attach_all(&x, arena)
                      : ruvm_fail(err, RUVM_ERR_IO, "its folder cannot be found");
        free(x.folder);
    }
    if (rc != RUVM_OK)
        ruvm_onnx_close(o);
    return rc;
}

void ruvm_onnx_close(struct ruvm_onnx *o)
{
    for (uint32_t i = 0; i < o->n_others; i++)
        ruvm_file_unmap(&o->others[i]);
    if (o->file.data)
        ruvm_file_unmap(&o->file);
    *o = (struct ruvm_onnx){0};
}
