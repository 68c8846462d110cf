/* Reader of safetensors files: a JSON header that names tensors, then their bytes. */
#ifndef RUVM_FORMATS_SAFETENSORS_H
#define RUVM_FORMATS_SAFETENSORS_H

#include "formats/tensors.h"

/* Looks at the first nine bytes: the header's length and its brace. */
bool ruvm_safetensors_probe(const uint8_t *data, size_t size);

/* Fills the directory with views in place: F64, F32, F16, BF16, of one to four dimensions (a
 * scalar is a vector of one). Tensors of other kinds are refused, all in one message, but for
 * the masks of ruvm_safetensors_is_buffer, which are left out. There is no metadata: shapes
 * alone do not say what a model is. RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_safetensors_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                          size_t size, struct ruvm_error *err);

/* The same, added to a directory: several files make one. Names must differ in all of them. */
int ruvm_safetensors_add(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                         size_t size, struct ruvm_error *err);

/* Whether PyTorch keeps a tensor of this name beside the weights although it follows from the
 * shapes: a causal mask, the frequencies of RoPE, the numbers of positions. */
bool ruvm_safetensors_is_buffer(const char *name);

#endif
