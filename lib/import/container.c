/* Opens weights by content: a folder is Hugging Face's, a file is asked what it is.
 *
 * What is listed and what is a network are two questions: inspect lists files that nobody can
 * run, and an ONNX file has names of its own until its graph was understood.
 */
#include "lib/import/container.h"

#include <string.h>

#include "formats/formats.h"
#include "formats/gguf_read.h"
#include "formats/ruvm_layout.h"
#include "formats/safetensors.h"
#include "lib/base/crc32.h"
#include "lib/import/hub_config.h"
#include "lib/import/hub_parts.h"
#include "lib/import/onnx_graph.h"

#define ACCEPTED                                                                                   \
    "accepted are a Hugging Face folder (config.json and safetensors), GGUF, ONNX, and llama2.c "  \
    "checkpoints"

static int refuse(const uint8_t *data, size_t size, struct ruvm_error *err)
{
    if (size >= 4 && memcmp(data, RUVM_MAGIC, 4) == 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is a RUVM image: already quantized; give the "
                         "float source that it was made from");
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                     "is no model that ruvm reads; it looks like %s; " ACCEPTED,
                     ruvm_formats_guess(data, size));
}

/* ---- opening -------------------------------------------------------------------- */

static int open_hub(struct ruvm_container *c, struct ruvm_error *err)
{
    int rc = ruvm_hub_open(&c->hub, c->path, err);
    c->kind = RUVM_CONTAINER_HUB;
    if (rc == RUVM_OK)
        c->tensors = c->hub.tensors;
    c->tensors.format = "Hugging Face model";
    return rc;
}

static bool has_external(const struct ruvm_onnx *o)
{
    for (uint32_t i = 0; i < o->n_tensors; i++)
        if (o->tensors[i].is_external)
            return true;
    return false;
}

/* The names under which the graph knows the other files. */
static int name_others(struct ruvm_container *c, struct ruvm_error *err)
{
    const struct ruvm_onnx *o = &c->onnx;
    bool ok = true;
    c->other_names = ruvm_arena_alloc(&c->arena, o->n_others, sizeof *c->other_names);
    for (uint32_t i = 0; i < o->n_others && c->other_names && ok; i++) {
        const struct ruvm_map *map = &o->others[i];
        const struct ruvm_onnx_tensor *t = o->tensors;
        while (!t->is_external || t->data < map->data || t->data > map->data + map->size)
            t++; /* a file was opened because a tensor is in it */
        c->other_names[i] = ruvm_arena_text(&c->arena, t->location.at, t->location.size);
        ok = c->other_names[i] != NULL;
    }
    return c->other_names && ok ? RUVM_OK
                                : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for names of files");
}

/* What is whole in itself may come through a pipe, which opens once. */
static int open_onnx(struct ruvm_container *c, struct ruvm_error *err)
{
    c->kind = RUVM_CONTAINER_ONNX;
    int rc = ruvm_onnx_parse(&c->onnx, &c->arena, c->file.data, c->file.size, err);
    if (rc == RUVM_OK && has_external(&c->onnx)) {
        ruvm_file_unmap(&c->file);
        rc = ruvm_onnx_open(&c->onnx, &c->arena, c->path, err);
        rc = rc == RUVM_OK ? name_others(c, err) : rc;
    }
    return rc == RUVM_OK ? ruvm_onnx_list(&c->tensors, &c->arena, &c->onnx, err) : rc;
}

static int open_mapped(struct ruvm_container *c, struct ruvm_error *err)
{
    const uint8_t *data = c->file.data;
    size_t size = c->file.size;
    const struct ruvm_format *format = ruvm_formats_probe(data, size);
    if (!format)
        return refuse(data, size, err);
    if (ruvm_gguf_probe(data, size))
        c->kind = RUVM_CONTAINER_GGUF;
    else if (ruvm_safetensors_probe(data, size))
        c->kind = RUVM_CONTAINER_SAFETENSORS;
    else if (ruvm_onnx_probe(data, size))
        return open_onnx(c, err);
    return format->read(&c->tensors, &c->arena, data, size, err);
}

/* Takes over c->file. */
static int open_file(struct ruvm_container *c, const char *path, struct ruvm_error *err)
{
    int rc = open_mapped(c, err);
    if (rc == RUVM_OK)
        return rc;
    ruvm_error_prefix(err, path);
    ruvm_container_close(c);
    return rc;
}

int ruvm_container_open_bytes(struct ruvm_container *c, const char *path, const void *data,
                              size_t size, struct ruvm_error *err)
{
    *c = (struct ruvm_container){.path = path, .file = {.data = data, .size = size}};
    return open_file(c, path, err);
}

int ruvm_container_open(struct ruvm_container *c, const char *path, struct ruvm_error *err)
{
    *c = (struct ruvm_container){.path = path};
    if (ruvm_hub_probe(path))
        return open_hub(c, err);
    int rc = ruvm_file_map(&c->file, path, err);
    return rc == RUVM_OK ? open_file(c, path, err) : rc;
}

void ruvm_container_close(struct ruvm_container *c)
{
    ruvm_onnx_close(&c->onnx);
    ruvm_hub_close(&c->hub);
    if (c->file.data)
        ruvm_file_unmap(&c->file);
    ruvm_arena_free(&c->arena);
    *c = (struct ruvm_container){0};
}

/* ---- what stands beside a file ---------------------------------------------------- */

const char *ruvm_container_beside(struct ruvm_container *c, const char *name)
{
    const char *slash = strrchr(c->path, '/');
    struct ruvm_hub_opening o = {.hub = &c->hub};
    o.folder = ruvm_arena_text(&c->hub.arena, c->path, slash ? (size_t)(slash + 1 - c->path) : 0);
    return o.folder ? ruvm_hub_find(&o, name) : NULL;
}

/* ---- the network -------------------------------------------------------------------- */

static int read_config(struct ruvm_tensors *config, struct ruvm_container *c, const char *path,
                       struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_hub_config_read(config, &c->arena, map.data, map.size, err);
    ruvm_file_unmap(&map);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, path);
    return rc;
}

static int read_graph(struct ruvm_tensors *t, struct ruvm_container *c, struct ruvm_error *err)
{
    struct ruvm_tensors config = {0};
    const char *path = ruvm_container_beside(c, "config.json");
    int rc = path ? read_config(&config, c, path, err) : RUVM_OK;
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_onnx_graph_read(t, &c->arena, &c->onnx, path ? &config : NULL, err);
    t->format = c->tensors.format;
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, c->path);
    return rc;
}

int ruvm_container_network(struct ruvm_tensors *t, struct ruvm_container *c, struct ruvm_error *err)
{
    *t = c->tensors;
    if (c->kind == RUVM_CONTAINER_ONNX)
        return read_graph(t, c, err);
    if (c->kind == RUVM_CONTAINER_SAFETENSORS)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: config.json is missing beside it: it says what network the weights "
                         "are",
                         c->path);
    return RUVM_OK;
}

/* ---- files -------------------------------------------------------------------------- */

const struct ruvm_map *ruvm_container_file(const struct ruvm_container *c, size_t i,
                                           const char **name)
{
    const char *slash = strrchr(c->path, '/'), *own = slash ? slash + 1 : c->path, *unused;
    name = name ? name : &unused;
    *name = own;
    if (c->kind == RUVM_CONTAINER_HUB) {
        if (i >= c->hub.n_files)
            return NULL;
        *name = c->hub.files[i].name;
        return &c->hub.files[i].map;
    }
    if (i == 0)
        return c->file.data ? &c->file : &c->onnx.file;
    if (i > c->onnx.n_others)
        return NULL;
    *name = c->other_names[i - 1];
    return &c->onnx.others[i - 1];
}

uint64_t ruvm_container_bytes(const struct ruvm_container *c)
{
    uint64_t n = 0;
    const struct ruvm_map *map;
    for (size_t i = 0; (map = ruvm_container_file(c, i, NULL)) != NULL; i++)
        n += map->size;
    return n;
}

uint32_t ruvm_container_crc32(const struct ruvm_container *c)
{
    uint32_t crc = 0;
    const struct ruvm_map *map;
    for (size_t i = 0; (map = ruvm_container_file(c, i, NULL)) != NULL; i++)
        crc = ruvm_crc32(crc, map->data, map->size);
    return crc;
}
