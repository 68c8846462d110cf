/* Repair: nodes leave the graph, and nodes that nothing leads to are found and linked.
 *
 * Pruning makes room for better links, and sometimes the last link to a node goes with it. A
 * search would never find that node, however long it looked. So a finished graph is walked
 * from its entry, and each node that was not met gets a link from the nearest one that was
 * and has room, or whose last link leads where others lead as well.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/hnsw_parts.h"

/* ---- deleting --------------------------------------------------------------- */

/* The links of a place without one, and with those of it instead. */
static void bridge(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l, uint32_t owner,
                   uint32_t gone)
{
    uint32_t all[RUVM_HNSW_MAX_POOL], n = 0;
    for (uint32_t i = 0; i < l->n_links[owner]; i++)
        if (ruvm_hnsw_links(l, owner)[i] != gone)
            all[n++] = ruvm_hnsw_links(l, owner)[i];
    for (uint32_t i = 0; i < l->n_links[gone]; i++)
        all[n++] = ruvm_hnsw_links(l, gone)[i];
    ruvm_hnsw_link_replace(set, l, owner, all, n);
}

static bool leads_to(const struct ruvm_hnsw_level *l, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < l->n_links[from]; i++)
        if (ruvm_hnsw_links(l, from)[i] == to)
            return true;
    return false;
}

static void take_out(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l, uint32_t gone)
{
    for (uint32_t from = 0; from < l->n; from++)
        if (from != gone && leads_to(l, from, gone))
            bridge(set, l, from, gone);
    l->n_links[gone] = 0;
}

/* The entry becomes the first live node of the highest level that has one. */
static void choose_entry(struct ruvm_hnsw *g)
{
    for (unsigned level = g->n_levels; level-- > 0;) {
        const struct ruvm_hnsw_level *l = &g->level[level];
        for (uint32_t place = 0; place < l->n; place++) {
            if (ruvm_hnsw_is_deleted(g, ruvm_hnsw_id(l, place)))
                continue;
            g->n_levels = level + 1;
            g->entry = place;
            return;
        }
    }
    g->n_levels = 1;
    g->entry = 0;
}

int ruvm_hnsw_delete(struct ruvm_hnsw *g, const struct ruvm_vectors *set, uint32_t id,
                     struct ruvm_error *err)
{
    if (id >= g->n)
        return ruvm_fail(err, RUVM_ERR_ARG, "graph: there is no vector %u to delete; it has %u",
                         (unsigned)id, (unsigned)g->n);
    if (ruvm_hnsw_is_deleted(g, id))
        return RUVM_OK;
    uint32_t entry = ruvm_hnsw_id(&g->level[g->n_levels - 1], g->entry);
    g->deleted[id / 8] = (uint8_t)(g->deleted[id / 8] | 1u << id % 8);
    g->n_deleted++;
    for (unsigned level = 0; level < g->n_levels; level++) {
        uint32_t place = ruvm_hnsw_place(&g->level[level], id);
        if (place != RUVM_RAG_NONE)
            take_out(set, &g->level[level], place);
    }
    if (entry == id)
        choose_entry(g);
    return RUVM_OK;
}

/* ---- reaching --------------------------------------------------------------- */

struct reach {
    struct ruvm_hnsw *g;
    struct ruvm_hnsw_level *l;
    uint8_t *met;           /* [n] whether a walk from the entry gets there */
    uint32_t *queue;        /* [n] */
    uint16_t *leading_here; /* [n] links from places that were met, counted up to the most */
};

static void meet(struct reach *r, uint32_t place)
{
    uint32_t head = 0, tail = 0;
    if (r->met[place])
        return;
    r->met[place] = 1;
    r->queue[tail++] = place;
    while (head < tail) {
        uint32_t from = r->queue[head++];
        for (uint32_t i = 0; i < r->l->n_links[from]; i++) {
            uint32_t to = ruvm_hnsw_links(r->l, from)[i];
            r->leading_here[to] =
                (uint16_t)(r->leading_here[to] + (r->leading_here[to] < UINT16_MAX));
            if (r->met[to])
                continue;
            r->met[to] = 1;
            r->queue[tail++] = to;
        }
    }
}

/* A link from `from` to `to`, if it costs nobody the only link to it; how much was gained. */
static bool spare_link(struct reach *r, uint32_t from, uint32_t to)
{
    uint32_t *links = ruvm_hnsw_links(r->l, from), n = r->l->n_links[from];
    if (n < r->l->degree) {
        links[n] = to;
        r->l->n_links[from]++;
        return true;
    }
    for (uint32_t i = n; i-- > 0;) {
        if (r->leading_here[links[i]] < 3)
            continue;
        r->leading_here[links[i]]--;
        links[i] = to;
        return true;
    }
    return false;
}

/* The met place nearest to `lost` that can spare a link gives it. */
static bool rescue(struct reach *r, const struct ruvm_vectors *set, uint32_t lost, uint64_t *best,
                   uint32_t cap)
{
    struct ruvm_nearest near = {.entry = best, .cap = cap};
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, set, ruvm_hnsw_id(r->l, lost));
    for (uint32_t place = 0; place < r->l->n; place++) {
        uint32_t id = ruvm_hnsw_id(r->l, place), key;
        if (!r->met[place] || ruvm_hnsw_is_deleted(r->g, id))
            continue;
        ruvm_vectors_keys(set, &q, &id, 0, 1, &key);
        uint64_t entry = ruvm_nearest_entry(key, place);
        if (ruvm_nearest_wants(&near, entry))
            ruvm_nearest_insert(&near, entry);
    }
    for (uint32_t i = 0; i < near.n; i++) {
        if (!spare_link(r, ruvm_nearest_id(best[i]), lost))
            continue;
        r->leading_here[lost]++;
        meet(r, lost);
        return true;
    }
    return false;
}

/* One look at a level: everything lost is linked. Returns how many were, or -1: no place had a
 * link to spare. */
static int64_t rescue_all(struct reach *r, const struct ruvm_vectors *set, uint32_t start)
{
    enum { LOOKED_AT = 64 };
    uint64_t best[LOOKED_AT];
    int64_t rescued = 0;
    memset(r->met, 0, r->l->n);
    memset(r->leading_here, 0, r->l->n * sizeof *r->leading_here);
    meet(r, start);
    for (uint32_t place = 0; place < r->l->n; place++) {
        if (r->met[place] || ruvm_hnsw_is_deleted(r->g, ruvm_hnsw_id(r->l, place)))
            continue;
        if (!rescue(r, set, place, best, LOOKED_AT))
            return -1;
        rescued++;
    }
    return rescued;
}

/* A link that was spared may still have been the way to others, so a level is looked at until
 * nothing is lost; each round has fewer to rescue in practice, and the bound is for the rest. */
static int finish_level(struct reach *r, const struct ruvm_vectors *set, uint32_t start)
{
    enum { ROUNDS = 32 };
    for (int round = 0; round < ROUNDS; round++) {
        int64_t rescued = rescue_all(r, set, start);
        if (rescued == 0)
            return RUVM_OK;
        if (rescued < 0)
            break;
    }
    return RUVM_ERR_UNSUPPORTED;
}

int ruvm_hnsw_finish(struct ruvm_hnsw *g, const struct ruvm_vectors *set, struct ruvm_error *err)
{
    if (g->n == g->n_deleted)
        return RUVM_OK;
    struct reach r = {
        .g = g,
        .met = malloc(g->n),
        .queue = malloc(g->n * sizeof *r.queue),
        .leading_here = malloc(g->n * sizeof *r.leading_here),
    };
    uint32_t entry = ruvm_hnsw_id(&g->level[g->n_levels - 1], g->entry);
    int rc = r.met && r.queue && r.leading_here ? RUVM_OK : RUVM_ERR_MEMORY;
    for (unsigned level = 0; rc == RUVM_OK && level < g->n_levels; level++) {
        r.l = &g->level[level];
        rc = finish_level(&r, set, ruvm_hnsw_place(r.l, entry));
    }
    free(r.met);
    free(r.queue);
    free(r.leading_here);
    if (rc == RUVM_ERR_MEMORY)
        return ruvm_fail(err, rc, "graph: out of memory");
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc,
                         "graph: %u links of a vector are too few to reach all of %u "
                         "vectors; choose more",
                         (unsigned)g->options.degree_0, (unsigned)g->n);
    return RUVM_OK;
}
