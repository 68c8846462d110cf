/* Tiny models to quantize: files in, one call of the verb, the image out. */
#ifndef TESTS_CONVERT_QUANTIZE_TINY_H
#define TESTS_CONVERT_QUANTIZE_TINY_H

#include "formats/ruvm_read.h"
#include "lib/base/file.h"
#include "lib/ruvm_tool.h"
#include "tests/support/tiny_model.h"

enum { N_SHAPES = 4 };
extern const struct tiny_shape job_shapes[N_SHAPES];
/* Three groups of 16 columns and a ragged one in w_down; parts to prune. */
extern const struct tiny_shape job_small;

struct job_files {
    const char *model, *tokenizer, *output;
};

struct job_files job_files(const struct tiny_shape *s);
void job_remove(struct job_files f);
/* 200 positions are measured. */
struct ruvm_quantize_options job_options(struct job_files f);

/* A model, how it is quantized, and what came of it. */
struct job {
    struct job_files f;
    struct ruvm_quantize_options o;
    struct ruvm_quantize_result r;
    struct ruvm_error err;
    struct ruvm_map map; /* of the image, when one was written */
    struct ruvm_image img;
};

struct job job_start(const struct tiny_shape *shape);
/* That type (NULL: none), calibrated on job_text(). */
struct job job_start_with_text(const struct tiny_shape *shape, const char *type);
/* Must succeed, once or again. */
void job_work(struct job *j);
/* Gives up the result and the view of the image. */
void job_forget(struct job *j);
void job_finish(struct job *j);

/* A text that the letters of every tiny tokenizer can spell. */
const char *job_text(void);
/* A copy of the image, and whether the same came out again. */
struct ruvm_buffer job_bytes(const struct job *j);
bool job_is_same(const struct job *j, const struct ruvm_buffer *b);

/* Quantizes, expects a failure whose text holds `word`, and no file. */
void job_refused(const struct ruvm_quantize_options *o, int code, const char *word);
/* Golden vectors verify, and there are so many. */
void job_check_golden(const struct ruvm_map *map, uint32_t n_tokens);
/* The report says of each tensor what the image holds. */
void job_check_tensors(const struct job *j);

#endif
