/* Says in a sentence where a RUVM image is damaged, for the message of whoever opened
 * it. Workstation side. */
#ifndef RUVM_FORMATS_RUVM_DIAGNOSE_H
#define RUVM_FORMATS_RUVM_DIAGNOSE_H

#include "formats/ruvm_read.h"
#include "lib/base/error.h"

/* Records "NAME: section WGTS at byte 0x1a40: CRC-32 is 0x..., expected 0x...: ..., and
 * what to do"; rc and fault are what ruvm_image_open() gave, a failure. Returns rc. */
int ruvm_diagnose_fail(struct ruvm_error *err, int rc, const char *name,
                       const struct ruvm_image_fault *fault);
/* The same of a pack, from ruvm_pack_open() or ruvm_pack_check(). */
int ruvm_diagnose_pack(struct ruvm_error *err, int rc, const char *name,
                       const struct ruvm_image_fault *fault);

#endif
