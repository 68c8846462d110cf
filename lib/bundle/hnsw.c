/* HNSW: vectors become nodes one after the other, in the order of their ids.
 *
 * A new node is led by the levels above to its neighbourhood, chooses links from what it finds
 * there, and offers a link back to each. Its highest level depends on its id alone: the hash
 * of an id is divisible by the degree once, twice, ... So adding rows in two steps gives the
 * graph of adding them at once.
 */
#include "lib/bundle/hnsw.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/bundle/hnsw_parts.h"

enum { DEFAULT_DEGREE_0 = 16, DEFAULT_EF = 100 };

int ruvm_hnsw_init(struct ruvm_hnsw *g, const struct ruvm_hnsw_options *options,
                   struct ruvm_error *err)
{
    struct ruvm_hnsw_options o = *options;
    o.degree_0 = o.degree_0 ? o.degree_0 : DEFAULT_DEGREE_0;
    o.degree = o.degree ? o.degree : o.degree_0 / 2;
    o.degree = o.degree < RUVM_GRPH_MIN_DEGREE ? RUVM_GRPH_MIN_DEGREE : o.degree;
    o.ef = o.ef ? o.ef : DEFAULT_EF;
    *g = (struct ruvm_hnsw){.options = o};
    if (o.degree_0 < RUVM_GRPH_MIN_DEGREE || o.degree_0 > RUVM_GRPH_MAX_DEGREE ||
        o.degree > RUVM_GRPH_MAX_DEGREE)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "graph: links of a vector are %u and %u above; "
                         "choose %d to %d",
                         (unsigned)o.degree_0, (unsigned)o.degree, RUVM_GRPH_MIN_DEGREE,
                         RUVM_GRPH_MAX_DEGREE);
    if (o.ef > RUVM_SEARCH_MAX_EF)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "graph: %u candidates for a new node; choose at most %d", (unsigned)o.ef,
                         RUVM_SEARCH_MAX_EF);
    struct ruvm_hnsw_scratch *s = calloc(1, sizeof *s);
    g->scratch = s;
    if (s)
        s->view = malloc(o.ef * sizeof *s->view);
    if (!s || !s->view) {
        ruvm_hnsw_free(g);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory");
    }
    return RUVM_OK;
}

void ruvm_hnsw_free(struct ruvm_hnsw *g)
{
    struct ruvm_hnsw_scratch *s = g->scratch;
    for (unsigned i = 0; i < RUVM_GRPH_MAX_LEVELS; i++) {
        free(g->level[i].ids);
        free(g->level[i].links);
        free(g->level[i].n_links);
    }
    free(g->deleted);
    if (s) {
        free(s->seen);
        free(s->view);
    }
    free(s);
    *g = (struct ruvm_hnsw){0};
}

/* ---- memory ---------------------------------------------------------------- */

/* realloc to cap elements, the old ones kept; false: nothing changed. */
static bool grow(void *pointer, size_t cap, size_t size)
{
    void *old, *new;
    memcpy(&old, pointer, sizeof old);
    new = cap <= SIZE_MAX / size ? realloc(old, cap * size) : NULL;
    if (new)
        memcpy(pointer, &new, sizeof new);
    return new != NULL;
}

static uint32_t grown(uint32_t cap, uint32_t n)
{
    uint32_t next = cap < 64 ? 64 : cap + cap / 2;
    return next < n ? n : next;
}

uint32_t ruvm_hnsw_append(struct ruvm_hnsw_level *l, bool has_ids, uint32_t id)
{
    if (l->n == l->cap) {
        uint32_t cap = grown(l->cap, l->n + 1);
        if (!grow(&l->links, (size_t)cap * l->degree, sizeof *l->links) ||
            !grow(&l->n_links, cap, 1) || (has_ids && !grow(&l->ids, cap, sizeof *l->ids)))
            return RUVM_RAG_NONE;
        l->cap = cap;
    }
    if (has_ids)
        l->ids[l->n] = id;
    l->n_links[l->n] = 0;
    return l->n++;
}

bool ruvm_hnsw_reserve(struct ruvm_hnsw *g, uint32_t n)
{
    struct ruvm_hnsw_scratch *s = g->scratch;
    size_t bytes = ((size_t)n + 7) / 8, before = ((size_t)g->cap + 7) / 8;
    if (n <= g->cap)
        return true;
    if (!grow(&g->deleted, bytes, 1) || !grow(&s->seen, ruvm_walk_seen_bytes(n), 1))
        return false;
    memset(g->deleted + before, 0, bytes - before);
    g->cap = n;
    return true;
}

uint32_t ruvm_hnsw_place(const struct ruvm_hnsw_level *l, uint32_t id)
{
    uint32_t from = 0, to = l->n;
    if (!l->ids)
        return id < l->n ? id : RUVM_RAG_NONE;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (l->ids[middle] < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from < l->n && l->ids[from] == id ? from : RUVM_RAG_NONE;
}

/* ---- walking --------------------------------------------------------------- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a walk reads ids as stored bytes");

static uint32_t links_of(const void *of, unsigned level, uint32_t place, uint32_t *links)
{
    const struct ruvm_hnsw *g = of;
    const struct ruvm_hnsw_level *l = &g->level[level];
    memcpy(links, ruvm_hnsw_links(l, place), l->n_links[place] * sizeof *links);
    return l->n_links[place];
}

/* A walk of the graph as it is; levels is room for its view of them. */
static struct ruvm_walk walk_of(struct ruvm_hnsw *g, const struct ruvm_vectors *set,
                                const struct ruvm_vector_query *q, struct ruvm_search *s,
                                struct ruvm_rag_level *levels)
{
    struct ruvm_hnsw_scratch *scratch = g->scratch;
    for (unsigned i = 0; i < g->n_levels; i++)
        levels[i] = (struct ruvm_rag_level){
            .n = g->level[i].n,
            .ids = (void *)g->level[i].ids,
            .lists = (void *)g->level[i].links,
            .list_bytes = g->level[i].degree * (uint32_t)sizeof *g->level[i].links,
        };
    return (struct ruvm_walk){
        .graph = {g->n_levels, g->entry, levels, links_of, g},
        .set = set,
        .query = q,
        .search = s,
        .view = {.entry = scratch->view, .cap = g->options.ef},
        .seen = scratch->seen,
    };
}

/* ---- adding ---------------------------------------------------------------- */

static unsigned level_of(const struct ruvm_hnsw *g, uint32_t id)
{
    uint64_t state = id, hash = ruvm_random_next(&state);
    unsigned level = 0;
    while (level + 1 < RUVM_GRPH_MAX_LEVELS && hash % g->options.degree_0 == 0) {
        hash /= g->options.degree_0;
        level++;
    }
    return level;
}

/* The node's places in all its levels; false without memory. */
static bool make_places(struct ruvm_hnsw *g, uint32_t id, unsigned top, uint32_t *places)
{
    for (unsigned i = 0; i <= top; i++) {
        struct ruvm_hnsw_level *l = &g->level[i];
        l->degree = i ? g->options.degree : g->options.degree_0;
        places[i] = ruvm_hnsw_append(l, i > 0, id);
        if (places[i] == RUVM_RAG_NONE) {
            while (i-- > 0)
                g->level[i].n--;
            return false;
        }
    }
    return true;
}

static void connect(const struct ruvm_vectors *set, struct ruvm_hnsw_level *l, uint32_t place,
                    const struct ruvm_nearest *view)
{
    const struct ruvm_hnsw_choice c = {set, l, place, view->entry, view->n};
    uint32_t *links = ruvm_hnsw_links(l, place);
    uint32_t n = ruvm_hnsw_link_choose(&c, links);
    l->n_links[place] = (uint8_t)n;
    for (uint32_t i = 0; i < n; i++)
        ruvm_hnsw_link_add(set, l, links[i], place);
}

/* Links the node into its levels, the highest first. Nothing leads to it before. */
static void link_in(struct ruvm_hnsw *g, const struct ruvm_vectors *set, uint32_t id,
                    const uint32_t *places, unsigned top)
{
    struct ruvm_rag_level levels[RUVM_GRPH_MAX_LEVELS];
    struct ruvm_search s = {.k = 1};
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, set, id);
    struct ruvm_walk w = walk_of(g, set, &q, &s, levels);
    unsigned level = top < g->n_levels ? top : g->n_levels - 1;
    uint32_t start = ruvm_walk_start(&w, level);
    for (;; level--) {
        ruvm_walk_level(&w, level, start);
        start = ruvm_nearest_id(w.view.entry[0]);
        connect(set, &g->level[level], places[level], &w.view);
        if (level == 0)
            return;
        start = ruvm_walk_below(&w.graph, level, start);
    }
}

static int add_one(struct ruvm_hnsw *g, const struct ruvm_vectors *set)
{
    uint32_t id = g->n, places[RUVM_GRPH_MAX_LEVELS];
    unsigned top = level_of(g, id);
    bool has_live = g->n > g->n_deleted;
    if (!make_places(g, id, top, places))
        return RUVM_ERR_MEMORY;
    g->n++;
    if (has_live)
        link_in(g, set, id, places, top);
    if (!has_live || top + 1 > g->n_levels) {
        g->n_levels = top + 1;
        g->entry = places[top];
    }
    return RUVM_OK;
}

int ruvm_hnsw_add(struct ruvm_hnsw *g, const struct ruvm_vectors *set,
                  const struct ruvm_hnsw_progress *progress, struct ruvm_error *err)
{
    enum { TELL_EACH = 256 };
    if (set->n > RUVM_RAG_MAX_VECTORS)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "graph: %u vectors; a blob holds at most %u: "
                         "make larger chunks, or several blobs",
                         (unsigned)set->n, (unsigned)RUVM_RAG_MAX_VECTORS);
    if (!ruvm_hnsw_reserve(g, set->n))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory for %u vectors",
                         (unsigned)set->n);
    while (g->n < set->n) {
        if (add_one(g, set) != RUVM_OK)
            return ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory at vector %u of %u",
                             (unsigned)g->n, (unsigned)set->n);
        if (progress && progress->tell && g->n % TELL_EACH == 0 &&
            !progress->tell(progress->context, g->n, set->n))
            return RUVM_ERR_FULL;
    }
    return RUVM_OK;
}
