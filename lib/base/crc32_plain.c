/* CRC-32 where nothing is faster than tables. */
#include "lib/base/crc32.h"

uint32_t ruvm_crc32(uint32_t crc, const void *data, size_t n)
{
    return ruvm_crc32_tables(crc, data, n);
}
