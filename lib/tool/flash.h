/* ruvm_flash(): lays out a flash and writes it; the console of a chip.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_FLASH_H
#define RUVM_TOOL_FLASH_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ruvm_monitor;

struct ruvm_flash_options {
    const char *pack;       /* a pack, or a bare RUVM image */
    const char *chip;       /* "esp32c3", ...: ruvm_target_name(); NULL with port: the one there */
    const char *firmware;   /* application: ELF or image; NULL: that of ruvm */
    const char *bootloader; /* second stage, ELF or image; NULL: the ROM loads the firmware, or */
                            /* that of ruvm does when the ROM cannot */
    const char *firmware_dir; /* where the firmware of ruvm is, a folder a chip; NULL: nowhere */
    bool direct_boot;         /* the ROM starts the firmware where it lies in flash */
    const char *partitions;   /* table as CSV or binary; NULL: made for what there is */
    const char *label;        /* of the pack's partition; NULL: "ruvm" */
    const char *dump;         /* a flash's contents, of which only that partition is replaced */
    bool ota;                 /* of a table that is made: two slots for the application */
    uint32_t flash_bytes;     /* 0: 4 MiB */
    uint32_t table_off;       /* 0: 0x8000 */
    uint32_t pack_bytes;      /* of a table that is made: room for the pack; 0: what it takes */
    const char *mode;         /* "qio", "qout", "dio", "dout"; NULL: the images' own, or dio */
    const char *speed;        /* "80m", "40m", "26m", "20m"; NULL: the images' own, or 40m */
    const char *to;           /* "raw", "parts" (output is a folder), "uf2", "hex"; NULL: raw */
    bool trim;                /* raw: end with the last sector that holds something */
    const char *output;       /* NULL: only the plan */
    const char *svg;          /* file for a drawing of the plan, or NULL */
    const char *manifest;     /* file for an ESP Web Tools manifest, or NULL */
    const char *name;         /* in the manifest; NULL: "ruvm" */
    /* The chip that is written: a serial port, or NULL. Without firmware, whole or direct_boot
     * only the pack is, into its partition of the table that the chip has. */
    const char *port;
    bool whole;                         /* the port's chip gets all, with the firmware of ruvm */
    uint32_t baud;                      /* 0: 460800; less when the line does not carry it */
    bool rewrite;                       /* also sectors that are right already */
    const struct ruvm_monitor *monitor; /* runs when the chip was restarted; or NULL */
    struct ruvm_progress progress;
};

/* A part of flash, ascending by offset. */
struct ruvm_flash_region {
    char name[20], kind[36];        /* "ruvm", "data 0x40" */
    uint32_t off_bytes, size_bytes; /* the room */
    uint32_t used_bytes;            /* 0: nothing is written there */
    char file[32];                  /* of its part: "partition-table.bin"; "" when unused */
};

/* What a chip was given over its serial port; all of it measured. */
struct ruvm_flash_written {
    uint32_t n_sectors, n_changed; /* of 4 KiB: that something stands in, and that differed */
    uint64_t sent_bytes;           /* of these, compressed */
    uint32_t baud;                 /* in the end */
    uint32_t n_troubles;           /* lost, late and wrong answers that were overcome */
    double seconds;
};

enum { RUVM_FLASH_REGIONS = 200, RUVM_FLASH_NAME = 1024 };
struct ruvm_flash_result {
    char chip[12], family[12]; /* "esp32c3", "ESP32-C3" */
    uint32_t flash_bytes, table_off;
    uint64_t window_bytes, mapped_bytes; /* what the chip can map as data, and what it must */
    char mode[8], speed[8];              /* of the image that the ROM loads; "" unknown */
    uint32_t n_regions;
    struct ruvm_flash_region regions[RUVM_FLASH_REGIONS];
    char label[17];
    char firmware[RUVM_FLASH_NAME], bootloader[RUVM_FLASH_NAME]; /* files; "" none */
    bool has_knowledge;                                          /* the pack */
    uint64_t bytes;                    /* written: of the file, or of all parts */
    struct ruvm_flash_written written; /* n_sectors 0: no port */
};

/* What goes between a person or a script and the console of a chip. */
struct ruvm_monitor {
    uint32_t baud;  /* 0: 115200 */
    double idle_s;  /* silence after which a script's next line goes, or all ends; 0: 2 */
    bool is_script; /* lines one at a time, the next after an answer: a line "ok" or "error" */
    /* Called first; r is NULL when nothing was flashed. May be NULL. */
    void (*begin)(void *user, const struct ruvm_flash_result *r);
    /* Bytes to send, up to cap: 0 none now, below 0 no more ever. A script gives whole lines. */
    int (*type)(void *user, uint8_t *bytes, size_t cap);
    /* Bytes that came; n is often 0. Nonzero ends the monitor. */
    int (*show)(void *user, const uint8_t *bytes, size_t n);
    void *user;
};

/* The console of the chip at a port, until type or show say that it is enough; of a script
 * until its last line was answered. RUVM_ERR_IO when the port is gone. */
int ruvm_flash_monitor(const char *port, const struct ruvm_monitor *m, struct ruvm_error *err);

/* Lays out a flash and writes it, as a file, to a chip, or both. Everything is checked before a
 * byte is written. */
int ruvm_flash(const struct ruvm_flash_options *o, struct ruvm_flash_result *r,
               struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
