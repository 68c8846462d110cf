#!/usr/bin/env python3
"""A chip behind a pseudo-terminal: loader_pty.py FLASH [WORD[=VALUE] ...] -- COMMAND

Runs a shell's command while the terminal is there by the name "tty"; FLASH is the file with
the chip's flash, written back at the end. Written from the description of the protocol, not
from the writer under test. Words: chip=NAME, lose=N (every Nth reply is lost), noise (bytes of
nobody before replies), vanish=N (goes away after N requests), garbage (answers nothing but
noise), console (its program runs, which repeats lines and says ok). What the writer does wrong
is said on standard error.
"""
import hashlib
import os
import random
import select
import struct
import subprocess
import sys
import threading
import tty
import zlib

MAGIC = {"esp32": 0x00F01D83, "esp32s2": 0x7C6, "esp32s3": 9, "esp32c3": 0x1B31506F,
         "esp32c6": 0x2CE0806F}
NUMBER = {"esp32": 0, "esp32s2": 2, "esp32s3": 9, "esp32c3": 5, "esp32c6": 13}


class Chip:
    def __init__(self, flash, words):
        self.flash = flash
        self.words = words
        self.name = words.get("chip", "esp32c3")
        self.random = random.Random(1)
        self.replies = 0
        self.requests = 0
        self.attached = False
        self.stream = None
        self.in_loader = True
        self.line = b""

    def wrong(self, text):
        print("loader: " + text, file=sys.stderr, flush=True)

    def reply(self, command, value=0, data=b"", reason=0):
        self.replies += 1
        if self.replies % int(self.words.get("lose", 1 << 30)) == 0:
            return b""
        body = struct.pack("<BBHI", 1, command, len(data) + 4, value) + data
        body += bytes([reason != 0, reason, 0x55, 0xAA])
        body = body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        noise = b""
        if "noise" in self.words:
            noise = bytes(self.random.randrange(256) for _ in range(self.random.randrange(9)))
        return noise + b"\xc0" + body + b"\xc0"

    def begin(self, data):
        words = struct.unpack("<%dI" % (len(data) // 4), data)
        if len(words) != (4 if self.name == "esp32" else 5) or not self.attached:
            self.wrong("begin with %d words" % len(words))
            return 5
        size, self.blocks, block, self.at = words[:4]
        if size % 4096 or self.at % 4096 or block != 0x400 or self.at + size > len(self.flash):
            self.wrong("erases %d bytes from 0x%x" % (size, self.at))
        self.flash[self.at:self.at + size] = b"\xff" * size
        self.end = self.at + size
        self.stream, self.next = zlib.decompressobj(), 0
        return 0

    def data(self, checksum, data):
        length, number, zero, also = struct.unpack("<4I", data[:16])
        block = data[16:]
        total = 0xEF
        for b in block:
            total ^= b
        if length != len(block) or length > 0x400 or zero or also or total != checksum:
            self.wrong("block %d" % number)
            return 7
        if self.stream is None or number != self.next or number >= self.blocks:
            self.wrong("block %d instead of %d" % (number, self.next))
            return 5
        self.next += 1
        out = self.stream.decompress(block)
        if self.at + len(out) > self.end:
            self.wrong("more than was erased")
            return 11
        for i, b in enumerate(out):
            self.flash[self.at + i] &= b
        self.at += len(out)
        return 0

    def request(self, frame):
        if len(frame) < 8:
            return b""
        direction, command, length, checksum = struct.unpack("<BBHI", frame[:8])
        data = frame[8:]
        if direction or length != len(data):
            self.wrong("a request of %d bytes" % len(frame))
            return b""
        self.requests += 1
        if "garbage" in self.words:
            return bytes(self.random.randrange(256) for _ in range(30))
        if command == 0x08:
            return self.reply(8, 0x20120707) * 8
        if command == 0x0A:
            at = struct.unpack("<I", data)[0]
            return self.reply(10, MAGIC[self.name] if at == 0x40001000 else 0)
        if command == 0x14 and self.name != "esp32":
            return self.reply(20, 0, bytes(12) + struct.pack("<II", NUMBER[self.name], 3))
        if command == 0x0D:
            self.attached = True
        if command in (0x0B, 0x0D, 0x0F, 0x02):
            return self.reply(command)
        if command == 0x10:
            return self.reply(command, reason=self.begin(data))
        if command == 0x11:
            return self.reply(command, reason=self.data(checksum, data))
        if command == 0x13:
            at, n = struct.unpack("<II", data[:8])
            return self.reply(command, 0, hashlib.md5(self.flash[at:at + n]).hexdigest().encode())
        if command == 0x0E:
            at, n = struct.unpack("<II", data)
            return self.reply(command, 0, bytes(self.flash[at:at + n]))
        if command == 0x04:
            self.in_loader = False
            return b"ready\nok booted\n"
        self.wrong("command 0x%02x" % command)
        return b""

    def hear(self, byte):
        """The console: what a byte makes it say."""
        self.line += bytes([byte])
        if byte != 10:
            return b""
        line, self.line = self.line, b""
        return b"you said " + line + b"ok\n"


def serve(chip, master, stop):
    frame, inside, escaped = bytearray(), False, False
    while not stop.is_set():
        if not select.select([master], [], [], 0.02)[0]:
            continue
        out = b""
        for byte in os.read(master, 4096):
            if not chip.in_loader:
                out += chip.hear(byte)
            elif byte == 0xC0 and inside and frame:
                inside = False
                out += chip.request(bytes(frame))
                frame = bytearray()
            elif byte == 0xC0:
                inside = True
            elif not inside:
                chip.wrong("a byte outside of frames")
            elif byte == 0xDB:
                escaped = True
            else:
                frame.append({0xDC: 0xC0, 0xDD: 0xDB}[byte] if escaped else byte)
                escaped = False
        if chip.requests >= int(chip.words.get("vanish", 1 << 30)):
            os.close(master)
            return
        if out:
            os.write(master, out)


def main():
    split = sys.argv.index("--")
    words = dict((w + "=").split("=")[:2] for w in sys.argv[2:split])
    master, slave = os.openpty()
    tty.setraw(slave)
    with open(sys.argv[1], "rb") as f:
        chip = Chip(bytearray(f.read()), words)
    chip.in_loader = "console" not in words
    os.symlink(os.ttyname(slave), "tty")
    stop = threading.Event()
    server = threading.Thread(target=serve, args=(chip, master, stop))
    server.start()
    code = subprocess.run(["bash", "-c", sys.argv[split + 1]], check=False).returncode
    stop.set()
    server.join()
    os.unlink("tty")
    with open(sys.argv[1], "wb") as f:
        f.write(chip.flash)
    return code


sys.exit(main())
