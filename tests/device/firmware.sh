#!/bin/bash
# The firmware on emulated chips: boots, talks, and says what `ruvm run` says.
#
# Complete flash images run on the ESP32-C3 and the ESP32-C6 of tests/device/esp32c3_main.c,
# whose processor is libunicorn's, and on the ESP32 of tests/device/esp32_main.c, whose processor is ours. That
# this one is right is seen on QEMU's machine "sim", for which the ESP32's objects are linked
# with a port of its own (tests/device/lx106). Costs are counted in instructions, which are
# the same in every run. RUVM names the host's program. Prints one line a case: ok NAME,
# not ok NAME, or skip NAME: why. Run from the root.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
ruvm=${RUVM:-build/release/ruvm}
models=${RUVM_SHARED_MODELS:-}
fw=build/firmware-exit
out=build/device
failed=0
mkdir -p "$out"

# verdict NAME PROBLEM: the case passes when there is none.
verdict()
{
    if [ -z "$2" ]; then
        echo "ok firmware/$1"
    else
        echo "not ok firmware/$1"
        printf '%s\n' "$2" | head -n 20 | sed 's/^/  /'
        failed=1
    fi
}

# expect NAME PATTERN: the last console, $console, has such a line.
expect() { verdict "$1" "$(grep -qE -- "$2" <<< "$console" || echo "no line $2 in: $console")"; }
# at_most NAME NUMBER LIMIT UNIT
at_most()
{
    verdict "$1" "$(awk -v n="$2" -v most="$3" 'BEGIN { exit !(n > 0 && n <= most) }' ||
        echo "$2 $4, at most $3 were wanted")"
    echo "# measured in the emulator: $2 $4 ($1)"
}
# field NAME: the last value of name= in the console.
field() { grep -oE "(^| )$1=[0-9a-z]+" <<< "$console" | tail -n 1 | cut -d= -f2; }

# ---- what can run here --------------------------------------------------------------

have() { command -v "$1" > /dev/null; }
machines=
emulator() { cc -O2 -Wall -Wextra -Werror "$@" tests/device/esp32c3_main.c -lunicorn; }
if ! have riscv64-unknown-elf-gcc; then
    echo 'skip firmware/esp32c3: riscv64-unknown-elf-gcc is missing (make deps-test)'
elif ! emulator -o "$out/esp32c3" 2> "$out/esp32c3.log"; then
    if grep -q 'unicorn.h\|-lunicorn' "$out/esp32c3.log"; then
        echo 'skip firmware/esp32c3: libunicorn-dev is missing (make deps-test)'
    else
        verdict esp32c3-emulator-builds "$(cat "$out/esp32c3.log")"
    fi
else
    machines='esp32c3 esp32c6'
    verdict esp32c6-emulator-builds "$(emulator -DESP32C6 -o "$out/esp32c6" 2>&1)"
fi
if ! have xtensa-lx106-elf-gcc; then
    echo 'skip firmware/esp32: xtensa-lx106-elf-gcc is missing (make deps-test)'
else
    machines="$machines esp32"
    verdict esp32-emulator-builds "$(cc -std=c11 -O2 -Wall -Wextra -Werror -I. -o "$out/esp32" \
        tests/device/esp32_main.c tests/device/xtensa.c 2>&1)"
    if have qemu-system-xtensa; then
        machines="$machines lx106"
    else
        echo 'skip firmware/lx106: qemu-system-xtensa is missing (make deps-test)'
    fi
fi
verdict builds "$(make -s firmware EXIT=1 2>&1 | grep -vE 'is missing|^  (CC|AS|LD)\s')"
verdict builds-without-exit "$(make -s firmware 2>&1 | grep -vE 'is missing|^  (CC|AS|LD)\s')"

build_lx106()
{
    local objects
    mapfile -t objects < <(find $fw/esp32/app -name '*.o' ! -path '*/app/lib/device/esp32/*' \
        ! -name no_query.o)
    xtensa-lx106-elf-gcc -std=c11 -I. -Os -ffreestanding -mlongcalls -mtext-section-literals \
        -DRUVM_DEVICE_EXIT=1 -Wall -Wextra -Werror -nostdlib -static -Wl,--gc-sections \
        -T tests/device/lx106/app.ld -o "$out/lx106.elf" tests/device/lx106/port.c \
        tests/device/lx106/start.S "${objects[@]}" -lgcc 2>&1
}
case $machines in *lx106*) verdict lx106-links "$(build_lx106)" ;; esac

# flash MACHINE MODEL [OPTION]: a flash image of the firmware, of $app, with a model.
app=app
flash()
{
    local chip=$1
    [ "$chip" != lx106 ] || chip=esp32
    python3 tests/device/make_flash.py "$chip" "$fw/$chip/boot.elf" "$fw/$chip/$app.elf" "$2" \
        "$out/$1.bin" "${@:3}"
}
# talk MACHINE COMMANDS [OPTION...]: sets console and status.
talk()
{
    local run=("$out/$1" "$out/$1.bin" --limit 20000 "${@:3}")
    [ "$1" != lx106 ] || run=(qemu-system-xtensa -M sim -cpu lx106 -semihosting -nographic
        -monitor none -kernel "$out/lx106.elf"
        -device "loader,file=$out/lx106.bin,addr=0x60100000,force-raw=on")
    console=$(printf '%b' "$2" | timeout 300 "${run[@]}" 2> "$out/stderr")
    status=$?
}

# ---- the same tokens ------------------------------------------------------------------

host_ids()
{
    "$ruvm" run "$@" --ids --quiet | tr '\n' ' ' | sed 's/ *$//'
}
# tokens MACHINE NAME MODEL N: greedy and sampled, and the same text.
tokens()
{
    local prompt='Once upon a time' wanted
    flash "$1" "$3"
    talk "$1" "generate n=$4 ids=1 \"$prompt\"\ngenerate n=$4 ids=1 temp=0.8 top-p=0.9 seed=7 \
repeat=1.1 \"$prompt\"\ngenerate n=$4 \"$prompt\"\nexit 7\n"
    verdict "$1-verifies-$2" "$(grep -q '^ok verified' <<< "$console" || echo "$console")"
    wanted=$(host_ids "$3" -p "$prompt" -n "$4" --temp 0)
    expect "$1-tokens-$2" "ids $wanted\$"
    wanted=$(host_ids "$3" -p "$prompt" -n "$4" --temp 0.8 --top-p 0.9 --seed 7 \
        --repeat-penalty 1.1)
    expect "$1-sampled-tokens-$2" "ids $wanted\$"
    wanted=$("$ruvm" run "$3" -p "$prompt" -n "$4" --temp 0 --quiet --no-prompt |
        sed -e 's/\\/\\\\/g' -e ':a;N;$!ba;s/\n/\\n/g')
    verdict "$1-text-$2" "$(grep -qF -- "text $wanted" <<< "$console" || echo "not: $wanted")"
    verdict "$1-status-$2" "$([ "$status" = 7 ] || echo "status $status: $(cat "$out/stderr")")"
}
# What two machines and all types of weights share; TYPES are quantized here.
if [ -n "$models" ]; then
    for type in int8 int4 ternary; do
        "$ruvm" quantize "$models/stories260K.bin" --tokenizer "$models/tok512.bin" -t $type \
            -o "$out/$type.ruvm" --no-quality --quiet
    done
fi
for machine in $machines; do
    n=60 types='int8 int4 ternary'
    [ "$machine" != lx106 ] || n=20 types=int8
    tokens "$machine" demo lib/demo.ruvm $n
    if [ -n "$models" ]; then
        for type in $types; do
            tokens "$machine" "stories260K-$type" "$out/$type.ruvm" $n
        done
    else
        echo "skip firmware/$machine-stories260K: RUVM_SHARED_MODELS is not set"
    fi
done

# ---- the console ------------------------------------------------------------------------

# refuses NAME COMMAND MESSAGE: one command, one line that begins "error", and it goes on.
refuses()
{
    talk "$machine" "$2\nstats\nexit 3\n"
    expect "$machine-refuses-$1" "error .*$3"
    verdict "$machine-goes-on-after-$1" "$(grep -q '^> ok chip=' <<< "$console" || echo "$console")"
}
long=$(printf '%600s' '' | tr ' ' x)
for machine in ${machines/lx106/}; do
    flash "$machine" lib/demo.ruvm
    refuses no-command 'sing' 'no such command: say help'
    refuses option 'generate m=3 "x"' 'no such option'
    refuses value 'generate n=3x "x"' 'no number'
    refuses number-too-large 'generate n=4294967296 "x"' 'no number'
    refuses temperature 'generate temp=101 "x"' 'above 100'
    refuses escape 'generate "a\\q"' 'escape'
    refuses context-too-long 'context 65535' 'longer than'
    refuses context-word 'context many' 'number of tokens'
    refuses long-line "generate \"$long\"" 'too long'
    talk "$machine" 'generate n=4 ids=1 "a\\nb\\x41"\nhelp\ncontext 20\n'\
'generate n=3 ids=1 "say \\"hi\\""\ngenerate n=40 ignore-end=1 "a b c"\ncontext\nverify\nexit\n'
    expect "$machine-unescapes" "ids $(host_ids lib/demo.ruvm -p $'a\nbA' -n 4 --temp 0)\$"
    expect "$machine-unescapes-quotes" "ids $(host_ids lib/demo.ruvm -p 'say "hi"' -n 3 --temp 0)\$"
    expect "$machine-help" 'generate \[n=N\]'
    expect "$machine-full-context" 'end=context'
    expect "$machine-context-20" 'ok chip=.* context=20 '
    expect "$machine-verifies-on-demand" '^> ok verified'
    verdict "$machine-exit-0" "$([ "$status" = 0 ] || echo "status $status")"
done

# ---- the rest of a pack ---------------------------------------------------------------

# Settings are what options are not given; the prompt, too.
printf '%s' '{"temperature":0.7,"top_k":12,"seed":5,"max_tokens":9,"context":90,"prompt":"My \"cat\"\n","version":"1"}' \
    > "$out/settings.json"
verdict packs-settings "$("$ruvm" pack demo --settings "$out/settings.json" -o "$out/set.rpak" 2>&1 > /dev/null)"
for machine in ${machines/lx106/}; do
    flash "$machine" "$out/set.rpak"
    talk "$machine" 'generate ids=1\ngenerate ids=1 n=5 temp=0 "Once"\nstats\nexit\n'
    expect "$machine-settings" "ids $(host_ids demo -p $'My "cat"\n' -n 9 --temp 0.7 --top-k 12 --top-p 1 --seed 5)\$"
    expect "$machine-options-before-settings" "ids $(host_ids demo -p Once -n 5 --temp 0 --top-k 12)\$"
    expect "$machine-context-of-settings" 'ok chip=.* context=90 '
done

# Knowledge: the passages, scores and confidences of `ruvm run --rag`.
for i in 1 2 3 4 5 6 7 8 9; do
    printf '{"text":"Room %s: the lamp of shelf %s is switched by the %s button.","id":"r%s"}\n' \
        $i $((i * 7 % 5)) "$(cut -d, -f$i <<< grey,red,blue,green,brown,black,white,pink,amber)" $i
done > "$out/rooms.jsonl"
printf '# Heating\nPress reset for ten seconds to reset the heating.\n' > "$out/manual.md"
rm -f "$out/home.rag"
"$ruvm" rag-add "$out/home.rag" "$out/rooms.jsonl" "$out/manual.md" -q
verdict packs-knowledge "$("$ruvm" pack demo --knowledge "$out/home.rag" -o "$out/know.rpak" 2>&1 > /dev/null)"
# Another one with a table of word vectors: a question finds its passage in other words.
awk 'BEGIN { n = split("lamp,lantern,shelf,rack,button,knob,heating,radiator,reset,restart,red,scarlet", w, ",")
    for (i = 1; i <= n; i++) {
        printf "%s", w[i]
        for (d = 1; d <= 20; d++) printf " %.3f", (d == int((i + 1) / 2)) + (i * d * 7 % 13) / 40
        print ""
    } }' > "$out/words.txt"
rm -f "$out/table.rag"
"$ruvm" rag-add "$out/table.rag" "$out/rooms.jsonl" "$out/manual.md" -q --embed "words:$out/words.txt"
verdict packs-a-table "$("$ruvm" pack demo --knowledge "$out/table.rag" -o "$out/table.rpak" 2>&1 > /dev/null)"
knowledge=$out/home.rag
# passages K QUESTION: what the workstation finds.
passages()
{
    "$ruvm" run --rag "$knowledge" --rag-only --rag-results "$1" -p "$2" --json | python3 -c '
import json, sys
for p in json.load(sys.stdin)["passages"]:
    q16 = [round(p[k] * 65536) for k in ("score", "confidence")]
    source = p["source"].replace("\\", "\\\\")
    print("passage chunk=%d score_q16=%d confidence_q16=%d source=%s" % (p["chunk"], *q16, source))
    print("text " + p["text"].replace("\\", "\\\\").replace("\n", "\\n"))'
}
# asks K QUESTION: the last console has the same.
asks()
{
    diff <(passages "$1" "$2") <(grep -aE '^(> )?(passage|text) ' <<< "$console" | sed 's/^> //')
}
app=knowledge
for machine in ${machines/lx106/}; do
    flash "$machine" "$out/know.rpak"
    talk "$machine" 'query "how do I reset the heating?"\nexit\n'
    verdict "$machine-query" "$(asks 3 'how do I reset the heating?' 2>&1)"
    expect "$machine-query-known" '^ok passages=[0-9] known=1 '
    talk "$machine" 'query k=8 "which lamp has the red button"\nstats\ngenerate n=3 ids=1 "Once"\nexit\n'
    verdict "$machine-query-8" "$(asks 8 'which lamp has the red button' 2>&1)"
    expect "$machine-generates-after-query" "ids $(host_ids demo -p Once -n 3 --temp 0)\$"
    at_most "$machine-query-stack" "$(field stack_used)" "$(($(field stack_bytes) * 9 / 10))" bytes
    refuses query-k 'query k=9 "x"' 'k=1 to 8'
    refuses query-option 'query n=9 "x"' 'k=1 to 8'
    refuses query-escape 'query "\\q"' 'escape'
    flash "$machine" "$out/table.rpak"
    knowledge=$out/table.rag
    talk "$machine" 'query k=8 "restart the radiator"\nquery k=1 "scarlet knob"\nexit\n'
    verdict "$machine-query-in-other-words" "$(diff <(
        passages 8 'restart the radiator'
        passages 1 'scarlet knob'
    ) <(grep -aE '^(> )?(passage|text) ' <<< "$console" | sed 's/^> //') 2>&1)"
    expect "$machine-other-words-are-known" '^ok passages=8 known=1 '
    knowledge=$out/home.rag
    flash "$machine" lib/demo.ruvm
    refuses query-without-knowledge 'query "x"' 'make the pack with --knowledge'
    app=app
    flash "$machine" "$out/know.rpak"
    refuses query-of-the-small-one 'query "x"' 'flash knowledge.elf'
    app=knowledge
done
app=app

# with_bytes OFFSET HEX...: changes the machine's flash.
with_bytes()
{
    # shellcheck disable=SC2059
    printf "$(printf '\\x%s' "${@:2}")" | dd of="$out/$machine.bin" bs=1 seek="$1" conv=notrunc \
        status=none
}

# ---- what `ruvm flash` makes ------------------------------------------------------------

# made NAME PACK [OPTION...]: a flash of the firmware that it chooses, looked at by a program of
# its own, says what `ruvm run` says; $said are the lines about what was chosen.
made()
{
    local image="$out/$machine.bin" wanted
    rm -f "$image"
    said=$(RUVM_FIRMWARE=$fw "$ruvm" flash "$2" -c "$machine" -o "$image" "${@:3}" 2>&1)
    verdict "$machine-flash-$1-is-sound" "$(python3 tests/cli/check_flash.py "$image" \
        "$([ "$machine" = esp32 ] && echo 0x1000 || echo 0)" 2>&1 >/dev/null || echo "$said")"
    talk "$machine" 'generate n=12 ids=1 temp=0 top-k=0 "Once upon a time"\n'\
'query "how do I reset the heating?"\nexit 5\n'
    wanted=$(host_ids demo -p 'Once upon a time' -n 12 --temp 0)
    expect "$machine-flash-$1-tokens" "ids $wanted\$"
    verdict "$machine-flash-$1-status" "$([ "$status" = 5 ] || echo "status $status: $console")"
}
# chose NAME FILE: the last one took it.
chose() { verdict "$machine-flash-chooses-$1" "$(grep -q "^$1: .*/$2" <<< "$said" || echo "$said")"; }
for machine in ${machines/lx106/}; do
    made bare lib/demo.ruvm
    chose firmware app.elf
    chose loader boot.elf
    made knowledge "$out/know.rpak"
    chose firmware 'knowledge.elf, as the pack has knowledge'
    verdict "$machine-flash-knowledge-is-asked" "$(asks 3 'how do I reset the heating?' 2>&1)"
    made slots "$out/set.rpak" --ota
    made large-partition "$out/set.rpak" --flash-size 16M --pack-size 12M
done
if [[ $machines == *esp32c3* ]]; then
    machine=esp32c3
    made direct-boot "$out/know.rpak" --direct-boot
    chose firmware direct.elf
    verdict esp32c3-direct-boot-is-asked "$(asks 3 'how do I reset the heating?' 2>&1)"
    talk esp32c3 'stats\nrestart\nstats\n'
    verdict esp32c3-direct-boot-restarts \
        "$([ "$(grep -c '^ok verified' <<< "$console")" = 2 ] || echo "$console")"
    with_bytes 4 5a
    talk esp32c3 'exit 5\n'
    verdict esp32c3-direct-boot-needs-its-mark "$([ "$status" = 120 ] || echo "$console")"
fi

# ---- flash that is not as it should be ------------------------------------------------

for machine in ${machines/lx106/}; do
    flash "$machine" lib/demo.ruvm
    with_bytes $((0x40000 + 50000)) 5a
    talk "$machine" 'generate "x"\nexit 9\n'
    expect "$machine-damaged-model" 'error the partition holds no sound image: write it again'
    with_bytes $((0x8000 + 32)) 00
    talk "$machine" 'exit 9\n'
    expect "$machine-no-partition" 'error no partition of type data'
    with_bytes $((0x10000 + 5000)) 5a a5
    talk "$machine" 'exit 9\n'
    expect "$machine-damaged-application" 'boot: the application at 0x00010000 is damaged'
    with_bytes $((0x10000 + 12)) 09
    talk "$machine" 'exit 9\n'
    expect "$machine-application-of-another-chip" 'is for another chip'
    verdict "$machine-boot-status" "$([ "$status" = 255 ] || echo "status $status")"

    # Updates: without a record the first slot, and whichever is whole.
    flash "$machine" lib/demo.ruvm --ota
    talk "$machine" 'exit 9\n'
    expect "$machine-first-slot" '^ok verified'
    with_bytes $((0x11000)) 5a a5
    talk "$machine" 'exit 9\n'
    expect "$machine-skips-a-damaged-slot" 'boot: the application at 0x00010000 is damaged'
    expect "$machine-starts-the-other-slot" '^ok verified'
    flash "$machine" lib/demo.ruvm --ota
    with_bytes $((0x9000)) 02 00 00 00
    # CRC-32 of the four bytes before, begun as the chip's ROM begins it
    with_bytes $((0x901c)) 74 37 f6 55
    with_bytes $((0x41000)) 5a a5
    talk "$machine" 'exit 9\n'
    expect "$machine-chosen-slot" 'boot: the application at 0x00040000 is damaged'
    expect "$machine-falls-back" '^ok verified'
done

# An update that is cut off, at every sector: tests/device/boot_main.c.
if [[ $machines == *esp32c3* ]]; then
    machine=esp32c3
    verdict boot-builds "$(cc -std=c11 -O2 -Wall -Wextra -Werror -I. -DRUVM_DEVICE_EXIT=1 \
        -o "$out/boot" tests/device/boot_main.c lib/device/{boot,console,partition,sha256}.c \
        lib/base/crc32.c lib/base/crc32_plain.c 2>&1)"
    flash esp32c3 lib/demo.ruvm --ota
    python3 tests/device/make_flash.py esp32c3 build/firmware/esp32c3/boot.elf \
        build/firmware/esp32c3/app.elf lib/demo.ruvm "$out/new.bin" --ota
    console=$("$out/boot" "$out/esp32c3.bin" "$out/new.bin" 2>&1)
    expect esp32c3-update-survives-cuts '^[0-9]{3,} cuts survived in 4 updates$'
    echo "# $console"
fi

# What is flashed has no way out: the command is not there, and waiting is all it does.
for machine in ${machines/lx106/}; do
    python3 tests/device/make_flash.py "$machine" "build/firmware/$machine/boot.elf" \
        "build/firmware/$machine/app.elf" lib/demo.ruvm "$out/$machine.bin"
    talk "$machine" 'exit 7\nstats\nrestart\nstats\n'
    expect "$machine-product-has-no-exit" 'error there is no such command'
    verdict "$machine-restarts" "$([ "$(grep -c '^ok verified' <<< "$console")" = 2 ] || echo "$console")"
done

# ---- what was said beforehand ----------------------------------------------------------

# The bytes of `inspect --fit` are those of the chip.
app=knowledge
for machine in ${machines/lx106/}; do
    flash "$machine" "$out/know.rpak"
    talk "$machine" 'context 100\nexit\n'
    "$ruvm" inspect "$out/know.rpak" --fit "$machine" --ctx 100 --json > "$out/fit.json"
    verdict "$machine-fit-is-exact" "$(python3 - "$out/fit.json" 3<<< "$console" << 'END'
import json, os, re, sys
chip = json.load(open(sys.argv[1]))["chips"][0]
lines = [l for l in os.fdopen(3) if l.startswith("> ok chip=")]
stats = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", lines[-1])}
pairs = (("engine_bytes", chip["kv_cache_bytes"] + chip["state_bytes"]),
         ("buffer_bytes", chip["buffer_bytes"]), ("index_bytes", chip["index_bytes"]),
         ("static_bytes", chip["static_bytes"]),
         ("stack_bytes", chip["stack_bytes"]), ("free_bytes", chip["memory_left_bytes"]))
for name, said in pairs:
    if stats[name] != said:
        print(f"{name}: {stats[name]} on the chip, {said} were said")
END
)"
done
app=app

# ---- what it costs ------------------------------------------------------------------------

# section ELF NAME...: bytes of these sections.
section()
{
    "$nm-size" -A "$1" | awk -v names=" ${*:2} " 'index(names, " " $1 " ") { n += $2 } END { print n }'
}
# each FUNCTION...: instructions of all of them for each product of the first.
each()
{
    awk -v names=" $* " -v first="$1" '{ sub(/^.*profile/, "") }
        index(names, " " $2 " ") { n += $1; if ($2 == first) p = $4 }
        END { printf "%.2f", p ? n / p : 0 }' "$out/stderr"
}
if [[ $machines == *esp32c3* ]]; then
    nm=riscv64-unknown-elf
    at_most esp32c3-code-and-constants \
        "$(section build/firmware/esp32c3/app.elf .flash_rodata .flash_text .ram_text .data)" 49152 bytes
    at_most esp32c3-code-and-constants-with-search \
        "$(section build/firmware/esp32c3/knowledge.elf .flash_rodata .flash_text .ram_text .data)" \
        65536 bytes
fi
if [[ $machines == *esp32c3* ]] && [ -n "$models" ]; then
    "$nm-nm" -n "$fw"/esp32c3/app.elf > "$out/app.symbols"
    flash esp32c3 "$out/int8.ruvm"
    talk esp32c3 'context 128\ngenerate n=59 ignore-end=1 "Once upon a time"\nstats\nexit\n' \
        --profile "$out/app.symbols"
    at_most esp32c3-instructions-a-token "$(($(field cycles) / 59))" 1500000 instructions
    at_most esp32c3-instructions-a-product-int8 "$(each matmul_s8 rescale)" 4.0 instructions
    ram=$(($(field engine_bytes) + $(field buffer_bytes) + $(field static_bytes) + $(field stack_bytes)))
    at_most esp32c3-ram "$ram" 65536 bytes
    at_most esp32c3-stack "$(field stack_used)" "$(($(field stack_bytes) * 3 / 4))" bytes
    at_most esp32c3-static "$(section $fw/esp32c3/app.elf .ram_text .data .bss)" \
        "$(field static_bytes)" bytes
    flash esp32c3 "$out/int4.ruvm"
    talk esp32c3 'generate n=59 ignore-end=1 "Once upon a time"\nexit\n' --profile "$out/app.symbols"
    at_most esp32c3-instructions-a-token-int4 "$(($(field cycles) / 59))" 1500000 instructions
    at_most esp32c3-instructions-a-product-int4 "$(each matmul_int4 add_columns)" 3.0 instructions
fi
exit $failed
