/* What kind of character a code point is: all that cutting a text into words asks. */
#ifndef RUVM_CORE_UNICODE_H
#define RUVM_CORE_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum ruvm_unicode_class {
    RUVM_UNICODE_OTHER = 0,
    RUVM_UNICODE_LETTER = 1, /* general category L */
    RUVM_UNICODE_NUMBER = 2, /* general category N */
    RUVM_UNICODE_SPACE = 3,  /* property White_Space */
};

int ruvm_unicode_class(uint32_t code_point);

/* The code point that n > 0 bytes of UTF-8 begin with, and how many of them it takes; what
 * is no UTF-8 is U+FFFD, a byte at a time. */
uint32_t ruvm_unicode_decode(const uint8_t *text, size_t n, size_t *n_bytes);

#endif
