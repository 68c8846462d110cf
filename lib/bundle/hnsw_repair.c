/* Repair: nodes leave the graph, and nodes that nothing leads to are found and linked.
 *
 * Pruning makes room for better links, and sometimes the last link to a node goes with it. A
 * search would never find that node, however long it looked. So a finished graph is walked
 * from its entry, and each node that was not met gets a link from the nearest one that was
 * and can spare one: a free slot, or a link by which the walk met nobody for the first time.
 * Those first meetings are a tree, so what they hold together stays together, and since a
 * tree of n nodes has n - 1 links, there is always one to spare.
 */
#include <stdlib.h>

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
    uint32_t *first; /* [n] the place by which a walk met this one; NOT_MET; itself: the entry */
    uint32_t *queue; /* [n] */
};
#define NOT_MET RUVM_RAG_NONE

/* A walk goes on from a place, which it met by another. */
static void meet(struct reach *r, uint32_t place, uint32_t by)
{
    uint32_t head = 0, tail = 0;
    r->first[place] = by;
    r->queue[tail++] = place;
    while (head < tail) {
        uint32_t from = r->queue[head++];
        for (uint32_t i = 0; i < r->l->n_links[from]; i++) {
            uint32_t to = ruvm_hnsw_links(r->l, from)[i];
            if (r->first[to] != NOT_MET)
                continue;
            r->first[to] = from;
            r->queue[tail++] = to;
        }
    }
}

/* A link from `from` to `to` that separates nobody. */
static bool spare_link(struct reach *r, uint32_t from, uint32_t to)
{
    uint32_t *links = ruvm_hnsw_links(r->l, from), n = r->l->n_links[from];
    if (n < r->l->degree) {
        links[n] = to;
        r->l->n_links[from]++;
        return true;
    }
    for (uint32_t i = n; i-- > 0;) {
        if (r->first[links[i]] == from)
            continue;
        links[i] = to;
        return true;
    }
    return false;
}

static bool was_met(const struct reach *r, uint32_t place)
{
    return r->first[place] != NOT_MET && !ruvm_hnsw_is_deleted(r->g, ruvm_hnsw_id(r->l, place));
}

/* The met places nearest to `lost`. */
static void look_around(const struct reach *r, const struct ruvm_vectors *set, uint32_t lost,
                        struct ruvm_nearest *near)
{
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, set, ruvm_hnsw_id(r->l, lost));
    for (uint32_t place = 0; place < r->l->n; place++) {
        uint32_t id = ruvm_hnsw_id(r->l, place), key;
        if (!was_met(r, place))
            continue;
        ruvm_vectors_keys(set, &q, &id, 0, 1, &key);
        uint64_t entry = ruvm_nearest_entry(key, place);
        if (ruvm_nearest_wants(near, entry))
            ruvm_nearest_insert(near, entry);
    }
}

/* The nearest met place that can spare a link gives it; else any. */
static void rescue(struct reach *r, const struct ruvm_vectors *set, uint32_t lost)
{
    enum { NEAR = 64 };
    uint64_t entries[NEAR];
    struct ruvm_nearest near = {.entry = entries, .cap = NEAR};
    look_around(r, set, lost, &near);
    for (uint32_t i = 0; i < near.n; i++) {
        uint32_t place = ruvm_nearest_id(entries[i]);
        if (spare_link(r, place, lost)) {
            meet(r, lost, place);
            return;
        }
    }
    for (uint32_t place = 0; place < r->l->n; place++) {
        if (was_met(r, place) && spare_link(r, place, lost)) {
            meet(r, lost, place);
            return;
        }
    }
}

static void finish_level(struct reach *r, const struct ruvm_vectors *set, uint32_t entry)
{
    for (uint32_t place = 0; place < r->l->n; place++)
        r->first[place] = NOT_MET;
    meet(r, entry, entry);
    for (uint32_t place = 0; place < r->l->n; place++)
        if (r->first[place] == NOT_MET && !ruvm_hnsw_is_deleted(r->g, ruvm_hnsw_id(r->l, place)))
            rescue(r, set, place);
}

int ruvm_hnsw_finish(struct ruvm_hnsw *g, const struct ruvm_vectors *set, struct ruvm_error *err)
{
    if (g->n == g->n_deleted)
        return RUVM_OK;
    struct reach r = {
        .g = g,
        .first = malloc(g->n * sizeof *r.first),
        .queue = malloc(g->n * sizeof *r.queue),
    };
    uint32_t entry = ruvm_hnsw_id(&g->level[g->n_levels - 1], g->entry);
    bool ok = r.first && r.queue;
    for (unsigned level = 0; ok && level < g->n_levels; level++) {
        r.l = &g->level[level];
        finish_level(&r, set, ruvm_hnsw_place(r.l, entry));
    }
    free(r.first);
    free(r.queue);
    return ok ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory");
}
