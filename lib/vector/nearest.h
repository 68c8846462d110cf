/* Nearest: a sorted list of the best so far, in the caller's memory.
 *
 * An entry is one number, so that comparing costs one instruction: key, id, and whether its
 * links were looked at, from the highest bits down. Equal keys are thus ordered by id. Up to a
 * few hundred entries, which is what searches need, moving the tail of a sorted list is
 * faster than a heap, and the list is its own result.
 */
#ifndef RUVM_VECTOR_NEAREST_H
#define RUVM_VECTOR_NEAREST_H

#include "lib/vector/search.h"

struct ruvm_nearest {
    uint64_t *entry; /* [cap], ascending */
    uint32_t n, cap;
};

static inline uint64_t ruvm_nearest_entry(uint32_t key, uint32_t id)
{
    return (uint64_t)key << 32 | (uint64_t)id << 1;
}
static inline uint32_t ruvm_nearest_id(uint64_t entry)
{
    return (uint32_t)entry >> 1;
}

/* Whether that entry would get in. */
static inline bool ruvm_nearest_wants(const struct ruvm_nearest *l, uint64_t entry)
{
    return l->n < l->cap || (l->n && entry < l->entry[l->n - 1]);
}

/* The key of the last one; there is one. */
static inline uint32_t ruvm_nearest_worst(const struct ruvm_nearest *l)
{
    return (uint32_t)(l->entry[l->n - 1] >> 32);
}

/* Puts an entry that is wanted in its place, which is returned; the last one may fall out. */
uint32_t ruvm_nearest_insert(struct ruvm_nearest *l, uint64_t entry);

/* The first k entries; returns their number. */
uint32_t ruvm_nearest_hits(const struct ruvm_nearest *l, uint32_t k, struct ruvm_hit *hits);

#endif
