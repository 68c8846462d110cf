#!/usr/bin/env python3
"""Makes a damaged copy of a RUVM image; where a checksum must not be what is noticed,
it is put right again.

    damage.py flip IN OUT OFFSET      turns one bit of the byte there
    damage.py spread IN OUT N         N copies OUT-0 ..., one bit turned in each, all over the file
    damage.py golden IN OUT           another last golden token, checksums right
    damage.py logits IN OUT           another checksum of the logits, checksums right
    damage.py rename IN OUT OLD NEW   another name of a section, checksums right
    damage.py header IN OUT OFFSET V   another u16 in the header, checksums right
"""
import struct
import sys
import zlib

HEADER_BYTES, ENTRY_BYTES, HEADER_CRC = 32, 16, 28


def sections(data):
    """Place of the table's entry, name, offset and size of each section."""
    for i in range(struct.unpack_from("<H", data, 18)[0]):
        entry = HEADER_BYTES + i * ENTRY_BYTES
        off, size = struct.unpack_from("<II", data, entry + 4)
        yield entry, bytes(data[entry:entry + 4]).decode(), off, size


def put_right(data):
    for entry, _, off, size in sections(data):
        struct.pack_into("<I", data, entry + 12, zlib.crc32(data[off:off + size]))
    n = struct.unpack_from("<H", data, 18)[0]
    crc = zlib.crc32(data[HEADER_BYTES:HEADER_BYTES + n * ENTRY_BYTES],
                     zlib.crc32(data[:HEADER_CRC]))
    struct.pack_into("<I", data, HEADER_CRC, crc)


def main():
    how, source, target = sys.argv[1:4]
    rest = sys.argv[4:]
    with open(source, "rb") as f:
        data = bytearray(f.read())
    if how == "spread":
        return spread(bytes(data), target, int(rest[0]))
    if how == "flip":
        data[int(rest[0])] ^= 0x10
    elif how == "header":
        struct.pack_into("<H", data, int(rest[0]), int(rest[1]))
        put_right(data)
    else:
        for entry, name, off, size in sections(data):
            if how == "golden" and name == "gold":
                data[off + size - 2] ^= 1
            elif how == "logits" and name == "gold":
                data[off + 4] ^= 1
            elif how == "rename" and name == rest[0]:
                data[entry:entry + 4] = rest[1].encode()
        put_right(data)
    return write(target, data)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def spread(data, target, n):
    for i in range(n):
        copy = bytearray(data)
        copy[i * (len(data) - 1) // (n - 1)] ^= 1 << i % 8
        write("%s-%d" % (target, i), copy)


main()
