#!/usr/bin/env python3
"""Reads a RUVM image as man page ruvm-image(5) says, and prints what it holds as JSON.

    python3 tests/decode_ruvm.py FILE

Written from the page alone, to test the page: whoever changes the format changes the
page first and this program after it, without a look at the C code. The keys are
those of `ruvm inspect --json`. Exit status 1: the file breaks a rule of the page.
"""
import json
import math
import struct
import sys
import zlib

REQUIRED = ("ARCH", "TENS", "SCAL", "NORM", "KVSC", "WGTS")
OF_SOME_NETWORKS = ("BIAS", "ROPE", "WIND")
OPTIONAL = ("tokn", "meta", "gold")
OF_CLASSIFIERS = ("MLPN", "TENS", "SCAL", "WGTS")
OUTPUTS = ("logits", "softmax", "sigmoid")
CLASSIFIER_ACTIVATIONS = ("none", "relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu_tanh",
                          "gelu")
MIN_EXP, MAX_EXP = -80, 30
NONE = 65535
TYPES = ("int8", "int4", "int3", "int2", "binary", "ternary", "xnor")
GROUPED = ("int4", "int3", "int2", "binary")
QUANT_TYPES = {"int8": 0, "int4": 1, "binary": 2, "ternary": 3}
MIXED = 255
LAYER_TENSORS = ("wq", "wk", "wv", "wo", "w_up", "w_gate", "w_down")
FINAL_NORM_BIAS = 9
BIASES = LAYER_TENSORS + ("attn_norm", "ffn_norm", "final_norm")
NORMS, POSITIONS = ("rms", "layer"), ("rope", "learned")
ACTIVATIONS = ("silu_gated", "gelu_tanh", "gelu", "relu")


class Broken(Exception):
    """A rule of the page that the file breaks."""


def rule(holds, text, *values):
    if not holds:
        raise Broken(text % values)


def up(n, align):
    return (n + align - 1) // align * align


def codes(words, bits):
    """The codes of little-endian words, 32 / bits of them each."""
    for (word,) in struct.iter_unpack("<I", words):
        for column in range(32 // bits):
            field, lane = divmod(column, 4)
            yield word >> (8 * lane + bits * field) & ((1 << bits) - 1)


def int3_codes(row):
    for at in range(0, len(row), 12):
        low, high = codes(row[at:at + 8], 2), codes(row[at + 8:at + 12], 1)
        yield from (a + 4 * b for a, b in zip(low, high))


# What a byte of five digits is, the first one first.
TERNARY_DIGITS = {(v * 256 + 242) // 243: [v // 3 ** (4 - i) % 3 for i in range(5)]
                  for v in range(243)}


def ternary_levels(row, columns):
    rule(all(byte in TERNARY_DIGITS for byte in row), "byte that is no ternary value")
    digits = [TERNARY_DIGITS[byte][i] for i in range(5) for byte in row]
    rule(all(d == 1 for d in digits[columns:]), "digits of no column")
    return [d - 1 for d in digits[:columns]]


def levels_of(name, row, columns):
    """The levels of a packed row, and that its padding is what it should be."""
    if name == "int8":
        levels = struct.unpack_from("<%db" % columns, row)
        rule(not any(row[columns:]), "padding of a row")
        rule(min(levels) > -128, "-128 in a row")
        return levels
    if name == "ternary":
        return ternary_levels(row, columns)
    bits = {"int4": 4, "int3": 3, "int2": 2}.get(name, 1)
    all_codes = list(int3_codes(row) if name == "int3" else codes(row, bits))
    rule(not any(all_codes[columns:]), "codes of no column")
    return [2 * u - ((1 << bits) - 1) for u in all_codes[:columns]]


def row_bytes_of(name, columns):
    if name == "ternary":
        return -(-columns // 5)
    size, step = {"int8": (16, 16), "int4": (8, 16), "int3": (12, 32), "int2": (4, 16),
                  "binary": (4, 32), "xnor": (4, 32)}[name]
    return size * -(-columns // step)


def check_exponents(exponents, where):
    for e in exponents:
        rule(MIN_EXP <= e <= MAX_EXP, "%s: exponent %d", where, e)


class Image:
    def __init__(self, data):
        self.data = data
        rule(data[:4] == b"RUVM", "not a RUVM file")
        rule(len(data) >= 32, "%d bytes are no header", len(data))
        self.version = data[14]
        if self.version == 0:
            self.read_bare()
            return
        rule(self.version == 1, "version %d", self.version)
        self.is_classifier = data[11] == 0
        self.read_header()
        self.read_table()
        if self.is_classifier:
            self.read_mlpn()
            self.read_tensors()
            self.read_labels()
            self.read_meta()
            return
        self.read_arch()
        self.read_norm()
        self.read_bias()
        self.read_rope()
        self.read_windows()
        self.read_kvsc()
        self.read_tensors()
        self.read_tokenizer()
        self.read_meta()
        self.read_golden()

    # ---- header and table --------------------------------------------------

    def read_shape(self):
        (self.vocab, self.dim, self.hidden, self.layers, self.heads, self.max_seq_len,
         self.quant_type) = struct.unpack_from("<HHHBBBB", self.data, 4)
        present = ("vocab", "dim", "layers") if self.version == 1 and self.is_classifier else (
            "vocab", "dim", "hidden", "layers", "heads")
        for name in present:
            rule(getattr(self, name) >= 1, "%s is 0", name)

    def read_bare(self):
        rule(not any(self.data[14:32]), "reserved bytes of version 0 are not zero")
        self.read_shape()
        rule(self.quant_type == 0, "version 0 with quant_type %d", self.quant_type)
        size = (32 + 2 * self.vocab * self.dim
                + self.layers * (4 * self.dim ** 2 + 3 * self.hidden * self.dim))
        rule(len(self.data) == size, "%d bytes, %d expected", len(self.data), size)

    def read_header(self):
        d = self.data
        (self.kv_heads, self.context, n, flags, size, self.header_crc) = struct.unpack_from(
            "<BHHIII", d, 15)
        table = d[32:32 + 16 * n]
        rule(len(table) == 16 * n, "the section table is not in the file")
        rule(zlib.crc32(d[:28] + table) == self.header_crc, "CRC-32 of the header")
        rule(size == len(d), "%d bytes, but the header says %d", len(d), size)
        rule(n <= 64, "%d sections", n)
        rule(flags == 0, "flags %d", flags)
        self.read_shape()
        self.table = [struct.unpack_from("<4sIII", table, 16 * i) for i in range(n)]
        if self.is_classifier:
            rule((self.max_seq_len, self.kv_heads, self.context) == (0, 0, 0),
                 "a classifier with a context or heads")
            return
        rule(self.context >= 1, "context is 0")
        rule(self.max_seq_len == min(self.context, 255), "max_seq_len %d", self.max_seq_len)
        rule(self.kv_heads >= 1 and self.heads % self.kv_heads == 0, "%d kv_heads", self.kv_heads)

    def read_table(self):
        self.sections, self.places = [], {}
        end = 32 + 16 * len(self.table)
        for raw, off, size, crc in self.table:
            rule(all(65 <= c <= 90 or 97 <= c <= 122 for c in raw), "name %r", raw)
            name = raw.decode("ascii")
            rule(name not in self.places, "%s is there twice", name)
            rule(off % (64 if name == "WGTS" else 16) == 0, "%s is not aligned", name)
            rule(end <= off and off + size <= len(self.data), "%s is not in its place", name)
            rule(not any(self.data[end:off]), "bytes before %s are not zero", name)
            rule(zlib.crc32(self.data[off:off + size]) == crc, "CRC-32 of %s", name)
            decoders = REQUIRED + OF_SOME_NETWORKS
            required = OF_CLASSIFIERS if self.is_classifier else decoders
            is_known = name in required or name in OPTIONAL or name == "labl"
            rule(is_known or name[0].islower(), "unknown required section %s", name)
            self.places[name] = (off, size)
            self.sections.append({"name": name, "off_bytes": off, "size_bytes": size, "crc32": crc,
                                  "required": name[0].isupper(), "known": is_known})
            end = off + size
        rule(end == len(self.data), "the file does not end with its last section")
        for name in OF_CLASSIFIERS if self.is_classifier else REQUIRED:
            rule(name in self.places, "%s is missing", name)

    def section(self, name, size=None):
        off, found = self.places[name]
        rule(size is None or size == found, "%s has %d bytes, expected %s", name, found, size)
        return self.data[off:off + found]

    # ---- the network -------------------------------------------------------

    def read_arch(self):
        (norm, act, pos, flags, self.head_dim, self.rope_dims, mantissa, exponent, self.resid_exp,
         key_bits, value_bits, self.window, score_exp, gap,
         score) = struct.unpack_from("<BBBBHHIbbBBHbBI", self.section("ARCH", 32))
        rule(norm <= 1 and act <= 3 and pos <= 1, "unknown network %d %d %d", norm, act, pos)
        rule(flags & ~3 == 0, "ARCH flags %d", flags)
        rule(key_bits in (0, 4) and value_bits in (0, 4), "cache of %d and %d bits", key_bits,
             value_bits)
        rule(gap == 0 and not any(self.section("ARCH")[24:]), "reserved bytes of ARCH")
        rule(score != 0 or score_exp == 0, "scale of scores 0 * 2^%d", score_exp)
        self.norm, self.act, self.pos = NORMS[norm], ACTIVATIONS[act], POSITIONS[pos]
        self.gated, self.learned = act == 0, pos == 1
        self.key_bits, self.value_bits = key_bits or 8, value_bits or 8
        rule(self.head_dim >= 2 and self.head_dim % 2 == 0, "head_dim %d", self.head_dim)
        if self.learned:
            rule(self.rope_dims == 0, "rope_dims %d with learned positions", self.rope_dims)
        else:
            rule(2 <= self.rope_dims <= self.head_dim and self.rope_dims % 2 == 0, "rope_dims %d",
                 self.rope_dims)
        check_exponents((exponent, self.resid_exp, score_exp), "ARCH")
        self.tied, self.parallel = bool(flags & 1), bool(flags & 2)
        self.score_scale = math.ldexp(score, score_exp) if score else self.head_dim ** -0.5
        self.norm_eps = math.ldexp(mantissa, exponent)
        self.q_dim = self.heads * self.head_dim
        self.kv_dim = self.kv_heads * self.head_dim
        rule(self.q_dim <= 65535, "heads of %d channels in all", self.q_dim)

    def read_norm(self):
        n = 2 * self.layers + 1
        section = self.section("NORM", up(n, 16) + 2 * n * self.dim)
        check_exponents(struct.unpack_from("<%db" % n, section), "NORM")
        rule(not any(section[n:up(n, 16)]), "padding in NORM")

    def read_bias(self):
        self.bias_numbers, self.biases = 0, []
        if "BIAS" not in self.places:
            return
        section = self.section("BIAS")
        rule(len(section) >= 2, "BIAS is short")
        (kinds,) = struct.unpack_from("<H", section)
        rule(kinds != 0 and kinds < 1 << 10, "kinds of biases %d", kinds)
        rule(self.gated or not kinds & 1 << 5, "bias of no gate")
        self.biases = [name for k, name in enumerate(BIASES) if kinds >> k & 1]
        lengths = (self.q_dim, self.kv_dim, self.kv_dim, self.dim, self.hidden, self.hidden,
                   self.dim, self.dim, self.dim)
        vectors = [n for k, n in enumerate(lengths) if kinds >> k & 1] * self.layers
        if kinds >> FINAL_NORM_BIAS & 1:
            vectors.append(self.dim)
        self.bias_numbers = sum(vectors)
        start = up(2 + len(vectors), 16)
        section = self.section("BIAS", start + 2 * self.bias_numbers)
        check_exponents(struct.unpack_from("<%db" % len(vectors), section, 2), "BIAS")
        rule(not any(section[2 + len(vectors):start]), "padding in BIAS")

    def read_windows(self):
        self.windowed = list(range(self.layers)) if self.window else []
        if "WIND" not in self.places:
            return
        self.windowed = [i for i, b in enumerate(self.section("WIND")) if b]
        rule(self.window > 0, "WIND without a window")
        rule(all(b <= 1 for b in self.section("WIND", self.layers)), "window of a layer")

    def read_rope(self):
        self.rope_theta = 0
        rule(("ROPE" in self.places) != self.learned, "ROPE and learned positions")
        if self.learned:
            return
        pairs = self.rope_dims // 2
        increments = struct.unpack("<%dI" % pairs, self.section("ROPE", 4 * pairs))
        if pairs > 1 and increments[1]:
            self.rope_theta = (2 ** 32 / (2 * math.pi) / increments[1]) ** (self.rope_dims / 2)

    def read_kvsc(self):
        record = 4 + 10 * self.kv_dim
        section = self.section("KVSC", record * self.layers)
        for start in range(0, len(section), record):
            check_exponents(struct.unpack_from("<4b", section, start), "KVSC")
            zeros = struct.unpack_from("<%dh" % self.kv_dim, section, start + 4 + 8 * self.kv_dim)
            rule(max(map(abs, zeros)) <= 16383, "zero of a key in KVSC")

    # ---- tensors -------------------------------------------------------------

    def expected_tensors(self):
        """kind, layer, name, rows, columns of each, in order."""
        if self.is_classifier:
            inputs = self.dim
            for layer, (_, _, width) in enumerate(self.layer_list):
                yield 10, layer, "layers.%d" % layer, width, inputs
                inputs = width
            return
        shapes = ((self.q_dim, self.dim), (self.kv_dim, self.dim), (self.kv_dim, self.dim),
                  (self.dim, self.q_dim), (self.hidden, self.dim), (self.hidden, self.dim),
                  (self.dim, self.hidden))
        yield 0, 0, "embed", self.vocab, self.dim
        if self.learned:
            yield 9, 0, "positions", self.context, self.dim
        for layer in range(self.layers):
            for k, (rows, columns) in enumerate(shapes):
                if LAYER_TENSORS[k] == "w_gate" and not self.gated:
                    continue
                yield 1 + k, layer, "layers.%d.%s" % (layer, LAYER_TENSORS[k]), rows, columns
        if not self.tied:
            yield 8, 0, "head", self.vocab, self.dim

    def read_type(self, byte, name, columns):
        """Name of the type and columns of a group, or 0."""
        rule(byte & 15 < len(TYPES), "%s: type %d", name, byte & 15)
        kind, log2 = TYPES[byte & 15], byte >> 4
        rule(log2 in (0, 4, 5, 6), "%s: groups of size %d", name, log2)
        rule(log2 == 0 or kind in GROUPED, "%s: %s has no groups", name, kind)
        rule(log2 == 0 or columns <= 32768, "%s: %d columns in groups", name, columns)
        return kind, 1 << log2 if log2 else 0

    def read_tensors(self):
        expected = list(self.expected_tensors())
        section = self.section("TENS", 32 * len(expected))
        data_off, scale_off = self.places["WGTS"][0], self.places["SCAL"][0]
        self.tensors, kinds = [], set()
        for i, (kind, layer, name, rows, columns) in enumerate(expected):
            e = struct.unpack_from("<BBBbIIIIIII", section, 32 * i)
            rule(e[:2] == (kind, layer), "%s: kind, layer are %s", name, e[:2])
            type_name, group = self.read_type(e[2], name, columns)
            check_exponents(e[3:4], name)
            row_bytes = row_bytes_of(type_name, columns)
            mult_bytes = -(-(-(-columns // group)) // 2) if group else 0
            data_bytes, scale_bytes = up(rows * row_bytes, 16), up(rows * (2 + mult_bytes), 2)
            rule(e[4:7] == (rows, columns, row_bytes), "%s: shape is %s", name, e[4:7])
            rule(e[7:9] == (data_off, data_bytes), "%s: weights at %s", name, e[7:9])
            rule(e[9:11] == (scale_off, scale_bytes), "%s: scales at %s", name, e[9:11])
            rule(sum(self.places["WGTS"]) >= data_off + data_bytes, "%s is not in WGTS", name)
            rule(sum(self.places["SCAL"]) >= scale_off + scale_bytes, "%s is not in SCAL", name)
            data = self.data[data_off:data_off + data_bytes]
            scales = self.data[scale_off:scale_off + scale_bytes]
            tensor = {"name": name, "type": type_name + (" g%d" % group if group else ""),
                      "shape": [rows, columns], "off_bytes": data_off, "size_bytes": data_bytes,
                      "data_crc32": zlib.crc32(data)}
            rows_of = list(self.weights(tensor, data, scales, group))
            tensor["min"] = math.ldexp(min(map(min, rows_of)), e[3])
            tensor["max"] = math.ldexp(max(map(max, rows_of)), e[3])
            self.tensors.append(tensor)
            kinds.add(type_name)
            data_off += data_bytes
            scale_off += scale_bytes
        rule(data_off == sum(self.places["WGTS"]), "bytes behind the last tensor")
        rule(scale_off == sum(self.places["SCAL"]), "bytes behind the last scale")
        quant_type = QUANT_TYPES.get(kinds.pop(), MIXED) if len(kinds) == 1 else MIXED
        rule(self.quant_type == quant_type, "quant_type %d", self.quant_type)

    @staticmethod
    def weights(tensor, data, scales, group):
        """The rows of a tensor, without its exponent."""
        rows, columns = tensor["shape"]
        kind = tensor["type"].split()[0]
        size = row_bytes_of(kind, columns)
        rule(not any(data[rows * size:]), "%s: bytes behind the weights", tensor["name"])
        n_groups = -(-columns // group) if group else 0
        mult_bytes = (n_groups + 1) // 2
        rule(not any(scales[rows * (2 + mult_bytes):]), "%s: bytes behind the scales",
             tensor["name"])
        for r in range(rows):
            levels = levels_of(kind, data[r * size:(r + 1) * size], columns)
            (scale,) = struct.unpack_from("<H", scales, 2 * r)
            at = 2 * rows + r * mult_bytes
            halves = [h for byte in scales[at:at + mult_bytes] for h in (byte & 15, byte >> 4)]
            rule(not any(halves[n_groups:]), "%s: unused half of a multiplier", tensor["name"])
            yield [level * scale * (halves[c // group] if group else 1)
                   for c, level in enumerate(levels)]

    # ---- classifiers ---------------------------------------------------------

    def read_mlpn(self):
        s = self.section("MLPN")
        records = 16 + 8 * self.layers + 8 * self.dim
        rule(len(s) >= records, "MLPN is short")
        rule(s[0] < len(OUTPUTS) and not any(s[1:16]), "outputs of MLPN")
        self.layer_list = []
        layers = s[16:16 + 8 * self.layers]
        for act, exponent, slope, width, zero in struct.iter_unpack("<BbHHH", layers):
            rule(act < len(CLASSIFIER_ACTIVATIONS) and zero == 0 and width >= 1, "a layer of MLPN")
            rule(act == 2 or slope == 0, "slope of %s", CLASSIFIER_ACTIVATIONS[act])
            check_exponents([exponent], "MLPN")
            self.layer_list.append((act, slope, width))
        widths = [width for _, _, width in self.layer_list]
        rule(widths[-1] == self.vocab, "%d outputs", widths[-1])
        rule(max(widths[:-1], default=0) == self.hidden, "hidden %d", self.hidden)
        inputs = s[records - 8 * self.dim:records]
        for _, mult, shift, exponent in struct.iter_unpack("<iHBb", inputs):
            rule(mult >= 1 and 1 <= shift <= 47, "an input of MLPN")
            check_exponents([exponent], "MLPN")
        self.section("MLPN", records + 2 * sum(widths))

    def read_labels(self):
        self.labels = []
        if "labl" not in self.places:
            return
        raw = self.section("labl")
        rule(raw.endswith(b"\n"), "labl ends without a line feed")
        rule(all(c == 10 or (c >= 32 and c != 127) for c in raw), "control character in labl")
        try:
            self.labels = raw.decode("utf-8", "strict").split("\n")[:-1]
        except UnicodeDecodeError as error:
            raise Broken("labl is not UTF-8: %s" % error) from None
        rule(all(self.labels) and len(self.labels) == max(self.vocab, 2), "%d names",
             len(self.labels))

    def describe_classifier(self):
        layers = []
        for (act, slope, width), tensor in zip(self.layer_list, self.tensors):
            name = CLASSIFIER_ACTIVATIONS[act] + (" %.4g" % (slope / 65536) if act == 2 else "")
            layers.append({"name": tensor["name"], "type": tensor["type"], "n_outputs": width,
                           "n_inputs": tensor["shape"][1], "activation": name})
        return {"kind": "classifier", "n_inputs": self.dim, "n_outputs": self.vocab,
                "n_classes": max(self.vocab, 2), "outputs": OUTPUTS[self.section("MLPN")[0]],
                "has_labels": bool(self.labels), "image_bytes": len(self.data),
                "image_crc32": self.header_crc, "layers": layers,
                "n_weights": sum(y["n_inputs"] * y["n_outputs"] for y in layers)}

    # ---- optional sections ---------------------------------------------------

    def read_tokenizer(self):
        self.tokenizer = None
        if "tokn" not in self.places:
            return
        s = self.section("tokn")
        rule(len(s) >= 16, "tokn is short")
        kind, flags, n, bos, eos, unk, longest, text_bytes = struct.unpack_from("<BBHHHHHI", s)
        rule(1 <= kind <= 3 and flags <= 7, "tokn kind %d, flags %d", kind, flags)
        has_more = bool(flags & 4)
        rule(kind == 1 or has_more, "tokn kind %d ends with its text", kind)
        rule(n == self.vocab, "tokn has %d pieces", n)
        order_at = 20 + {1: 6, 2: 4, 3: 8}[kind] * n
        kinds_at = order_at + 512 + 2 * n
        text_at = kinds_at + n + n % 2 + 2
        more_at = up(text_at + text_bytes, 4)
        if not has_more:
            self.section("tokn", text_at + text_bytes)
        rule(not has_more or len(s) >= more_at + 16, "tokn is short")
        off = struct.unpack_from("<%dI" % (n + 1), s, 16)
        order = struct.unpack_from("<%dH" % n, s, order_at)
        byte_id = struct.unpack_from("<256H", s, order_at + 2 * n)
        kinds = s[kinds_at:kinds_at + n]
        (n_sorted,) = struct.unpack_from("<H", s, text_at - 2)
        rule(not any(s[kinds_at + n:text_at - 2]), "padding in tokn")
        rule(off[0] == 0 and off[n] == text_bytes and list(off) == sorted(off), "tokn offsets")
        text = s[text_at:text_at + text_bytes]
        pieces = [text[off[i]:off[i + 1]] for i in range(n)]
        rule(max(map(len, pieces)) == longest, "longest piece is not %d", longest)
        rule(all(t < n or t == NONE for t in (bos, eos, unk)), "BOS, EOS or unknown token")
        rule(all(k <= (3 if has_more else 2) for k in kinds), "kinds of pieces")
        rule(all(len(p) == 1 for p, k in zip(pieces, kinds) if k == 1), "pieces of bytes")
        by_text = sorted(range(n), key=lambda i: (pieces[i], i))
        searched = [i for i in by_text if kinds[i] == 0 and pieces[i]]
        others = [i for i in range(n) if kinds[i] != 0 or not pieces[i]]
        rule(n_sorted == len(searched) and list(order) == searched + others, "tokn order")
        for b, t in enumerate(byte_id):
            rule(t == NONE or (t < n and kinds[t] < 2 and pieces[t] == bytes([b])),
                 "token of byte %d", b)
        if kind == 1:
            rule(all(r < n for r in struct.unpack_from("<%dH" % n, s, 20 + 4 * n)), "tokn ranks")
        if kind == 3:
            rule(all(len(pieces[i]) <= 127 for i in searched), "long piece of kind 3")
            rule(unk not in searched, "the unknown token is searched")
        self.tokenizer = {"n_pieces": n, "bos": bos, "eos": eos, "unk": unk}
        if has_more:
            rule(not any(s[text_at + text_bytes:more_at]), "padding behind the text of tokn")
            specials = [i for i in by_text if kinds[i] >= 2 and pieces[i]]
            self.read_more(s, more_at, kind, pieces, specials)

    def read_more(self, s, at, kind, pieces, specials):
        """What tokn has behind its text."""
        n = len(pieces)
        pattern, n_ends, options, n_special, n_merges, score, chat_bytes = struct.unpack_from(
            "<BBHHHiI", s, at)
        at += 16
        chat_at = at + 2 * n_special + 2 * n_ends + 8 * n_merges
        self.section("tokn", chat_at + chat_bytes)
        family, byte_level = pattern & 15, options & 1
        rule(options < 256 and pattern < 128 and family <= 3, "options or pattern of tokn")
        rule(not byte_level or (kind == 2 and family != 3), "a pattern of bytes")
        rule(byte_level or pattern in (0, 3), "a pattern of characters")
        rule(not byte_level or not s[1] & 2, "a space before bytes")
        rule(kind == 2 or n_merges == 0, "merges of kind %d", kind)
        rule(kind == 3 or score == 0, "score of kind %d", kind)
        found = struct.unpack_from("<%dH" % n_special, s, at)
        rule(list(found) == specials, "special tokens")
        ends = struct.unpack_from("<%dH" % n_ends, s, at + 2 * n_special)
        rule(all(t < n for t in ends), "tokens that end a text")
        before = (-1, -1)
        merges = s[chat_at - 8 * n_merges:chat_at]
        for left, right, result, rank in struct.iter_unpack("<4H", merges):
            rule((left, right) > before, "order of the merges")
            rule(max(left, right, result) < n and rank < n_merges, "merge of %d", left)
            rule(pieces[left] + pieces[right] == pieces[result], "result of a merge")
            before = (left, right)
        try:
            s[chat_at:].decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise Broken("template of tokn is not UTF-8: %s" % error) from None

    def read_meta(self):
        self.meta = ""
        if "meta" not in self.places:
            return
        raw = self.section("meta")
        try:
            self.meta = raw.decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise Broken("meta is not UTF-8: %s" % error) from None
        rule(not raw or raw.endswith(b"\n"), "meta ends without a line feed")
        rule(all(c == 10 or (c >= 32 and c != 127) for c in raw), "control character in meta")
        lines = raw.split(b"\n")[:-1]
        keys = [line.split(b"=")[0] for line in lines]
        rule(all(b"=" in line for line in lines) and all(keys), "line of meta without a key")
        rule(keys == sorted(set(keys)), "keys of meta are not in order")

    def read_golden(self):
        self.golden = (0, 0)
        if "gold" not in self.places:
            return
        s = self.section("gold")
        rule(len(s) >= 8, "gold is short")
        n_prompt, n_tokens, _ = struct.unpack_from("<HHI", s)
        rule(n_prompt >= 1 and n_tokens >= 1, "gold of %d and %d tokens", n_prompt, n_tokens)
        rule(n_prompt + n_tokens <= self.context + 1, "gold is longer than the context")
        tokens = self.section("gold", 8 + 2 * (n_prompt + n_tokens))[8:]
        rule(all(t[0] < self.vocab for t in struct.iter_unpack("<H", tokens)), "tokens of gold")
        self.golden = (n_prompt, n_tokens)

    # ---- result ----------------------------------------------------------------

    def describe_bare(self):
        return {"format": "RUVM v0 (bare layout)", "file_bytes": len(self.data),
                "vocab": self.vocab, "dim": self.dim, "hidden": self.hidden,
                "n_layers": self.layers, "n_heads": self.heads, "n_kv_heads": self.heads,
                "context": self.max_seq_len}

    def describe(self):
        if self.version == 0:
            return self.describe_bare()
        if self.is_classifier:
            return self.describe_classifier()
        weights = sum(t["shape"][0] * t["shape"][1] for t in self.tensors)
        result = {
            "format": "RUVM v1 image", "file_bytes": len(self.data), "vocab": self.vocab,
            "dim": self.dim, "hidden": self.hidden, "n_layers": self.layers,
            "n_heads": self.heads, "n_kv_heads": self.kv_heads, "head_dim": self.head_dim,
            "context": self.context, "k_bits": self.key_bits, "v_bits": self.value_bits,
            "tied": self.tied, "norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta, "norm": self.norm, "activation": self.act,
            "positions": self.pos, "rope_dims": self.rope_dims, "parallel": self.parallel,
            "window": self.window, "windowed_layers": self.windowed,
            "score_scale": self.score_scale, "biases": self.biases,
            "parameters": weights + (2 * self.layers + 1) * self.dim + self.bias_numbers,
            "version": self.version, "quant_type": self.quant_type,
            "header_crc32": self.header_crc, "sections": self.sections,
            "tensors": self.tensors, "has_tokenizer": self.tokenizer is not None,
            "golden_prompt_tokens": self.golden[0], "golden_tokens": self.golden[1],
            "meta": self.meta,
        }
        for key, value in (self.tokenizer or {}).items():
            if value != NONE or key == "n_pieces":
                result[key] = value
        return result


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        image = Image(data)
    except Broken as breach:
        sys.exit("%s: %s" % (sys.argv[1], breach))
    json.dump(image.describe(), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
