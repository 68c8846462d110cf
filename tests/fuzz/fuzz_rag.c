/* Any bytes as a knowledge blob, as they are and with their checksums made right, which lets a
 * fuzzer get to the checks behind. What opens is searched by vectors and by words, whether the
 * long check accepts it or not: a chip opens without it. What that accepts is read to its last
 * byte, and loaded as rag-add does. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/hnsw.h"
#include "lib/bundle/library.h"
#include "lib/vector/ask.h"
#include "lib/vector/blend.h"
#include "lib/vector/distance.h"
#include "lib/vector/knn.h"
#include "lib/vector/pq.h"
#include "lib/vector/recipe.h"
#include "tests/support/repair_rag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { K = 5, SMALL = 4096 };

static void check(int holds)
{
    if (!holds)
        abort();
}

static void *aligned(size_t size)
{
    void *p;
    check(posix_memalign(&p, 64, size + !size) == 0);
    return p;
}

static void read_text(struct ruvm_rag_text t)
{
    check(t.text || t.bytes == 0);
    ruvm_crc32(0, t.text, t.bytes);
}

static void read_all(const struct ruvm_rag *rag)
{
    for (uint32_t i = 0; i < rag->n && i < SMALL; i++) {
        struct ruvm_chunk c = ruvm_rag_chunk(rag, i);
        read_text(c.text);
        read_text(c.meta);
        ruvm_rag_is_deleted(rag, i);
    }
    for (uint32_t i = 0; i < rag->n_sources; i++) {
        struct ruvm_source s = ruvm_rag_source(rag, i);
        read_text(s.name);
        read_text(s.meta);
    }
}

static void search(const struct ruvm_rag *rag)
{
    struct ruvm_vectors set = ruvm_vectors_of(rag, ruvm_vector_kernels_select(NULL));
    struct ruvm_search s = {.k = K, .ef = 9, .deleted = rag->part[RUVM_RAG_DEAD].data};
    struct ruvm_vector_query q;
    struct ruvm_hit hits[K];
    if (rag->n == 0 || rag->n > SMALL)
        return;
    size_t bytes = ruvm_search_bytes(&s, rag->n);
    void *memory = aligned(bytes);
    _Alignas(16) int8_t codes[RUVM_RAG_MAX_DIMS];
    if (set.type == RUVM_VECTOR_PQ) {
        ruvm_pq_read(&set, set.rows, codes);
        ruvm_vectors_query(&q, &set, codes, NULL);
    } else {
        ruvm_vectors_query_row(&q, &set, 0);
    }
    int n = ruvm_search_graph(rag, &set, &q, &s, memory, bytes, hits);
    check(n >= 0 && n <= K);
    for (int i = 0; i < n; i++) {
        check(hits[i].id < rag->n);
        ruvm_distance_q16(&set, &q, hits[i].id);
    }
    check(ruvm_search_scan(&set, &q, &s, memory, bytes, hits) >= n);
    free(memory);
}

/* A question's vector, by the recipe of the blob. */
static void embed(const struct ruvm_rag *rag, const char *text)
{
    struct ruvm_recipe recipe;
    int32_t x[RUVM_RAG_MAX_DIMS];
    if (ruvm_recipe_of(&recipe, rag) == RUVM_OK)
        ruvm_recipe_embed(&recipe, x, rag->dims, text, strlen(text));
}

/* Neighbours of a state, where the blob is of such: logits only grow. */
static void vote(const struct ruvm_rag *rag)
{
    enum { VOCAB = 64 };
    struct ruvm_knn knn;
    int32_t state[RUVM_RAG_MAX_DIMS], logits[VOCAB];
    if (ruvm_knn_open(&knn, rag, ruvm_vector_kernels_select(NULL)) != RUVM_OK || rag->n > SMALL)
        return;
    for (uint32_t i = 0; i < rag->dims; i++)
        state[i] = (int32_t)(i * 7919 % 1000) - 500;
    for (int32_t i = 0; i < VOCAB; i++)
        logits[i] = (i * 7919 % 1000 - 500) * 1000;
    size_t bytes = ruvm_knn_bytes(&knn);
    void *memory = aligned(bytes);
    check(ruvm_knn_mix(&knn, state, logits, VOCAB, memory, bytes) >= 0);
    for (int32_t i = 0; i < VOCAB; i++)
        check(logits[i] >= (i * 7919 % 1000 - 500) * 1000);
    free(memory);
}

static void search_words(const struct ruvm_rag *rag, const char *text)
{
    const struct ruvm_rag_part *part = &rag->part[RUVM_RAG_BM25];
    struct ruvm_search s = {.k = K, .deleted = rag->part[RUVM_RAG_DEAD].data};
    struct ruvm_bm25_question q;
    struct ruvm_bm25 words;
    struct ruvm_hit hits[K];
    struct ruvm_found found[K];
    uint64_t memory[K];
    if (!part->data || ruvm_bm25_open(&words, part->data, part->bytes, rag->n) != RUVM_OK)
        return;
    ruvm_bm25_ask(&q, &words, text, strlen(text));
    int n = ruvm_bm25_search(&q, &s, memory, sizeof memory, hits);
    check(n >= 0 && n <= K);
    ruvm_bm25_prefer_forms(&q, rag, hits, (uint32_t)n);
    const struct ruvm_blend b = {.words = hits, .n_words = (uint32_t)n, .whole = q.idf_sum};
    check(ruvm_blend(&b, found, K) == (uint32_t)n);
    for (int i = 0; i < n; i++) {
        check(found[i].id < rag->n);
        struct ruvm_rag_text t = ruvm_rag_chunk(rag, found[i].id).text;
        check(ruvm_bm25_cover_q16(&q, t.text, t.bytes) <= 1u << 16);
    }
}

/* As a chip asks, in no more memory than was said; the question is some of the bytes. */
static void ask(const struct ruvm_rag *rag, const void *question, size_t n)
{
    struct ruvm_answer answers[K];
    if (rag->n > SMALL)
        return;
    size_t bytes = ruvm_ask_bytes(rag, K);
    void *memory = aligned(bytes);
    int found = ruvm_ask(rag, K, question, n, memory, bytes, answers);
    check(found <= K && (bytes > 0 || found < 0));
    for (int i = 0; i < found; i++)
        check(answers[i].id < rag->n && answers[i].confidence_q16 <= 1u << 16);
    check(bytes == 0 || ruvm_ask(rag, K, question, n, memory, bytes - 1, answers) < 0);
    free(memory);
}

static void load(const struct ruvm_rag *rag)
{
    struct ruvm_library lib = {0};
    struct ruvm_library_text text;
    if (ruvm_library_load(&lib, rag, 100, NULL) == RUVM_OK) {
        check(ruvm_library_write(&lib, &text, NULL) == RUVM_OK);
        ruvm_library_text_free(&text);
    }
    ruvm_library_free(&lib);
}

static void open_blob(const uint8_t *blob, size_t size)
{
    struct ruvm_rag rag;
    struct ruvm_rag_fault fault;
    int rc = ruvm_rag_open(&rag, blob, size, &fault);
    check((rc == RUVM_OK) == (ruvm_rag_open(&rag, blob, size, NULL) == RUVM_OK));
    if (rc != RUVM_OK) {
        check(strlen(fault.what) > 3);
        return;
    }
    read_all(&rag);
    search(&rag);
    embed(&rag, "The pump starts at five bars.");
    vote(&rag);
    search_words(&rag, "the pump starts at 5 bar, entry of shelf");
    ask(&rag, "the pump starts at 5 bar, entry of shelf", 40);
    ask(&rag, blob + size / 2, size / 2 < 300 ? size / 2 : 300);
    if (ruvm_rag_check(&rag, &fault) != RUVM_OK)
        return;
    load(&rag);
    if (rag.n_levels)
        ruvm_hnsw_validate(&rag, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *blob = aligned(size);
    if (size)
        memcpy(blob, data, size);
    open_blob(blob, size);
    if (size >= RUVM_RAG_HDR_BYTES && size <= UINT32_MAX) {
        ruvm_store_u32(blob + RUVM_RAG_FILE_BYTES, (uint32_t)size);
        repair_rag(blob, size);
        open_blob(blob, size);
    }
    free(blob);
    return 0;
}
