/* GGUF models, versions 2 and 3, little-endian, of llama.cpp's architectures llama, qwen2,
 * gpt2 and gptneox.
 *
 * Tensors keep their names ("blk.0.attn_q.weight"), dims[] is outermost first (ggml has the
 * innermost first). Metadata: architecture (llama qwen2 gpt2 gpt_neox), dim, hidden_dim,
 * n_layers, n_heads, n_kv_heads, head_dim, vocab_size, max_seq_len, tied, norm_eps, norm_kind,
 * activation, positions and, when they apply, rope_theta, rotary_dim, rope_halves, rope_scaling
 * (none, linear with rope_factor, yarn with rope_factor, rope_beta_fast, rope_beta_slow,
 * rope_attention, or factors: rope_freqs.weight divides the frequencies),
 * parallel, window, score_scale, bos, eos, pad, add_bos_token, add_space_prefix.
 */
#ifndef RUVM_FORMATS_GGUF_H
#define RUVM_FORMATS_GGUF_H

#include "formats/gguf_read.h"
#include "formats/tensors.h"

/* Its probe is ruvm_gguf_probe() of formats/gguf_read.h. */
int ruvm_gguf_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                   size_t size, struct ruvm_error *err);

/* Its part that knows tensors: adds a view of each. */
int ruvm_gguf_tensors(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct ruvm_gguf *g,
                      struct ruvm_error *err);

#endif
