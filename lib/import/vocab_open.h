/* The tokenizer of a model: the one that a person names, or the one that comes with it.
 *
 *     struct ruvm_vocab_file file = {0};
 *     rc = ruvm_vocab_open(&vocab, &file, &arena, "tokenizer.json", err);
 *     ... vocab ...
 *     ruvm_vocab_close(&file);
 */
#ifndef RUVM_IMPORT_VOCAB_OPEN_H
#define RUVM_IMPORT_VOCAB_OPEN_H

#include "formats/vocab.h"
#include "lib/import/container.h"

/* The vocabulary's texts stay in it. Zero it before use; open one at a time. */
struct ruvm_vocab_file {
    struct ruvm_map map;
};

/* A tokenizer file of any kind, or a folder with a tokenizer.json or tokenizer.model, or else
 * GPT-2's vocab.json and merges.txt; a tokenizer_config.json beside a Hugging Face or
 * SentencePiece file counts. Messages begin with
 * the path of the file. RUVM_ERR_IO, _CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_vocab_open(struct ruvm_vocab *vocab, struct ruvm_vocab_file *file,
                    struct ruvm_arena *arena, const char *path, struct ruvm_error *err);
/* The one that comes with weights: inside a GGUF file, in the folder of the others. *found:
 * whether there is one. */
int ruvm_vocab_find(struct ruvm_vocab *vocab, bool *found, struct ruvm_vocab_file *file,
                    struct ruvm_arena *arena, struct ruvm_container *c, struct ruvm_error *err);
void ruvm_vocab_close(struct ruvm_vocab_file *file);

/* BOS and EOS as the metadata of the network have them. */
void ruvm_vocab_follow(struct ruvm_vocab *vocab, const struct ruvm_tensors *network);

#endif
