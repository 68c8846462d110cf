#!/bin/bash
# The chip side for four machines: freestanding, integers only (`make check-core`).
#
# For each compiler that is here, every file of CORE is compiled with warnings as
# errors, the objects are linked, and the result is looked at: which symbols it
# asks for (tests/core_symbols.txt lists what it may), whether it holds variables
# that vary, whether a function's stack is not a constant, whether functions call
# each other in a circle. One case a machine and question.
set -u
cd "$(dirname "$0")/.." || exit 1
CORE=${CORE:-$(make -s core-list)}
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings=(-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wdouble-promotion -Wvla -Wundef -Wpointer-arith -Wcast-qual -Werror)

# verdict NAME OFFENDERS: the case passes when there are none.
verdict()
{
    if [ -z "$2" ]; then
        echo "ok core/$1"
    else
        echo "not ok core/$1"
        printf '%s\n' "$2" | head -n 40 | sed 's/^/  /'
        failed=1
    fi
}

# compile FOLDER COMPILER FLAG...: objects, core.o of all; prints the messages.
compile()
{
    local folder=$1 file object objects=()
    shift
    mkdir -p "$folder"
    for file in $CORE; do
        object=$folder/$(basename "$file" .c).o
        "$@" -std=c11 -I. -O2 -ffreestanding -fno-pic "${warnings[@]}" -c -o "$object" "$file" 2>&1
        objects+=("$object")
    done
    "$1" "${@:2}" -nostdlib -no-pie -r -o "$folder/core.o" "${objects[@]}" 2>&1 |
        grep -v 'unused.*no-pie'
}

# unknown_symbols CORE.O, variables CORE.O, circles FOLDER: print what breaks a law.
unknown_symbols()
{
    nm -u "$1" | awk '{ print $2 }' | grep -vxFf <(grep -v '^#' tests/core_symbols.txt)
}
variables() { nm "$1" | awk '$2 ~ /^[dDbBcCsSgG]$/ { print $2, $3 }'; }
circles()
{
    sed -n 's/^edge: { sourcename: "\([^"]*\)" targetname: "\([^"]*\)".*/\1 \2/p' "$1"/*.ci \
        > "$work/calls"
    awk '$1 == $2 { print $1, "calls itself" }' "$work/calls"
    { tsort "$work/calls" > /dev/null; } 2>&1
}

# machine NAME COMPILER FLAG...
machine()
{
    local name=$1 folder=$work/$1 problems
    shift
    if ! command -v "$1" > /dev/null; then
        echo "skip core/$name: $1 is missing"
        return
    fi
    problems=$(compile "$folder" "$@")
    verdict "$name-compiles" "$problems"
    [ -e "$folder/core.o" ] || return
    verdict "$name-symbols" "$(unknown_symbols "$folder/core.o")"
    verdict "$name-no-variables" "$(variables "$folder/core.o")"
}

general=
case $(uname -m) in x86_64 | aarch64) general=-mgeneral-regs-only ;; esac
machine gcc gcc $general
machine clang clang $general
machine aarch64 aarch64-linux-gnu-gcc -mgeneral-regs-only
machine rv32 riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 -fstack-usage \
    -fcallgraph-info=su
if [ -d "$work/rv32" ]; then
    verdict rv32-stack-is-constant "$(grep -h 'dynamic' "$work"/rv32/*.su)"
    verdict rv32-no-recursion "$(circles "$work/rv32")"
fi

# The laws above see what they are for.
cat > "$work/bad.c" << 'END'
static int calls;
int ruvm_bad(int n, double x);
int ruvm_bad(int n, double x)
{
    volatile int room[n];
    calls++;
    return n ? ruvm_bad(n - 1, x / 3) + calls + room[0] : (int)(x * 2.5);
}
END
if command -v riscv64-unknown-elf-gcc > /dev/null; then
    mkdir "$work/bad"
    riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 -O0 -fstack-usage -fcallgraph-info=su -c \
        -o "$work/bad/bad.o" "$work/bad.c"
    missed=
    unknown_symbols "$work/bad/bad.o" | grep -q __muldf3 || missed="$missed float symbols;"
    variables "$work/bad/bad.o" | grep -q calls || missed="$missed variables;"
    grep -q dynamic "$work/bad/bad.su" || missed="$missed dynamic stack;"
    [ -n "$(circles "$work/bad")" ] || missed="$missed recursion;"
    verdict laws-see-offenders "$missed"
fi
if [ -n "$general" ]; then
    # shellcheck disable=SC2086
    if gcc $general -c -o "$work/bad.o" "$work/bad.c" 2> /dev/null; then
        verdict floats-do-not-compile "the compiler let a double pass"
    else
        verdict floats-do-not-compile ""
    fi
fi
exit $failed
