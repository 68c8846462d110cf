/* CRC-32 in little code, a nibble at a time: takes the place of lib/base/crc32.c in
 * applications, which compute it only over what they have just found in flash. That is little
 * beside the golden vectors that are replayed then, and its table is 64 bytes instead of 512. */
#include "lib/base/crc32.h"

static const uint32_t crc_of_nibble[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

uint32_t ruvm_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data, *end = p + n;
    crc = ~crc;
    while (p != end) {
        crc ^= *p++;
        crc = crc >> 4 ^ crc_of_nibble[crc & 15];
        crc = crc >> 4 ^ crc_of_nibble[crc & 15];
    }
    return ~crc;
}
