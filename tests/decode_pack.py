#!/usr/bin/env python3
"""Reads a pack as man page ruvm-pack(5) says, and prints what it holds as JSON.

    python3 tests/decode_pack.py FILE                   the keys of `ruvm pack --list --json`
    python3 tests/decode_pack.py --apply DELTA OLD NEW  writes what a delta makes of a pack

Written from the page alone, to test the page: whoever changes the format changes the page
first and this program after it, without a look at the C code. Exit status 1: the file breaks
a rule of the page. The signature is not computed here; tests/cli/pack.cases asks openssl.
"""
import hashlib
import json
import re
import struct
import sys
import zlib

KINDS = {"sett": "settings", "MODL": "model", "know": "knowledge", "gate": "gate",
         "plug": "plugin"}
SECTOR = 4096


class Broken(Exception):
    """A rule of the page that the file breaks."""


def rule(holds, text, *values):
    if not holds:
        raise Broken(text % values)


def settings(data):
    """The section sett: JSON in its one form, which is made here again."""
    values = json.loads(data.decode("utf-8"), parse_float=str)
    rule(isinstance(values, dict), "settings are no object")
    rule(list(values) == sorted(values), "keys do not ascend")
    parts = []
    for key, value in values.items():
        rule(re.fullmatch("[a-z][a-z0-9_]{0,31}", key), "key %s", key)
        rule(isinstance(value, (str, int)), "value of %s", key)
        raw = json.dumps(value, ensure_ascii=False)
        number = re.search('"%s":(-?[0-9]+\\.[0-9]{1,6})[,}]' % key, data.decode("utf-8"))
        if number and number.group(1) == value:
            rule(not value.endswith("0"), "number of %s", key)
            raw = value
        elif isinstance(value, str):
            raw = '"' + re.sub('[\x00-\x1f"\\\\]', lambda c: "\\" + c.group() if c.group() in '"\\'
                               else "\\u%04x" % ord(c.group()), value) + '"'
        parts.append('"%s":%s' % (key, raw))
    rule(data == ("{" + ",".join(parts) + "}").encode("utf-8"), "settings not in their one form")


def read_section(data, entry, end):
    name, off, size, crc, align = struct.unpack_from("<4sIIIB", entry)
    rule(re.fullmatch(b"[A-Za-z][A-Za-z0-9]{3}", name), "name %r", name)
    name = name.decode()
    rule(name[0].islower() or name == "MODL", "required section %s", name)
    rule(4 <= align <= 16 and off % (1 << align) == 0, "%s: alignment", name)
    rule(name != "MODL" or align >= 6, "%s: alignment of a model", name)
    rule(not any(entry[17:32]), "%s: reserved bytes", name)
    rule(size > 0 and end <= off and off + size <= len(data), "%s: place", name)
    rule(all(b == 0xFF for b in data[end:off]), "%s: gap", name)
    body = data[off:off + size]
    rule(zlib.crc32(body) == crc, "%s: CRC-32", name)
    rule(hashlib.sha256(body).digest() == entry[32:], "%s: SHA-256", name)
    if name == "sett":
        settings(body)
    kind = "plugin" if re.fullmatch("plg.", name) else KINDS.get(name, "other")
    return {"name": name, "kind": kind, "off_bytes": off, "size_bytes": size,
            "align_bytes": 1 << align, "crc32": crc, "sha256": entry[32:].hex()}


def decode(data):
    rule(len(data) >= 128 and data[:4] == b"RPAK", "no pack")
    version, n, flags, size = struct.unpack_from("<HHII", data, 4)
    rule(version == 1, "version %d", version)
    rule(1 <= n <= 32, "%d sections", n)
    rule(flags < 2, "flags %x", flags)
    rule(size == len(data), "size %d", size)
    rule(not any(data[16:28]), "reserved bytes")
    table = data[128:128 + 64 * n]
    rule(len(table) == 64 * n, "table")
    rule(zlib.crc32(data[:28] + table) == struct.unpack_from("<I", data, 28)[0], "header's CRC-32")
    rule(flags or not any(data[32:128]), "signature without flag")
    sections, end = [], 128 + 64 * n
    for i in range(n):
        sections.append(read_section(data, table[64 * i:64 * i + 64], end))
        end = sections[-1]["off_bytes"] + sections[-1]["size_bytes"]
    rule(end == size, "end")
    rule(len({s["name"] for s in sections}) == n, "a name twice")
    out = {"bytes": size, "signed": bool(flags)}
    if flags:
        out["key"] = data[32:64].hex()
    out["sections"] = sections
    return out


def apply_delta(delta, old):
    rule(delta[:4] == b"RPKD" and len(delta) >= 96, "no delta")
    version, old_bytes, new_bytes, n_runs = struct.unpack_from("<4I", delta, 4)
    rule(version == 1 and not any(delta[20:28]), "header")
    rule(zlib.crc32(delta[:28] + delta[32:]) == struct.unpack_from("<I", delta, 28)[0], "CRC-32")
    rule(len(old) == old_bytes and hashlib.sha256(old).digest() == delta[32:64], "another old one")
    sectors = -(-new_bytes // SECTOR)
    new = bytearray(old.ljust(max(len(old), sectors * SECTOR), b"\xff"))
    if len(old) % SECTOR:
        new[len(old):-(-len(old) // SECTOR) * SECTOR] = b"\xff" * (-len(old) % SECTOR)
    at, end = 96 + 8 * n_runs, 0
    for first, n in struct.iter_unpack("<II", delta[96:at]):
        rule(n and first >= end and first + n <= sectors, "runs")
        new[first * SECTOR:(first + n) * SECTOR] = delta[at:at + n * SECTOR]
        at, end = at + n * SECTOR, first + n
    rule(at == len(delta), "size")
    new = bytes(new[:new_bytes])
    rule(hashlib.sha256(new).digest() == delta[64:96], "SHA-256 of the new one")
    return new


def main():
    if sys.argv[1] == "--apply":
        delta, old = (open(p, "rb").read() for p in sys.argv[2:4])
        with open(sys.argv[4], "wb") as f:
            f.write(apply_delta(delta, old))
    else:
        json.dump(decode(open(sys.argv[1], "rb").read()), sys.stdout, indent=1)
        print()


try:
    main()
except Broken as broken:
    sys.exit("broken: %s" % broken)
