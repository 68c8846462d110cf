/* Partition tables of the ESP32 family: binary with an MD5, and the CSV of people.
 *
 * Whether a table makes sense for a chip is checked by ruvm_esp_partition_check(), which
 * tells all that is wrong at once.
 */
#ifndef RUVM_FORMATS_ESP_PARTITION_H
#define RUVM_FORMATS_ESP_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buffer.h"
#include "lib/base/status.h"

enum {
    RUVM_ESP_PARTITION_BYTES = 32,
    RUVM_ESP_TABLE_BYTES = 0xC00,
    RUVM_ESP_TABLE_SECTOR = 0x1000,
    RUVM_ESP_MAX_PARTITIONS = 94, /* 96 entries, of them the MD5 and an end */
    RUVM_ESP_LABEL_BYTES = 16,    /* with the NUL that ours always have */
};
enum ruvm_esp_type { RUVM_ESP_APP = 0, RUVM_ESP_DATA = 1 };
enum ruvm_esp_subtype {
    RUVM_ESP_FACTORY = 0x00,
    RUVM_ESP_OTA_0 = 0x10,
    RUVM_ESP_DATA_OTA = 0x00,
    RUVM_ESP_PHY = 0x01,
    RUVM_ESP_NVS = 0x02,
    RUVM_ESP_PACK = 0x40,    /* of data: a pack of ruvm */
    RUVM_ESP_PROGRAM = 0x41, /* of data: of a program for direct boot what is behind the table */
};

struct ruvm_esp_partition {
    char label[RUVM_ESP_LABEL_BYTES + 1];
    uint8_t type, subtype;
    uint32_t off, bytes, flags;
};

struct ruvm_esp_table {
    unsigned n;
    struct ruvm_esp_partition p[RUVM_ESP_MAX_PARTITIONS];
};

/* Appends a sector's worth: entries, MD5, 0xFF up to RUVM_ESP_TABLE_SECTOR. */
void ruvm_esp_table_write(struct ruvm_buffer *out, const struct ruvm_esp_table *t);
/* RUVM_ERR_CORRUPT; a table without MD5 is accepted, as by the bootloader. */
int ruvm_esp_table_read(struct ruvm_esp_table *t, const char *name, const void *data, size_t size,
                        struct ruvm_error *err);

/* "name,type,subtype,offset,size,flags" lines; an empty offset follows the one before.
 * first_off: of the first partition with an empty one. Line and column are in the message. */
int ruvm_esp_table_parse(struct ruvm_esp_table *t, const char *name, const void *text, size_t size,
                         uint32_t first_off, struct ruvm_error *err);
void ruvm_esp_table_print(struct ruvm_buffer *out, const struct ruvm_esp_table *t);

struct ruvm_esp_limits {
    uint32_t table_off, flash_bytes;
};
/* Alignment, overlaps, ends, labels, sizes that types demand. RUVM_ERR_UNSUPPORTED. */
int ruvm_esp_table_check(const struct ruvm_esp_table *t, const char *name,
                         const struct ruvm_esp_limits *limits, struct ruvm_error *err);

const struct ruvm_esp_partition *ruvm_esp_table_find(const struct ruvm_esp_table *t,
                                                     const char *label);
/* "data", "factory", "0x40". */
void ruvm_esp_type_name(char text[16], uint8_t type);
void ruvm_esp_subtype_name(char text[16], uint8_t type, uint8_t subtype);

#endif
