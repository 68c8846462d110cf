#!/bin/bash
# What more threads bring: `tests/bench_threads.sh IMAGE[:PROMPT:TOKENS]...`
#
# Each round runs `ruvm bench` on an image with one thread, with THREADS (2) of them, and with
# as many as it chooses by itself; and then THREADS processes of one thread each at the same
# time, every one on a processor of its own. What these reach together is the roof: processors
# share caches, memory and clock whatever a program does, and on a rented machine they are
# shared with others. Printed are the speeds over those of one thread, round by round: median
# [first quartile .. third quartile].
#
# PROMPT and TOKENS are the lengths (128, 128). ROUNDS (9, at least) may be set; RUVM names our
# program. Both processors have to be idle otherwise.
set -u
tree=$(cd "$(dirname "$0")/.." && pwd) || exit 1
ruvm=$(realpath "${RUVM:-$tree/build/release/ruvm}")
rounds=${ROUNDS:-9}
threads=${THREADS:-2}
[ "$rounds" -ge 9 ] || rounds=9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
if [ $# -eq 0 ] || [ "$threads" -lt 2 ]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
    exit 2
fi

fail()
{
    echo "bench-threads: $*" >&2
    exit 1
}

# speed WAY THREADS FILE [PROGRAM...]: appends "WAY ROUND PROMPT DECODE THREADS".
speed()
{
    local way=$1 n=$2 file=$3
    shift 3
    "$@" "$ruvm" bench "$image" -p "$prompt" -n "$tokens" -r 3 --threads "$n" --json \
        --progress none > "$file" 2> "$file.log" || { cat "$file.log"; fail "failed: $image"; }
    number() { sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*\([0-9.e+]*\).*/\1/p" "$file" | head -n 1; }
    echo "$way $round $(number prompt_tokens_per_s) $(number decode_tokens_per_s)" \
        "$(number threads)" >> "$file.values"
}

table()
{
    python3 - "$work/values" "$threads" << 'PYTHON'
import statistics
import sys

path, threads = sys.argv[1:]
rates = {}
for line in open(path):
    way, round_, prompt, decode, used = line.split()
    at = rates.setdefault(way, {}).setdefault(round_, [0, 0, used])
    at[0] += float(prompt)  # processes of a round add up
    at[1] += float(decode)


def spread(values, form):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return "%s [%s .. %s]" % tuple(form % x for x in (middle, low, high))


names = {"one": "one thread", "more": threads + " threads", "auto": "chosen by itself",
         "apart": threads + " processes"}
for way, name in names.items():
    rounds = rates[way]
    cells = []
    for i in range(2):
        cells.append(spread([x[i] for x in rounds.values()], "%.4g"))
        cells.append(spread([x[i] / rates["one"][r][i] for r, x in rounds.items()], "%.2f"))
    used = {x[2] for x in rounds.values()}
    note = " (threads: %s)" % ", ".join(sorted(used)) if way == "auto" else ""
    print("%-18s %-30s %-22s %-30s %s%s" % ((name,) + tuple(cells) + (note,)))
PYTHON
}

for arg in "$@"; do
    IFS=: read -r image prompt tokens <<< "$arg"
    prompt=${prompt:-128} tokens=${tokens:-128}
    rm -f "$work"/*
    for ((round = 1; round <= rounds; round++)); do
        speed one 1 "$work/a"
        speed more "$threads" "$work/a"
        speed auto 0 "$work/a"
        for ((i = 0; i < threads; i++)); do
            speed apart 1 "$work/p$i" taskset -c "$i" &
        done
        wait
    done
    cat "$work"/*.values > "$work/values"
    printf '\n%s: a prompt of %s, %s tokens, %s rounds\n' "$image" "$prompt" "$tokens" "$rounds"
    printf '%-18s %-30s %-22s %-30s %s\n' "measured" "prompt, tokens/s" "of one thread's" \
        "decode, tokens/s" "of one thread's"
    table
done
