#!/bin/bash
# Searches in vectors beside other libraries, in one run: tests/bench_peers_vectors.sh FOLDER.
#
# This tree holds nothing of theirs. Write a small program around each library, build it as
# fast as its compiler makes it, and put the executables into one folder. The part of the
# name behind the last hyphen says what it searches: hnswlib-f32 floats, hnswlib-u8 bytes.
# A program is started with the path of a folder and finds in it
#
#     shape                     a line: vectors, dimensions, queries, k
#     vectors.f32  queries.f32  rows of floats of length 1: cosine, or the inner product
#     vectors.u8   queries.u8   rows of bytes: the codes of ruvm and 128; Euclidean
#
# It builds its index, prints "built SECONDS BYTES" (of CPU time; of the index with its
# vectors), and then reads one ef a line from standard input. For each it searches all
# queries, one after the other with one thread, writes the k numbers of each query as u32 to
# the file ids in that folder, and prints the seconds of CPU that the searches took.
#
# All programs stay in memory and take turns, ROUNDS (7) times for each ef; CPU time is
# compared, which other work on the machine disturbs least. Recall is that against the exact
# answer in the space that the program searches: ruvm's by the scan of its int8 codes. The
# ratios are ruvm's rate over the other program's at the same recall, between two values of
# ef by logarithm, round by round: median [first quartile .. third quartile].
#
# SHAPES ("10000,64,16,100 100000,64,13,200 10000,384,16,100 100000,384,24,200") says what is
# measured: vectors, dimensions, and of ruvm's graph the links of a vector and the candidates
# looked at for each. EF lists the values ("10 14 20 28 40 56 80 112 160"). Needs python3, a C
# compiler and `make`, which must have been run.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=${1:-}
if [ ! -d "$dir" ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    echo "bench-peers-vectors: give a folder with programs" >&2
    exit 2
fi
dir=$(realpath "$dir")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -e build/release/libruvm.a ] || { echo "bench-peers-vectors: run make first" >&2; exit 1; }
"${CC:-cc}" -std=c11 -O2 -I. tests/bench_peers_vectors.c build/release/libruvm.a \
    -lcjson -lhogweed -lnettle -lz -lpthread -lm -o "$work/vectors" || exit 1
for shape in ${SHAPES:-10000,64,16,100 100000,64,13,200 10000,384,16,100 100000,384,24,200}; do
    IFS=, read -r n dims degree ef_build <<< "$shape"
    "$work/vectors" make "$work" "$n" "$dims" 1000 || exit 1
    echo "$n vectors of $dims dimensions; ruvm with $degree links, $ef_build candidates"
    python3 tests/bench_peers_vectors.py "$work" "$dir" "${ROUNDS:-7}" \
        "${EF:-10 14 20 28 40 56 80 112 160}" "$degree" "$ef_build" || exit 1
done
