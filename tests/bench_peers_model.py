#!/usr/bin/env python3
"""Writes a synthetic llama2.c checkpoint and a tokenizer for it.

    bench_peers_model.py MODEL.bin TOKENIZER.bin DIM HIDDEN LAYERS HEADS VOCAB CONTEXT SEED

The weights are gaussian, drawn once into a pool that each tensor reads from places of its
own: speed does not depend on values, and a hundred million draws would take minutes. The
tokenizer has the 256 bytes and made-up words, so that any text can be read.
"""
import array
import random
import struct
import sys

POOL = 1 << 20


def main():
    model, tokenizer = sys.argv[1:3]
    dim, hidden, layers, heads, vocab, context, seed = map(int, sys.argv[3:])
    rng = random.Random(seed)
    pool = array.array("f", (rng.gauss(0, 1) for _ in range(POOL)))
    head_dim = dim // heads

    def gaussian(count, deviation, out):
        """count weights, in pieces of the pool from random places on."""
        scaled = array.array("f", (x * deviation for x in pool))
        while count:
            at = rng.randrange(POOL // 2)
            n = min(count, POOL - at)
            scaled[at:at + n].tofile(out)
            count -= n

    def ones(count, out):
        (array.array("f", [1.0]) * count).tofile(out)

    with open(model, "wb") as out:
        out.write(struct.pack("<7i", dim, hidden, layers, heads, heads, vocab, context))
        gaussian(vocab * dim, 0.02, out)
        ones(layers * dim, out)
        for _ in range(4):
            gaussian(layers * dim * dim, dim ** -0.5, out)
        ones(layers * dim, out)
        gaussian(layers * hidden * dim, dim ** -0.5, out)
        gaussian(layers * dim * hidden, hidden ** -0.5, out)
        gaussian(layers * hidden * dim, dim ** -0.5, out)
        ones(dim, out)
        array.array("f", bytes(4 * context * head_dim)).tofile(out)  # RoPE's tables, unused

    pieces = ["<unk>", "\n<s>\n", "\n</s>\n"] + ["<0x%02X>" % i for i in range(256)] + [" "]
    pieces += [chr(ord("a") + i) for i in range(26)]
    pieces += ["w%d" % i for i in range(vocab - len(pieces))]
    with open(tokenizer, "wb") as out:
        out.write(struct.pack("<i", max(map(len, pieces))))
        for i, piece in enumerate(pieces):
            out.write(struct.pack("<fi", -float(i), len(piece)) + piece.encode())


main()
