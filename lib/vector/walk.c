/* Walk: the only loop that a graph search spends time in.
 *
 * A row that falls out of view is farther than ef others, so its links need not be followed:
 * one sorted list serves as the heap of candidates and the heap of results at once. The links
 * of a row are compared with the query together, so that a machine can have all their rows on
 * the way from memory.
 */
#include "lib/vector/walk.h"

#include "lib/base/bytes.h"

bool ruvm_walk_accepts(const struct ruvm_search *s, uint32_t id)
{
    const struct ruvm_filter *f = s->filter;
    if (s->deleted && (s->deleted[id / 8] >> id % 8 & 1))
        return false;
    if (f && f->allowed && !(f->allowed[id / 8] >> id % 8 & 1))
        return false;
    return !f || !f->accepts || f->accepts(f->context, id);
}

uint32_t ruvm_walk_id(const struct ruvm_rag_level *l, uint32_t place)
{
    return l->ids ? ruvm_load_u32(l->ids + (size_t)place * 4) : place;
}

/* Keys of places of a level, at most RUVM_VECTORS_BATCH; a damaged id counts as the last row. */
static void keys_of(struct ruvm_walk *w, const struct ruvm_rag_level *l, const uint32_t *places,
                    uint32_t n, uint32_t *keys)
{
    uint32_t ids[RUVM_VECTORS_BATCH];
    for (uint32_t i = 0; l->ids && i < n; i++) {
        ids[i] = ruvm_walk_id(l, places[i]);
        if (ids[i] >= w->set->n)
            ids[i] = w->set->n - 1;
    }
    ruvm_vectors_keys(w->set, w->query, l->ids ? ids : places, 0, n, keys);
    w->search->n_distances += n;
}

/* ---- the levels above -------------------------------------------------------- */

/* The nearest place of a level that ever nearer ones lead to from `place`. Each step brings a
 * smaller key, so this ends whatever the links are. */
static uint32_t descend(struct ruvm_walk *w, unsigned level, uint32_t place)
{
    const struct ruvm_rag_level *l = &w->graph.level[level];
    uint32_t links[RUVM_GRPH_MAX_DEGREE], keys[RUVM_GRPH_MAX_DEGREE], best;
    keys_of(w, l, &place, 1, &best);
    for (bool moved = true; moved;) {
        uint32_t n = w->graph.links(w->graph.of, level, place, links);
        keys_of(w, l, links, n, keys);
        moved = false;
        for (uint32_t i = 0; i < n; i++) {
            if (keys[i] < best) {
                best = keys[i];
                place = links[i];
                moved = true;
            }
        }
    }
    return place;
}

uint32_t ruvm_walk_below(const struct ruvm_graph *g, unsigned level, uint32_t place)
{
    uint32_t id = ruvm_walk_id(&g->level[level], place);
    const struct ruvm_rag_level *below = &g->level[level - 1];
    uint32_t from = 0, to = below->n - 1;
    if (!below->ids)
        return id < below->n ? id : to;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (ruvm_walk_id(below, middle) < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

uint32_t ruvm_walk_start(struct ruvm_walk *w, unsigned level)
{
    uint32_t place = w->graph.entry;
    for (unsigned l = w->graph.n_levels - 1; l > level; l--) {
        place = descend(w, l, place);
        place = ruvm_walk_below(&w->graph, l, place);
    }
    return place;
}

/* ---- one level ----------------------------------------------------------------- */

static bool see(struct ruvm_walk *w, uint32_t place)
{
    uint64_t bit = (uint64_t)1 << place % 64;
    bool before = (w->seen[place / 64] & bit) != 0;
    w->seen[place / 64] |= bit;
    return !before;
}

/* All cache lines of n bytes; a chip without a cache compiles nothing. */
static inline void fetch(const uint8_t *p, uint32_t n)
{
    enum { LINE = 64 };
    for (uint32_t i = 0; i < n; i += LINE)
        __builtin_prefetch(p + i);
    __builtin_prefetch(p + n - 1);
}

static inline void fetch_list(const struct ruvm_rag_level *l, uint32_t place)
{
    fetch(l->lists + (size_t)place * l->list_bytes, l->list_bytes);
}

static inline void fetch_row(const struct ruvm_vectors *set, uint32_t id)
{
    fetch(set->rows + (size_t)id * set->row_bytes, set->row_bytes);
    if (set->side_bytes)
        __builtin_prefetch(set->side + (size_t)id * set->side_bytes);
}

/* Compares new places with the query; returns the first one in view that changed. What comes
 * into view may be followed next, so its list is already on the way. */
static uint32_t look_at(struct ruvm_walk *w, unsigned level, const uint32_t *places, uint32_t n)
{
    const struct ruvm_rag_level *l = &w->graph.level[level];
    uint32_t keys[RUVM_VECTORS_BATCH], first = w->view.cap;
    keys_of(w, l, places, n, keys);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t entry = ruvm_nearest_entry(keys[i], places[i]);
        if (w->accepted.cap && ruvm_nearest_wants(&w->accepted, entry) &&
            ruvm_walk_accepts(w->search, places[i]))
            ruvm_nearest_insert(&w->accepted, entry);
        if (!ruvm_nearest_wants(&w->view, entry))
            continue;
        fetch_list(l, places[i]);
        uint32_t at = ruvm_nearest_insert(&w->view, entry);
        first = at < first ? at : first;
    }
    return first;
}

/* The links of a place that were not seen before, at the start of links. Whether one was is
 * anybody's guess, so there is no branch to guess it. */
static uint32_t new_links(struct ruvm_walk *w, unsigned level, uint32_t place, uint32_t *links)
{
    uint32_t n = w->graph.links(w->graph.of, level, place, links), kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t link = links[i];
        if (level == 0)
            fetch_row(w->set, link);
        links[kept] = link;
        kept += see(w, link);
    }
    return kept;
}

void ruvm_walk_level(struct ruvm_walk *w, unsigned level, uint32_t start)
{
    uint32_t links[RUVM_GRPH_MAX_DEGREE], at = 0;
    for (size_t i = 0; i < ruvm_walk_seen_bytes(w->graph.level[level].n) / 8; i++)
        w->seen[i] = 0;
    w->view.n = 0;
    see(w, start);
    look_at(w, level, &start, 1);
    while (at < w->view.n) {
        uint64_t *entry = &w->view.entry[at];
        if (*entry & 1) {
            at++;
            continue;
        }
        *entry |= 1;
        uint32_t n = new_links(w, level, ruvm_nearest_id(*entry), links);
        uint32_t changed = look_at(w, level, links, n);
        at = changed <= at ? changed : at + 1;
    }
}
