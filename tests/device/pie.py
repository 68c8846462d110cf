#!/usr/bin/env python3
"""Runs lib/device/idf/rows_esp32s3.S in a model of its instructions, and compares sums.

    pie.py [FILE.S]

The few instructions of Xtensa and of the ESP32-S3's vector unit that the file uses, as the
vendor's manual and libraries have them: loads of 16 bytes clear the low four bits of the address;
a product with a load multiplies what was in the registers before; ACCX has 40 bits and saturates;
loopgtz leaves out a loop of no turns. What a load may read is what the caller owns: all else ends
the run. It is a model, not the chip. Prints ok / not ok lines.
"""
import random
import re
import sys

ACCX_MAX, WORD = (1 << 39) - 1, 0xFFFFFFFF


class Fault(Exception):
    pass


def parse(path):
    """(mnemonic, operands) in order, and where labels stand."""
    text = re.sub(r"/\*.*?\*/", "", open(path, encoding="ascii").read(), flags=re.S)
    program, labels = [], {}
    for line in text.split("\n"):
        line = line.split("//")[0].strip()
        if line.endswith(":"):
            labels[line[:-1]] = len(program)
        elif line and not line.startswith("."):
            name, _, rest = line.partition(" ")
            program.append((name, [x.strip() for x in rest.split(",") if x.strip()]))
    return program, labels


class Machine:
    def __init__(self, memory):
        self.memory = memory  # [(first address, bytearray, writable)]
        self.a = [random.getrandbits(32) for _ in range(16)]
        self.q = [bytes(random.randrange(256) for _ in range(16)) for _ in range(8)]
        self.accx = random.randrange(ACCX_MAX)
        self.loop = None  # begin, end, turns left
        self.n = 0

    def at(self, address, n, writes):
        for first, data, writable in self.memory:
            if first <= address and address + n <= first + len(data) and (writable or not writes):
                return data, address - first
        raise Fault(f"{n} bytes at {address:#x} are not the caller's")

    def load128(self, number, base, step):
        data, i = self.at(self.a[base] & ~15, 16, False)
        self.a[base] = self.a[base] + step & WORD
        self.q[number] = bytes(data[i:i + 16])

    def multiply(self, x, y):
        signed = [[b - 256 if b > 127 else b for b in self.q[i]] for i in (x, y)]
        total = self.accx + sum(p * q for p, q in zip(*signed))
        self.accx = max(-ACCX_MAX - 1, min(ACCX_MAX, total))

    def step(self, name, args, pc, labels):
        def r(i):
            return int(args[i][1:])

        a, nxt = self.a, pc + 1
        if name in ("entry", "nop"):
            pass
        elif name == "mov":
            a[r(0)] = a[r(1)]
        elif name == "add":
            a[r(0)] = a[r(1)] + a[r(2)] & WORD
        elif name == "addi":
            a[r(0)] = a[r(1)] + int(args[2]) & WORD
        elif name == "s32i":
            data, i = self.at(a[r(1)] + int(args[2]), 4, True)
            data[i:i + 4] = a[r(0)].to_bytes(4, "little")
        elif name in ("beqz", "bnez"):
            nxt = labels[args[1]] if (a[r(0)] == 0) == (name == "beqz") else nxt
        elif name == "loopgtz":
            turns = a[r(0)] - (a[r(0)] >> 31 << 32)
            self.loop = (nxt, labels[args[1]], turns) if turns > 0 else None
            nxt = nxt if turns > 0 else labels[args[1]]
        elif name == "ee.zero.accx":
            self.accx = 0
        elif name == "ee.vld.128.ip":
            self.load128(r(0), r(1), int(args[2]))
        elif name == "ee.vmulas.s8.accx":
            self.multiply(r(0), r(1))
        elif name == "ee.vmulas.s8.accx.ld.ip":
            self.multiply(r(3), r(4))
            self.load128(r(0), r(1), int(args[2]))
        elif name == "rur.accx_0":
            a[r(0)] = self.accx & WORD
        else:
            raise Fault(f"no such instruction in the model: {name}")
        return nxt

    def run(self, program, labels, entry, arguments):
        self.a[2:2 + len(arguments)] = arguments
        pc = labels[entry]
        while program[pc][0] not in ("retw", "retw.n"):
            self.n += 1
            if self.n > 1000000:
                raise Fault("it does not end")
            name, args = program[pc]
            pc = self.step(name, args, pc, labels)
            if self.loop and pc == self.loop[1]:
                begin, end, turns = self.loop
                self.loop = (begin, end, turns - 1) if turns > 1 else None
                pc = begin if turns > 1 else pc


def signed_bytes(n, extreme):
    values = [random.choice((-127, 127)) if extreme else random.randint(-127, 127)
              for _ in range(n)]
    return values, bytearray(v & 255 for v in values)


def check(program, labels, n_rows, n_cols, row_bytes, extreme):
    """What is wrong, or None; the instructions that were run."""
    x, x_bytes = signed_bytes(n_cols, extreme)
    w, w_bytes = signed_bytes(n_rows * row_bytes, extreme)
    del w_bytes[max(0, (n_rows - 1) * row_bytes + n_cols):]  # not even the last row's padding
    out = bytearray(random.randrange(256) for _ in range(4 * n_rows))
    machine = Machine([(0x1000, x_bytes, False), (0x42000000, w_bytes, False),
                       (0x3FC90004, out, True)])
    try:
        machine.run(program, labels, "ruvm_idf_rows",
                    [0x42000000, 0x1000, 0x3FC90004, n_rows, n_cols // 16, row_bytes])
    except Fault as fault:
        return str(fault), 0
    for r in range(n_rows):
        wanted = sum(w[r * row_bytes + c] * x[c] for c in range(n_cols))
        found = int.from_bytes(out[4 * r:4 * r + 4], "little", signed=True)
        if wanted != found:
            return f"row {r} of {n_rows} x {n_cols}: {found}, wanted {wanted}", 0
    return None, machine.n


def main():
    random.seed(1)
    path = sys.argv[1] if len(sys.argv) > 1 else "lib/device/idf/rows_esp32s3.S"
    program, labels = parse(path)
    wrong = None
    for n_rows in (0, 1, 2, 3, 8, 17):
        for blocks in (1, 2, 3, 4, 11):
            for padding in (0, 16, 48):
                for extreme in (False, True):
                    wrong = wrong or check(program, labels, n_rows, 16 * blocks,
                                           16 * blocks + padding, extreme)[0]
    if wrong is None:  # the largest row there is: 40 bits are enough, and 32
        wrong, _ = check(program, labels, 1, 65536, 65536, True)
    print("ok idf/vector-kernel-in-a-model" if wrong is None
          else f"not ok idf/vector-kernel-in-a-model\n  {wrong}")
    if wrong is None:
        _, n = check(program, labels, 64, 64, 64, False)
        print(f"# modelled: {n / 4096:.2f} instructions a product of a 64 x 64 matrix")
    return wrong is not None


sys.exit(main())
