/* Reads the tensors of an image: directory, weights, scales and multipliers. Private to
 * the reader of the image; check_read.h. */
#ifndef RUVM_FORMATS_WEIGHTS_READ_H
#define RUVM_FORMATS_WEIGHTS_READ_H

#include "formats/check_read.h"

/* Checks TENS, WGTS and SCAL, and that the header's quantization is theirs; sets
 * img->tens and img->n_tensors. ARCH must have been read. */
bool ruvm_weights_check(struct ruvm_check *c);

#endif
