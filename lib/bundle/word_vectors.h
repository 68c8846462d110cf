/* Word vectors: a table of words and their vectors, as people have them.
 *
 *     rc = ruvm_word_vectors_parse(&t, name, data, size, &wanted, &err);
 *     ... t.hashes[i], t.v + i * t.dims ...
 *     ruvm_word_vectors_free(&t);
 *
 * A file is text, a line a word and its numbers, as GloVe writes it, or with a first line of
 * "words dimensions" before, as word2vec and fastText do; or that line and binary floats behind
 * each word, word2vec's .bin. The first of equal words counts; what is not one word as
 * lib/vector/words.h cuts texts is left out. A file is read once from its beginning to its end,
 * and only what is wanted of it is kept.
 */
#ifndef RUVM_BUNDLE_WORD_VECTORS_H
#define RUVM_BUNDLE_WORD_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ruvm_error;
struct ruvm_map;
struct ruvm_progress;

struct ruvm_word_vectors {
    uint32_t n, dims;
    uint32_t *hashes;   /* [n] as section WORD has them, in the order of the file; owned */
    float *v;           /* [n, dims] owned, all finite */
    uint64_t n_entries; /* of the file */
    uint64_t n_others;  /* that are not one word: phrases, signs, what is no UTF-8 */
    uint64_t n_twice;   /* that were wanted and there before */
};

struct ruvm_word_vectors_wanted {
    uint32_t first;                                    /* so many words from the beginning */
    bool (*wants)(const void *context, uint32_t hash); /* and these; NULL: no others */
    const void *context;
    const struct ruvm_map *map;           /* whose memory may go when it was read, or NULL */
    const struct ruvm_progress *progress; /* or NULL */
};

/* RUVM_ERR_CORRUPT with the line, or the number of the word; _UNSUPPORTED: dims that a blob's
 * vectors cannot have; _MEMORY; _IO: interrupted. Nothing is left to free after a failure. */
int ruvm_word_vectors_parse(struct ruvm_word_vectors *t, const char *name, const uint8_t *data,
                            size_t size, const struct ruvm_word_vectors_wanted *wanted,
                            struct ruvm_error *err);
void ruvm_word_vectors_free(struct ruvm_word_vectors *t);

#endif
