/* The tokenizer in a GGUF file. */
#ifndef RUVM_FORMATS_GGUF_VOCAB_H
#define RUVM_FORMATS_GGUF_VOCAB_H

#include "formats/gguf_read.h"
#include "formats/vocab.h"

/* tokenizer.ggml.model "llama" (pieces and scores) and "gpt2" (bytes and merges). Texts stay
 * in the file where they can. RUVM_ERR_CORRUPT, _UNSUPPORTED (also when the file has no
 * tokenizer), _MEMORY. */
int ruvm_gguf_vocab_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena,
                         const struct ruvm_gguf *gguf, struct ruvm_error *err);

#endif
