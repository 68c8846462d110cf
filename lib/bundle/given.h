/* Given: vectors that people bring, as NumPy has them or with the texts they are of.
 *
 *     rc = ruvm_given_read(&g, path, &err);
 *     ruvm_given_row(&g, i, x);
 *     ruvm_given_free(&g);
 *
 * A file is a .npy array, a row a vector, of any usual type of numbers; or JSONL, an object a
 * line whose "vector" or "embedding" is an array of numbers.
 */
#ifndef RUVM_BUNDLE_GIVEN_H
#define RUVM_BUNDLE_GIVEN_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_error;

struct ruvm_given {
    uint32_t n, dims;
    float *v; /* [n, dims] owned, all finite */
};

/* RUVM_ERR_CORRUPT with the line or the field; _UNSUPPORTED: dims that a blob's vectors cannot
 * have; _MEMORY, _IO. Nothing is left to free after a failure. */
int ruvm_given_read(struct ruvm_given *g, const char *path, struct ruvm_error *err);
/* The same of bytes, which the messages call `name`. */
int ruvm_given_parse(struct ruvm_given *g, const char *name, const uint8_t *data, size_t size,
                     struct ruvm_error *err);
void ruvm_given_free(struct ruvm_given *g);

/* x[dims] in the direction of v: the largest of them becomes +-2^24. */
void ruvm_given_scale(int32_t *x, const float *v, uint32_t dims);

#endif
