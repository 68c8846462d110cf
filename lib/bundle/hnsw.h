/* HNSW: builds, changes and checks the graph of a set of vectors, on a workstation.
 *
 *     struct ruvm_hnsw g;
 *     rc = ruvm_hnsw_init(&g, &options);
 *     rc = ruvm_hnsw_add(&g, &set);              rows g.n .. set.n become nodes
 *     rc = ruvm_hnsw_finish(&g, &set);           every node can be reached
 *     rc = ruvm_hnsw_write(&g, &buffer);         the section GRPH
 *     ruvm_hnsw_free(&g);
 *
 * Deterministic: levels are drawn from the id, candidates are compared by key and then id,
 * and only integers are used, so the same rows give the same bytes on every machine. To grow
 * a graph that was written: ruvm_hnsw_load(), add, finish, write.
 */
#ifndef RUVM_BUNDLE_HNSW_H
#define RUVM_BUNDLE_HNSW_H

#include "lib/base/buffer.h"
#include "lib/vector/search.h"

struct ruvm_error;

struct ruvm_hnsw_options {
    uint32_t degree_0; /* links of a vector; 0: 16 */
    uint32_t degree;   /* links in the levels above; 0: half of degree_0 */
    uint32_t ef;       /* candidates looked at for each new node; 0: 100 */
};

struct ruvm_hnsw_level {
    uint32_t n;       /* nodes */
    uint32_t *ids;    /* [n] ascending; NULL in level 0 */
    uint32_t *links;  /* [n, degree] places in this level */
    uint8_t *n_links; /* [n] */
    uint32_t degree, cap;
};

struct ruvm_hnsw {
    struct ruvm_hnsw_options options; /* as used: no zeros */
    uint32_t n;                       /* vectors */
    unsigned n_levels;
    uint32_t entry; /* a place in the top level */
    struct ruvm_hnsw_level level[RUVM_GRPH_MAX_LEVELS];
    uint8_t *deleted; /* bits [n] */
    uint32_t cap, n_deleted;
    void *scratch; /* private */
};

/* RUVM_ERR_ARG with a message: degrees or ef out of range. */
int ruvm_hnsw_init(struct ruvm_hnsw *g, const struct ruvm_hnsw_options *options,
                   struct ruvm_error *err);
/* The graph of a checked blob. */
int ruvm_hnsw_load(struct ruvm_hnsw *g, const struct ruvm_rag *rag, struct ruvm_error *err);
void ruvm_hnsw_free(struct ruvm_hnsw *g);

/* Rows g->n .. set->n of set become nodes; the rows before them are as they were. progress
 * may be NULL; it returns false to stop (RUVM_ERR_FULL, the graph is whole up to g->n). */
struct ruvm_hnsw_progress {
    bool (*tell)(void *context, uint32_t done, uint32_t n);
    void *context;
};
int ruvm_hnsw_add(struct ruvm_hnsw *g, const struct ruvm_vectors *set,
                  const struct ruvm_hnsw_progress *progress, struct ruvm_error *err);

/* Takes a node out of the graph: nothing leads to it any more, and its neighbours are joined
 * among themselves. Its row stays, marked. */
int ruvm_hnsw_delete(struct ruvm_hnsw *g, const struct ruvm_vectors *set, uint32_t id,
                     struct ruvm_error *err);

/* Links whatever cannot be reached from the entry. */
int ruvm_hnsw_finish(struct ruvm_hnsw *g, const struct ruvm_vectors *set, struct ruvm_error *err);

/* Appends GRPH to out. */
int ruvm_hnsw_write(const struct ruvm_hnsw *g, struct ruvm_buffer *out, struct ruvm_error *err);

struct ruvm_hnsw_report {
    uint32_t n_reached; /* live vectors that a walk from the entry can reach */
    uint32_t n_live;    /* that there are */
    uint32_t min_degree, max_degree;
    uint64_t n_links; /* of level 0 */
    uint32_t n_bytes; /* of the section */
};
/* Looks at every list of an opened blob: ids in range, no link twice, none to a deleted row,
 * levels nested, the entry on top, every live vector reachable. RUVM_ERR_CORRUPT with a
 * message. report may be NULL. */
int ruvm_hnsw_validate(const struct ruvm_rag *rag, struct ruvm_hnsw_report *report,
                       struct ruvm_error *err);

#endif
