/* Walk: from the entry of a graph to the neighbourhood of a query.
 *
 * Private to the searches. Greedy in the levels above, then with a list of ef rows in view
 * in the level of all vectors.
 */
#ifndef RUVM_VECTOR_WALK_H
#define RUVM_VECTOR_WALK_H

#include "lib/vector/nearest.h"

struct ruvm_walk {
    const struct ruvm_rag *rag;
    const struct ruvm_vectors *set;
    const struct ruvm_vector_query *query;
    struct ruvm_search *search;
    struct ruvm_nearest view;     /* rows in view */
    struct ruvm_nearest accepted; /* those that may be hits; cap 0: all in view may */
    uint64_t *seen;               /* a bit a row */
};

/* Bytes of seen for n rows. */
static inline size_t ruvm_walk_seen_bytes(uint32_t n)
{
    return ((size_t)n + 63) / 64 * 8;
}

/* Whether row id may be a hit. */
bool ruvm_walk_accepts(const struct ruvm_search *s, uint32_t id);

/* Fills view and accepted, which are empty. */
void ruvm_walk_graph(struct ruvm_walk *w);

#endif
