#!/bin/bash
# The component for ESP-IDF: its CMake file names what runs on a chip, and all of it exists.
#
# CMake runs the file with stand-ins for ESP-IDF's functions; without CMake it is skipped, as
# ESP-IDF itself is not here. CORE is the Makefile's list. Prints one line a case. Run from the
# root.
set -u
cd "$(dirname "$0")/../.." || exit 1
if ! command -v cmake > /dev/null; then
    echo 'skip idf/sources: cmake is missing'
    exit 0
fi
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
# same NAME RISCV SOURCES: the file names exactly these.
same()
{
    local wrong
    wrong=$(diff <(tr -s ' \t' '\n' <<< "$3" | grep . | sort) \
        <(cmake -DROOT="$PWD" -DCONFIG_IDF_TARGET_ARCH_RISCV="$2" -P "$stage/run.cmake" 2>&1 | sort))
    if [ -z "$wrong" ]; then
        echo "ok idf/$1"
    else
        echo "not ok idf/$1"
        head -n 20 <<< "$wrong" | sed 's/^/  /'
        return 1
    fi
}
same sources '' "$core" && same sources-of-riscv 1 "$core kernels/rv32.c"
