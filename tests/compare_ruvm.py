#!/usr/bin/env python3
"""Compares `ruvm inspect` with the independent decoder, decode_ruvm.py.

    compare_ruvm.py RUVM FILE             every field that both know
    compare_ruvm.py --damage N RUVM FILE  N damaged copies with checksums made right again:
                                          both take a copy, or both refuse it

RUVM is the executable. Prints each difference; exit status 1 when there is one.
"""
import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import zlib

import decode_ruvm

ONLY_OURS = {"data_crc32"}
EXTREMES = (0, 1, 2, 15, 16, 0x7F, 0x80, 0xFE, 0xFF)


def inspect(ruvm, path):
    return subprocess.run([ruvm, "inspect", "--json", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)


def differences(ours, theirs, where):
    """Fields of ours that differ; whole numbers and texts must be equal."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in ONLY_OURS:
                yield from differences(value, theirs.get(key), where + "." + key)
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield "%s: %d entries, inspect has %d" % (where, len(ours), len(theirs))
        for i, (a, b) in enumerate(zip(ours, theirs)):
            yield from differences(a, b, "%s[%d]" % (where, i))
    elif isinstance(ours, float) and isinstance(theirs, (int, float)):
        if abs(ours - theirs) > 1e-5 * abs(ours):  # inspect prints six digits
            yield "%s: %r, inspect says %r" % (where, ours, theirs)
    elif ours != theirs:
        yield "%s: %r, inspect says %r" % (where, ours, theirs)


def compare(ruvm, path):
    with open(path, "rb") as file:
        ours = decode_ruvm.Image(file.read()).describe()
    result = inspect(ruvm, path)
    if result.returncode != 0:
        return [result.stderr.decode("utf-8", "replace")]
    return list(differences(ours, json.loads(result.stdout), ""))


def repair(data):
    """Recomputes the checksums over what the section table says, where it can be."""
    n = struct.unpack_from("<H", data, 18)[0]
    if 32 + 16 * n > len(data):
        return
    for entry in range(32, 32 + 16 * n, 16):
        off, size = struct.unpack_from("<II", data, entry + 4)
        if off + size <= len(data):
            struct.pack_into("<I", data, entry + 12, zlib.crc32(data[off:off + size]))
    struct.pack_into("<I", data, 28, zlib.crc32(data[:28] + data[32:32 + 16 * n]))


def damage(good, sections, rng):
    """One to three bytes changed in one part of the file: each part as often."""
    data = bytearray(good)
    start, size = rng.choice([(0, 32), (32, 16 * len(sections))] + sections)
    for _ in range(rng.randint(1, 3)):
        at = start + rng.randrange(size)
        data[at] = rng.choice(EXTREMES + (data[at] ^ 1 << rng.randrange(8),))
    repair(data)
    return bytes(data)


def is_sound(data):
    try:
        decode_ruvm.Image(data)
        return True, "sound"
    except decode_ruvm.Broken as breach:
        return False, str(breach)


def compare_damaged(ruvm, path, count):
    with open(path, "rb") as file:
        good = file.read()
    image = decode_ruvm.Image(good)
    sections = [place for place in image.places.values() if place[1]]
    rng = random.Random(1)
    found, taken = [], 0
    with tempfile.NamedTemporaryFile(suffix=".ruvm") as copy:
        for i in range(count):
            data = damage(good, sections, rng)
            copy.seek(0)
            copy.write(data)
            copy.flush()
            ours, why = is_sound(data)
            result = inspect(ruvm, copy.name)
            taken += ours
            if ours != (result.returncode == 0):
                found.append("copy %d: decoder: %s; inspect: %s" % (
                    i, why, result.stderr.decode("utf-8", "replace").strip() or "sound"))
    if not 0 < taken < count:
        found.append("%d of %d copies are sound: a poor test" % (taken, count))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damage", type=int, metavar="N")
    parser.add_argument("ruvm")
    parser.add_argument("file")
    o = parser.parse_args()
    found = compare_damaged(o.ruvm, o.file, o.damage) if o.damage else compare(o.ruvm, o.file)
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
