#!/bin/bash
# Searches that look at all vectors, beside this machine's memory and other libraries:
# tests/bench_flat.sh [FOLDER]
#
#     scan      the 10 nearest of N int8 vectors (700000,384), in GB/s: SCAN says other shapes
#     hamming   rows of 64 to 1,024 bits, N,BITS of HAMMING (10,000 rows, which a cache holds, and
#               64 MB, which most do not): all distances, into an array, and the 10 nearest;
#               and those of other programs in FOLDER
#
# Beside each is a loop that only reads as many bytes. Nothing that looks at all rows is faster
# than that: where it is less than twice as fast as another program, no search can be.
#
# This tree holds nothing of other libraries. Write a small program around one, build it as
# fast as its compiler makes it, and put it into FOLDER with a name that ends with -hamming.
# It is started with the path of a folder and with "distances" or "nearest", and finds in the
# folder `shape` (a line: rows, bytes of a row), `rows` and `query`. A line of standard input is
# a number of passes. When they are done it prints a line: the seconds of CPU a pass took, and the
# sum of all distances, or of the 10 least, which must be ours. Distances go to an array of
# 1,024 numbers that the next ones overwrite. A sum of them alone is no search: compilers
# make of it a loop without that array.
#
# All programs stay in memory and take turns, ROUNDS (9) times, one thread each: median
# [first quartile .. third quartile] of the rates, and of the ratios round by round. Needs
# python3, a C compiler and `make`, which must have been run.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -e build/release/libruvm.a ] || { echo "bench-flat: run make first" >&2; exit 1; }
"${CC:-cc}" -std=c11 -O2 -I. tests/bench_flat.c build/release/libruvm.a \
    -lcjson -lhogweed -lnettle -lz -lpthread -lm -o "$work/flat" || exit 1
near="10000,64 10000,128 10000,256 10000,512 10000,1024"
far="8000000,64 4000000,128 2000000,256 1000000,512 500000,1024"
python3 - "$work" "${1:+$(realpath "$1")}" "${ROUNDS:-9}" "${SCAN-700000,384}" \
    "${HAMMING-$near $far}" << 'PYTHON'
import glob
import os
import statistics
import subprocess
import sys

work, folder, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
ours = work + "/flat"


class Program:
    def __init__(self, *command):
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def run(self, passes):
        self.process.stdin.write("%d\n" % passes)
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if not words:
            sys.exit("bench-flat: %s gave no answer" % self.name)
        return float(words[0]), int(words[-1])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def spread(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return "%.4g [%.4g .. %.4g]" % (middle, low, high)


def turns(programs, units, passes):
    """The rates of each program, round by round; units are what a pass does."""
    rates, sums = [[] for _ in programs], [0] * len(programs)
    for r in range(rounds + 1):
        order = range(len(programs)) if r % 2 else reversed(range(len(programs)))
        for i in order:
            seconds, sums[i] = programs[i].run(passes)
            if r:  # the first one brings data near
                rates[i].append(units / seconds)
    for p in programs:
        p.close()
    return rates, sums


for shape in sys.argv[4].split():
    n, dims = shape.split(",")
    kinds = [Program(ours, kind, n, dims) for kind in ("scan", "read")]
    (scan, read), _ = turns(kinds, int(n) * ((int(dims) + 15) // 16 * 16) / 1e9, 1)
    print("scan of %s int8 vectors of %s dimensions: %s GB/s, reading alone %s GB/s: %s %%" % (
        n, dims, spread(scan), spread(read),
        spread([100 * a / b for a, b in zip(scan, read)])))
for shape in sys.argv[5].split():
    n, bits = shape.split(",")
    bytes_ = int(n) * ((int(bits) + 63) // 64 * 8)
    print("hamming, %s rows of %s bits, %.3g MB" % (n, bits, bytes_ / 1e6))
    for kind in "distances", "nearest":
        first = Program(ours, kind, n, bits, work)
        first.run(1)  # the files are there then
        reads = Program(ours, "bits", n, bits)
        found = sorted(glob.glob(folder + "/*-hamming")) if folder else []
        others = [Program(p, work, kind) for p in found]
        rates, sums = turns([first, reads] + others, int(n), max(1, 50000000 // bytes_))
        print("    %s: %s million/s, %s %% of reading alone" % (
            kind, spread([x / 1e6 for x in rates[0]]),
            spread([100 * a / b for a, b in zip(rates[0], rates[1])])))
        for p, rate, s in zip(others, rates[2:], sums[2:]):
            if s != sums[0]:
                sys.exit("bench-flat: %s finds other distances" % p.name)
            print("        %s: %s million/s, ours %s times" % (
                p.name, spread([x / 1e6 for x in rate]),
                spread([a / b for a, b in zip(rates[0], rate)])))
PYTHON
