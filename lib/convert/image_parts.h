/* The small sections of an image: real numbers become mantissas and powers of two.
 *
 * Each function appends one section to out; the writer's sticky error says
 * whether memory sufficed.
 */
#ifndef RUVM_CONVERT_IMAGE_PARTS_H
#define RUVM_CONVERT_IMAGE_PARTS_H

#include "lib/base/buffer.h"
#include "lib/convert/calibrate.h"

/* ARCH: what the network computes, and the unit of its residual stream: sixteen times the
 * range seen stays below 2^30 steps. */
void ruvm_image_parts_arch(struct ruvm_buffer *out, const struct ruvm_model *m,
                           const struct ruvm_calibration *c);

/* NORM. RUVM_ERR_CORRUPT names a vector that is not finite. */
int ruvm_image_parts_norm(struct ruvm_buffer *out, struct ruvm_arena *arena,
                          const struct ruvm_model *m, struct ruvm_error *err);

/* BIAS. Nothing for a network without biases; else as above. */
int ruvm_image_parts_bias(struct ruvm_buffer *out, struct ruvm_arena *arena,
                          const struct ruvm_model *m, struct ruvm_error *err);

/* ROPE. Nothing when positions are learned. */
void ruvm_image_parts_rope(struct ruvm_buffer *out, const struct ruvm_model *m);

/* WIND. Nothing when all layers see the same. */
void ruvm_image_parts_window(struct ruvm_buffer *out, const struct ruvm_model *m);

/* KVSC. */
void ruvm_image_parts_kv(struct ruvm_buffer *out, const struct ruvm_calibration *c);

#endif
