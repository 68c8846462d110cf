#!/bin/bash
# Speed beside other programs, in one run: `make bench-peers DIR=folder`.
#
# This tree holds nothing of theirs. Build them yourself, as fast as their compiler
# makes them, and put into one folder what there is of:
#
#     run                        llama2.c's float program
#     runq                       its int8 program, for model_q80.bin
#     llama-bench                llama.cpp's, for its types of weights
#     llama-quantize             llama.cpp's, for Q4_0
#     model.bin  tokenizer.bin   a llama2.c checkpoint and its tokenizer: stories260K
#     model_q80.bin              the same as llama2.c's export makes it
#
# Three models take turns: the one in the folder, and two that are made here with
# gaussian weights, of 15 and 110 million (dim 288 and 768). MODELS ("own 15M 110M")
# names those that are wanted. Files for the others come from `ruvm quantize --to gguf`.
#
# Each round runs every program once, one after another (in turn from the first and from
# the last), one thread each, all on the same processor when taskset is there: a busy
# machine then disturbs all alike. The ratios are ruvm's over the other program's, round
# by round: median [first quartile .. third quartile].
#
#     decode    tokens/s, each from an empty context; run and runq have a clock of whole
#               milliseconds and end at the end of a text
#     prompt    tokens/s of a prompt; run and runq read it token by token, so they have none
#
# Below that, what ruvm reaches of this machine: of decode the share of reading its weights
# from where they fit, of prompts the share of the integer peak, both measured just before
# by `ruvm bench --kernel-rates`. ROUNDS (9, at least) may be set; RUVM names our program.
#
# A program that says no speed when it is tried, because it crashes, prints something else or
# takes longer than MINUTES (10), is left out, with its last words; then the exit status is 1,
# as when a file cannot be made. It is 2 for wrong usage.
#
# The files of the models take longer than measuring, and 2 GB. KEEP=folder makes them there
# and finds them again; PREPARE=1 makes them and measures nothing, so that a call that is to
# have the machine for itself is a short one:
#
#     KEEP=models PREPARE=1 make bench-peers DIR=folder
#     KEEP=models MODELS=110M make bench-peers DIR=folder
#
# Files of the present models and of the present programs are expected there: after either
# changed, remove the folder. What a broken call left behind is made again.
# On a machine with other work, `chrt -f 10 make bench-peers DIR=folder` (as root) keeps
# that work out.
set -u
tree=$(cd "$(dirname "$0")/.." && pwd) || exit 1

usage()
{
    echo "bench-peers: $*" >&2
    exit 2
}

if [ $# -ne 1 ] || [ -z "$1" ]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
    usage "give a folder with builds of other programs"
fi
[ -d "$1" ] || usage "$1: is no folder; give one with builds of other programs"
dir=$(realpath "$1")
[ -e "$dir/run" ] || [ -e "$dir/runq" ] || [ -e "$dir/llama-bench" ] ||
    usage "$1: has none of run, runq and llama-bench, so there is nothing to compare with"
ruvm=${RUVM:-$tree/build/release/ruvm}
if [ ! -f "$ruvm" ] || [ ! -x "$ruvm" ]; then
    usage "$ruvm: is no program; make it first, or name it in RUVM"
fi
ruvm=$(realpath "$ruvm")
rounds=${ROUNDS:-9} minutes=${MINUTES:-10}
[[ $rounds =~ ^[0-9]{1,6}$ ]] || usage "ROUNDS: $rounds is no whole number"
[[ $minutes =~ ^[0-9]{1,6}$ ]] || usage "MINUTES: $minutes is no whole number"
[ "$rounds" -ge 9 ] || rounds=9
models=${MODELS:-own 15M 110M}
for name in $models; do
    case $name in
    own | 15M | 110M) ;;
    *) usage "MODELS: there is no model $name; there are: own 15M 110M" ;;
    esac
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
keep=${KEEP:-$work/models}
mkdir -p "$keep" || exit 1
keep=$(realpath "$keep")
cd "$tree" || exit 1
failed=0
export OMP_NUM_THREADS=1 LC_ALL=C
pin=()
if command -v taskset > /dev/null; then
    cpu=$(taskset -cp $$ | sed 's/.*[:,-] *//')
    pin=(taskset -c "$cpu")
fi
alone=(timeout --foreground "${minutes}m" "${pin[@]}")

fail()
{
    echo "bench-peers: $*" >&2
    exit 1
}

# quiet COMMAND...: shows what it printed only when it fails.
quiet()
{
    "$@" > "$work/log" 2>&1 || { cat "$work/log"; fail "failed: $*"; }
}

# have NAME FILE...: whether all files are there; says what is not.
have()
{
    local name=$1 file missing=
    shift
    for file in "$@"; do
        [ -e "$file" ] || missing+=" ${file##*/}"
    done
    [ -z "$missing" ] || echo "left out: $name (not found:$missing)"
    [ -z "$missing" ]
}

# ---- programs: each prints "decode RATE" and "prompt RATE", as far as it has them ---------

# json_numbers KEY: the values of a key, one a line.
json_numbers() { sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*\([0-9.e+]*\).*/\1/p"; }

# said COMMAND...: what it prints into files; its exit status.
said() { "${alone[@]}" "$@" > "$work/out" 2> "$work/err" < /dev/null; }

run_ruvm()
{
    said "$ruvm" bench "$1" -p "$prompt" -n "$tokens" -r 1 --json --progress none || return
    echo "prompt $(json_numbers prompt_tokens_per_s < "$work/out" | head -n 1)"
    echo "decode $(json_numbers decode_tokens_per_s < "$work/out" | head -n 1)"
}
run_llama()
{
    # its object for the prompt stands before that for the generated tokens
    said "$dir/llama-bench" -m "$1" -p "$prompt" -n "$tokens" -t 1 -r 1 -o json || return
    json_numbers avg_ts < "$work/out" | sed '1s/^/prompt /; 2s/^/decode /'
}
run_llama2c()
{
    said "$dir/$2" "$1" -z "$tokenizer" -t 0 -n "$tokens" -i "Once upon a time" || return
    cat "$work/out" "$work/err" | tr -d '\000' |
        sed -n 's/.*achieved tok\/s: *\([0-9.]*\).*/decode \1/p'
}

# program NAME: by its name, on the files of the present model; into $work/rates, numbers only.
program()
{
    local status=0
    case $1 in
    ruvm-*) run_ruvm "$files/$1.ruvm" ;;
    llama-*) run_llama "$files/$1.gguf" ;;
    run) run_llama2c "$model" run ;;
    runq) run_llama2c "$dir/model_q80.bin" runq ;;
    esac > "$work/all" || status=$?
    awk 'NF == 2 && $2 ~ /^[0-9]+(\.[0-9]+)?(e[0-9]+)?$/ && $2 > 0' "$work/all" > "$work/rates"
    return $status
}

# last_words STATUS: of the program that was tried last.
last_words()
{
    local words
    words=$(cat "$work/out" "$work/err" | tr -cd '[:print:]\n' | grep . | tail -n 1 | cut -c 1-100)
    case $1 in
    0) echo "it ended well${words:+; last it said: $words}" ;;
    124) echo "it took longer than $minutes min" ;;
    *) echo "it ended with status $1${words:+: $words}" ;;
    esac
}

# ---- models -----------------------------------------------------------------------------

# make FILE COMMAND...: unless it is there, by a command in which @ is its name until it is
# whole.
make()
{
    local file=$1
    shift
    [ -e "$file" ] && return
    "${@//@/$file.part}" > "$work/log" 2>&1 && mv "$file.part" "$file" && return
    rm -f "$file.part"
    return 1
}

# prepare NAME: makes the files of a model and sets what is measured of it.
prepare()
{
    files=$keep/$1
    model=$files/model.bin tokenizer=$files/tokenizer.bin prompt=128
    case $1 in
    own) model=$dir/model.bin tokenizer=$dir/tokenizer.bin tokens=256 ;;
    15M) tokens=128 shape="288 768 6 6 32000 256" ;;
    110M) tokens=32 prompt=64 shape="768 2048 12 12 32000 256" ;;
    esac
    mkdir -p "$files"
    # shellcheck disable=SC2086 # the shape is six words
    [ "$1" = own ] || make "$model" python3 tests/bench_peers_model.py @ "$tokenizer" $shape 1 ||
        failed_making
    have "model $1" "$model" "$tokenizer" || return 1
    printf 'a b c d e f g h i j k l m n o p' > "$work/text"
    programs=(ruvm-int8 ruvm-int4)
    local calibration=(--calib "$work/text" --method rtn)
    [ "$1" != own ] || calibration=()
    for type in int8 int4; do
        make "$files/ruvm-$type.ruvm" "$ruvm" quantize "$model" --tokenizer "$tokenizer" \
            -t $type --embed-type $type "${calibration[@]}" -o @ --no-quality || failed_making
    done
    if have run "$dir/run"; then programs+=(run); fi
    if [ "$1" = own ] && have runq "$dir/runq" "$dir/model_q80.bin"; then programs+=(runq); fi
    if have llama-bench "$dir/llama-bench"; then prepare_llama "$1"; fi
}

failed_making()
{
    cat "$work/log"
    fail "a file of the models cannot be made"
}

# try NAME COMMAND...: llama.cpp with one more type, where its blocks fit the model's shape.
try()
{
    local name=$1
    shift
    if make "$files/$name.gguf" "$@"; then
        programs+=("$name")
    else
        echo "left out: $name ($(tail -n 1 "$work/log" | cut -c 1-100))"
    fi
}

# The float file is measured of the small model only, and else what Q4_0 is made of.
prepare_llama()
{
    local float=$files/llama-F32.gguf
    local export=("$ruvm" quantize "$model" --tokenizer "$tokenizer" --to gguf)
    if [ "$1" = own ] || [ ! -e "$files/llama-Q4_0.gguf" ]; then
        make "$float" "${export[@]}" -o @ || failed_making
    fi
    try llama-Q8_0 "${export[@]}" --to-type q8_0 -o @
    if have llama-Q4_0 "$dir/llama-quantize"; then
        try llama-Q4_0 "$dir/llama-quantize" --pure "$float" @ Q4_0 1
    fi
    if [ "$1" = own ]; then programs+=(llama-F32); else rm -f "$float"; fi
}

# ---- measuring -----------------------------------------------------------------------------

# try_programs: the warm-up; who says no speed is left out, but not we.
try_programs()
{
    local name status speaking=()
    for name in "${programs[@]}"; do
        status=0
        program "$name" || status=$?
        if grep -q '^decode ' "$work/rates"; then
            speaking+=("$name")
            continue
        fi
        echo "left out: $name said no speed: $(last_words $status)"
        failed=1
        [[ $name != ruvm-* ]] || fail "without our own speed there is nothing to compare"
    done
    programs=("${speaking[@]}")
}

# measure: appends "WHAT PROGRAM ROUND RATE" of every program and round.
measure()
{
    local round i at name n
    : > "$work/values"
    for ((round = 1; round <= rounds; round++)); do
        for ((i = 0; i < ${#programs[@]}; i++)); do
            at=$((round % 2 ? i : ${#programs[@]} - 1 - i))
            name=${programs[at]}
            program "$name"
            awk -v p="$name" -v r="$round" '{ print $1, p, r, $2 }' "$work/rates" \
                >> "$work/values"
        done
    done
    for name in "${programs[@]}"; do
        n=$(grep -c "^decode $name " "$work/values")
        [ "$n" -eq "$rounds" ] && continue
        echo "$name: said its speed in $n of $rounds rounds only"
        failed=1
    done
}

# table WHAT: each program's values, and those of ours over them.
table()
{
    echo
    printf '%-12s %-38s %-30s %s\n' "$1" "tokens/s, measured" "ruvm-int8 is faster by" \
        "ruvm-int4 is faster by"
    awk -v what="$1" -v names="${programs[*]}" '
        # linear between the two nearest values, as everywhere
        function quantile(q, n,    at, low) {
            at = 1 + q * (n - 1)
            low = int(at)
            return low < n ? list[low] + (at - low) * (list[low + 1] - list[low]) : list[n]
        }
        function spread(n,    i, j, x) {
            for (i = 2; i <= n; i++) {
                x = list[i]
                for (j = i - 1; j >= 1 && list[j] > x; j--) list[j + 1] = list[j]
                list[j + 1] = x
            }
            return sprintf("%.4g [%.4g .. %.4g]", quantile(0.5, n), quantile(0.25, n),
                quantile(0.75, n))
        }
        function ratios(ours, name,    n, r) {
            n = 0
            for (r = 1; r <= last; r++)
                if ((name, r) in value && (ours, r) in value)
                    list[++n] = value[ours, r] / value[name, r]
            return n && name !~ /^ruvm/ ? spread(n) : ""
        }
        $1 == what { value[$2, $3] = $4; if ($3 > last) last = $3 }
        END {
            n_names = split(names, name, " ")
            for (p = 1; p <= n_names; p++) {
                n = 0
                for (r = 1; r <= last; r++)
                    if ((name[p], r) in value) list[++n] = value[name[p], r]
                if (!n) continue
                values = spread(n)
                printf "%-12s %-38s %-30s %s\n", name[p], values, ratios("ruvm-int8", name[p]),
                    ratios("ruvm-int4", name[p])
            }
        }' "$work/values"
}

# roofs: what our medians are of what this machine can do.
roofs()
{
    echo
    python3 - "$work" "$model" << 'EOF'
import json
import statistics
import struct
import sys

work, model = sys.argv[1:]
with open(work + "/roofs.json") as f:
    roofs = json.load(f)["roofs"]
with open(model, "rb") as f:
    dim, hidden, layers, heads, kv, vocab, _ = struct.unpack("<7i", f.read(28))
macs = layers * (2 * dim * dim + 2 * dim * dim * kv // heads + 3 * dim * hidden)
rates = {}
for line in open(work + "/values"):
    what, program, _, rate = line.split()
    rates.setdefault((program, what), []).append(float(rate))
for kind in "int8", "int4":
    program = "ruvm-" + kind
    with open("%s/%s.json" % (work, program)) as f:
        size = json.load(f)["token_bytes"]
    level = next((x for x in roofs["levels"] if x.get("cache_bytes", size) >= size))
    decode = statistics.median(rates[program, "decode"])
    prompt = statistics.median(rates[program, "prompt"])
    print("%s: decode reads %.4g GB/s of weights, %.1f %% of the roof of %s; a prompt takes %.4g "
          "GMAC/s, %.1f %% of the peak" % (
              program, decode * size * 1e-9, 100 * decode * size * 1e-9 / level["gb_per_s"],
              level["level"], prompt * macs * 1e-9,
              100 * prompt * macs * 1e-9 / roofs["gmac_per_s"]))
EOF
}

if [ -n "${PREPARE:-}" ]; then
    for name in $models; do
        prepare "$name" && echo "prepared in ${KEEP:-a folder that ends with this call}: $name"
    done
    exit
fi
quiet "${pin[@]}" "$ruvm" bench --no-speed --kernel-rates -o json --progress none
mv "$work/log" "$work/roofs.json"
sed -n 's/^\t"machine":[[:space:]]*"\(.*\)",/machine: \1/p' "$work/roofs.json"
for name in $models; do
    echo
    prepare "$name" || continue
    for type in int8 int4; do
        "$ruvm" bench "$files/ruvm-$type.ruvm" -p 1 -n 1 -r 1 --json > "$work/ruvm-$type.json"
    done
    try_programs
    echo "model $name: $tokens tokens, a prompt of $prompt, $rounds rounds, one thread${pin[*]:+, \
processor $cpu}"
    measure
    table decode
    table prompt
    roofs
done
exit $failed
