/* ARCH and the sections that depend on it alone: the part of the reader that knows what
 * networks there are. */
#ifndef RUVM_FORMATS_ARCH_READ_H
#define RUVM_FORMATS_ARCH_READ_H

#include "formats/check_read.h"

/* ARCH, NORM, BIAS, ROPE, WIND and KVSC into c->img. */
bool ruvm_arch_check(struct ruvm_check *c);

#endif
