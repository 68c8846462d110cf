#!/bin/sh
# The freestanding core on other machines: the same ids, logits and sizes as here.
#
# Builds core_main.c three times: for this host with its library's kernels, for
# rv32imc without a C library (the ESP32-C3's instruction set; with the scalar kernels and
# with its own), and for AArch64
# with NEON; runs the last two under qemu-user and compares what they print.
# Also compares the host's own `ruvm run --ids`. RUVM names the host's program, OUT a
# folder to build in. Prints one line a case:
# ok NAME, not ok NAME, or skip NAME: why. Run from the root.
set -u

out=${OUT:-build/device}
ruvm=${RUVM:-build/release/ruvm}
mkdir -p "$out"
core=${CORE:-$(make -s core-list)}
failed=0

say() { # say STATUS NAME
    [ "$1" = "not ok" ] && failed=1
    echo "$1 $2"
}

build_rv32() {
    for program in core search mlp; do
        # shellcheck disable=SC2086
        riscv64-unknown-elf-gcc -std=c11 -Os -march=rv32imc -mabi=ilp32 -ffreestanding -nostdlib \
            -static -Wall -Wextra -Werror -I. -o "$out/${program}_rv32" \
            tests/device/${program}_main.c tests/device/port_rv32.c \
            kernels/rv32.c $core -lgcc || return 1
    done
}

build_aarch64() {
    cc="aarch64-linux-gnu-gcc -std=c11 -O2 -static -Wall -Wextra -Werror -I."
    # shellcheck disable=SC2086
    $cc -DRUVM_HAVE_NEON=1 -DRUVM_HAVE_NEONDOT=1 -c -o "$out/select.o" kernels/select.c &&
        $cc -DRUVM_HAVE_NEON=1 -c -o "$out/vectors_select.o" kernels/vectors_select.c &&
        $cc -c -o "$out/vectors_neon.o" kernels/vectors_neon.c &&
        $cc -march=armv8.2-a+dotprod -c -o "$out/neondot.o" kernels/neondot.c &&
        $cc -c -o "$out/neon.o" kernels/neon.c || return 1
    for program in core search mlp; do
        # shellcheck disable=SC2086
        $cc -o "$out/${program}_aarch64" tests/device/${program}_main.c tests/device/port_libc.c \
            $core "$out/select.o" "$out/neon.o" "$out/neondot.o" "$out/vectors_select.o" \
            "$out/vectors_neon.o" || return 1
    done
}

# The vector engine: this host's library, with each of its kernels, says what all should.
build_host() {
    ${CC:-gcc} -std=c11 -O2 -Wall -Wextra -Werror -I. -o "$out/search_host" \
        tests/device/search_main.c tests/device/port_libc.c "$(dirname "$ruvm")/libruvm.a" &&
        ${CC:-gcc} -std=c11 -O2 -Wall -Wextra -Werror -I. -o "$out/mlp_host" \
            tests/device/mlp_main.c tests/device/port_libc.c "$(dirname "$ruvm")/libruvm.a"
}

# A classifier: logits and probabilities of inputs of every size.
compare_mlp() { # compare_mlp IMAGE
    want=$("$out/mlp_host" "$1" scalar)
    for machine in $machines; do
        case $machine in
        rv32) got=$(qemu-riscv32 "$out/mlp_rv32" "$1" scalar) ;;
        rv32own) got=$(qemu-riscv32 "$out/mlp_rv32" "$1" rv32) ;;
        *) got=$(qemu-aarch64 -cpu max "$out/mlp_aarch64" "$1" "$machine") ;;
        esac
        if [ -n "$want" ] && [ "$got" = "$want" ]; then
            say ok "classifier on $machine equals scalar here: $(basename "$1")"
        else
            say "not ok" "classifier on $machine equals scalar here: $(basename "$1")"
            echo "# here: $want, $machine: $got"
        fi
    done
}

compare_search() { # compare_search BLOB
    want=$("$out/search_host" "$1" scalar)
    for machine in avx2 avx512vnni $machines; do
        case $machine in
        rv32) got=$(qemu-riscv32 "$out/search_rv32" "$1" scalar) ;;
        neon) got=$(qemu-aarch64 "$out/search_aarch64" "$1" neon) ;;
        neondot) continue ;;
        *) got=$("$out/search_host" "$1" "$machine") ||
            { say skip "vector search with $machine: not on this machine"; continue; } ;;
        esac
        if [ "$(echo "$want" | grep -c '^metric ')" = 7 ] && [ "$got" = "$want" ]; then
            say ok "vector search of $machine equals scalar here: $(basename "$1")"
        else
            say "not ok" "vector search of $machine equals scalar here: $(basename "$1")"
            echo "# here: $want"
            echo "# $machine: $got"
        fi
    done
}

host_ids() { # host_ids IMAGE N TEMPERATURE SEED
    "$ruvm" run "$1" -p "$prompt" -n "$2" --temp "$3" --top-p 1 --seed "$4" --ignore-end \
        --ids --quiet | tr '\n' ' ' | sed 's/ *$//'
}

# compare NAME IMAGE N PROMPT: greedy and sampled, two block sizes, every machine that was built
compare() {
    name=$1 image=$2 n=$3 prompt=$4
    for setting in "0 0 1 8" "52429 0.8 7 8" "52429 0.8 7 3"; do
        # shellcheck disable=SC2086
        set -- $setting
        want=$(host_ids "$image" "$n" "$2" "$3")
        for machine in $machines; do
            case $machine in
            rv32) run="qemu-riscv32 $out/core_rv32 $image scalar" ;;
            rv32own) run="qemu-riscv32 $out/core_rv32 $image rv32" ;;
            neon) run="qemu-aarch64 -cpu max $out/core_aarch64 $image neon" ;;
            neondot) run="qemu-aarch64 -cpu max $out/core_aarch64 $image neondot" ;;
            esac
            got=$($run "$prompt" "$n" "$1" "$3" "$4")
            label="$machine equals host: $name, temperature $2, seed $3, block $4"
            if [ -n "$want" ] && [ "$(echo "$got" | head -n 1)" = "$want" ]; then
                say ok "$label"
            else
                say "not ok" "$label"
                echo "# host $want"
                echo "# $machine $got"
            fi
            crc=$(echo "$got" | sed -n 's/^crc \([0-9a-f]*\).*/\1/p')
            eval "crc_$machine=\$crc"
        done
        first=""
        for machine in $machines; do
            eval "crc=\$crc_$machine"
            if [ -z "$first" ]; then first=$crc; fi
            [ "$crc" = "$first" ] || say "not ok" "logits of $machine: $crc, others $first"
        done
    done
}

machines=""
if command -v riscv64-unknown-elf-gcc >/dev/null && command -v qemu-riscv32 >/dev/null; then
    if build_rv32; then say ok "core builds for rv32imc"; machines="rv32 rv32own"
    else say "not ok" "core builds for rv32imc"; fi
else
    say skip "rv32: needs riscv64-unknown-elf-gcc and qemu-riscv32 (make deps-test)"
fi
if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then
    if build_aarch64; then say ok "core builds for AArch64"; machines="$machines neon neondot"
    else say "not ok" "core builds for AArch64"; fi
else
    say skip "neon: needs aarch64-linux-gnu-gcc and qemu-aarch64 (make deps-test)"
fi

if build_host; then
    compare_search tests/golden/search.rag
    for image in tests/fuzz/corpus/mlp/*.ruvm; do
        compare_mlp "$image"
    done
else say "not ok" "vector search and classifiers build here"; fi
compare "demo model" lib/demo.ruvm 200 "Once upon a time"
compare "packed weights of each type" tests/golden/packed.ruvm 28 "hello world"
for network in tests/golden/networks/*.ruvm; do
    compare "$(basename "$network" .ruvm)" "$network" 28 "hello world"
done
if [ -n "${RUVM_SHARED_MODELS:-}" ]; then
    "$ruvm" quantize "$RUVM_SHARED_MODELS/stories260K.bin" --tokenizer \
        "$RUVM_SHARED_MODELS/tok512.bin" -o "$out/stories260K.ruvm" --no-quality --quiet
    compare stories260K "$out/stories260K.ruvm" 200 "Once upon a time"
else
    say skip "stories260K: RUVM_SHARED_MODELS is not set"
fi
exit $failed
