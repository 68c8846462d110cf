#!/bin/bash
# Replays each fuzz target's corpus, and damaged copies of it: tests/fuzz.sh build/asan
#
# tests/fuzz/corpus/NAME/ belongs to tests/fuzz/fuzz_NAME.c; one case a target.
set -u
cd "$(dirname "$0")/.." || exit 1
programs=$1/tests/fuzz
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for source in tests/fuzz/fuzz_*.c; do
    [ -e "$source" ] || exit 0
    name=$(basename "${source#tests/fuzz/fuzz_}" .c)
    if [ ! -d "tests/fuzz/corpus/$name" ]; then
        echo "not ok fuzz/$name"
        echo "  tests/fuzz/corpus/$name is missing: a target needs inputs to begin with"
        failed=1
    elif "$programs/replay_$name" tests/fuzz/corpus/"$name"/* > "$log" 2>&1; then
        echo "ok fuzz/$name ($(tail -n 1 "$log"))"
    else
        echo "not ok fuzz/$name"
        tail -n 40 "$log" | sed 's/^/  /'
        failed=1
    fi
done
exit $failed
