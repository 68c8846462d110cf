#!/usr/bin/env python3
"""Makes tiny llama2.c checkpoints and tokenizers of any shape, and runs them.

Everything is pseudo-random from a seed and the same on every machine, so the files
it made can be committed and made again:

    python3 tests/golden/make_tiny.py golden tests/golden
    python3 tests/golden/make_tiny.py corpus tests/fuzz/corpus
    python3 tests/golden/make_tiny.py model --format v2 --group 8 --untied -o m.bin
    python3 tests/golden/make_tiny.py tokenizer --vocab 288 -o t.bin

The forward pass below is written for reading, in Python's double precision, and
shares nothing with the C code: its logits are what tests compare with.
"""
import argparse
import math
import os
import struct

FIELDS = ("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "context")
PIECE_TEXTS = "etaoinshrdlu cmfwgypb.,"


class Random:
    """A 64-bit mixer; Python's own generator is not promised to stay the same."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    def uniform(self):
        return (self.bits() >> 11) / 2**53

    def bell(self):
        """About normal, standard deviation 1."""
        return sum(self.uniform() for _ in range(12)) - 6


def as_f32(values):
    """Values as a float file keeps them."""
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


# ---- the weights -------------------------------------------------------------

def tensors_of(shape):
    """Name, rows and columns of each kind of tensor; rows 0 is a vector."""
    dim, hidden = shape["dim"], shape["hidden"]
    kv_dim = dim // shape["heads"] * shape["kv_heads"]
    return {
        "embed": (shape["vocab"], dim), "attn_norm": (0, dim), "wq": (dim, dim),
        "wk": (kv_dim, dim), "wv": (kv_dim, dim), "wo": (dim, dim), "ffn_norm": (0, dim),
        "w1": (hidden, dim), "w2": (dim, hidden), "w3": (hidden, dim),
        "norm": (0, dim), "output": (shape["vocab"], dim),
    }


def make_weights(shape, seed):
    """{(kind, layer): flat list}; embedding, norm and output are of layer 0."""
    random = Random(seed)
    weights = {}
    for kind, (rows, cols) in tensors_of(shape).items():
        per_layer = kind not in ("embed", "norm", "output")
        for layer in range(shape["layers"] if per_layer else 1):
            if rows == 0:
                values = [1 + 0.2 * random.bell() for _ in range(cols)]
            else:
                deviation = 0.7 if kind == "embed" else 1.5 / math.sqrt(cols)
                values = [deviation * random.bell() for _ in range(rows * cols)]
            weights[kind, layer] = as_f32(values)
    if shape["tied"]:
        weights["output", 0] = weights["embed", 0]
    return weights


def quantize_groups(values, group):
    """llama2.c's v2: the int8 values, and a scale a group of the flattened tensor."""
    quantized, scales = [], []
    for start in range(0, len(values), group):
        part = values[start:start + group]
        scale = as_f32([max(map(abs, part)) / 127])[0]
        scales.append(scale)
        quantized += [max(-127, min(127, round(v / scale))) if scale else 0 for v in part]
    return quantized, scales


# ---- the file formats --------------------------------------------------------

def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def every(weights, shape, kind):
    """The tensors of a kind, layer by layer."""
    count = 1 if (kind, 1) not in weights else shape["layers"]
    return [weights[kind, layer] for layer in range(count)]


def legacy(shape, weights):
    head = [shape[f] for f in FIELDS]
    if not shape["tied"]:
        head[FIELDS.index("vocab")] *= -1
    out = struct.pack("<7i", *head)
    for kind in ("embed", "attn_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w1", "w2", "w3",
                 "norm"):
        out += b"".join(map(floats, every(weights, shape, kind)))
    size = shape["dim"] // shape["heads"]
    angles = [p * 10000 ** (-2 * i / size) for p in range(shape["context"])
              for i in range(size // 2)]
    out += floats([math.cos(a) for a in angles]) + floats([math.sin(a) for a in angles])
    return out if shape["tied"] else out + floats(weights["output", 0])


def ak42(shape, weights, version, group=0):
    out = struct.pack("<Ii7iB", 0x616B3432, version, *[shape[f] for f in FIELDS], shape["tied"])
    if version == 2:
        out += struct.pack("<i", group)
    out = out.ljust(256, b"\0")
    for kind in ("attn_norm", "ffn_norm", "norm"):
        out += b"".join(map(floats, every(weights, shape, kind)))
    matrices = ["embed", "wq", "wk", "wv", "wo", "w1", "w2", "w3"]
    for kind in matrices + ([] if shape["tied"] else ["output"]):
        for values in every(weights, shape, kind):
            if version == 1:
                out += floats(values)
            else:
                quantized, scales = quantize_groups(values, group)
                out += struct.pack(f"<{len(quantized)}b", *quantized) + floats(scales)
    return out


def dequantized(shape, weights, group):
    """The weights as a reader of version 2 sees them."""
    out = dict(weights)
    for (kind, layer), values in weights.items():
        if tensors_of(shape)[kind][0]:
            quantized, scales = quantize_groups(values, group)
            out[kind, layer] = [q * scales[i // group] for i, q in enumerate(quantized)]
    return out


def make_model(shape, form, group, seed):
    """The file, and the weights that a reader finds in it."""
    weights = make_weights(shape, seed)
    if form == "legacy":
        return legacy(shape, weights), weights
    if form == "v1":
        return ak42(shape, weights, 1), weights
    return ak42(shape, weights, 2, group), dequantized(shape, weights, group)


def make_pieces(vocab, byte_pieces=True):
    """(score, bytes) of each id: controls, bytes, letters, then merges of two earlier ones."""
    pieces = [(0.0, b"<unk>"), (0.0, b"\n<s>\n"), (0.0, b"\n</s>\n")]
    if byte_pieces:
        pieces += [(0.0, b"<0x%02X>" % b) for b in range(256)]
    first = len(pieces)
    letters = PIECE_TEXTS[:max(1, (vocab - first) * 2 // 3)]
    merges = []
    random = Random(7)
    known = [c.encode() for c in letters]
    while first + len(letters) + len(merges) < vocab:
        joined = known[random.bits() % len(known)] + known[random.bits() % len(known)]
        if joined not in known and len(joined) <= 6:
            known.append(joined)
            merges.append((-float(len(merges)), joined))
    pieces += merges
    pieces += [(-float(len(merges) + i), c.encode()) for i, c in enumerate(letters)]
    return pieces[:vocab]


def tokenizer(pieces):
    out = struct.pack("<i", max(len(text) for _, text in pieces))
    for score, text in pieces:
        out += struct.pack("<fi", score, len(text)) + text
    return out


# ---- the forward pass --------------------------------------------------------

def times(matrix, x):
    """matrix, flat and row by row, times x."""
    cols = len(x)
    return [sum(matrix[r * cols + c] * x[c] for c in range(cols))
            for r in range(len(matrix) // cols)]


def normed(x, gain):
    scale = 1 / math.sqrt(sum(v * v for v in x) / len(x) + 1e-5)
    return [v * scale * g for v, g in zip(x, gain)]


def turned(x, position, size):
    out = list(x)
    for i in range(0, len(x), 2):
        angle = position * 10000 ** (-(i % size) / size)
        c, s = math.cos(angle), math.sin(angle)
        out[i] = x[i] * c - x[i + 1] * s
        out[i + 1] = x[i] * s + x[i + 1] * c
    return out


def attention(query, keys, values):
    """One head: the values mixed by softmax(keys . query)."""
    scores = [sum(a * b for a, b in zip(query, key)) / math.sqrt(len(query)) for key in keys]
    parts = [math.exp(s - max(scores)) for s in scores]
    return [sum(p * v[d] for p, v in zip(parts, values)) / sum(parts)
            for d in range(len(query))]


def forward(shape, weights, tokens):
    """The logits after each token."""
    dim, heads, kv_heads = shape["dim"], shape["heads"], shape["kv_heads"]
    size = dim // heads
    cache = [([], []) for _ in range(shape["layers"])]
    for position, token in enumerate(tokens):
        h = weights["embed", 0][token * dim:(token + 1) * dim]
        for layer in range(shape["layers"]):
            def w(kind):
                return weights[kind, layer]
            x = normed(h, w("attn_norm"))
            query = turned(times(w("wq"), x), position, size)
            keys, values = cache[layer]
            keys.append(turned(times(w("wk"), x), position, size))
            values.append(times(w("wv"), x))
            mixed = []
            for head in range(heads):
                at = head // (heads // kv_heads) * size
                mixed += attention(query[head * size:(head + 1) * size],
                                   [k[at:at + size] for k in keys],
                                   [v[at:at + size] for v in values])
            h = [a + b for a, b in zip(h, times(w("wo"), mixed))]
            x = normed(h, w("ffn_norm"))
            gated = [g / (1 + math.exp(-g)) * u
                     for g, u in zip(times(w("w1"), x), times(w("w3"), x))]
            h = [a + b for a, b in zip(h, times(w("w2"), gated))]
        yield times(weights["output", 0], normed(h, weights["norm", 0]))


# ---- what is committed -------------------------------------------------------

def shape_of(dim, hidden, layers, heads, kv_heads, vocab, context, tied=True):
    return dict(zip(FIELDS, (dim, hidden, layers, heads, kv_heads, vocab, context)), tied=tied)


GOLDEN = {
    # name: shape, format, group, seed. Odd hidden sizes, groups that straddle rows,
    # grouped and single key heads, one with the full tokenizer of 288 pieces.
    "tiny-legacy": (shape_of(8, 11, 2, 2, 1, 288, 32), "legacy", 0, 1),
    "tiny-legacy-untied": (shape_of(12, 21, 2, 3, 1, 40, 24, False), "legacy", 0, 2),
    "tiny-v1": (shape_of(16, 23, 1, 4, 2, 40, 40), "v1", 0, 3),
    "tiny-v1-untied": (shape_of(12, 9, 2, 2, 2, 40, 16, False), "v1", 0, 4),
    "tiny-v2": (shape_of(16, 43, 2, 4, 2, 288, 64), "v2", 16, 5),
    "tiny-v2-untied": (shape_of(16, 27, 2, 4, 4, 40, 20, False), "v2", 8, 6),
}
TOKENIZERS = {"tiny-tokenizer": make_pieces(288), "tiny-tokenizer-40": make_pieces(40, False)}


def write(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def write_golden(folder):
    """The models, the tokenizers, and tiny-logits.txt: for each model a line
    "name n_tokens vocab", a line of tokens, and the logits after each of the last two."""
    lines = []
    for name, (shape, form, group, seed) in GOLDEN.items():
        data, weights = make_model(shape, form, group, seed)
        write(folder, name + ".bin", data)
        random = Random(seed + 100)
        tokens = [1] + [random.bits() % shape["vocab"] for _ in range(5)]
        lines.append(f"{name} {len(tokens)} {shape['vocab']}")
        lines.append(" ".join(map(str, tokens)))
        for logits in list(forward(shape, weights, tokens))[-2:]:
            lines.append(" ".join(f"{v:.5f}" for v in logits))
    write(folder, "tiny-logits.txt", ("\n".join(lines) + "\n").encode())
    for name, pieces in TOKENIZERS.items():
        write(folder, name + ".bin", tokenizer(pieces))


def patched(data, offset, value, form="<i"):
    new = struct.pack(form, value)
    return data[:offset] + new + data[offset + len(new):]


def write_model_corpus(folder):
    shape = shape_of(4, 3, 1, 2, 1, 5, 3)
    untied = dict(shape, tied=False)
    v0 = make_model(shape, "legacy", 0, 11)[0]
    v1 = make_model(untied, "v1", 0, 12)[0]
    v2 = make_model(shape, "v2", 2, 13)[0]
    files = {
        "legacy": v0, "legacy-untied": make_model(untied, "legacy", 0, 14)[0],
        "v1": make_model(shape, "v1", 0, 15)[0], "v1-untied": v1, "v2": v2,
        "v2-untied": make_model(untied, "v2", 2, 16)[0],
        "empty": b"", "magic-only": v1[:4], "header-short": v0[:27], "header-only": v0[:28],
        "legacy-truncated": v0[:len(v0) // 2], "legacy-trailing": v0 + b"\0",
        "v1-header-short": v1[:200], "v1-truncated": v1[:-1], "v2-trailing": v2 + v2[-64:],
        "dim-zero": patched(v1, 8, 0), "dim-negative": patched(v1, 8, -4),
        "hidden-huge": patched(v1, 12, 2**31 - 1), "layers-huge": patched(v1, 16, 1024),
        "heads-odd": patched(v1, 20, 3), "kv-heads-many": patched(v1, 24, 2**20),
        "vocab-min": patched(v0, 20, -2**31), "vocab-huge": patched(v1, 28, 2**20),
        "context-zero": patched(v0, 24, 0), "context-huge": patched(v0, 24, 2**30),
        "version-3": patched(v1, 4, 3), "shared-2": patched(v1, 36, 2, "<B"),
        "group-zero": patched(v2, 37, 0), "group-odd": patched(v2, 37, 7),
        "group-huge": patched(v2, 37, -1),
        "scale-nan": v2[:-4] + b"\0\0\xc0\x7f", "scale-negative": v2[:-4] + b"\0\0\x80\xbf",
        "text": b"Once upon a time, there was a little girl named Lily.\n",
    }
    for name, data in files.items():
        write(folder, name, data)


def write_vocab_corpus(folder):
    good = tokenizer(make_pieces(12, False))
    files = {
        "good": good, "bytes": tokenizer(make_pieces(262)), "empty": b"", "short": good[:3],
        "no-pieces": good[:4], "truncated-text": good[:-1], "truncated-header": good[:9],
        "trailing": good + b"\0\0\0", "two-pieces": tokenizer(make_pieces(2, False)),
        "length-huge": patched(good, 8, 2**31 - 1), "length-negative": patched(good, 8, -1),
        "longest-small": patched(good, 0, 1), "score-nan": patched(good, 4, math.nan, "<f"),
        "piece-empty": good + struct.pack("<fi", -1.0, 0),
        "byte-lower": good + struct.pack("<fi", 0.0, 6) + b"<0xfa>",
        "byte-wrong": good + struct.pack("<fi", 0.0, 6) + b"<0xg0>",
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
    }
    for name, data in files.items():
        write(folder, name, data)


def bare_ruvm(vocab, dim, hidden, layers, heads, quant=0):
    """The published layout without scales: header and int8 weights."""
    size = 2 * vocab * dim + layers * (4 * dim * dim + 3 * hidden * dim)
    head = struct.pack("<4s3H4B", b"RUVM", vocab, dim, hidden, layers, heads, 16, quant)
    return head.ljust(32, b"\0") + bytes(i * 37 % 256 for i in range(size))


def write_v0_corpus(folder):
    good = bare_ruvm(3, 4, 2, 1, 2)
    files = {
        "good": good, "two-layers": bare_ruvm(3, 4, 5, 2, 1), "truncated": good[:-1],
        "trailing": good + b"\0", "header-only": good[:32], "header-short": good[:31],
        "int4": bare_ruvm(3, 4, 2, 1, 2, 1), "reserved": patched(good, 20, 1),
        "zeros": bare_ruvm(0, 0, 0, 0, 0), "no-vocab": bare_ruvm(0, 4, 2, 1, 2),
        "no-hidden": bare_ruvm(3, 4, 0, 1, 2), "no-heads": bare_ruvm(3, 4, 2, 1, 0),
        "huge": patched(good, 4, -1),
    }
    for name, data in files.items():
        write(folder, name, data)


def write_corpus(folder):
    write_v0_corpus(os.path.join(folder, "ruvm_v0"))
    write_model_corpus(os.path.join(folder, "llama2c"))
    write_vocab_corpus(os.path.join(folder, "vocab"))


# ---- command line ------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("golden", "corpus"):
        verbs.add_parser(verb).add_argument("folder")
    model = verbs.add_parser("model")
    for field, default in zip(FIELDS, (8, 11, 2, 2, 1, 288, 32)):
        model.add_argument("--" + field.replace("_", "-"), type=int, default=default)
    model.add_argument("--format", choices=("legacy", "v1", "v2"), default="legacy")
    model.add_argument("--group", type=int, default=8)
    model.add_argument("--untied", action="store_true")
    model.add_argument("--seed", type=int, default=1)
    model.add_argument("--run", metavar="TOKENS", help="print the logits after 1,5,7,...")
    model.add_argument("-o", "--output", required=True)
    words = verbs.add_parser("tokenizer")
    words.add_argument("--vocab", type=int, default=288)
    words.add_argument("--no-bytes", action="store_true", help="without the 256 byte pieces")
    words.add_argument("-o", "--output", required=True)
    a = parser.parse_args()
    if a.verb == "golden":
        write_golden(a.folder)
    elif a.verb == "corpus":
        write_corpus(a.folder)
    elif a.verb == "tokenizer":
        write(os.path.dirname(a.output) or ".", os.path.basename(a.output),
              tokenizer(make_pieces(a.vocab, not a.no_bytes)))
    else:
        shape = dict({f: getattr(a, f) for f in FIELDS}, tied=not a.untied)
        data, weights = make_model(shape, a.format, a.group, a.seed)
        write(os.path.dirname(a.output) or ".", os.path.basename(a.output), data)
        if a.run:
            for logits in forward(shape, weights, [int(t) for t in a.run.split(",")]):
                print(" ".join(f"{v:.6f}" for v in logits))


if __name__ == "__main__":
    main()
