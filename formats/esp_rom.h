/* The words of the loader in ROM of Espressif's chips: requests and replies as bytes.
 *
 * A request is 00, command, length u16, checksum u32, data; a reply 01, command, length u16,
 * value u32, data, of which the last four bytes are the status: whether the command failed,
 * why, and two that mean nothing. Both travel as SLIP frames. The checksum is that of the
 * blocks of data alone; all else travels unprotected.
 */
#ifndef RUVM_FORMATS_ESP_ROM_H
#define RUVM_FORMATS_ESP_ROM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buffer.h"

enum ruvm_esp_rom_command {
    RUVM_ESP_ROM_FLASH_BEGIN = 0x02,
    RUVM_ESP_ROM_FLASH_END = 0x04,
    RUVM_ESP_ROM_SYNC = 0x08,
    RUVM_ESP_ROM_WRITE_REG = 0x09,
    RUVM_ESP_ROM_READ_REG = 0x0A,
    RUVM_ESP_ROM_SPI_PARAMS = 0x0B,
    RUVM_ESP_ROM_SPI_ATTACH = 0x0D,
    RUVM_ESP_ROM_READ_FLASH = 0x0E,
    RUVM_ESP_ROM_BAUD = 0x0F,
    RUVM_ESP_ROM_DEFL_BEGIN = 0x10,
    RUVM_ESP_ROM_DEFL_DATA = 0x11,
    RUVM_ESP_ROM_MD5 = 0x13,
    RUVM_ESP_ROM_SECURITY = 0x14,
};

enum {
    RUVM_ESP_ROM_HEAD = 8,        /* of requests and replies, before their data */
    RUVM_ESP_ROM_STATUS = 4,      /* behind the data of replies */
    RUVM_ESP_ROM_BLOCK = 0x400,   /* the most data of flash in a request */
    RUVM_ESP_ROM_BLOCK_HEAD = 16, /* before it: length, number, two zeros */
    RUVM_ESP_ROM_READ = 64,       /* the most that can be read at once */
    RUVM_ESP_ROM_MD5_TEXT = 32,   /* in hex */
};

struct ruvm_esp_rom_reply {
    uint8_t command;
    uint32_t value;
    const uint8_t *data; /* in the frame */
    size_t bytes;        /* without the status */
    bool failed;
    uint8_t reason; /* when it failed */
};

/* Adds a whole frame. */
void ruvm_esp_rom_request(struct ruvm_buffer *out, enum ruvm_esp_rom_command command,
                          uint32_t checksum, const uint8_t *data, size_t n);
uint32_t ruvm_esp_rom_checksum(const uint8_t *data, size_t n);
/* False: these bytes are no reply. */
bool ruvm_esp_rom_read(struct ruvm_esp_rom_reply *r, const uint8_t *frame, size_t n);
/* Why a command failed, in words. */
const char *ruvm_esp_rom_reason(uint8_t reason);

#endif
