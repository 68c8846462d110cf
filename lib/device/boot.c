/* The loader: finds a sound application in flash and starts it.
 *
 * The ROM of the chip loads it as it would the official second-stage loader, in whose
 * place it stands, with the same table of partitions, the same slots for updates and the
 * same images; either can start the same application. An update that was cut off
 * leaves a slot whose checksums do not hold: then the next one is started. */
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/device/console.h"
#include "lib/device/partition.h"
#include "lib/device/port.h"
#include "lib/device/sha256.h"
#include "lib/device/trap.h"

/* An image: a header, segments with headers of their own, a checksum, a digest. */
enum {
    IMAGE_MAGIC = 0xE9,
    IMAGE_N_SEGMENTS = 1,
    IMAGE_ENTRY = 4,
    IMAGE_CHIP = 12,
    IMAGE_HAS_DIGEST = 23,
    IMAGE_HEADER = 24,
    SEGMENT_BYTES = 4,
    SEGMENT_HEADER = 8,
    MAX_SEGMENTS = 16,
    CHECKSUM_ALIGN = 16,
    CHECKSUM_START = 0xEF,
};

struct image {
    const uint8_t *data; /* mapped */
    uint32_t off, bytes; /* of the partition */
};

/* One record of which slot to start; there are two, each in a sector of its own, so that
 * one is always whole. */
enum {
    SELECT_SEQUENCE = 0,
    SELECT_STATE = 24,
    SELECT_CRC = 28,
    STATE_INVALID = 3,
    STATE_ABORTED = 4,
};

/* A segment of the image at its header; the position behind it, or 0 when it goes beyond. */
static uint32_t behind(const struct image *image, uint32_t at)
{
    if (at + SEGMENT_HEADER > image->bytes)
        return 0;
    uint32_t bytes = ruvm_load_u32(image->data + at + SEGMENT_BYTES);
    uint32_t left = image->bytes - at - SEGMENT_HEADER;
    return bytes % 4 || bytes > left ? 0 : at + SEGMENT_HEADER + bytes;
}

/* Where a segment of an image may go: to memory, to be shown in place, or, at address 0,
 * nowhere, as it only fills a gap. */
static bool may_load(const struct image *image, uint32_t at)
{
    uint32_t address = ruvm_load_u32(image->data + at);
    uint32_t bytes = ruvm_load_u32(image->data + at + SEGMENT_BYTES);
    if (address == 0 || (address % 4 == 0 && ruvm_port_is_memory(address, bytes)))
        return true;
    return ruvm_port_is_flash(address, bytes) &&
           (address - image->off - at - SEGMENT_HEADER) % RUVM_PORT_PAGE == 0;
}

static uint8_t checksum(uint8_t sum, const uint8_t *data, uint32_t n)
{
    while (n--)
        sum ^= *data++;
    return sum;
}

static bool digest_holds(const struct image *image, uint32_t end)
{
    uint8_t digest[RUVM_SHA256_BYTES], differs = 0;
    if (!image->data[IMAGE_HAS_DIGEST])
        return true;
    if (image->bytes - end < RUVM_SHA256_BYTES)
        return false;
    ruvm_sha256(digest, image->data, end);
    for (uint32_t i = 0; i < RUVM_SHA256_BYTES; i++)
        differs |= digest[i] ^ image->data[end + i];
    return !differs;
}

/* NULL, or what is wrong with the image. */
static const char *check(const struct image *image)
{
    const uint8_t *h = image->data;
    if (image->bytes < IMAGE_HEADER || h[0] != IMAGE_MAGIC)
        return "is empty";
    if (ruvm_load_u16(h + IMAGE_CHIP) != ruvm_port.chip_id)
        return "is for another chip";
    uint32_t at = IMAGE_HEADER, next = 0;
    uint8_t sum = CHECKSUM_START;
    if (h[IMAGE_N_SEGMENTS] > MAX_SEGMENTS)
        return "has too many segments";
    for (uint32_t i = 0; i < h[IMAGE_N_SEGMENTS]; i++, at = next) {
        next = behind(image, at);
        if (!next)
            return "is cut off";
        if (!may_load(image, at))
            return "has a segment at an address where nothing can be loaded";
        sum = checksum(sum, h + at + SEGMENT_HEADER, next - at - SEGMENT_HEADER);
    }
    uint32_t end = (at / CHECKSUM_ALIGN + 1) * CHECKSUM_ALIGN;
    if (end > image->bytes || h[end - 1] != sum || !digest_holds(image, end))
        return "is damaged";
    return NULL;
}

static void copy(uint32_t address, const uint8_t *from, uint32_t bytes)
{
    uint32_t *to = (uint32_t *)(uintptr_t)address;
    for (uint32_t i = 0; i < bytes; i += 4)
        *to++ = ruvm_load_u32(from + i);
}

/* First what is copied, as long as the image is mapped, then what is shown. */
static _Noreturn void start(const struct image *image)
{
    uint32_t n = image->data[IMAGE_N_SEGMENTS], entry = ruvm_load_u32(image->data + IMAGE_ENTRY);
    for (uint32_t i = 0, at = IMAGE_HEADER; i < n; at = behind(image, at), i++) {
        uint32_t address = ruvm_load_u32(image->data + at);
        uint32_t bytes = ruvm_load_u32(image->data + at + SEGMENT_BYTES);
        if (ruvm_port_is_memory(address, bytes))
            copy(address, image->data + at + SEGMENT_HEADER, bytes);
        else if (address)
            ruvm_port_show(address, image->off + at + SEGMENT_HEADER, bytes);
    }
    ruvm_port_jump(entry);
}

static void try_to_start(uint8_t subtype)
{
    struct ruvm_partition p;
    const uint8_t *page = ruvm_port_map(0, RUVM_PORT_PAGE);
    if (!ruvm_partition_find(page + RUVM_PORT_TABLE_AT, RUVM_PARTITION_APP, subtype, &p))
        return;
    p.bytes = ruvm_port_visible(p.bytes);
    struct image image = {.data = ruvm_port_map(p.off, p.bytes), .off = p.off, .bytes = p.bytes};
    const char *wrong = image.data ? check(&image) : "is beyond what can be mapped";
    if (!wrong)
        start(&image);
    ruvm_console_text("boot: the application at 0x");
    ruvm_console_hex(p.off);
    ruvm_console_text(" ");
    ruvm_console_text(wrong);
    ruvm_console_text("\n");
}

/* ---- which one -------------------------------------------------------------- */

static uint32_t count_slots(const uint8_t *table)
{
    struct ruvm_partition p;
    uint32_t n = 0;
    while (n < RUVM_PARTITION_MAX_OTA &&
           ruvm_partition_find(table, RUVM_PARTITION_APP, (uint8_t)(RUVM_PARTITION_OTA_0 + n), &p))
        n++;
    return n;
}

/* The sequence number of a record, or 0 when it is none. */
static uint32_t sequence(const uint8_t *record)
{
    uint32_t state = ruvm_load_u32(record + SELECT_STATE);
    uint32_t n = ruvm_load_u32(record + SELECT_SEQUENCE);
    if (n == UINT32_MAX || state == STATE_INVALID || state == STATE_ABORTED)
        return 0;
    return ruvm_load_u32(record + SELECT_CRC) == ruvm_crc32(UINT32_MAX, record, 4) ? n : 0;
}

/* The newer of the two records; 0 when there is none. */
static uint32_t newest(const struct ruvm_partition *select)
{
    const uint8_t *records = ruvm_port_map(select->off, 2 * RUVM_PORT_SECTOR);
    if (!records || select->bytes < 2 * RUVM_PORT_SECTOR)
        return 0;
    uint32_t a = sequence(records), b = sequence(records + RUVM_PORT_SECTOR);
    return a > b ? a : b;
}

/* Slots from the chosen one backwards, then the application that was there first. */
_Noreturn void ruvm_device_main(void)
{
    ruvm_port_init();
    struct ruvm_partition select;
    const uint8_t *table = ruvm_port_map(0, RUVM_PORT_PAGE) + RUVM_PORT_TABLE_AT;
    uint32_t slots = count_slots(table), chosen = 0;
    if (ruvm_partition_find(table, RUVM_PARTITION_DATA, RUVM_PARTITION_OTA, &select))
        chosen = newest(&select);
    if (!chosen)
        try_to_start(RUVM_PARTITION_FACTORY);
    for (uint32_t i = 0; i < slots; i++)
        try_to_start(
            (uint8_t)(RUVM_PARTITION_OTA_0 + ((chosen ? chosen - 1 : 0) + slots - i) % slots));
    if (chosen)
        try_to_start(RUVM_PARTITION_FACTORY);
    ruvm_console_text("boot: no application can be started: write the flash again\n");
#ifdef RUVM_DEVICE_EXIT
    ruvm_port_exit(255);
#endif
    for (;;)
        continue;
}
