/* Links: which neighbours a node keeps.
 *
 * The nearest ones alone make clusters that nothing leads out of. So candidates are taken
 * from near to far, and one that is nearer to a neighbour already chosen than to the node
 * itself is left out: the walk gets there by that neighbour. Slots that stay free are given
 * to the nearest of those left out, since a list has its size anyway.
 */
#include "lib/bundle/hnsw_parts.h"

/* Whether the candidate is nearer to one of the chosen than to the owner. Its own row is the
 * query: only keys of one query can be compared. Fewer than RUVM_GRPH_MAX_DEGREE are chosen. */
static bool is_covered(const struct ruvm_hnsw_choice *c, uint32_t candidate, const uint32_t *chosen,
                       uint32_t n)
{
    uint32_t ids[RUVM_VECTORS_BATCH], keys[RUVM_VECTORS_BATCH];
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, c->set, ruvm_hnsw_id(c->level, candidate));
    ids[0] = ruvm_hnsw_id(c->level, c->owner);
    for (uint32_t i = 0; i < n; i++)
        ids[i + 1] = ruvm_hnsw_id(c->level, chosen[i]);
    ruvm_vectors_keys(c->set, &q, ids, 0, n + 1, keys);
    for (uint32_t i = 1; i <= n; i++)
        if (keys[i] < keys[0])
            return true;
    return false;
}

uint32_t ruvm_hnsw_link_choose(const struct ruvm_hnsw_choice *c, uint32_t *links)
{
    uint32_t left_out[RUVM_GRPH_MAX_DEGREE], n_left_out = 0, n = 0, degree = c->level->degree;
    for (uint32_t i = 0; i < c->n && n < degree; i++) {
        uint32_t place = ruvm_nearest_id(c->entries[i]);
        if (!is_covered(c, place, links, n))
            links[n++] = place;
        else if (n_left_out < degree)
            left_out[n_left_out++] = place;
    }
    for (uint32_t i = 0; i < n_left_out && n < degree; i++)
        links[n++] = left_out[i];
    return n;
}

static bool is_among(const uint32_t *places, uint32_t n, uint32_t place)
{
    for (uint32_t i = 0; i < n; i++)
        if (places[i] == place)
            return true;
    return false;
}

/* The places in the order of their distance from the owner. */
static void sort_places(const struct ruvm_hnsw_choice *c, const uint32_t *places, uint32_t n,
                        struct ruvm_nearest *near)
{
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, c->set, ruvm_hnsw_id(c->level, c->owner));
    for (uint32_t i = 0; i < n; i += RUVM_VECTORS_BATCH) {
        uint32_t ids[RUVM_VECTORS_BATCH], keys[RUVM_VECTORS_BATCH];
        uint32_t m = n - i < RUVM_VECTORS_BATCH ? n - i : RUVM_VECTORS_BATCH;
        for (uint32_t k = 0; k < m; k++)
            ids[k] = ruvm_hnsw_id(c->level, places[i + k]);
        ruvm_vectors_keys(c->set, &q, ids, 0, m, keys);
        for (uint32_t k = 0; k < m; k++)
            ruvm_nearest_insert(near, ruvm_nearest_entry(keys[k], places[i + k]));
    }
}

void ruvm_hnsw_link_replace(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l,
                            uint32_t owner, const uint32_t *places, uint32_t n)
{
    uint64_t entries[RUVM_HNSW_MAX_POOL];
    uint32_t pool[RUVM_HNSW_MAX_POOL], n_pool = 0;
    struct ruvm_nearest near = {.entry = entries, .cap = RUVM_HNSW_MAX_POOL};
    struct ruvm_hnsw_choice c = {set, l, owner, entries, 0};
    for (uint32_t i = 0; i < n; i++)
        if (places[i] != owner && !is_among(places, i, places[i]))
            pool[n_pool++] = places[i];
    sort_places(&c, pool, n_pool, &near);
    c.n = near.n;
    l->n_links[owner] = (uint8_t)ruvm_hnsw_link_choose(&c, ruvm_hnsw_links(l, owner));
}

void ruvm_hnsw_link_add(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l, uint32_t owner,
                        uint32_t place)
{
    uint32_t *links = ruvm_hnsw_links(l, owner), all[RUVM_GRPH_MAX_DEGREE + 1];
    uint32_t n = l->n_links[owner];
    if (owner == place || is_among(links, n, place))
        return;
    if (n < l->degree) {
        links[n] = place;
        l->n_links[owner]++;
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        all[i] = links[i];
    all[n] = place;
    ruvm_hnsw_link_replace(set, l, owner, all, n + 1);
}
