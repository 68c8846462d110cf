/* Container: weights that lie in one file or in several, opened by what they are.
 *
 *     struct ruvm_container c;
 *     struct ruvm_tensors t;
 *     rc = ruvm_container_open(&c, path, err);
 *     ... c.tensors: whatever is in it ...
 *     if (rc == RUVM_OK)
 *         rc = ruvm_container_network(&t, &c, err);
 *     ... t: a network's tensors, for ruvm_model_from_tensors() ...
 *     ruvm_container_close(&c);
 *
 * A folder, a safetensors file (with the config.json beside it), GGUF, ONNX (with its data in
 * other files), a llama2.c checkpoint, a bare RUVM v0 layout.
 */
#ifndef RUVM_IMPORT_CONTAINER_H
#define RUVM_IMPORT_CONTAINER_H

#include "formats/onnx.h"
#include "lib/import/hub.h"

enum ruvm_container_kind {
    RUVM_CONTAINER_FILE, /* one that needs no other */
    RUVM_CONTAINER_GGUF,
    RUVM_CONTAINER_SAFETENSORS, /* without a config.json */
    RUVM_CONTAINER_HUB,
    RUVM_CONTAINER_ONNX,
};

struct ruvm_container {
    enum ruvm_container_kind kind;
    const char *path; /* borrowed */
    struct ruvm_arena arena;
    struct ruvm_tensors tensors; /* under the names of the file; metadata if there is any */
    struct ruvm_map file;        /* data NULL: a folder, or ONNX in several files */
    struct ruvm_hub hub;
    struct ruvm_onnx onnx;
    const char **other_names; /* [onnx.n_others] */
};

/* Messages begin with the path of the file that they are about. After a failure nothing needs
 * closing. RUVM_ERR_IO, _CORRUPT, _UNSUPPORTED, _MISMATCH, _MEMORY. */
int ruvm_container_open(struct ruvm_container *c, const char *path, struct ruvm_error *err);
/* The bytes of the file alone, whatever stands beside it; they are borrowed. */
int ruvm_container_open_bytes(struct ruvm_container *c, const char *path, const void *data,
                              size_t size, struct ruvm_error *err);
void ruvm_container_close(struct ruvm_container *c);

/* The tensors and the metadata of a network: c->tensors, or what an ONNX graph makes of them.
 * RUVM_ERR_UNSUPPORTED, _MISMATCH, _MEMORY, when it is none. */
int ruvm_container_network(struct ruvm_tensors *t, struct ruvm_container *c,
                           struct ruvm_error *err);

/* The path of `name` in the folder of the container's file, or NULL when there is no such. */
const char *ruvm_container_beside(struct ruvm_container *c, const char *name);

/* File i that holds weights, and its name without the folder; NULL after the last. name may be
 * NULL. */
const struct ruvm_map *ruvm_container_file(const struct ruvm_container *c, size_t i,
                                           const char **name);
/* Of all files that hold weights, one after the other. */
uint64_t ruvm_container_bytes(const struct ruvm_container *c);
uint32_t ruvm_container_crc32(const struct ruvm_container *c);

#endif
