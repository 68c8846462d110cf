#!/usr/bin/env python3
"""Makes the small files of tests/fuzz/corpus/ for the targets of tokenizer files:

    python3 tests/fuzz/make_vocab_corpus.py SECTIONS

SECTIONS is tests/tokens/tokens_main.c, built; it writes the tokn sections.
"""
import os
import subprocess
import sys

sys.path.insert(0, "tests/tokens")
import files
import oracle

CORPUS = "tests/fuzz/corpus"
PIECES = [("<unk>", 0.0, files.UNKNOWN), ("<s>", 0.0, files.CONTROL), ("</s>", 0.0, files.CONTROL),
          ("<0x41>", 0.0, files.BYTE), ("<0xFF>", 0.0, files.BYTE), ("<user>", 0.0, files.USER),
          ("he", 0.0, files.NORMAL), ("ll", -1.0, files.NORMAL), ("hell", -2.5, files.NORMAL),
          ("\u2581", -3.0, files.NORMAL), ("h", -4.0, files.NORMAL), ("e", -5.0, files.NORMAL),
          ("l", -6.0, files.NORMAL), ("\u2581he", -2.0, files.NORMAL), ("\u00e9", -7.0, files.NORMAL),
          ("old", 0.0, files.UNUSED)]


def path(target, name):
    os.makedirs(os.path.join(CORPUS, target), exist_ok=True)
    return os.path.join(CORPUS, target, name)


def main():
    words = list(oracle.words(oracle.compiled(oracle.LLAMA3), b"hello hello 123 the the world's"))
    merges = oracle.train(words, 6)
    letters = sorted({bytes([b]) for w in words for b in w})
    pieces = letters + [a + b for a, b in merges]
    special = {"<|im_end|>": len(pieces)}
    made = []

    def add(target, name):
        made.append((target, name))
        return path(target, name)

    files.byte_level_json(add("tokenizer_json", "gpt2"), pieces, merges, special)
    files.byte_level_json(add("tokenizer_json", "llama3"), pieces, merges, special, {"  ": 40},
                          oracle.LLAMA3, ignore_merges=True, bos="<|im_end|>", pairs=True)
    files.byte_level_json(add("tokenizer_json", "digits"), pieces, merges, special, digits=True)
    files.metaspace_json(add("tokenizer_json", "llama2"), PIECES)
    files.metaspace_json(add("tokenizer_json", "unigram"), PIECES, unigram=True, legacy=False)
    files.sentencepiece(add("sentencepiece", "bpe"), PIECES)
    files.sentencepiece(add("sentencepiece", "unigram"), PIECES, unigram=True, few_spaces=True)
    files.llama_gguf(add("gguf_vocab", "llama"), PIECES)
    files.gpt2_gguf(add("gguf_vocab", "gpt2"), pieces, merges, special, "qwen2", "<|im_end|>")
    for target, name in made:
        subprocess.run([sys.argv[1], path(target, name), "section",
                        path("tokn", target + "-" + name)], check=True)


if __name__ == "__main__":
    main()
