/* One small Llama, written to files of every container. */
#ifndef TESTS_SUPPORT_CONTAINER_FILES_H
#define TESTS_SUPPORT_CONTAINER_FILES_H

#include "formats/tensors.h"

/* A folder of its own, removed with all that is in it when the process ends. Static. */
const char *container_folder(void);
/* "folder/name" in a ring of 64. */
const char *container_path(const char *folder, const char *name);
void container_text(const char *folder, const char *name, const char *text);
void container_copy(const char *folder, const char *name, const char *from);

/* Views in one safetensors file, or in two with an index. */
void container_safetensors(const char *folder, const char *name, const struct ruvm_view *views,
                           size_t n);
void container_sharded(const char *folder, const struct ruvm_tensors *t);

enum container {
    CONTAINER_LLAMA2C,
    CONTAINER_HUB,
    CONTAINER_SHARDED_HUB,
    CONTAINER_GGUF,
    CONTAINER_ONNX,
    CONTAINER_ONNX_EXTERNAL,
    N_CONTAINERS,
};

/* The same network in each: what to give to quantize. vocab: rows of its embedding. The
 * tokenizer (a tokenizer.json, or NULL) is put beside what has one beside it. */
const char *container_write(enum container c, unsigned vocab, const char *tokenizer);

#endif
