/* Breaches: bytes of an image changed so that one rule breaks, and what the reader must
 * say to it. */
#ifndef TESTS_FORMATS_BREACH_H
#define TESTS_FORMATS_BREACH_H

#include <stddef.h>
#include <stdint.h>

#include "formats/ruvm_read.h"

enum { HEADER = -1, TABLE = -2 }; /* where offsets of a breach count from, besides a part */

struct breach {
    int part; /* number of the section, or HEADER or TABLE */
    uint32_t off;
    uint8_t n_bytes; /* of the value */
    uint32_t value;
    int rc;
    const char *what;
};

#define CORRUPT RUVM_ERR_CORRUPT
#define UNSUPPORTED RUVM_ERR_UNSUPPORTED
#define ENTRY(i, field) (RUVM_SEC_BYTES * (i) + (field))
#define TENSOR(i, field) (RUVM_TENS_BYTES * (i) + (field))

/* A copy in memory of its exact size, for the sanitizers; free() it. */
void *breach_copy(const void *data, size_t size);
/* Opens bytes; a refusal must come with a fault that says something. Returns the status. */
int breach_refused(const uint8_t *data, size_t size, struct ruvm_image_fault *fault);
/* Whether each of n breaches of a sound image, one at a time and with checksums made right
 * again, is refused as it should be. */
void breach_all(const uint8_t *image, size_t size, const struct breach *breaches, size_t n);

#endif
