/* What the files of lib/export/export*.c share: an export while it is being made. export.c
 * tells the order, export_gguf.c and export_hub.c write. */
#ifndef RUVM_EXPORT_EXPORT_H
#define RUVM_EXPORT_EXPORT_H

#include "lib/base/buffer.h"
#include "lib/export/export_tensors.h"
#include "lib/export/export_vocab.h"

struct ruvm_export_job {
    const struct ruvm_export_options *o;
    struct ruvm_export_result *r;
    struct ruvm_error *err;
    struct ruvm_arena arena;
    struct ruvm_export_source source;
    const struct ruvm_export_family *family;
    enum ruvm_dtype dtype; /* of the matrices */
    struct ruvm_export_tensors tensors;
    struct ruvm_export_vocab vocab; /* spelled; means nothing without source.has_vocab */
};

/* Adds a sentence for people to the result. */
void ruvm_export_note(struct ruvm_export_job *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define RUVM_EXPORT_RENAMED "%u tokens have the text of another one and are called [token N again]"

/* A token id that the source knows by that key, "bos" or "eos"; RUVM_VOCAB_NONE: none. */
uint32_t ruvm_export_token(const struct ruvm_export_job *j, const char *key);

/* export_gguf.c; one file. */
int ruvm_export_gguf(struct ruvm_export_job *j);
/* export_hub.c; a directory. */
int ruvm_export_hub(struct ruvm_export_job *j);
/* export_config.c; the text of config.json. */
int ruvm_export_config(struct ruvm_buffer *out, const struct ruvm_export_job *j);

#endif
