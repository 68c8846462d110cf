/* Searches: the scan is exact, the walk is as good as the scan when it may look everywhere,
 * and both are the same with every kernel. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/vector/search.h"
#include "tests/vector/vector_set.h"

enum { N = 600, DIMS = 40, K = 10, MEMORY = 1 << 16 };

static uint64_t memory[MEMORY / 8];

/* The k nearest by sorting all keys. */
static int by_key(const void *a, const void *b)
{
    const struct ruvm_hit *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
                            : (x->id > y->id) - (x->id < y->id);
}

static uint32_t naive(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                      const struct ruvm_search *s, struct ruvm_hit *hits)
{
    struct ruvm_hit all[N];
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        if (s->deleted && s->deleted[i / 8] >> i % 8 & 1)
            continue;
        if (s->filter && s->filter->allowed && !(s->filter->allowed[i / 8] >> i % 8 & 1))
            continue;
        if (s->filter && s->filter->accepts && !s->filter->accepts(s->filter->context, i))
            continue;
        all[n].id = i;
        ruvm_vectors_keys(set, q, NULL, i, 1, &all[n++].key);
    }
    qsort(all, n, sizeof *all, by_key);
    n = n < s->k ? n : s->k;
    memcpy(hits, all, n * sizeof *hits);
    return n;
}

static void expect_same(const struct ruvm_hit *a, int n, const struct ruvm_hit *b, uint32_t m,
                        const char *what)
{
    cr_assert_eq(n, (int)m, "%s: %d hits instead of %u", what, n, m);
    for (uint32_t i = 0; i < m; i++)
        cr_assert(a[i].key == b[i].key && a[i].id == b[i].id, "%s: hit %u is %u, not %u", what, i,
                  a[i].id, b[i].id);
}

static bool is_odd(void *context, uint32_t id)
{
    ++*(uint32_t *)context;
    return id % 2;
}

static void check_all_searches(const struct vector_blob *b, const struct ruvm_vectors *set,
                               const struct ruvm_vectors *signs, struct ruvm_search s)
{
    for (uint32_t query = 0; query < 20; query++) {
        struct ruvm_vector_query q, sq;
        struct ruvm_hit want[K], got[K];
        ruvm_vectors_query_row(&q, set, query * 7);
        uint32_t n = naive(set, &q, &s, want);
        expect_same(got, ruvm_search_scan(set, &q, &s, memory, MEMORY, got), want, n, "scan");
        expect_same(got, ruvm_search_graph(&b->rag, set, &q, &s, memory, MEMORY, got), want, n,
                    "graph");
        if (!signs)
            continue;
        ruvm_vectors_query_row(&sq, signs, query * 7);
        expect_same(got, ruvm_search_signs(set, signs, &q, &sq, &s, memory, MEMORY, got), want, n,
                    "signs");
    }
}

/* With all rows in view, a walk must find what a scan finds: everything can be reached. */
Test(search, all_searches_agree)
{
    static uint8_t some[(N + 7) / 8], half[(N + 7) / 8];
    uint32_t asked = 0;
    struct ruvm_filter filter = {.allowed = half}, odd = {NULL, is_odd, &asked};
    for (uint32_t i = 0; i < N; i++) {
        some[i / 8] = (uint8_t)(some[i / 8] | (i % 7 == 0) << i % 8);
        half[i / 8] = (uint8_t)(half[i / 8] | (i % 11 < 6) << i % 8);
    }
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        struct vector_set v;
        struct vector_blob b;
        vector_set_make(&v, vector_sorts[sort].type, vector_sorts[sort].metric, DIMS, N, 77);
        vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){.degree_0 = 12, .ef = 60});
        for (const struct ruvm_vector_kernels *const *k = ruvm_vector_kernels_all; *k; k++) {
            if (!(*k)->available())
                continue;
            struct ruvm_vectors set = ruvm_vectors_of(&b.rag, *k);
            struct ruvm_vectors signs = ruvm_vectors_signs_of(&b.rag, *k);
            const struct ruvm_vectors *first = signs.rows ? &signs : NULL;
            check_all_searches(&b, &set, first, (struct ruvm_search){.k = K, .ef = N});
            check_all_searches(&b, &set, first,
                               (struct ruvm_search){.k = K, .ef = N, .deleted = some});
            check_all_searches(&b, &set, first,
                               (struct ruvm_search){.k = K, .ef = N, .filter = &filter});
            check_all_searches(
                &b, &set, first,
                (struct ruvm_search){.k = K, .ef = N, .deleted = some, .filter = &odd});
        }
        free(b.data);
        vector_set_free(&v);
    }
    cr_assert_gt(asked, 0);
}

/* Where few pass, a filter leads to a scan of these alone, which is exact and shorter. */
Test(search, narrow_filters_are_scanned)
{
    static uint8_t few[(N + 7) / 8];
    struct ruvm_filter filter = {.allowed = few};
    struct ruvm_search s = {.k = K, .ef = K, .filter = &filter};
    struct ruvm_hit want[K], got[K];
    struct ruvm_vector_query q;
    struct vector_set v;
    struct vector_blob b;
    for (uint32_t i = 0; i < N; i += 29)
        few[i / 8] = (uint8_t)(few[i / 8] | 1 << i % 8);
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, N, 5);
    vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){0});
    ruvm_vectors_query_row(&q, &v.set, 1);
    uint32_t n = naive(&v.set, &q, &s, want);
    expect_same(got, ruvm_search_graph(&b.rag, &v.set, &q, &s, memory, MEMORY, got), want, n,
                "few");
    cr_assert_eq(s.n_distances, (N + 28) / 29);
    free(b.data);
    vector_set_free(&v);
}

Test(search, memory_is_what_is_stated)
{
    struct ruvm_search s = {.k = 10, .ef = 32};
    static uint8_t dead[1250];
    struct vector_set v;
    struct vector_blob b;
    struct ruvm_vector_query q;
    struct ruvm_hit hits[K];
    cr_assert_leq(ruvm_search_bytes(&s, 10000), 2048);
    s.deleted = dead;
    cr_assert_leq(ruvm_search_bytes(&s, 10000), 2048);
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, N, 5);
    vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){0});
    ruvm_vectors_query_row(&q, &v.set, 3);
    size_t bytes = ruvm_search_bytes(&s, N);
    uint64_t *exact = malloc(bytes); /* the sanitizer sees a byte too many */
    cr_assert_eq(ruvm_search_graph(&b.rag, &v.set, &q, &s, exact, bytes, hits), K);
    cr_assert_eq(ruvm_search_graph(&b.rag, &v.set, &q, &s, exact, bytes - 1, hits),
                 RUVM_ERR_MEMORY);
    s.k = 0;
    cr_assert_eq(ruvm_search_scan(&v.set, &q, &s, exact, bytes, hits), RUVM_ERR_ARG);
    s.k = 10;
    s.ef = RUVM_SEARCH_MAX_EF + 1;
    cr_assert_eq(ruvm_search_graph(&b.rag, &v.set, &q, &s, exact, bytes, hits), RUVM_ERR_ARG);
    free(exact);
    free(b.data);
    vector_set_free(&v);
}

/* The k nearest of shards, merged, are the k nearest of all. */
Test(search, shards_are_as_good_as_the_whole)
{
    static const uint32_t cut[] = {0, 100, 101, 104, 350, 350, N};
    enum { SHARDS = sizeof cut / sizeof *cut - 1 };
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        struct vector_set v;
        struct ruvm_hit part[SHARDS][K], want[K], got[K];
        struct ruvm_shard_hits shards[SHARDS];
        struct ruvm_search s = {.k = K};
        struct ruvm_vector_query q;
        vector_set_make(&v, vector_sorts[sort].type, vector_sorts[sort].metric, DIMS, N, 8);
        ruvm_vectors_query_row(&q, &v.set, 33);
        for (int i = 0; i < SHARDS; i++) {
            struct ruvm_vectors shard = v.set;
            shard.rows += (size_t)cut[i] * shard.row_bytes;
            shard.side = shard.side ? shard.side + (size_t)cut[i] * shard.side_bytes : NULL;
            shard.n = cut[i + 1] - cut[i];
            int n = ruvm_search_scan(&shard, &q, &s, memory, MEMORY, part[i]);
            shards[i] = (struct ruvm_shard_hits){part[i], (uint32_t)n, cut[i]};
        }
        uint32_t n = naive(&v.set, &q, &s, want);
        expect_same(got, ruvm_search_merge(shards, SHARDS, K, got), want, n, "merge");
        cr_assert_eq(ruvm_search_merge(shards, 0, K, got), 0);
        cr_assert_eq(ruvm_search_merge(shards, RUVM_SEARCH_MAX_SHARDS + 1, K, got), RUVM_ERR_ARG);
        vector_set_free(&v);
    }
}

/* Links that lead anywhere, into a circle or nowhere: a walk ends and stays in the blob. */
Test(search, damaged_links_do_no_harm)
{
    struct vector_set v;
    struct vector_blob b;
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_EUCLIDEAN, DIMS, N, 5);
    vector_blob_build(&b, &v.set,
                      &(struct ruvm_hnsw_options){.degree_0 = 6, .degree = 3, .ef = 20});
    struct ruvm_rag_part g = b.rag.part[RUVM_RAG_GRPH];
    uint8_t *lists = b.data + (g.data - b.data) + RUVM_GRPH_ARRAYS + 4 * (b.rag.n_levels - 1u);
    size_t bytes = g.bytes - (size_t)(lists - g.data) - RUVM_GRPH_TAIL;
    for (unsigned damage = 0; damage < 300; damage++) {
        struct ruvm_search s = {.k = K, .ef = 20};
        struct ruvm_vector_query q;
        struct ruvm_hit hits[K];
        if (damage < 3)
            memset(lists, damage == 0 ? 0xff : damage == 1 ? 0 : 0x55, bytes);
        else
            for (size_t i = 0; i < bytes; i += 3)
                lists[i] = (uint8_t)(i * damage * 2654435761u >> 24);
        ruvm_vectors_query_row(&q, &v.set, damage % N);
        int n = ruvm_search_graph(&b.rag, &v.set, &q, &s, memory, MEMORY, hits);
        cr_assert(n >= 1 && n <= K);
        for (int i = 0; i < n; i++)
            cr_assert_lt(hits[i].id, N);
    }
    free(b.data);
    vector_set_free(&v);
}

Test(search, of_nothing)
{
    struct vector_set v;
    struct vector_blob b;
    struct ruvm_vectors none;
    struct ruvm_vector_query q;
    struct ruvm_hit hits[K];
    struct ruvm_search s = {.k = K, .ef = 20};
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, 1, 5);
    none = vector_set_first(&v, 0);
    vector_blob_make(&b, &none, NULL);
    ruvm_vectors_query_row(&q, &v.set, 0);
    cr_assert_eq(ruvm_search_graph(&b.rag, &none, &q, &s, memory, MEMORY, hits), 0);
    cr_assert_eq(ruvm_rag_check(&b.rag, NULL), RUVM_OK);
    free(b.data);
    vector_set_free(&v);
}
