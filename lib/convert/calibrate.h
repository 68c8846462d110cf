/* Calibrate: the ranges an image must know before it runs, seen on the model's own samples.
 *
 * Activations are quantized by the engine as they come; only what is stored
 * between tokens (the KV cache) and the one fixed unit (the residual stream)
 * needs ranges in the image.
 */
#ifndef RUVM_CONVERT_CALIBRATE_H
#define RUVM_CONVERT_CALIBRATE_H

#include "lib/convert/samples.h"

/* Values of one channel lie in low .. high; low > high: nothing was seen. */
struct ruvm_range {
    float low, high;
};

struct ruvm_calibration {
    uint32_t n_layers, dim, kv_dim;
    struct ruvm_range residual;
    struct ruvm_range *key;   /* [n_layers, kv_dim] after rotation */
    struct ruvm_range *value; /* [n_layers, kv_dim] */
};

/* Ranges that have seen nothing yet. RUVM_ERR_MEMORY. */
int ruvm_calibrate_init(struct ruvm_calibration *c, struct ruvm_arena *arena,
                        const struct ruvm_model *m, struct ruvm_error *err);

/* Widens the ranges by what the model does while it draws samples, and while it reads a
 * quarter as many tokens that are drawn from the whole vocabulary. _CORRUPT when an activation
 * is not finite; else as ruvm_samples_draw(). */
int ruvm_calibrate_run(struct ruvm_calibration *c, struct ruvm_arena *arena,
                       struct ruvm_reference *r, const struct ruvm_model *m,
                       const struct ruvm_samples_options *o, struct ruvm_error *err);

/* Widens the ranges by what the model does on a text. _CORRUPT as above; _IO "interrupted".
 * progress: stage "calibrate on the text", in positions. */
int ruvm_calibrate_read(struct ruvm_calibration *c, struct ruvm_reference *r,
                        const struct ruvm_text *text, const struct ruvm_progress *progress,
                        struct ruvm_error *err);

#endif
