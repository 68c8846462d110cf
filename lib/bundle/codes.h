/* Codes: vectors of floats become rows of a set, on a workstation.
 *
 *     rc = ruvm_codes_shape(&set, type, metric, dims, x, n, &err);      unit of the set
 *     rc = ruvm_codes_row(&set, x, row, side, &err);                    one row and its side
 *
 * Cosine and dot scale each row by its largest number, Euclidean and Manhattan all rows
 * alike, so that they need the data, or a unit that is known. Points of the hyperbolic
 * metrics are given in their own coordinates: dims numbers of the open unit ball for
 * Poincare, the dims space-like ones of the hyperboloid for Lorentz (the first one, time,
 * follows from them). Binary rows take the signs. PQ is made of int8 rows: pq_learn.h.
 */
#ifndef RUVM_BUNDLE_CODES_H
#define RUVM_BUNDLE_CODES_H

#include "lib/vector/vectors.h"

struct ruvm_error;

/* The shape of a set that x[n, dims] fits into. RUVM_ERR_ARG, RUVM_ERR_UNSUPPORTED with a
 * message. n 0: the unit is 1. */
int ruvm_codes_shape(struct ruvm_vectors *set, unsigned type, unsigned metric, uint32_t dims,
                     const float *x, size_t n, struct ruvm_error *err);
/* row[set->row_bytes] and side[set->side_bytes] of x[dims]. RUVM_ERR_ARG with a message: x is
 * not finite, or no point of the space (Poincare: outside of the ball; both hyperbolic ones:
 * farther than 10 from the origin). What the unit cannot hold is cut to 127. */
int ruvm_codes_row(const struct ruvm_vectors *set, const float *x, uint8_t *row, uint8_t *side,
                   struct ruvm_error *err);
/* What the row stands for, in the user's numbers (Poincare: ball; Lorentz: space-like);
 * cosine: a vector of length 1. */
void ruvm_codes_read(const struct ruvm_vectors *set, uint32_t id, float *x);

/* What people call them, e.g. "cosine", "int8"; NULL: unknown. */
const char *ruvm_codes_metric_name(unsigned metric);
const char *ruvm_codes_type_name(unsigned type);

#endif
