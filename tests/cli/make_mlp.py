#!/usr/bin/env python3
"""Writes small classifiers for the tests of the command line: ONNX files as PyTorch exports
them, and rows of data. Nothing but Python; always the same bytes.

    make_mlp.py FOLDER

writes points.onnx, which tells on which side of two lines a point lies (Gemm, LeakyRelu,
BatchNormalization, Gemm, Softmax); gelu.onnx of the same shape as an old exporter has it (MatMul,
Add, GELU in five nodes, Flatten, a normalised input, logits); yes.onnx with one output and a
Sigmoid; conv.onnx with convolutions and branch.onnx with a residual connection, to be refused;
points.csv, points.npy, labels.txt, and rows with mistakes.
"""
import random
import struct
import sys

FLOAT, INT64 = 1, 7


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, values, kind=FLOAT):
    form = "<%df" if kind == FLOAT else "<%dq"
    return (b"".join(number(1, d) for d in dims) + number(2, kind) + data(8, name) +
            data(9, struct.pack(form % len(values), *values)))


def attribute(name, value):
    if isinstance(value, float):
        real = varint(2 << 3 | 5) + struct.pack("<f", value)
        return data(5, data(1, name) + real + number(20, 1))
    return data(5, data(1, name) + number(3, value) + number(20, 2))


def node(op, inputs, output, **attributes):
    out = b"".join(data(1, i) for i in inputs.split()) + data(2, output) + data(4, op)
    return data(1, out + b"".join(attribute(k, v) for k, v in attributes.items()))


def value(name, n):
    shape = data(1, data(2, "batch")) + data(1, number(1, n))
    return data(1, name) + data(2, data(1, number(1, FLOAT) + data(2, shape)))


def model(nodes, tensors, n_in, n_out):
    graph = b"".join(nodes) + data(2, "main_graph")
    graph += b"".join(data(5, t) for t in tensors)
    graph += data(11, value("x", n_in)) + data(12, value("y", n_out))
    return (number(1, 8) + data(2, "pytorch") + data(7, graph) +
            data(8, data(1, "") + number(2, 17)))


def points():
    """Units of both lines and their negatives, then classes: left, above, else."""
    w1 = [1, 0.5, -1, -0.5, -0.5, 1, 0.5, -1]
    w2 = [2, -2, 0, 0, -1, 1, 2, -2, -1, 1, -2, 2]
    tensors = [tensor("net.0.weight", [4, 2], w1),
               tensor("net.0.bias", [4], [0.1, -0.1, 0.2, -0.2]),
               tensor("net.2.weight", [4], [1.5] * 4), tensor("net.2.bias", [4], [0.5] * 4),
               tensor("net.2.running_mean", [4], [0.3] * 4),
               tensor("net.2.running_var", [4], [2.25] * 4),
               tensor("net.3.weight", [3, 4], w2), tensor("net.3.bias", [3], [0, 0.1, -0.1])]
    nodes = [node("Gemm", "x net.0.weight net.0.bias", "a", alpha=1.0, beta=1.0, transB=1),
             node("LeakyRelu", "a", "b", alpha=0.1),
             node("BatchNormalization",
                  "b net.2.weight net.2.bias net.2.running_mean net.2.running_var", "c",
                  epsilon=1e-5),
             node("Gemm", "c net.3.weight net.3.bias", "d", transB=1),
             node("Softmax", "d", "y", axis=1)]
    return model(nodes, tensors, 2, 3)


def gelu():
    rng = random.Random(7)
    w1 = [rng.uniform(-1, 1) for _ in range(5 * 24)]
    w2 = [rng.uniform(-0.4, 0.4) for _ in range(24 * 4)]
    tensors = [tensor("mean", [5], [100, 0, -3, 1e5, 0.5]),
               tensor("std", [5], [20, 0.01, 1, 5000, 0.25]),
               tensor("onnx::MatMul_12", [5, 24], w1), tensor("b1", [24], [0.1] * 24),
               tensor("onnx::MatMul_13", [24, 4], w2), tensor("b2", [4], [0.3, -0.1, 0, 0.2]),
               tensor("root2", [], [1.4142135]), tensor("one", [], [1.0]),
               tensor("half", [], [0.5]), tensor("shape", [2], [-1, 5], INT64)]
    nodes = [node("Reshape", "x shape", "x1"), node("Sub", "x1 mean", "x2"),
             node("Div", "x2 std", "x3"), node("MatMul", "x3 onnx::MatMul_12", "m"),
             node("Add", "b1 m", "a"), node("Div", "a root2", "e1"), node("Erf", "e1", "e2"),
             node("Add", "e2 one", "e3"), node("Mul", "a e3", "e4"), node("Mul", "e4 half", "g"),
             node("Dropout", "g", "g1"), node("Identity", "onnx::MatMul_13", "w2"),
             node("MatMul", "g1 w2", "m2"), node("Add", "m2 b2", "y")]
    return model(nodes, tensors, 5, 4)


def yes():
    tensors = [tensor("w", [1, 2], [3, -2]), tensor("b", [1], [0.5])]
    nodes = [node("Flatten", "x", "f", axis=1), node("Gemm", "f w b", "g", transB=1),
             node("Sigmoid", "g", "y")]
    return model(nodes, tensors, 2, 1)


def conv():
    tensors = [tensor("k", [2, 1, 3, 3], [0.1] * 18), tensor("w", [3, 8], [0.1] * 24)]
    nodes = [node("Conv", "x k", "/0/Conv"), node("Relu", "/0/Conv", "r"),
             node("Conv", "r k", "/2/Conv"), node("MaxPool", "/2/Conv", "/3/MaxPool"),
             node("Flatten", "/3/MaxPool", "f"), node("Gemm", "f w", "y", transB=1)]
    return model(nodes, tensors, 8, 3)


def branch():
    tensors = [tensor("w", [2, 2], [1, 2, 3, 4]), tensor("v", [2, 2], [4, 3, 2, 1])]
    nodes = [node("Gemm", "x w", "a", transB=1), node("Gemm", "a v", "b", transB=1),
             node("Add", "a b", "y")]
    return model(nodes, tensors, 2, 2)


def rows(n):
    rng = random.Random(3)
    return [[round(rng.uniform(-4, 4), 3), round(rng.uniform(-4, 4), 3)] for _ in range(n)]


def side(x, y):
    """What points.onnx computes, in floats."""
    a = [x + 0.5 * y + 0.1, -x - 0.5 * y - 0.1, -0.5 * x + y + 0.2, 0.5 * x - y - 0.2]
    c = [((v if v > 0 else 0.1 * v) - 0.3) / (2.25 + 1e-5) ** 0.5 * 1.5 + 0.5 for v in a]
    d = [2 * c[0] - 2 * c[1], -c[0] + c[1] + 2 * c[2] - 2 * c[3] + 0.1,
         -c[0] + c[1] - 2 * c[2] + 2 * c[3] - 0.1]
    return max(range(3), key=lambda i: d[i])


def numpy(table, order="False"):
    header = "{'descr': '<f4', 'fortran_order': %s, 'shape': (%d, %d), }" % (
        order, len(table), len(table[0]))
    header = header.ljust(117) + "\n"
    flat = [v for row in table for v in row]
    return (b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() +
            struct.pack("<%df" % len(flat), *flat))


def main():
    folder = sys.argv[1]
    labels = ["right", "above", "below"]
    table = rows(200)
    csv = "x,y,side\n" + "".join("%g,%g,%s\n" % (x, y, labels[side(x, y)]) for x, y in table)
    files = {"points.onnx": points(), "gelu.onnx": gelu(), "yes.onnx": yes(), "conv.onnx": conv(),
             "branch.onnx": branch(), "points.csv": csv, "points.npy": numpy(table),
             "columns.npy": numpy(table, order="True"), "labels.txt": "\n".join(labels) + "\n",
             "three.csv": "1;2\n-3;1\n0.5;-2\n", "wide.csv": "1,2,3,4\n",
             "words.csv": "1,2\n1,two\n", "short.csv": "1,2\n3\n", "nan.csv": "1,2\nnan,1\n",
             "far.csv": "1000,2\n", "unknown.csv": "1,2,behind\n", "no.csv": "# nothing\n\n"}
    for name, content in files.items():
        with open(folder + "/" + name, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    main()
