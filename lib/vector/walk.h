/* Walk: from the entry of a graph to the neighbourhood of a query.
 *
 * Private to the searches and to the builder of graphs. Greedy in the levels above, then with
 * a list of ef places in view in one level. A place is a row in level 0, and an index of the
 * level's ids above.
 */
#ifndef RUVM_VECTOR_WALK_H
#define RUVM_VECTOR_WALK_H

#include "lib/vector/nearest.h"

/* A graph wherever its links are kept. links() writes at most RUVM_GRPH_MAX_DEGREE places of
 * that level. */
struct ruvm_graph {
    unsigned n_levels;
    uint32_t entry;                     /* a place in the top level */
    const struct ruvm_rag_level *level; /* [n_levels]: n and ids */
    uint32_t (*links)(const void *of, unsigned level, uint32_t place, uint32_t *links);
    const void *of;
};

struct ruvm_walk {
    struct ruvm_graph graph;
    const struct ruvm_vectors *set;
    const struct ruvm_vector_query *query;
    struct ruvm_search *search;
    struct ruvm_nearest view;     /* places in view */
    struct ruvm_nearest accepted; /* rows that may be hits; cap 0: all in view may */
    uint64_t *seen;               /* a bit a place */
};

/* Bytes of seen for n rows. */
static inline size_t ruvm_walk_seen_bytes(uint32_t n)
{
    return ((size_t)n + 63) / 64 * 8;
}

/* Whether row id may be a hit. */
bool ruvm_walk_accepts(const struct ruvm_search *s, uint32_t id);

/* Where the vector of that place stands one level down. */
uint32_t ruvm_walk_below(const struct ruvm_graph *g, unsigned level, uint32_t place);
/* From the entry down to a level: a place there. */
uint32_t ruvm_walk_start(struct ruvm_walk *w, unsigned level);
/* Empties view and fills it, and accepted, with what is near in that level. */
void ruvm_walk_level(struct ruvm_walk *w, unsigned level, uint32_t start);
/* The row of a place. */
uint32_t ruvm_walk_id(const struct ruvm_rag_level *l, uint32_t place);

#endif
