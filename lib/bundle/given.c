/* Given: numbers in, rows of floats out; only their directions are used later. */
#include "lib/bundle/given.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "formats/grid.h"
#include "formats/rag_layout.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"

enum { MAX_LINE = 16 << 20, TOP = 1 << 24 };

void ruvm_given_free(struct ruvm_given *g)
{
    free(g->v);
    *g = (struct ruvm_given){0};
}

void ruvm_given_scale(int32_t *x, const float *v, uint32_t dims)
{
    double most = 0;
    for (uint32_t i = 0; i < dims; i++)
        most = fmax(most, fabs((double)v[i]));
    for (uint32_t i = 0; i < dims; i++)
        x[i] = most > 0 ? (int32_t)lround((double)v[i] / most * TOP) : 0;
}

static int check_dims(uint64_t dims, const char *path, struct ruvm_error *err)
{
    if (dims >= RUVM_RAG_MIN_DIMS && dims <= RUVM_RAG_MAX_DIMS)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                     "%s: vectors of %llu dimensions: a blob's have %d to %d", path,
                     (unsigned long long)dims, RUVM_RAG_MIN_DIMS, RUVM_RAG_MAX_DIMS);
}

/* ---- NumPy -------------------------------------------------------------------------- */

static bool is_numpy(const uint8_t *data, size_t size)
{
    return size >= 6 && memcmp(data, "\x93NUMPY", 6) == 0;
}

static int read_numpy(struct ruvm_given *g, const char *path, const uint8_t *data, size_t size,
                      struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct ruvm_grid grid;
    int rc = ruvm_grid_read(&grid, &arena, data, size, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, path);
    else
        rc = check_dims(grid.n_cols, path, err);
    if (rc == RUVM_OK) {
        size_t n = (size_t)grid.n_rows * grid.n_cols;
        *g = (struct ruvm_given){grid.n_rows, grid.n_cols, calloc(n + 1, sizeof *g->v)};
        if (!g->v)
            rc = ruvm_fail(err, RUVM_ERR_MEMORY, "%s: no memory for %u vectors", path, g->n);
        for (size_t i = 0; rc == RUVM_OK && i < n; i++) {
            g->v[i] = (float)grid.v[i];
            if (!isfinite((double)g->v[i]))
                rc = ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                               "%s: row %zu: %g is beyond what a float holds", path,
                               i / grid.n_cols, grid.v[i]);
        }
    }
    ruvm_arena_free(&arena);
    return rc;
}

/* ---- JSONL --------------------------------------------------------------------------- */

struct reading {
    struct ruvm_given *g;
    const char *path;
    size_t line;
    uint32_t cap; /* rows */
    struct ruvm_error *err;
};

static int make_room(struct reading *r, uint32_t dims)
{
    struct ruvm_given *g = r->g;
    if (g->n < r->cap)
        return RUVM_OK;
    r->cap = 2 * r->cap + 64;
    void *p = realloc(g->v, (size_t)r->cap * dims * sizeof *g->v);
    if (!p)
        return ruvm_fail(r->err, RUVM_ERR_MEMORY, "%s: no memory for its vectors", r->path);
    g->v = p;
    return RUVM_OK;
}

static int take_numbers(struct reading *r, const cJSON *list)
{
    struct ruvm_given *g = r->g;
    float *row = g->v + (size_t)g->n * g->dims;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        double value = cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
        *row = (float)value;
        if (!isfinite((double)*row++))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                             "%s: line %zu: its vector has what is no finite number", r->path,
                             r->line);
    }
    g->n++;
    return RUVM_OK;
}

static int take_object(struct reading *r, const cJSON *object)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "vector");
    if (!list)
        list = cJSON_GetObjectItemCaseSensitive(object, "embedding");
    if (!cJSON_IsArray(list))
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: has no \"vector\": each line is an object with an array "
                         "of that name, or the file is a .npy array",
                         r->path, r->line);
    uint32_t dims = (uint32_t)cJSON_GetArraySize(list);
    int rc = check_dims(dims, r->path, r->err);
    if (rc == RUVM_OK && r->g->n && dims != r->g->dims)
        rc = ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                       "%s: line %zu: a vector of %u dimensions behind others of %u", r->path,
                       r->line, dims, r->g->dims);
    r->g->dims = rc == RUVM_OK ? dims : r->g->dims;
    if (rc == RUVM_OK)
        rc = make_room(r, dims);
    return rc == RUVM_OK ? take_numbers(r, list) : rc;
}

static bool is_blank(const char *p, size_t n)
{
    while (n && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++, n--;
    return n == 0;
}

static int read_line(struct reading *r, const char *line, size_t n)
{
    struct ruvm_error why = {0};
    if (is_blank(line, n))
        return RUVM_OK;
    if (n > MAX_LINE)
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "%s: line %zu: is longer than %d MiB",
                         r->path, r->line, MAX_LINE >> 20);
    cJSON *object = ruvm_json_parse(line, n, &why);
    if (!object)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "%s: line %zu: %s", r->path, r->line, why.text);
    int rc = take_object(r, object);
    cJSON_Delete(object);
    return rc;
}

static int read_jsonl(struct ruvm_given *g, const char *path, const uint8_t *data, size_t size,
                      struct ruvm_error *err)
{
    struct reading r = {.g = g, .path = path, .err = err};
    const char *p = (const char *)data, *end = p + size;
    int rc = RUVM_OK;
    while (rc == RUVM_OK && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p);
        r.line++;
        rc = read_line(&r, p, n);
        p += n + (newline != NULL);
    }
    return rc;
}

int ruvm_given_parse(struct ruvm_given *g, const char *name, const uint8_t *data, size_t size,
                     struct ruvm_error *err)
{
    *g = (struct ruvm_given){0};
    int rc = is_numpy(data, size) ? read_numpy(g, name, data, size, err)
                                  : read_jsonl(g, name, data, size, err);
    if (rc == RUVM_OK && g->n == 0)
        rc = ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: has no vectors", name);
    if (rc != RUVM_OK)
        ruvm_given_free(g);
    return rc;
}

int ruvm_given_read(struct ruvm_given *g, const char *path, struct ruvm_error *err)
{
    struct ruvm_map map;
    *g = (struct ruvm_given){0};
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_given_parse(g, path, map.data, map.size, err);
    ruvm_file_unmap(&map);
    return rc;
}
