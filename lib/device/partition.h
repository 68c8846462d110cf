/* Partition: where things are in flash, by the table that ESP32 chips use. */
#ifndef RUVM_DEVICE_PARTITION_H
#define RUVM_DEVICE_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RUVM_PARTITION_APP = 0x00,
    RUVM_PARTITION_FACTORY = 0x00,
    RUVM_PARTITION_OTA_0 = 0x10,
    RUVM_PARTITION_MAX_OTA = 16,
    RUVM_PARTITION_DATA = 0x01,
    RUVM_PARTITION_OTA = 0x00,  /* which application to start */
    RUVM_PARTITION_PACK = 0x40, /* what the firmware runs; its label is "ruvm" */
    RUVM_PARTITION_TABLE_BYTES = 0xC00,
};

struct ruvm_partition {
    uint32_t off, bytes;
};

/* Of a table in memory the first partition of this type and subtype. */
bool ruvm_partition_find(const uint8_t *table, uint8_t type, uint8_t subtype,
                         struct ruvm_partition *found);

#endif
