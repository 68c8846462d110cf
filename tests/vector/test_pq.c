/* Product quantization: a set of it is exactly the set of int8 rows that it stands for. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/bundle/pq_learn.h"
#include "lib/vector/distance.h"
#include "lib/vector/search.h"
#include "tests/support/rag_draft.h"
#include "tests/vector/vector_set.h"

enum { N = 1500, DIMS = 64, K = 10 };

static const unsigned metrics[2] = {RUVM_METRIC_COSINE, RUVM_METRIC_EUCLIDEAN};

struct pq_set {
    struct vector_set plain;
    struct ruvm_vectors set;
    int8_t *book;
    uint8_t *rows, *side;
    int32_t *table;
};

static uint64_t memory[4096];

static void make(struct pq_set *p, unsigned metric, uint32_t dims, uint32_t n, uint64_t seed)
{
    struct ruvm_error err = {0};
    vector_set_make(&p->plain, RUVM_VECTOR_INT8, metric, dims, n, seed);
    p->book = malloc(ruvm_rag_book_bytes(dims));
    cr_assert_eq(ruvm_pq_learn(p->book, &p->plain.set, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_pq_learn_shape(&p->set, &p->plain.set, p->book, &err), RUVM_OK, "%s",
                 err.text);
    p->rows = aligned_alloc(64, ((size_t)n * p->set.row_bytes + 63) / 64 * 64);
    p->side = calloc(n, p->set.side_bytes);
    p->table = malloc(ruvm_pq_table_bytes(&p->set));
    for (uint32_t i = 0; i < n; i++)
        ruvm_pq_learn_row(
            &p->set, (const int8_t *)p->plain.row + (size_t)i * p->plain.set.row_bytes,
            p->rows + (size_t)i * p->set.row_bytes, p->side + (size_t)i * p->set.side_bytes);
    p->set.rows = p->rows;
    p->set.side = p->side;
    p->set.n = n;
}

static void free_set(struct pq_set *p)
{
    vector_set_free(&p->plain);
    free(p->book);
    free(p->rows);
    free(p->side);
    free(p->table);
}

/* The int8 set that the rows stand for, with the same sides; free() its rows. */
static struct ruvm_vectors stood_for(const struct pq_set *p)
{
    struct ruvm_vectors set = p->plain.set;
    uint8_t *rows = aligned_alloc(64, ((size_t)set.n * set.row_bytes + 63) / 64 * 64);
    for (uint32_t i = 0; i < set.n; i++)
        ruvm_pq_read(&p->set, p->rows + (size_t)i * p->set.row_bytes,
                     (int8_t *)rows + (size_t)i * set.row_bytes);
    set.rows = rows;
    set.side = p->side;
    return set;
}

static void query_of(struct ruvm_vector_query *q, const struct pq_set *p, uint32_t id)
{
    ruvm_vectors_query(q, &p->set, p->plain.row + (size_t)id * p->plain.set.row_bytes, NULL);
}

Test(pq, keys_are_those_of_the_rows_stood_for)
{
    for (int m = 0; m < 2; m++) {
        struct pq_set p;
        make(&p, metrics[m], DIMS, N, 1);
        struct ruvm_vectors same = stood_for(&p);
        for (uint32_t query = 0; query < N; query += 101) {
            uint32_t ids[RUVM_VECTORS_BATCH], a[RUVM_VECTORS_BATCH], b[RUVM_VECTORS_BATCH];
            struct ruvm_vector_query q;
            query_of(&q, &p, query);
            for (uint32_t i = 0; i < RUVM_VECTORS_BATCH; i++)
                ids[i] = (query + i * 37) % N;
            ruvm_vectors_keys(&same, &q, ids, 0, RUVM_VECTORS_BATCH, a);
            ruvm_vectors_keys(&p.set, &q, ids, 0, RUVM_VECTORS_BATCH, b);
            cr_expect_eq(memcmp(a, b, sizeof a), 0, "some rows");
            ruvm_vectors_keys(&same, &q, NULL, 70, RUVM_VECTORS_BATCH, a);
            ruvm_vectors_keys(&p.set, &q, NULL, 70, RUVM_VECTORS_BATCH, b);
            cr_expect_eq(memcmp(a, b, sizeof a), 0, "rows in order");
            ruvm_pq_table(&p.set, (const int8_t *)q.row, p.table);
            q.table = p.table;
            ruvm_vectors_keys(&p.set, &q, NULL, 70, RUVM_VECTORS_BATCH, b);
            cr_expect_eq(memcmp(a, b, sizeof a), 0, "with a table");
            for (uint32_t id = 0; id < N; id += 99)
                cr_expect_eq(ruvm_distance_q16(&same, &q, id), ruvm_distance_q16(&p.set, &q, id));
        }
        free((void *)(uintptr_t)same.rows);
        free_set(&p);
    }
}

Test(pq, sides_are_those_of_the_rows_stood_for)
{
    for (int m = 0; m < 2; m++) {
        struct pq_set p;
        make(&p, metrics[m], 20, 300, 2);
        struct ruvm_vectors same = stood_for(&p);
        for (uint32_t i = 0; i < 300; i++) {
            uint32_t side[2];
            uint32_t norm2 =
                ruvm_vectors_norm2(same.rows + (size_t)i * same.row_bytes, same.row_bytes);
            ruvm_vectors_side(&p.set, i, side);
            cr_expect_eq(side[0], m ? norm2 : ruvm_vectors_inverse(norm2));
        }
        free((void *)(uintptr_t)same.rows);
        free_set(&p);
    }
}

/* Each byte is the nearest entry, found again the slow way; the first of equals. */
Test(pq, rows_take_the_nearest_entries)
{
    struct pq_set p;
    make(&p, RUVM_METRIC_EUCLIDEAN, 24, 400, 3);
    for (uint32_t i = 0; i < 400; i++)
        for (uint32_t part = 0; part < ruvm_pq_parts(&p.set); part++) {
            const int8_t *x = (const int8_t *)p.plain.row + (size_t)i * p.plain.set.row_bytes;
            int best = 0, least = 1 << 30;
            for (int e = 0; e < 256; e++) {
                int square = 0;
                for (uint32_t d = 0; d < 4; d++) {
                    int gap = x[part * 4 + d] - p.book[(part * 256 + (unsigned)e) * 4 + d];
                    square += gap * gap;
                }
                best = square < least ? e : best;
                least = square < least ? square : least;
            }
            cr_assert_eq(p.rows[(size_t)i * p.set.row_bytes + part], best);
        }
    free_set(&p);
}

Test(pq, the_same_rows_give_the_same_book)
{
    struct pq_set a, b;
    make(&a, RUVM_METRIC_COSINE, 32, N, 4);
    make(&b, RUVM_METRIC_COSINE, 32, N, 4);
    cr_expect_eq(memcmp(a.book, b.book, ruvm_rag_book_bytes(32)), 0);
    for (uint32_t i = 0; i < ruvm_rag_book_bytes(32); i++)
        cr_assert_neq(a.book[i], -128);
    free_set(&a);
    free_set(&b);
}

/* With no more different rows than entries, nothing is lost. */
Test(pq, few_rows_are_kept_exactly)
{
    struct pq_set p;
    make(&p, RUVM_METRIC_COSINE, 16, 100, 5);
    struct ruvm_vectors same = stood_for(&p);
    cr_expect_eq(memcmp(same.rows, p.plain.row, (size_t)100 * same.row_bytes), 0);
    free((void *)(uintptr_t)same.rows);
    free_set(&p);
}

/* Of the k nearest by int8, the share that the scan of `set` finds. */
static double recall(const struct pq_set *p, const struct ruvm_vectors *set)
{
    int found = 0, all = 0;
    for (uint32_t query = 0; query < N; query += 23) {
        struct ruvm_search s = {.k = K};
        struct ruvm_hit want[K], got[K];
        struct ruvm_vector_query q;
        _Alignas(16) uint8_t bits[DIMS / 8];
        query_of(&q, p, query);
        cr_assert_eq(ruvm_search_scan(&p->plain.set, &q, &s, memory, sizeof memory, want), K);
        if (set->type == RUVM_VECTOR_BINARY) {
            ruvm_vectors_code_signs(bits, (const int8_t *)q.row, DIMS, sizeof bits);
            ruvm_vectors_query(&q, set, bits, NULL);
        }
        cr_assert_eq(ruvm_search_scan(set, &q, &s, memory, sizeof memory, got), K);
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                found += want[i].id == got[j].id;
        all += K;
    }
    return (double)found / all;
}

Test(pq, finds_more_than_bits_do)
{
    struct pq_set p;
    struct ruvm_vectors bits;
    make(&p, RUVM_METRIC_COSINE, DIMS, N, 6);
    cr_assert_eq(ruvm_vectors_shape(&bits, RUVM_VECTOR_BINARY, RUVM_METRIC_HAMMING, DIMS), RUVM_OK);
    uint8_t *rows = calloc(N, bits.row_bytes);
    for (uint32_t i = 0; i < N; i++)
        ruvm_vectors_code_signs(rows + (size_t)i * bits.row_bytes,
                                (const int8_t *)p.plain.row + (size_t)i * p.plain.set.row_bytes,
                                DIMS, bits.row_bytes);
    bits.rows = rows;
    bits.n = N;
    double pq = recall(&p, &p.set), of_bits = recall(&p, &bits);
    cr_expect_gt(pq, 0.6, "%g", pq);
    cr_expect_gt(pq, of_bits + 0.1, "%g and %g", pq, of_bits);
    free(rows);
    free_set(&p);
}

/* In a blob, along a graph that was built of the int8 rows. */
Test(pq, is_searched_along_a_graph_of_int8)
{
    struct pq_set p;
    struct vector_blob b;
    struct ruvm_hnsw g;
    struct ruvm_rag_fault fault;
    struct ruvm_error err = {0};
    const struct ruvm_hnsw_options o = {.degree_0 = 16, .ef = 60};
    int found = 0, all = 0;
    make(&p, RUVM_METRIC_COSINE, DIMS, N, 7);
    cr_assert_eq(ruvm_hnsw_init(&g, &o, &err), RUVM_OK);
    cr_assert_eq(ruvm_hnsw_add(&g, &p.plain.set, NULL, &err), RUVM_OK);
    cr_assert_eq(ruvm_hnsw_finish(&g, &p.plain.set, &err), RUVM_OK);
    vector_blob_make(&b, &p.set, &g);
    cr_assert_eq(ruvm_rag_check(&b.rag, &fault), RUVM_OK, "%s: %s", fault.section, fault.what);
    struct ruvm_vectors set = ruvm_vectors_of(&b.rag, NULL);
    for (uint32_t query = 0; query < N; query += 31) {
        struct ruvm_search s = {.k = K, .ef = 64};
        struct ruvm_hit want[K], got[K];
        struct ruvm_vector_query q;
        query_of(&q, &p, query);
        cr_assert_eq(ruvm_search_scan(&p.set, &q, &s, memory, sizeof memory, want), K);
        cr_assert_eq(ruvm_search_graph(&b.rag, &set, &q, &s, memory, sizeof memory, got), K);
        for (int i = 0; i < K; i++)
            found += got[i].key <= want[K - 1].key;
        all += K;
    }
    cr_expect_gt(found, all * 95 / 100, "%d of %d", found, all);
    ruvm_hnsw_free(&g);
    free(b.data);
    free_set(&p);
}

Test(pq, other_shapes_are_refused)
{
    struct vector_set v;
    struct ruvm_vectors pq;
    struct ruvm_error err = {0};
    int8_t book[1];
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, 18, 20, 8);
    cr_expect_eq(ruvm_pq_learn(book, &v.set, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "multiple of 4"), "%s", err.text);
    vector_set_free(&v);
    vector_set_make(&v, RUVM_VECTOR_INT8, RUVM_METRIC_DOT, 16, 20, 8);
    cr_expect_eq(ruvm_pq_learn_shape(&pq, &v.set, book, &err), RUVM_ERR_UNSUPPORTED);
    vector_set_free(&v);
    vector_set_make(&v, RUVM_VECTOR_BINARY, RUVM_METRIC_COSINE, 16, 20, 8);
    cr_expect_eq(ruvm_pq_learn_shape(&pq, &v.set, book, &err), RUVM_ERR_UNSUPPORTED);
    vector_set_free(&v);
}

/* The book and the rows of then: tests/check_rag.sh reads them with another decoder. */
Test(pq, golden_file_is_what_is_learned)
{
    static const char path[] = "tests/golden/pq.rag";
    struct pq_set p;
    struct vector_blob b;
    struct ruvm_map map;
    struct ruvm_error err = {0};
    make(&p, RUVM_METRIC_COSINE, 8, 300, 10);
    vector_blob_make(&b, &p.set, NULL);
    if (getenv("RUVM_REGENERATE_GOLDEN"))
        cr_assert_eq(ruvm_file_write(path, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(map.size, b.size);
    cr_expect_eq(memcmp(map.data, b.data, b.size), 0);
    ruvm_file_unmap(&map);
    free(b.data);
    free_set(&p);
}

/* A blob whose book is too short, or holds a code that is none. */
Test(pq, damaged_books_are_seen)
{
    struct pq_set p;
    struct vector_blob b;
    struct ruvm_rag_fault fault;
    struct ruvm_rag rag;
    make(&p, RUVM_METRIC_COSINE, 16, 30, 9);
    p.book[5] = -128;
    vector_blob_make(&b, &p.set, NULL);
    cr_expect_eq(ruvm_rag_check(&b.rag, &fault), RUVM_ERR_CORRUPT);
    cr_expect_str_eq(fault.what, "code is -128");
    struct ruvm_rag_draft d = rag_draft_of(&b.rag);
    for (int missing = 0; missing < 2; missing++) {
        struct ruvm_buffer file = {0};
        d.part[RUVM_RAG_BOOK].bytes -= 4;
        if (missing)
            d.part[RUVM_RAG_BOOK].data = NULL;
        cr_assert_eq(ruvm_rag_write(&file, &d), RUVM_OK);
        uint8_t *copy = aligned_alloc(64, (file.size + 63) / 64 * 64);
        memcpy(copy, file.data, file.size);
        cr_expect_eq(ruvm_rag_open(&rag, copy, file.size, &fault), RUVM_ERR_CORRUPT);
        cr_expect_str_eq(fault.what, missing ? "section is missing" : "size of the section");
        free(copy);
        ruvm_buffer_free(&file);
    }
    free(b.data);
    free_set(&p);
}
