#!/bin/bash
# Equality is the product: the same 200 tokens whatever computes them.
#
# For each model, each setting (the likeliest token; drawn at temperature 0.8 with a
# seed) and each kernel table of this machine, `ruvm run` generates with prompt blocks
# of 1, 3, 8 and 64 tokens. Ids and the CRC-32 of all logits must be those of the
# scalar table with block 1. One case a model, setting and table; other machines have
# theirs in device/rv32.sh. RUVM names the program.
set -u
cd "$(dirname "$0")/.." || exit 1
ruvm=${RUVM:-build/release/ruvm}
prompt="Once upon a time, there was a little dog. The dog had a red ball and a big friend.
One day they went to the park, and it was very warm."
n=200
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# result MODEL KERNELS BLOCK SETTING...: ids and CRC of the logits, each on a line.
result()
{
    "$ruvm" run "$1" --kernels "$2" --block "$3" "${@:4}" -p "$prompt" -n "$n" --ignore-end \
        --quiet --json | grep -E '"(ids|logits_crc32)"'
}

# whole RESULT: whether it has all the ids.
whole() { [ "$(printf '%s\n' "$1" | grep '"ids"' | grep -oE '[0-9]+' | wc -l)" -eq "$n" ]; }

# compare NAME MODEL SETTING...
compare()
{
    local name=$1 model=$2 want got kernels block bad
    shift 2
    want=$(result "$model" scalar 1 "$@")
    if ! whole "$want"; then
        echo "not ok equality/$name: the scalar table gives no $n tokens"
        failed=1
        return
    fi
    for kernels in $tables; do
        bad=
        for block in 1 3 8 64; do
            got=$(result "$model" "$kernels" "$block" "$@")
            [ "$got" = "$want" ] || bad+=" $block"
        done
        if [ -z "$bad" ]; then
            echo "ok equality/$name, $kernels"
        else
            echo "not ok equality/$name, $kernels: differs with blocks of$bad"
            failed=1
        fi
    done
}

# model NAME FILE
model()
{
    compare "$1, likeliest" "$2" --temp 0
    compare "$1, drawn" "$2" --temp 0.8 --seed 7
}

tables=$("$ruvm" --version | sed -n 's/^kernels: //p')
case " $tables " in
*" scalar "*) ;;
*)
    echo "not ok equality: $ruvm names no kernels"
    exit 1
    ;;
esac
model demo demo
if [ -n "${RUVM_SHARED_MODELS:-}" ]; then
    "$ruvm" quantize "$RUVM_SHARED_MODELS/stories260K.bin" --no-quality \
        --tokenizer "$RUVM_SHARED_MODELS/tok512.bin" -o "$work/stories260K.ruvm" \
        > "$work/log" 2>&1 || cat "$work/log"
    model stories260K "$work/stories260K.ruvm"
else
    echo "skip equality/stories260K: RUVM_SHARED_MODELS is not set"
fi
exit $failed
