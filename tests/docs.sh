#!/bin/bash
# The documentation says what the option tables say.
#
#   tests/docs.sh              checks; a line "ok|not ok|skip NAME" for each case
#   tests/docs.sh --set-exact  writes completions/ again
#
# --help is printed from the tables, so it stands for them here: each option of it must
# be in the manual page and in the three completions, and none may be elsewhere only. What
# run and bench print as JSON has no keys that their pages do not name.
# RUVM names the executable; the default is the release build.
set -u
cd "$(dirname "$0")/.." || exit 1
RUVM=$(realpath "${RUVM:-build/release/ruvm}")
PATH=$(dirname "$RUVM"):$PATH
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ok() { echo "ok docs/$1"; }
skip() { echo "skip docs/$1: $2"; }
# not_ok NAME WHY...: WHY is shown line by line.
not_ok()
{
    echo "not ok docs/$1"
    shift
    printf '%s\n' "$@" | sed 's/^/  /'
    failed=1
}
# same NAME FILE FILE: the case passes when the files are equal.
same()
{
    if diff -u "$2" "$3" > "$work/diff"; then ok "$1"; else not_ok "$1" "$(cat "$work/diff")"; fi
}
have() { command -v "$1" > /dev/null; }

committed=(completions/ruvm.bash completions/_ruvm completions/ruvm.fish)
shells=(bash zsh fish)
if [ "${1-}" = --set-exact ]; then
    for i in 0 1 2; do
        "$RUVM" --completion "${shells[i]}" > "${committed[i]}" || exit 1
    done
    exit 0
fi

read -ra verbs < <("$RUVM" --help |
    sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\)  *.*/\1/p' | tr '\n' ' ')

# help_of VERB, "" for ruvm itself; man_of VERB.
help_of() { if [ -n "$1" ]; then "$RUVM" "$1" --help; else "$RUVM" --help; fi; }
man_of() { echo "man/ruvm${1:+-$1}.1"; }

# Each lists a verb's options as sorted lines "-p" or "--prompt".
options_of_help()
{
    help_of "$1" | sed -n '/^Options:/,/^$/p' | grep -oE '^ {2,6}(-[a-zA-Z], )?--[a-z0-9-]+' |
        grep -oE -- '--?[a-zA-Z0-9-]+' | sort
}
# shellcheck disable=SC2317
options_of_man()
{
    sed -n '/^\.Sh OPTIONS/,/^\.Sh [^O]/p' "$(man_of "$1")" | grep '^\.It Fl' |
        grep -oE 'Fl -?[a-zA-Z0-9-]+' | sed 's/^Fl /-/' | sort
}
# shellcheck disable=SC2317
options_of_bash()
{
    if [ -n "$1" ]; then
        sed -n "s/^ *'$1 -'\*) words='\(.*\)' ;;$/\1/p" completions/ruvm.bash
    else
        sed -n "s/^ *' '\*) words='\(.*\)' ;;$/\1/p" completions/ruvm.bash
    fi | tr ' ' '\n' | grep '^-' | sort
}
# shellcheck disable=SC2317
options_of_zsh()
{
    sed -n "/^_ruvm${1:+_$1}()/,/^}/p" completions/_ruvm | grep -E "^ +'[*]?('\{)?-" |
        sed 's/\[.*//' | grep -oE -- '--?[a-zA-Z0-9-]+' | sort
}
# shellcheck disable=SC2317
options_of_fish()
{
    local condition="__fish_seen_subcommand_from $1'"
    [ -n "$1" ] || condition="__fish_use_subcommand'"
    grep -F -- "-n '$condition" completions/ruvm.fish | sed "s/ -d '.*//" |
        grep -oE -- ' -[sl] [a-zA-Z0-9-]+' | sed 's/ -s /-/; s/ -l /--/' | sort
}

# ---- each verb: tables = man page = completions -------------------------------

for verb in "" "${verbs[@]}"; do
    name=${verb:-ruvm}
    options_of_help "$verb" > "$work/help"
    if [ ! -s "$work/help" ]; then
        not_ok "$name-help" "no options in the help"
        continue
    fi
    for place in man bash zsh fish; do
        "options_of_$place" "$verb" > "$work/other" 2>&1
        same "$name-options-$place" "$work/help" "$work/other"
    done
done

# The words after "usage: " and below SYNOPSIS, in one line; ruvm(1) has a line a form.
usage_of_help()
{
    help_of "$1" | sed -n '1,/^$/p' | tr -s '\n ' ' ' | sed 's/^usage: //; s/ *$/\n/'
}
usage_of_man()
{
    mandoc -Tascii -O width=500 "$(man_of "$1")" | col -bx | sed -n '/^SYNOPSIS/,/^$/p' |
        sed '1d; /^$/d; s/^ *//' | sed '2,$s/^ruvm /| /' | tr -s '\n ' ' ' | sed 's/ *$/\n/'
}
if have mandoc; then
    for verb in "" "${verbs[@]}"; do
        usage_of_help "$verb" > "$work/help"
        usage_of_man "$verb" > "$work/man"
        same "${verb:-ruvm}-synopsis" "$work/help" "$work/man"
    done
else
    skip synopsis "mandoc is missing"
fi

# Lists "--option default" for each default in the help.
defaults_of_help()
{
    help_of "$1" | sed -n '/^Options:/,/^$/p' |
        awk '/^ +(-[a-zA-Z], )?--/ { match($0, /--[a-z0-9-]+/); name = substr($0, RSTART, RLENGTH) }
             /\[[^]]+\]$/ { sub(/.*\[/, ""); sub(/\]$/, ""); print name, $0 }'
}
# The text of an option in the manual page.
entry_of_man()
{
    sed -n "/^\.It Fl.* Fl -$2\b\|^\.It Fl -$2\b/,/^\.It Fl\|^\.El/p" "$(man_of "$1")" |
        sed '$d'
}
for verb in "${verbs[@]}"; do
    wrong=
    while read -r option default; do
        entry_of_man "$verb" "${option#--}" | grep -qwF -- "$default" ||
            wrong="$wrong $option [$default];"
    done < <(defaults_of_help "$verb")
    if [ -z "$wrong" ]; then ok "$verb-defaults"; else
        not_ok "$verb-defaults" "not in the manual page:$wrong"; fi
done

# Every page has the sections that people look for, and every exit code of the tables.
for verb in "" "${verbs[@]}"; do
    missing=
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS EXAMPLES 'EXIT STATUS' FILES 'SEE ALSO'; do
        grep -q "^\.Sh $section" "$(man_of "$verb")" || missing="$missing $section;"
    done
    for code in 0 1 2 130; do
        grep -qx "\.It $code" "$(man_of "$verb")" || missing="$missing exit $code;"
    done
    if [ -z "$missing" ]; then ok "${verb:-ruvm}-sections"; else
        not_ok "${verb:-ruvm}-sections" "missing:$missing"; fi
done
# No page of a verb that does not exist.
for page in man/ruvm-*.1; do
    verb=${page#man/ruvm-}
    case " ${verbs[*]} " in
    *" ${verb%.1} "*) ;;
    *) not_ok "stray-$page" "there is no such verb" ;;
    esac
done

# ---- completions ----------------------------------------------------------------

for i in 0 1 2; do
    "$RUVM" --completion "${shells[i]}" > "$work/generated"
    same "completion-${shells[i]}-committed" "$work/generated" "${committed[i]}"
done

# bash_completes WORD... prints what bash offers for the last word.
bash_completes()
{
    # shellcheck disable=SC2016
    bash --norc -c 'source completions/ruvm.bash || exit 1
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _ruvm; printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | tr '\n' ' '
}
# expect NAME WANTED GOT
expect()
{
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2" "got: $3"; fi
}
expect bash-verb 'quantize ' "$(bash_completes ruvm q)"
expect bash-option '--temp ' "$(bash_completes ruvm run --te)"
expect bash-choice 'table ' "$(bash_completes ruvm bench -o t)"
expect bash-choice-long 'json ' "$(bash_completes ruvm bench --output j)"
expect bash-equals 'plain ' "$(bash_completes ruvm bench --progress = pl)"
expect bash-help 'inspect ' "$(bash_completes ruvm help i)"
expect bash-shell 'fish ' "$(bash_completes ruvm --completion f)"
expect bash-type 'int8 int4 int3 int2 ' "$(bash_completes ruvm quantize --type int)"
expect bash-type-of-the-head 'ternary ' "$(bash_completes ruvm quantize --head-type = t)"
expect bash-method 'gptq ' "$(bash_completes ruvm quantize --method g)"
expect bash-kernels 'scalar ' "$(bash_completes ruvm run --kernels s)"
expect bash-file ' ' "$(bash_completes ruvm run -f READ)"

if have fish; then
    # fish_completes LINE prints the candidates without their descriptions.
    fish_completes()
    {
        fish --no-config -c "source completions/ruvm.fish; complete -C '$1'" | cut -f1 |
            sort | tr '\n' ' '
    }
    expect fish-verb 'quantize ' "$(fish_completes 'ruvm q')"
    expect fish-option '--temp ' "$(fish_completes 'ruvm run --te')"
    expect fish-choice 'csv json md table ' "$(fish_completes 'ruvm bench -o ')"
    expect fish-help 'inspect ' "$(fish_completes 'ruvm help in')"
    expect fish-type 'binary ' "$(fish_completes 'ruvm quantize -t b')"
    expect fish-kernels 'scalar ' "$(fish_completes 'ruvm run --kernels sc')"
else
    skip fish "fish is missing"
fi

if have zsh; then
    if zsh -n completions/_ruvm 2> "$work/zsh"; then ok zsh-syntax; else
        not_ok zsh-syntax "$(cat "$work/zsh")"; fi
    # zsh has no way to ask but a terminal: one is made, and the line is read back.
    cat > "$work/zsh_completes" << 'EOF'
zmodload zsh/zpty
zpty z env TERM=dumb zsh -f -i
until_text() { local text='' part; repeat 100; do
    zpty -r -t z part && text+=$part; [[ $text == *$1* ]] && return; sleep 0.05; done }
zpty -w z "PS1= PS2=; fpath=($PWD/completions \$fpath); autoload -U compinit; compinit -u -D; echo REA''DY"
until_text READY
zpty -w -n z "$1"$'\t'
sleep "$2"
zpty -w z " END''MARK"
local line='' part
repeat 60; do zpty -r -t z part && line+=$part; [[ $line == *ENDMARK* ]] && break; sleep 0.05; done
print -r -- $line
EOF
    # Nothing tells when it has completed: a busy machine gets more time.
    for pause in 1 4 16; do
        got=$(timeout 60 zsh -f "$work/zsh_completes" 'ruvm quant' "$pause" 2> /dev/null | tr -d '\r')
        case $got in '' | *'ruvm quantize '*) break ;; esac
    done
    case $got in
    *'ruvm quantize '*) ok zsh-verb ;;
    '') skip zsh-verb "this machine has no pseudo-terminals" ;;
    *) not_ok zsh-verb "got: $got" ;;
    esac
else
    skip zsh "zsh is missing"
fi

# ---- README: its commands use options that exist ----------------------------------

# Prints "VERB OPTION" for each option in a command of a fenced block.
readme_options()
{
    awk '/^```/ { inside = !inside; next } inside' README.md |
        sed -nE 's/^(build\/[a-z]+\/)?ruvm //p' |
        sed -E "s/ #.*//; s/\"[^\"]*\"?//g; s/'[^']*'?//g" |
        while read -r verb words; do
            for word in $words; do
                case $word in
                -?*) echo "$verb ${word%%=*}" ;;
                esac
            done
            case $verb in -*) ;; *) echo "$verb" ;; esac
        done | sort -u
}
# ---- the keys of JSON -------------------------------------------------------------------

# keys VERB PART ARGUMENT...: whether the page has all keys of what is printed.
keys()
{
    local verb=$1 part=$2
    shift 2
    "$RUVM" "$verb" --json "$@" < /dev/null > "$work/json" 2> "$work/said"
    python3 - "$work/json" "man/ruvm-$verb.1" man/ruvm.1 > "$work/missing" 2>&1 << 'END'
import json
import re
import sys


def keys(x):
    if isinstance(x, dict):
        yield from x
    for y in x.values() if isinstance(x, dict) else x if isinstance(x, list) else ():
        yield from keys(y)


words = set()
for page in sys.argv[2:]:
    words.update(re.findall("[a-z0-9_]+", open(page).read()))
for key in sorted(set(keys(json.load(open(sys.argv[1]))))):
    # what the page says of all spreads
    if key not in words and re.sub("_(min|max|q1|q3|n)$", "", key) not in words:
        print("is in no page: " + key)
END
    if [ -s "$work/missing" ]; then
        not_ok "keys-$verb-$part" "$(cat "$work/missing" "$work/said")"
    else
        ok "keys-$verb-$part"
    fi
}
if have python3; then
    brief=(-r 1 -p 4 -n 4 --progress none)
    printf 'Once upon a time there was a dog.\n%.0s' {1..20} > "$work/text"
    printf '{"prompt": "Once", "answer": " upon"}\n' > "$work/questions"
    "$RUVM" bench "${brief[@]}" --json > "$work/old"
    keys run text -p Once -n 3
    keys run draft --draft ngram --prompt-cache "$work/cache" --mask window:9 -n 3
    keys run tokenize --tokenize -p Once
    keys run verify --verify
    keys bench speed "${brief[@]}" --profile --compare "$work/old" --fail-if -99%
    keys bench kernels --no-speed --kernel-rates -r 1 --progress none
    keys bench sweep "${brief[@]}" --sweep ctx=8,1000
    keys bench text "${brief[@]}" --eval "$work/text" --questions "$work/questions"
    keys bench quality "${brief[@]}" --quality tests/demo/demo.bin --eval-tokens 300
else
    skip keys "python3 is missing"
fi

# ---- the examples ------------------------------------------------------------------------

if [ -f README.md ]; then
    wrong=
    n=0
    while read -r verb option; do
        n=$((n + 1))
        case " ${verbs[*]} help " in
        *" $verb "*) ;;
        *)
            wrong="$wrong $verb;"
            continue
            ;;
        esac
        [ -z "$option" ] || [ "$verb" = help ] ||
            options_of_help "$verb" | grep -qxe "$option" || wrong="$wrong $verb $option;"
    done < <(readme_options)
    if [ "$n" = 0 ]; then skip readme "no command of ruvm in README.md"
    elif [ -z "$wrong" ]; then ok readme
    else not_ok readme "unknown:$wrong"; fi
else
    skip readme "README.md is not there"
fi

exit "$failed"
