/* The bare RUVM layout (v0: reserved bytes zero) as a directory of tensors, so that it
 * converts like any foreign model. The layout has int8 values and no scale, no
 * norms, no RoPE base: views are RUVM_DTYPE_I8_SCALED with scale 1, so that values
 * are whole steps until the caller, who knows the real value of a step, sets
 * view->scale; metadata "norms" is 0 (no norm tensors: their gains are 1),
 * norm_eps 1e-5 and rope_theta 10000 are assumed. Names are the image's own:
 * "embed", "layers.0.wq" ... "head". */
#ifndef RUVM_FORMATS_RUVM_V0_H
#define RUVM_FORMATS_RUVM_V0_H

#include "formats/tensors.h"

bool ruvm_v0_probe(const uint8_t *data, size_t size);
/* RUVM_ERR_CORRUPT with both sizes, RUVM_ERR_UNSUPPORTED for types other than int8. */
int ruvm_v0_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                 size_t size, struct ruvm_error *err);

#endif
