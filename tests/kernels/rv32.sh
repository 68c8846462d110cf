#!/bin/bash
# The kernels for RV32 against the scalar ones. They are plain C, so that this machine can
# run them, with an eye on what C leaves undefined; tests/device runs them where they belong.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if "${CC:-gcc}" -std=c11 -O2 -I. -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
    -Wmissing-prototypes -Wdouble-promotion -Wvla -Wundef -Wpointer-arith -Wcast-qual -Werror \
    -DRUVM_HAVE_RV32=1 -fsanitize=address,undefined -fno-sanitize-recover=all \
    -o "$work/rv32" tests/kernels/neon_main.c kernels/scalar.c kernels/scalar_codes.c \
    kernels/rv32.c kernels/select.c kernels/panels.c kernels/vectors_scalar.c \
    kernels/vectors_select.c formats/ruvm_codes.c; then
    echo "ok rv32/compiles"
else
    echo "not ok rv32/compiles"
    exit 1
fi
if ! "$work/rv32" > "$work/log" || ! grep -q '^ok .*rv32' "$work/log"; then
    echo "not ok rv32/runs to its end"
    tail -n 20 "$work/log"
    exit 1
fi
grep -v '^hash ' "$work/log"
