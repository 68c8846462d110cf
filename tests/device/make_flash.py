#!/usr/bin/env python3
"""Flash images from the firmware's ELF files, written from the chip's documents alone.

    make_flash.py CHIP BOOT.elf APP.elf MODEL FLASH.bin [--bytes N]

CHIP is esp32c3, esp32c6 or esp32; MODEL a pack or a RUVM image. An independent twin of what
`ruvm flash` makes: the firmware's own tests do not need the workstation's code.
"""
import argparse
import hashlib
import struct
import sys

# chip: (id, where its ROM looks for the first image, first and last page-mapped address)
CHIPS = {
    "esp32c3": (5, 0x0, ((0x3C000000, 0x3C800000), (0x42000000, 0x42800000))),
    "esp32c6": (13, 0x0, ((0x42000000, 0x43000000),)),
    "esp32": (0, 0x1000, ((0x3F400000, 0x3F800000), (0x400D0000, 0x40400000))),
}
PAGE = 0x10000
TABLE_AT, APP_AT, MODEL_AT = 0x8000, 0x10000, 0x40000
SIZE_CODES = {1: 0, 2: 1, 4: 2, 8: 3, 16: 4}


def loads(path):
    """Entry point and (address, bytes) of what an ELF file wants loaded."""
    data = open(path, "rb").read()
    if data[:5] != b"\x7fELF\x01":
        sys.exit(f"{path}: not a 32-bit ELF file")
    entry, headers = struct.unpack_from("<II", data, 24)
    size, count = struct.unpack_from("<HH", data, 42)
    found = []
    for i in range(count):
        kind, off, address, _, file_bytes = struct.unpack_from("<IIIII", data, headers + i * size)
        if kind == 1 and file_bytes:
            bytes_ = data[off:off + file_bytes]
            found.append((address, bytes_ + bytes(-len(bytes_) % 4)))
    return entry, sorted(found)


def is_flash(chip, address):
    return any(begin <= address < end for begin, end in CHIPS[chip][2])


def image(chip, path, flash_bytes):
    """An image as the ROM and the loaders take it: header, segments, checksum, digest."""
    entry, segments = loads(path)
    in_flash = [s for s in segments if is_flash(chip, s[0])]
    in_ram = [s for s in segments if not is_flash(chip, s[0])]
    out, count, checksum = bytearray(24), 0, 0xEF

    def add(address, data):
        nonlocal count, checksum
        out.extend(struct.pack("<II", address, len(data)) + data)
        count += 1
        for byte in data:
            checksum ^= byte

    for address, data in in_flash:
        gap = (address - len(out) - 8) % PAGE
        while gap and in_ram:  # what goes to memory fills the gap as far as it can
            a, d = in_ram.pop(0)
            take = min(len(d), gap - 8) if gap >= 16 else 0
            if take <= 0:
                in_ram.insert(0, (a, d))
                break
            add(a, d[:take])
            if take < len(d):
                in_ram.insert(0, (a + take, d[take:]))
            gap = (address - len(out) - 8) % PAGE
        if gap:
            add(0, bytes(gap - 8))
        add(address, data)
    for address, data in in_ram:
        add(address, data)
    code = SIZE_CODES[flash_bytes >> 20]
    struct.pack_into("<BBBBI", out, 0, 0xE9, count, 2, code << 4, entry)
    struct.pack_into("<BxxxHBHHIB", out, 8, 0xEE, CHIPS[chip][0], 0, 0, 0xFFFF, 0, 1)
    out.extend(bytes(15 - len(out) % 16) + bytes([checksum]))
    return bytes(out) + hashlib.sha256(out).digest()


def table(entries):
    out = b""
    for label, kind, subtype, off, size in entries:
        out += struct.pack("<HBBII16sI", 0x50AA, kind, subtype, off, size, label.encode(), 0)
    out += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(out).digest()
    return out.ljust(0xC00, b"\xff")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chip", choices=CHIPS)
    parser.add_argument("boot")
    parser.add_argument("app")
    parser.add_argument("model")
    parser.add_argument("flash")
    parser.add_argument("--bytes", type=int, default=4 << 20, help="of the flash chip")
    parser.add_argument("--ota", action="store_true", help="two slots for updates, both filled")
    a = parser.parse_args()
    model = open(a.model, "rb").read()
    boot, app = image(a.chip, a.boot, a.bytes), image(a.chip, a.app, a.bytes)
    model_at = MODEL_AT
    slots = [("factory", 0, 0x00, APP_AT, 0x30000)]
    if a.ota:
        slots = [("ota_0", 0, 0x10, 0x10000, 0x30000), ("ota_1", 0, 0x11, 0x40000, 0x30000),
                 ("otadata", 1, 0x00, 0x9000, 0x2000)]
        model_at = 0x70000
    flash = bytearray(b"\xff" * a.bytes)

    def put(off, data, limit):
        if off + len(data) > limit:
            sys.exit(f"{len(data)} bytes at {off:#x} reach beyond {limit:#x}")
        flash[off:off + len(data)] = data

    put(CHIPS[a.chip][1], boot, TABLE_AT)
    size = (len(model) + 0xFFFF) & ~0xFFFF
    put(TABLE_AT, table(slots + [("ruvm", 1, 0x40, model_at, size)]), TABLE_AT + 0x1000)
    for _, kind, _, off, limit in slots:
        if kind == 0:
            put(off, app, off + limit)
    put(model_at, model, a.bytes)
    open(a.flash, "wb").write(flash)


main()
