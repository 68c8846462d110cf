#!/usr/bin/env python3
"""Programs for chips that do nothing: make_elf.py OUT MACHINE ENTRY ADDRESS:BYTES...

MACHINE is riscv or xtensa. Each segment holds bytes that follow from its address, so that a
test can tell them apart.
"""
import struct
import sys


def content(address, n):
    return bytes((address >> 4) + 7 * i & 255 for i in range(n))


def main():
    out, machine, entry, *places = sys.argv[1:]
    segments = [tuple(int(x, 0) for x in p.split(":")) for p in places]
    at = 52 + 32 * len(segments)
    headers, data = b"", b""
    for address, n in segments:
        headers += struct.pack("<8I", 1, at + len(data), address, address, n, n, 5, 4)
        data += content(address, n)
    number = {"riscv": 243, "xtensa": 94}[machine]
    head = b"\x7fELF\1\1\1" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, number, 1, int(entry, 0), 52, 0, 0, 52, 32,
                        len(segments), 40, 0, 0)
    with open(out, "wb") as f:
        f.write(head + headers + data)


main()
