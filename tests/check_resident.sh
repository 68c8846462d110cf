#!/bin/bash
# The weights of a model are in memory once, mapped or laid out anew for the vector unit.
#
#   tests/check_resident.sh      a line "ok|not ok|skip NAME" for each case
#
# Twice of each command. What is private is bounded by the kernel itself: RLIMIT_DATA may be
# the panels, as large as the image, and a tenth, the engines, and 4 MiB for the program; of
# kernels that read the image in place only the tenth. Then the peak of the process, file
# mappings included: image and a tenth, engines, what the program takes with the demo model,
# and the embedding, whose rows are looked up in the file. The models are made here, of 33
# million weights. RUVM names the executable; the default is the release build.
set -u
here=$(cd "$(dirname "$0")" && pwd)
RUVM=$(realpath "${RUVM:-$here/../build/release/ruvm}")
if ! command -v prlimit > /dev/null; then
    echo "skip resident: prlimit is missing"
    exit 0
fi
vocab=16000 dim=512
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
python3 "$here/bench_peers_model.py" model.bin tok.bin $dim 1376 8 8 $vocab 256 3 || exit 1
for type in int8 int4; do
    "$RUVM" quantize model.bin --tokenizer tok.bin -o $type.ruvm -t $type --embed-type $type \
        --method rtn --no-quality --calib-tokens 16 -q || exit 1
done
rm model.bin
failed=0

check()
{
    if [ "$2" -le "$3" ] && [ "$2" -gt 0 ]; then
        echo "ok resident/$1"
    else
        echo "not ok resident/$1"
        echo "  $2 bytes, at most $3 may be"
        failed=1
    fi
}

# number KEY: the first of that key in the JSON on standard input.
number() { sed -n "s/.*\"$1\":[^0-9]*\([0-9]*\).*/\1/p" | head -n 1; }

# peak COMMAND...: bytes of its peak, more than those of the Python that starts it.
peak()
{
    python3 -S -I - "$@" << 'END'
import resource, subprocess, sys
if subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
    print(0)
else:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
END
}

# private NAME LIMIT COMMAND...
private()
{
    local said
    if said=$(prlimit --data="$2" "${@:3}" 2>&1 > /dev/null); then
        echo "ok resident/$1"
    else
        echo "not ok resident/$1"
        printf '  at most %s private bytes may be: %s\n' "$2" "$said"
        failed=1
    fi
}

# embedding TYPE: its bytes; what int4 has besides is within the tenth.
embedding() { echo $((vocab * dim * ${1#int} / 8)); }

spare=$((4 << 20))
program=$("$RUVM" bench -r 1 -p 4 -n 4 --json | number peak_rss_bytes)
engine=$("$RUVM" bench int8.ruvm --no-speed --sweep mask=none --json | number engine_bytes)
tables=$("$RUVM" --version | sed -n 's/^kernels: //p')

# resident NAME TYPE ENGINES COMMAND...: ENGINES is how many texts the command has at a time.
resident()
{
    local name=$1 type=$2 bytes more
    bytes=$(stat -c %s "$type.ruvm")
    more=$((bytes / 10 + $3 * engine))
    shift 3
    private "$name-private" $((bytes + more + spare)) "$@"
    check "$name-peak" "$(peak "$@")" $((bytes + more + program + $(embedding "$type")))
}

for kernels in $tables; do
    for type in int8 int4; do
        resident "$kernels-$type" $type 1 \
            "$RUVM" run $type.ruvm -p 'a b c d' -n 40 --threads 1 --kernels "$kernels"
    done
done
private scalar-reads-the-image-in-place $(($(stat -c %s int8.ruvm) / 10 + engine + spare)) \
    "$RUVM" run int8.ruvm -p 'a b c d' -n 40 --threads 1 --kernels scalar
for ((i = 0; i < 6; i++)); do echo 'a b c'; done > prompts.txt
resident batch int8 3 "$RUVM" run int8.ruvm --prompts prompts.txt --batch 3 -n 9 --threads 1
resident guesses int8 1 "$RUVM" run int8.ruvm -p 'a b c a b c' -n 40 --threads 1 --draft ngram
# a thread has a stack of its own, of which it uses little
resident threads int8 2 "$RUVM" run int8.ruvm -p 'a b c a b c' -n 40 --threads 2
# a prompt cache is made beside the engine, whose state it is, and read in place
long=$(printf 'a b c d %.0s' {1..30})
for time in written read; do
    resident cache-$time int8 2 \
        "$RUVM" run int8.ruvm -p "$long" -n 2 --threads 1 --prompt-cache cache
done
two=$(($(stat -c %s int8.ruvm) + $(stat -c %s int4.ruvm)))
draft=("$RUVM" run int8.ruvm -p 'a b c a b c' -n 40 --threads 1 --draft int4.ruvm)
private draft-private $((two * 11 / 10 + 2 * engine + spare)) "${draft[@]}"
check draft-peak "$(peak "${draft[@]}")" \
    $((two * 11 / 10 + 2 * engine + program + $(embedding int8) + $(embedding int4)))
# measurements that take turns multiply with the same panels
private sweep-private $(($(stat -c %s int8.ruvm) * 11 / 10 + 4 * engine + spare)) \
    "$RUVM" bench int8.ruvm --sweep block=1,8,16,32 -r 1 -p 4 -n 4 --threads 1 --progress none
exit "$failed"
