#!/usr/bin/env python3
"""Runs one file of cases in the current folder; see run.sh.

A file is a list of cases:

    == name
    # comment
    @ needs a shell command that must succeed, else the case is skipped
    $ command line, run by bash
    > line of standard output
    ! line of standard error
    ? exit code, 0 when missing

In an expected line "*" stands for any characters, and a line "..." for any number
of lines. No expected line at all means that nothing is printed.
"""
import os
import re
import subprocess
import sys

TIMEOUT = 120  # seconds; a case takes milliseconds


class Case:
    def __init__(self, name):
        self.name = name
        self.head = []  # lines as they stand, up to the commands
        self.needs = None
        self.command = []
        self.out = []
        self.err = []
        self.code = 0


def read_cases(path):
    """The text before the first case, and the cases."""
    preface, cases = [], []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            mark, text = line[:1], line[2:]
            if line.startswith("== "):
                cases.append(Case(line[3:]))
            elif not cases:
                preface.append(line)
            elif mark in ("", "#"):
                if line:
                    cases[-1].head.append(line)
            elif mark == "@":
                cases[-1].needs = text
                cases[-1].head.append(line)
            elif mark == "$":
                cases[-1].command.append(text)
            elif mark == ">":
                cases[-1].out.append(text)
            elif mark == "!":
                cases[-1].err.append(text)
            elif mark == "?":
                cases[-1].code = int(text)
            else:
                sys.exit("%s:%d: a line must begin with == # @ $ > ! or ?" % (path, number))
    return preface, cases


def write_cases(path, preface, cases):
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(preface).rstrip() + "\n")
        for c in cases:
            lines = ["", "== " + c.name] + c.head
            lines += ["$ " + x for x in c.command]
            lines += ["> " + x if x else ">" for x in c.out]
            lines += ["! " + x if x else "!" for x in c.err]
            lines += ["? %d" % c.code] if c.code else []
            f.write("\n".join(lines) + "\n")


def line_matches(pattern, line):
    parts = [re.escape(p) for p in pattern.split("*")]
    return re.fullmatch(".*".join(parts), line, re.DOTALL) is not None


def matches(patterns, lines):
    """Whether the lines are the expected ones; "..." takes as many as it likes."""
    if not patterns:
        return not lines
    if patterns[0] == "...":
        return any(matches(patterns[1:], lines[i:]) for i in range(len(lines) + 1))
    return bool(lines) and line_matches(patterns[0], lines[0]) and matches(patterns[1:], lines[1:])


def split(data):
    text = data.decode("utf-8", "backslashreplace")
    return text[:-1].split("\n") if text.endswith("\n") else text.split("\n") if text else []


def shell(command):
    return subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=TIMEOUT, check=False)


def difference(what, expected, found):
    lines = ["  expected %s:" % what] + ["  | " + x for x in expected]
    return lines + ["  found:"] + ["  | " + x for x in found]


def run_case(case):
    """The lines that say what is wrong, none when all is right, and what was printed."""
    result = shell("\n".join(case.command))
    out, err = split(result.stdout), split(result.stderr)
    wrong = []
    if not matches(case.out, out):
        wrong += difference("standard output", case.out, out)
    if not matches(case.err, err):
        wrong += difference("standard error", case.err, err)
    if result.returncode != case.code:
        wrong.append("  expected exit %d, found %d" % (case.code, result.returncode))
    return wrong, out, err, result.returncode


def main():
    set_exact = sys.argv[1] == "--set-exact"
    path = sys.argv[-1]
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["RUVM_FIRMWARE"] = "firmware"  # of the case, not what was built
    suite = "cli/" + os.path.basename(path)[:-len(".cases")]
    preface, cases = read_cases(path)
    failed = 0
    for case in cases:
        if case.needs and shell(case.needs).returncode != 0:
            print("skip %s/%s: needs %s" % (suite, case.name, case.needs))
            continue
        wrong, out, err, code = run_case(case)
        if not wrong:
            print("ok %s/%s" % (suite, case.name))
            continue
        print("not ok %s/%s" % (suite, case.name))
        print("\n".join(["  $ " + x for x in case.command] + wrong))
        failed += 1
        if set_exact:
            case.out = case.out if matches(case.out, out) else out
            case.err = case.err if matches(case.err, err) else err
            case.code = code
    if set_exact and failed:
        write_cases(path, preface, cases)
    return 1 if failed else 0


sys.exit(main())
