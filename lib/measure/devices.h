/* The chips that ruvm knows: one table of what they are, each number with its source.
 *
 * Memory maps are of the vendor's headers; rates and currents were measured by others or are
 * derived, and say so. What is made of them is therefore modelled.
 */
#ifndef RUVM_MEASURE_DEVICES_H
#define RUVM_MEASURE_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/status.h"

/* Where a number is from; ruvm_devices_source() says it in words. */
enum ruvm_devices_source {
    RUVM_SOURCE_NONE, /* not known: the value is 0 */
    RUVM_SOURCE_ESPTOOL,
    RUVM_SOURCE_IDF_MAP,
    RUVM_SOURCE_IDF_LD,
    RUVM_SOURCE_DATASHEET,
    RUVM_SOURCE_UF2,
    RUVM_SOURCE_MMAP_S3,
    RUVM_SOURCE_MMAP_DERIVED,
    RUVM_SOURCE_OCTAL,
    RUVM_SOURCE_QUAD,
    RUVM_SOURCE_RV32_COUNT,
    RUVM_SOURCE_XTENSA_ASSUMED,
    RUVM_SOURCE_AWAKE,
    RUVM_SOURCE_SLEEP,
    RUVM_SOURCE_WIFI,
    RUVM_N_SOURCES,
};

enum { RUVM_DEVICES_PLACES = 4 };

struct ruvm_fact {
    double value;
    enum ruvm_devices_source source;
};

struct ruvm_device {
    const char *name, *family; /* "esp32c3", "ESP32-C3" */
    const char *core;          /* "RV32IMC", "Xtensa LX7" */
    /* Images: esptool's targets. */
    uint16_t chip_id;
    uint32_t boot_off; /* where the ROM looks for an image */
    bool direct_boot;  /* the ROM can jump into mapped flash */
    uint32_t uf2_family;
    /* Addresses: the vendor's ext_mem_defs.h. Data window and code window may be one. */
    uint32_t drom_start, drom_end, irom_start, irom_end;
    /* Addresses that programs are loaded to, by all buses: begin and end, zeros behind the last. */
    uint32_t loadable[RUVM_DEVICES_PLACES][2];
    /* Memory of the chip; what its program may use of it, and what the program's code in RAM
     * with its variables and its stack take of that. Of lib/device's linker scripts, where
     * has_firmware; else what the vendor's bootloader leaves, and an estimate. */
    uint32_t sram_bytes, memory_bytes, static_bytes, stack_bytes;
    bool has_firmware;
    uint32_t pack_window_bytes; /* of a pack that the firmware can see at once; 0: no firmware */
    /* The rest is for models. */
    const char *psram; /* the options, for people; NULL: none */
    struct ruvm_fact clock_mhz, cores, flash_mb_s, psram_mb_s;
    struct ruvm_fact instructions_mac; /* of a product of weights: int8 kernel, one core */
    struct ruvm_fact awake_ma, sleep_ua, wifi_bytes;
    const char *vector; /* unit, and whether the engine uses it; NULL: none */
};

/* Chip i; NULL past the last. */
const struct ruvm_device *ruvm_devices_at(unsigned i);
/* RUVM_ERR_ARG with the names that exist. */
int ruvm_devices_find(const struct ruvm_device **device, const char *name, struct ruvm_error *err);
/* The chip whose images carry that number, or NULL. */
const struct ruvm_device *ruvm_devices_by_id(unsigned chip_id);
const char *ruvm_devices_source(enum ruvm_devices_source source);
/* Whether a program can have bytes there, in memory or mapped. */
bool ruvm_devices_has_place(const struct ruvm_device *device, uint32_t address, uint32_t bytes);
/* Of flash that can be mapped as data, bytes. */
uint32_t ruvm_devices_window(const struct ruvm_device *device);

/* Sizes of flash that an image's header can say; the usual one is 4 MiB. */
enum { RUVM_DEVICES_PAGE_BYTES = 64 << 10, RUVM_DEVICES_SECTOR_BYTES = 4 << 10 };
enum { RUVM_DEVICES_FLASH_BYTES = 4 << 20, RUVM_DEVICES_TABLE_OFF = 0x8000 };
/* What the firmware takes besides the engine: in flash its loader, table and application; in
 * memory a line of the console, and its tokens behind a full context. */
enum {
    RUVM_DEVICES_FIRMWARE_BYTES = 128 << 10,
    RUVM_DEVICES_SEARCH_BYTES = 64 << 10, /* more of an application that can search */
    RUVM_DEVICES_LINE_BYTES = 512,
    RUVM_DEVICES_BLOCK = 3,   /* prompt tokens that its engine multiplies together */
    RUVM_DEVICES_ANSWERS = 8, /* that a question to its knowledge has at most */
    RUVM_DEVICES_ALIGN = 64,
};
/* Bytes of its buffers at a context, and of all that it takes besides the engine. */
uint64_t ruvm_devices_buffer_bytes(uint32_t context);
uint64_t ruvm_devices_reserved_bytes(const struct ruvm_device *device, uint32_t context);

#endif
