/* Tokenizer files: what they hold, in one form, before it becomes the image's
 * `tokn` section. Reads llama2.c's tokenizer.bin. */
#ifndef RUVM_FORMATS_VOCAB_H
#define RUVM_FORMATS_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/ruvm_layout.h" /* enum ruvm_piece_kind, RUVM_NO_TOKEN */
#include "lib/base/arena.h"
#include "lib/base/error.h"

struct ruvm_piece {
    const uint8_t *text; /* bytes, may hold any value */
    uint32_t n_bytes;
    float score;
    enum ruvm_piece_kind kind;
};

struct ruvm_vocab {
    struct ruvm_piece *pieces; /* [n_pieces] */
    uint32_t n_pieces;
    uint16_t bos, eos, unk; /* RUVM_NO_TOKEN: none */
    bool add_bos, space_prefix;
};

/* Parses llama2.c's tokenizer.bin: i32 longest piece, then f32 score, i32 length,
 * bytes for each piece up to the end of the file. Pieces spelled "<0xHH>" are byte
 * fallback; ids 0, 1, 2 are unknown, BOS and EOS. RUVM_ERR_CORRUPT, _MEMORY. */
int ruvm_vocab_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                    size_t size, struct ruvm_error *err);

#endif
