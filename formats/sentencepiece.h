/* SentencePiece's tokenizer.model, a protocol buffer. */
#ifndef RUVM_FORMATS_SENTENCEPIECE_H
#define RUVM_FORMATS_SENTENCEPIECE_H

#include "formats/vocab.h"

/* Whether the bytes begin as a list of pieces, the first ones with a text and a score. */
bool ruvm_sentencepiece_probe(const uint8_t *data, size_t size);

/* BPE and Unigram. RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_sentencepiece_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                            size_t size, struct ruvm_error *err);

#endif
