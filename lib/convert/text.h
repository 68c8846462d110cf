/* Text to measure on: token sequences cut into windows that each fit a context.
 *
 * Every window starts at position 0 with the start token and is followed by
 * its last target: a window of n tokens makes n - 1 predictions, and its last
 * token is only ever predicted, never fed. Ids are those of the model at hand: of a source
 * they may exceed the 16 bits of an image.
 */
#ifndef RUVM_CONVERT_TEXT_H
#define RUVM_CONVERT_TEXT_H

#include "formats/vocab.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/ruvm.h"

struct ruvm_text {
    uint32_t *tokens; /* all windows, one after another; ids of the source may exceed 16 bits */
    uint32_t *first;  /* [n_windows + 1] where each begins in tokens */
    uint32_t n_windows;
    uint64_t n_positions; /* predictions in all windows */
    uint64_t n_tokens;    /* tokens written, the window being made included */
    char source[64];      /* "own samples" or the file's name, for people */
};

struct ruvm_text_options {
    const struct ruvm_tokenizer *tokenizer;
    uint32_t context;       /* positions of a window at most */
    uint64_t max_positions; /* stop after so many; 0: the whole file */
    bool documents;         /* the file holds documents separated by lines "<|end|>" */
};

/* Reads and encodes a text file. Each document starts a window, and its end is predicted as
 * BOS, the separator such models are trained with; a stream has no ends. RUVM_ERR_IO,
 * _CORRUPT (no text in it), _UNSUPPORTED (a character the vocabulary cannot express),
 * _MEMORY. Lives in the arena. */
int ruvm_text_read(struct ruvm_text *t, struct ruvm_arena *arena, const char *path,
                   const struct ruvm_text_options *o, struct ruvm_error *err);

/* The same in the ids of a source's vocabulary, which may be more than a tokenizer of an image
 * holds: o->tokenizer is not looked at, and the file is a stream. */
int ruvm_text_read_source(struct ruvm_text *t, struct ruvm_arena *arena, const char *path,
                          const struct ruvm_vocab *vocab, const struct ruvm_text_options *o,
                          struct ruvm_error *err);

/* About n positions of a text, whole windows from all over it; a text of no more is taken as
 * it is, its tokens shared. RUVM_ERR_MEMORY. */
int ruvm_text_spread(struct ruvm_text *out, struct ruvm_arena *arena, const struct ruvm_text *t,
                     uint64_t n, struct ruvm_error *err);

/* For who reads a text: appends a stream, or documents, to one that is being made. `line`:
 * where the bytes begin in the file of that path. old: [pieces] the source's id of each of the
 * tokenizer's; NULL: the same. RUVM_ERR_UNSUPPORTED, _MEMORY. */
int ruvm_text_add(struct ruvm_text *t, const struct ruvm_text_options *o, const uint32_t *old,
                  const char *path, const char *bytes, size_t n_bytes, size_t line,
                  struct ruvm_error *err);
/* Whether it has all the positions asked for. */
bool ruvm_text_is_full(const struct ruvm_text *t, const struct ruvm_text_options *o);
/* Its end; RUVM_ERR_CORRUPT when it has nothing. */
int ruvm_text_end(struct ruvm_text *t, uint32_t start, const char *path, struct ruvm_error *err);

/* For who makes a text: reserve room for so many predictions (each window holds one at
 * least), then append tokens; ruvm_text_window begins the next window, and one that got
 * no prediction is dropped. Call ruvm_text_window once more at the end. */
bool ruvm_text_reserve(struct ruvm_text *t, struct ruvm_arena *arena, uint64_t max_positions);
void ruvm_text_window(struct ruvm_text *t, uint32_t start);
void ruvm_text_token(struct ruvm_text *t, uint32_t token);
/* Tokens in the window being made: its next prediction is at position this - 1. */
uint32_t ruvm_text_length(const struct ruvm_text *t);

#endif
