/* How well a blob finds: what rounding its vectors and walking its graph cost, apart.
 *
 * A question is the first words of a chunk, spread evenly over the blob; where text becomes no
 * vector, it is a vector of the blob before rounding. The truth for the
 * codes is the cosine of the vectors before rounding, for the graph the scan of the codes. The
 * smallest ef that finds nearly all of what the scan finds is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/rag_build.h"
#include "lib/vector/search.h"

enum { QUERIES = 100, K = 10, QUESTION_BYTES = 120, MAX_EF = 512 };

struct ruvm_vectors ruvm_rag_set(const struct ruvm_rag *rag)
{
    return ruvm_vectors_of(rag, ruvm_vector_kernels_select(NULL));
}

void ruvm_rag_query_of(struct ruvm_rag_query *q, const struct ruvm_vectors *set)
{
    if (set->type == RUVM_VECTOR_BINARY)
        ruvm_vectors_signs(q->row, q->x, set->dims, set->row_bytes);
    else
        ruvm_vectors_quantize((int8_t *)q->row, q->x, set->dims, ruvm_vectors_query_bytes(set));
    ruvm_vectors_query(&q->q, set, q->row, NULL);
}

struct measuring {
    const struct ruvm_rag_measure *m;
    struct ruvm_vectors set;
    struct ruvm_rag_query query;
    void *memory;
    size_t bytes;
    struct ruvm_hit truth[QUERIES][K];
    int n_truth[QUERIES];
    uint32_t n_queries, n_exact;
};

static void ask(struct measuring *s, uint32_t i)
{
    const struct ruvm_library *lib = s->m->lib;
    size_t chunk = (uint64_t)i * s->set.n / s->n_queries;
    size_t row = (uint64_t)i * s->n_exact / s->n_queries;
    const struct ruvm_library_chunk *c = &lib->chunks[chunk];
    if (!ruvm_recipe_reads(s->m->recipe)) {
        memcpy(s->query.x, s->m->exact + row * s->set.dims, s->set.dims * sizeof *s->query.x);
    } else {
        uint32_t n = c->n_text < QUESTION_BYTES ? c->n_text : QUESTION_BYTES;
        ruvm_recipe_embed(s->m->recipe, s->query.x, s->set.dims, c->text, n);
    }
    ruvm_rag_query_of(&s->query, &s->set);
}

static uint32_t common(const struct ruvm_hit *a, int n_a, const struct ruvm_hit *b, int n_b)
{
    uint32_t n = 0;
    for (int i = 0; i < n_a; i++)
        for (int j = 0; j < n_b; j++)
            n += a[i].id == b[j].id;
    return n;
}

static uint16_t share(uint64_t found, uint64_t all)
{
    return (uint16_t)(all ? found * 65535 / all : 65535);
}

static int scan_all(struct measuring *s, struct ruvm_error *err)
{
    for (uint32_t i = 0; i < s->n_queries; i++) {
        struct ruvm_search search = {.k = K, .ef = K};
        ask(s, i);
        int n = ruvm_search_scan(&s->set, &s->query.q, &search, s->memory, s->bytes, s->truth[i]);
        if (n < 0)
            return ruvm_fail(err, n, "the blob made cannot be searched");
        s->n_truth[i] = n;
    }
    return RUVM_OK;
}

/* ---- what rounding costs --------------------------------------------------------------- */

/* cos^2 with the sign of the cosine, but for the query's length: ranks as the cosine. */
static double rank_of(const int32_t *x, const int32_t *y, uint32_t dims)
{
    double dot = 0, norm = 0;
    for (uint32_t i = 0; i < dims; i++) {
        dot += (double)x[i] * y[i];
        norm += (double)y[i] * y[i];
    }
    return norm > 0 ? (dot < 0 ? -dot : dot) * dot / norm : 0;
}

static int exact_hits(const struct measuring *s, struct ruvm_hit *hits)
{
    double best[K];
    int n = 0;
    for (uint32_t id = 0; id < s->set.n; id++) {
        double rank = rank_of(s->query.x, s->m->exact + (size_t)id * s->set.dims, s->set.dims);
        int place = n;
        while (place > 0 && best[place - 1] < rank)
            place--;
        if (place == K)
            continue;
        n += n < K;
        for (int i = n - 1; i > place; i--) {
            best[i] = best[i - 1];
            hits[i] = hits[i - 1];
        }
        best[place] = rank;
        hits[place].id = id;
    }
    return n;
}

/* Of a large blob among its first vectors, those that are known as they were. */
static int recall_of_codes(struct measuring *s, uint16_t *recall, struct ruvm_error *err)
{
    uint64_t found = 0, all = 0;
    int rc = RUVM_OK;
    if (s->n_exact < s->set.n) {
        s->set.n = s->n_exact;
        rc = scan_all(s, err);
    }
    for (uint32_t i = 0; rc == RUVM_OK && i < s->n_queries; i++) {
        struct ruvm_hit hits[K];
        ask(s, i);
        int n = exact_hits(s, hits);
        found += common(hits, n, s->truth[i], s->n_truth[i]);
        all += (uint64_t)n;
    }
    *recall = share(found, all);
    return rc;
}

/* ---- what the graph costs -------------------------------------------------------------- */

static int walk_all(struct measuring *s, uint32_t ef, struct ruvm_rag_figures *f,
                    struct ruvm_error *err)
{
    uint64_t found = 0, all = 0, distances = 0;
    f->distances_max = 0;
    for (uint32_t i = 0; i < s->n_queries; i++) {
        struct ruvm_search search = {.k = K, .ef = ef};
        struct ruvm_hit hits[K];
        ask(s, i);
        int n =
            ruvm_search_graph(s->m->rag, &s->set, &s->query.q, &search, s->memory, s->bytes, hits);
        if (n < 0)
            return ruvm_fail(err, n, "the graph of the blob made cannot be walked");
        found += common(hits, n, s->truth[i], s->n_truth[i]);
        all += (uint64_t)s->n_truth[i];
        distances += search.n_distances;
        if (search.n_distances > f->distances_max)
            f->distances_max = search.n_distances;
    }
    f->recall_graph = share(found, all);
    f->distances = (uint32_t)(distances / s->n_queries);
    return RUVM_OK;
}

static int choose_ef(struct measuring *s, struct ruvm_rag_draft *d, struct ruvm_error *err)
{
    static const uint16_t efs[] = {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, MAX_EF};
    int rc = RUVM_OK;
    d->figures.recall_graph = 0;
    for (size_t i = 0; rc == RUVM_OK && i < sizeof efs / sizeof *efs &&
                       d->figures.recall_graph < RUVM_RAG_GOAL_65535;
         i++) {
        rc = walk_all(s, efs[i], &d->figures, err);
        d->ef = efs[i];
    }
    return rc;
}

static int measure(struct measuring *s, struct ruvm_rag_draft *d, struct ruvm_error *err)
{
    int rc = scan_all(s, err);
    d->figures.n_queries = (uint16_t)s->n_queries;
    d->figures.k = K;
    d->figures.recall_graph = 65535;
    d->figures.distances = d->figures.distances_max = s->set.n;
    if (rc == RUVM_OK && d->part[RUVM_RAG_GRPH].data)
        rc = choose_ef(s, d, err);
    if (rc == RUVM_OK)
        rc = recall_of_codes(s, &d->figures.recall_code, err);
    return rc;
}

static int measure_blob(const struct ruvm_rag_measure *m, struct ruvm_rag_draft *draft,
                        struct ruvm_error *err)
{
    const struct ruvm_search largest = {.k = K, .ef = MAX_EF};
    if (m->rag->n == 0)
        return RUVM_OK;
    struct measuring *s = calloc(1, sizeof *s);
    int rc = RUVM_ERR_MEMORY;
    if (s) {
        s->m = m;
        s->set = ruvm_rag_set(m->rag);
        s->n_queries = m->rag->n < QUERIES ? m->rag->n : QUERIES;
        s->n_exact = m->rag->n < m->n_exact ? m->rag->n : m->n_exact;
        s->bytes = ruvm_search_bytes(&largest, m->rag->n);
        s->memory = malloc(s->bytes);
        if (s->memory)
            rc = measure(s, draft, err);
        free(s->memory);
    }
    free(s);
    return rc == RUVM_ERR_MEMORY ? ruvm_fail(err, rc, "no memory for measuring the blob") : rc;
}

int ruvm_rag_measure(const struct ruvm_rag_measure *m, struct ruvm_rag_draft *draft,
                     struct ruvm_error *err)
{
    int rc = measure_blob(m, draft, err);
    const struct ruvm_search as_stored = {.k = K, .ef = draft->ef ? draft->ef : K};
    draft->query_bytes = (uint32_t)ruvm_search_bytes(&as_stored, draft->ef ? m->rag->n : 0);
    return rc;
}
