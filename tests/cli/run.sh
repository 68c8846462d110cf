#!/bin/bash
# Command lines and what they must print: runs tests/cli/*.cases.
#
#   tests/cli/run.sh                all cases; a line "ok|not ok|skip NAME" for each
#   tests/cli/run.sh run golden     only the files run.cases and golden.cases
#   tests/cli/run.sh --set-exact    writes what was printed into the cases that failed
#
# RUVM names the executable; the default is the release build. Each file of cases has
# a fresh folder with the files that fixtures() makes.
set -u
here=$(cd "$(dirname "$0")" && pwd)
RUVM=$(realpath "${RUVM:-$here/../../build/release/ruvm}")
[ -x "$RUVM" ] || { echo "not ok cli: no executable $RUVM"; exit 1; }
PATH=$(dirname "$RUVM"):$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

set_exact=
files=()
for word in "$@"; do
    case $word in
    --set-exact) set_exact=--set-exact ;;
    *) files+=("$here/$word.cases") ;;
    esac
done
[ "${#files[@]}" -gt 0 ] || files=("$here"/*.cases)

# Sound and damaged files, in the current folder.
fixtures()
{
    python3 "$here/make_model.py" . &&
        ruvm quantize tiny.bin -o tiny.ruvm --tokenizer tok.bin --no-quality -q &&
        ruvm quantize tiny.bin -o mute.ruvm --no-quality -q || return
    python3 "$here/make_hub.py" tiny.bin hub && python3 "$here/make_hub.py" tiny.bin shards 2 || return
    python3 "$here/make_mlp.py" . || return
    cp "$here/../decode_ruvm.py" "$here/damage.py" "$here/check_plot.py" "$here/make_large.py" \
        "$here/make_elf.py" "$here/make_direct.py" "$here/check_flash.py" "$here/loader_pty.py" .
    cp "$here/../golden/golden.rag" . || return
    printf '<!DOCTYPE html>\n<html><body>Not found</body></html>\n' > page.html
    printf 'PK\003\004\024\000\000\000\010\000 and more bytes of an archive' > archive.zip
    printf 'GGUF\003\000\000\000\001\000\000\000\000\000\000\000\002\000\000\000\000\000\000\000' > model.gguf
    : > empty
    mkdir folder
    head -c 3000 tiny.ruvm > short.ruvm
    head -c 3000 tiny.bin > short.bin
    head -c 1000 tok.bin > short-tok.bin
    printf 'Once upon a time there was the end.\n' > text.txt
}

failed=0
for file in "${files[@]}"; do
    name=$(basename "$file" .cases)
    mkdir "$work/$name"
    cd "$work/$name" || exit 1
    if ! fixtures > ../fixtures.log 2>&1; then
        echo "not ok cli/$name: its files cannot be made"
        sed 's/^/  /' ../fixtures.log
        failed=1
        continue
    fi
    python3 "$here/run.py" $set_exact "$file" || failed=1
done
exit "$failed"
