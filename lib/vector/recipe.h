/* Recipe: text becomes a vector, with integers and a table of weights in the blob.
 *
 *     rc = ruvm_recipe_open(&recipe, section.data, section.bytes);
 *     ruvm_recipe_embed(&recipe, x, dims, text, n_bytes);
 *     ruvm_vectors_quantize(row, x, dims, row_bytes);
 *
 * Each word and each piece of a word adds its weight to all dimensions, with signs that its
 * hash draws. Two texts that share rare features are thus near, and texts that share none are
 * at right angles, but for noise of 1 / sqrt(dims). No table of vectors is needed. Pieces let a
 * misspelt or bent word find its like. Chip-safe.
 */
#ifndef RUVM_VECTOR_RECIPE_H
#define RUVM_VECTOR_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/ragtext_layout.h"

struct ruvm_recipe {
    uint8_t kind, gram, gram_weight, rank, share, floor, split;
    uint16_t chunk, overlap;
    uint32_t n_buckets;
    const uint8_t *weights; /* [n_buckets]; of a model: what RUVM_RCPE_MODEL_CRC begins */
};

/* Whether vectors are made of text by this recipe alone. */
static inline bool ruvm_recipe_reads(const struct ruvm_recipe *r)
{
    return r->kind == RUVM_RECIPE_HASHED;
}
/* Whether they are states of a language model. */
static inline bool ruvm_recipe_has_model(const struct ruvm_recipe *r)
{
    return r->kind == RUVM_RECIPE_STATES || r->kind == RUVM_RECIPE_NEXT;
}

/* RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED: of a newer kind. Borrows the section. */
int ruvm_recipe_open(struct ruvm_recipe *r, const uint8_t *data, uint32_t bytes);

/* Calls take for each feature of a text in order, words and pieces: how a builder learns
 * their weights. */
void ruvm_recipe_features(const struct ruvm_recipe *r, const void *text, size_t n,
                          void (*take)(void *context, uint32_t hash, bool is_piece), void *context);
/* What a feature weighs, / 256: below 16384. */
uint32_t ruvm_recipe_weight(const struct ruvm_recipe *r, uint32_t hash, bool is_piece);
/* Adds weight, signed by hash, to x[dims]. */
void ruvm_recipe_add(int32_t *x, uint32_t dims, uint32_t hash, int32_t weight);

/* x[dims] of a text; of what is longer than RUVM_RECIPE_MAX_TEXT only its beginning counts. */
enum { RUVM_RECIPE_MAX_TEXT = 65535 };
void ruvm_recipe_embed(const struct ruvm_recipe *r, int32_t *x, uint32_t dims, const void *text,
                       size_t n);

#endif
