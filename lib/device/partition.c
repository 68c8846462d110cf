/* The table is a list of 32-byte entries: AA 50, type, subtype, offset, size, label,
 * flags. It ends with an entry of FF; one of EB EB holds an MD5 of the others, which
 * the tool that wrote them checks: what a partition holds has checksums of its own. */
#include "lib/device/partition.h"

#include "lib/base/bytes.h"

enum { ENTRY = 32, TYPE = 2, SUBTYPE = 3, OFF = 4, SIZE = 8 };
enum { MAGIC_ENTRY = 0x50AA, MAGIC_MD5 = 0xEBEB };

bool ruvm_partition_find(const uint8_t *table, uint8_t type, uint8_t subtype,
                         struct ruvm_partition *found)
{
    for (const uint8_t *e = table; e < table + RUVM_PARTITION_TABLE_BYTES; e += ENTRY) {
        uint16_t magic = ruvm_load_u16(e);
        if (magic == MAGIC_MD5)
            continue;
        if (magic != MAGIC_ENTRY)
            return false;
        if (e[TYPE] != type || e[SUBTYPE] != subtype)
            continue;
        *found = (struct ruvm_partition){ruvm_load_u32(e + OFF), ruvm_load_u32(e + SIZE)};
        return true;
    }
    return false;
}
