#!/usr/bin/env python3
"""Reads a knowledge blob as man page ruvm-rag(5) says, and prints what it holds as JSON.

    python3 tests/decode_rag.py FILE

Written from the page alone, to test the page: whoever changes the format changes the
page first and this program after it, without a look at the C code. Exit status 1: the
file breaks a rule of the page.
"""
import json
import math
import struct
import sys
import zlib

EVERY = ("VECT", "CHNK", "TEXT", "SRCE", "STRS", "RCPE")
KNOWN = EVERY + ("SIDE", "GRPH", "DEAD", "BM25", "BOOK", "WORD")
METRICS = ("cosine", "euclidean", "dot", "manhattan", "hamming", "poincare", "lorentz")
TYPES = ("int8", "binary", "pq")
SIDE = {"cosine": "H", "dot": "H", "euclidean": "I", "poincare": "II", "lorentz": "II"}
NONE = 0xFFFFFFFF
HEADER = struct.Struct("<4sBBBBIHHIIIIbBHHHHHIIIII28sI")
FIELDS = ("magic version metric type flags n dims n_sections row_bytes file_bytes n_deleted unit "
          "unit_exp k ef ef_build n_queries recall_code recall_graph distances distances_max "
          "query_bytes n_sources generation zeros crc").split()


class Broken(Exception):
    """A rule of the page that the file breaks."""


def rule(holds, text, *values):
    if not holds:
        raise Broken(text % values)


def up(n, align):
    return (n + align - 1) // align * align


def bits_of(data, first, count):
    whole = int.from_bytes(data[first // 8:(first + count + 7) // 8], "little")
    return whole >> first % 8 & (1 << count) - 1


def set_bits(data):
    return [8 * i + k for i, byte in enumerate(data) for k in range(8) if byte >> k & 1]


class Blob:
    def __init__(self, data):
        self.data = data
        rule(len(data) >= 96 and data[:4] == b"RRAG", "not a blob")
        self.header = h = dict(zip(FIELDS, HEADER.unpack_from(data)))
        rule(h["version"] == 1 and h["flags"] == 0 and not any(h["zeros"]), "version, flags")
        rule(h["n_sections"] <= 32 and 96 + 16 * h["n_sections"] <= len(data), "section table")
        table = data[96:96 + 16 * h["n_sections"]]
        rule(zlib.crc32(data[:92] + table) == h["crc"], "CRC of the header")
        rule(h["file_bytes"] == len(data), "file_bytes")
        rule(h["metric"] < 7 and h["type"] < 3, "metric, type")
        self.metric, self.type = METRICS[h["metric"]], TYPES[h["type"]]
        rule({"int8": self.metric != "hamming",
              "binary": self.metric not in ("poincare", "lorentz"),
              "pq": self.metric in ("cosine", "euclidean")}[self.type], "metric of that type")
        rule(self.type != "pq" or h["dims"] % 4 == 0, "dims of pq")
        rule(8 <= h["dims"] <= 1024 and h["n"] <= 1 << 24, "dims, n")
        rule(-80 <= h["unit_exp"] <= 30 and h["n_sources"] <= 65535, "unit, sources")
        self.n = h["n"]
        self.sections = dict(self.read_sections(table))

    def read_sections(self, table):
        end, seen = 96 + len(table), set()
        for raw, off, size, crc in struct.iter_unpack("<4sIII", table):
            name = raw.decode("latin1")
            rule(name.isascii() and name.isalnum() and name[0].isalpha(), "name %r", name)
            rule(name not in seen and (name[0].islower() or name in KNOWN), "section %s", name)
            rule(off == up(end, 64) and off + size <= len(self.data), "place of %s", name)
            rule(not any(self.data[end:off]), "gap before %s", name)
            rule(zlib.crc32(self.data[off:off + size]) == crc, "CRC of %s", name)
            seen.add(name)
            end = off + size
            yield name, self.data[off:end]
        rule(end == len(self.data), "end of the file")
        rule(seen.issuperset(EVERY), "a section is missing")

    def rows(self, kind, data):
        dims = self.header["dims"]
        bytes_of_row = {"int8": up(dims, 16), "binary": up(dims, 64) // 8,
                        "pq": up(dims // 4, 8)}[kind]
        rule(len(data) == self.n * bytes_of_row, "size of rows")
        book = self.book()
        for at in range(0, len(data), bytes_of_row):
            row = data[at:at + bytes_of_row]
            if kind == "int8":
                rule(not any(row[dims:]) and 0x80 not in row, "codes of row %d", at)
                yield struct.unpack("%db" % dims, row[:dims])
            elif kind == "pq":
                rule(not any(row[dims // 4:]), "padding of row %d", at)
                yield tuple(book[4 * (256 * p + b) + i]
                            for p, b in enumerate(row[:dims // 4]) for i in range(4))
            else:
                rule(not bits_of(row, dims, 8 * bytes_of_row - dims), "padding of row %d", at)
                yield tuple(2 * bits_of(row, i, 1) - 1 for i in range(dims))
        rule(kind != self.type or self.header["row_bytes"] == bytes_of_row, "row_bytes")

    def book(self):
        data = self.sections.get("BOOK", b"")
        rule(len(data) == (256 * self.header["dims"] if self.type == "pq" else 0), "size of BOOK")
        rule(0x80 not in data, "codes of BOOK")
        return struct.unpack("%db" % len(data), data)

    def side(self, rows):
        layout = SIDE.get(self.metric) if self.type != "binary" else None
        if layout is None:
            rule("SIDE" not in self.sections or not self.sections["SIDE"], "SIDE of no metric")
            return []
        rule("SIDE" in self.sections, "SIDE is missing")
        data = self.sections["SIDE"]
        rule(len(data) == self.n * struct.calcsize("<" + layout), "size of SIDE")
        side = list(struct.iter_unpack("<" + layout, data))
        for row, record in zip(rows, side):
            norm2 = sum(code * code for code in row)
            if self.metric == "cosine":
                inverse = min(65535, (math.isqrt(4 * 8322945 ** 2 // norm2) + 1) // 2) if norm2 else 0
                rule(record == (inverse,), "inverse length %d is not %d", record[0], inverse)
            elif self.metric == "euclidean":
                rule(record == (norm2,), "N of a row")
        return side

    def dead(self):
        data = self.sections.get("DEAD")
        dead = set_bits(data or b"")
        rule(data is None or len(data) == (self.n + 7) // 8, "size of DEAD")
        rule(len(dead) == self.header["n_deleted"] and (not dead or dead[-1] < self.n), "DEAD")
        return set(dead)

    def strings(self):
        data, at, found = self.sections["STRS"], 0, {}
        while at < len(data):
            rule(at + 2 <= len(data), "a string is cut")
            (n,) = struct.unpack_from("<H", data, at)
            rule(at + 2 + n <= len(data), "a string is cut")
            found[at] = data[at + 2:at + 2 + n]
            at += 2 + n
        return found

    def texts(self):
        strings, text = self.strings(), self.sections["TEXT"]

        def string(at, may_be_none=True):
            if may_be_none and at == NONE:
                return None
            rule(at in strings, "no string at %d", at)
            return strings[at].decode("utf-8", "replace")

        rule(len(self.sections["SRCE"]) == 16 * self.header["n_sources"], "size of SRCE")
        rule(len(self.sections["CHNK"]) == 16 * self.n, "size of CHNK")
        sources = [{"name": string(name, False), "meta": string(meta), "bytes": size, "crc": crc}
                   for name, meta, size, crc in struct.iter_unpack("<IIII", self.sections["SRCE"])]
        chunks = []
        for off, size, source, meta, expires in struct.iter_unpack("<IHHII", self.sections["CHNK"]):
            rule(off + size <= len(text) and source < len(sources), "a chunk")
            chunks.append({"text": text[off:off + size].decode("utf-8", "replace"),
                           "source": source, "meta": string(meta), "expires": expires})
        return sources, chunks

    def graph(self, dead):
        data = self.sections.get("GRPH")
        if data is None:
            return None
        rule(len(data) >= 8 and self.n > 0, "GRPH")
        id_bits, degree_0, degree, levels, entry = struct.unpack_from("<BBBBI", data)
        rule(id_bits == max(1, (self.n - 1).bit_length()), "id_bits")
        rule(2 <= degree_0 <= 64 and 2 <= degree <= 64 and 1 <= levels <= 8, "shape of the graph")
        rule(len(data) >= 8 + 4 * (levels - 1), "GRPH")
        sizes = [self.n, *struct.unpack_from("<%dI" % (levels - 1), data, 8)]
        at = 8 + 4 * (levels - 1)
        for below, size in zip(sizes, sizes[1:]):
            rule(1 <= size <= below, "nodes of a level")
        list_bytes = [(d * id_bits + 7) // 8 for d in [degree_0] + [degree] * (levels - 1)]
        total = at + 4 * sum(sizes[1:]) + sum(s * b for s, b in zip(sizes, list_bytes)) + 8
        rule(total == len(data) and not any(data[-8:]), "size or end of GRPH")
        nodes = [list(range(self.n))]
        for size in sizes[1:]:
            nodes.append(list(struct.unpack_from("<%dI" % size, data, at)))
            rule(nodes[-1] == sorted(set(nodes[-1])) and set(nodes[-1]) <= set(nodes[-2]), "nodes")
            at += 4 * size
        rule(entry < sizes[-1], "entry")
        result = []
        for level, size in enumerate(sizes):
            lists = []
            for place in range(size):
                lists.append(self.links(data[at:at + list_bytes[level]], id_bits,
                                        degree if level else degree_0, place, size))
                rule(not dead & {nodes[level][k] for k in lists[-1]}, "link to a deleted vector")
                at += list_bytes[level]
            result.append({"nodes": nodes[level], "links": lists})
        self.walk(result, nodes[-1][entry], dead)
        return {"entry": entry, "levels": result}

    @staticmethod
    def links(data, id_bits, degree, place, size):
        all_links = [bits_of(data, i * id_bits, id_bits) for i in range(degree)]
        rule(not bits_of(data, degree * id_bits, 8 * len(data) - degree * id_bits), "end of a list")
        used = all_links.index(place) if place in all_links else degree
        rule(all(k == place for k in all_links[used:]), "behind the end of a list")
        links = all_links[:used]
        rule(len(set(links)) == used and all(k < size for k in links), "links")
        return links

    @staticmethod
    def walk(levels, entry, dead):
        if len(dead) < len(levels[0]["nodes"]):
            rule(entry not in dead, "the entry is deleted")
            for level in levels:
                start = level["nodes"].index(entry)
                met, todo = {start}, [start]
                while todo:
                    new = set(level["links"][todo.pop()]) - met
                    met |= new
                    todo += new
                lost = {v for k, v in enumerate(level["nodes"]) if k not in met} - dead
                rule(not lost, "vectors %s are lost", sorted(lost))

    def describe(self):
        rows = list(self.rows(self.type, self.sections["VECT"]))
        if "bits" in self.sections:
            rule(self.type == "int8", "signs of binary vectors")
            signs = list(self.rows("binary", self.sections["bits"]))
            rule(signs == [tuple(1 if code >= 0 else -1 for code in row) for row in rows], "signs")
        dead = self.dead()
        sources, chunks = self.texts()
        header = {k: v for k, v in self.header.items() if k not in ("magic", "zeros")}
        header.update(metric=self.metric, type=self.type)
        return {"header": header, "sections": {k: len(v) for k, v in self.sections.items()},
                "vectors": rows, "side": self.side(rows), "deleted": sorted(dead),
                "graph": self.graph(dead), "sources": sources, "chunks": chunks}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        print(json.dumps(Blob(data).describe()))
    except Broken as broken:
        sys.exit("%s: %s" % (sys.argv[1], broken))


if __name__ == "__main__":
    main()
