#!/usr/bin/env python3
"""How well knowledge blobs find text, beside SQLite FTS5's bm25 on the same documents.

    python3 tests/bench_rag_text.py [--keep FOLDER] [COLLECTION...]

Collections are made of what this machine has; without names all that are here:

    man        manual pages; the question is the line under NAME, which the text lacks
    man-de     the same in German, and man-LANGUAGE in any other that is installed
    packages   descriptions of installed Debian packages; asked by their first line
    python     docstrings of Python's library, asked by their first sentence
    perl       parts of Perl's documentation, asked by their headings
    sentences  paragraphs of /usr/share/doc, asked by a sentence taken out of them
    FILE       FILE.docs.jsonl ("text", "id") and FILE.qa.jsonl ("question", "id")

A document is one chunk (rag-add --split heading), so that both rank the same units. FTS5 is
asked for any of the question's words, once with and once without its Porter stemmer. Printed
are nDCG@10, mean reciprocal rank and hit@1; measured. RUVM names the executable.
"""
import argparse
import ast
import glob
import gzip
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile

try:
    import sqlite3
except ImportError:
    sqlite3 = None

MAX_DOCUMENTS, MAX_QUESTIONS, MAX_TEXT = 4000, 300, 2500
RUVM = os.environ.get("RUVM", "build/release/ruvm")


def clean(text):
    return re.sub(r"\s+", " ", text.replace("\0", " ")).strip()


def read(path):
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def unroff(text):
    """The words of a manual page, a line "@@NAME" before each section."""
    lines = []
    for line in text.split("\n"):
        section = re.match(r"\.S[Hh]\s+(.*)", line)
        if section:
            lines.append("@@" + section[1].strip('" '))
        elif re.match(r"\.(Nm|Nd|Fl|Ar|It|Xr|Op|Pa|Cm|Va|B|I|BR|IR|RB|BI|IB|TP|IP|SS|Ss)\b", line):
            lines.append(re.sub(r"^\.[A-Za-z]+", "", line).replace('"', ""))
        elif not line.startswith((".", "'")):
            lines.append(line)
    text = "\n".join(lines).replace("\\-", "-")
    text = re.sub(r"\\f(\(..|\[.*?\]|.)|\\s[-+]?\d|\\[&|^/,%:]", "", text)
    return re.sub(r"\\(\(..|\[.*?\]|\*\(..|\*\[.*?\]|\*.|.)", " ", text)


def manual(language=""):
    for path in sorted(glob.glob("/usr/share/man/%sman[1-8]/*" % language)):
        sections = unroff(read(path)).split("\n@@") if not os.path.islink(path) else []
        if len(sections) < 3:
            continue
        name = re.split(r"\s(?:-+|\u2014|\u2013)\s", clean(sections[1]), maxsplit=1)
        if len(name) == 2:
            yield os.path.basename(path), name[1], clean(" ".join(sections[2:]))


def packages():
    for entry in read("/var/lib/dpkg/status").split("\n\n"):
        name = re.search(r"^Package: (.*)", entry, re.M)
        text = re.search(r"^Description: (.*)\n((?: .*\n?)+)", entry, re.M)
        if name and text:
            yield name[1], text[1], clean(text[2].replace("\n .", "\n"))


def python():
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "**/*.py"), recursive=True)):
        try:
            tree = ast.parse(read(path))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
                yield "%s:%s" % (path, getattr(node, "lineno", 0)), clean(first), clean(rest)


def perl():
    for path in sorted(glob.glob("/usr/share/perl/**/*.p[mo]*", recursive=True)):
        for i, part in enumerate(re.split(r"^=(?:head\d|item) +", read(path), flags=re.M)[1:]):
            heading, _, rest = part.partition("\n")
            rest = re.sub(r"^=cut.*?(?=^=|\Z)|^=\w+.*$", "", rest, flags=re.M | re.S)
            yield "%s#%d" % (path, i), clean(re.sub(r"[A-Z]<|>", "", heading)), clean(rest)


def sentences():
    patterns = ("README*", "*.txt*", "NEWS*")
    for path in sorted(p for s in patterns for p in glob.glob("/usr/share/doc/*/" + s)):
        for i, paragraph in enumerate(re.split(r"\n\s*\n", read(path))):
            parts = re.split(r"(?<=[a-z]\.)\s+(?=[A-Z])", clean(paragraph))
            if len(parts) >= 4:
                question = parts.pop(random.randrange(len(parts)))
                yield "%s#%d" % (path, i), question, " ".join(parts)


def choose(found):
    """(documents, questions): of each text and of each question one, chosen by chance."""
    texts, questions, kept = set(), set(), []
    for name, question, text in found:
        n_words = len(re.findall(r"\w{3,}", question))
        if not 3 <= n_words <= 30 or len(text) < 150:
            continue
        if text[:300] not in texts and question.lower() not in questions:
            texts.add(text[:300])
            questions.add(question.lower())
            kept.append((name, question, text[:MAX_TEXT]))
    random.shuffle(kept)
    kept = kept[:MAX_DOCUMENTS]
    asked = random.sample(kept, min(MAX_QUESTIONS, len(kept)))
    return ([{"id": name, "text": text} for name, _, text in kept],
            [{"id": name, "question": question} for name, question, _ in asked])


def collection(name):
    makers = {"packages": packages, "python": python, "perl": perl, "sentences": sentences}
    random.seed(name)
    if name in makers:
        return choose(makers[name]())
    if name == "man" or name.startswith("man-"):
        return choose(manual(name[4:] + "/" if name != "man" else ""))
    return [[json.loads(line) for line in read(name + end).splitlines()]
            for end in (".docs.jsonl", ".qa.jsonl")]


def write(path, objects):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(o, ensure_ascii=False) + "\n" for o in objects)


def ask_ruvm(prefix):
    """{rank: (nDCG@10, MRR, hit@1)}"""
    blob = prefix + ".rag"
    subprocess.run([RUVM, "rag-add", blob, prefix + ".docs.jsonl", "--split", "heading", "-q"],
                   check=True)
    done = subprocess.run([RUVM, "rag-add", blob, "--eval", prefix + ".qa.jsonl", "--json"],
                          check=True, capture_output=True)
    rows = json.loads(done.stdout)["eval"]
    return {row["rank"] if i else row["rank"] + ", the default":
            (row["ndcg10"], row["mrr"], row["hit1"]) for i, row in enumerate(rows)}


def has_fts5():
    try:
        sqlite3.connect(":memory:").execute("create virtual table t using fts5(x)")
        return True
    except (AttributeError, sqlite3.Error):
        return False


def ask_fts5(documents, questions, tokenizer):
    db = sqlite3.connect(":memory:")
    db.execute("create virtual table d using fts5(id unindexed, text, tokenize='%s')" % tokenizer)
    db.executemany("insert into d values (?, ?)", ((d["id"], d["text"]) for d in documents))
    sums = [0, 0, 0]
    for q in questions:
        words = " OR ".join('"%s"' % w for w in re.findall(r"\w+", q["question"]))
        rows = db.execute("select id from d where d match ? order by bm25(d) limit 10", (words,))
        ids = [row[0] for row in rows]
        if q["id"] in ids:
            place = ids.index(q["id"])
            for i, value in enumerate((1 / math.log2(place + 2), 1 / (place + 1), place == 0)):
                sums[i] += value
    return tuple(s / len(questions) for s in sums)


def compare(name, folder):
    documents, questions = collection(name)
    if len(questions) < 30:
        print("skip %s: only %d questions can be made here" % (name, len(questions)))
        return
    prefix = os.path.join(folder, os.path.basename(name))
    write(prefix + ".docs.jsonl", documents)
    write(prefix + ".qa.jsonl", questions)
    if os.path.exists(prefix + ".rag"):
        os.remove(prefix + ".rag")
    rows = ask_ruvm(prefix)
    if has_fts5():
        rows["FTS5 bm25"] = ask_fts5(documents, questions, "unicode61")
        rows["FTS5 bm25, Porter"] = ask_fts5(documents, questions, "porter unicode61")
    print("%s: %d documents, %d questions; measured" % (name, len(documents), len(questions)))
    for row, (ndcg, mrr, hit1) in rows.items():
        print("  %-20s nDCG@10 %.4f   MRR %.4f   hit@1 %.4f" % (row, ndcg, mrr, hit1))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("collection", nargs="*")
    parser.add_argument("--keep", metavar="FOLDER", help="keep documents, questions and blobs")
    args = parser.parse_args()
    if not has_fts5():
        print("skip FTS5: this Python has no sqlite3 with FTS5 (Debian: libsqlite3-0)")
    names = args.collection or ["man", "man-de", "packages", "python", "perl", "sentences"]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            compare(name, args.keep or folder)


if __name__ == "__main__":
    main()
