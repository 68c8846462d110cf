#!/bin/bash
# The format of knowledge blobs in three voices: the golden files that the C code writes, man
# page ruvm-rag(5), and a decoder in Python that was written from the page alone (`make check`).
#
# tests/check_rag.sh [--update]: with --update the hex dumps in the page are made again from
# the golden file.
set -u
cd "$(dirname "$0")/.." || exit 1
page=man/ruvm-rag.5
golden=tests/golden/golden.rag
searched=tests/golden/search.rag
failed=0
suite=rag
. tests/support/page.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

check_dump "$golden" 12 "${1:-}"

# facts FILE EXPRESSION: what the decoder found (in d) that is not as expected.
facts()
{
    python3 tests/decode_rag.py "$1" > "$work/json" 2> "$work/error" || { cat "$work/error"; return; }
    python3 - "$work/json" "$2" << 'END'
import json
import sys
with open(sys.argv[1], encoding="utf-8") as file:
    d = json.load(file)
for fact in sys.argv[2].strip().splitlines():
    if not eval(fact):
        print("not so:", fact.strip())
END
}

# What tests/formats/test_rag.c wrote.
verdict decoder-reads-the-golden-file "$(facts "$golden" '
d["header"]["metric"] == "cosine" and d["header"]["n"] == 3 and d["header"]["dims"] == 8
d["header"]["recall_graph"] == 65000 and d["header"]["query_bytes"] == 144
d["vectors"][1] == [0, 127, 3, -127, 1, 2, 3, 4] and d["deleted"] == [2]
d["graph"]["levels"][0]["links"] == [[1], [0], []] and d["graph"]["levels"][1]["nodes"] == [0]
d["chunks"][0]["text"] == "The pump starts at 5 bar." and d["chunks"][0]["meta"] == "heading=Pump"
d["chunks"][1]["expires"] == 2000000000 and d["chunks"][2]["meta"] is None
d["sources"] == [{"name": "pump.md", "meta": None, "bytes": 52, "crc": 0xCAFE}]
')"
verdict decoder-reads-a-built-graph "$(facts "$searched" '
d["header"]["n"] == 200 and len(d["graph"]["levels"]) >= 2
len(d["graph"]["levels"][0]["links"]) == 200
')"
# Rows are those that BOOK stands for, and the decoder compares SIDE with them.
verdict decoder-reads-product-quantization "$(facts tests/golden/pq.rag '
d["header"]["type"] == "pq" and d["header"]["n"] == 300 and d["header"]["row_bytes"] == 8
len(d["vectors"]) == len(d["side"]) == 300 and d["sections"]["BOOK"] == 2048
all(len(row) == 8 and max(map(abs, row)) > 90 for row in d["vectors"])
')"
missed="a wrong fact was not seen"
[ -n "$(facts "$golden" 'd["header"]["n"] == 4')" ] && missed=
verdict comparison-sees-a-wrong-fact "$missed"

# Every byte of the golden file changed, and every length of it: test_rag.c asks the same of
# the C reader, bit by bit.
verdict damage-is-seen "$(python3 - "$golden" << 'END'
import sys
sys.path.insert(0, "tests")
from decode_rag import Blob, Broken
with open(sys.argv[1], "rb") as file:
    sound = file.read()

def accepts(data):
    try:
        Blob(data).describe()
        return True
    except Broken:
        return False

if not accepts(sound):
    print("the sound file is refused")
for i in range(len(sound)):
    if accepts(sound[:i] + bytes([sound[i] ^ 1 << i % 8]) + sound[i + 1:]) or accepts(sound[:i]):
        print("byte", i)
END
)"

# The sections of text: rag-add writes them, the decoder makes them again from the text.
ruvm=$(realpath "${RUVM:-build/release/ruvm}")
cat > "$work/a.md" << 'END'
# Pump
The pump starts at five bar. Élan Ünïcode café naïve running stopped classes batteries.
END
cat > "$work/b.jsonl" << 'END'
{"text":"Der Ofen hei\u00dft Gr\u00f6\u00dfe. Привет МИР ЁЖ. Ελλάς ΑΒΓ. 日本語の文 ไทย 한국어","id":"x"}
{"text":"a1b2 foo_bar don't x86-64 e\u0301t\u0328 pass pass pass using used bus class"}
END
for type in int8 binary; do
    "$ruvm" rag-add "$work/$type.rag" "$work/a.md" "$work/b.jsonl" man/ruvm-run.1 -q \
        --type $type --dims 64
    verdict "decoder-makes-$type-text-again" "$({ python3 tests/decode_rag.py "$work/$type.rag" > "$work/json" &&
        python3 tests/decode_ragtext.py "$work/$type.rag" > "$work/json"; } 2>&1)"
done
grep -q '"chunks": [1-9].*"terms": [1-9].*"buckets": [1-9]' "$work/json" && missed= || missed=$(cat "$work/json")
verdict decoder-saw-text "$missed"
verdict decoder-sees-a-wrong-posting "$(python3 - "$work/int8.rag" << 'END'
import sys
sys.path.insert(0, "tests")
import decode_ragtext
from decode_rag import Blob, Broken
with open(sys.argv[1], "rb") as file:
    blob = Blob(file.read())
words = bytearray(blob.sections["BM25"])
words[-1] ^= 1
blob.sections["BM25"] = bytes(words)
try:
    texts = decode_ragtext.texts_of(blob)
    decode_ragtext.check_words(blob, texts)
    print("a wrong posting was not seen")
except Broken:
    pass
END
)"
# Tables of words: sums of their rows, exactly.
awk 'BEGIN { srand(1); n = split("pump bar starts five gro\303\237e \320\277\321\200\320\270\320\262\320\265\321\202 a1b2 classes the", w, " ")
    for (i = 1; i <= n; i++) { printf "%s", w[i]; for (d = 0; d < 24; d++) printf " %.3f", rand() - 0.4; print "" } }' > "$work/words.txt"
for type in int8 binary; do
    "$ruvm" rag-add "$work/table-$type.rag" "$work/a.md" "$work/b.jsonl" -q --type $type \
        --embed "words:$work/words.txt"
    verdict "decoder-makes-$type-table-vectors-again" "$({
        python3 tests/decode_rag.py "$work/table-$type.rag" > "$work/json" &&
            python3 tests/decode_ragtext.py "$work/table-$type.rag" > "$work/json"; } 2>&1)"
done
grep -q '"buckets": 9' "$work/json" && missed= || missed=$(cat "$work/json")
verdict decoder-saw-the-table "$missed"
verdict decoder-sees-a-wrong-weight "$(python3 - "$work/table-int8.rag" << 'END'
import sys
sys.path.insert(0, "tests")
import decode_ragtext
from decode_rag import Blob, Broken
with open(sys.argv[1], "rb") as file:
    blob = Blob(file.read())
recipe = bytearray(blob.sections["RCPE"])
recipe[16:] = bytes(255 - w for w in recipe[16:])
blob.sections["RCPE"] = bytes(recipe)
try:
    rows = list(blob.rows(blob.type, blob.sections["VECT"]))
    decode_ragtext.check_vectors(blob, decode_ragtext.texts_of(blob), rows)
    print("wrong weights were not seen")
except Broken:
    pass
END
)"
exit $failed
