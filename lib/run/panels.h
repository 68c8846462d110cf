/* The matrices of an image as panels, for kernels that have them (kernels/panels.h).
 *
 *     rc = ruvm_panels_make(&panels, data, size, kernels, err);
 *     ... engine options .panels = panels.of_tensor ...
 *     ruvm_panels_free(&panels);
 *
 * They take the room of the matrices; the image's own bytes are hardly read any more
 * then, and a file's need not stay in memory.
 */
#ifndef RUVM_RUN_PANELS_H
#define RUVM_RUN_PANELS_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_error;
struct ruvm_kernels;

struct ruvm_panels {
    const uint8_t **of_tensor; /* [tensors], owned; NULL: there are none */
    uint8_t *data;             /* owned */
    size_t bytes;              /* of data */
    size_t first, last;        /* bytes of the image that have been laid out, from .. to */
};

/* The image is valid. Kernels without panels make none. RUVM_ERR_MEMORY. */
int ruvm_panels_make(struct ruvm_panels *p, const void *image, size_t image_bytes,
                     const struct ruvm_kernels *kernels, struct ruvm_error *err);
void ruvm_panels_free(struct ruvm_panels *p);

#endif
