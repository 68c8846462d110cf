#!/bin/bash
# What tests/bench_peers.sh says of folders and programs that are not what they should be.
#
#     tests/check_peers.sh      a line "ok|not ok NAME" for each case
#
# The programs in the folder are made here: one that says its speed, and others that crash or
# say something else. RUVM names our own; the default is the release build.
set -u
here=$(cd "$(dirname "$0")" && pwd)
RUVM=$(realpath "${RUVM:-$here/../build/release/ruvm}")
export RUVM MODELS=own ROUNDS=9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# peers STATUS ARGUMENT...: runs the script, from this folder; what it says is in `said`.
peers()
{
    local wanted=$1 status=0
    shift
    bash "$here/bench_peers.sh" "$@" > said 2>&1 || status=$?
    [ "$status" -eq "$wanted" ] && return
    echo "  status $status, not $wanted" >> said
    return 1
}

# check NAME TEXT...: whether the last call went well and said all texts.
check()
{
    local fine=$? name=$1 text
    shift
    for text in "$@"; do
        grep -qF -- "$text" said || { echo "  missing: $text" >> said; fine=1; }
    done
    [ $fine -eq 0 ] && echo "ok peers/$name" && return
    echo "not ok peers/$name"
    sed 's/^/  /' said
    failed=1
}

# fake NAME LINE...: a program of these lines.
fake()
{
    printf '#!/bin/sh\n' > "folder/$1"
    printf '%s\n' "${@:2}" >> "folder/$1"
    chmod +x "folder/$1"
}

mkdir folder
peers 2
check no-folder 'run                        llama2.c' 'bench-peers: give a folder'
peers 2 nowhere
check wrong-folder 'bench-peers: nowhere: is no folder'
peers 2 "$here/check_peers.sh"
check file 'check_peers.sh: is no folder'
peers 2 folder
check empty-folder 'bench-peers: folder: has none of run, runq and llama-bench'
fake run 'echo achieved tok/s: 100 >&2'
MODELS='own 17M' peers 2 folder
check unknown-model 'MODELS: there is no model 17M'
ROUNDS=many peers 2 folder
check rounds 'ROUNDS: many is no whole number'
RUVM=$work/folder peers 2 folder
check no-program-of-ours 'folder: is no program'
peers 0 folder
check no-model 'left out: model own (not found: model.bin tokenizer.bin)'

python3 "$here/bench_peers_model.py" folder/model.bin folder/tokenizer.bin \
    36 60 1 2 300 256 1 || exit 1
cp folder/model.bin folder/model_q80.bin
fake runq 'echo achieved tok/s: 0'
fake llama-bench 'echo no such model >&2' 'exit 3'
KEEP=keep peers 1 folder
check others-go-on 'left out: runq said no speed: it ended well; last it said: achieved tok/s: 0' \
    'left out: llama-F32 said no speed: it ended with status 3: no such model' \
    'run          100 [100 .. 100]' 'ruvm-int8: decode reads'

# the model is there already, and one of the programs ends in the middle
rm folder/llama-bench
# shellcheck disable=SC2016 # what the program is to expand
fake runq 'cd "$(dirname "$0")" || exit' 'echo x >> count' \
    '[ "$(wc -l < count)" -lt 4 ] || kill -SEGV $$' 'echo achieved tok/s: 1.5'
KEEP=keep MINUTES=0.01 peers 2 folder
check minutes 'MINUTES: 0.01 is no whole number'
fake run 'echo achieved tok/s: 1.2.3'
KEEP=keep peers 1 folder
check some-rounds 'runq: said its speed in 2 of 9 rounds only' 'left out: run said no speed' \
    'runq         1.5 [1.5 .. 1.5]'
exit $failed
