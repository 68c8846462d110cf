/* A decoder exported to ONNX as a directory of named tensors.
 *
 *     struct ruvm_onnx o;
 *     rc = ruvm_onnx_open(&o, &arena, path, err);
 *     if (rc == RUVM_OK)
 *         rc = ruvm_onnx_graph_read(&tensors, &arena, &o, config, err);
 *     ... tensors, until ruvm_onnx_close(&o) ...
 *
 * Accepted are decoders like Llama's, GPT-2's, GPT-Neo's and GPT-NeoX's (RMSNorm or LayerNorm, RoPE
 * or learned positions, grouped queries, SiLU with a gate, GELU or ReLU, parallel blocks, q, k and
 * v at once or not), exported by PyTorch with or without constant folding, names kept or lost.
 */
#ifndef RUVM_IMPORT_ONNX_GRAPH_H
#define RUVM_IMPORT_ONNX_GRAPH_H

#include "formats/onnx.h"

/* Views get the names of a dialect ("model.layers.0.self_attn.q_proj.weight" in a Llama) and are
 * [outputs, inputs]; the metadata is complete. `config` (the metadata of a config.json beside the
 * file, or NULL) supplies what a graph does not show, such as the context, and must not contradict
 * it. Everything that is in the way is in one message. RUVM_ERR_UNSUPPORTED, _MISMATCH, _MEMORY. */
int ruvm_onnx_graph_read(struct ruvm_tensors *out, struct ruvm_arena *arena,
                         const struct ruvm_onnx *o, const struct ruvm_tensors *config,
                         struct ruvm_error *err);

#endif
