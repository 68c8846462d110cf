#!/bin/bash
# Speed beside other programs, in one run: `make bench-peers DIR=folder`.
#
# This tree holds nothing of theirs. Build them yourself, as fast as their compiler
# makes them, and put into one folder what there is of:
#
#     model.bin  tokenizer.bin   llama2.c checkpoint and its tokenizer: needed
#     run                        llama2.c's float program
#     runq  model_q80.bin        its int8 program, and model.bin as its export makes it
#     llama-bench  model.gguf    llama.cpp's, and model.bin as its converter makes it
#
# Each round runs every program once, one after another (in turn from the first and
# from the last), one thread each, all on the same processor when taskset is there:
# a busy machine then disturbs all alike. Two things are compared, with ruvm over the
# other program, round by round:
#
#     decode    tokens/s as each program measures itself: TOKENS tokens from position 0,
#               likeliest token first. run and runq have a clock of whole milliseconds
#               and end at the end of a text.
#     process   the whole program by our clock, loading and printing included
#
# TOKENS (256) and ROUNDS (15, at least 9) may be set; RUVM names our program. On a
# machine with other work, `chrt -f 10 make bench-peers DIR=folder` (as root) keeps that
# work out of the few milliseconds that each program takes.
set -u
cd "$(dirname "$0")/.." || exit 1
ruvm=${RUVM:-build/release/ruvm}
tokens=${TOKENS:-256}
rounds=${ROUNDS:-15}
dir=${1:-}
prompt="Once upon a time"
if [ ! -d "$dir" ] || [ ! -f "$dir/model.bin" ] || [ ! -f "$dir/tokenizer.bin" ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    echo "bench-peers: give a folder with model.bin and tokenizer.bin" >&2
    exit 2
fi
[ "$rounds" -ge 9 ] || rounds=9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 LC_ALL=C
pin=()
if command -v taskset > /dev/null; then
    cpu=$(taskset -cp $$ | sed 's/.*[:,-] *//')
    pin=(taskset -c "$cpu")
fi

# ---- programs: each prints its tokens/s, "-" when it has none ------------------------

ruvm_decode()
{
    "${pin[@]}" "$ruvm" bench "$work/model.ruvm" -p 1 -n "$tokens" -r 1 --json --progress none |
        sed -n 's/^\t"decode_tokens_per_s":[[:space:]]*\([0-9.e+]*\).*/\1/p' | head -n 1
}
ruvm_process()
{
    "${pin[@]}" "$ruvm" run "$work/model.ruvm" -p "$prompt" -n "$tokens" --temp 0 \
        --ignore-end --quiet
}
llama2c_decode()
{
    "${pin[@]}" "$dir/$1" "$dir/$2" -z "$dir/tokenizer.bin" -t 0 -n "$tokens" -i "$prompt" 2>&1 |
        sed -n 's/.*achieved tok\/s: *\([0-9.]*\).*/\1/p'
}
llama2c_process()
{
    "${pin[@]}" "$dir/$1" "$dir/$2" -z "$dir/tokenizer.bin" -t 0 -n "$tokens" -i "$prompt"
}
run_decode() { llama2c_decode run model.bin; }
run_process() { llama2c_process run model.bin; }
runq_decode() { llama2c_decode runq model_q80.bin; }
runq_process() { llama2c_process runq model_q80.bin; }
llama_decode()
{
    "${pin[@]}" "$dir/llama-bench" -m "$dir/model.gguf" -p 0 -n "$tokens" -t 1 -r 1 -o json \
        2> "$work/log" | sed -n 's/.*"avg_ts": *\([0-9.]*\).*/\1/p'
}

# have NAME FILE...: whether all files are there; says what is not.
have()
{
    local name=$1 file missing=
    shift
    for file in "$@"; do
        [ -e "$dir/$file" ] || missing+=" $file"
    done
    [ -z "$missing" ] || echo "left out: $name (not found in $dir:$missing)"
    [ -z "$missing" ]
}

# ---- measuring -----------------------------------------------------------------------

# microseconds of a command
wall()
{
    local begin=${EPOCHREALTIME/./}
    "$@" > "$work/out" 2>&1 || return 1
    echo $((${EPOCHREALTIME/./} - begin))
}

# measure PROGRAM ROUND: appends "decode PROGRAM ROUND RATE" and "process ..." in runs/s.
measure()
{
    local rate us
    rate=$("$1_decode")
    [ -z "$rate" ] || echo "decode $1 $2 $rate" >> "$work/values"
    if declare -F "$1_process" > /dev/null && us=$(wall "$1_process"); then
        echo "process $1 $2 $(awk "BEGIN { print 1e6 / $us }")" >> "$work/values"
    fi
}

# table WHAT UNIT: each program's values, and ruvm's over them.
table()
{
    echo
    printf '%-10s %-38s %s\n' "$1" "$2, median [min .. max]" \
        "ruvm is faster by, median [min .. max]"
    awk -v what="$1" -v names="${programs[*]}" '
        function spread(list, n,    i, j, x) {
            for (i = 2; i <= n; i++) {
                x = list[i]
                for (j = i - 1; j >= 1 && list[j] > x; j--) list[j + 1] = list[j]
                list[j + 1] = x
            }
            x = n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
            return sprintf("%.5g [%.5g .. %.5g]", x, list[1], list[n])
        }
        $1 == what { value[$2, $3] = $4; if ($3 > last) last = $3 }
        END {
            n_names = split(names, name, " ")
            for (p = 1; p <= n_names; p++) {
                n = m = 0
                for (r = 1; r <= last; r++) {
                    if (!((name[p], r) in value)) continue
                    values[++n] = value[name[p], r]
                    if (("ruvm", r) in value) ratios[++m] = value["ruvm", r] / value[name[p], r]
                }
                if (n) printf "%-10s %-38s %s\n", name[p], spread(values, n),
                    name[p] == "ruvm" ? "" : spread(ratios, m)
            }
        }' "$work/values"
}

"$ruvm" quantize "$dir/model.bin" --tokenizer "$dir/tokenizer.bin" -o "$work/model.ruvm" \
    --no-quality > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
programs=(ruvm)
if have run run; then programs+=(run); fi
if have runq runq model_q80.bin; then programs+=(runq); fi
if have llama-bench llama-bench model.gguf; then programs+=(llama); fi
"$ruvm" bench demo -p 1 -n 1 -r 1 --progress none | grep '^machine'
echo "$tokens tokens, $rounds rounds, one thread${pin[*]:+, processor $cpu}"
: > "$work/values"
for program in "${programs[@]}"; do "${program}_decode" > "$work/out" 2>&1; done # warm-up
for ((round = 1; round <= rounds; round++)); do
    for ((i = 0; i < ${#programs[@]}; i++)); do
        at=$((round % 2 ? i : ${#programs[@]} - 1 - i))
        measure "${programs[at]}" "$round"
    done
done
for program in "${programs[@]}"; do
    grep -q "^decode $program " "$work/values" || echo "$program: printed no speed"
done
table decode "tokens/s"
table process "runs/s"
