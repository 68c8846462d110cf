#!/usr/bin/env python3
"""Writes a small Qwen2 network with more tokens than an image holds, as Hugging Face has it.

    make_large.py FOLDER [ROWS]

70,000 tokens (or ROWS) of bytes: the 256 letters, 65,000 and more pairs of them, and from 66,000
on the words of WORDS with what they are merged from. BOS and EOS have ids above 65,535 as well,
and so have the tokens of the chat template. Weights are random, and always the same.
"""
import array
import json
import os
import random
import struct
import sys

WORDS = "the end of other land and river stone light water under every garden little".split()
DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, CONTEXT, FIRST_WORD = 16, 24, 1, 2, 1, 32, 66000


def letters():
    """GPT-2's letter of each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def vocabulary(rows):
    """The texts by id, and the merges by rank: those of the words first."""
    letter = letters()
    words, merges = [], []
    for word in WORDS:
        for text in (word, letter[32] + word):
            for n in range(2, len(text) + 1):
                if text[:n] not in words:
                    words.append(text[:n])
                    merges.append("%s %s" % (text[:n - 1], text[n - 1]))
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts, n_fill = list(letter), rows - 10 - len(words) - len(special)
    pairs = ((a, b) for k in range(256) for a in letter for b in (letter[(k + ord(a)) % 256],))
    triples = ((a + b, c) for a, b, c in zip(letter, letter[1:], letter[2:]))
    used, fill = set(words), []
    for left, right in (*pairs, *triples, *((a + b + c, d) for a, b, c, d in zip(
            letter, letter[1:], letter[2:], letter[3:])), *(
                (a + b, b + a) for a in letter for b in letter[:20])):
        if left + right not in used and len(texts) + len(fill) < n_fill:
            used.add(left + right)
            fill.append(left + right)
            merges.append("%s %s" % (left, right))
    at = min(FIRST_WORD, n_fill) - len(texts)
    return texts + fill[:at] + words + fill[at:], merges, special


def write_tokenizer(folder, rows):
    texts, merges, special = vocabulary(rows)
    added = [{"id": len(texts) + i, "content": s, "special": True, "normalized": False,
              "lstrip": False, "rstrip": False, "single_word": False}
             for i, s in enumerate(special)]
    split = {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}"
             "\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|"
             "\\s+"}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                  "use_regex": False}
    tokenizer = {
        "version": "1.0", "added_tokens": added, "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(texts)}, "merges": merges}}
    with open(folder + "/tokenizer.json", "w", encoding="utf-8") as f:
        json.dump(tokenizer, f)
    with open(folder + "/tokenizer_config.json", "w", encoding="utf-8") as f:
        json.dump({"bos_token": None, "eos_token": special[2], "chat_template":
                   "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
                   "{% endfor %}"}, f)
    return len(texts)


def write_weights(folder, rows):
    rng, header, data, at = random.Random(7), {}, [], 0
    head_dim = DIM // HEADS
    kv_dim = KV_HEADS * head_dim
    shapes = [("embed_tokens", (rows, DIM)), ("norm", (DIM,))]
    for i in range(LAYERS):
        layer = "layers.%d." % i
        shapes += [(layer + name, shape) for name, shape in (
            ("input_layernorm", (DIM,)), ("post_attention_layernorm", (DIM,)),
            ("self_attn.q_proj", (DIM, DIM)), ("self_attn.k_proj", (kv_dim, DIM)),
            ("self_attn.v_proj", (kv_dim, DIM)), ("self_attn.o_proj", (DIM, DIM)),
            ("mlp.gate_proj", (HIDDEN, DIM)), ("mlp.up_proj", (HIDDEN, DIM)),
            ("mlp.down_proj", (DIM, HIDDEN)))]
        shapes += [(layer + "self_attn.%s_proj.bias" % k, (DIM if k == "q" else kv_dim,))
                   for k in "qkv"]
    for name, shape in shapes:
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        norm = name.endswith("norm")
        values = array.array("f", (rng.uniform(0.9, 1.1) if norm else rng.uniform(-0.6, 0.6)
                                   for _ in range(n)))
        name = "model." + name + ("" if name.endswith(".bias") else ".weight")
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * n]}
        data.append(values.tobytes())
        at += 4 * n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def main():
    folder, rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 70000
    os.makedirs(folder, exist_ok=True)
    n = write_tokenizer(folder, rows)
    write_weights(folder, rows)
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
                   "hidden_size": DIM, "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS,
                   "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
                   "vocab_size": rows, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6,
                   "hidden_act": "silu", "rope_theta": 1000000.0, "tie_word_embeddings": True,
                   "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 21,
                   "torch_dtype": "bfloat16", "bos_token_id": n, "eos_token_id": n + 2}, f)


main()
