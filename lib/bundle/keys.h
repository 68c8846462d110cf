/* Keys of ed25519 in files: PEM as openssl writes it, or 64 hexadecimal digits. */
#ifndef RUVM_BUNDLE_KEYS_H
#define RUVM_BUNDLE_KEYS_H

#include <stdint.h>

#include "lib/base/status.h"

enum { RUVM_KEYS_BYTES = 32 };

/* The seed of a private key ("PRIVATE KEY", PKCS #8). RUVM_ERR_IO, RUVM_ERR_UNSUPPORTED. */
int ruvm_keys_private(uint8_t seed[RUVM_KEYS_BYTES], const char *path, struct ruvm_error *err);
/* A public key ("PUBLIC KEY"). */
int ruvm_keys_public(uint8_t key[RUVM_KEYS_BYTES], const char *path, struct ruvm_error *err);

#endif
