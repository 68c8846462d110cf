/* What the verbs share: progress, files in memory, kernels by name, quality.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_COMMON_H
#define RUVM_TOOL_COMMON_H

#include "../ruvm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called during long work, often; done <= total. Return nonzero to stop: the verb
 * then fails with RUVM_ERR_IO and "interrupted", leaving no file. */
struct ruvm_progress {
    int (*report)(void *user, const char *stage, uint64_t done, uint64_t total);
    void *user;
};

/* A file in memory: a RUVM image mapped, or the built-in demo model. */
struct ruvm_file {
    const uint8_t *data; /* 64-byte aligned */
    size_t size;
    const char *name;    /* for messages */
    void *owned;         /* private */
    const uint8_t *pack; /* the pack in which it lies, or NULL */
    size_t pack_size;
};

/* Maps path; of a pack the model in it. NULL or "demo": the demo model built into the
 * library. */
int ruvm_file_open(struct ruvm_file *file, const char *path, struct ruvm_error *err);
void ruvm_file_close(struct ruvm_file *file);

/* The kernel table of that name (NULL: the best of this machine). RUVM_ERR_ARG with the
 * names that exist. */
int ruvm_kernels_find(const struct ruvm_kernels **kernels, const char *name,
                      struct ruvm_error *err);
const char *ruvm_kernels_name(const struct ruvm_kernels *kernels);
/* Name of table i and whether this machine runs it; NULL past the last. */
const char *ruvm_kernels_list(unsigned i, bool *available);

struct ruvm_spread { /* of repeated measurements */
    double median, min, max;
    uint32_t n;
    double q1, q3; /* quartiles */
};

/* How much worse a quantized model predicts than the float one. */
struct ruvm_quality {
    uint64_t n_positions;   /* predictions compared */
    double kl_mean, kl_p99; /* KL(float || quantized), nats a position */
    double kl_mean_error;   /* standard error of kl_mean as an estimate for other text */
    double perplexity, perplexity_float;
    double top1;          /* share of positions with the same most likely token, 0..1 */
    double top5;          /* share where the float's best is among our best five */
    char text_source[64]; /* "own samples" or the file's name */
};

#ifdef __cplusplus
}
#endif

#endif
