/* The graph as the section GRPH: written, read back to grow, and checked.
 *
 * Links take as many bits as a place of all vectors needs, so a graph of ten thousand is an
 * eighth smaller than with 16 bits, and one of a hundred thousand about half of what whole
 * words would take.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/hnsw_parts.h"

/* ---- writing ---------------------------------------------------------------- */

/* Links of one place; the owner itself fills the rest. */
static void pack_list(uint8_t *list, const uint32_t *links, uint32_t n, uint32_t owner,
                      uint32_t degree, uint32_t id_bits)
{
    uint32_t bit = 0;
    for (uint32_t i = 0; i < degree; i++) {
        uint32_t link = i < n ? links[i] : owner;
        for (uint32_t k = 0; k < id_bits; k++, bit++)
            list[bit / 8] = (uint8_t)(list[bit / 8] | (link >> k & 1) << bit % 8);
    }
}

static void write_lists(const struct ruvm_hnsw_level *l, uint32_t id_bits, struct ruvm_buffer *out)
{
    uint32_t list_bytes = ruvm_rag_list_bytes(l->degree, id_bits);
    uint8_t *lists = ruvm_buffer_zeros(out, (size_t)l->n * list_bytes);
    for (uint32_t i = 0; lists && i < l->n; i++)
        pack_list(lists + (size_t)i * list_bytes, ruvm_hnsw_links(l, i), l->n_links[i], i,
                  l->degree, id_bits);
}

int ruvm_hnsw_write(const struct ruvm_hnsw *g, struct ruvm_buffer *out, struct ruvm_error *err)
{
    uint32_t id_bits = ruvm_rag_id_bits(g->n);
    if (g->n == 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "graph: there are no vectors to make a graph of");
    ruvm_buffer_u8(out, (uint8_t)id_bits);
    ruvm_buffer_u8(out, (uint8_t)g->options.degree_0);
    ruvm_buffer_u8(out, (uint8_t)g->options.degree);
    ruvm_buffer_u8(out, (uint8_t)g->n_levels);
    ruvm_buffer_u32(out, g->entry);
    for (unsigned i = 1; i < g->n_levels; i++)
        ruvm_buffer_u32(out, g->level[i].n);
    for (unsigned i = 1; i < g->n_levels; i++)
        for (uint32_t k = 0; k < g->level[i].n; k++)
            ruvm_buffer_u32(out, g->level[i].ids[k]);
    for (unsigned i = 0; i < g->n_levels; i++)
        write_lists(&g->level[i], id_bits, out);
    ruvm_buffer_zeros(out, RUVM_GRPH_TAIL);
    return ruvm_buffer_ok(out) ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory");
}

/* ---- reading ---------------------------------------------------------------- */

static bool load_level(struct ruvm_hnsw *g, const struct ruvm_rag *rag, unsigned level)
{
    const struct ruvm_rag_level *from = &rag->level[level];
    struct ruvm_hnsw_level *l = &g->level[level];
    l->degree = from->degree;
    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t place = ruvm_hnsw_append(l, level > 0, ruvm_walk_id(from, i));
        uint32_t links[RUVM_GRPH_MAX_DEGREE];
        if (place == RUVM_RAG_NONE)
            return false;
        l->n_links[place] = (uint8_t)ruvm_rag_links(rag, level, i, links);
        memcpy(ruvm_hnsw_links(l, place), links, l->n_links[place] * sizeof *links);
    }
    return true;
}

int ruvm_hnsw_load(struct ruvm_hnsw *g, const struct ruvm_rag *rag, struct ruvm_error *err)
{
    const struct ruvm_hnsw_options options = {
        .degree_0 = rag->level[0].degree, .degree = rag->level[1].degree, .ef = rag->ef_build};
    const struct ruvm_rag_part *g_part = &rag->part[RUVM_RAG_GRPH];
    *g = (struct ruvm_hnsw){0};
    if (!rag->n_levels)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "graph: the blob has none");
    int rc = ruvm_hnsw_init(g, &options, err);
    if (rc != RUVM_OK)
        return rc;
    g->options.degree = g_part->data[RUVM_GRPH_DEGREE];
    bool ok = ruvm_hnsw_reserve(g, rag->n);
    for (unsigned i = 0; ok && i < rag->n_levels; i++)
        ok = load_level(g, rag, i);
    if (!ok) {
        ruvm_hnsw_free(g);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory");
    }
    g->n = rag->n;
    g->n_levels = rag->n_levels;
    g->entry = rag->entry;
    g->n_deleted = rag->n_deleted;
    if (rag->part[RUVM_RAG_DEAD].data)
        memcpy(g->deleted, rag->part[RUVM_RAG_DEAD].data, rag->part[RUVM_RAG_DEAD].bytes);
    return RUVM_OK;
}

/* ---- checking --------------------------------------------------------------- */

/* Marks what a walk from start meets; returns how many. */
static uint32_t flood(const struct ruvm_rag *rag, unsigned level, uint32_t start, uint8_t *met,
                      uint32_t *queue)
{
    uint32_t links[RUVM_GRPH_MAX_DEGREE], head = 0, tail = 0;
    memset(met, 0, rag->level[level].n);
    met[start] = 1;
    queue[tail++] = start;
    while (head < tail) {
        uint32_t n = ruvm_rag_links(rag, level, queue[head++], links);
        for (uint32_t i = 0; i < n; i++) {
            if (met[links[i]])
                continue;
            met[links[i]] = 1;
            queue[tail++] = links[i];
        }
    }
    return tail;
}

/* The entry's place in a level below the top; the ids were checked to be nested. */
static uint32_t entry_in(const struct ruvm_rag *rag, unsigned level)
{
    const struct ruvm_graph graph = {rag->n_levels, rag->entry, rag->level, NULL, NULL};
    uint32_t place = rag->entry;
    for (unsigned l = rag->n_levels - 1u; l > level; l--)
        place = ruvm_walk_below(&graph, l, place);
    return place;
}

static int check_level(const struct ruvm_rag *rag, unsigned level, uint8_t *met, uint32_t *queue,
                       struct ruvm_error *err)
{
    const struct ruvm_rag_level *l = &rag->level[level];
    flood(rag, level, entry_in(rag, level), met, queue);
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t id = ruvm_walk_id(l, i);
        if (!met[i] && !ruvm_rag_is_deleted(rag, id))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "GRPH: no walk from the entry gets to vector "
                             "%u in level %u; build the blob again",
                             (unsigned)id, level);
    }
    return RUVM_OK;
}

static int check_entry(const struct ruvm_rag *rag, struct ruvm_error *err)
{
    uint32_t id = ruvm_walk_id(&rag->level[rag->n_levels - 1], rag->entry);
    if (rag->n_deleted < rag->n && ruvm_rag_is_deleted(rag, id))
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "GRPH: the entry, vector %u, is deleted; build "
                         "the blob again",
                         (unsigned)id);
    return RUVM_OK;
}

static void count_links(const struct ruvm_rag *rag, struct ruvm_hnsw_report *report)
{
    uint32_t links[RUVM_GRPH_MAX_DEGREE];
    *report = (struct ruvm_hnsw_report){
        .n_live = rag->n - rag->n_deleted,
        .n_reached = rag->n - rag->n_deleted,
        .min_degree = UINT32_MAX,
        .n_bytes = rag->part[RUVM_RAG_GRPH].bytes,
    };
    for (uint32_t i = 0; i < rag->n; i++) {
        uint32_t n = ruvm_rag_links(rag, 0, i, links);
        if (ruvm_rag_is_deleted(rag, i))
            continue;
        report->n_links += n;
        report->min_degree = n < report->min_degree ? n : report->min_degree;
        report->max_degree = n > report->max_degree ? n : report->max_degree;
    }
}

int ruvm_hnsw_validate(const struct ruvm_rag *rag, struct ruvm_hnsw_report *report,
                       struct ruvm_error *err)
{
    struct ruvm_rag_fault fault;
    int rc = ruvm_rag_check(rag, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: byte %u: %s", fault.section[0] ? fault.section : "header",
                         (unsigned)fault.off, fault.what);
    if (!rag->n_levels)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "GRPH: the blob has no graph");
    uint8_t *met = malloc(rag->n);
    uint32_t *queue = malloc(rag->n * sizeof *queue);
    rc = met && queue ? check_entry(rag, err)
                      : ruvm_fail(err, RUVM_ERR_MEMORY, "graph: out of memory");
    for (unsigned i = 0; rc == RUVM_OK && rag->n_deleted < rag->n && i < rag->n_levels; i++)
        rc = check_level(rag, i, met, queue, err);
    free(met);
    free(queue);
    if (rc == RUVM_OK && report)
        count_links(rag, report);
    return rc;
}
