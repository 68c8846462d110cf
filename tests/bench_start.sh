#!/bin/bash
# Milliseconds from starting the program to the first text: `tests/bench_start.sh [IMAGE]`
#
# The whole process is measured, from before it exists to its first byte: loading it, opening
# the image (default: the demo model), reading a prompt and drawing a token. Printed are the
# median of ROUNDS (25) calls and their quartiles. RUVM names our program.
set -u
tree=$(cd "$(dirname "$0")/.." && pwd) || exit 1
exec python3 - "$(realpath "${RUVM:-$tree/build/release/ruvm}")" "${ROUNDS:-25}" "$@" << 'PYTHON'
import statistics
import subprocess
import sys
import time

program, rounds, image = sys.argv[1], int(sys.argv[2]), sys.argv[3:4]
command = [program, "run", *image, "-p", "Once upon a time", "--temp", "0", "-n", "40", "-q"]
times = []
for _ in range(rounds):
    start = time.perf_counter()
    call = subprocess.Popen(command, stdout=subprocess.PIPE)
    first = call.stdout.read(1)
    times.append(1e3 * (time.perf_counter() - start))
    call.communicate()
    if call.returncode or not first:
        sys.exit("bench-start: the call failed: " + " ".join(command))
low, middle, high = statistics.quantiles(times, n=4)
print("start to first text: %.3g ms [%.3g .. %.3g], %d calls, measured" % (
    middle, low, high, rounds))
PYTHON
