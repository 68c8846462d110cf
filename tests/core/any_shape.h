/* Images for what holds of all: shapes chosen by hand, packed weights of each type, and drawn
 * shapes of each combination of what networks may be made of. */
#ifndef TESTS_CORE_ANY_SHAPE_H
#define TESTS_CORE_ANY_SHAPE_H

#include "tests/core/random_image.h"

extern const int n_any_shapes;
enum { ANY_SHAPE_CONTEXT = 1200 }; /* positions at most */

/* Shape i of n_any_shapes; it is in use until the next call. */
struct random_shape any_shape(int i);

#endif
