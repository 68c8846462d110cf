/* Requests to the loader in ROM, and what it replies. */
#include "formats/esp_rom.h"

#include "formats/slip.h"
#include "lib/base/bytes.h"

enum { REQUEST = 0, REPLY = 1, CHECKSUM_START = 0xEF };

void ruvm_esp_rom_request(struct ruvm_buffer *out, enum ruvm_esp_rom_command command,
                          uint32_t checksum, const uint8_t *data, size_t n)
{
    struct ruvm_buffer plain = {0};
    ruvm_buffer_u8(&plain, REQUEST);
    ruvm_buffer_u8(&plain, (uint8_t)command);
    ruvm_buffer_u16(&plain, (uint16_t)n);
    ruvm_buffer_u32(&plain, checksum);
    ruvm_buffer_bytes(&plain, data, n);
    if (ruvm_buffer_ok(&plain))
        ruvm_slip_put(out, plain.data, plain.size);
    else
        out->failed = true;
    ruvm_buffer_free(&plain);
}

uint32_t ruvm_esp_rom_checksum(const uint8_t *data, size_t n)
{
    uint8_t sum = CHECKSUM_START;
    for (size_t i = 0; i < n; i++)
        sum ^= data[i];
    return sum;
}

bool ruvm_esp_rom_read(struct ruvm_esp_rom_reply *r, const uint8_t *frame, size_t n)
{
    if (n < RUVM_ESP_ROM_HEAD + RUVM_ESP_ROM_STATUS || frame[0] != REPLY ||
        ruvm_load_u16(frame + 2) != n - RUVM_ESP_ROM_HEAD)
        return false;
    const uint8_t *status = frame + n - RUVM_ESP_ROM_STATUS;
    *r = (struct ruvm_esp_rom_reply){
        .command = frame[1],
        .value = ruvm_load_u32(frame + 4),
        .data = frame + RUVM_ESP_ROM_HEAD,
        .bytes = n - RUVM_ESP_ROM_HEAD - RUVM_ESP_ROM_STATUS,
        .failed = status[0] != 0,
        .reason = status[1],
    };
    return true;
}

const char *ruvm_esp_rom_reason(uint8_t reason)
{
    static const char *const words[] = {
        "invalid message",      "failed to act",
        "wrong checksum",       "flash does not hold what was written",
        "flash is unreadable",  "wrong length to read",
        "wrong compressed data"};
    enum { FIRST = 5, N = sizeof words / sizeof *words };
    return reason >= FIRST && reason < FIRST + N ? words[reason - FIRST] : "an unknown reason";
}
