/* Hugging Face's tokenizer.json. */
#ifndef RUVM_FORMATS_TOKENIZER_JSON_H
#define RUVM_FORMATS_TOKENIZER_JSON_H

#include "formats/vocab.h"

/* Whether the bytes are JSON text with what a tokenizer.json has; looks, does not parse. */
bool ruvm_tokenizer_json_probe(const uint8_t *data, size_t size);

/* BPE of bytes (GPT-2, Llama 3, Qwen2) and of characters (Llama 2), Unigram. What is not
 * supported is told all at once. RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_tokenizer_json_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena,
                             const uint8_t *data, size_t size, struct ruvm_error *err);

struct cJSON;
/* The same of a parsed file, whose texts have no more than `bytes` bytes together. */
int ruvm_tokenizer_json_tree(struct ruvm_vocab *vocab, struct ruvm_arena *arena,
                             const struct cJSON *root, size_t bytes, struct ruvm_error *err);

#endif
