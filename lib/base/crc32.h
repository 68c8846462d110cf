/* CRC-32 of zlib, PNG and Ethernet: what the image's sections carry.
 *
 * Freestanding. Start with crc 0; passing the result on continues over more bytes:
 *
 *     crc = ruvm_crc32(ruvm_crc32(0, a, n_a), b, n_b);
 */
#ifndef RUVM_BASE_CRC32_H
#define RUVM_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t ruvm_crc32(uint32_t crc, const void *data, size_t n);
/* The same without what only some machines have: crc32.c. */
uint32_t ruvm_crc32_tables(uint32_t crc, const void *data, size_t n);

#endif
