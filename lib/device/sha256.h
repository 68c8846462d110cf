/* SHA-256 (FIPS 180-4): what images of applications end with. */
#ifndef RUVM_DEVICE_SHA256_H
#define RUVM_DEVICE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { RUVM_SHA256_BYTES = 32 };

/* The digest of n bytes. */
void ruvm_sha256(uint8_t digest[RUVM_SHA256_BYTES], const uint8_t *data, size_t n);

#endif
