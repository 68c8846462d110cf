#!/bin/bash
# The pack in two voices: the C code, and a decoder in Python that was written from man page
# ruvm-pack(5) alone (`make check`). RUVM is the executable to test.
set -u
cd "$(dirname "$0")/.." || exit 1
ruvm=$(realpath "${RUVM:-build/release/ruvm}")
failed=0
suite=pack
. tests/support/page.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

for tool in python3 jq; do
    command -v $tool > /dev/null || { echo "skip pack/decoder: $tool is missing"; exit 0; }
done

# agree NAME FILE: both list the same.
agree()
{
    "$ruvm" pack "$2" --list --json |
        jq -S 'del(.schema, .ruvm_version, .action, .file)' > "$work/ours" 2>&1
    python3 tests/decode_pack.py "$2" 2>&1 | jq -S . > "$work/theirs" 2>&1
    verdict "$1" "$(diff "$work/ours" "$work/theirs"; [ -s "$work/ours" ] || echo 'nothing listed')"
}

printf '{"temperature":0.123456,"max_tokens":7,"name":"\\u00e9 \\"q\\" \\\\ \\n\\u0001","x":-1.5,"on":true}' \
    > "$work/s.json"
cp tests/golden/golden.rag "$work/know.bin"
head -c 4096 /dev/zero | tr '\0' '\377' > "$work/erased.bin"
seq 2000 > "$work/gate.bin"
echo 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60 > "$work/seed"
{
    "$ruvm" pack demo -o "$work/a"
    "$ruvm" pack demo --settings "$work/s.json" --knowledge "$work/know.bin" \
        --gate "$work/gate.bin" --plugin "$work/seed" --replace plg1="$work/seed" \
        --replace own1="$work/erased.bin" -o "$work/b"
    "$ruvm" pack "$work/b" --sign "$work/seed" --remove know -o "$work/c"
    "$ruvm" pack --gate "$work/seed" -o "$work/d"
} > "$work/log" 2>&1
for name in a b c d; do agree "lists-$name" "$work/$name"; done

for pair in 'a b' 'b a' 'b c' 'c d' 'd b' 'a a'; do
    read -r old new <<< "$pair"
    "$ruvm" pack "$work/$new" --against "$work/$old" -o "$work/delta" > "$work/log" 2>&1
    problem=$("$ruvm" pack "$work/$old" --apply "$work/delta" -o "$work/x" 2>&1 > /dev/null
        cmp "$work/x" "$work/$new" 2>&1
        python3 tests/decode_pack.py --apply "$work/delta" "$work/$old" "$work/y" 2>&1
        cmp "$work/y" "$work/$new" 2>&1)
    verdict "delta-$old-$new" "$problem"
done

# Both refuse the same damage: each byte of the header and the table, and some behind.
problem=
python3 - "$work" << 'END'
import sys
folder = sys.argv[1]
data = open(folder + "/c", "rb").read()
places = list(range(0, 32)) + list(range(128, 128 + 64 * 6, 7)) + [600, 5000, len(data) - 1]
for at in places:
    bad = bytearray(data)
    bad[at] ^= 0x10
    open("%s/bad-%d" % (folder, at), "wb").write(bad)
END
for bad in "$work"/bad-*; do
    "$ruvm" pack "$bad" --list > "$work/log" 2>&1 && problem="$problem ours took ${bad##*/};"
    python3 tests/decode_pack.py "$bad" > "$work/log" 2>&1 && problem="$problem theirs took ${bad##*/};"
done
verdict damage "$problem"
exit $failed
