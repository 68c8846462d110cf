/* Which chip it is at the other end, and what must be known of it.
 *
 * A word of ROM differs from chip to chip; later ones also say their number, the same as in
 * the headers of their images. What the line may have damaged is asked until two answers are
 * the same.
 */
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/serial/rom.h"

enum { MAGIC_AT = 0x40001000, ESP32 = 0, TRIES = 4 };
/* Of the reply with what its fuses say. */
enum { CRYPT_COUNT = 4, CHIP_ID = 12, SECURITY_BYTES = 20, SECURITY_SHORT = 12 };
/* The first chip's fuses. */
enum { FUSES_AT = 0x3FF5A000, FUSES_CRYPT = 20, FUSES_CRYPT_MASK = 0x7F };
#define SECURITY_S 0.5

static const struct {
    uint32_t magic;
    uint16_t chip_id;
} magics[] = {
    {0x00F01D83, 0}, {0x000007C6, 2}, {0x00000009, 9}, {0x6921506F, 5},
    {0x1B31506F, 5}, {0x4881606F, 5}, {0x4361606F, 5}, {0x2CE0806F, 13},
};

static const struct ruvm_device *by_magic(uint32_t magic)
{
    for (unsigned i = 0; i < sizeof magics / sizeof *magics; i++)
        if (magics[i].magic == magic)
            return ruvm_devices_by_id(magics[i].chip_id);
    return NULL;
}

/* Two equal answers, one after the other. */
static int read_twice(struct ruvm_rom *rom, uint32_t address, uint32_t *value)
{
    uint32_t last = 0, now;
    bool known = false;
    for (unsigned i = 0; i < 2 * TRIES; i++) {
        int rc = ruvm_rom_read_register(rom, address, &now);
        if (rc == RUVM_ERR_IO)
            return rc;
        if (rc != RUVM_OK && ruvm_rom_sync(rom, TRIES) == RUVM_ERR_IO)
            return RUVM_ERR_IO;
        if (rc == RUVM_OK && known && now == last) {
            *value = now;
            return RUVM_OK;
        }
        known = rc == RUVM_OK;
        last = now;
    }
    return RUVM_ERR_CORRUPT;
}

/* What the later chips say of themselves; chip_id stays when they do not. */
static int read_security(struct ruvm_rom *rom, int *chip_id, uint8_t *crypt_count)
{
    int rc = ruvm_rom_call(rom, RUVM_ESP_ROM_SECURITY, 0, NULL, 0, SECURITY_S);
    if (rc != RUVM_OK)
        return rc == RUVM_ERR_IO ? rc : RUVM_OK; /* older loaders do not know the question */
    if (rom->reply.bytes >= SECURITY_SHORT)
        *crypt_count = rom->reply.data[CRYPT_COUNT];
    if (rom->reply.bytes >= SECURITY_BYTES)
        *chip_id = (int)ruvm_load_u32(rom->reply.data + CHIP_ID);
    return RUVM_OK;
}

static bool is_odd(unsigned bits)
{
    bool odd = false;
    for (; bits; bits &= bits - 1)
        odd = !odd;
    return odd;
}

/* Of encrypted flash neither can a change be seen, nor what was written be checked. */
static int refuse_encryption(struct ruvm_rom *rom, unsigned crypt_count)
{
    if (!is_odd(crypt_count))
        return RUVM_OK;
    return ruvm_fail(rom->err, RUVM_ERR_UNSUPPORTED,
                     "%s: the flash of this %s is encrypted: write it with the maker's tool "
                     "(ruvm flash --emit esptool)",
                     rom->line->name, rom->device->family);
}

static int unknown_chip(struct ruvm_rom *rom, uint32_t magic, int chip_id)
{
    char text[48];
    if (chip_id >= 0)
        snprintf(text, sizeof text, "number %d", chip_id);
    else
        snprintf(text, sizeof text, "0x%08x at 0x%x", (unsigned)magic, (unsigned)MAGIC_AT);
    return ruvm_fail(rom->err, RUVM_ERR_UNSUPPORTED,
                     "%s: the chip is none that ruvm knows (%s): it knows the ESP32, S2, S3, C3 "
                     "and C6",
                     rom->line->name, text);
}

int ruvm_rom_identify(struct ruvm_rom *rom)
{
    uint32_t magic = 0, fuses = 0;
    uint8_t crypt_count = 0;
    int chip_id = -1;
    int rc = read_twice(rom, MAGIC_AT, &magic);
    if (rc == RUVM_ERR_IO)
        return rc;
    rom->device = rc == RUVM_OK ? by_magic(magic) : NULL;
    if (rom->device && rom->device->chip_id == ESP32) {
        rc = read_twice(rom, FUSES_AT, &fuses);
        crypt_count = rc == RUVM_OK ? fuses >> FUSES_CRYPT & FUSES_CRYPT_MASK : 0;
    } else {
        rc = read_security(rom, &chip_id, &crypt_count);
    }
    if (rc == RUVM_ERR_IO)
        return rc;
    if (!rom->device && chip_id >= 0)
        rom->device = ruvm_devices_by_id((unsigned)chip_id);
    if (!rom->device && chip_id < 0 && !magic)
        return RUVM_ERR_CORRUPT;
    return rom->device ? refuse_encryption(rom, crypt_count) : unknown_chip(rom, magic, chip_id);
}

/* ---- watchdogs -------------------------------------------------------------------------- */

int ruvm_rom_stop_watchdogs(struct ruvm_rom *rom)
{
    enum { KEY = 0x50D83AA1 };
    static const struct {
        uint16_t chip_id;
        uint32_t config, protect; /* of the watchdog of the always-on domain */
        uint32_t super, super_protect, super_key, super_feed; /* of the one beside it */
    } watchdogs[] = {
        {5, 0x60008090, 0x600080A8, 0x600080AC, 0x600080B0, 0x8F1D312A, 1u << 31},
        {9, 0x60008098, 0x600080B0, 0x600080B4, 0x600080B8, 0x8F1D312A, 1u << 31},
        {13, 0x600B1C00, 0x600B1C18, 0x600B1C1C, 0x600B1C20, KEY, 1u << 18},
    };
    for (unsigned i = 0; i < sizeof watchdogs / sizeof *watchdogs; i++) {
        uint32_t super;
        if (watchdogs[i].chip_id != rom->device->chip_id)
            continue;
        int rc = ruvm_rom_read_register(rom, watchdogs[i].super, &super);
        if (rc != RUVM_OK)
            return rc;
        const uint32_t writes[][2] = {
            {watchdogs[i].protect, KEY},
            {watchdogs[i].config, 0},
            {watchdogs[i].protect, 0},
            {watchdogs[i].super_protect, watchdogs[i].super_key},
            {watchdogs[i].super, super | watchdogs[i].super_feed}, /* it feeds itself */
            {watchdogs[i].super_protect, 0},
        };
        for (unsigned w = 0; w < sizeof writes / sizeof *writes && rc == RUVM_OK; w++)
            rc = ruvm_rom_write_register(rom, writes[w][0], writes[w][1]);
        return rc;
    }
    return RUVM_OK;
}
