#!/bin/bash
# What guessing brings: `tests/bench_draft.sh [IMAGE...]`, decode with --draft over without.
#
# The target is the demo model made large with zeros (tests/bench_draft_model.py: 78 million
# weights, dim 768, 12 layers; it says what the demo says, and costs what that many weights
# cost), the draft model the demo itself. Each round runs every case without and with drafts,
# in turn, one thread each. Printed are the ratios round by round, median [first quartile ..
# third quartile], the share of guesses that were accepted and how often drafts were switched
# off. Texts and logits must be equal, and are compared in every round: exit 1 if they are not.
#
# The last case is the demo model by itself, whose tokens are too cheap to be guessed: there
# drafts have to switch themselves off, and what their trials cost is what is measured.
#
# Images that are given (of `tests/bench_peers.sh` with KEEP, for instance, whose gaussian
# networks repeat themselves) continue a text that repeats, guessed from itself.
#
# ROUNDS (9) may be set; RUVM names our program; KEEP=folder keeps the large model, whose
# making takes half a minute, and PREPARE=1 makes it and measures nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
ruvm=$(realpath "${RUVM:-build/release/ruvm}")
rounds=${ROUNDS:-9}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
keep=${KEEP:-$work}
mkdir -p "$keep" || exit 1
large=$keep/draft-target.ruvm

fail()
{
    echo "bench-draft: $*" >&2
    exit 1
}

if [ ! -e "$large" ]; then
    python3 tests/bench_draft_model.py tests/demo/demo.bin "$work/large.bin" 768 2048 12 ||
        fail "the large model cannot be made"
    "$ruvm" quantize "$work/large.bin" --tokenizer tests/demo/demo-tokenizer.bin -o "$large" \
        --calib tests/demo/heldout.txt --calib-tokens 64 --method rtn --no-quality -q ||
        fail "the large model cannot be quantized"
    rm "$work/large.bin"
fi
[ -z "${PREPARE:-}" ] || exit 0

story="Once upon a time"
home="Home: The kitchen lamp is off. The bedroom lamp is on. The garden lamp is off.
Q: Is the kitchen lamp on?
A: No, the kitchen lamp is off.
Q: Is the bedroom lamp on?
A: Yes, the bedroom lamp is on.
Q: Is the garden lamp on?
A:"
# name, model, draft, prompt, options
cases=(
    "78M, ngram, a story|$large|ngram|$story|--temp 0"
    "78M, ngram, questions|$large|ngram|$home|--temp 0"
    "78M, the demo drafts|$large|demo|$story|--temp 0"
    "78M, the demo drafts, sampled|$large|demo|$story|--temp 0.8 --seed 5"
    "demo, ngram|demo|ngram|$story|--temp 0"
)
for image in "$@"; do
    [ -r "$image" ] || fail "$image: cannot be read"
    name=${image#"${image%/*/*}"/}
    cases+=("$name, ngram, a period|$image|ngram|a b c d a b c d a b c d|--temp 0")
done

# say FILE CASE [DRAFT]: one call's JSON.
say()
{
    local name model draft prompt options
    IFS='|' read -r -d '' name model draft prompt options <<< "$2"
    # shellcheck disable=SC2086 # the options are words
    "$ruvm" run "$model" -p "$prompt" $options -n 128 --ignore-end --threads 1 --json \
        ${3:+--draft "$draft"} > "$1" 2> "$work/log" ||
        { cat "$work/log"; fail "failed: $name"; }
}

: > "$work/values"
for ((round = 0; round <= rounds; round++)); do # the first one warms up
    for ((i = 0; i < ${#cases[@]}; i++)); do
        say "$work/plain" "${cases[i]}"
        say "$work/draft" "${cases[i]}" drafts
        printf '%d\t%s\t%s\t%s\n' "$round" "${cases[i]%%|*}" "$(tr -d '\n\t' < "$work/plain")" \
            "$(tr -d '\n\t' < "$work/draft")" >> "$work/values"
    done
done
python3 - "$work/values" << 'EOF'
import json
import statistics
import sys

cases, unequal = {}, 0
for line in open(sys.argv[1]):
    round_, name, plain, draft = line.rstrip("\n").split("\t")
    plain, draft = json.loads(plain), json.loads(draft)
    if any(plain[key] != draft[key] for key in ("text", "ids", "logits_crc32")):
        print("DIFFERENT: %s, round %s" % (name, round_))
        unequal += 1
    if round_ != "0":
        cases.setdefault(name, []).append((plain, draft))


def spread(values, form):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return "%s [%s .. %s]" % tuple(form % x for x in (middle, low, high))


key = "decode_tokens_per_s"
print("%-38s %-31s %-23s %-9s %s" % ("decode, measured", "tokens/s without",
                                       "with drafts faster by", "accepted", "switched off"))
for name, runs in cases.items():
    print("%-38s %-31s %-23s %-9s %.3g times" % (
        name, spread([p[key] for p, _ in runs], "%.4g"),
        spread([d[key] / p[key] for p, d in runs], "%.3g"),
        "%.0f %%" % (100 * statistics.median(d["draft_acceptance"] for _, d in runs)),
        statistics.median(d["draft_switched_off"] for _, d in runs)))
print("texts and logits with and without drafts: %s" % ("DIFFERENT" if unequal else "equal"))
sys.exit(unequal > 0)
EOF
