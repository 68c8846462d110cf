/* Reads the tensors of an image: directory, weights, scales and multipliers. Private to
 * the reader of the image; check_read.h. */
#ifndef RUVM_FORMATS_WEIGHTS_READ_H
#define RUVM_FORMATS_WEIGHTS_READ_H

#include "formats/check_read.h"

/* Checks TENS, WGTS and SCAL, and that the header's quantization is theirs; sets
 * img->tens and img->n_tensors. ARCH must have been read. */
bool ruvm_weights_check(struct ruvm_check *c);

/* The same of n tensors of any network: kind, layer, rows and columns of tensor i follow from
 * what was read before, of which the tensors before i are a part. */
bool ruvm_weights_check_as(struct ruvm_check *c, uint32_t n,
                           struct ruvm_tensor (*expected_of)(const struct ruvm_image *img,
                                                             unsigned i));

#endif
