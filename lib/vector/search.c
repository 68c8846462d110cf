/* Search: what is done around a walk: memory, filters, and the searches without a graph. */
#include "lib/vector/search.h"

#include "lib/vector/nearest.h"
#include "lib/vector/walk.h"

/* ---- memory ---------------------------------------------------------------- */

static bool chooses(const struct ruvm_search *s)
{
    return s->deleted || s->filter;
}

/* Rows that the bitmap of a filter lets through. */
static uint32_t count_allowed(const struct ruvm_search *s, uint32_t n)
{
    const uint8_t *bits = s->filter ? s->filter->allowed : NULL;
    uint32_t count = 0;
    if (!bits)
        return n;
    for (uint32_t i = 0; i < n; i++)
        count += bits[i / 8] >> i % 8 & 1;
    return count;
}

/* Rows in view: ef, and with a filter so many that about ef of them pass. */
static uint32_t width_of(const struct ruvm_search *s, uint32_t n)
{
    uint32_t ef = s->ef > s->k ? s->ef : s->k, allowed = count_allowed(s, n);
    uint64_t wide = allowed ? (uint64_t)ef * n / allowed : ef;
    if (wide < ef)
        wide = ef;
    return wide < RUVM_SEARCH_MAX_EF ? (uint32_t)wide : RUVM_SEARCH_MAX_EF;
}

size_t ruvm_search_bytes(const struct ruvm_search *s, uint32_t n)
{
    if (n == 0)
        return (size_t)s->k * sizeof(uint64_t);
    size_t accepted = chooses(s) ? s->k : 0;
    return ruvm_walk_seen_bytes(n) + (width_of(s, n) + accepted) * sizeof(uint64_t);
}

static int check(const struct ruvm_search *s, size_t needed, size_t bytes)
{
    if (s->k < 1 || s->k > RUVM_SEARCH_MAX_EF || s->ef > RUVM_SEARCH_MAX_EF)
        return RUVM_ERR_ARG;
    return needed <= bytes ? RUVM_OK : RUVM_ERR_MEMORY;
}

/* ---- scan ------------------------------------------------------------------ */

static void keep_best(struct ruvm_nearest *l, const uint32_t *ids, uint32_t first, uint32_t n,
                      const uint32_t *keys)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t entry = ruvm_nearest_entry(keys[i], ids ? ids[i] : first + i);
        if (ruvm_nearest_wants(l, entry))
            ruvm_nearest_insert(l, entry);
    }
}

/* Keys from this one on come too late: so does a row that is as far as the worst one, its id
 * being larger. */
static uint32_t bound_of(const struct ruvm_nearest *l)
{
    return l->n < l->cap ? UINT32_MAX : ruvm_nearest_worst(l);
}

/* Most batches hold nothing near: then one comparison is all that is left to do. */
static void scan_all(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                     struct ruvm_nearest *l)
{
    uint32_t keys[RUVM_VECTORS_BATCH], places[RUVM_VECTORS_BATCH];
    for (uint32_t i = 0; i < set->n; i += RUVM_VECTORS_BATCH) {
        uint32_t n = set->n - i < RUVM_VECTORS_BATCH ? set->n - i : RUVM_VECTORS_BATCH;
        ruvm_vectors_keys(set, q, NULL, i, n, keys);
        if (l->n < l->cap) {
            keep_best(l, NULL, i, n, keys);
            continue;
        }
        n = set->kernels->below(places, keys, n, ruvm_nearest_worst(l));
        for (uint32_t j = 0; j < n; j++)
            keep_best(l, NULL, i + places[j], 1, keys + places[j]);
    }
}

/* Bits are counted faster than they could be written down and read again. A few rows at a time
 * are those below a bound that they make lower. */
static void scan_bits(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                      struct ruvm_nearest *l)
{
    enum { FEW = 16 };
    uint32_t places[FEW], keys[FEW], found;
    struct ruvm_vector_job job = {
        .query = q->row, .row_bytes = set->row_bytes, .stride = set->row_bytes};
    for (uint32_t i = 0; i < set->n; i = found < FEW ? set->n : i + places[FEW - 1] + 1) {
        job.rows = set->rows + (size_t)i * set->row_bytes;
        job.n = set->n - i;
        found = set->kernels->hamming_below(places, keys, FEW, &job, bound_of(l));
        for (uint32_t j = 0; j < found; j++)
            keep_best(l, NULL, i + places[j], 1, keys + j);
    }
}

static void scan_rows(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                      struct ruvm_nearest *l)
{
    if (set->type == RUVM_VECTOR_BINARY)
        scan_bits(set, q, l);
    else
        scan_all(set, q, l);
}

/* Only rows that may be hits are compared. Returns their number. */
static uint32_t scan_some(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                          const struct ruvm_search *s, struct ruvm_nearest *l)
{
    uint32_t ids[RUVM_VECTORS_BATCH], keys[RUVM_VECTORS_BATCH], n = 0, total = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        if (ruvm_walk_accepts(s, i))
            ids[n++] = i;
        if (n < RUVM_VECTORS_BATCH && i + 1 < set->n)
            continue;
        ruvm_vectors_keys(set, q, ids, 0, n, keys);
        keep_best(l, ids, 0, n, keys);
        total += n;
        n = 0;
    }
    return total;
}

int ruvm_search_scan(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                     struct ruvm_search *s, void *memory, size_t bytes, struct ruvm_hit *hits)
{
    struct ruvm_nearest best = {.entry = memory, .cap = s->k};
    int rc = check(s, ruvm_search_bytes(s, 0), bytes);
    if (rc != RUVM_OK)
        return rc;
    s->n_distances = set->n;
    if (chooses(s))
        s->n_distances = scan_some(set, q, s, &best);
    else
        scan_rows(set, q, &best);
    return (int)ruvm_nearest_hits(&best, s->k, hits);
}

/* ---- graph ----------------------------------------------------------------- */

/* Where so few rows pass the filter that looking at all of them is about the work of a walk:
 * a walk compares several rows for each one in view. */
static bool is_narrow(const struct ruvm_search *s, uint32_t n)
{
    enum { COMPARED_FOR_EACH = 8 };
    uint64_t allowed = count_allowed(s, n), ef = s->ef > s->k ? s->ef : s->k;
    return allowed < n && allowed * allowed <= COMPARED_FOR_EACH * ef * n;
}

static uint32_t links_of(const void *of, unsigned level, uint32_t place, uint32_t *links)
{
    return ruvm_rag_links(of, level, place, links);
}

int ruvm_search_graph(const struct ruvm_rag *rag, const struct ruvm_vectors *set,
                      const struct ruvm_vector_query *q, struct ruvm_search *s, void *memory,
                      size_t bytes, struct ruvm_hit *hits)
{
    int rc = check(s, ruvm_search_bytes(s, set->n), bytes);
    if (rc != RUVM_OK)
        return rc;
    if (rag->n_levels == 0 || set->n == 0 || is_narrow(s, set->n))
        return ruvm_search_scan(set, q, s, memory, bytes, hits);
    struct ruvm_walk w = {
        .graph = {rag->n_levels, rag->entry, rag->level, links_of, rag},
        .set = set,
        .query = q,
        .search = s,
        .seen = memory,
    };
    w.view.entry = w.seen + ruvm_walk_seen_bytes(set->n) / 8;
    w.view.cap = width_of(s, set->n);
    w.accepted.entry = w.view.entry + w.view.cap;
    w.accepted.cap = chooses(s) ? s->k : 0;
    s->n_distances = 0;
    ruvm_walk_level(&w, 0, ruvm_walk_start(&w, 0));
    return (int)ruvm_nearest_hits(w.accepted.cap ? &w.accepted : &w.view, s->k, hits);
}

/* ---- signs first ------------------------------------------------------------- */

int ruvm_search_signs(const struct ruvm_vectors *set, const struct ruvm_vectors *bits,
                      const struct ruvm_vector_query *q, const struct ruvm_vector_query *signs,
                      struct ruvm_search *s, void *memory, size_t bytes, struct ruvm_hit *hits)
{
    uint32_t ef = s->ef > s->k ? s->ef : s->k;
    struct ruvm_nearest first = {.entry = memory, .cap = ef}, best;
    int rc = check(s, (size_t)(ef + s->k) * sizeof(uint64_t), bytes);
    if (rc != RUVM_OK)
        return rc;
    if (chooses(s))
        scan_some(bits, signs, s, &first);
    else
        scan_rows(bits, signs, &first);
    best = (struct ruvm_nearest){.entry = first.entry + ef, .cap = s->k};
    for (uint32_t i = 0; i < first.n; i += RUVM_VECTORS_BATCH) {
        uint32_t ids[RUVM_VECTORS_BATCH], keys[RUVM_VECTORS_BATCH], n = 0;
        for (; n < RUVM_VECTORS_BATCH && i + n < first.n; n++)
            ids[n] = ruvm_nearest_id(first.entry[i + n]);
        ruvm_vectors_keys(set, q, ids, 0, n, keys);
        keep_best(&best, ids, 0, n, keys);
    }
    s->n_distances = first.n;
    return (int)ruvm_nearest_hits(&best, s->k, hits);
}

/* ---- shards ------------------------------------------------------------------ */

static bool is_before(struct ruvm_hit a, struct ruvm_hit b)
{
    return a.key < b.key || (a.key == b.key && a.id < b.id);
}

int ruvm_search_merge(const struct ruvm_shard_hits *shards, uint32_t n_shards, uint32_t k,
                      struct ruvm_hit *hits)
{
    uint32_t next[RUVM_SEARCH_MAX_SHARDS] = {0}, n = 0;
    if (n_shards > RUVM_SEARCH_MAX_SHARDS)
        return RUVM_ERR_ARG;
    for (; n < k; n++) {
        uint32_t from = n_shards;
        for (uint32_t i = 0; i < n_shards; i++) {
            if (next[i] == shards[i].n)
                continue;
            struct ruvm_hit hit = shards[i].hits[next[i]];
            hit.id += shards[i].base;
            if (from == n_shards || is_before(hit, hits[n])) {
                hits[n] = hit;
                from = i;
            }
        }
        if (from == n_shards)
            break;
        next[from]++;
    }
    return (int)n;
}
