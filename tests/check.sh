#!/bin/bash
# Everything that tests, stage by stage: `make check`.
#
# A stage is a command with a log in build/check/. Its cases are the lines that
# it prints, and every test script prints one line for each of its cases:
#
#     ok NAME            not ok NAME            skip NAME: why
#
# (Criterion's TAP says "ok - NAME" and is read from a file; a test that had to
# leave something out prints "skipped: why" on standard error.) A stage that
# fails without a "not ok", or ends well without a case, is one case itself. The
# last line is "N passed, N failed, N skipped"; the exit status is 1 on failure.
#
# `tests/check.sh STAGE...` runs only these; a stage may be a pattern: 'criterion-*'.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build/check
mkdir -p "$logs"
# The caller's options (V=, -j, its job server) are not for the builds below.
unset MAKEFLAGS MFLAGS MAKELEVEL
jobs=$(nproc)
passed=0 failed=0 skipped=0
export ASAN_OPTIONS=abort_on_error=1:handle_segv=0:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1
wanted=("$@")

# count FILE PATTERN: lines of the file that match.
count() { grep -cE "$2" "$1" 2> /dev/null || true; }

is_wanted()
{
    local pattern
    [ ${#wanted[@]} -gt 0 ] || return 0
    for pattern in "${wanted[@]}"; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $1 == $pattern ]] && return 0
    done
    return 1
}

# stage NAME COMMAND...: runs and counts it.
stage()
{
    local name=$1 cases=$logs/$1.tap begin=$SECONDS rc=0 ok bad skip left_out
    shift
    is_wanted "$name" || return 0
    local log=$logs/$name.log
    rm -f "$cases"
    STAGE_TAP=$cases timeout 900 "$@" > "$log" 2>&1 < /dev/null || rc=$?
    [ -e "$cases" ] || cases=$log
    skip=$(count "$cases" '^skip |^ok .*# SKIP')
    ok=$(($(count "$cases" '^ok ') - $(count "$cases" '^ok .*# SKIP')))
    bad=$(count "$cases" '^not ok ')
    if [ "$cases" != "$log" ]; then
        left_out=$(count "$log" '^skipped: ')
        [ "$left_out" -le "$ok" ] || left_out=$ok
        skip=$((skip + left_out)) ok=$((ok - left_out))
    fi
    [ "$rc" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    [ $((ok + bad + skip)) -gt 0 ] || ok=1
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    report "$name" "$ok" "$bad" "$skip" $((SECONDS - begin))
    if [ "$bad" -gt 0 ]; then
        echo "---- $name ended with status $rc; all of it is in $log"
        grep -hA 20 '^not ok' "$cases" | grep -v '^ok ' | head -n 80
        grep -q '^not ok' "$log" || grep -vE '^  (CC|AS|AR|LD)\s' "$log" | tail -n 60
        echo "----"
    else
        grep -hE '^skip |^skipped: ' "$log" | sort -u | sed 's/^/        /'
    fi
}

report()
{
    local word=ok
    [ "$3" -eq 0 ] || word=FAILED
    printf '%-7s %-24s %4d passed %3d failed %3d skipped %4d s\n' $word "$@"
}

# criterion VARIANT FOLDER
criterion()
{
    stage "criterion-$2-$1" "build/$1/tests/$2/test" -j"$jobs" --tap="$logs/criterion-$2-$1.tap"
}

# script NAME FILE ARGUMENTS...: a stage when the file is there.
script()
{
    if [ -e "$2" ]; then stage "$1" bash "${@:2}"; fi
}

# What can be built is, so that the rest is tested even when a file does not compile.
build() { stage "build-$1" make --no-print-directory -k -j"$jobs" "${@:2}"; }

folders=()
for folder in tests/*/; do
    if compgen -G "${folder}test_*.c" > /dev/null; then folders+=("$(basename "$folder")"); fi
done

build release V=release CC=gcc all tests
build asan V=asan CC=gcc all tests
build clang V=release CC=clang all tests
for folder in "${folders[@]}"; do
    criterion asan "$folder"
    criterion release "$folder"
done
stage fuzz bash tests/fuzz.sh build/asan
export RUVM=$PWD/build/release/ruvm
script cli tests/cli/run.sh
script docs tests/docs.sh
script laws tests/laws.sh build/release/libruvm.a
script core tests/core.sh
script equality tests/equality.sh
script neon tests/kernels/neon.sh
script kernels-rv32 tests/kernels/rv32.sh
script rv32 tests/device/rv32.sh
script firmware tests/device/firmware.sh
script idf tests/device/idf.sh
script install tests/install.sh
for file in tests/check_*.sh; do
    script "$(basename "${file#tests/check_}" .sh)" "$file"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
