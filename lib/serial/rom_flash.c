/* What the loader in ROM does with flash. */
#define ZLIB_CONST
#include <string.h>
#include <zlib.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/serial/rom.h"

/* The times within which slow flash is done, as the chips' maker waits for it. */
#define COMMAND_S 3.0
#define MD5_S_MIB 8.0
#define ERASE_S_MIB 30.0
#define WRITE_S_MIB 40.0
enum { BEST = 9, MIB = 1 << 20 };

static double patience(double s_mib, uint32_t bytes)
{
    double s = s_mib * bytes / MIB;
    return s > COMMAND_S ? s : COMMAND_S;
}

int ruvm_rom_attach(struct ruvm_rom *rom, uint32_t flash_bytes)
{
    const uint32_t pins[] = {0, 0}; /* the usual ones */
    const uint32_t params[] = {0, flash_bytes, 64 << 10, 4 << 10, 256, 0xFFFF};
    rom->flash_bytes = flash_bytes;
    int rc = ruvm_rom_call_words(rom, RUVM_ESP_ROM_SPI_ATTACH, pins, 2, COMMAND_S);
    if (rc == RUVM_OK)
        rc = ruvm_rom_call_words(rom, RUVM_ESP_ROM_SPI_PARAMS, params, 6, COMMAND_S);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------ */

static int nibble(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int ruvm_rom_md5(struct ruvm_rom *rom, uint32_t off, uint32_t bytes, uint8_t *digest)
{
    const uint32_t words[] = {off, bytes, 0, 0};
    int rc = ruvm_rom_call_words(rom, RUVM_ESP_ROM_MD5, words, 4, patience(MD5_S_MIB, bytes));
    if (rc != RUVM_OK)
        return rc;
    if (rom->reply.bytes != RUVM_ESP_ROM_MD5_TEXT)
        return RUVM_ERR_CORRUPT;
    for (unsigned i = 0; i < RUVM_ROM_MD5_BYTES; i++) {
        int high = nibble(rom->reply.data[2 * i]), low = nibble(rom->reply.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return RUVM_ERR_CORRUPT;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return RUVM_OK;
}

int ruvm_rom_read_flash(struct ruvm_rom *rom, uint32_t off, uint8_t *bytes, size_t n)
{
    for (size_t at = 0; at < n; at += RUVM_ESP_ROM_READ) {
        size_t some = n - at < RUVM_ESP_ROM_READ ? n - at : RUVM_ESP_ROM_READ;
        const uint32_t words[] = {off + (uint32_t)at, (uint32_t)some};
        int rc = ruvm_rom_call_words(rom, RUVM_ESP_ROM_READ_FLASH, words, 2, COMMAND_S);
        if (rc != RUVM_OK)
            return rc;
        if (rom->reply.bytes < some)
            return RUVM_ERR_CORRUPT;
        memcpy(bytes + at, rom->reply.data, some);
    }
    return RUVM_OK;
}

/* ---- writing ------------------------------------------------------------------------ */

static int compress_all(struct ruvm_buffer *out, const uint8_t *data, uint32_t bytes)
{
    uLongf n = compressBound(bytes);
    uint8_t *to = ruvm_buffer_zeros(out, n);
    if (!to || compress2(to, &n, data, bytes, BEST) != Z_OK)
        return RUVM_ERR_MEMORY;
    out->size = n;
    return RUVM_OK;
}

/* Erases what will be written. The first chip's loader knows no encryption, and no word for
 * it. */
static int begin(struct ruvm_rom *rom, uint32_t off, uint32_t bytes, uint32_t n_blocks)
{
    const uint32_t words[] = {bytes, n_blocks, RUVM_ESP_ROM_BLOCK, off, 0};
    unsigned n = rom->device->chip_id == 0 ? 4 : 5;
    return ruvm_rom_call_words(rom, RUVM_ESP_ROM_DEFL_BEGIN, words, n,
                               patience(ERASE_S_MIB, bytes));
}

static int put_block(struct ruvm_rom *rom, uint32_t number, const uint8_t *data, size_t n,
                     uint32_t bytes)
{
    uint8_t block[RUVM_ESP_ROM_BLOCK_HEAD + RUVM_ESP_ROM_BLOCK] = {0};
    ruvm_store_u32(block, (uint32_t)n);
    ruvm_store_u32(block + 4, number);
    memcpy(block + RUVM_ESP_ROM_BLOCK_HEAD, data, n);
    return ruvm_rom_call(rom, RUVM_ESP_ROM_DEFL_DATA, ruvm_esp_rom_checksum(data, n), block,
                         RUVM_ESP_ROM_BLOCK_HEAD + n, patience(WRITE_S_MIB, bytes));
}

int ruvm_rom_write(struct ruvm_rom *rom, uint32_t off, const uint8_t *data, uint32_t bytes,
                   uint64_t *sent_bytes)
{
    struct ruvm_buffer packed = {0};
    if (compress_all(&packed, data, bytes) != RUVM_OK) {
        ruvm_buffer_free(&packed);
        return ruvm_fail(rom->err, RUVM_ERR_IO, "%s: memory is short", rom->line->name);
    }
    uint32_t n = (uint32_t)((packed.size + RUVM_ESP_ROM_BLOCK - 1) / RUVM_ESP_ROM_BLOCK);
    uint64_t done = rom->done;
    int rc = begin(rom, off, bytes, n);
    for (uint32_t i = 0; i < n && rc == RUVM_OK; i++) {
        size_t at = (size_t)i * RUVM_ESP_ROM_BLOCK, left = packed.size - at;
        size_t some = left < RUVM_ESP_ROM_BLOCK ? left : RUVM_ESP_ROM_BLOCK;
        rc = put_block(rom, i, packed.data + at, some, bytes);
        *sent_bytes += some;
        rom->done = done + (uint64_t)bytes * (i + 1) / n;
    }
    if (rc != RUVM_OK)
        rom->done = done;
    ruvm_buffer_free(&packed);
    return rc;
}
