/* Checks the contents of the optional sections, and lets the image point to those that
 * are there. Private to the reader of the image. */
#ifndef RUVM_FORMATS_OPTIONAL_READ_H
#define RUVM_FORMATS_OPTIONAL_READ_H

#include "formats/check_read.h"

bool ruvm_optional_gold(struct ruvm_check *c);
bool ruvm_optional_meta(struct ruvm_check *c);

#endif
