#!/bin/bash
# Installs into a temporary folder, builds a program against it, uninstalls (`make check-install`).
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# verdict NAME PROBLEM: the case passes when there is none.
verdict()
{
    if [ -z "$2" ]; then
        echo "ok install/$1"
    else
        echo "not ok install/$1"
        printf '%s\n' "$2" | sed 's/^/  /'
        failed=1
    fi
}
quiet_make()
{
    make --no-print-directory CC=gcc V=release "$@" > "$work/make.log" 2>&1 || cat "$work/make.log"
}

# ---- DESTDIR and PREFIX -----------------------------------------------------------

quiet_make install DESTDIR="$work/a stage" PREFIX=/usr
{
    echo usr/bin/ruvm
    echo usr/lib/libruvm.a
    echo usr/lib/pkgconfig/ruvm.pc
    printf 'usr/include/ruvm/%s\n' ruvm.h ruvm_tool.h base/status.h
    for header in lib/tool/*.h; do echo "usr/include/ruvm/${header#lib/}"; done
    for page in man/*.[157]; do echo "usr/share/man/man${page##*.}/${page#man/}"; done
    echo usr/share/bash-completion/completions/ruvm
    echo usr/share/zsh/site-functions/_ruvm
    echo usr/share/fish/vendor_completions.d/ruvm.fish
    for elf in build/firmware/*/app.elf build/firmware/*/boot.elf build/firmware/*/knowledge.elf \
        build/firmware/*/direct.elf; do
        [ ! -e "$elf" ] || echo "usr/share/ruvm/${elf#build/}"
    done
} | sort > "$work/wanted"
(cd "$work/a stage" && find . -type f | sed 's|^\./||' | sort) > "$work/found"
verdict files "$(diff "$work/wanted" "$work/found")"
verdict executable "$("$work/a stage/usr/bin/ruvm" --version 2>&1 > "$work/version" || echo "status $?")"
verdict version "$(grep -qF "$(sed -n 's/^Version: //p' "$work/a stage/usr/lib/pkgconfig/ruvm.pc")" \
    "$work/version" || cat "$work/version")"
verdict prefix "$(grep -qx 'prefix=/usr' "$work/a stage/usr/lib/pkgconfig/ruvm.pc" ||
    cat "$work/a stage/usr/lib/pkgconfig/ruvm.pc")"

quiet_make uninstall DESTDIR="$work/a stage" PREFIX=/usr
verdict uninstall-leaves-no-file "$(cd "$work/a stage" && find . -type f -o -name 'ruvm*')"

# ---- a program of somebody else ------------------------------------------------------

quiet_make install PREFIX="$work/usr"
cat > "$work/program.c" << 'END'
#include <ruvm/ruvm_tool.h>
#include <stdio.h>
int main(void)
{
    struct ruvm_file file;
    struct ruvm_model_info info;
    struct ruvm_error err = {0};
    if (ruvm_file_open(&file, NULL, &err) || ruvm_model_info(&info, file.data, file.size))
        return puts(err.text), 1;
    return printf("vocab %u\n", info.vocab) < 0;
}
END
export PKG_CONFIG_PATH=$work/usr/lib/pkgconfig
for compiler in gcc clang; do
    command -v $compiler > /dev/null || continue
    # shellcheck disable=SC2046
    problem=$($compiler -std=c11 -Wall -Wextra -Werror -o "$work/program" "$work/program.c" \
        $(pkg-config --cflags --libs --static ruvm) 2>&1 && "$work/program" 2>&1 |
        grep -vx 'vocab [1-9][0-9]*')
    [ -x "$work/program" ] || problem="${problem:-no program}"
    verdict "program-$compiler" "$problem"
    rm -f "$work/program"
done
exit $failed
