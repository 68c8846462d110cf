# shellcheck shell=bash disable=SC2034,SC2154 # its variables belong to who sources it
# For the scripts that hold a format's page against files: how a case ends, and the page's
# hex dumps made again. Sourced; $suite names the cases, $page is the page, $work a folder;
# failed becomes 1.

# verdict NAME PROBLEM: the case passes when there is none.
verdict()
{
    if [ -z "$2" ]; then
        echo "ok $suite/$1"
    else
        echo "not ok $suite/$1"
        printf '%s\n' "$2" | head -n 20 | sed 's/^/  /'
        failed=1
    fi
}

# redump FILE: reads the page and writes it with the bytes that FILE has, as many a line
# as were there.
redump()
{
    local line offset count
    while IFS= read -r line; do
        if [[ $line =~ ^([0-9a-f]{8})\ \ ([0-9a-f ]+)$ ]]; then
            offset=${BASH_REMATCH[1]}
            count=$(wc -w <<< "${BASH_REMATCH[2]}")
            line="$offset  $(od -An -v -tx1 -j $((16#$offset)) -N "$count" "$1" |
                tr -s ' \n' ' ' | sed 's/^ //; s/ $//')"
        fi
        printf '%s\n' "$line"
    done < "$page"
}

# check_dump FILE LEAST [--update]: the page has the bytes of FILE, in LEAST lines at least; or it
# is made so, and that is all.
check_dump()
{
    local lines
    if [ "${3:-}" = --update ]; then
        redump "$1" > "$work/page" && cp "$work/page" "$page"
        exit
    fi
    verdict dump-is-of-the-golden-file "$(diff "$page" <(redump "$1"))"
    lines=$(grep -cE '^[0-9a-f]{8}  ' "$page")
    [ "$lines" -ge "$2" ] && lines=
    verdict dump-is-there "${lines:+only $lines lines of dump in $page}"
}
