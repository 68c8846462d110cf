#!/usr/bin/python3
"""Measures the demo model, or the text of any program that runs it.

    ./evaluate.py stories FILE       consistency of the stories in FILE, one story
                                     per block, blocks separated by blank lines
    ./evaluate.py answers FILE       exact match of the answers in FILE, one a line,
                                     in the order of questions.jsonl
    ./evaluate.py tell [COUNT]       COUNT stories (default 500) of demo.bin by
                                     PyTorch, to be saved and given to `stories`
    ./evaluate.py qa                 exact match of demo.bin by PyTorch, greedy
    ./evaluate.py perplexity         per-token perplexity on heldout.txt

`tell`, `qa` and `perplexity` take --model FILE and --tokenizer FILE; `tell`
takes --temperature and --seed.  `stories` and `answers` need no PyTorch.
"""
import argparse
import json
import math
import os
import re
import sys
from collections import Counter

import generate

HERE = os.path.dirname(os.path.abspath(__file__))
LONGEST = 200          # tokens of a document, at most


def read(name):
    with open(os.path.join(HERE, name)) as f:
        return f.read()


def questions():
    return [json.loads(line) for line in read("questions.jsonl").splitlines()]


# ------------------------------------------------- text of any program

def check_stories(path):
    """Prints the share of consistent stories and what is wrong in the others."""
    with sys.stdin if path == "-" else open(path) as f:
        stories = [s.strip() for s in re.split(r"\n\s*\n", f.read()) if s.strip()]
    words, reasons, good = generate.corpus_words(), Counter(), 0
    for number, text in enumerate(stories, 1):
        problems = generate.check_story(text, words)
        good += not problems
        if problems:
            print(f"story {number}: {'; '.join(problems)}\n    {text}")
            reasons.update({re.sub(rf"\b({generate.NAMES})\b", "NAME", p) for p in problems})
    for reason, count in reasons.most_common():
        print(f"{count:5}  {reason}")
    print(f"consistent: {good} of {len(stories)} = {100 * good / max(1, len(stories)):.1f} %")


def kind_of(question):
    """A name for the sort of a home question, for the table."""
    prompt, answer = question["prompt"].split("\nQ: ")[1], question["answer"]
    if "do not see" in answer:
        return "missing device"
    if "degrees" in answer:
        return "temperature"
    if prompt.startswith("What is"):
        return "list"
    return "state" if prompt.startswith("Is") else "command"


def report_answers(answers):
    """Prints exact match, in all and by kind of question."""
    right, total = Counter(), Counter()
    for question, answer in zip(questions(), answers):
        kind = kind_of(question)
        total[kind] += 1
        right[kind] += answer == question["answer"].strip()
        if answer != question["answer"].strip():
            print(f"{question['prompt']}\n    wrong: {answer}\n    right: {question['answer']}")
    for kind in sorted(total):
        print(f"{kind:15} {right[kind]:4} of {total[kind]:4}")
    count, all_right = sum(total.values()), sum(right.values())
    print(f"exact match: {all_right} of {count} = {100 * all_right / max(1, count):.1f} %")


# ------------------------------------------------------- demo.bin by PyTorch

def load(a):
    """(model, tokenizer)"""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import torch
    import bpe
    from model import load_export
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    return load_export(a.model), bpe.load(a.tokenizer)


def complete(model, tokenizer, prompts, temperature):
    """The continuation of every prompt up to the next <s>; None if it has no end."""
    import torch
    import bpe
    rows = [[bpe.BOS] + tokenizer.encode(" " + p) for p in prompts]
    heads, active = [len(r) for r in rows], list(range(len(rows)))
    with torch.no_grad():
        while active:
            longest = max(len(rows[i]) for i in active)
            ids = torch.tensor([rows[i] + [0] * (longest - len(rows[i])) for i in active])
            last = torch.tensor([len(rows[i]) - 1 for i in active])
            logits = model(ids)[torch.arange(len(active)), last]
            if temperature:
                chosen = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0]
            else:
                chosen = logits.argmax(-1)
            for i, token in zip(active, chosen.tolist()):
                rows[i].append(token)
            active = [i for i in active if rows[i][-1] != bpe.BOS and len(rows[i]) < LONGEST]
    return [tokenizer.decode(r[h:-1]) if r[-1] == bpe.BOS else None
            for r, h in zip(rows, heads)]


def in_groups(model, tokenizer, prompts, temperature, size=100):
    for first in range(0, len(prompts), size):
        group = prompts[first:first + size]
        yield from zip(group, complete(model, tokenizer, group, temperature))


def tell(a):
    """Prints stories for the openings in stories_prompts.txt, again and again."""
    model, tokenizer = load(a)
    openings = read("stories_prompts.txt").splitlines()
    prompts = [openings[i % len(openings)] for i in range(a.count)]
    for prompt, text in in_groups(model, tokenizer, prompts, a.temperature):
        print(prompt + (" (no end)" if text is None else text) + "\n")


def qa(a):
    """Exact match of greedy answers; the end of the document must be found, too."""
    model, tokenizer = load(a)
    prompts = [q["prompt"] for q in questions()]
    report_answers([(text or "(no end)").strip()
                    for _, text in in_groups(model, tokenizer, prompts, 0)])


def perplexity(a):
    """Per-token perplexity; every document stands alone, its end is counted."""
    import torch
    import bpe
    model, tokenizer = load(a)
    total = {"stories": [0.0, 0, 0], "answers": [0.0, 0, 0], "everything": [0.0, 0, 0]}
    for text in read("heldout.txt").split("\n<|end|>\n"):
        if not text:
            continue
        head = len(tokenizer.encode(" " + text.split("\nA:")[0] + "\nA:")) if "\nA:" in text else 0
        ids = torch.tensor([[bpe.BOS] + tokenizer.encode(" " + text) + [bpe.BOS]])
        with torch.no_grad():
            logs = model(ids[:, :-1])[0].log_softmax(-1)
        loss = -logs.gather(1, ids[0, 1:, None])[:, 0]
        parts = {"everything": loss}
        parts["answers" if text.startswith("Home:") else "stories"] = loss[head:]
        for name, part in parts.items():
            total[name][0] += part.sum().item()
            total[name][1] += len(part)
            total[name][2] += 1
    for name, (loss, tokens, documents) in total.items():
        print(f"{name:10} perplexity {math.exp(loss / tokens):.4f} "
              f"({tokens} tokens, {documents} documents)")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["stories", "answers", "tell", "qa", "perplexity"])
    parser.add_argument("argument", nargs="?", help="a file, or a count for tell")
    parser.add_argument("--model", default=os.path.join(HERE, "demo.bin"))
    parser.add_argument("--tokenizer", default=os.path.join(HERE, "demo-tokenizer.bin"))
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    if a.what in ("stories", "answers") and not a.argument:
        parser.error("a file is needed")
    if a.what == "stories":
        check_stories(a.argument)
    elif a.what == "answers":
        with open(a.argument) as f:
            report_answers([line.strip() for line in f.read().splitlines()])
    else:
        a.count = int(a.argument or 500)
        {"tell": tell, "qa": qa, "perplexity": perplexity}[a.what](a)


if __name__ == "__main__":
    main()
