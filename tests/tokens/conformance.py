#!/usr/bin/env python3
"""Compares the encoders of the chip with those of oracle.py on texts of all kinds.

    python3 tests/tokens/conformance.py PROGRAM [FOLDER]

PROGRAM is tests/tokens/tokens_main.c, built. One case a tokenizer file; FOLDER keeps the
files that are made, and the texts.
"""
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

import files
import oracle

TEXTS = [
    "", " ", "  ", "a", "Hello world", " Hello  world ", "It's we'll they'RE I'd you'Ve 'S 'x ''s",
    "don't\n\n\nstop   \n  now\t\ttabs \r\n mixed  \n", "1 12 123 1234 12345678 3.14159 1,000,000",
    "x=1;y=22;z=333;\n\tif (x != y) { return -1; }\n", "    def f(self):\n        pass\n\n\n",
    "Zażółć gęślą jaźń", "Привет, как дела? Хорошо!", "שלום עולם", "مرحبا بالعالم ١٢٣",
    "नमस्ते दुनिया १२३४", "สวัสดีชาวโลก", "你好，世界！今天天气很好。", "こんにちは世界、カタカナ", "안녕하세요 세계",
    "Ελληνικά και Ἀρχαῖα", "naïve café — “quotes” … ½ ² Ⅷ ①", "e\u0301 A\u030a combining \u0915\u094d\u0937",
    "😀 👍🏽 👨‍👩‍👧‍👦 🇩🇪 emoji😀text 😀😀😀", "\x00\x01\x02\x07\x1b[31m\x7f\x80\x9f control", "\u0085\u00a0\u2003\u3000 spaces\u2028lines\u2029",
    "a\u200bb\u200dc\ufeffd\u00ad", "''''''''' '' ' \" \"\"\"", "!!!???...---___***", " !a ?b .c", "a b  c   d    e     f",
    "the the the thethethe  the", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u2581already \u2581\u2581 meta\u2581space", "it\u017f 'ſ 'Sx K\u212a", "\n", "\r\n\r\n", " \n", "\t", "end ", "end  ",
    "𝒜𝓑𝔠 𐍈𐌰 𝟘𝟙𝟚 𠀀𠀁", "Ǆ ǅ ǆ ʰ ª º", "<|endoftext|> <s> </s> <unk> <|im_start|>user\nhi<|im_end|>\n",
]


def all_texts():
    texts = [t.encode() for t in TEXTS]
    texts += [b"\xff\xfe broken \xc3 \xe2\x96 utf-8 \xf0\x9f\x98", b"\x80\x81\x82", b"a\xc3\x28b",
              b"\xed\xa0\x80 surrogate", bytes(range(256))]
    rng = random.Random(5)
    pool = list("aehilnorst  \n'1239.,!-éüжд中の😀\u0301\u00a0\t") + ["the", " and", "ing ", "'s"]
    texts += ["".join(rng.choice(pool) for _ in range(rng.randrange(60))).encode()
              for _ in range(150)]
    code_points = [c for c in range(0x20, 0x3000) if unicodedata.category(chr(c)) != "Cs"]
    texts += ["".join(chr(rng.choice(code_points)) for _ in range(30)).encode()
              for _ in range(100)]
    return texts


def corpus():
    text = b""
    for name in sorted(os.listdir("man")):
        with open(os.path.join("man", name), "rb") as file:
            text += file.read()
    return text[:60000] + "".join(TEXTS).encode() * 3


class Runner:
    def __init__(self, program, folder):
        self.program, self.folder, self.failed = program, folder, 0
        self.texts = all_texts()
        self.stream = b"".join(struct.pack("<I", len(t)) + t for t in self.texts)
        with open(os.path.join(folder, "texts"), "wb") as file:
            file.write(self.stream)

    def path(self, name):
        return os.path.join(self.folder, name)

    def encode(self, name, *arguments):
        run = subprocess.run([self.program, self.path(name), *arguments], input=self.stream,
                             capture_output=True, check=False)
        if run.returncode != 0:
            return run.stderr.decode(errors="replace"), []
        out = []
        for line in run.stdout.decode().splitlines():
            ids, decoded = line.split("|")
            out.append((ids.split(), bytes.fromhex(decoded)))
        return "", out

    def report(self, name, problem):
        print("not ok tokens/%s\n  %s" % (name, problem) if problem else "ok tokens/%s" % name)
        self.failed |= bool(problem)

    def compare(self, name, expected, round_trip=True):
        """expected: text to list of ids."""
        problem, found = self.encode(name)
        if not problem and len(found) != len(self.texts):
            problem = "%d lines" % len(found)
        for text, (ids, decoded) in zip(self.texts, found):
            want = [str(i) for i in expected(text)]
            if ids != want:
                problem = "%r: %s for %s" % (text[:80], " ".join(ids), " ".join(want))
            elif round_trip and decoded != text:
                problem = "%r came back as %r" % (text[:80], decoded[:80])
            if problem:
                break
        self.report(name, problem)

    def same(self, name, other):
        """Two files of one vocabulary say the same."""
        found = [self.encode(n) for n in (name, other)]
        self.report(name + "-as-" + other, "" if found[0] == found[1] and found[0][1] else
                    "they differ: %s" % (found[0][0] or found[1][0]))


# ---- byte level -------------------------------------------------------------------------

def byte_level(runner, data):
    kinds = {"gpt2": (oracle.GPT2, None, False), "llama3": (oracle.LLAMA3, oracle.LLAMA3, False),
             "qwen2": (oracle.QWEN2, oracle.QWEN2, False), "digits": (oracle.GPT2, None, True)}
    for kind, (pattern, regex, digits) in kinds.items():
        compiled = oracle.compiled(pattern)
        cut = lambda text, c=compiled, d=digits: oracle.words(c, text, d)
        merges = oracle.train(cut(data), 300)
        ranks = {m: i for i, m in enumerate(merges)}
        pieces = [bytes([b]) for b in range(256)] + [a + b for a, b in merges]
        ids = {p: i for i, p in enumerate(pieces)}
        special = {"<|endoftext|>": len(pieces), "<|im_start|>": len(pieces) + 1,
                   "<|im_end|>": len(pieces) + 2}
        more = {"   ": len(pieces) + 3, "\u2028": len(pieces) + 4} if kind == "gpt2" else {}
        bos = "<|endoftext|>" if kind == "llama3" else None
        files.byte_level_json(runner.path(kind + ".json"), pieces, merges, special, more, regex,
                              digits, ignore_merges=kind == "llama3", bos=bos,
                              pairs=kind == "qwen2")

        def expected(text, more=more, cut=cut, ranks=ranks, ids=ids, bos=bos, special=special,
                     whole=kind == "llama3"):
            out = [special[bos]] if bos else []
            for part in split_added(text, more):
                if isinstance(part, int):
                    out.append(part)
                    continue
                for word in cut(part):
                    if whole and word in ids:
                        out.append(ids[word])
                    else:
                        out += [ids[s] for s in oracle.merge_ranked(
                            (bytes([b]) for b in word), ranks)]
            return out

        runner.compare(kind + ".json", expected)
        if kind == "llama3":
            files.gpt2_gguf(runner.path("llama3.gguf"), pieces, merges, special, "llama-bpe", bos)
            runner.same("llama3.gguf", "llama3.json")


def split_added(text, added):
    """Text and the ids of added tokens in it, the longest where several begin."""
    out, start, at = [], 0, 0
    while at < len(text):
        hits = [t for t in added if text.startswith(t.encode(), at)]
        if not hits:
            at += 1
            continue
        hit = max(hits, key=lambda t: len(t.encode()))
        if at > start:
            out.append(text[start:at])
        out.append(added[hit])
        at += len(hit.encode())
        start = at
    if start < len(text):
        out.append(text[start:])
    return out


# ---- SentencePiece ---------------------------------------------------------------------------

def characters(data):
    """UTF-8 characters; broken ones as the format's page says: up to three bytes that go on."""
    out, i = [], 0
    while i < len(data):
        n = 1
        while i + n < len(data) and n < 4 and data[i + n] & 0xC0 == 0x80:
            n += 1
        out.append(data[i:i + n])
        i += n
    return out


def sentencepieces(merges, fallback=True):
    pieces = [("<unk>", 0.0, files.UNKNOWN), ("<s>", 0.0, files.CONTROL),
              ("</s>", 0.0, files.CONTROL)]
    if fallback:
        pieces += [("<0x%02X>" % b, 0.0, files.BYTE) for b in range(256)]
    score = 0.0
    texts = [a + b for a, b in merges] + sorted({c for m in merges for part in m for c in part})
    for text in dict.fromkeys(texts):
        pieces.append((text, score, files.NORMAL))
        score -= 1.0
    return pieces


def text_merges(data, n):
    """Merges of characters over words that begin with META."""
    text = data.decode("utf-8", "replace").replace(" ", files.META)[:40000]
    seen, cut = [], ""
    for c in text:
        if c == files.META and cut:
            seen.append(cut)
            cut = ""
        cut += c
    counts = {}
    for word in seen:
        counts[tuple(word)] = counts.get(tuple(word), 0) + 1
    merges = []
    while len(merges) < n:
        pairs = {}
        for word, k in counts.items():
            for pair in zip(word, word[1:]):
                pairs[pair] = pairs.get(pair, 0) + k
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        changed = {}
        for word, k in counts.items():
            new, i = [], 0
            while i < len(word):
                step = 2 if word[i:i + 2] == best else 1
                new.append("".join(word[i:i + step]))
                i += step
            changed[tuple(new)] = changed.get(tuple(new), 0) + k
        counts = changed
    return merges


def piece_tables(pieces):
    normal = {p.replace(files.META, " ").encode(): s for p, s, k in pieces if k == files.NORMAL}
    ids = {}
    for i, (p, _, kind) in enumerate(pieces):
        if kind == files.NORMAL:
            ids.setdefault(p.replace(files.META, " ").encode(), i)
    byte_ids = {int(p[3:5], 16): i for i, (p, _, k) in enumerate(pieces) if k == files.BYTE}
    return normal, ids, byte_ids


def scored(runner, data):
    merges = text_merges(data, 200)
    pieces = sentencepieces(merges)
    scores, ids, byte_ids = piece_tables(pieces)
    files.sentencepiece(runner.path("bpe.model"), pieces)
    files.metaspace_json(runner.path("bpe.json"), pieces)
    files.llama_gguf(runner.path("bpe.gguf"), pieces)
    files.llama2c(runner.path("bpe.bin"), pieces)

    def expected(text, replace=True):
        # a byte of fallback stays alone: it gets a mark that no piece holds
        out = [1]
        if replace:
            text = text.replace(files.META.encode(), b" ")
        symbols = []
        for c in ([b" "] if text else []) + characters(text):
            symbols += [c] if c in scores else [(b,) for b in c]
        run = []
        for s in symbols + [None]:
            if isinstance(s, bytes):
                run.append(s)
                continue
            out += [ids[x] for x in oracle.merge_scored(run, scores)]
            run = []
            if s is not None:
                out.append(byte_ids[s[0]])
        return out

    runner.compare("bpe.model", expected, round_trip=False)
    runner.compare("bpe.bin", lambda text: expected(text, False))
    runner.same("bpe.json", "bpe.model")
    runner.same("bpe.gguf", "bpe.model")
    ranked(runner, pieces, merges)


def ranked(runner, pieces, merges):
    """A list of merges that scores could not say, over characters, words cut at spaces."""
    _, ids, byte_ids = piece_tables(pieces)
    odd = [m for i, m in enumerate(merges) if i % 7 != 3 or all(
        merges[i][0] + merges[i][1] not in other for other in merges)][::1]
    files.metaspace_json(runner.path("ranked.json"), pieces, legacy=False, split=True, merges=odd)
    ranks = {(a.replace(files.META, " ").encode(), b.replace(files.META, " ").encode()): i
             for i, (a, b) in enumerate(odd)}

    def expected(text):
        chars = characters(text.replace(files.META.encode(), b" "))
        if chars and chars[0] != b" ":
            chars.insert(0, b" ")
        out, word = [1], []

        def flush():
            for s in oracle.merge_ranked(word, ranks):
                out.extend([ids[s]] if s in ids else [byte_ids[b] for b in s])
            word.clear()

        for c in chars:
            if c == b" ":
                flush()
            if c in ids:
                word.append(c)
            else:
                flush()
                out.extend(byte_ids[b] for b in c)
        flush()
        return out

    runner.compare("ranked.json", expected, round_trip=False)


def unigram(runner, data):
    text = data.decode("utf-8", "replace").replace(" ", files.META)[:30000]
    counts = {}
    for n in range(1, 8):
        for i in range(len(text) - n + 1):
            piece = text[i:i + n]
            if files.META not in piece[1:] and "\n" not in piece:
                counts[piece] = counts.get(piece, 0) + 1
    single = sorted((p for p in counts if len(p) == 1), key=lambda p: (-counts[p], p))[:80]
    longer = sorted((p for p in counts if len(p) > 1),
                    key=lambda p: (-counts[p] * len(p), p))[:400]
    rng = random.Random(9)
    for name, fallback in (("unigram", True), ("unigram-unk", False)):
        pieces = sentencepieces([], fallback)
        for p in single + longer:
            pieces.append((p, struct.unpack("<f", struct.pack(
                "<f", -12 + 9 * counts[p] ** 0.1 / 3 - rng.random()))[0], files.NORMAL))
        pieces.append(("<user>", 0.0, files.USER))
        scores, ids, byte_ids = piece_tables(pieces)
        files.sentencepiece(runner.path(name + ".model"), pieces, True, few_spaces=not fallback,
                            fallback=fallback)

        def expected(data, scores=scores, ids=ids, byte_ids=byte_ids, few=not fallback):
            data = data.replace(files.META.encode(), b" ")
            if few:
                data = b" ".join(part for part in data.split(b" ") if part)
            out = [1]
            chars = ([b" "] if data else []) + characters(data)
            for piece in oracle.unigram(Characters(chars), {Characters(characters(p)): s
                                                            for p, s in scores.items()}):
                out.append(piece)
            return resolve(out, chars, ids, byte_ids)

        runner.compare(name + ".model", expected, round_trip=False)
        if fallback:
            files.metaspace_json(runner.path(name + ".json"), pieces, True)
            runner.same(name + ".json", name + ".model")


class Characters(tuple):
    """A text of whole characters that can be cut and looked up."""
    def __getitem__(self, key):
        part = tuple.__getitem__(self, key)
        return Characters(part) if isinstance(key, slice) else part


def resolve(pieces, chars, ids, byte_ids):
    out, at = [pieces[0]], 0
    for piece in pieces[1:]:
        if piece is not None:
            out.append(ids[b"".join(piece)])
            at += len(piece)
            continue
        if byte_ids:
            out += [byte_ids[b] for b in chars[at]]
        elif out[-1] != 0:
            out.append(0)
        at += 1
    return out


def main():
    folder = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as temporary:
        runner = Runner(sys.argv[1], folder or temporary)
        data = corpus()
        byte_level(runner, data)
        scored(runner, data)
        unigram(runner, data)
        sys.exit(runner.failed)


if __name__ == "__main__":
    main()
