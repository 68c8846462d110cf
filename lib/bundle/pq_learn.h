/* PQ learned: from a set of int8 rows to one of a quarter of its bytes, on a workstation.
 *
 *     int8_t *book = malloc(ruvm_rag_book_bytes(set.dims));
 *     rc = ruvm_pq_learn(book, &set, &err);
 *     rc = ruvm_pq_learn_shape(&pq, &set, book, &err);
 *     ruvm_pq_learn_row(&pq, row_of_int8, pq_row, pq_side);      and so for each row
 *
 * Only integers and a fixed order: the same rows give the same book on every machine. A graph
 * is better built of the int8 rows, whose distances are more exact; searches walk it with
 * those of PQ.
 */
#ifndef RUVM_BUNDLE_PQ_LEARN_H
#define RUVM_BUNDLE_PQ_LEARN_H

#include "lib/vector/pq.h"

struct ruvm_error;

/* An empty set of PQ for rows of that int8 set and a book of it. RUVM_ERR_UNSUPPORTED with a
 * message: the metric is neither cosine nor Euclidean, or dims no multiple of four. */
int ruvm_pq_learn_shape(struct ruvm_vectors *pq, const struct ruvm_vectors *set, const int8_t *book,
                        struct ruvm_error *err);
/* Fills book[ruvm_rag_book_bytes(set->dims)]. RUVM_ERR_MEMORY, RUVM_ERR_UNSUPPORTED. */
int ruvm_pq_learn(int8_t *book, const struct ruvm_vectors *set, struct ruvm_error *err);
/* row[pq->row_bytes] and side[pq->side_bytes] of a row of int8. */
void ruvm_pq_learn_row(const struct ruvm_vectors *pq, const int8_t *codes, uint8_t *row,
                       uint8_t *side);

#endif
