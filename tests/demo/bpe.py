"""Byte-level BPE with 512 tokens, in the layout of llama2.c.

    0 <unk>   1 <s> (starts every document)   2 </s>
    3..258    the bytes 0..255
    259..511  merged pieces, in the order in which they were learnt

`train()` learns the pieces.  `Tokenizer.encode()` is the encoder of llama2.c's
run.c, written again: over the whole string, without splitting it into words
first, merge the neighbours whose joined text has the best score, leftmost on
ties, until nothing can be merged.  `Tokenizer.encode_fast()` gives the same ids
word by word with a cache; `same_ids()` compares the two.
"""
import re
import struct
from collections import Counter

BOS, FIRST_BYTE, FIRST_MERGE, SIZE = 1, 3, 259, 512
SPECIALS = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]
PLAIN_BYTES = set(range(32, 127)) | {10}     # stored as themselves

# No piece crosses these chunks: a word or a run of signs with the space before
# it, one digit with the space before it, or a line break.
CHUNK = re.compile(rb" ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s")


def _join(parts, piece):
    """The list of parts with every neighbouring pair that spells piece merged."""
    out = []
    for part in parts:
        if out and out[-1] + part == piece:
            out[-1] = piece
        else:
            out.append(part)
    return out


def train(text, weights, size=SIZE):
    """Learns the merged pieces of a text.  `weights` multiplies the count of
    some chunks, so that chosen words become single tokens."""
    counts = Counter(CHUNK.findall(text.encode()))
    words = [([bytes([b]) for b in w], n * weights.get(w.decode(), 1))
             for w, n in sorted(counts.items())]
    pieces = []
    while len(pieces) < size - FIRST_MERGE:
        pairs = Counter()
        for parts, n in words:
            for left, right in zip(parts, parts[1:]):
                pairs[left + right] += n
        if not pairs:
            raise ValueError("the text has too few different words")
        best = min(pairs, key=lambda p: (-pairs[p], p))
        pieces.append(best)
        words = [(_join(parts, best), n) for parts, n in words]
    return pieces


class Tokenizer:
    """Text to ids and back, for a list of merged pieces."""

    def __init__(self, merged):
        self.pieces = SPECIALS + [bytes([b]) for b in range(256)] + list(merged)
        self.id_of = {p: i for i, p in enumerate(self.pieces) if i >= FIRST_BYTE}
        self._cache = {}

    def stored_pieces(self):
        """The pieces as they stand in tokenizer.bin: bytes outside plain text
        are spelled <0x00>, which is how llama2.c recognises raw bytes."""
        return [b"<0x%02X>" % (i - FIRST_BYTE)
                if FIRST_BYTE <= i < FIRST_MERGE and i - FIRST_BYTE not in PLAIN_BYTES
                else p for i, p in enumerate(self.pieces)]

    def scores(self):
        return [-float(i - FIRST_MERGE + 1) if i >= FIRST_MERGE else 0.0
                for i in range(len(self.pieces))]

    def _merge(self, ids):
        """llama2.c's greedy merge: best score first, leftmost on ties."""
        while True:
            best, where = len(self.pieces), -1
            for k in range(len(ids) - 1):
                joined = self.id_of.get(self.pieces[ids[k]] + self.pieces[ids[k + 1]])
                if joined is not None and joined < best:
                    best, where = joined, k
            if where < 0:
                return ids
            ids[where:where + 2] = [best]

    def encode(self, text):
        """The ids of a text that starts with its own space, without <s>."""
        return self._merge([b + FIRST_BYTE for b in text.encode()])

    def encode_fast(self, text):
        ids = []
        for chunk in CHUNK.findall(text.encode()):
            if chunk not in self._cache:
                self._cache[chunk] = self._merge([b + FIRST_BYTE for b in chunk])
            ids += self._cache[chunk]
        return ids

    def decode(self, ids):
        data = b"".join(self.pieces[i] for i in ids if i >= FIRST_BYTE)
        return data.decode("utf-8", "replace")

    def save(self, path):
        """Writes llama2.c's tokenizer.bin."""
        stored = self.stored_pieces()
        with open(path, "wb") as f:
            f.write(struct.pack("<i", max(map(len, stored))))
            for score, piece in zip(self.scores(), stored):
                f.write(struct.pack("<fi", score, len(piece)) + piece)


def load(path):
    """Reads a tokenizer.bin that save() wrote."""
    with open(path, "rb") as f:
        data = f.read()
    pieces, at = [], 4
    while at < len(data):
        _, length = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8:at + 8 + length])
        at += 8 + length
    return Tokenizer(pieces[FIRST_MERGE:])


def run_c_encode(path, text):
    """llama2.c's encode() on the stored file, step by step: the dummy space,
    every UTF-8 character looked up as a piece, bytes + 3 for unknown ones, then
    merges of piece strings by score.  Slow; only for checks."""
    vocab, scores = [], []
    with open(path, "rb") as f:
        data = f.read()
    at = 4
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        vocab.append(data[at + 8:at + 8 + length])
        scores.append(score)
        at += 8 + length
    index = {p: i for i, p in enumerate(vocab)}
    ids = [1] + ([index[b" "]] if text else [])
    for char in text:
        raw = char.encode()
        ids += [index[raw]] if raw in index else [b + FIRST_BYTE for b in raw]
    while True:
        best = (-1e10, -1, -1)
        for k in range(len(ids) - 1):
            joined = index.get(vocab[ids[k]] + vocab[ids[k + 1]])
            if joined is not None and scores[joined] > best[0]:
                best = (scores[joined], k, joined)
        if best[1] < 0:
            return ids
        ids[best[1]:best[1] + 2] = [best[2]]


def same_ids(tokenizer, texts):
    """Whether whole-string encoding and chunk-wise encoding agree."""
    return all(tokenizer.encode(t) == tokenizer.encode_fast(t) for t in texts)
