#!/usr/bin/env python3
"""Writes a tiny model for the tests of the command line: a llama2.c checkpoint of
random weights (always the same ones) and a tokenizer of bytes and a few merges.

    make_model.py FOLDER

writes tiny.bin and tok.bin; other.bin, a model of another vocabulary; long.bin, the tiny
one of a context that no image holds; zeros.bin, with two rows of zeros in layers.1.wq, and
nan.bin, with a NaN there; huge.bin, with matrices a million times as large; and bare.ruvm,
a RUVM file of the published bare layout.
"""
import random
import struct
import sys

VOCAB_OF_OTHER = 100
LONG_CONTEXT = 70000  # more than an image holds
DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, CONTEXT = 16, 20, 2, 4, 2, 64
LETTERS = list(" abcdefghijklmnopqrstuvwxyz")  # merges begin with characters that are pieces
MERGES = [" t", "he", " the", "in", " a", "on", "an", "er", "and", " and", " an", "ing", "ou"]
VOCAB = 3 + 256 + len(LETTERS) + len(MERGES)


def checkpoint(vocab, context=CONTEXT, scale_all=1.0):
    """Legacy llama2.c: seven i32, then float32 tensors; a positive vocabulary size
    says that the head is the embedding."""
    rng = random.Random(260)
    out = [struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, vocab, context)]

    def matrix(n, scale):
        out.append(struct.pack("<%df" % n,
                               *[scale_all * rng.uniform(-scale, scale) for _ in range(n)]))

    head_dim = DIM // HEADS
    kv_dim = head_dim * KV_HEADS
    matrix(vocab * DIM, 1.0)
    out.append(struct.pack("<f", 1.0) * (LAYERS * DIM))
    for n in (DIM * DIM, kv_dim * DIM, kv_dim * DIM, DIM * DIM):
        matrix(LAYERS * n, 0.5)
    out.append(struct.pack("<f", 1.0) * (LAYERS * DIM))
    for n in (HIDDEN * DIM, DIM * HIDDEN, HIDDEN * DIM):
        matrix(LAYERS * n, 0.5)
    out.append(struct.pack("<f", 1.0) * DIM)
    out.append(bytes(context * head_dim // 2 * 4 * 2))  # RoPE tables, not used any more
    return b"".join(out)


def with_row(data, row, value):
    """The checkpoint with another row of layers.1.wq."""
    at = 28 + 4 * (VOCAB * DIM + LAYERS * DIM + DIM * DIM + row * DIM)
    return data[:at] + struct.pack("<%df" % DIM, *[value] * DIM) + data[at + 4 * DIM:]


def bare_layout():
    """RUVM v0: the published header, reserved bytes zero, and one byte a weight."""
    rng = random.Random(14)
    weights = 2 * VOCAB * DIM + LAYERS * (4 * DIM * DIM + 3 * HIDDEN * DIM)
    header = b"RUVM" + struct.pack("<HHHBBBB", VOCAB, DIM, HIDDEN, LAYERS, HEADS, CONTEXT, 0)
    return header.ljust(32, b"\0") + bytes(rng.randrange(256) for _ in range(weights))


def tokenizer():
    """llama2.c's tokenizer.bin: longest piece, then score, length and bytes of each."""
    pieces = [(0.0, b"<unk>"), (0.0, b"\n<s>\n"), (0.0, b"\n</s>\n")]
    pieces += [(0.0, b"<0x%02X>" % i) for i in range(256)]
    pieces += [(-100.0, text.encode()) for text in LETTERS]
    pieces += [(-float(i), text.encode()) for i, text in enumerate(MERGES)]
    out = struct.pack("<i", max(len(text) for _, text in pieces))
    for score, text in pieces:
        out += struct.pack("<fi", score, len(text)) + text
    return out


def main():
    folder = sys.argv[1]
    tiny = checkpoint(VOCAB)
    files = (("tiny.bin", tiny), ("tok.bin", tokenizer()),
             ("other.bin", checkpoint(VOCAB_OF_OTHER)),
             ("long.bin", checkpoint(VOCAB, LONG_CONTEXT)), ("bare.ruvm", bare_layout()),
             ("zeros.bin", with_row(with_row(tiny, 7, 0.0), 3, 0.0)),
             ("huge.bin", checkpoint(VOCAB, scale_all=1e6)),
             ("nan.bin", with_row(tiny, 5, float("nan"))))
    for name, data in files:
        with open("%s/%s" % (folder, name), "wb") as f:
            f.write(data)


main()
