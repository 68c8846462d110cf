/* Requests to the loader in ROM and their replies, in time or not. */
#include "lib/serial/rom.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

#define SYNC_S 0.1
#define COMMAND_S 3.0
enum { SLICE_MS = 100, QUIET_MS = 20, MOST_WORDS = 8 };

void ruvm_rom_init(struct ruvm_rom *rom, const struct ruvm_line *line,
                   const struct ruvm_progress *progress, struct ruvm_error *err)
{
    *rom = (struct ruvm_rom){.line = line,
                             .progress = progress,
                             .err = err,
                             .baud = RUVM_ROM_START_BAUD,
                             .has_signals = true,
                             .stage = "connecting"};
    rom->slip = (struct ruvm_slip){.frame = rom->frame, .cap = sizeof rom->frame};
}

static int gone(struct ruvm_rom *rom)
{
    return ruvm_fail(rom->err, RUVM_ERR_IO,
                     "%s: the line is gone: was the board unplugged? What was written stays; the "
                     "same command goes on from there",
                     rom->line->name);
}

/* Fails when the user wants to stop. */
static int tick(struct ruvm_rom *rom)
{
    if (rom->progress && rom->progress->report &&
        rom->progress->report(rom->progress->user, rom->stage, rom->done, rom->total) != 0)
        return ruvm_fail(rom->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* ---- bytes -------------------------------------------------------------------------- */

void ruvm_rom_forget(struct ruvm_rom *rom)
{
    ruvm_line_forget(rom->line);
    rom->input_at = rom->input_bytes = 0;
    rom->slip.size = 0;
    rom->slip.state = RUVM_SLIP_BYTES;
}

/* Fills the input, waiting for it no longer than a slice. */
static int listen(struct ruvm_rom *rom, double seconds)
{
    unsigned ms = seconds * 1e3 < SLICE_MS ? (unsigned)(seconds * 1e3) + 1 : SLICE_MS;
    int n = rom->line->read(rom->line->state, rom->input, sizeof rom->input, ms);
    if (n < 0)
        return gone(rom);
    rom->input_at = 0;
    rom->input_bytes = (size_t)n;
    rom->heard_bytes += (size_t)n;
    return tick(rom);
}

/* The next frame, whatever is in it. */
static int next_frame(struct ruvm_rom *rom, double end)
{
    for (;;) {
        while (rom->input_at < rom->input_bytes)
            if (ruvm_slip_take(&rom->slip, rom->input[rom->input_at++]))
                return RUVM_OK;
        double left = end - rom->line->clock_s(rom->line->state);
        if (left <= 0)
            return RUVM_ERR_CORRUPT;
        int rc = listen(rom, left);
        if (rc != RUVM_OK)
            return rc;
    }
}

/* ---- commands ----------------------------------------------------------------------- */

int ruvm_rom_send(struct ruvm_rom *rom, enum ruvm_esp_rom_command command, uint32_t checksum,
                  const uint8_t *data, size_t n)
{
    struct ruvm_buffer out = {0};
    ruvm_esp_rom_request(&out, command, checksum, data, n);
    int rc = !ruvm_buffer_ok(&out)
                 ? ruvm_fail(rom->err, RUVM_ERR_IO, "%s: memory is short", rom->line->name)
                 : rom->line->write(rom->line->state, out.data, out.size);
    ruvm_buffer_free(&out);
    return rc == RUVM_OK ? rc : gone(rom);
}

/* Replies to other commands are late ones, and passed over. */
static int await(struct ruvm_rom *rom, enum ruvm_esp_rom_command command, double seconds)
{
    double end = rom->line->clock_s(rom->line->state) + seconds;
    for (;;) {
        int rc = next_frame(rom, end);
        if (rc != RUVM_OK)
            return rc;
        if (!ruvm_esp_rom_read(&rom->reply, rom->frame, rom->slip.size) ||
            rom->reply.command != command)
            continue;
        if (!rom->reply.failed)
            return RUVM_OK;
        rom->reason = rom->reply.reason;
        return RUVM_ERR_UNSUPPORTED;
    }
}

int ruvm_rom_call(struct ruvm_rom *rom, enum ruvm_esp_rom_command command, uint32_t checksum,
                  const uint8_t *data, size_t n, double seconds)
{
    int rc = ruvm_rom_send(rom, command, checksum, data, n);
    return rc == RUVM_OK ? await(rom, command, seconds) : rc;
}

int ruvm_rom_call_words(struct ruvm_rom *rom, enum ruvm_esp_rom_command command,
                        const uint32_t *words, unsigned n, double seconds)
{
    uint8_t data[4 * MOST_WORDS];
    for (unsigned i = 0; i < n; i++)
        ruvm_store_u32(data + 4 * i, words[i]);
    return ruvm_rom_call(rom, command, 0, data, 4 * (size_t)n, seconds);
}

int ruvm_rom_read_register(struct ruvm_rom *rom, uint32_t address, uint32_t *value)
{
    int rc = ruvm_rom_call_words(rom, RUVM_ESP_ROM_READ_REG, &address, 1, COMMAND_S);
    *value = rom->reply.value;
    return rc;
}

int ruvm_rom_write_register(struct ruvm_rom *rom, uint32_t address, uint32_t value)
{
    const uint32_t words[] = {address, value, UINT32_MAX, 0};
    return ruvm_rom_call_words(rom, RUVM_ESP_ROM_WRITE_REG, words, 4, COMMAND_S);
}

/* ---- greeting ----------------------------------------------------------------------- */

/* The loader answers a greeting eight times. Answers to what was asked before it came first,
 * so that after a silence none of them can be taken for a later one. */
static int drain(struct ruvm_rom *rom)
{
    for (unsigned i = 0; i < 64; i++) {
        int n = rom->line->read(rom->line->state, rom->input, sizeof rom->input, QUIET_MS);
        if (n < 0)
            return gone(rom);
        if (n == 0)
            break;
    }
    ruvm_rom_forget(rom);
    return RUVM_OK;
}

int ruvm_rom_sync(struct ruvm_rom *rom, unsigned tries)
{
    uint8_t data[36] = {0x07, 0x07, 0x12, 0x20};
    memset(data + 4, 0x55, sizeof data - 4);
    int rc = RUVM_ERR_CORRUPT;
    for (unsigned i = 0; i < tries && rc != RUVM_OK && rc != RUVM_ERR_IO; i++)
        rc = ruvm_rom_call(rom, RUVM_ESP_ROM_SYNC, 0, data, sizeof data, SYNC_S);
    return rc == RUVM_OK ? drain(rom) : rc;
}
