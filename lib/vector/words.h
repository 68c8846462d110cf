/* Words: text, any bytes, as the words that a search compares.
 *
 *     struct ruvm_words w = ruvm_words_over(text, n);
 *     while (ruvm_words_next(&w))
 *         ... w.word[0 .. w.n_word), w.stem ...
 *
 * A word is a run of letters and digits; everything else separates, bytes that are no UTF-8
 * included. Capitals become small letters, and Latin letters lose their accents. Characters of
 * scripts that put no spaces between words are words of their own. The stem is what remains
 * without English endings, so that "searching" finds "searches"; it is a number, and words of
 * other languages simply keep their ends. Chip-safe.
 */
#ifndef RUVM_VECTOR_WORDS_H
#define RUVM_VECTOR_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUVM_WORDS_MAX = 64 }; /* bytes of a word that count; what follows them is passed over */

struct ruvm_words {
    const uint8_t *text;
    size_t n, at; /* bytes, and those that were read */
    size_t start; /* of the last word, which ends at `at` */
    uint8_t word[RUVM_WORDS_MAX];
    uint32_t n_word;
    uint32_t stem; /* hash of the stem */
};

struct ruvm_words ruvm_words_over(const void *text, size_t n);
/* The next word; false when there is none. */
bool ruvm_words_next(struct ruvm_words *w);

/* Bytes of the word that its stem keeps; it may change them (y becomes i). */
uint32_t ruvm_words_stem(uint8_t *word, uint32_t n);
/* What a feature of text is called: n bytes as 32 well-mixed bits, seed 0 for stems. */
uint32_t ruvm_words_hash(uint32_t seed, const void *bytes, uint32_t n);
/* The place of a hash among n ascending ones, u32 little-endian each; n: it is not there. */
uint32_t ruvm_words_find(const uint8_t *hashes, uint32_t n, uint32_t hash);

#endif
