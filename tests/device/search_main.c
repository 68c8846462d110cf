/* The freestanding vector engine as a whole program: a blob in, checksums out.
 *
 *     search_main BLOB KERNELS
 *
 * Every row of a blob of int8 cosine is a query: of its graph, of a scan, of its signs first;
 * and its rows are compared by all the other metrics, with sides made here. Prints a line a
 * metric: the checksum of all hits and true distances. The same on every machine.
 */
#include "tests/device/port.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/ruvm.h"
#include "lib/vector/distance.h"
#include "lib/vector/search.h"

enum { MAX_BLOB = 1 << 20, MAX_N = 1024, K = 7, EF = 32, MEMORY = 16384 };

static uint8_t blob[MAX_BLOB] __attribute__((aligned(64)));
static uint64_t memory[MEMORY / 8];
static uint32_t side[MAX_N * 2];

static void put_text(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    port_write(s, n);
}

static void put_sum(const char *what, unsigned number, uint32_t crc)
{
    char digits[] = "0 00000000\n";
    digits[0] = (char)('0' + number);
    for (int i = 0; i < 8; i++)
        digits[2 + i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
    put_text(what);
    put_text(digits);
}

static uint32_t add(uint32_t crc, const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                    const struct ruvm_hit *hits, int n)
{
    for (int i = 0; i < n; i++) {
        int64_t d = ruvm_distance_q16(set, q, hits[i].id);
        crc = ruvm_crc32(ruvm_crc32(crc, &hits[i], sizeof hits[i]), &d, sizeof d);
    }
    return crc;
}

/* Any numbers will do for a comparison of machines, but those of a row must fit each other. */
static void make_sides(struct ruvm_vectors *set)
{
    set->side = (const uint8_t *)side;
    set->side_bytes = ruvm_rag_side_bytes(set->type, set->metric);
    for (uint32_t i = 0; i < set->n; i++) {
        uint8_t *p = (uint8_t *)side + (size_t)i * set->side_bytes;
        uint32_t norm2 = ruvm_vectors_norm2(set->rows + (size_t)i * set->row_bytes, set->row_bytes);
        if (set->metric == RUVM_METRIC_COSINE)
            ruvm_store_u16(p, ruvm_vectors_inverse(norm2));
        else if (set->metric == RUVM_METRIC_DOT)
            ruvm_store_u16(p, (uint16_t)(1000 + i * 77));
        else if (set->metric == RUVM_METRIC_EUCLIDEAN)
            ruvm_store_u32(p, norm2);
        else if (set->side_bytes == 8) {
            ruvm_store_u32(p, (1 << 18) + i * i * 500);
            ruvm_store_u32(p + 4, (1 << 10) + i * 4000);
        }
    }
}

static uint32_t search_all(const struct ruvm_rag *rag, const struct ruvm_vectors *set,
                           const struct ruvm_vectors *signs)
{
    struct ruvm_search s = {.k = K, .ef = EF};
    struct ruvm_hit hits[K];
    uint32_t crc = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        struct ruvm_vector_query q, sq;
        ruvm_vectors_query_row(&q, set, i);
        crc = add(crc, set, &q, hits, ruvm_search_scan(set, &q, &s, memory, MEMORY, hits));
        crc = add(crc, set, &q, hits, ruvm_search_graph(rag, set, &q, &s, memory, MEMORY, hits));
        ruvm_vectors_query_row(&sq, signs, i);
        crc = add(crc, set, &q, hits,
                  ruvm_search_signs(set, signs, &q, &sq, &s, memory, MEMORY, hits));
    }
    return crc;
}

int port_main(int argc, char **argv)
{
    struct ruvm_rag rag;
    size_t bytes = argc == 3 ? port_read(argv[1], blob, sizeof blob) : 0;
    const struct ruvm_vector_kernels *kernels = argc == 3 ? port_vector_kernels(argv[2]) : NULL;
    if (!bytes || !kernels || ruvm_rag_open(&rag, blob, bytes, NULL) != RUVM_OK ||
        ruvm_rag_check(&rag, NULL) != RUVM_OK || rag.n > MAX_N) {
        put_text("search_main BLOB KERNELS: cannot read the blob, or no such kernels\n");
        return 1;
    }
    struct ruvm_vectors signs = ruvm_vectors_signs_of(&rag, kernels);
    for (unsigned metric = 0; metric < RUVM_N_METRICS; metric++) {
        struct ruvm_vectors set = ruvm_vectors_of(&rag, kernels);
        if (metric == RUVM_METRIC_HAMMING)
            set = signs;
        set.metric = (uint8_t)metric;
        make_sides(&set);
        put_sum("metric ", metric, search_all(&rag, &set, &signs));
    }
    return 0;
}
