/* Composes the image of a classifier: weights quantized, inputs and biases as integers.
 */
#ifndef RUVM_MLP_COMPOSE_H
#define RUVM_MLP_COMPOSE_H

#include "lib/base/buffer.h"
#include "lib/mlp/inputs.h"
#include "lib/quant/matrix.h"

struct ruvm_compose {
    const struct ruvm_layers *layers;
    const struct ruvm_scheme *schemes; /* [layers->n] */
    const struct ruvm_inputs *inputs;  /* rounded to the records */
    const struct ruvm_mlp_input *records;
    const struct ruvm_grid *grid; /* data to round the weights by, or NULL */
    const char *labels;           /* lines, or NULL */
    size_t labels_bytes;
    const char *meta; /* lines */
    size_t meta_bytes;
    struct ruvm_quant_loss *loss; /* [layers->n] filled */
};

/* The file into out. Types below 8 bits are rounded by what the inputs of each layer look like
 * (GPTQ) where there is a grid and the layer is not too wide for that. RUVM_ERR_MEMORY,
 * _UNSUPPORTED. */
int ruvm_compose_image(struct ruvm_buffer *out, struct ruvm_arena *arena,
                       const struct ruvm_compose *c, struct ruvm_error *err);

/* The tensors as rules name them: "layers.0" and so on. */
void ruvm_compose_tensors(struct ruvm_scheme_tensor *tensors, const struct ruvm_layers *l);

#endif
