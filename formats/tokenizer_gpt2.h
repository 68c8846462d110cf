/* GPT-2's own tokenizer files: vocab.json and merges.txt, and what may lie beside them.
 *
 * Folders of GPT-2, GPT-Neo, CodeGen and Phi have them, with or without a tokenizer.json that
 * says the same.
 */
#ifndef RUVM_FORMATS_TOKENIZER_GPT2_H
#define RUVM_FORMATS_TOKENIZER_GPT2_H

#include "formats/vocab.h"

enum ruvm_tokenizer_gpt2_file {
    RUVM_TOKENIZER_GPT2_VOCAB,
    RUVM_TOKENIZER_GPT2_MERGES,
    RUVM_TOKENIZER_GPT2_CONFIG,   /* tokenizer_config.json; as the next two it may be missing */
    RUVM_TOKENIZER_GPT2_SPECIALS, /* special_tokens_map.json */
    RUVM_TOKENIZER_GPT2_ADDED,    /* added_tokens.json */
    RUVM_TOKENIZER_GPT2_FILES,
};

/* What each is called in its folder. */
extern const char *const ruvm_tokenizer_gpt2_names[RUVM_TOKENIZER_GPT2_FILES];

struct ruvm_tokenizer_gpt2 {
    struct {
        const uint8_t *data; /* NULL: there is none */
        size_t size;
    } file[RUVM_TOKENIZER_GPT2_FILES];
};

/* Messages begin with the name of the file. The bytes are not needed any more afterwards.
 * RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_tokenizer_gpt2_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena,
                             const struct ruvm_tokenizer_gpt2 *files, struct ruvm_error *err);

#endif
