/* The table of chips: data, with the source of each number beside it. */
#include "lib/measure/devices.h"

#include <stddef.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/ruvm.h"

static const char *const sources[RUVM_N_SOURCES] = {
    [RUVM_SOURCE_NONE] = "not known",
    [RUVM_SOURCE_ESPTOOL] = "esptool, targets/*.py",
    [RUVM_SOURCE_IDF_MAP] = "esp-idf, soc/*/ext_mem_defs.h and soc.h",
    [RUVM_SOURCE_IDF_LD] = "esp-idf, esp_system/ld/*/memory.ld.in",
    [RUVM_SOURCE_DATASHEET] = "the vendor's datasheet",
    [RUVM_SOURCE_UF2] = "uf2families.json",
    [RUVM_SOURCE_MMAP_S3] = "measured by MimiModel: mapped QIO flash at 80 MHz on an S3",
    [RUVM_SOURCE_MMAP_DERIVED] = "derived: QIO at 80 MHz is 40 MB/s, times the S3's share of it",
    [RUVM_SOURCE_OCTAL] = "measured: octal PSRAM at 80 MHz, 64-byte lines (esp32-s3-memorycopy)",
    [RUVM_SOURCE_QUAD] = "derived: quad PSRAM at 80 MHz is 40 MB/s, times the S3's share of it",
    [RUVM_SOURCE_RV32_COUNT] =
        "counted in the emulated ESP32-C3: 84,956,018 instructions for 25,001,984 products (int8)",
    [RUVM_SOURCE_XTENSA_ASSUMED] = "assumed: as counted for the ESP32-C3",
    [RUVM_SOURCE_AWAKE] = "measured on boards, radio off (lucidar, dzen, robdobson)",
    [RUVM_SOURCE_SLEEP] = "esp-idf documentation, sleep current",
    [RUVM_SOURCE_WIFI] = "assumed: 50 KB of heap that a Wi-Fi station takes at least",
};

#define FACT(v, s)                                                                                 \
    {                                                                                              \
        .value = (v), .source = RUVM_SOURCE_##s                                                    \
    }
enum { WIFI_BYTES = 50 << 10 };
/* Where the program is the user's own: estimates. */
enum { OTHER_STATIC_BYTES = 16 << 10, OTHER_STACK_BYTES = 4 << 10 };
#define RV32_MAC 3.40

static const struct ruvm_device devices[] = {
    {
        .name = "esp32",
        .family = "ESP32",
        .core = "Xtensa LX6",
        .chip_id = 0,
        .boot_off = 0x1000,
        .uf2_family = 0x1c5f21b0,
        .drom_start = 0x3F400000,
        .drom_end = 0x3F800000,
        .irom_start = 0x400D0000,
        .irom_end = 0x40400000,
        .loadable = {{0x3FFAE000, 0x40000000},
                     {0x40070000, 0x400C2000},
                     {0x3FF80000, 0x3FF82000},
                     {0x50000000, 0x50002000}},
        .sram_bytes = 520 << 10,
        .memory_bytes = 0x30000,
        .static_bytes = 0x400,
        .stack_bytes = 0x1000,
        .has_firmware = true,
        .pack_window_bytes = 48 * RUVM_DEVICES_PAGE_BYTES,
        .psram = "4 MB (of 8) mapped, quad",
        .clock_mhz = FACT(240, DATASHEET),
        .cores = FACT(2, DATASHEET),
        .flash_mb_s = FACT(29.9, MMAP_DERIVED),
        .psram_mb_s = FACT(29.9, QUAD),
        .instructions_mac = FACT(RV32_MAC, XTENSA_ASSUMED),
        .awake_ma = FACT(38, AWAKE),
        .sleep_ua = FACT(5, SLEEP),
        .wifi_bytes = FACT(WIFI_BYTES, WIFI),
    },
    {
        .name = "esp32s2",
        .family = "ESP32-S2",
        .core = "Xtensa LX7",
        .chip_id = 2,
        .boot_off = 0x1000,
        .uf2_family = 0xbfdd4eee,
        .drom_start = 0x3F000000,
        .drom_end = 0x3F3F0000,
        .irom_start = 0x40080000,
        .irom_end = 0x40800000,
        .loadable = {{0x3FF9E000, 0x40000000}, {0x40020000, 0x40072000}, {0x50000000, 0x50002000}},
        .sram_bytes = 320 << 10,
        .memory_bytes = 155648, /* with the largest caches */
        .static_bytes = OTHER_STATIC_BYTES,
        .stack_bytes = OTHER_STACK_BYTES,
        .psram = "2 MB, quad",
        .clock_mhz = FACT(240, DATASHEET),
        .cores = FACT(1, DATASHEET),
        .flash_mb_s = FACT(29.9, MMAP_DERIVED),
        .psram_mb_s = FACT(29.9, QUAD),
        .instructions_mac = FACT(RV32_MAC, XTENSA_ASSUMED),
        .sleep_ua = FACT(5, SLEEP),
        .wifi_bytes = FACT(WIFI_BYTES, WIFI),
    },
    {
        .name = "esp32s3",
        .family = "ESP32-S3",
        .core = "Xtensa LX7",
        .chip_id = 9,
        .boot_off = 0,
        .uf2_family = 0xc47e5767,
        .drom_start = 0x3C000000,
        .drom_end = 0x3E000000,
        .irom_start = 0x42000000,
        .irom_end = 0x44000000,
        .loadable = {{0x3FC88000, 0x3FD00000},
                     {0x40370000, 0x403E0000},
                     {0x50000000, 0x50002000},
                     {0x600FE000, 0x60100000}},
        .sram_bytes = 512 << 10,
        .memory_bytes = 341760,
        .static_bytes = OTHER_STATIC_BYTES,
        .stack_bytes = OTHER_STACK_BYTES,
        .psram = "2 MB quad, 8 MB octal",
        .clock_mhz = FACT(240, DATASHEET),
        .cores = FACT(2, DATASHEET),
        .flash_mb_s = FACT(29.9, MMAP_S3),
        .psram_mb_s = FACT(84, OCTAL),
        .instructions_mac = FACT(RV32_MAC, XTENSA_ASSUMED),
        .awake_ma = FACT(31.7, AWAKE),
        .sleep_ua = FACT(6.8, SLEEP),
        .wifi_bytes = FACT(WIFI_BYTES, WIFI),
        .vector = "PIE, 128 bits (not used by the model of speed)",
    },
    {
        .name = "esp32c3",
        .family = "ESP32-C3",
        .core = "RV32IMC",
        .chip_id = 5,
        .boot_off = 0,
        .direct_boot = true,
        .uf2_family = 0xd42ba06c,
        .drom_start = 0x3C000000,
        .drom_end = 0x3C800000,
        .irom_start = 0x42000000,
        .irom_end = 0x42800000,
        .loadable = {{0x3FC80000, 0x3FCE0000}, {0x4037C000, 0x403E0000}, {0x50000000, 0x50002000}},
        .sram_bytes = 400 << 10,
        .memory_bytes = 0x60000,
        .static_bytes = 0x2000,
        .stack_bytes = 0x1000,
        .has_firmware = true,
        .pack_window_bytes = 112 * RUVM_DEVICES_PAGE_BYTES,
        .clock_mhz = FACT(160, DATASHEET),
        .cores = FACT(1, DATASHEET),
        .flash_mb_s = FACT(29.9, MMAP_DERIVED),
        .instructions_mac = FACT(RV32_MAC, RV32_COUNT),
        .awake_ma = FACT(26.8, AWAKE),
        .sleep_ua = FACT(4.8, SLEEP),
        .wifi_bytes = FACT(WIFI_BYTES, WIFI),
    },
    {
        .name = "esp32c6",
        .family = "ESP32-C6",
        .core = "RV32IMAC",
        .chip_id = 13,
        .boot_off = 0,
        .uf2_family = 0x540ddf62,
        .drom_start = 0x42000000,
        .drom_end = 0x43000000,
        .irom_start = 0x42000000,
        .irom_end = 0x43000000,
        .loadable = {{0x40800000, 0x40880000}, {0x50000000, 0x50004000}},
        .sram_bytes = 512 << 10,
        .memory_bytes = 0x80000,
        .static_bytes = 0x2000,
        .stack_bytes = 0x1000,
        .has_firmware = true,
        .pack_window_bytes = 240 * RUVM_DEVICES_PAGE_BYTES,
        .clock_mhz = FACT(160, DATASHEET),
        .cores = FACT(1, DATASHEET),
        .flash_mb_s = FACT(29.9, MMAP_DERIVED),
        .instructions_mac = FACT(RV32_MAC, RV32_COUNT),
        .sleep_ua = FACT(6.7, SLEEP),
        .wifi_bytes = FACT(WIFI_BYTES, WIFI),
    },
};
enum { N_DEVICES = sizeof devices / sizeof *devices };

const struct ruvm_device *ruvm_devices_at(unsigned i)
{
    return i < N_DEVICES ? &devices[i] : NULL;
}

int ruvm_devices_find(const struct ruvm_device **device, const char *name, struct ruvm_error *err)
{
    for (unsigned i = 0; i < N_DEVICES; i++)
        if (strcmp(devices[i].name, name) == 0) {
            *device = &devices[i];
            return RUVM_OK;
        }
    return ruvm_fail(err, RUVM_ERR_ARG,
                     "chip \"%s\" is not known; use esp32, esp32s2, esp32s3, esp32c3 or esp32c6",
                     name);
}

const struct ruvm_device *ruvm_devices_by_id(unsigned chip_id)
{
    for (unsigned i = 0; i < N_DEVICES; i++)
        if (devices[i].chip_id == chip_id)
            return &devices[i];
    return NULL;
}

const char *ruvm_devices_source(enum ruvm_devices_source source)
{
    return sources[source];
}

static bool holds(uint64_t begin, uint64_t end, uint32_t address, uint32_t bytes)
{
    return address >= begin && (uint64_t)address + bytes <= end;
}

bool ruvm_devices_has_place(const struct ruvm_device *d, uint32_t address, uint32_t bytes)
{
    for (unsigned i = 0; i < RUVM_DEVICES_PLACES; i++)
        if (holds(d->loadable[i][0], d->loadable[i][1], address, bytes))
            return true;
    return holds(d->drom_start, d->drom_end, address, bytes) ||
           holds(d->irom_start, d->irom_end, address, bytes);
}

uint32_t ruvm_devices_window(const struct ruvm_device *d)
{
    return d->drom_end - d->drom_start;
}

/* As lib/device/model.c lays them out; tests/device/firmware.sh compares. */
uint64_t ruvm_devices_buffer_bytes(uint32_t context)
{
    uint64_t ids = (uint64_t)context + RUVM_MAX_TOKENS(RUVM_DEVICES_LINE_BYTES);
    return ruvm_align_up(ids * sizeof(uint16_t), RUVM_DEVICES_ALIGN);
}

uint64_t ruvm_devices_reserved_bytes(const struct ruvm_device *d, uint32_t context)
{
    return d->static_bytes + d->stack_bytes + ruvm_devices_buffer_bytes(context);
}
