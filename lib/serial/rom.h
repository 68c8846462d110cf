/* The loader in ROM of a chip at the other end of a serial line.
 *
 *     ruvm_rom_init(&rom, &line, NULL, &err);
 *     rc = ruvm_rom_connect(&rom);               reset into the loader, and which chip it is
 *     rc = ruvm_rom_set_up(&rom, flash_bytes, baud);
 *     ... ruvm_rom_md5(), ruvm_rom_write() ...
 *     ruvm_rom_restart(&rom);
 *
 * A line is noisy, so most failures say nothing about the chip: functions return
 *
 *     RUVM_ERR_CORRUPT       no answer in time, or none that can be understood
 *     RUVM_ERR_UNSUPPORTED   the loader refused; `reason` says why
 *
 * and record no message, because the caller will try again. RUVM_ERR_IO is final, a line that
 * is gone or an interrupt, and its message is recorded.
 */
#ifndef RUVM_SERIAL_ROM_H
#define RUVM_SERIAL_ROM_H

#include "formats/esp_rom.h"
#include "formats/slip.h"
#include "lib/measure/devices.h"
#include "lib/ruvm_tool.h"
#include "lib/serial/line.h"

enum { RUVM_ROM_START_BAUD = 115200 };

struct ruvm_rom {
    const struct ruvm_line *line;
    const struct ruvm_progress *progress; /* may be NULL; its report can interrupt */
    struct ruvm_error *err;
    const struct ruvm_device *device; /* NULL until connected */
    uint32_t baud;                    /* of the line, now */
    uint32_t wanted_baud, flash_bytes;
    bool has_signals; /* a reset is possible */
    uint8_t reason;   /* of the last refusal */
    unsigned n_troubles;
    /* What is being done, for the progress. */
    const char *stage;
    uint64_t done, total;
    /* Bytes on their way. */
    struct ruvm_slip slip;
    uint8_t frame[256], input[256];
    size_t input_at, input_bytes;
    uint64_t heard_bytes;
    struct ruvm_esp_rom_reply reply; /* the last one; its data lies in frame */
};

void ruvm_rom_init(struct ruvm_rom *rom, const struct ruvm_line *line,
                   const struct ruvm_progress *progress, struct ruvm_error *err);

/* ---- rom.c: requests and replies ------------------------------------------------- */

/* One request and its reply, waited for that long. */
int ruvm_rom_call(struct ruvm_rom *rom, enum ruvm_esp_rom_command command, uint32_t checksum,
                  const uint8_t *data, size_t n, double seconds);
/* The same for data of n words. */
int ruvm_rom_call_words(struct ruvm_rom *rom, enum ruvm_esp_rom_command command,
                        const uint32_t *words, unsigned n, double seconds);
/* Without a reply: the chip may begin anew before it would come. */
int ruvm_rom_send(struct ruvm_rom *rom, enum ruvm_esp_rom_command command, uint32_t checksum,
                  const uint8_t *data, size_t n);
/* Waits for the answer to a greeting, after which nothing older is on its way. */
int ruvm_rom_sync(struct ruvm_rom *rom, unsigned tries);
/* Forgets what came. */
void ruvm_rom_forget(struct ruvm_rom *rom);
int ruvm_rom_read_register(struct ruvm_rom *rom, uint32_t address, uint32_t *value);
int ruvm_rom_write_register(struct ruvm_rom *rom, uint32_t address, uint32_t value);

/* ---- rom_flash.c: commands for flash ---------------------------------------------- */

int ruvm_rom_attach(struct ruvm_rom *rom, uint32_t flash_bytes);
enum { RUVM_ROM_MD5_BYTES = 16 };
int ruvm_rom_md5(struct ruvm_rom *rom, uint32_t off, uint32_t bytes, uint8_t *digest);
int ruvm_rom_read_flash(struct ruvm_rom *rom, uint32_t off, uint8_t *bytes, size_t n);
/* Whole sectors; sent_bytes grows by what went over the line. */
int ruvm_rom_write(struct ruvm_rom *rom, uint32_t off, const uint8_t *data, uint32_t bytes,
                   uint64_t *sent_bytes);

/* ---- connect.c: there, lost, and there again ---------------------------------------- */

/* Resets the chip into its loader, waits until it answers, and finds out what it is. Failures
 * are final, with a message. */
int ruvm_rom_connect(struct ruvm_rom *rom);
/* Makes flash accessible, and the line as fast as it can be up to baud. Failures are final. */
int ruvm_rom_set_up(struct ruvm_rom *rom, uint32_t flash_bytes, uint32_t baud);
/* Another speed for both sides; when it does not work, the old one, if that still does. */
int ruvm_rom_set_baud(struct ruvm_rom *rom, uint32_t baud);
/* After a failed command: greets the loader, or resets the chip, at a lower speed when
 * `slower`, and restores what was set up. Failures are final. */
int ruvm_rom_recover(struct ruvm_rom *rom, bool slower);
/* Starts the chip's program. */
void ruvm_rom_restart(struct ruvm_rom *rom);

/* ---- chip.c ------------------------------------------------------------------------- */

/* Sets rom->device. Final failures: a chip that ruvm does not know, flash encryption. */
int ruvm_rom_identify(struct ruvm_rom *rom);
/* On a line that ends in the chip a watchdog goes on and would end the loader. */
int ruvm_rom_stop_watchdogs(struct ruvm_rom *rom);

#endif
