#!/usr/bin/env python3
"""A program for direct boot that does nothing: make_direct.py OUT BODY_ADDRESS [ADDRESS].

The ROM's mark and 100 bytes at the beginning of flash, 9000 bytes at BODY_ADDRESS, and 40 that
are copied to memory from behind them, or from ADDRESS.
"""
import struct
import sys


def main():
    out, body = sys.argv[1], int(sys.argv[2], 0)
    copied = int(sys.argv[3], 0) if len(sys.argv) > 3 else body + 9000
    places = [(0x42000000, 0x42000000, b"\x1d\x04\xdb\xae" * 2 + bytes(range(100))),
              (body, body, bytes(i % 251 for i in range(9000))),
              (0x40381000, copied, b"\x13\0\0\0" * 10)]
    at = 52 + 32 * len(places)
    headers, data = b"", b""
    for virtual, physical, content in places:
        n = len(content)
        headers += struct.pack("<8I", 1, at + len(data), virtual, physical, n, n, 5, 4)
        data += content
    head = b"\x7fELF\1\1\1" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 243, 1, 0x42000008, 52, 0, 0, 52, 32, len(places),
                        40, 0, 0)
    open(out, "wb").write(head + headers + data)


main()
