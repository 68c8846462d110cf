/* llama2.c checkpoints: the legacy header-less v0, "ak42" v1 (float) and v2 (int8 groups).
 * Tensors get the names of Meta's checkpoints ("layers.0.attention.wq.weight", rows are
 * outputs); metadata: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size,
 * max_seq_len, tied (0 or 1), norm_eps (1e-5), rope_theta (10000). */
#ifndef RUVM_FORMATS_LLAMA2C_H
#define RUVM_FORMATS_LLAMA2C_H

#include "formats/tensors.h"

bool ruvm_llama2c_probe(const uint8_t *data, size_t size);
int ruvm_llama2c_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                      size_t size, struct ruvm_error *err);

#endif
