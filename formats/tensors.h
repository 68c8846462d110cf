/* The directory of a foreign model file: named views and metadata, no meaning.
 *
 * Every importer fills one struct ruvm_tensors; lib/import/names.c and model.c
 * give the names their meaning. Data is viewed in place in the mapped file.
 */
#ifndef RUVM_FORMATS_TENSORS_H
#define RUVM_FORMATS_TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/arena.h"
#include "lib/base/error.h"

enum ruvm_dtype {
    RUVM_DTYPE_F32,
    RUVM_DTYPE_I8_GROUPS, /* int8 values, then one f32 scale a group (llama2.c v2) */
    RUVM_DTYPE_I8_SCALED, /* int8 values times one constant scale (RUVM v0) */
    RUVM_DTYPE_F64,
    RUVM_DTYPE_F16,
    RUVM_DTYPE_BF16,
    RUVM_DTYPE_Q4_0, /* ggml's blocks of 32 values; a row is whole blocks */
    RUVM_DTYPE_Q4_1,
    RUVM_DTYPE_Q5_0,
    RUVM_DTYPE_Q5_1,
    RUVM_DTYPE_Q8_0,
    RUVM_DTYPE_Q4_K, /* ggml's super-blocks of 256 */
    RUVM_DTYPE_Q5_K,
    RUVM_DTYPE_Q6_K,
    RUVM_DTYPE_CODES, /* packed rows of our own image, beside their scales and multipliers */
    RUVM_N_DTYPES,
};

struct ruvm_view {
    const char *name;
    enum ruvm_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[4];      /* outermost first: [rows, cols] */
    const uint8_t *data;   /* unaligned, little-endian */
    size_t bytes;          /* of data */
    const uint8_t *scales; /* I8_GROUPS: f32 a group, unaligned. CODES: as in the image */
    uint32_t group;        /* I8_GROUPS: values a scale. CODES: a multiplier; 0: none */
    float scale;           /* I8_SCALED. CODES: 2^scale_exp */
    int codes;             /* CODES: enum ruvm_tensor_type */
    const uint32_t *order; /* [rows] which stored row each row is; NULL: all in order */
    uint64_t stride;       /* F64 F32 F16 BF16: stored as [cols, rows], so many values from one
                            * column to the next; 0: stored as [rows, cols] */
    bool signs;            /* a matrix that multiplies only the signs of its input, times the
                            * mean of their sizes: no file has one, our own XNOR does */
};

struct ruvm_meta {
    const char *key;
    const char *text; /* NULL when it is a number */
    double number;
};

struct ruvm_tensors {
    const char *format; /* e.g. "llama2.c legacy checkpoint": for people */
    struct ruvm_view *views;
    size_t n_views;
    struct ruvm_meta *meta;
    size_t n_meta;
};

/* Adds to the directory (arrays grow in the arena); false when memory is short. */
bool ruvm_tensors_add(struct ruvm_tensors *t, struct ruvm_arena *arena,
                      const struct ruvm_view *view);
bool ruvm_tensors_meta(struct ruvm_tensors *t, struct ruvm_arena *arena, const char *key,
                       double number);
/* key and text are borrowed. */
bool ruvm_tensors_meta_text(struct ruvm_tensors *t, struct ruvm_arena *arena, const char *key,
                            const char *text);

const struct ruvm_view *ruvm_tensors_find(const struct ruvm_tensors *t, const char *name);
/* false when the key is absent or a text. */
bool ruvm_tensors_number(const struct ruvm_tensors *t, const char *key, double *number);
/* NULL when the key is absent or a number. */
const char *ruvm_tensors_text(const struct ruvm_tensors *t, const char *key);

/* What people call the type: "f32", "bf16", "q4_K" ... */
const char *ruvm_dtype_name(enum ruvm_dtype dtype);
/* Values that are stored together (1, 32, 256) and their bytes; a row is whole blocks. Not for
 * the two int8 types, whose scales lie elsewhere. */
uint32_t ruvm_dtype_block(enum ruvm_dtype dtype, uint32_t *bytes);
/* n values of F64, F32, F16 or BF16 that stand side by side. */
void ruvm_dtype_floats(enum ruvm_dtype dtype, const uint8_t *p, uint64_t n, float *out);

/* The little-endian float at p, which need not be aligned. */
float ruvm_tensors_f32(const uint8_t *p);

/* Row `row` of a matrix (or the whole of a vector, row 0) as float; cols values. */
void ruvm_view_row(const struct ruvm_view *v, uint64_t row, float *out);

#endif
