/* A classifier from inside: one struct at the start of the caller's memory.
 *
 * A layer multiplies a quantized vector with a matrix, as the layers of a language model do;
 * so it borrows an engine, of which only the vectors are there: kernels, x, its units, signs
 * and the work area (engine.h).
 */
#ifndef RUVM_CORE_MLP_H
#define RUVM_CORE_MLP_H

#include "formats/mlp_read.h"
#include "lib/core/engine.h"

struct ruvm_mlp {
    struct ruvm_mlp_image image;
    struct ruvm_engine vectors; /* no text, no caches */
};

#endif
