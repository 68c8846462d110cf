#!/usr/bin/env python3
"""Lets the programs of bench_peers_vectors.sh take turns, and compares them.

    bench_peers_vectors.py WORK PROGRAMS ROUNDS "EF ..." DEGREE EF_BUILD
"""
import array
import math
import os
import statistics
import subprocess
import sys

TARGETS = (0.95, 0.99)


def read_ids(path):
    ids = array.array("I")
    with open(path, "rb") as f:
        ids.frombytes(f.read())
    return ids


class Program:
    def __init__(self, name, command, work):
        self.name = name
        self.work = work
        self.truth = read_ids(os.path.join(work, "truth." + name.rsplit("-", 1)[-1]))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        word, seconds, size = self.process.stdout.readline().split()
        if word != "built":
            sys.exit("%s: no line 'built SECONDS BYTES'" % name)
        self.build_s = float(seconds)
        self.bytes = int(size)
        self.recall = {}
        self.rates = {}  # of each ef, a rate a round

    def search(self, ef, n_queries, k):
        self.process.stdin.write("%d\n" % ef)
        self.process.stdin.flush()
        seconds = float(self.process.stdout.readline())
        ids = read_ids(os.path.join(self.work, "ids"))
        found = 0
        for at in range(0, n_queries * k, k):
            found += len(set(ids[at:at + k]) & set(self.truth[at:at + k]))
        self.recall[ef] = found / (n_queries * k)
        self.rates.setdefault(ef, []).append(n_queries / seconds)

    def rate_at(self, target, turn):
        """Of one round; None where no ef reaches it. Better than asked counts as it is."""
        below = None
        for ef in sorted(self.rates):
            point = (self.recall[ef], math.log(self.rates[ef][turn]))
            if point[0] >= target:
                if below is None or point[0] == below[0]:
                    return math.exp(point[1])
                part = (target - below[0]) / (point[0] - below[0])
                return math.exp(below[1] + part * (point[1] - below[1]))
            below = point
        return None


def spread(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return "%.2f [%.2f .. %.2f]" % (middle, low, high)


def compare(ours, other, rounds):
    for target in TARGETS:
        pairs = [(ours.rate_at(target, i), other.rate_at(target, i)) for i in range(rounds)]
        if any(a is None or b is None for a, b in pairs):
            print("  recall %.2f: not reached by both, ruvm / %s" % (target, other.name))
            continue
        print("  recall %.2f: ruvm %.0f queries/s, %s %.0f: ratio %s" % (
            target, statistics.median(a for a, _ in pairs), other.name,
            statistics.median(b for _, b in pairs), spread([a / b for a, b in pairs])))


def main():
    work, folder, rounds, efs, degree, ef_build = sys.argv[1:]
    rounds, efs = int(rounds), [int(ef) for ef in efs.split()]
    with open(os.path.join(work, "shape"), encoding="ascii") as f:
        n, _, n_queries, k = (int(word) for word in f.read().split())
    programs = [Program("ruvm", [os.path.join(work, "vectors"), "serve", work, degree, ef_build],
                        work)]
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(("-f32", "-u8")) and os.access(path, os.X_OK):
            programs.append(Program(name, [path, work], work))
    for p in programs:
        print("  %-14s built in %.2f s of CPU, %.1f bytes a vector" % (p.name, p.build_s,
                                                                       p.bytes / n))
    for turn in range(rounds):
        for ef in efs:
            for p in programs if turn % 2 == 0 else reversed(programs):
                p.search(ef, n_queries, k)
    for p in programs:
        print("  %-14s recall " % p.name +
              ", ".join("ef %d %.4f" % (ef, p.recall[ef]) for ef in efs))
    for other in programs[1:]:
        compare(programs[0], other, rounds)
    for p in programs:
        p.process.stdin.close()
        p.process.wait()


main()
