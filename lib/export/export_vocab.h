/* A tokenizer as other programs spell it: for llama.cpp in GGUF, for Hugging Face as
 * tokenizer.json and tokenizer_config.json.
 *
 * Tokenizers of bytes write these in GPT-2's letters; the others write a space as U+2581 and a
 * byte of fallback as "<0x0A>". Special tokens stand as they are. All want each token to have
 * its own text.
 */
#ifndef RUVM_EXPORT_EXPORT_VOCAB_H
#define RUVM_EXPORT_EXPORT_VOCAB_H

#include "formats/gguf_write.h"
#include "formats/vocab.h"

struct ruvm_export_vocab {
    const struct ruvm_vocab *vocab;
    uint32_t n;
    struct ruvm_gguf_string *texts; /* [n] no two alike, none empty */
    uint32_t n_renamed;             /* that had the text of a token before it */
    uint32_t not_utf8;              /* the first piece that is not, or n */
};

/* Everything lives in the arena. RUVM_ERR_MEMORY. */
int ruvm_export_vocab_spell(struct ruvm_export_vocab *v, struct ruvm_arena *arena,
                            const struct ruvm_vocab *vocab, struct ruvm_error *err);

/* Whether a token is never found in text and prints nothing. */
bool ruvm_export_vocab_silent(const struct ruvm_export_vocab *v, uint32_t id);

/* Whether llama.cpp has a tokenizer of this kind; *unlike: what it does otherwise, or NULL. */
bool ruvm_export_vocab_in_gguf(const struct ruvm_export_vocab *v, const char **unlike);
/* The keys tokenizer.ggml.*; v NULL: there is no tokenizer. RUVM_ERR_MEMORY. */
int ruvm_export_vocab_gguf(struct ruvm_gguf_writer *w, const struct ruvm_export_vocab *v,
                           struct ruvm_error *err);

/* The texts of tokenizer.json and tokenizer_config.json, for a vocabulary that is UTF-8.
 * context: the model's. RUVM_ERR_MEMORY. */
int ruvm_export_vocab_json(struct ruvm_buffer *out, const struct ruvm_export_vocab *v,
                           struct ruvm_error *err);
int ruvm_export_vocab_config(struct ruvm_buffer *out, const struct ruvm_export_vocab *v,
                             uint32_t context, struct ruvm_error *err);

#endif
