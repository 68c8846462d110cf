#!/usr/bin/env python3
"""Reads a raw flash as a chip does, and says what it found: check_flash.py FLASH BOOT_OFFSET.

Written from the vendor's documents alone: images with their checksum and SHA-256, the
partition table with its MD5, which slot is started, and which pack is there. Exit status 1:
something a ROM or a bootloader would refuse.
"""
import hashlib
import struct
import sys
import zlib


def fail(text):
    sys.exit("refused: " + text)


def image(flash, at):
    magic, count, mode, speed_size, entry = struct.unpack_from("<BBBBI", flash, at)
    chip, = struct.unpack_from("<H", flash, at + 12)
    if magic != 0xE9 or not 1 <= count <= 16:
        fail(f"no image at {at:#x}")
    end, checksum, places = at + 24, 0xEF, []
    for _ in range(count):
        address, n = struct.unpack_from("<II", flash, end)
        if n % 4:
            fail(f"segment of {n} bytes")
        for byte in flash[end + 8:end + 8 + n]:
            checksum ^= byte
        places.append((address, n, end + 8 - at))
        end += 8 + n
    end += 15 - (end - at) % 16
    if flash[end] != checksum:
        fail(f"checksum of the image at {at:#x}")
    if flash[at + 23] and flash[end + 1:end + 33] != hashlib.sha256(flash[at:end + 1]).digest():
        fail(f"hash of the image at {at:#x}")
    return chip, mode, speed_size, entry, places


def show_image(flash, name, at):
    chip, mode, speed_size, entry, places = image(flash, at)
    print(f"{name} at {at:#x}: chip {chip}, mode {mode}, speed {speed_size & 15}, size "
          f"{1 << (speed_size >> 4)} MiB, entry {entry:#x}")
    for address, n, off in places:
        mapped = 0x3C000000 <= address < 0x3C800000 or 0x42000000 <= address < 0x42800000
        if mapped and (address - off) % 0x10000:
            fail(f"segment at {address:#x} is not where its page wants it")
        if address:
            print(f"  {address:#x} {n}{' mapped' if mapped else ''}")


def table(flash, at):
    found, begin = [], at
    while True:
        entry = flash[at:at + 32]
        if entry[:2] == b"\xeb\xeb":
            if entry[16:] != hashlib.md5(flash[begin:at]).digest():
                fail("MD5 of the partition table")
        elif entry[:2] == b"\xaa\x50":
            _, kind, subtype, off, size, label = struct.unpack("<HBBII16s4x", entry)
            found.append((label.split(b"\0")[0].decode(), kind, subtype, off, size))
        elif entry == b"\xff" * 32:
            return found
        else:
            fail(f"partition table at {at:#x}")
        at += 32


def main():
    flash, boot = open(sys.argv[1], "rb").read(), int(sys.argv[2], 0)
    show_image(flash, "first", boot)
    for label, kind, subtype, off, size in table(flash, 0x8000):
        print(f"{label}: type {kind} {subtype:#x} at {off:#x}, {size} bytes")
        if kind == 0:
            show_image(flash, label, off)
        if (kind, subtype) == (1, 0):
            sequence, = struct.unpack_from("<I", flash, off)
            crc, = struct.unpack_from("<I", flash, off + 28)
            if crc != zlib.crc32(flash[off:off + 4], 0xFFFFFFFF):
                fail("record of the slot")
            print(f"  starts slot {sequence - 1}")
        if subtype == 0x40:
            n, = struct.unpack_from("<I", flash, off + 12)
            print(f"  {flash[off:off + 4].decode()} CRC-32 {zlib.crc32(flash[off:off + n]):08x}")


main()
