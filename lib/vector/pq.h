/* PQ: rows of product quantization, a byte for four dimensions.
 *
 *     ruvm_pq_table(&set, query_row, table);       once a query, if there is memory for it
 *     q.table = table;
 *
 * A byte stands for four codes of the set's book, so a row stands for a row of int8, and a
 * query is one of int8. Products are exactly those with the row that is stood for: keys and
 * distances are what they would be in a set of these rows, but four bytes are read where that
 * would read sixteen. Without a table each product costs as much arithmetic as one of int8;
 * with one, an addition for four dimensions, once a thousand bytes a part of the query were
 * filled. Both give the same integers. Chip-safe.
 */
#ifndef RUVM_VECTOR_PQ_H
#define RUVM_VECTOR_PQ_H

#include "lib/vector/vectors.h"

/* Parts of a row. */
static inline uint32_t ruvm_pq_parts(const struct ruvm_vectors *set)
{
    return set->dims / RUVM_RAG_BOOK_DIMS;
}
static inline size_t ruvm_pq_table_bytes(const struct ruvm_vectors *set)
{
    return (size_t)ruvm_pq_parts(set) * RUVM_RAG_BOOK_ENTRIES * sizeof(int32_t);
}

/* table[parts, 256]: the product of each part of the query with each entry of the book. */
void ruvm_pq_table(const struct ruvm_vectors *set, const int8_t *query, int32_t *table);

/* Products of the query with the job's rows; the job's own query is not looked at. */
void ruvm_pq_products(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                      const struct ruvm_vector_job *job, int32_t *products);

/* The codes that a row stands for, out[query bytes], zeros behind the dimensions. */
void ruvm_pq_read(const struct ruvm_vectors *set, const uint8_t *row, int8_t *out);
/* The sum of their squares. */
uint32_t ruvm_pq_norm2(const struct ruvm_vectors *set, const uint8_t *row);

#endif
