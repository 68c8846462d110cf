/* Writer of GGUF version 3.
 *
 *     struct ruvm_gguf_writer w = {0};
 *     ruvm_gguf_put_text(&w, "general.architecture", "llama", 5);
 *     ruvm_gguf_put_u32(&w, "llama.block_count", 5);
 *     struct ruvm_gguf_tensor t = {.name = "token_embd.weight", .n_dims = 2, .dims = {512, 64},
 *                                  .dtype = RUVM_DTYPE_F16, .row = my_row, .user = me};
 *     rc = ruvm_gguf_write(&w, &t, 1, "model.gguf", err);
 *     ruvm_gguf_drop(&w);
 *
 * The caller gives each key and each name once, and the keys that llama.cpp asks for.
 */
#ifndef RUVM_FORMATS_GGUF_WRITE_H
#define RUVM_FORMATS_GGUF_WRITE_H

#include "formats/gguf_read.h"
#include "formats/tensors.h"
#include "lib/base/buffer.h"

/* Zero it before use. */
struct ruvm_gguf_writer {
    struct ruvm_buffer pairs; /* the metadata as it stands in the file */
    uint64_t n_pairs;
};

struct ruvm_gguf_tensor {
    const char *name; /* at most 63 bytes, as llama.cpp has it */
    uint32_t n_dims;
    uint64_t dims[RUVM_GGUF_MAX_DIMS]; /* outermost first */
    enum ruvm_dtype dtype;             /* one that ruvm_dtype_writes() */
    /* Gives the values of a row, rows in order, each once. A failure ends the writing. */
    int (*row)(void *user, uint64_t row, float *out);
    void *user;
};

/* Metadata, in the order of the file; a failure shows when it is written. */
void ruvm_gguf_put_text(struct ruvm_gguf_writer *w, const char *key, const void *text, size_t n);
void ruvm_gguf_put_u32(struct ruvm_gguf_writer *w, const char *key, uint32_t value);
void ruvm_gguf_put_f32(struct ruvm_gguf_writer *w, const char *key, float value);
void ruvm_gguf_put_bool(struct ruvm_gguf_writer *w, const char *key, bool value);
void ruvm_gguf_put_texts(struct ruvm_gguf_writer *w, const char *key,
                         const struct ruvm_gguf_string *texts, size_t n);
void ruvm_gguf_put_i32s(struct ruvm_gguf_writer *w, const char *key, const int32_t *values,
                        size_t n);
void ruvm_gguf_put_f32s(struct ruvm_gguf_writer *w, const char *key, const float *values, size_t n);

/* Writes the file, a row at a time; it is there when all of it is. RUVM_ERR_ARG for a tensor
 * that GGUF cannot hold, RUVM_ERR_UNSUPPORTED for a value beyond its type, what row() returns,
 * RUVM_ERR_IO, _MEMORY. The writer may write again. */
int ruvm_gguf_write(const struct ruvm_gguf_writer *w, const struct ruvm_gguf_tensor *tensors,
                    size_t n_tensors, const char *path, struct ruvm_error *err);
void ruvm_gguf_drop(struct ruvm_gguf_writer *w);

#endif
