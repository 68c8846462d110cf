"""Encoders as slow and as plain as can be, to test the ones on the chip: each is written from
what the regular expressions and the training papers say, not from the C code. Also the
training of small vocabularies."""
import re
import unicodedata

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
REST = r"|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+" + REST
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+" + REST)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}|", r"\p{N}|", 1)


def ranges(category):
    """The inside of a character class: all characters of that general category."""
    out, first = [], None
    for c in range(0x110001):
        inside = c < 0x110000 and unicodedata.category(chr(c))[0] == category
        if inside and first is None:
            first = c
        elif not inside and first is not None:
            out.append("\\U%08x-\\U%08x" % (first, c - 1))
            first = None
    return "".join(out)


LETTERS, NUMBERS = ranges("L"), ranges("N")


def compiled(pattern):
    """Python's re has no \\p, and its \\s is not Unicode's White_Space."""
    inside = {r"\p{L}": LETTERS, r"\p{N}": NUMBERS, r"\s": SPACES}
    out, depth = "", 0
    for token in re.findall(r"\\p\{.\}|\\.|.", pattern):
        depth += token == "["
        depth -= token == "]"
        if token in inside:
            out += inside[token] if depth else "[%s]" % inside[token]
        elif token == r"\S":
            out += "[^%s]" % SPACES
        else:
            out += token
    return re.compile(out)


NUMBER = re.compile("[%s]" % NUMBERS)


def words(regex, data, split_digits=False):
    """The words of bytes; a byte that is no UTF-8 is a character of no category."""
    text = data.decode("utf-8", "surrogateescape")
    parts = [text]
    if split_digits:
        parts = [p for p in re.split("(%s)" % NUMBER.pattern, text) if p]
    for part in parts:
        for match in regex.finditer(part):
            yield match.group().encode("utf-8", "surrogateescape")


# ---- byte-pair encoding --------------------------------------------------------------

def merge_ranked(symbols, ranks):
    """The pair of the lowest rank, the leftmost of equal ones, until there is none."""
    symbols = list(symbols)
    while True:
        best = min(((ranks.get(pair, len(ranks)), i)
                    for i, pair in enumerate(zip(symbols, symbols[1:]))), default=None)
        if best is None or best[0] == len(ranks):
            return symbols
        i = best[1]
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]


def merge_scored(symbols, scores):
    symbols = list(symbols)
    while True:
        best = None
        for i, (a, b) in enumerate(zip(symbols, symbols[1:])):
            score = scores.get(a + b)
            if a in scores and b in scores and score is not None and (
                    best is None or score > best[0]):
                best = (score, i)
        if best is None:
            return symbols
        i = best[1]
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]


def train(all_words, n_merges):
    """Merges of the most frequent pair; of equal ones the first in order of their bytes."""
    counts = {}
    for word in all_words:
        key = tuple(bytes([b]) for b in word)
        counts[key] = counts.get(key, 0) + 1
    merges = []
    while len(merges) < n_merges:
        pairs = {}
        for word, n in counts.items():
            for pair in zip(word, word[1:]):
                pairs[pair] = pairs.get(pair, 0) + n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        changed = {}
        for word, n in counts.items():
            new, i = [], 0
            while i < len(word):
                if word[i:i + 2] == best:
                    new.append(word[i] + word[i + 1])
                    i += 2
                else:
                    new.append(word[i])
                    i += 1
            changed[tuple(new)] = changed.get(tuple(new), 0) + n
        counts = changed
    return merges


# ---- Unigram ------------------------------------------------------------------------------

def unigram(text, scores):
    """The pieces with the best sum; a character that none holds is None, None behind None
    once. Of equal sums the one whose last piece begins first."""
    lowest = min(scores.values()) - 10
    best = [(0.0, None)] + [None] * len(text)
    for end in range(1, len(text) + 1):
        for begin in range(max(0, end - 40), end):
            piece = text[begin:end]
            score = scores.get(piece)
            if score is None and len(piece) == 1:
                score = lowest
            if score is not None and (best[end] is None or best[begin][0] + score > best[end][0]):
                best[end] = (best[begin][0] + score, begin)
    out, end = [], len(text)
    while end > 0:
        begin = best[end][1]
        piece = text[begin:end]
        out.append(piece if piece in scores else None)
        end = begin
    return out[::-1]
