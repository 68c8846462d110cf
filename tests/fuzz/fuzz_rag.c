/* Any bytes as a knowledge blob, as they are and with their checksums made right, which lets a
 * fuzzer get to the checks behind. What opens is searched, whether the long check accepts it
 * or not: a chip opens without it. What that accepts is read to its last byte. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/hnsw.h"
#include "lib/vector/distance.h"
#include "lib/vector/pq.h"
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
    if (ruvm_rag_check(&rag, &fault) == RUVM_OK && rag.n_levels)
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
