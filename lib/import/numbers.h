/* Numbers: the metadata of a directory as the numbers of a float model. */
#ifndef RUVM_IMPORT_NUMBERS_H
#define RUVM_IMPORT_NUMBERS_H

#include "lib/base/problems.h"
#include "lib/import/model.h"

/* How many layers an image can have: m->n_layers may be more after numbers that do not fit. */
enum { RUVM_NUMBERS_MAX_LAYERS = 255 };

/* Everything in *m that is a number, of the whole network; head_dim 0: none can be told. What
 * is missing or beyond an image is noted, and kept where tensors can still be compared with it. */
void ruvm_numbers_read(struct ruvm_model *m, const struct ruvm_tensors *t,
                       struct ruvm_problems *problems);

/* Sets m->layers[].windowed. */
void ruvm_numbers_windows(struct ruvm_model *m, const struct ruvm_tensors *t,
                          struct ruvm_problems *problems);

/* Sets m->rope_factors, of the metadata or of the tensor given (or NULL). false: memory. */
bool ruvm_numbers_rope(struct ruvm_model *m, struct ruvm_arena *arena, const struct ruvm_tensors *t,
                       const struct ruvm_view *factors, struct ruvm_problems *problems);

/* A switch of the metadata that is `missing` when it is not given. */
bool ruvm_numbers_is_set(const struct ruvm_tensors *t, const char *key, bool missing);

#endif
