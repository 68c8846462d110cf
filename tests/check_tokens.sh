#!/bin/bash
# The tokenizers of the chip against slow ones in Python, on files of every container.
set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! command -v python3 > /dev/null; then
    echo "skip tokens: python3 is missing"
    exit 0
fi
if ! "$CC" -std=c11 -O2 -I. -Wall -Wextra -Werror -o "$work/tokens" tests/tokens/tokens_main.c \
    tests/support/tokn.c build/release/libruvm.a -lcjson -lm; then
    echo "not ok tokens/compiles"
    exit 1
fi
failed=0
found=$(python3 tests/unicode.py --check 2>&1)
case $? in
0) echo "ok tokens/unicode-table" ;;
77) echo "skip tokens/unicode-table: $found" ;;
*)
    echo "not ok tokens/unicode-table"
    echo "  $found"
    failed=1
    ;;
esac
python3 tests/tokens/conformance.py "$work/tokens" || failed=1
exit $failed
