#!/usr/bin/env python3
"""Reads a raw flash as a chip does, and says what it found: check_flash.py FLASH BOOT_OFFSET.

Written from the vendor's documents alone: images with their checksum and SHA-256, revisions of
chips that they want, segments that are mapped in pages of 64 KB, descriptions of applications;
the partition table with its MD5, which slot is started, and which pack is there. Exit status 1:
something a ROM or a bootloader would refuse.
"""
import hashlib
import struct
import sys
import zlib


PAGE = 0x10000
# by the number in images: windows of mapped flash, and memory that programs are loaded to
CHIPS = {
    0: (((0x3F400000, 0x3F800000), (0x400D0000, 0x40400000)),
        ((0x3FFAE000, 0x40000000), (0x40070000, 0x400C0000))),
    2: (((0x3F000000, 0x3F3F0000), (0x40080000, 0x40800000)),
        ((0x3FFB0000, 0x40000000), (0x40020000, 0x40070000))),
    5: (((0x3C000000, 0x3C800000), (0x42000000, 0x42800000)),
        ((0x3FC80000, 0x3FCE0000), (0x40380000, 0x403E0000))),
    9: (((0x3C000000, 0x3E000000), (0x42000000, 0x44000000)),
        ((0x3FC88000, 0x3FD00000), (0x40370000, 0x403E0000))),
    13: (((0x42000000, 0x43000000),), ((0x40800000, 0x40880000),)),
}


def fail(text):
    sys.exit("refused: " + text)


def image(flash, at):
    magic, count, mode, speed_size, entry = struct.unpack_from("<BBBBI", flash, at)
    chip, = struct.unpack_from("<H", flash, at + 12)
    if magic != 0xE9 or not 1 <= count <= 16:
        fail(f"no image at {at:#x}")
    if chip not in CHIPS or mode > 3 or flash[at + 23] != 1:
        fail(f"header of the image at {at:#x}")
    if 1 << 20 << (speed_size >> 4) < len(flash):
        fail("a flash that is larger than the header says")
    least, most = struct.unpack_from("<HH", flash, at + 15)
    if least > most:
        fail(f"revisions {least} to {most}")
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


def lies_in(places, address, n):
    return any(low <= address and address + n <= high for low, high in places)


def check_places(chip, places, loaded_by_rom):
    """Segments are where a loader can put them, mapped ones in pages of their own."""
    mapped, memory = CHIPS[chip]
    pages = []
    for address, n, off in places:
        if address == 0:
            continue
        if not lies_in(mapped, address, n):
            if not lies_in(memory, address, n) or address % 4:
                fail(f"segment of {n} bytes at {address:#x}")
            continue
        if loaded_by_rom:
            fail(f"the ROM cannot load a segment to {address:#x}")
        if (address - off) % PAGE:
            fail(f"segment at {address:#x} is not where its page wants it")
        pages += range(address // PAGE, (address + n - 1) // PAGE + 1)
    if len(pages) != len(set(pages)):
        fail("two segments want the same page")


def description(flash, at, chip, places):
    """Of an application: name and version, or nothing."""
    first = next((p for p in places if lies_in(CHIPS[chip][0], p[0], p[1])), None)
    if not first or first[1] < 256 or flash[at + first[2]:at + first[2] + 4] != b"2T\xcd\xab":
        return ""
    if first is not places[0]:
        fail("the description is not at the beginning")
    d = flash[at + first[2]:at + first[2] + 256]
    least, most, page = struct.unpack_from("<HHB", d, 176)
    if least > most or 1 << page != PAGE:
        fail("what the description demands")
    return ", ".join(d[i:i + 32].split(b"\0")[0].decode() for i in (48, 16))


def show_image(flash, name, at, limit, loaded_by_rom=False):
    chip, mode, speed_size, entry, places = image(flash, at)
    print(f"{name} at {at:#x}: chip {chip}, mode {mode}, speed {speed_size & 15}, size "
          f"{1 << (speed_size >> 4)} MiB, entry {entry:#x}")
    check_places(chip, places, loaded_by_rom)
    if places[-1][2] + places[-1][1] + 16 + 32 > limit:
        fail(f"the image at {at:#x} is longer than its place")
    said = description(flash, at, chip, places)
    if said:
        print(f"  {said}")
    for address, n, off in places:
        if address:
            print(f"  {address:#x} {n}{' mapped' if lies_in(CHIPS[chip][0], address, n) else ''}")


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
    if flash[:8] == b"\x1d\x04\xdb\xae" * 2:
        print("direct boot")
    else:
        show_image(flash, "first", boot, 0x8000 - boot, True)
    for label, kind, subtype, off, size in table(flash, 0x8000):
        print(f"{label}: type {kind} {subtype:#x} at {off:#x}, {size} bytes")
        if kind == 0:
            show_image(flash, label, off, size)
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
