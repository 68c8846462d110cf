/* The float model of a classifier: layers of plain matrices, and the oracle that runs them.
 *
 *     y = act(w x + bias), layer by layer; what the outputs are is said beside.
 */
#ifndef RUVM_MLP_LAYERS_H
#define RUVM_MLP_LAYERS_H

#include <stdint.h>

#include "formats/mlp_layout.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

struct ruvm_layer {
    uint32_t rows, cols;
    float *w;     /* [rows, cols] */
    double *bias; /* [rows] */
    uint8_t act;  /* enum ruvm_mlp_act */
    double slope; /* of LEAKY_RELU */
};

struct ruvm_layers {
    struct ruvm_layer *layer;
    uint32_t n;
    uint8_t output;         /* enum ruvm_mlp_output */
    double *centre, *range; /* [inputs] what the file says of inputs: usually centre +- range;
                             * NULL: nothing */
};

enum { RUVM_LAYERS_MAX = 255 };

static inline uint32_t ruvm_layers_inputs(const struct ruvm_layers *l)
{
    return l->layer[0].cols;
}
static inline uint32_t ruvm_layers_outputs(const struct ruvm_layers *l)
{
    return l->layer[l->n - 1].rows;
}
uint32_t ruvm_layers_widest(const struct ruvm_layers *l);

/* An activation as the exact function. */
double ruvm_layers_activate(uint8_t act, double slope, double x);

/* One layer. y: [rows]; x: [cols]. */
void ruvm_layers_apply(const struct ruvm_layer *layer, double *y, const double *x);
/* The outputs before softmax or sigmoid. work: [2 * widest]. */
void ruvm_layers_run(const struct ruvm_layers *l, double *logits, const double *x, double *work);
/* The class that outputs stand for, as ruvm_mlp_best() says it. */
uint32_t ruvm_layers_best(const double *logits, uint32_t n);

#endif
