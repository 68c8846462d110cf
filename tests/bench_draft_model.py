#!/usr/bin/env python3
"""Writes a llama2.c checkpoint that says what a smaller one says, and costs more.

    bench_draft_model.py SMALL.bin LARGE.bin DIM HIDDEN LAYERS

Every vector gets zeros behind its values, every matrix rows and columns of zeros, and the
layers that are added do nothing; heads keep their size. So the text is that of the small
model (but for its epsilon of the norms and for what quantizing does), while the weights that
a token reads are those of a large one: speed does not depend on values. This is what a
draft model is measured on, for a small network and a large one that were trained alike.
"""
import array
import struct
import sys


def main():
    source, target = sys.argv[1:3]
    new_dim, new_hidden, new_layers = map(int, sys.argv[3:])
    with open(source, "rb") as f:
        dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack("<7i", f.read(28))
        values = array.array("f", f.read())
    if new_dim % dim or new_hidden < hidden or new_layers < layers or vocab < 0:
        sys.exit("bench_draft_model: DIM must be a multiple of %d, HIDDEN and LAYERS at least %d "
                 "and %d, and the embedding shared" % (dim, hidden, layers))
    times = new_dim // dim
    kv, new_kv = dim * kv_heads // heads, dim * kv_heads // heads * times
    at = 0
    with open(target, "wb") as out:
        out.write(struct.pack("<7i", new_dim, new_hidden, new_layers, heads * times,
                              kv_heads * times, vocab, context))

        def matrices(n, rows, cols, new_n, new_rows, new_cols, scale=1.0):
            """n matrices of rows x cols, in a corner of new_n larger ones."""
            nonlocal at
            behind = array.array("f", bytes(4 * (new_cols - cols)))
            empty = array.array("f", bytes(4 * new_cols))
            for i in range(new_n):
                for r in range(new_rows):
                    if i >= n or r >= rows:
                        empty.tofile(out)
                        continue
                    array.array("f", (scale * x for x in values[at:at + cols])).tofile(out)
                    behind.tofile(out)
                    at += cols

        # a mean over zeros as well is smaller, so what is normalised is larger
        norm = times ** -0.5
        matrices(1, vocab, dim, 1, vocab, new_dim)
        matrices(layers, 1, dim, new_layers, 1, new_dim, norm)
        for rows, new_rows in ((dim, new_dim), (kv, new_kv), (kv, new_kv), (dim, new_dim)):
            matrices(layers, rows, dim, new_layers, new_rows, new_dim)
        matrices(layers, 1, dim, new_layers, 1, new_dim, norm)
        matrices(layers, hidden, dim, new_layers, new_hidden, new_dim)
        matrices(layers, dim, hidden, new_layers, new_dim, new_hidden)
        matrices(layers, hidden, dim, new_layers, new_hidden, new_dim)
        matrices(1, 1, dim, 1, 1, new_dim, norm)
        array.array("f", bytes(4 * context * dim // heads)).tofile(out)  # RoPE's tables, unused


main()
