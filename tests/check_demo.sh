#!/bin/bash
# The demo model is what tests/demo says it is, and does what it promises.
#
# The committed image is the quantized checkpoint, byte for byte; at least 90 % of
# the held-out questions about a home are answered exactly, and at least 90 % of
# 200 stories are consistent, all by our own commands. Prints ok / not ok lines.
# Run from the root.
set -u
ruvm=build/release/ruvm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# verdict NAME VALUE LEAST: one line of the result.
verdict()
{
    if awk "BEGIN { exit !(${2:-0} >= $3) }"; then echo "ok demo: $1"; else
        echo "not ok demo: $1"
        failed=1
    fi
}

$ruvm quantize tests/demo/demo.bin --tokenizer tests/demo/demo-tokenizer.bin \
    --name 'ruvm demo' --no-quality -q -o "$work/demo.ruvm"
same=0
cmp "$work/demo.ruvm" lib/demo.ruvm && same=1
verdict "lib/demo.ruvm is the checkpoint, quantized (make demo-image)" $same 1

exact=$($ruvm bench -r 1 --questions tests/demo/questions.jsonl --json | jq .exact_match)
verdict "exact answers $exact, at least 0.9" "$exact" 0.9

seed=0
while IFS= read -r prompt && [ $seed -lt 200 ]; do
    seed=$((seed + 1))
    $ruvm run -p "$prompt" --temp 0.7 --top-p 1 --seed $seed -q
    echo
done < <(cat tests/demo/stories_prompts.txt tests/demo/stories_prompts.txt) > "$work/stories.txt"
report=$(python3 tests/demo/evaluate.py stories "$work/stories.txt")
share=$(sed -n 's/^consistent: .* = \([0-9.]*\) %.*/\1/p' <<< "$report")
verdict "consistent stories ${share:-?} %, at least 90" "$share" 90
[ $failed -eq 0 ] || printf '%s\n' "$report" | grep '^ *[0-9]'
exit $failed
