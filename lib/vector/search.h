/* Search: the k nearest rows of a set, by a scan or by its graph, in the caller's memory.
 *
 *     struct ruvm_search s = {.k = 10, .ef = rag.ef};
 *     bytes = ruvm_search_bytes(&s, rag.n);
 *     n = ruvm_search_graph(&rag, &set, &q, &s, memory, bytes, hits);
 *
 * Hits are sorted, the nearest first, equal ones by id. A scan is exact. The graph's answer
 * is the same on every machine and with every kernel. Deleted rows are never hits, nor are
 * those that the filter refuses; a walk goes through them all the same. Chip-safe.
 */
#ifndef RUVM_VECTOR_SEARCH_H
#define RUVM_VECTOR_SEARCH_H

#include "lib/vector/vectors.h"

struct ruvm_hit {
    uint32_t key, id;
};

/* Which rows may be hits: both conditions, where given. */
struct ruvm_filter {
    const uint8_t *allowed;                      /* bit i % 8 of byte i / 8: row i; NULL: all */
    bool (*accepts)(void *context, uint32_t id); /* NULL: all */
    void *context;
};

struct ruvm_search {
    uint32_t k;  /* hits wanted, 1..RUVM_SEARCH_MAX_EF */
    uint32_t ef; /* rows that a walk keeps in view, up to RUVM_SEARCH_MAX_EF; below k: k */
    const uint8_t *deleted;           /* as the blob's DEAD, or NULL */
    const struct ruvm_filter *filter; /* or NULL */
    uint32_t n_distances;             /* out: rows that were compared with the query */
};
enum { RUVM_SEARCH_MAX_EF = 4096 };

/* Memory of a walk in a graph of n rows; of a scan it is that of n = 0. 8-byte aligned. At
 * ef 32 and 10,000 rows: 2,048 bytes or less. */
size_t ruvm_search_bytes(const struct ruvm_search *s, uint32_t n);

/* All rows are compared. hits has room for k. Returns the number of hits, or RUVM_ERR_ARG:
 * k or ef out of range; RUVM_ERR_MEMORY: memory too small. */
int ruvm_search_scan(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                     struct ruvm_search *s, void *memory, size_t bytes, struct ruvm_hit *hits);

/* A walk in the graph of rag, whose rows are set; without a graph a scan. With a filter that
 * few rows pass the walk may find fewer than k: then scan. */
int ruvm_search_graph(const struct ruvm_rag *rag, const struct ruvm_vectors *set,
                      const struct ruvm_vector_query *q, struct ruvm_search *s, void *memory,
                      size_t bytes, struct ruvm_hit *hits);

/* A first look at the signs of all rows (bits, a binary set of the same rows, and the query's
 * signs), then the ef best ones compared by set: exact when ef is n. */
int ruvm_search_signs(const struct ruvm_vectors *set, const struct ruvm_vectors *bits,
                      const struct ruvm_vector_query *q, const struct ruvm_vector_query *signs,
                      struct ruvm_search *s, void *memory, size_t bytes, struct ruvm_hit *hits);

/* One answer of several shards: of lists[n_lists], each sorted, with counts[i] hits and ids
 * that begin at bases[i] in the whole. Exact when each list holds its shard's k nearest. hits
 * has room for k and overlaps no list. Returns their number; RUVM_ERR_ARG: more than
 * RUVM_SEARCH_MAX_SHARDS. */
enum { RUVM_SEARCH_MAX_SHARDS = 64 };
struct ruvm_shard_hits {
    const struct ruvm_hit *hits;
    uint32_t n, base;
};
int ruvm_search_merge(const struct ruvm_shard_hits *shards, uint32_t n_shards, uint32_t k,
                      struct ruvm_hit *hits);

#endif
