/* PQ: what a byte stands for is looked up, in the book or in a table of finished products. */
#include "lib/vector/pq.h"

enum { DIMS = RUVM_RAG_BOOK_DIMS, ENTRIES = RUVM_RAG_BOOK_ENTRIES };

static const int8_t *entry_of(const struct ruvm_vectors *set, uint32_t part, uint8_t byte)
{
    return set->book + ((size_t)part * ENTRIES + byte) * DIMS;
}

static int32_t product_of(const int8_t *a, const int8_t *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}
_Static_assert(DIMS == 4, "a product has four terms");

void ruvm_pq_table(const struct ruvm_vectors *set, const int8_t *query, int32_t *table)
{
    uint32_t n = ruvm_pq_parts(set);
    for (uint32_t part = 0; part < n; part++)
        for (uint32_t i = 0; i < ENTRIES; i++)
            table[part * ENTRIES + i] =
                product_of(query + part * DIMS, entry_of(set, part, (uint8_t)i));
}

static int32_t look_up(const struct ruvm_vectors *set, const int32_t *table, const uint8_t *row)
{
    uint32_t n = ruvm_pq_parts(set);
    int32_t sum = 0;
    for (uint32_t part = 0; part < n; part++, table += ENTRIES)
        sum += table[row[part]];
    return sum;
}

static int32_t compute(const struct ruvm_vectors *set, const int8_t *query, const uint8_t *row)
{
    uint32_t n = ruvm_pq_parts(set);
    int32_t sum = 0;
    for (uint32_t part = 0; part < n; part++)
        sum += product_of(query + part * DIMS, entry_of(set, part, row[part]));
    return sum;
}

void ruvm_pq_products(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                      const struct ruvm_vector_job *job, int32_t *products)
{
    const uint8_t *rows = job->rows;
    for (uint32_t i = 0; i < job->n; i++) {
        const uint8_t *row = rows + (job->ids ? job->ids[i] : i) * job->stride;
        products[i] =
            q->table ? look_up(set, q->table, row) : compute(set, (const int8_t *)q->row, row);
    }
}

void ruvm_pq_read(const struct ruvm_vectors *set, const uint8_t *row, int8_t *out)
{
    uint32_t n = ruvm_vectors_query_bytes(set);
    for (uint32_t i = 0; i < n; i++)
        out[i] = i < set->dims ? entry_of(set, i / DIMS, row[i / DIMS])[i % DIMS] : 0;
}

uint32_t ruvm_pq_norm2(const struct ruvm_vectors *set, const uint8_t *row)
{
    uint32_t n = ruvm_pq_parts(set);
    uint32_t sum = 0;
    for (uint32_t part = 0; part < n; part++) {
        const int8_t *entry = entry_of(set, part, row[part]);
        sum += (uint32_t)product_of(entry, entry);
    }
    return sum;
}
