/* Any bytes as a pack, as they are and with the header's checksum made right, which lets a
 * fuzzer get to the checks behind. What opens is walked to its last byte. */
#include <stdlib.h>
#include <string.h>

#include "formats/pack_read.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

static void walk(const struct ruvm_pack *pack, size_t size)
{
    struct ruvm_pack_section found;
    struct ruvm_image_fault fault;
    uint32_t end = RUVM_PACK_TABLE;
    check(pack->size <= size && pack->n_sections > 0);
    for (unsigned i = 0; i < pack->n_sections; i++) {
        struct ruvm_pack_section s = ruvm_pack_section_at(pack, i);
        check(s.off >= end && s.size > 0 && s.off % (1u << s.align_log2) == 0);
        end = s.off + s.size;
        ruvm_crc32(0, s.data, s.size);
        check(ruvm_pack_find(pack, s.name, &found) && found.off == s.off);
    }
    check(end == pack->size);
    ruvm_pack_check(pack, &fault);
}

static void open_one(const uint8_t *data, size_t size)
{
    struct ruvm_pack pack;
    struct ruvm_image_fault fault;
    if (ruvm_pack_open(&pack, data, size, &fault) == RUVM_OK)
        walk(&pack, size);
}

static void repair(uint8_t *data, size_t size)
{
    if (size < RUVM_PACK_TABLE)
        return;
    size_t table = (size_t)ruvm_load_u16(data + RUVM_PACK_N_SECTIONS) * RUVM_PACK_SEC_BYTES;
    if (RUVM_PACK_TABLE + table > size)
        return;
    uint32_t crc = ruvm_crc32(0, data, RUVM_PACK_CRC);
    ruvm_store_u32(data + RUVM_PACK_CRC, ruvm_crc32(crc, data + RUVM_PACK_TABLE, table));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(size + !size, 1);
    check(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    open_one(copy, size);
    repair(copy, size);
    open_one(copy, size);
    free(copy);
    return 0;
}
