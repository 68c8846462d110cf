/* Writer of safetensors files, F32, F16 or BF16, tensor by tensor.
 *
 *     struct ruvm_file_output out;
 *     rc = ruvm_file_create(&out, path, err);
 *     if (rc == RUVM_OK)
 *         rc = ruvm_safetensors_begin(&out, tensors, n, dtype, err);
 *     for each tensor in that order, for each of its rows:
 *         rc = ruvm_safetensors_values(&out, dtype, row, n_cols, err);
 *     ... ruvm_file_commit, ruvm_file_abandon
 *
 * The same tensors give the same bytes. Nothing counts the values: what is written must be what
 * was announced.
 */
#ifndef RUVM_FORMATS_SAFETENSORS_WRITE_H
#define RUVM_FORMATS_SAFETENSORS_WRITE_H

#include "formats/tensors.h"
#include "lib/base/file.h"

/* Announces tensors of that type, f32, f16 or bf16: of each view only name, n_dims and dims are
 * looked at. Names are UTF-8 and differ. RUVM_ERR_IO, _MEMORY. */
int ruvm_safetensors_begin(struct ruvm_file_output *out, const struct ruvm_view *views, size_t n,
                           enum ruvm_dtype dtype, struct ruvm_error *err);

/* The next n values. RUVM_ERR_UNSUPPORTED: one is not finite, or beyond the type. */
int ruvm_safetensors_values(struct ruvm_file_output *out, enum ruvm_dtype dtype,
                            const float *values, size_t n, struct ruvm_error *err);

#endif
