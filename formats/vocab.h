/* Tokenizer files: what they hold, in one form, before it becomes the image's `tokn`
 * section.
 *
 *     struct ruvm_vocab vocab;
 *     rc = ruvm_vocab_read_any(&vocab, arena, map.data, map.size, err);
 *     if (vocab.notes)
 *         ... tell the user what will not be quite as in the source ...
 *
 * A reader gives pieces their bytes: what stands for a space, or for a byte that is no
 * character, is that space or byte. Ids are those of the source. The vocabulary may exceed
 * what an image holds: tokens that are never used can be pruned first.
 */
#ifndef RUVM_FORMATS_VOCAB_H
#define RUVM_FORMATS_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/ruvm_layout.h" /* enum ruvm_piece_kind, enum ruvm_tokn_kind */
#include "lib/base/arena.h"
#include "lib/base/error.h"

/* Pieces of a file at most: ten times the largest vocabularies in use. */
enum { RUVM_VOCAB_MAX = 1 << 21 };
/* No token. An image says RUVM_NO_TOKEN, which in a large vocabulary is one like others. */
#define RUVM_VOCAB_NONE UINT32_MAX

struct ruvm_piece {
    const uint8_t *text; /* bytes, may hold any value */
    uint32_t n_bytes;
    float score;
    enum ruvm_piece_kind kind;
};

/* Two neighbours that become one; merges stand in the order of their rank. */
struct ruvm_merge {
    uint32_t left, right, result;
};

struct ruvm_vocab {
    struct ruvm_piece *pieces; /* [n_pieces] */
    uint32_t n_pieces;
    uint32_t bos, eos, unk; /* RUVM_VOCAB_NONE: none */
    bool add_bos, space_prefix;
    /* the rest is zero for a llama2.c tokenizer.bin */
    enum ruvm_tokn_kind kind;  /* 0 means RUVM_TOKN_SCORES */
    bool specials;             /* control pieces are found in texts when asked for */
    uint8_t pattern;           /* RUVM_PATTERN() */
    uint16_t options;          /* enum ruvm_tokn_option */
    struct ruvm_merge *merges; /* [n_merges], of kind RUVM_TOKN_MERGES */
    uint32_t n_merges;
    uint32_t ends[RUVM_MAX_ENDS]; /* tokens besides BOS and EOS that end a text */
    uint32_t n_ends;
    const char *chat;  /* template of a conversation, UTF-8; NULL: none */
    const char *notes; /* what will differ from the source, a line each; NULL: nothing */
};

/* Parses llama2.c's tokenizer.bin: i32 longest piece, then f32 score, i32 length,
 * bytes for each piece up to the end of the file. Pieces spelled "<0xHH>" are byte
 * fallback; ids 0, 1, 2 are unknown, BOS and EOS. RUVM_ERR_CORRUPT, _MEMORY. */
int ruvm_vocab_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                    size_t size, struct ruvm_error *err);

/* Reads a tokenizer file of any known kind: Hugging Face tokenizer.json, SentencePiece
 * tokenizer.model, the tokenizer in a GGUF file, llama2.c's tokenizer.bin.
 * RUVM_ERR_CORRUPT, _UNSUPPORTED (all of the reasons at once), _MEMORY. */
int ruvm_vocab_read_any(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                        size_t size, struct ruvm_error *err);
/* What the bytes are when read_any knows them, e.g. "SentencePiece tokenizer.model"; or NULL. */
const char *ruvm_vocab_probe(const uint8_t *data, size_t size);

/* ---- for files beside the tokenizer's ------------------------------------------ */

/* Sets BOS and EOS from a model's configuration; RUVM_VOCAB_NONE leaves what is known. An EOS
 * that differs from the known one is added to it. */
void ruvm_vocab_configure(struct ruvm_vocab *vocab, uint32_t bos, uint32_t eos);
/* Takes over add_bos_token, the chat template and the names of BOS and EOS of a Hugging Face
 * tokenizer_config.json; what is absent there stays. RUVM_ERR_CORRUPT, _MEMORY. */
int ruvm_vocab_read_config(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                           size_t size, struct ruvm_error *err);

/* ---- for readers ----------------------------------------------------------------- */

/* The byte that a piece spelled "<0xHH>" stands for, or -1. */
int ruvm_vocab_byte(const uint8_t *text, size_t n);
/* Makes a piece one of byte fallback. */
void ruvm_vocab_set_byte(struct ruvm_piece *piece, int byte);
/* Writes a text with each U+2581 made a space to `bytes`, which has room for n; returns how
 * many bytes there are. */
uint32_t ruvm_vocab_spaces(uint8_t *bytes, const uint8_t *text, uint32_t n);
/* Adds tokens without text until there are n: a model may have rows that no text uses.
 * RUVM_ERR_MEMORY. */
int ruvm_vocab_pad(struct ruvm_vocab *vocab, struct ruvm_arena *arena, uint32_t n,
                   struct ruvm_error *err);
/* A token that ends a text, once. */
void ruvm_vocab_add_end(struct ruvm_vocab *vocab, uint32_t id);
/* Guesses what a file does not say: control tokens with well-known names as BOS, EOS and
 * further ends, such as "<|endoftext|>" and "<|im_end|>". */
void ruvm_vocab_guess_ends(struct ruvm_vocab *vocab);
/* Finds the pieces that merges join and make, and keeps those that exist; texts of the two
 * parts of merge i are parts[2 * i] and parts[2 * i + 1]. Sets merges, n_merges. */
struct ruvm_vocab_text {
    const uint8_t *text;
    uint32_t n;
};
int ruvm_vocab_set_merges(struct ruvm_vocab *vocab, struct ruvm_arena *arena,
                          const struct ruvm_vocab_text *parts, uint32_t n_merges,
                          struct ruvm_error *err);
/* Makes a list of merges that says no more than the order of the pieces scores of that order,
 * so that one vocabulary is the same from every container; or leaves it. RUVM_ERR_MEMORY. */
int ruvm_vocab_simplify(struct ruvm_vocab *vocab, struct ruvm_error *err);
/* Writes the bytes for which GPT-2's letters stand to `bytes`, which has room for n; -1: a
 * character is none of these letters, else how many bytes there are. */
int ruvm_vocab_letters(uint8_t *bytes, const uint8_t *text, uint32_t n);
/* Adds a line to vocab->notes. */
void ruvm_vocab_note(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
