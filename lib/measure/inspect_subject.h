/* What is looked at: a RUVM image or foreign weights, and its tensors as floats.
 *
 *     struct ruvm_subject s;
 *     rc = ruvm_subject_open(&s, path, err);
 *     if (rc == RUVM_OK)
 *         rc = ruvm_subject_list(&matrices, &n, &s, by_meaning, err);
 *     ... ruvm_matrix_row() ...
 *     ruvm_subject_close(&s);
 */
#ifndef RUVM_MEASURE_INSPECT_SUBJECT_H
#define RUVM_MEASURE_INSPECT_SUBJECT_H

#include "formats/ruvm_read.h"
#include "lib/import/container.h"
#include "lib/import/model.h"
#include "lib/ruvm_tool.h"

struct ruvm_subject {
    const char *name; /* for messages */
    struct ruvm_arena arena;
    struct ruvm_file file;           /* data NULL: a folder */
    bool is_image, is_v0;            /* of a RUVM file */
    struct ruvm_image img;           /* of v0 only the shape */
    struct ruvm_container container; /* path NULL: an image */
    bool has_model;                  /* foreign, and a network: */
    struct ruvm_tensors network;
    struct ruvm_model model;
    struct ruvm_error why; /* why not */
};

/* A tensor; which of the three sources it has is private. */
struct ruvm_matrix {
    const char *name; /* in the arena of the subject */
    char type[24];
    uint32_t n_dims;
    uint64_t dims[4];
    uint64_t rows, cols;
    const struct ruvm_view *view;
    const int16_t *vector; /* [cols] times 2^vector_exp, of an image */
    int8_t vector_exp;
    struct ruvm_tensor tensor;
};

/* Messages begin with a path. After a failure nothing needs closing. */
int ruvm_subject_open(struct ruvm_subject *s, const char *path, struct ruvm_error *err);
void ruvm_subject_close(struct ruvm_subject *s);

/* Whether its tensors can be listed by what they mean. */
bool ruvm_subject_is_model(const struct ruvm_subject *s);
/* The numbers of the network in r, as far as they are known. */
void ruvm_subject_numbers(struct ruvm_inspect_result *r, const struct ruvm_subject *s);
/* "key=value" lines of what else the file says; NULL: no memory. */
char *ruvm_subject_meta(struct ruvm_subject *s, struct ruvm_arena *arena);

/* The tensors: as they stand in the file (of an image those with a type of their own), or all
 * parts of a model under our own names, in our order. RUVM_ERR_MEMORY. */
int ruvm_subject_list(struct ruvm_matrix **list, size_t *n, struct ruvm_subject *s, bool by_meaning,
                      struct ruvm_error *err);
/* Row r < m->rows, dequantized. levels: room for cols. */
void ruvm_matrix_row(const struct ruvm_matrix *m, uint64_t r, float *out, int8_t *levels);
/* Room for n rows of floats, then their levels; free() it. NULL: no memory. */
float *ruvm_matrix_room(const struct ruvm_matrix *m, size_t n);

#endif
