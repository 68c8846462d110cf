#!/bin/bash
# Bytes of the chip side by function, for rv32imc at -Os when its compiler is here: `make code`.
#
# "data" are constant tables; "stack" is a function's own frame, without callees.
set -eu
cd "$(dirname "$0")/.."
CORE=${CORE:-$(make -s core-list)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiler=(gcc -mgeneral-regs-only)
if command -v riscv64-unknown-elf-gcc > /dev/null; then
    compiler=(riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32)
fi
for file in $CORE; do
    object=$work/$(echo "${file%.c}" | tr / .).o
    "${compiler[@]}" -std=c11 -I. -Os -ffreestanding -fno-pic -fstack-usage -c -o "$object" "$file"
    nm -S "$object" | awk -v file="$file" 'NF == 4 { print file, $4, $3, $2 }'
done > "$work/symbols"
cat "$work"/*.su > "$work/stack"
echo "${compiler[*]} -Os"
printf '%7s %7s %7s  %s\n' text data stack function
awk '
    function hex(s,    i, x) {
        for (i = 1; i <= length(s); i++)
            x = 16 * x + index("0123456789abcdef", substr(s, i, 1)) - 1
        return x
    }
    FILENAME == ARGV[1] { n = split($1, place, ":"); stack[place[1] place[n]] = stack[place[n]] = $2; next }
    {
        text = data = 0
        if ($3 ~ /[tT]/) text = hex($4); else data = hex($4)
        sum_text += text; sum_data += data
        frame = ($1 $2) in stack ? stack[$1 $2] : stack[$2] # of a header: by name alone
        if (frame + 0 > deepest) deepest = frame + 0
        printf "%7d %7d %7s  %s (%s)\n", text, data, frame, $2, $1
    }
    END { printf "%7d %7d %7d  all; the deepest frame\n", sum_text, sum_data, deepest }
' "$work/stack" "$work/symbols" | sort -k1,1nr -k2,2nr
