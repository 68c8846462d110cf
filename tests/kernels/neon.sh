#!/bin/bash
# The kernels for AArch64, cross-compiled and run by qemu: every table against the
# scalar one, and the scalar one against the same program on this machine.
set -u
cd "$(dirname "$0")/../.." || exit 1
CROSS=${CROSS:-aarch64-linux-gnu-gcc}
flags=(-std=c11 -O3 -I. -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Wdouble-promotion -Wvla -Wundef -Wpointer-arith -Wcast-qual -Werror)
have=(-DRUVM_HAVE_NEON=1 -DRUVM_HAVE_NEONDOT=1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run=()
if [ "$(uname -m)" = aarch64 ]; then
    CROSS=${CC:-gcc}
elif command -v qemu-aarch64 > /dev/null; then
    run=(qemu-aarch64)
else
    echo "skip neon: qemu-aarch64 is missing"
    exit 0
fi
if ! command -v "$CROSS" > /dev/null; then
    echo "skip neon: $CROSS is missing"
    exit 0
fi

# cross FILE FLAG...
cross() { "$CROSS" "${flags[@]}" "${@:2}" -c -o "$work/$(basename "$1" .c).o" "$1"; }

if cross kernels/scalar.c && cross kernels/scalar_codes.c && cross formats/ruvm_codes.c &&
    cross kernels/neon.c && cross kernels/neondot.c -march=armv8.2-a+dotprod &&
    cross kernels/select.c "${have[@]}" && cross kernels/panels.c &&
    cross kernels/vectors_scalar.c &&
    cross kernels/vectors_neon.c && cross kernels/vectors_select.c "${have[@]}" &&
    cross tests/kernels/neon_main.c && "$CROSS" -static -o "$work/neon" "$work"/*.o; then
    echo "ok neon/compiles"
else
    echo "not ok neon/compiles"
    exit 1
fi
status=0
"${run[@]}" "$work/neon" > "$work/log" || status=1
grep -v '^hash ' "$work/log"
if ! hash=$(grep '^hash ' "$work/log"); then
    echo "not ok neon/runs to its end"
    exit 1
fi

[ "${#run[@]}" -gt 0 ] || exit $status # this machine is the one it would be compared with
if ! command -v "${CC:-gcc}" > /dev/null; then
    echo "skip neon/same integers here: ${CC:-gcc} is missing"
elif ! "${CC:-gcc}" "${flags[@]}" -o "$work/here" tests/kernels/neon_main.c kernels/scalar.c \
    kernels/scalar_codes.c kernels/select.c kernels/panels.c formats/ruvm_codes.c \
    kernels/vectors_scalar.c kernels/vectors_select.c; then
    echo "not ok neon/compiles here"
    status=1
elif "$work/here" | grep -qxF "$hash"; then
    echo "ok neon/the same integers here"
else
    echo "not ok neon/the same integers here: $hash there"
    status=1
fi
exit $status
