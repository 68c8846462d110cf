/* A Hugging Face directory: config.json, the weights in one or many safetensors files, and
 * where its tokenizer is.
 *
 *     struct ruvm_hub hub;
 *     if (ruvm_hub_probe(path))
 *         rc = ruvm_hub_open(&hub, path, err);
 *     ... hub.tensors, hub.tokenizer_json ...
 *     ruvm_hub_close(&hub);
 *
 * Weights stay in the mapped files; besides them memory is needed for the JSON texts only.
 */
#ifndef RUVM_IMPORT_HUB_H
#define RUVM_IMPORT_HUB_H

#include "formats/tensors.h"
#include "lib/base/file.h"

struct ruvm_hub_file {
    const char *name, *path; /* path: the directory's, with name */
    struct ruvm_map map;
    size_t first_view, end_view; /* of tensors.views while it is opened: those of this file */
};

struct ruvm_hub {
    struct ruvm_arena arena;
    struct ruvm_tensors tensors; /* views and metadata (see lib/import/hub_config.h) */
    struct ruvm_hub_file *files; /* of weights */
    size_t n_files;
    /* Paths, or NULL where there is no such file. */
    const char *config, *tokenizer_json, *tokenizer_model, *tokenizer_config;
    /* Of tokenizer_config.json and chat_template.jinja; NULL: none. */
    const char *chat_template;
    int add_bos; /* 1 or 0 as tokenizer_config.json says; -1: it does not */
};

/* Whether the path is a directory, or a safetensors file beside a config.json. */
bool ruvm_hub_probe(const char *path);

/* Opens a directory, or that of a safetensors file (whose weights are then taken, with the
 * other files of its index). Messages begin with the path of the file which they are about.
 * After a failure nothing needs closing. RUVM_ERR_IO, _CORRUPT, _UNSUPPORTED, _MISMATCH,
 * _MEMORY. */
int ruvm_hub_open(struct ruvm_hub *hub, const char *path, struct ruvm_error *err);
void ruvm_hub_close(struct ruvm_hub *hub);

#endif
