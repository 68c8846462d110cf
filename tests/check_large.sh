#!/bin/bash
# A large model needs little memory, and an interrupted conversion leaves no file.
#
#   tests/check_large.sh      a line "ok|not ok|skip NAME" for each case
#
# The kernel itself holds the limit: RLIMIT_DATA bounds what a process may have of private
# memory, mapped files not counted. A conversion may have its image and 64 MiB. The model is
# made here, 46 MB of bf16: it would take 92 MB as floats. RUVM names the executable; the
# default is the release build.
set -u
here=$(cd "$(dirname "$0")" && pwd)
RUVM=$(realpath "${RUVM:-$here/../build/release/ruvm}")
if ! command -v prlimit > /dev/null; then
    echo "skip large: prlimit is missing"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
python3 "$here/cli/make_unwieldy.py" model 7 || exit 1
few='--calib-tokens 16 --threads 2 --method rtn --no-quality -q'
spare=$((64 << 20))
failed=0

# check NAME WHY: fails when WHY says something.
check()
{
    if [ -z "$2" ]; then
        echo "ok large/$1"
    else
        echo "not ok large/$1"
        printf '  %s\n' "$2"
        failed=1
    fi
}

# bytes_of TYPE: of the image.
bytes_of()
{
    "$RUVM" quantize model --dry-run -t "$1" --json | sed -n 's/.*"image_bytes":[^0-9]*\([0-9]*\).*/\1/p' | head -n 1
}

# The peak is the limit: what asks for more fails.
# shellcheck disable=SC2086 # options are several words
convert()
{
    local type=$1 limit=$2
    rm -f "$type.ruvm"
    prlimit --data="$limit" "$RUVM" quantize model -o "$type.ruvm" -t "$type" $few 2>&1
}

for type in int8 int4:32; do
    bytes=$(bytes_of "$type")
    said=$(convert "$type" $((bytes + spare)))
    [ "$(stat -c %s "$type.ruvm" 2> /dev/null)" = "$bytes" ] || said="no image of $bytes bytes: $said"
    check "$type-in-its-image-and-64-MiB" "$said"
done

# A limit that not even the image fits into is refused in words, and nothing is left.
said=$(convert int8 $((32 << 20)))
why=
grep -q 'memory' <<< "$said" || why="not said: $said"
[ -z "$(ls -- int8.ruvm* 2> /dev/null)" ] || why="a file is left: $(ls)"
check less-is-refused "$why"

# One thread makes the same image as two.
# shellcheck disable=SC2086
"$RUVM" quantize model -o one.ruvm -t int4:32 $few --threads 1
check threads-change-no-byte "$(cmp one.ruvm int4:32.ruvm 2>&1)"

# Sizes are told without the weights: a file whose weights are a hole in it.
mkdir sparse
cp model/config.json sparse/
head -c 65536 model/model.safetensors > sparse/model.safetensors
truncate -s "$(stat -c %s model/model.safetensors)" sparse/model.safetensors
check a-dry-run-reads-no-weights \
    "$(diff <("$RUVM" quantize model --dry-run | tail -n 8) \
            <("$RUVM" quantize sparse --dry-run | tail -n 8))"

# Interrupted in each stage that takes a while: the exit code of the signal, and no file.
interrupt()
{
    local stage=$1 left
    rm -f stopped.ruvm*
    : > said.txt
    "$RUVM" quantize model -o stopped.ruvm --no-quality --calib-tokens 512 --progress plain \
        > /dev/null 2> said.txt &
    local pid=$!
    for ((left = 600; left > 0; left--)); do
        grep -q "^$stage 10 %" said.txt && break
        sleep 0.05
    done
    kill -INT "$pid"
    wait "$pid"
    local code=$?
    [ "$code" = 130 ] || echo "exit code $code while it was at: $(tail -n 1 said.txt)"
    ls -- stopped.ruvm* 2> /dev/null
}
for stage in quantize calibrate; do
    check "interrupted-at-$stage" "$(set -m; interrupt "$stage")" # -m: its jobs hear the signal
done
exit "$failed"
