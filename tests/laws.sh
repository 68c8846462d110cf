#!/bin/bash
# The laws of the house: tests/laws.sh build/release/libruvm.a (`make check-laws`).
#
# A law is a function that prints what breaks it, one line each, looking at the
# tree in the current folder. It is run twice: on this tree, where it must be
# silent, and on a folder with one offending file, where it must speak. Output
# is "ok|not ok|skip NAME". CORE lists the files that run on a chip (Makefile).
# shellcheck disable=SC2317 # laws are called by their names
set -u
cd "$(dirname "$0")/.." || exit 1
archive=$(realpath "$1")
CORE=${CORE:-$(make -s core-list)}
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# law NAME FUNCTION FILE TEXT: holds here; a FILE with that TEXT is caught.
law()
{
    local name=$1 function=$2 file=$3 text=$4 found
    found=$($function)
    rm -rf "$work/bad"
    mkdir -p "$work/bad/$(dirname "$file")"
    printf '%b\n' "$text" > "$work/bad/$file"
    if [ -n "$found" ]; then
        echo "not ok laws/$name"
        printf '%s\n' "$found" | head -n 40 | sed 's/^/  /'
        failed=1
    elif [ -z "$(cd "$work/bad" && $function)" ]; then
        echo "not ok laws/$name"
        echo "  the law does not see: $text"
        failed=1
    else
        echo "ok laws/$name"
    fi
}

# law_if TOOL NAME...: a law that needs a tool.
law_if()
{
    if command -v "$1" > /dev/null; then law "${@:2}"; else echo "skip laws/$2: $1 is missing"; fi
}

# All text of the tree but what is built; arguments go to grep.
grep_tree()
{
    grep -rInE --exclude-dir=build --exclude-dir=.git "$@" . | sed 's|^\./||'
}

# ---- who may include whom ------------------------------------------------------

# includes QUOTED SYSTEM FILE...: include lines that match neither pattern.
includes()
{
    local quoted=$1 system=$2
    shift 2
    grep -HnE '^[[:space:]]*#[[:space:]]*include' /dev/null "$@" 2> /dev/null |
        grep -vE "#[[:space:]]*include[[:space:]]+(\"($quoted)\"|<($system)>)"
}

any='[a-zA-Z0-9_/.]+'
freestanding='stdint.h|stddef.h|stdbool.h'
chip_base='lib/base/(bytes|status|crc32)\.h'

includes_cli() { includes "lib/ruvm\.h|lib/ruvm_tool\.h|cli/$any" "$any" cli/*.[ch]; }
includes_public()
{
    includes 'base/status\.h|(\.\./)?ruvm\.h|tool/[a-z_]+\.h|common\.h|session\.h' "$freestanding" \
        lib/ruvm.h lib/ruvm_tool.h lib/tool/*.h
}
includes_base() { includes "lib/base/$any" "$any" lib/base/*.[ch]; }
includes_formats() { includes "formats/$any|lib/base/$any" "$any" formats/*.[ch]; }
includes_kernels()
{
    includes "kernels/$any" 'stdint.h|stddef.h|stdbool.h|immintrin.h|arm_neon.h' kernels/*.[ch]
}
includes_chip()
{
    local read='formats/[a-z0-9]+_(read|layout|codes)\.h' parts='core|vector|memory|gate|federation'
    includes "$read|kernels/(kernels|exact|vectors)\.h|$chip_base|lib/($parts)/$any|lib/ruvm\.h" \
        "$freestanding" lib/core/*.[ch] lib/vector/*.[ch] lib/memory/*.[ch] lib/gate/*.[ch] \
        lib/federation/*.[ch]
}
includes_chip_readers()
{
    local files
    read -ra files < <(echo "$CORE" | tr ' ' '\n' | grep '^formats/' | tr '\n' ' ')
    includes "formats/[a-z0-9]+_(read|layout|codes)\.h|$chip_base" "$freestanding" "${files[@]}"
}
includes_device()
{
    local read='formats/(pack|rag)_read\.h|lib/vector/ask\.h'
    includes "lib/ruvm\.h|lib/base/(bytes|crc32)\.h|$read|lib/device/[a-z0-9_/.]+" "$freestanding" \
        lib/device/*.[ch] &&
        return
    includes 'kernels/(kernels|variants)\.h|lib/device/[a-z0-9_/.]+' "$freestanding" \
        lib/device/*/*.[chS]
}
includes_workstation()
{
    local files
    read -ra files < <(find lib -name '*.[ch]' ! -path 'lib/ruvm*.h' ! -path 'lib/tool/*' ! -path 'lib/base/*' \
        ! -path 'lib/device/*' | tr '\n' ' ')
    includes "(lib|formats|kernels)/$any" "$any" "${files[@]}"
}

law includes-cli includes_cli cli/a.c '#include "lib/core/engine.h"'
law includes-public includes_public lib/ruvm.h '#include "formats/gguf.h"'
law includes-base includes_base lib/base/a.c '#include "formats/tensors.h"'
law includes-formats includes_formats formats/a.c '#include "lib/import/model.h"'
law includes-kernels includes_kernels kernels/a.c '#include <string.h>'
law includes-chip includes_chip lib/core/a.c '#include "lib/base/arena.h"'
law includes-chip-readers includes_chip_readers formats/ruvm_read.c '#include <stdlib.h>'
law includes-device includes_device lib/device/a.c '#include "lib/core/engine.h"'
law includes-workstation includes_workstation lib/convert/a.c '#include "cli/cli.h"'

# ---- what runs on a chip ---------------------------------------------------------

core_list()
{
    diff <(printf '%s\n' lib/core/*.c lib/vector/*.c lib/memory/*.c | grep -v '\*' | sort) \
        <(echo "$CORE" | tr -s ' \t' '\n' | grep -E '^lib/(core|vector|memory)/' | sort)
}
# The core's own text and that of its headers, without comments.
core_floats()
{
    local file
    for file in $CORE lib/core/*.h lib/vector/*.h lib/memory/*.h lib/ruvm.h kernels/exact.h kernels/kernels.h \
        kernels/vectors.h lib/base/bytes.h formats/ruvm_read.h formats/ruvm_layout.h \
        formats/rag_read.h formats/rag_layout.h formats/ragcheck_read.h; do
        [ -e "$file" ] || continue
        gcc -fpreprocessed -dD -E -P "$file" 2>&1 | grep -wnE 'float|double|_Float[0-9]+' |
            sed "s|^|$file: |"
    done
}

law core-list core_list lib/core/forgotten.c ''
law_if gcc core-floats core_floats lib/core/engine.h 'int f(int x) { return (int)(double)x; }'

# ---- names --------------------------------------------------------------------------

typedefs()
{
    grep -rnE --include='*.[ch]' '^[[:space:]]*typedef' cli lib formats kernels 2> /dev/null
}

# For the laws on symbols the offending tree is one C file, and its archive is made here.
archive_here()
{
    local source
    source=$(find . -maxdepth 1 -name '*.c')
    if [ -n "$source" ]; then
        gcc -c -o a.o "$source" && ar rc a.a a.o && echo a.a
    else
        echo "$archive"
    fi
}
symbols_prefix()
{
    nm -gA --defined-only "$(archive_here)" 2> /dev/null | awk '$3 !~ /^ruvm_/ { print $1, $3 }'
}
# A symbol that no header declares should be static.
symbols_declared()
{
    local symbol
    nm -g --defined-only "$(archive_here)" 2> /dev/null | awk 'NF == 3 { print $3 }' | sort -u |
        while read -r symbol; do
            grep -rqwF --include='*.h' "$symbol" . || echo "$symbol is in no header"
        done
}
# The library never prints, never exits.
symbols_silent()
{
    nm -uA "$(archive_here)" 2> /dev/null |
        grep -wE 'v?printf|puts|putchar|putc|fputs|perror|stdout|stderr|stdin|_?exit|abort|system'
}

law typedefs typedefs cli/a.h 'typedef int number;'
law_if gcc symbols-prefix symbols_prefix a.c 'int helper; int ruvm_a_open(void) { return 0; }'
law_if gcc symbols-declared symbols_declared a.c 'int ruvm_a_open(void) { return 0; }'
law_if gcc symbols-silent symbols_silent a.c '#include <stdio.h>\nint f(int x) { return puts("") + x; }'

# ---- the tree ---------------------------------------------------------------------

# The words are spelled so that this file does not break its own laws.
unfinished() { grep_tree -w 'TO''DO|FIX''ME|XX''X|HA''CK|[A-Z]+_BLO''CK'; }
machine_paths() { grep_tree '(^|[^a-zA-Z0-9_.$}*])/(wor''k|hom''e|roo''t)/'; }
top_level()
{
    # what a reader of the README made here is not the tree's
    find . -mindepth 1 -maxdepth 1 ! -name '.*' ! -name build ! -name '*.bin' ! -name '*.ruvm' \
        ! -name '*.rpak' ! -name '*.rag' ! -name '*.svg' ! -name manual.md |
        grep -vxE '\./(Makefile|cli|lib|formats|kernels|tests|man|completions|README\.md|LICENSE)'
}
trailing_space() { grep_tree --include='*.[chS15]' --include='*.sh' --include='*.py' \
    --include='*.md' --include=Makefile '[[:space:]]+$'; }

law unfinished unfinished lib/a.c '/* TO''DO: more */'
law machine-paths machine_paths README.md 'see /wor''k/main'
law top-level top_level src/a.c ''
law trailing-space trailing_space lib/a.c 'int x; '

# ---- tools ---------------------------------------------------------------------------

c_files() { find cli lib formats kernels tests -name '*.[ch]' 2> /dev/null; }
format()
{
    [ -e .clang-format ] || cp "$OLDPWD/.clang-format" . 2> /dev/null
    c_files | xargs -r clang-format --dry-run -Werror 2>&1 | grep -E ':[0-9]+:[0-9]+: '
}
manual()
{
    local page
    for page in man/*.[157]; do
        [ -e "$page" ] && mandoc -Tlint -Wwarning "$page"
    done
}
scripts()
{
    { find tests -name '*.sh'; ls completions/*.bash .ci/run; } 2> /dev/null |
        xargs -r shellcheck -f gcc
}

law_if clang-format format format lib/a.c 'int  x ;'
law_if mandoc manual manual man/a.1 '.Sh NAME'
law_if shellcheck scripts scripts tests/a.sh '#!/bin/bash\ncd nowhere'
exit $failed
