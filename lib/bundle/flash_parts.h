/* Inside of ruvm_flash(): what is put into a flash, and where. */
#ifndef RUVM_BUNDLE_FLASH_PARTS_H
#define RUVM_BUNDLE_FLASH_PARTS_H

#include "formats/esp_image.h"
#include "formats/esp_partition.h"
#include "lib/base/file.h"
#include "lib/measure/devices.h"
#include "lib/ruvm_tool.h"
#include "lib/serial/rom.h"

struct ruvm_pack;

/* Bytes with a place. */
struct ruvm_flash_part {
    const char *file; /* name as a part of its own */
    char name[20];
    uint32_t off;
    const uint8_t *data;
    size_t bytes;
};
enum { RUVM_FLASH_MAX_PARTS = RUVM_ESP_MAX_PARTITIONS + 4 };

/* A program as it will stand in flash. */
struct ruvm_flash_program {
    struct ruvm_buffer bytes;
    struct ruvm_esp_image image; /* of bytes; not set when it is a direct boot */
    bool is_direct;              /* begins with the ROM's magic: executed where it lies */
    uint32_t body_off;           /* of a direct one that goes on behind the table; else 0 */
    uint32_t mapped_bytes;       /* of its segments that are mapped, in whole pages */
};

enum { RUVM_FLASH_PATH = 4096 };

struct ruvm_flash_job {
    const struct ruvm_flash_options *o;
    struct ruvm_flash_result *r;
    struct ruvm_error *err;
    const struct ruvm_device *device;
    uint32_t flash_bytes, table_off;
    struct ruvm_map pack, dump;
    bool has_knowledge, has_classifier; /* of the pack */
    struct ruvm_flash_program firmware, bootloader;
    const char *firmware_path, *bootloader_path; /* given or found; NULL: none */
    char found[2][RUVM_FLASH_PATH];
    bool is_ours; /* the firmware: what it can map is known */
    struct ruvm_esp_table table;
    struct ruvm_buffer table_bytes, otadata;
    struct ruvm_flash_part parts[RUVM_FLASH_MAX_PARTS];
    unsigned n_parts;
    struct ruvm_line line; /* to the chip; open when its state is set */
    struct ruvm_rom rom;
};

/* The table is not made here: the partitions and what stands in them stay. */
bool ruvm_flash_keeps_table(const struct ruvm_flash_job *j);

/* flash_firmware.c: what is in the pack, NULL: it is a bare image; and the programs for it. */
void ruvm_flash_firmware_look(struct ruvm_flash_job *j, const struct ruvm_pack *pack);
int ruvm_flash_firmware_open(struct ruvm_flash_job *j);

/* flash_program.c: an ELF or an image, made fit for this chip and flash. */
int ruvm_flash_program_open(struct ruvm_flash_program *p, const struct ruvm_flash_job *j,
                            const char *path);

/* flash_layout.c: the table, and every part at its place, checked. */
int ruvm_flash_layout(struct ruvm_flash_job *j);
int ruvm_flash_layout_dump(struct ruvm_flash_job *j);
/* The pack alone, into a table that was read. */
int ruvm_flash_layout_table(struct ruvm_flash_job *j, const char *name, const uint8_t *table,
                            size_t n);

/* flash_port.c: the chip at the other end of a serial port. */
int ruvm_flash_port_connect(struct ruvm_flash_job *j);
int ruvm_flash_port_layout(struct ruvm_flash_job *j);
/* Writes, restarts, and runs the monitor. */
int ruvm_flash_port_write(struct ruvm_flash_job *j);

/* flash_write.c: the parts as files; and what goes with them. */
int ruvm_flash_write(struct ruvm_flash_job *j);
/* flash_plan.c */
int ruvm_flash_draw(const struct ruvm_flash_job *j, const char *path);

#endif
