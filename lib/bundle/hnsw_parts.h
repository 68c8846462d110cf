/* Parts of the graph builder: what its files share. Private to lib/bundle/hnsw*.c. */
#ifndef RUVM_BUNDLE_HNSW_PARTS_H
#define RUVM_BUNDLE_HNSW_PARTS_H

#include "lib/bundle/hnsw.h"
#include "lib/vector/walk.h"

/* Memory of a walk while building. */
struct ruvm_hnsw_scratch {
    uint64_t *seen; /* a bit a place */
    uint64_t *view; /* [ef] */
    uint32_t seen_cap;
};

static inline uint32_t *ruvm_hnsw_links(const struct ruvm_hnsw_level *l, uint32_t place)
{
    return l->links + (size_t)place * l->degree;
}

static inline uint32_t ruvm_hnsw_id(const struct ruvm_hnsw_level *l, uint32_t place)
{
    return l->ids ? l->ids[place] : place;
}

static inline bool ruvm_hnsw_is_deleted(const struct ruvm_hnsw *g, uint32_t id)
{
    return g->deleted[id / 8] >> id % 8 & 1;
}

/* A level that has its memory: room for one more node, with no links; its place, or
 * RUVM_RAG_NONE without memory. */
uint32_t ruvm_hnsw_append(struct ruvm_hnsw_level *l, bool has_ids, uint32_t id);
/* Room in all that grows with the number of vectors. */
bool ruvm_hnsw_reserve(struct ruvm_hnsw *g, uint32_t n);
/* The place of a vector in a level, or RUVM_RAG_NONE. */
uint32_t ruvm_hnsw_place(const struct ruvm_hnsw_level *l, uint32_t id);

/* Candidates to choose neighbours of a place from: places of its level, the owner not among
 * them. choose() keeps at most `degree` of them, in links, and returns their number. */
struct ruvm_hnsw_choice {
    const struct ruvm_vectors *set;
    const struct ruvm_hnsw_level *level;
    uint32_t owner;
    uint64_t *entries; /* ascending: ruvm_nearest_entry(key, place) */
    uint32_t n;
};
uint32_t ruvm_hnsw_link_choose(const struct ruvm_hnsw_choice *c, uint32_t *links);
/* Chooses the links of a place anew from these places, without doubles and the owner. */
enum { RUVM_HNSW_MAX_POOL = 2 * RUVM_GRPH_MAX_DEGREE + 2 };
void ruvm_hnsw_link_replace(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l,
                            uint32_t owner, const uint32_t *places, uint32_t n);
/* A link from owner to place: if there is no room, the best ones stay. */
void ruvm_hnsw_link_add(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l, uint32_t owner,
                        uint32_t place);

#endif
