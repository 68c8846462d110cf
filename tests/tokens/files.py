"""Small tokenizer files of every container, made from one description."""
import json
import struct

META = "\u2581"


def letters():
    """GPT-2's way to write bytes as characters."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, n = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + n)
            n += 1
    return table


LETTERS = letters()


def written(data):
    return "".join(LETTERS[b] for b in data)


def added(ids, special=True):
    return [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": special} for text, i in ids.items()]


def dump(path, tree):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(tree, file, ensure_ascii=False)


def byte_level_json(path, pieces, merges, special, more=(), regex=None, digits=False,
                    ignore_merges=False, bos=None, pairs=False):
    """GPT-2's form when there is no regex, else that of Llama 3 and Qwen2."""
    pre = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
           "use_regex": regex is None}
    if regex:
        pre = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated",
             "invert": False}, pre]}
    elif digits:
        pre = {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, pre]}
    post = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
            "use_regex": True}
    if bos:
        post = {"type": "Sequence", "processors": [post, template(bos, special[bos])]}
    vocab = {written(p): i for i, p in enumerate(pieces)}
    both = [(written(a), written(b)) for a, b in merges]
    dump(path, {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": added(special) + added(dict(more), False),
        "normalizer": None, "pre_tokenizer": pre, "post_processor": post,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges,
                  "vocab": vocab,
                  "merges": [list(m) for m in both] if pairs else [" ".join(m) for m in both]}})


def template(bos, number):
    one = {"SpecialToken": {"id": bos, "type_id": 0}}
    return {"type": "TemplateProcessing",
            "single": [one, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [one, {"Sequence": {"id": "A", "type_id": 0}}, one,
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}}}


# A SentencePiece vocabulary is a list of (text with META, score, type).
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def all_merges(pieces):
    """Every way to make a piece of two, in the order that Hugging Face's converter has."""
    scores = {p: s for p, s, kind in pieces if kind == NORMAL}
    ids = {p: i for i, (p, _, _) in enumerate(pieces)}
    out = []
    for piece in scores:
        ways = [(piece[:i], piece[i:]) for i in range(1, len(piece))
                if piece[:i] in scores and piece[i:] in scores]
        out += [(a, b, piece) for a, b in sorted(ways, key=lambda w: (ids[w[0]], ids[w[1]]))]
    return [(a, b) for a, b, p in sorted(out, key=lambda m: -scores[m[2]])]


def metaspace_json(path, pieces, unigram=False, split=False, legacy=True, fallback=True,
                   merges=None):
    if legacy:
        normalizer = {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": META},
            {"type": "Replace", "pattern": {"String": " "}, "content": META}]}
        pre = None
    else:
        normalizer = None
        pre = {"type": "Metaspace", "replacement": META, "prepend_scheme": "first",
               "split": split}
    special = {p: i for i, (p, _, kind) in enumerate(pieces) if kind in (UNKNOWN, CONTROL)}
    user = {p: i for i, (p, _, kind) in enumerate(pieces) if kind == USER}
    if unigram:
        model = {"type": "Unigram", "unk_id": 0, "byte_fallback": fallback,
                 "vocab": [[p, s] for p, s, _ in pieces]}
    else:
        model = {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                 "continuing_subword_prefix": None, "end_of_word_suffix": None,
                 "fuse_unk": True, "byte_fallback": fallback,
                 "vocab": {p: i for i, (p, _, _) in enumerate(pieces)},
                 "merges": [" ".join(m) for m in (merges or all_merges(pieces))]}
    dump(path, {"version": "1.0", "truncation": None, "padding": None,
                "added_tokens": added(special) + added(user, False),
                "normalizer": normalizer, "pre_tokenizer": pre,
                "post_processor": template("<s>", 1),
                "decoder": {"type": "Sequence", "decoders": [
                    {"type": "Replace", "pattern": {"String": META}, "content": " "},
                    {"type": "ByteFallback"}, {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
                "model": model})


# ---- protocol buffers and GGUF ----------------------------------------------------------

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def sentencepiece(path, pieces, unigram=False, prefix=True, few_spaces=False, fallback=True):
    out = b""
    for text, score, kind in pieces:
        piece = field(1, text.encode()) + field(2, float(score))
        out += field(1, piece + (field(3, kind) if kind != NORMAL else b""))
    out += field(2, field(3, 1 if unigram else 2) + field(35, int(fallback)) +
                 field(40, 0) + field(41, 1) + field(42, 2))
    out += field(3, field(1, b"identity") + field(3, int(prefix)) + field(4, int(few_spaces)) +
                 field(5, 1))
    with open(path, "wb") as file:
        file.write(out)


def gguf_text(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(value):
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + gguf_text(value)
    head = struct.pack("<I", 9)
    if isinstance(value[0], str):
        return head + struct.pack("<IQ", 8, len(value)) + b"".join(map(gguf_text, value))
    if isinstance(value[0], float):
        return head + struct.pack("<IQ%df" % len(value), 6, len(value), *value)
    return head + struct.pack("<IQ%di" % len(value), 5, len(value), *value)


def gguf(path, pairs):
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)))
        for key, value in pairs.items():
            file.write(gguf_text(key) + gguf_value(value))


def llama_gguf(path, pieces):
    gguf(path, {"general.architecture": "llama", "tokenizer.ggml.model": "llama",
                "tokenizer.ggml.tokens": [p for p, _, _ in pieces],
                "tokenizer.ggml.scores": [float(s) for _, s, _ in pieces],
                "tokenizer.ggml.token_type": [k for _, _, k in pieces],
                "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
                "tokenizer.ggml.unknown_token_id": 0})


def gpt2_gguf(path, pieces, merges, special, pre, bos):
    gguf(path, {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2",
                "tokenizer.ggml.pre": pre,
                "tokenizer.ggml.tokens": [written(p) for p in pieces] + list(special),
                "tokenizer.ggml.token_type": [NORMAL] * len(pieces) + [CONTROL] * len(special),
                "tokenizer.ggml.merges": [written(a) + " " + written(b) for a, b in merges],
                "tokenizer.ggml.bos_token_id": special[bos],
                "tokenizer.ggml.add_bos_token": True})


def llama2c(path, pieces):
    longest = max(len(p.replace(META, " ").encode()) for p, _, _ in pieces)
    with open(path, "wb") as file:
        file.write(struct.pack("<i", longest))
        for text, score, kind in pieces:
            data = text.replace(META, " ").encode()
            if kind == CONTROL:
                data = b"\n" + data + b"\n"
            file.write(struct.pack("<fi", score, len(data)) + data)
