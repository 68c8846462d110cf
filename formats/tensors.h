/* The directory of a foreign model file: named views and metadata, no meaning.
 *
 * Every importer fills one struct ruvm_tensors; lib/convert/names.c and model.c
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
};

struct ruvm_view {
    const char *name;
    enum ruvm_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[4];      /* outermost first: [rows, cols] */
    const uint8_t *data;   /* unaligned, little-endian */
    size_t bytes;          /* of data */
    const uint8_t *scales; /* I8_GROUPS: f32 a group, unaligned */
    uint32_t group;        /* I8_GROUPS: values a scale */
    float scale;           /* I8_SCALED */
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

const struct ruvm_view *ruvm_tensors_find(const struct ruvm_tensors *t, const char *name);
/* false when the key is absent or a text. */
bool ruvm_tensors_number(const struct ruvm_tensors *t, const char *key, double *number);

/* The little-endian float at p, which need not be aligned. */
float ruvm_tensors_f32(const uint8_t *p);

/* Row `row` of a matrix (or the whole of a vector, row 0) as float; cols values. */
void ruvm_view_row(const struct ruvm_view *v, uint64_t row, float *out);

#endif
