/* Distance: what a key means to people, in fixed point, for the few hits that are shown.
 *
 * Q16: 65536 is 1.0. The largest error against exact arithmetic on the same codes is stated
 * and tested over the whole range:
 *
 *     cosine                 2^-16          (0 .. 2)
 *     Euclidean, Manhattan, dot   relative 2^-20, or 2^-16 where that is more
 *     Hamming                0
 *     Poincare, Lorentz      2^-14          (0 .. 21)
 *
 * Dot is minus the inner product, so that smaller is nearer here, too. Values beyond the
 * 47 bits before the point saturate. Chip-safe.
 */
#ifndef RUVM_VECTOR_DISTANCE_H
#define RUVM_VECTOR_DISTANCE_H

#include "lib/vector/vectors.h"

int64_t ruvm_distance_q16(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                          uint32_t id);

/* How like the query a row is, / 65536, 1 at most: the cosine; of bits, that of signs that
 * differ in as many. Of a set of cosine or Hamming. */
int32_t ruvm_distance_cosine_q16(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                                 uint32_t id);

#endif
