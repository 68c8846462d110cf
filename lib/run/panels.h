/* The matrices of an image as panels, for kernels that have them (kernels/panels.h).
 *
 *     rc = ruvm_panels_plan(&panels, data, size, kernels, err);
 *     ... ruvm_engine_init() with the option .panels = panels.of_tensor ...
 *     rc = ruvm_panels_fill(&panels, map, err);
 *     ... the engine may work ...
 *     ruvm_panels_free(&panels);
 *
 * They take the room of the matrices. The image's own bytes are hardly read any more then,
 * so a mapped file's leave memory one matrix after the other: whatever walks over the
 * whole image, as opening an engine does, comes before that.
 */
#ifndef RUVM_RUN_PANELS_H
#define RUVM_RUN_PANELS_H

#include <stddef.h>
#include <stdint.h>

#include "formats/ruvm_read.h"

struct ruvm_error;
struct ruvm_map;
struct ruvm_kernels;

struct ruvm_panels {
    struct ruvm_image img;
    const uint8_t **of_tensor; /* [tensors], owned; NULL: there are none */
    uint8_t *data;             /* owned */
    size_t bytes;              /* of data */
    const struct ruvm_kernels *kernels;
};

/* Kernels without panels have none. RUVM_ERR_MEMORY, or why the image is refused. */
int ruvm_panels_plan(struct ruvm_panels *p, const void *image, size_t image_bytes,
                     const struct ruvm_kernels *kernels, struct ruvm_error *err);
/* map: where the image is mapped, or NULL when it is not a file of its own. RUVM_ERR_MEMORY. */
int ruvm_panels_fill(struct ruvm_panels *p, const struct ruvm_map *map, struct ruvm_error *err);
void ruvm_panels_free(struct ruvm_panels *p);

#endif
