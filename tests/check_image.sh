#!/bin/bash
# The image format in four voices: the C code, man page ruvm-image(5), the golden file and
# a decoder in Python that was written from the page alone (`make check`).
#
# tests/check_image.sh [--update]: with --update the hex dumps in the page are made
# again from the golden file. RUVM is the executable to test.
set -u
cd "$(dirname "$0")/.." || exit 1
ruvm=${RUVM:-build/release/ruvm}
page=man/ruvm-image.5
golden=tests/golden/golden.ruvm
packed=tests/golden/packed.ruvm
failed=0
suite=image
. tests/support/page.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# ---- the page's hex dumps ------------------------------------------------------------

check_dump "$golden" 40 "${1:-}"
cp "$golden" "$work/other.ruvm"
printf '\x19' | dd of="$work/other.ruvm" bs=1 seek=4 conv=notrunc status=none
missed="another file has the same dump"
cmp -s "$page" <(redump "$work/other.ruvm") || missed=
verdict dump-sees-another-file "$missed"

# ---- inspect and the decoder -----------------------------------------------------------

# compare NAME FILE: every field that both have.
compare() { verdict "$1" "$(python3 tests/compare_ruvm.py "$ruvm" "$2" 2>&1)"; }

if [ ! -x "$ruvm" ]; then
    echo "skip image/decoder: $ruvm is missing"
    exit $failed
fi
compare decoder-golden "$golden"
compare decoder-packed "$packed"
for network in tests/golden/networks/*.ruvm; do
    compare "decoder-$(basename "$network" .ruvm)" "$network"
done
if [ -e lib/demo.ruvm ]; then
    compare decoder-demo lib/demo.ruvm
else
    echo "skip image/decoder-demo: lib/demo.ruvm is missing"
fi
models=${RUVM_SHARED_MODELS:-}
if [ -n "$models" ] && [ -e "$models/stories260K.bin" ]; then
    "$ruvm" quantize "$models/stories260K.bin" --tokenizer "$models/tok512.bin" --no-quality \
        --quiet -o "$work/stories.ruvm"
    compare decoder-stories260K "$work/stories.ruvm"
else
    echo "skip image/decoder-stories260K: no models (RUVM_SHARED_MODELS)"
fi
printf 'RUVM\x02\0\x04\0\x03\0\x01\x02\x40\0' > "$work/bare.ruvm"
head -c 134 /dev/zero >> "$work/bare.ruvm"
compare decoder-bare-layout "$work/bare.ruvm"
verdict damage-is-seen-by-both \
    "$(python3 tests/compare_ruvm.py --damage 500 "$ruvm" "$golden" 2>&1)"
verdict damage-of-packed-weights-is-seen-by-both \
    "$(python3 tests/compare_ruvm.py --damage 500 "$ruvm" "$packed" 2>&1)"
for network in gpt_neo gpt_neox mistral; do
    verdict "damage-of-$network-is-seen-by-both" \
        "$(python3 tests/compare_ruvm.py --damage 200 "$ruvm" "tests/golden/networks/$network.ruvm" 2>&1)"
done

# ---- the comparison sees what it is for ---------------------------------------------------

printf '#!/bin/sh\n"%s" "$@" | sed "s/\\"vocab\\":	24/\\"vocab\\":	25/"\n' "$(realpath "$ruvm")" \
    > "$work/liar"
chmod +x "$work/liar"
missed="a wrong vocab was not seen"
python3 tests/compare_ruvm.py "$work/liar" "$golden" | grep -q '^.vocab: 24, inspect says 25' &&
    missed=
verdict comparison-sees-a-wrong-field "$missed"
printf '#!/bin/sh\nexit 0\n' > "$work/liar"
missed="a reader that takes everything was not seen"
python3 tests/compare_ruvm.py --damage 20 "$work/liar" "$golden" > /dev/null || missed=
verdict comparison-sees-missing-checks "$missed"
exit $failed
