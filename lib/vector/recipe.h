/* Recipe: text becomes a vector, with integers and a table of weights in the blob.
 *
 *     rc = ruvm_recipe_open(&recipe, section.data, section.bytes);
 *     ruvm_recipe_embed(&recipe, x, dims, text, n_bytes);
 *     ruvm_vectors_quantize(row, x, dims, row_bytes);
 *
 * Each word and each piece of a word adds its weight to all dimensions, with signs that its
 * hash draws. Two texts that share rare features are thus near, and texts that share none are
 * at right angles, but for noise of 1 / sqrt(dims). No table of vectors is needed. Pieces let a
 * misspelt or bent word find its like.
 *
 * With a table of word vectors in the blob, section WORD, a text is the weighted sum of those of
 * its words instead: texts that mean the same are near, whatever words they say it with.
 * Chip-safe.
 */
#ifndef RUVM_VECTOR_RECIPE_H
#define RUVM_VECTOR_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/rag_read.h"
#include "formats/ragtext_layout.h"

struct ruvm_recipe {
    uint8_t kind, gram, gram_weight, rank, share, floor, split;
    uint16_t chunk, overlap;
    uint32_t n_buckets;
    const uint8_t *weights; /* [n_buckets]; of a model: what RUVM_RCPE_MODEL_CRC begins */
    const uint8_t *table;   /* section WORD, or NULL */
};

/* Whether vectors are made of text by this recipe alone. */
static inline bool ruvm_recipe_reads(const struct ruvm_recipe *r)
{
    return r->kind == RUVM_RECIPE_HASHED || (r->kind == RUVM_RECIPE_TABLE && r->table);
}
/* Whether they are states of a language model. */
static inline bool ruvm_recipe_has_model(const struct ruvm_recipe *r)
{
    return r->kind == RUVM_RECIPE_STATES || r->kind == RUVM_RECIPE_NEXT;
}

/* RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED: of a newer kind. Borrows the section. A recipe with a
 * table reads no text before it has it. */
int ruvm_recipe_open(struct ruvm_recipe *r, const uint8_t *data, uint32_t bytes);
/* Section WORD of a blob of that many dims, to be borrowed; RUVM_ERR_CORRUPT: they do not fit. */
int ruvm_recipe_set_table(struct ruvm_recipe *r, const uint8_t *data, uint32_t bytes,
                          uint32_t dims);
/* Both, of an opened blob. */
int ruvm_recipe_of(struct ruvm_recipe *r, const struct ruvm_rag *rag);

/* The place of a word in the table, as ruvm_words_next() gives it; n_buckets: it is not there. */
uint32_t ruvm_recipe_find(const struct ruvm_recipe *r, const uint8_t *word, uint32_t n);

/* Calls take for each feature of a text in order, words and pieces: how a builder learns
 * their weights. Of the hashed kind only. */
void ruvm_recipe_features(const struct ruvm_recipe *r, const void *text, size_t n,
                          void (*take)(void *context, uint32_t hash, bool is_piece), void *context);
/* What a feature weighs, / 256: below 16384. */
uint32_t ruvm_recipe_weight(const struct ruvm_recipe *r, uint32_t hash, bool is_piece);
/* Adds weight, signed by hash, to x[dims]. */
void ruvm_recipe_add(int32_t *x, uint32_t dims, uint32_t hash, int32_t weight);

/* How sure it is that what was found answers, / 65536: cover is how much of the question's words
 * it has, cosine how like it is; words are looked for, too, unless !by_words. With a table it may
 * say the same in other words. */
uint32_t ruvm_recipe_confidence_q16(const struct ruvm_recipe *r, bool by_words, uint32_t cover,
                                    int32_t cosine);

/* x[dims] of a text; of what is longer than RUVM_RECIPE_MAX_TEXT only its beginning counts. */
enum { RUVM_RECIPE_MAX_TEXT = 65535 };
void ruvm_recipe_embed(const struct ruvm_recipe *r, int32_t *x, uint32_t dims, const void *text,
                       size_t n);

#endif
