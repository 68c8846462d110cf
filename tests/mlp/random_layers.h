/* Classifiers for tests: random layers of given widths, and their image. */
#ifndef TESTS_MLP_RANDOM_LAYERS_H
#define TESTS_MLP_RANDOM_LAYERS_H

#include "lib/base/buffer.h"
#include "lib/mlp/layers.h"
#include "lib/quant/scheme.h"

struct random_layers {
    uint32_t widths[6]; /* inputs, then outputs of each layer; ended by 0 */
    uint8_t act;        /* of all layers but the last */
    uint8_t output;
    const char *type; /* as quantize takes it */
    uint64_t seed;
    const char *labels; /* lines, or NULL */
};

void random_layers_make(struct ruvm_layers *l, struct ruvm_arena *arena,
                        const struct random_layers *o);
/* The image of it, 64-byte aligned; free() it. Inputs lie within -2 and 2. */
uint8_t *random_layers_image(size_t *size, const struct ruvm_layers *l,
                             const struct random_layers *o);
/* Inputs of a row within twice their range. */
void random_layers_row(double *x, uint32_t n, uint64_t *state);

#endif
