/* ruvm_export(): from an image or a model back to formats of others.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_EXPORT_H
#define RUVM_TOOL_EXPORT_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ruvm_export_options {
    const char *input;     /* a RUVM image, "demo", or what ruvm_quantize() reads */
    const char *output;    /* gguf: a file; safetensors: a folder, new, empty or of such a call */
    const char *to;        /* "gguf", "safetensors" */
    const char *type;      /* of the matrices: "f32", "f16", "bf16", gguf also "q8_0"; NULL: f32 */
    const char *tokenizer; /* as for quantize; NULL: the model's or the image's own */
    const char *name;      /* of the model, in GGUF; NULL: the image's own */
    uint32_t context;      /* 0: the source's */
    double v0_scale;       /* as for quantize */
    struct ruvm_progress progress;
};

struct ruvm_export_result {
    char format[16], type[8], architecture[16]; /* "gguf", "f32", "llama" */
    char source_format[64];
    uint64_t parameters, source_bytes; /* source_bytes 0: not a file */
    uint64_t bytes;                    /* of all files; 0: not a file */
    uint32_t n_tensors, n_files;
    bool has_tokenizer;
    char note[1024]; /* for people: what the file cannot say or does otherwise, or "" */
    double seconds;  /* measured */
};

/* Writes the weights as floats, those of an image exactly as it uses them. What the format
 * cannot say is refused. */
int ruvm_export(const struct ruvm_export_options *o, struct ruvm_export_result *r,
                struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
