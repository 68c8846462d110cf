#!/bin/bash
# Runs every command of the README, as a stranger would, in a folder of its own.
#
# Fenced `sh` blocks are run line by line (a quoted argument may span lines).
# `make` lines are only checked for targets that exist: this script is part of
# one of them. Prints ok / not ok / skip lines. Run from the root.
set -u
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/build"
ln -s "$root/build/release" "$work/build/release"
ln -s "$root/tests" "$work/tests"
failed=0

say()
{
    [ "$1" = "not ok" ] && failed=1
    echo "$1 readme: $2"
}

# Commands of the sh blocks, one a record, NUL-terminated.
commands()
{
    awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' README.md | python3 -c '
import sys
record = ""
for line in sys.stdin:
    record += line
    if record.count("\"") % 2 == 0 and not record.rstrip().endswith("\\"):
        if record.strip():
            sys.stdout.write(record.strip() + "\0")
        record = ""'
}

have_models=no
if [ -n "${RUVM_SHARED_MODELS:-}" ]; then
    have_models=yes
    cp "$RUVM_SHARED_MODELS/stories260K.bin" "$RUVM_SHARED_MODELS/tok512.bin" "$work/"
fi

n=0
while IFS= read -r -d '' command; do
    n=$((n + 1))
    name=$(head -n 1 <<< "$command")
    case $command in
    make*)
        # shellcheck disable=SC2046
        if make -n $(sed 's/#.*//; s/^make//' <<< "$command") > /dev/null 2>&1; then
            say ok "$name (targets exist)"
        else
            say "not ok" "$name"
        fi
        ;;
    *stories260K* | *tok512*)
        if [ $have_models = no ]; then
            say skip "$name: RUVM_SHARED_MODELS is not set"
        elif (cd "$work" && bash -c "$command") > "$work/log" 2>&1 < /dev/null; then
            say ok "$name"
        else
            say "not ok" "$name"
            sed 's/^/# /' "$work/log"
        fi
        ;;
    *)
        if (cd "$work" && bash -c "$command") > "$work/log" 2>&1 < /dev/null; then
            say ok "$name"
        else
            say "not ok" "$name"
            sed 's/^/# /' "$work/log"
        fi
        ;;
    esac
done < <(commands)
[ $n -ge 8 ] || say "not ok" "only $n commands found"
exit $failed
