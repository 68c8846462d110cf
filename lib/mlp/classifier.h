/* A classifier ready to run on a workstation: an image in memory and the chip's own code.
 */
#ifndef RUVM_MLP_CLASSIFIER_H
#define RUVM_MLP_CLASSIFIER_H

#include "formats/mlp_read.h"
#include "lib/mlp/layers.h"
#include "lib/ruvm_tool.h"

struct ruvm_classifier {
    struct ruvm_mlp_image image;
    struct ruvm_mlp *mlp;
    void *memory; /* owned */
    size_t memory_bytes;
    struct ruvm_mlp_input *inputs; /* [n_inputs] owned */
    int32_t *x, *logits;           /* of the row at hand, owned with inputs */
    uint16_t *p;
};

/* image stays the caller's. name: for messages. After a failure nothing needs closing. */
int ruvm_classifier_open(struct ruvm_classifier *c, const void *image, size_t bytes,
                         const struct ruvm_kernels *kernels, const char *name,
                         struct ruvm_error *err);
void ruvm_classifier_close(struct ruvm_classifier *c);

/* Puts a row into c->x; returns how many of its values saturate. */
uint32_t ruvm_classifier_take(struct ruvm_classifier *c, const double *row);
/* c->logits of c->x. */
void ruvm_classifier_eval(struct ruvm_classifier *c);
void ruvm_classifier_fill(struct ruvm_classifier_info *info, const struct ruvm_classifier *c);

#endif
