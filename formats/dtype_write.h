/* Rows of floats as a stored type: the other way of ruvm_view_row(). */
#ifndef RUVM_FORMATS_DTYPE_WRITE_H
#define RUVM_FORMATS_DTYPE_WRITE_H

#include "formats/tensors.h"

/* Whether rows of this type can be written: f32 f16 bf16 q8_0 q4_0. */
bool ruvm_dtype_writes(enum ruvm_dtype dtype);

/* n values, whole blocks of the type (see ruvm_dtype_block), at out. Rounds as ggml's
 * reference does. false when a value is not finite or beyond the type's range. */
bool ruvm_dtype_write(enum ruvm_dtype dtype, const float *values, uint64_t n, uint8_t *out);

#endif
