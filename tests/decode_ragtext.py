#!/usr/bin/env python3
"""Reads the sections RCPE, WORD and BM25 of a knowledge blob as man page ruvm-rag(5) says, and
makes them again from the blob's own text: words, postings, norms and vectors.

    python3 tests/decode_ragtext.py FILE

Written from the page alone, to test the page. Prints how much was compared; exit status 1:
something differs.
"""
import json
import math
import struct
import sys
import unicodedata
from collections import Counter

from decode_rag import Blob, Broken, rule

MASK = 0xFFFFFFFF
ALONE = ((0xE00, 0xEFF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF), (0x20000, 0x31FFF))
OWN = {"\u00df": "s", "\u00e6": "a", "\u00f0": "d", "\u00fe": "t", "\u00f8": "o", "\u0111": "d",
       "\u0127": "h", "\u0131": "i", "\u0138": "k", "\u0142": "l", "\u014b": "n", "\u0153": "o",
       "\u0167": "t", "\u0149": "n"}


def small(c):
    code = ord(c)
    if "A" <= c <= "Z":
        return c.lower()
    if 0xC0 <= code <= 0x17F:
        c = c.lower() if len(c.lower()) == 1 else c
        return OWN.get(c) or unicodedata.normalize("NFKD", c)[0].lower()
    if 0x391 <= code <= 0x3A9 or 0x410 <= code <= 0x42F:
        return chr(code + 32)
    return chr(code + 80) if 0x400 <= code <= 0x40F else c


def words(data):
    """The words of bytes, as bytes."""
    word = b""
    for c in data.decode("utf-8", "replace"):
        if word and 0x300 <= ord(c) <= 0x36F:
            continue
        alone = any(low <= ord(c) <= high for low, high in ALONE)
        if word and (alone or unicodedata.category(c)[0] not in "LN"):
            yield word
            word = b""
        if unicodedata.category(c)[0] in "LN":
            new = small(c).encode()
            word = word + new if len(word) + len(new) <= 64 else word
        if alone and word:
            yield word
            word = b""
    if word:
        yield word


def stem(word):
    if len(word) < 4 or word[0] < ord("a"):
        return word
    if word.endswith(b"sses") or (len(word) > 4 and word.endswith(b"ies")):
        word = word[:-2]
    elif not word.endswith((b"ss", b"us", b"is")) and len(word) > 3 and word.endswith(b"s"):
        word = word[:-1]
    for ending in (b"ing", b"ed"):
        if word.endswith(ending):
            rest = word[:-len(ending)]
            word = rest if len(rest) > 2 and set(rest) & set(b"aeiouy") else word
            break
    if len(word) > 3 and word.endswith(b"e"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] < 128 and word[-1] not in b"aeiouy":
        word = word[:-1]
    if len(word) > 2 and word.endswith(b"y") and word[-2] not in b"aeiouy":
        word = word[:-1] + b"i"
    return word


def hash_of(seed, data):
    h = 2166136261 ^ (seed * 2654435761 & MASK)
    for byte in data:
        h = (h ^ byte) * 16777619 & MASK
    h = (h ^ h >> 16) * 0x85EBCA6B & MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & MASK
    return h ^ h >> 16


def numbers(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


def take(found):
    value = next(found, None)
    rule(value is not None, "postings are cut")
    return value


def postings(data):
    """{hash: {chunk: count}} of BM25, and the norms."""
    n_terms, n, live, start = struct.unpack_from("<IIII", data)
    hashes = struct.unpack_from("<%dI" % n_terms, data, 16)
    ends = struct.unpack_from("<%dI" % n_terms, data, 16 + 4 * n_terms)
    norms = data[16 + 8 * n_terms:16 + 8 * n_terms + n]
    rule(list(hashes) == sorted(set(hashes)) and live >= 1, "terms")
    rule(start == (16 + 8 * n_terms + n + 3) // 4 * 4, "place of the postings")
    terms = {}
    for i, h in enumerate(hashes):
        found = numbers(data[start + (ends[i - 1] if i else 0):start + ends[i]])
        chunk, chunks = -1, {}
        for _ in range(take(found)):
            step = take(found)
            chunk += step >> 1
            chunks[chunk] = take(found) if step & 1 else 1
        rule(next(found, None) is None, "end of term %d", i)
        terms[h] = chunks
    return terms, norms


def check_words(blob, texts):
    terms, norms = postings(blob.sections["BM25"])
    expected, lengths = {}, []
    for i, text in enumerate(texts):
        found = [hash_of(0, stem(w)) for w in words(text)]
        lengths.append(len(found))
        for h, count in Counter(found).items():
            expected.setdefault(h, {})[i] = count
    rule(terms == expected, "postings")
    mean = sum(lengths) / max(len(lengths), 1) or 1
    for norm, length in zip(norms, lengths):
        rule(abs(norm - min(255, 32 * (0.3 + 0.9 * length / mean))) <= 1.5, "norm")
    return len(terms)


def vector(recipe, dims, text):
    gram, weight, weights = recipe
    counts = Counter()
    for w in words(text):
        counts[hash_of(0, stem(w)), False] += 1
        marked = b"^" + w + b"$"
        for i in range(max(len(marked) - gram, 0) + 1) if weight else ():
            counts[hash_of(1, marked[i:i + gram]), True] += 1
    x = [0.0] * dims
    for (h, piece), count in counts.items():
        w = weights[h & len(weights) - 1] * 16
        w = (w * weight // 64 if piece else w) * (1 + math.log2(count))
        for j in range(0, dims, 32):
            t = (h ^ ((j + 1) * 0x9E3779B9 & MASK)) * 0x85EBCA6B & MASK
            s = (t ^ t >> 15) * 0xC2B2AE35 & MASK
            s ^= s >> 16
            for i in range(j, min(j + 32, dims)):
                x[i] += w if s >> i - j & 1 else -w
    return x


def read_table(data, dims, weights):
    """{hash: (scale, codes)} of WORD."""
    n, width, zero = struct.unpack_from("<IHH", data)
    rule(n >= 1 and width == dims and zero == 0 and len(weights) == n, "head of WORD")
    rule(len(data) == 8 + n * (6 + dims), "size of WORD")
    hashes = struct.unpack_from("<%dI" % n, data, 8)
    units = struct.unpack_from("<%dH" % n, data, 8 + 4 * n)
    codes = struct.unpack_from("<%db" % (n * dims), data, 8 + 6 * n)
    rule(list(hashes) == sorted(set(hashes)) and min(codes) > -128, "hashes, codes")
    return {h: (units[i] * weights[i] // 256, codes[i * dims:(i + 1) * dims])
            for i, h in enumerate(hashes)}


def sum_of_words(table, dims, text):
    x = [0] * dims
    for w in words(text):
        scale, codes = table.get(hash_of(2, w), (0, ()))
        for i, code in enumerate(codes):
            x[i] += code * scale // 128
    return x


def check_sums(blob, texts, rows, weights):
    """Rows are the sums, rounded as the largest is to 127: exactly, or within half a step."""
    dims = blob.header["dims"]
    table = read_table(blob.sections["WORD"], dims, weights)
    for text, row in zip(texts, rows):
        x = sum_of_words(table, dims, text)
        most = max(map(abs, x))
        if blob.type == "int8" and most:
            rule(all(abs(code * most - 127 * v) <= most * 0.51 for code, v in zip(row, x)),
                 "vector of %r", text)
        elif blob.type == "binary":
            rule(all((code > 0) == (v >= 0) for code, v in zip(row, x)), "signs of %r", text)


def check_vectors(blob, texts, rows):
    data = blob.sections["RCPE"]
    kind, gram, weight = data[0], data[1], data[2]
    buckets, = struct.unpack_from("<I", data, 12)
    dims = blob.header["dims"]
    rule(kind <= 4 and len(data) == 16 + buckets, "recipe")
    rule(buckets == {0: 0, 2: 8 + 4 * dims, 3: 8}.get(kind, buckets), "bytes of a model")
    rule(kind != 3 or all(len(text) == 2 for text in texts), "tokens")
    rule((kind == 4) == ("WORD" in blob.sections), "WORD is there")
    if kind == 4:
        check_sums(blob, texts, rows, data[16:])
    for text, row in zip(texts, rows) if kind == 1 else ():
        x = vector((gram, weight, data[16:]), len(row), text)
        dot = sum(a * b for a, b in zip(x, row))
        size = math.sqrt(sum(a * a for a in x) * sum(b * b for b in row))
        floor = 0.999 if blob.type == "int8" else 0.6
        rule(size == 0 or dot / size > floor, "vector of %r: %f", text, dot / (size or 1))
    return buckets


def texts_of(blob):
    places = (struct.unpack_from("<IH", blob.sections["CHNK"], 16 * i) for i in range(blob.n))
    return [blob.sections["TEXT"][off:off + n] for off, n in places]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    with open(sys.argv[1], "rb") as file:
        blob = Blob(file.read())
    try:
        texts = texts_of(blob)
        rows = list(blob.rows(blob.type, blob.sections["VECT"]))
        terms = check_words(blob, texts) if "BM25" in blob.sections else 0
        buckets = check_vectors(blob, texts, rows)
    except Broken as broken:
        sys.exit("%s: %s" % (sys.argv[1], broken))
    print(json.dumps({"chunks": len(texts), "terms": terms, "buckets": buckets}))


if __name__ == "__main__":
    main()
