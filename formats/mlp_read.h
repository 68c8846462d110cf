/* Reader of a RUVM image that holds a classifier: validates once, then answers in place.
 *
 *     struct ruvm_mlp_image m;
 *     int rc = ruvm_mlp_image_open(&m, data, n_bytes, NULL);
 *
 * Freestanding; the twin of ruvm_read.h, which says what holds for the bytes.
 */
#ifndef RUVM_FORMATS_MLP_READ_H
#define RUVM_FORMATS_MLP_READ_H

#include "formats/mlp_layout.h"
#include "formats/ruvm_read.h"

struct ruvm_mlp_image {
    struct ruvm_image img; /* vocab: outputs, dim: inputs; frame, tensors and meta are set */
    const uint8_t *mlp;    /* MLPN */
    const int16_t *bias;
    const uint8_t *labels; /* NULL when absent */
    uint32_t labels_bytes;
    uint8_t output; /* enum ruvm_mlp_output */
};

struct ruvm_mlp_layer {
    struct ruvm_tensor w;
    struct ruvm_bias bias; /* of every output, perhaps zeros */
    uint8_t act;           /* enum ruvm_mlp_act */
    uint16_t slope;
};

struct ruvm_mlp_input {
    int32_t centre;
    uint16_t mult;
    uint8_t shift;
    int8_t exp;
};

/* Whether the bytes begin as a classifier does: an image of version 1 without heads. */
bool ruvm_mlp_image_probe(const void *data, size_t size);
/* As ruvm_image_open(); RUVM_ERR_UNSUPPORTED also for an image of another kind. */
int ruvm_mlp_image_open(struct ruvm_mlp_image *m, const void *data, size_t size,
                        struct ruvm_image_fault *fault);

struct ruvm_mlp_layer ruvm_mlp_image_layer(const struct ruvm_mlp_image *m, unsigned i);
struct ruvm_mlp_input ruvm_mlp_image_input(const struct ruvm_mlp_image *m, unsigned i);
/* Classes: the outputs, but two for one output. */
uint32_t ruvm_mlp_image_classes(const struct ruvm_mlp_image *m);
/* The name of a class in place, not NUL-terminated; NULL and 0 when there are none. */
const char *ruvm_mlp_image_label(const struct ruvm_mlp_image *m, uint32_t i, size_t *n_bytes);

#endif
