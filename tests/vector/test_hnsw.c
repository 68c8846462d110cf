/* Graphs: the same rows give the same bytes, however they came; every vector is found. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "tests/vector/vector_set.h"

enum { N = 800, DIMS = 32, K = 10 };

static uint64_t memory[8192];

static void build(struct ruvm_hnsw *g, const struct ruvm_vectors *set, uint32_t degree_0)
{
    struct ruvm_error err = {0};
    const struct ruvm_hnsw_options o = {.degree_0 = degree_0, .ef = 60};
    cr_assert_eq(ruvm_hnsw_init(g, &o, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_add(g, set, NULL, &err), RUVM_OK, "%s", err.text);
}

static void expect_same(const struct ruvm_hnsw *a, const struct ruvm_hnsw *b)
{
    struct ruvm_buffer x = {0}, y = {0};
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_hnsw_write(a, &x, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_write(b, &y, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(x.size, y.size);
    cr_assert_eq(memcmp(x.data, y.data, x.size), 0);
    ruvm_buffer_free(&x);
    ruvm_buffer_free(&y);
}

/* Of the k nearest of each row, the part that a walk finds. */
static double recall(const struct vector_blob *b, const struct ruvm_vectors *set, uint32_t ef)
{
    uint32_t found = 0, total = 0;
    for (uint32_t query = 0; query < set->n; query += 7) {
        struct ruvm_search s = {.k = K, .ef = ef, .deleted = b->rag.part[RUVM_RAG_DEAD].data};
        struct ruvm_hit want[K], got[K];
        struct ruvm_vector_query q;
        ruvm_vectors_query_row(&q, set, query);
        int n = ruvm_search_scan(set, &q, &s, memory, sizeof memory, want);
        int m = ruvm_search_graph(&b->rag, set, &q, &s, memory, sizeof memory, got);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < m; j++)
                found += want[i].id == got[j].id;
        total += (uint32_t)n;
    }
    return (double)found / total;
}

Test(hnsw, is_the_same_with_every_kernel_and_in_any_steps)
{
    struct ruvm_error err = {0};
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        struct vector_set v;
        struct ruvm_hnsw whole, steps;
        vector_set_make(&v, vector_sorts[sort].type, vector_sorts[sort].metric, DIMS, N, 1);
        build(&whole, &v.set, 12);
        for (const struct ruvm_vector_kernels *const *k = ruvm_vector_kernels_all; *k; k++) {
            if (!(*k)->available())
                continue;
            struct ruvm_vectors part = vector_set_first(&v, N / 3);
            part.kernels = *k;
            build(&steps, &part, 12);
            for (part.n = N / 3; part.n < N; part.n += N / 3)
                cr_assert_eq(ruvm_hnsw_add(&steps, &part, NULL, &err), RUVM_OK, "%s", err.text);
            part.n = N;
            cr_assert_eq(ruvm_hnsw_add(&steps, &part, NULL, &err), RUVM_OK, "%s", err.text);
            expect_same(&whole, &steps);
            ruvm_hnsw_free(&steps);
        }
        ruvm_hnsw_free(&whole);
        vector_set_free(&v);
    }
}

Test(hnsw, grows_after_it_was_written)
{
    struct vector_set v;
    struct vector_blob half, full;
    struct ruvm_hnsw whole, grown;
    struct ruvm_error err = {0};
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, N, 2);
    struct ruvm_vectors first = vector_set_first(&v, N / 2);
    build(&whole, &first, 16);
    vector_blob_make(&half, &first, &whole);
    cr_assert_eq(ruvm_hnsw_load(&grown, &half.rag, &err), RUVM_OK, "%s", err.text);
    expect_same(&whole, &grown);
    cr_assert_eq(ruvm_hnsw_add(&whole, &v.set, NULL, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_add(&grown, &v.set, NULL, &err), RUVM_OK, "%s", err.text);
    expect_same(&whole, &grown);
    cr_assert_eq(ruvm_hnsw_finish(&grown, &v.set, &err), RUVM_OK, "%s", err.text);
    vector_blob_make(&full, &v.set, &grown);
    cr_assert_eq(ruvm_hnsw_validate(&full.rag, NULL, &err), RUVM_OK, "%s", err.text);
    ruvm_hnsw_free(&whole);
    ruvm_hnsw_free(&grown);
    free(half.data);
    free(full.data);
    vector_set_free(&v);
}

Test(hnsw, finds_what_is_near)
{
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        struct vector_set v;
        struct vector_blob b;
        vector_set_make(&v, vector_sorts[sort].type, vector_sorts[sort].metric, DIMS, N, 3);
        vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){0});
        double r = recall(&b, &v.set, 40);
        /* equal keys are many among 32 bits, and of them a walk may meet others; dot is no
         * metric, and its graph is the worse for it */
        double least = vector_sorts[sort].type == RUVM_VECTOR_BINARY  ? 0.8
                       : vector_sorts[sort].metric == RUVM_METRIC_DOT ? 0.9
                                                                      : 0.97;
        cr_expect_geq(r, least, "metric %u type %u: recall %.3f", vector_sorts[sort].metric,
                      vector_sorts[sort].type, r);
        free(b.data);
        vector_set_free(&v);
    }
}

/* All but a few are deleted, the entry among them; those left are found, and grown on. */
Test(hnsw, deletes)
{
    struct vector_set v;
    struct ruvm_error err = {0};
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, N, 4);
    for (uint32_t keep = 2; keep <= 50; keep += 24) {
        struct ruvm_hnsw g;
        struct vector_blob b;
        struct ruvm_hnsw_report report;
        struct ruvm_vectors most = vector_set_first(&v, N - 100);
        build(&g, &most, 12);
        for (uint32_t i = 0; i < most.n; i++)
            if (i % keep)
                cr_assert_eq(ruvm_hnsw_delete(&g, &most, i, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_hnsw_delete(&g, &most, 1, &err), RUVM_OK, "twice is once");
        cr_assert_eq(ruvm_hnsw_add(&g, &v.set, NULL, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_hnsw_finish(&g, &v.set, &err), RUVM_OK, "%s", err.text);
        vector_blob_make(&b, &v.set, &g);
        cr_assert_eq(ruvm_hnsw_validate(&b.rag, &report, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(report.n_reached, report.n_live);
        cr_assert_eq(report.n_live, (most.n + keep - 1) / keep + 100);
        cr_expect_geq(recall(&b, &v.set, 40), 0.97);
        ruvm_hnsw_free(&g);
        free(b.data);
    }
    vector_set_free(&v);
}

Test(hnsw, all_deleted)
{
    struct vector_set v;
    struct ruvm_hnsw g;
    struct vector_blob b;
    struct ruvm_error err = {0};
    struct ruvm_vector_query q;
    struct ruvm_hit hits[K];
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, 60, 4);
    struct ruvm_vectors most = vector_set_first(&v, 50);
    build(&g, &most, 4);
    for (uint32_t i = 0; i < 50; i++)
        cr_assert_eq(ruvm_hnsw_delete(&g, &most, i, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_finish(&g, &most, &err), RUVM_OK, "%s", err.text);
    vector_blob_make(&b, &most, &g);
    cr_assert_eq(ruvm_hnsw_validate(&b.rag, NULL, &err), RUVM_OK, "%s", err.text);
    struct ruvm_search s = {.k = K, .ef = 20, .deleted = b.rag.part[RUVM_RAG_DEAD].data};
    ruvm_vectors_query_row(&q, &most, 0);
    cr_assert_eq(ruvm_search_graph(&b.rag, &most, &q, &s, memory, sizeof memory, hits), 0);
    free(b.data);
    cr_assert_eq(ruvm_hnsw_add(&g, &v.set, NULL, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_hnsw_finish(&g, &v.set, &err), RUVM_OK, "%s", err.text);
    vector_blob_make(&b, &v.set, &g);
    cr_assert_eq(ruvm_hnsw_validate(&b.rag, NULL, &err), RUVM_OK, "%s", err.text);
    ruvm_hnsw_free(&g);
    free(b.data);
    vector_set_free(&v);
}

/* A node that nothing leads to: seen by validate, repaired by finish. */
Test(hnsw, lost_nodes_are_seen_and_found)
{
    struct vector_set v;
    struct ruvm_hnsw g;
    struct vector_blob b;
    struct ruvm_error err = {0};
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, N, 4);
    build(&g, &v.set, 8);
    cr_assert_eq(ruvm_hnsw_finish(&g, &v.set, &err), RUVM_OK, "%s", err.text);
    uint32_t lost = g.level[g.n_levels - 1].ids[g.entry] == 5 ? 6 : 5;
    for (uint32_t i = 0; i < N; i++) {
        struct ruvm_hnsw_level *l = &g.level[0];
        uint32_t *links = l->links + (size_t)i * l->degree, n = 0;
        for (uint32_t k = 0; k < l->n_links[i]; k++)
            if (links[k] != lost)
                links[n++] = links[k];
        l->n_links[i] = (uint8_t)n;
    }
    vector_blob_make(&b, &v.set, &g);
    cr_assert_eq(ruvm_hnsw_validate(&b.rag, NULL, &err), RUVM_ERR_CORRUPT);
    cr_expect(strstr(err.text, "no walk from the entry gets to vector"), "%s", err.text);
    free(b.data);
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_hnsw_finish(&g, &v.set, &err), RUVM_OK, "%s", err.text);
    vector_blob_make(&b, &v.set, &g);
    cr_assert_eq(ruvm_hnsw_validate(&b.rag, NULL, &err), RUVM_OK, "%s", err.text);
    ruvm_hnsw_free(&g);
    free(b.data);
    vector_set_free(&v);
}

/* Copies of one vector: pruning sees nothing but zeros. */
Test(hnsw, equal_vectors_are_all_reached)
{
    struct vector_set v;
    struct vector_blob b;
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_EUCLIDEAN, DIMS, N, 4);
    for (uint32_t i = 0; i < N; i++) {
        memcpy(v.row + (size_t)i * v.set.row_bytes, v.row, v.set.row_bytes);
        memcpy(v.side + (size_t)i * v.set.side_bytes, v.side, v.set.side_bytes);
    }
    vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){.degree_0 = 4, .ef = 10});
    free(b.data);
    vector_set_free(&v);
}

/* 100 vectors of 64 dimensions: what a small chip has room for. */
Test(hnsw, a_hundred_vectors_take_9500_bytes)
{
    struct vector_set v;
    struct vector_blob b;
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, 64, 100, 4);
    vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){0});
    uint32_t bytes = b.rag.part[RUVM_RAG_VECT].bytes + b.rag.part[RUVM_RAG_SIDE].bytes +
                     b.rag.part[RUVM_RAG_GRPH].bytes;
    cr_assert_leq(bytes, 9500, "%u bytes", bytes);
    free(b.data);
    vector_set_free(&v);
}

static bool stop_at_512(void *context, uint32_t done, uint32_t n)
{
    *(uint32_t *)context = n;
    return done < 512;
}

Test(hnsw, can_be_stopped_and_goes_on)
{
    struct vector_set v;
    struct ruvm_hnsw g, whole;
    struct ruvm_error err = {0};
    uint32_t told = 0;
    const struct ruvm_hnsw_progress progress = {stop_at_512, &told};
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, DIMS, N, 4);
    cr_assert_eq(ruvm_hnsw_init(&g, &(struct ruvm_hnsw_options){.degree_0 = 12, .ef = 60}, &err),
                 RUVM_OK);
    cr_assert_eq(ruvm_hnsw_add(&g, &v.set, &progress, &err), RUVM_ERR_FULL);
    cr_assert(g.n == 512 && told == N);
    cr_assert_eq(ruvm_hnsw_add(&g, &v.set, NULL, &err), RUVM_OK);
    build(&whole, &v.set, 12);
    expect_same(&g, &whole);
    ruvm_hnsw_free(&g);
    ruvm_hnsw_free(&whole);
    vector_set_free(&v);
}

Test(hnsw, refuses_what_it_cannot_do)
{
    struct ruvm_hnsw g;
    struct ruvm_error err = {0};
    struct ruvm_vectors none = {0};
    struct ruvm_buffer out = {0};
    cr_expect_eq(ruvm_hnsw_init(&g, &(struct ruvm_hnsw_options){.degree_0 = 65}, &err),
                 RUVM_ERR_ARG);
    cr_expect(strstr(err.text, "choose 2 to 64"), "%s", err.text);
    err = (struct ruvm_error){0};
    cr_expect_eq(ruvm_hnsw_init(&g, &(struct ruvm_hnsw_options){.ef = 5000}, &err), RUVM_ERR_ARG);
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_hnsw_init(&g, &(struct ruvm_hnsw_options){0}, &err), RUVM_OK);
    cr_expect_eq(ruvm_hnsw_delete(&g, &none, 0, &err), RUVM_ERR_ARG);
    err = (struct ruvm_error){0};
    cr_expect_eq(ruvm_hnsw_write(&g, &out, &err), RUVM_ERR_ARG);
    err = (struct ruvm_error){0};
    none.n = RUVM_RAG_MAX_VECTORS + 1;
    cr_expect_eq(ruvm_hnsw_add(&g, &none, NULL, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "at most 16777216"), "%s", err.text);
    ruvm_hnsw_free(&g);
}

/* The blob that tests/device/search_main.c searches on other machines. After a change of the
 * format or of the builder:
 *
 *     RUVM_REGENERATE_GOLDEN=1 build/release/tests/vector/test --filter 'hnsw/golden*'
 */
Test(hnsw, golden_blob_is_what_is_built)
{
    static const char path[] = "tests/golden/search.rag";
    struct vector_set v;
    struct vector_blob b;
    struct ruvm_map map;
    struct ruvm_error err = {0};
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, 32, 200, 6);
    vector_blob_build(&b, &v.set, &(struct ruvm_hnsw_options){.degree_0 = 10, .ef = 50});
    if (getenv("RUVM_REGENERATE_GOLDEN"))
        cr_assert_eq(ruvm_file_write(path, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    cr_assert(map.size == b.size && memcmp(map.data, b.data, b.size) == 0);
    ruvm_file_unmap(&map);
    free(b.data);
    vector_set_free(&v);
}
