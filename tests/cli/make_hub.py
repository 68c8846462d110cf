#!/usr/bin/env python3
"""Writes the tiny model of make_model.py as Hugging Face has it.

    make_hub.py CHECKPOINT FOLDER [SHARDS]

FOLDER gets a config.json, and model.safetensors or as many files with an index. The rows of
queries and keys stand as that library has them: first halves of the pairs, then second ones.
"""
import json
import os
import struct
import sys


def read(path):
    """The numbers and the tensors (rows, columns, values) of a tied legacy checkpoint."""
    with open(path, "rb") as f:
        data = f.read()
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("<7i", data)
    at, tensors = 28, {}
    kv_dim = dim // heads * kv_heads

    def take(name, rows, cols):
        nonlocal at
        tensors[name] = (rows, cols, list(struct.unpack_from("<%df" % (rows * cols), data, at)))
        at += 4 * rows * cols

    take("model.embed_tokens", vocab, dim)
    for kind, rows, cols in (("input_layernorm", 1, dim), ("self_attn.q_proj", dim, dim),
                             ("self_attn.k_proj", kv_dim, dim), ("self_attn.v_proj", kv_dim, dim),
                             ("self_attn.o_proj", dim, dim), ("post_attention_layernorm", 1, dim),
                             ("mlp.gate_proj", hidden, dim), ("mlp.down_proj", dim, hidden),
                             ("mlp.up_proj", hidden, dim)):
        for layer in range(layers):
            take("model.layers.%d.%s" % (layer, kind), rows, cols)
    take("model.norm", 1, dim)
    config = {"model_type": "llama", "hidden_size": dim, "intermediate_size": hidden,
              "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "vocab_size": vocab,
              "max_position_embeddings": context, "rms_norm_eps": 1e-5, "hidden_act": "silu",
              "rope_theta": 10000.0, "tie_word_embeddings": True}
    return config, tensors


def in_halves(rows, cols, values, head_dim):
    """Row 2i + k of a head becomes row i + k * head_dim / 2."""
    out = []
    for head in range(0, rows, head_dim):
        for k in range(2):
            for i in range(head_dim // 2):
                r = head + 2 * i + k
                out += values[r * cols:(r + 1) * cols]
    return out


def write_safetensors(path, tensors):
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, (rows, cols, values) in tensors:
        shape = [cols] if rows == 1 else [rows, cols]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * len(values)]}
        data.append(struct.pack("<%df" % len(values), *values))
        at += 4 * len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def main():
    config, tensors = read(sys.argv[1])
    folder, shards = sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    named = []
    for name, (rows, cols, values) in tensors.items():
        if name.endswith(("q_proj", "k_proj")):
            values = in_halves(rows, cols, values, head_dim)
        named.append((name + ".weight", (rows, cols, values)))
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    if shards == 1:
        write_safetensors(folder + "/model.safetensors", named)
        return
    weight_map = {}
    for i in range(shards):
        name = "model-%05d-of-%05d.safetensors" % (i + 1, shards)
        part = named[i * len(named) // shards:(i + 1) * len(named) // shards]
        write_safetensors(folder + "/" + name, part)
        weight_map.update((tensor, name) for tensor, _ in part)
    with open(folder + "/model.safetensors.index.json", "w", encoding="utf-8") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f)


main()
