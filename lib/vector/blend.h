/* Blend: one answer of two searches, by words and by vectors.
 *
 *     n = ruvm_blend(&b, found, k);
 *
 * b says how (enum ruvm_rag_rank) and holds both lists of hits, the vectors' cosines in
 * step with theirs. Chunks of either list may be found. Chip-safe, no memory of its own.
 */
#ifndef RUVM_VECTOR_BLEND_H
#define RUVM_VECTOR_BLEND_H

#include "lib/vector/bm25.h"

struct ruvm_blend {
    uint8_t rank, share;          /* as in the recipe */
    const struct ruvm_hit *words; /* of ruvm_bm25_search() */
    const struct ruvm_hit *vectors;
    const int32_t *cosines_q16; /* [n_vectors] */
    uint32_t n_words, n_vectors;
    uint32_t whole; /* idf_sum of the question: what a chunk with each word once has */
    /* Of a chunk that only the words found; NULL: counts as 0. */
    int32_t (*cosine_q16)(void *context, uint32_t id);
    void *context;
};

struct ruvm_found {
    uint32_t id, score_q16; /* scores compare within one answer */
};

/* The k best, the highest score first, equal ones by id; returns their number. */
uint32_t ruvm_blend(const struct ruvm_blend *b, struct ruvm_found *found, uint32_t k);

#endif
