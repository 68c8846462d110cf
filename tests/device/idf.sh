#!/bin/bash
# The component for ESP-IDF: its CMake file names what runs on a chip, and all of it exists; and
# its kernels, as far as this machine can tell.
#
# CMake runs the file with stand-ins for ESP-IDF's functions; without CMake that is skipped, as
# ESP-IDF itself is not here. CORE is the Makefile's list. Prints one line a case. Run from the
# root.
set -u
cd "$(dirname "$0")/../.." || exit 1
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cat > "$stage/run.cmake" << 'END'
function(idf_component_register)
    cmake_parse_arguments(arg "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
    foreach(source ${arg_SRCS})
        if(NOT EXISTS ${source})
            message(FATAL_ERROR "${source} is not there")
        endif()
        file(RELATIVE_PATH name ${ROOT} ${source})
        message("${name}")
    endforeach()
endfunction()
function(target_compile_definitions)
endfunction()
function(target_compile_options)
endfunction()
function(set_source_files_properties)
endfunction()
include(${ROOT}/lib/device/idf/CMakeLists.txt)
END
core=${CORE:-$(make -s core-list)}
# same NAME OPTION SOURCES: the file names exactly these.
same()
{
    local wrong
    wrong=$(diff <(tr -s ' \t' '\n' <<< "$3" | grep . | sort) \
        <(cmake -DROOT="$PWD" "$2" -P "$stage/run.cmake" 2>&1 | sort))
    if [ -z "$wrong" ]; then
        echo "ok idf/$1"
    else
        echo "not ok idf/$1"
        head -n 20 <<< "$wrong" | sed 's/^/  /'
        return 1
    fi
}
failed=0
core="$core lib/device/idf/idf_kernels.c"
if command -v cmake > /dev/null; then
    same sources -DNOTHING=1 "$core" || failed=1
    same sources-of-riscv -DCONFIG_IDF_TARGET_ARCH_RISCV=1 "$core kernels/rv32.c" || failed=1
    same sources-of-the-s3 -DCONFIG_IDF_TARGET_ESP32S3=1 \
        "$core lib/device/idf/rows_esp32s3.S" || failed=1
else
    echo 'skip idf/sources: cmake is missing'
fi

# The kernels, as far as this machine can say anything of them.
# compiles NAME OPTION...
compiles()
{
    local wrong
    wrong=$(cc -std=c11 -I. -O2 -Wall -Wextra -Wmissing-prototypes -Wconversion -Werror "${@:2}" 2>&1)
    if [ -z "$wrong" ]; then
        echo "ok idf/$1"
    else
        echo "not ok idf/$1"
        head -n 20 <<< "$wrong" | sed 's/^/  /'
        failed=1
    fi
}
compiles kernels-scalar -c -o "$stage/k.o" lib/device/idf/idf_kernels.c
compiles kernels-riscv -DCONFIG_IDF_TARGET_ARCH_RISCV=1 -c -o "$stage/k.o" lib/device/idf/idf_kernels.c
compiles kernels-s3 -DCONFIG_IDF_TARGET_ESP32S3=1 -o "$stage/kernels" tests/device/idf_main.c \
    lib/device/idf/idf_kernels.c kernels/scalar.c kernels/scalar_codes.c
if [ -x "$stage/kernels" ] && wrong=$("$stage/kernels") && [ -z "$wrong" ]; then
    echo 'ok idf/kernels-s3-table'
else
    echo 'not ok idf/kernels-s3-table'
    echo "  ${wrong:-it does not run}"
    failed=1
fi
python3 tests/device/pie.py || failed=1
exit $failed
