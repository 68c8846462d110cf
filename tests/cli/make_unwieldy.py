#!/usr/bin/env python3
"""Writes a Hugging Face folder with a model too large to be kept as floats.

    make_unwieldy.py FOLDER [LAYERS]

The weights are bf16 and small, in a pattern that is soon repeated: nothing of it makes sense,
but its matrices have many different rows and its activations are finite. 12 layers have 41
million weights in 82 MB.
"""
import json
import os
import struct
import sys

DIM, HIDDEN, HEADS, KV_HEADS, VOCAB, CONTEXT = 512, 1536, 8, 4, 4096, 512


def bf16(x):
    return struct.pack("<f", x)[2:]


def pattern():
    """A little less than 2^18 values; a prime number of them, so that rows differ."""
    state, out = 12345, []
    for _ in range(262139):
        state = (state * 1103515245 + 12345) % 2**31
        out.append(bf16((state / 2**30 - 1.0) * 0.06))
    return b"".join(out)


def tensors(layers):
    kv = DIM // HEADS * KV_HEADS
    yield "model.embed_tokens", (VOCAB, DIM)
    for layer in range(layers):
        for name, shape in (("input_layernorm", (DIM,)), ("self_attn.q_proj", (DIM, DIM)),
                            ("self_attn.k_proj", (kv, DIM)), ("self_attn.v_proj", (kv, DIM)),
                            ("self_attn.o_proj", (DIM, DIM)),
                            ("post_attention_layernorm", (DIM,)),
                            ("mlp.gate_proj", (HIDDEN, DIM)), ("mlp.up_proj", (HIDDEN, DIM)),
                            ("mlp.down_proj", (DIM, HIDDEN))):
            yield "model.layers.%d.%s" % (layer, name), shape
    yield "model.norm", (DIM,)


def main():
    folder = sys.argv[1]
    layers = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    os.makedirs(folder, exist_ok=True)
    header, at = {}, 0
    for name, shape in tensors(layers):
        size = 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name + ".weight"] = {"dtype": "BF16", "shape": list(shape),
                                    "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values, used = pattern(), 0
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors(layers):
            if len(shape) == 1:
                f.write(bf16(1.0) * shape[0])
                continue
            left = 2 * shape[0] * shape[1]
            while left:
                n = min(left, len(values) - used)
                f.write(values[used:used + n])
                used, left = (used + n) % len(values), left - n
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"model_type": "llama", "hidden_size": DIM, "intermediate_size": HIDDEN,
                   "num_hidden_layers": layers, "num_attention_heads": HEADS,
                   "num_key_value_heads": KV_HEADS, "vocab_size": VOCAB,
                   "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
                   "hidden_act": "silu", "rope_theta": 10000.0,
                   "tie_word_embeddings": True}, f)


main()
