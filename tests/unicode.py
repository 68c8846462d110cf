#!/usr/bin/env python3
"""The table of lib/core/unicode.c, from Python's own copy of the Unicode data.

    python3 tests/unicode.py            prints the table, as it stands in the source
    python3 tests/unicode.py --check    whether lib/core/unicode.c holds it

A run of characters of one class is a number: the low 14 bits of its first character, times
four, plus the class. Pages of 16384 characters begin with a run of their own, so that the
numbers of a page ascend. Unicode 14, as Debian 12 has it; --check with another version
says so and ends with status 77.
"""
import sys
import unicodedata

VERSION = "14.0.0"
OTHER, LETTER, NUMBER, SPACE = range(4)
PAGE = 1 << 14
SPACES = {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
          0x202F, 0x205F, 0x3000}


def class_of(c):
    if c in SPACES:
        return SPACE
    return {"L": LETTER, "N": NUMBER}.get(unicodedata.category(chr(c))[0], OTHER)


def table():
    runs, first, last = [], [], None
    for c in range(0x110000):
        if c % PAGE == 0:
            first.append(len(runs))
            last = None
        now = class_of(c)
        if now != last:
            runs.append((c % PAGE) * 4 + now)
            last = now
    while len(first) > 1 and runs[first[-1]:] == [OTHER]:
        runs.pop()
        first.pop()
    # the pages after the last one with a letter hold nothing: none is kept for them
    first.append(len(runs))
    return runs, first


def lines(numbers):
    text = ""
    for n in numbers:
        piece = "%d," % n
        if len(text) + len(piece) > 94:
            yield "    " + text.rstrip()
            text = ""
        text += piece + " "
    yield "    " + text.rstrip()


def source():
    runs, first = table()
    return "\n".join(["static const uint16_t runs[] = {", *lines(runs), "};", "",
                      "static const uint16_t first_run[] = {", *lines(first), "};", ""])


def main():
    if "--check" not in sys.argv:
        sys.stdout.write(source())
        return
    if unicodedata.unidata_version != VERSION:
        print("Unicode %s here, the table is of %s" % (unicodedata.unidata_version, VERSION))
        sys.exit(77)
    with open("lib/core/unicode.c", encoding="utf-8") as file:
        # where a line ends is clang-format's business
        if "".join(source().split()) not in "".join(file.read().split()):
            sys.exit("lib/core/unicode.c does not hold the table of tests/unicode.py")


if __name__ == "__main__":
    main()
