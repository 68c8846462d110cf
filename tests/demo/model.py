"""The network of the demo model: a small Llama in PyTorch.

RMSNorm, rotary positions on neighbouring pairs of values (as in llama2.c),
grouped-query attention, SwiGLU, and an output that shares the embedding.  The
weights of all layers are stacked in one tensor per kind, which keeps the
optimizer short.
"""
import math
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(vocab=512, dim=64, hidden=192, layers=4, heads=4, kv_heads=2, seq_len=256)
EPSILON = 1e-5
BLOCK = 64      # queries that attention handles at a time


class _Norm(torch.autograd.Function):
    """RMSNorm without its weight, with a short hand-written derivative."""

    @staticmethod
    def forward(ctx, x):
        scale = (x.pow(2).mean(-1, keepdim=True) + EPSILON).rsqrt()
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, scale = ctx.saved_tensors
        return (grad - y * (grad * y).mean(-1, keepdim=True)) * scale


class _SwiGLU(torch.autograd.Function):
    """silu(a) * b for the two halves of x."""

    @staticmethod
    def forward(ctx, x):
        a, b = x.chunk(2, -1)
        s = torch.sigmoid(a)
        ctx.save_for_backward(x, s)
        return a * s * b

    @staticmethod
    def backward(ctx, grad):
        x, s = ctx.saved_tensors
        a, b = x.chunk(2, -1)
        silu = a * s
        return torch.cat((grad * b * (s + silu * (1 - s)), grad * silu), -1)


def rope_tables(seq_len, head):
    """cos and sin of every position and pair, as llama2.c stores them."""
    frequency = 1.0 / 10000 ** (np.arange(0, head, 2) / head)
    angle = np.outer(np.arange(seq_len), frequency)
    return np.cos(angle).astype("<f4"), np.sin(angle).astype("<f4")


class Llama(nn.Module):
    def __init__(self, config=None):
        super().__init__()
        c = self.config = dict(config or CONFIG)
        dim, hidden, layers = c["dim"], c["hidden"], c["layers"]
        self.head = dim // c["heads"]
        kv_dim = self.head * c["kv_heads"]
        self.split = [dim, kv_dim, kv_dim]
        deep = 1 / math.sqrt(2 * layers)
        # Words that the text chooses at random, like rooms, must not start too
        # close to each other: their embeddings would shrink to one point before
        # the network learns to copy them.
        self.emb = nn.Parameter(torch.randn(c["vocab"], dim) * 0.15)
        self.wqkv = self._matrix(layers, dim + 2 * kv_dim, dim, 1)
        self.wo = self._matrix(layers, dim, dim, deep)
        self.w13 = self._matrix(layers, 2 * hidden, dim, 1)
        self.w2 = self._matrix(layers, dim, hidden, deep)
        self.norms = nn.Parameter(torch.ones(2 * layers + 1, dim))
        cos, sin = rope_tables(c["seq_len"], self.head)
        self.register_buffer("turn", torch.complex(torch.tensor(cos), torch.tensor(sin)), False)
        mask = torch.full((c["seq_len"], c["seq_len"]), float("-inf")).triu(1)
        self.register_buffer("mask", mask, False)

    @staticmethod
    def _matrix(layers, rows, cols, scale):
        return nn.Parameter(torch.randn(layers, rows, cols) * scale / math.sqrt(cols))

    def _rotate(self, x):
        """Rotary positions; x is (batch, time, heads, head)."""
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        turned = pairs * self.turn[:x.shape[1], None]
        return torch.view_as_real(turned).flatten(-2)

    def _attention(self, x, layer):
        batch, time, _ = x.shape
        heads, kv_heads = self.config["heads"], self.config["kv_heads"]
        q, k, v = F.linear(x, self.wqkv[layer]).split(self.split, -1)
        qk = torch.cat((q, k), -1).view(batch, time, heads + kv_heads, self.head)
        qk = self._rotate(qk).transpose(1, 2)
        group = heads // kv_heads

        # Queries that share keys become extra rows of one larger product, and a
        # block of queries meets only the keys up to its own end.
        q = qk[:, :heads].reshape(batch * kv_heads, group, time, self.head)
        k = qk[:, heads:].reshape(batch * kv_heads, time, self.head)
        v = v.reshape(batch, time, kv_heads, self.head).transpose(1, 2)
        v = v.reshape(batch * kv_heads, time, self.head)
        blocks = []
        for first in range(0, time, BLOCK):
            end = min(first + BLOCK, time)
            rows = q[:, :, first:end].reshape(batch * kv_heads, -1, self.head)
            mask = self.mask[first:end, :end].repeat(group, 1)
            scores = torch.baddbmm(mask.expand(batch * kv_heads, -1, -1), rows,
                                   k[:, :end].transpose(1, 2), alpha=1 / math.sqrt(self.head))
            out = torch.bmm(scores.softmax(-1), v[:, :end])
            blocks.append(out.view(batch, heads, end - first, self.head))
        out = torch.cat(blocks, 2)
        return F.linear(out.transpose(1, 2).reshape(batch, time, -1), self.wo[layer])

    def forward(self, ids):
        """Logits of the next token after every position."""
        x = F.embedding(ids, self.emb)
        for i in range(self.config["layers"]):
            x = x + self._attention(_Norm.apply(x) * self.norms[2 * i], i)
            h = F.linear(_Norm.apply(x) * self.norms[2 * i + 1], self.w13[i])
            x = x + F.linear(_SwiGLU.apply(h), self.w2[i])
        return F.linear(_Norm.apply(x) * self.norms[-1], self.emb)

    def export(self, path):
        """Writes llama2.c's legacy v0 checkpoint."""
        c = self.config
        wq, wk, wv = self.wqkv.split(self.split, 1)
        w1, w3 = self.w13.chunk(2, 1)
        tables = rope_tables(c["seq_len"], self.head)
        tensors = [self.emb, self.norms[0:-1:2], wq, wk, wv, self.wo, self.norms[1::2],
                   w1, self.w2, w3, self.norms[-1]]
        with open(path, "wb") as f:
            f.write(struct.pack("<7i", c["dim"], c["hidden"], c["layers"], c["heads"],
                                c["kv_heads"], c["vocab"], c["seq_len"]))
            for t in tensors:
                f.write(t.detach().contiguous().numpy().astype("<f4").tobytes())
            for t in tables:
                f.write(t.tobytes())


def load_export(path):
    """Reads a checkpoint that export() wrote."""
    with open(path, "rb") as f:
        names = ("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "seq_len")
        model = Llama(dict(zip(names, struct.unpack("<7i", f.read(28)))))
        flat = torch.from_numpy(np.frombuffer(f.read(), "<f4").copy())
    c, at = model.config, 0

    def take(*shape):
        nonlocal at
        count = math.prod(shape)
        at += count
        return flat[at - count:at].view(*shape)

    n, d, h = c["layers"], c["dim"], c["hidden"]
    kv = model.split[1]
    with torch.no_grad():
        model.emb.copy_(take(c["vocab"], d))
        model.norms[0:-1:2] = take(n, d)
        model.wqkv.copy_(torch.cat([take(n, rows, d) for rows in (d, kv, kv)], 1))
        model.wo.copy_(take(n, d, d))
        model.norms[1::2] = take(n, d)
        w1, w2, w3 = take(n, h, d), take(n, d, h), take(n, h, d)
        model.w13.copy_(torch.cat((w1, w3), 1))
        model.w2.copy_(w2)
        model.norms[-1] = take(d)
    return model.eval()
