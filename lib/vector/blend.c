/* Blend: each chunk of either list once, with the sum of what both give it.
 *
 * Lists are short, some tens of hits, so that looking for a chunk in the other one by one
 * costs less than a table would.
 */
#include "lib/vector/blend.h"

enum { RECIPROCAL_START = 10 };

static uint32_t place_of(const struct ruvm_hit *hits, uint32_t n, uint32_t id)
{
    uint32_t i = 0;
    while (i < n && hits[i].id != id)
        i++;
    return i;
}

static uint32_t reciprocal_q16(uint32_t place, uint32_t n)
{
    return place < n ? (1u << 16) / (RECIPROCAL_START + place) : 0;
}

static uint32_t words_q16(const struct ruvm_blend *b, uint32_t place)
{
    if (b->rank == RUVM_RANK_RECIPROCAL)
        return reciprocal_q16(place, b->n_words);
    if (place >= b->n_words || b->whole == 0)
        return 0;
    return (uint32_t)(((uint64_t)ruvm_bm25_score(&b->words[place]) << 16) / b->whole);
}

static uint32_t vectors_q16(const struct ruvm_blend *b, uint32_t place, uint32_t id)
{
    if (b->rank == RUVM_RANK_RECIPROCAL)
        return reciprocal_q16(place, b->n_vectors);
    int32_t cosine = place < b->n_vectors ? b->cosines_q16[place]
                     : b->cosine_q16      ? b->cosine_q16(b->context, id)
                                          : 0;
    return cosine > 0 ? (uint32_t)cosine : 0;
}

static uint32_t score_of(const struct ruvm_blend *b, uint32_t id)
{
    uint32_t words = words_q16(b, place_of(b->words, b->n_words, id));
    uint32_t vectors = vectors_q16(b, place_of(b->vectors, b->n_vectors, id), id);
    if (b->rank == RUVM_RANK_WORDS)
        return words;
    if (b->rank == RUVM_RANK_VECTORS)
        return vectors;
    return words + vectors * b->share / 64;
}

/* Keeps the list sorted; returns its new length. */
static uint32_t insert(struct ruvm_found *found, uint32_t n, uint32_t k, struct ruvm_found new)
{
    uint32_t place = n;
    while (place > 0 &&
           (found[place - 1].score_q16 < new.score_q16 ||
            (found[place - 1].score_q16 == new.score_q16 &&found[place - 1].id > new.id)))
        place--;
    if (place >= k)
        return n;
    for (uint32_t i = n < k ? n : k - 1; i > place; i--)
        found[i] = found[i - 1];
    found[place] = new;
    return n < k ? n + 1 : k;
}

uint32_t ruvm_blend(const struct ruvm_blend *b, struct ruvm_found *found, uint32_t k)
{
    uint32_t n = 0;
    for (uint32_t i = 0; b->rank != RUVM_RANK_VECTORS && i < b->n_words; i++) {
        uint32_t id = b->words[i].id;
        n = insert(found, n, k, (struct ruvm_found){id, score_of(b, id)});
    }
    for (uint32_t i = 0; b->rank != RUVM_RANK_WORDS && i < b->n_vectors; i++) {
        uint32_t id = b->vectors[i].id;
        bool both = b->rank != RUVM_RANK_VECTORS && place_of(b->words, b->n_words, id) < b->n_words;
        if (!both)
            n = insert(found, n, k, (struct ruvm_found){id, score_of(b, id)});
    }
    return n;
}
