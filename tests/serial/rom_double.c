/* A chip in memory, for tests of what writes to it. */
#include "tests/serial/rom_double.h"

#include <nettle/md5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/esp_rom.h"
#include "formats/slip.h"
#include "lib/base/bytes.h"
#include "lib/base/random.h"

enum {
    SECTOR = 4096,
    BOOT_BAUD = 115200,
    INVALID = 0x05,
    FAILED = 0x06,
    CHECKSUM = 0x07,
    NOT_WRITTEN = 0x08,
    NOT_INFLATED = 0x0B,
};
#define LATE_S 3.5

static void problem(struct rom_double *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void problem(struct rom_double *d, const char *fmt, ...)
{
    va_list ap;
    if (d->problem[0] || d->damaged)
        return;
    va_start(ap, fmt);
    vsnprintf(d->problem, sizeof d->problem, fmt, ap);
    va_end(ap);
}

static uint32_t draw(struct rom_double *d, uint32_t n)
{
    return (uint32_t)(ruvm_random_next(&d->seed) % n);
}

static bool happens(struct rom_double *d, unsigned of_10000)
{
    bool yes = of_10000 && draw(d, 10000) < of_10000;
    d->n_faults += yes;
    return yes;
}

/* ---- to the computer --------------------------------------------------------------- */

static void say(struct rom_double *d, uint8_t byte, double when)
{
    if (d->out_to == ROM_OUT_BYTES)
        return;
    bool readable = d->chip_baud == d->line_baud && d->chip_baud <= d->most_baud;
    d->out[d->out_to] = readable ? byte : (uint8_t)draw(d, 256);
    d->out_s[d->out_to++] = when;
}

static void say_text(struct rom_double *d, const char *text)
{
    while (*text)
        say(d, (uint8_t)*text++, d->now_s);
}

static void say_frame(struct rom_double *d, const uint8_t *frame, size_t n, double when)
{
    struct ruvm_buffer out = {0};
    ruvm_slip_put(&out, frame, n);
    if (happens(d, d->faults.noise))
        for (uint32_t i = draw(d, 40); i > 0; i--)
            say(d, (uint8_t)draw(d, 256), when);
    if (happens(d, d->faults.reply_flipped))
        out.data[draw(d, (uint32_t)out.size)] ^= (uint8_t)(1u << draw(d, 8));
    size_t end = happens(d, d->faults.reply_cut) ? draw(d, (uint32_t)out.size) : out.size;
    for (size_t i = 0; i < end; i++)
        say(d, out.data[i], when);
    ruvm_buffer_free(&out);
}

/* The last two bytes of the status mean nothing, nor does a reason without a failure. */
static void reply(struct rom_double *d, uint8_t command, const void *data, size_t n, uint8_t reason)
{
    uint8_t frame[RUVM_ESP_ROM_HEAD + 256] = {1, command};
    if (!reason && happens(d, d->faults.reply_refused))
        reason = INVALID;
    ruvm_store_u16(frame + 2, (uint16_t)(n + RUVM_ESP_ROM_STATUS));
    ruvm_store_u32(frame + 4, d->last_value);
    if (n)
        memcpy(frame + RUVM_ESP_ROM_HEAD, data, n);
    uint8_t *status = frame + RUVM_ESP_ROM_HEAD + n;
    status[0] = reason != 0;
    status[1] = reason ? reason : draw(d, 4) ? 0 : INVALID;
    status[2] = (uint8_t)draw(d, 256);
    status[3] = (uint8_t)draw(d, 256);
    if (happens(d, d->faults.reply_lost))
        return;
    double when = d->now_s + (happens(d, d->faults.reply_late) ? LATE_S : 0.001);
    size_t bytes = RUVM_ESP_ROM_HEAD + n + RUVM_ESP_ROM_STATUS;
    say_frame(d, frame, bytes, when);
    if (happens(d, d->faults.reply_twice))
        say_frame(d, frame, bytes, when);
}

/* ---- flash --------------------------------------------------------------------------- */

/* Addresses beyond the end wrap around, as the pins for them do not exist. */
static uint8_t *flash_at(struct rom_double *d, uint32_t off)
{
    return d->flash + off % d->flash_bytes;
}

static uint8_t erase(struct rom_double *d, uint32_t off, uint32_t bytes)
{
    if (off % SECTOR || bytes % SECTOR || bytes == 0)
        problem(d, "erases 0x%x bytes from 0x%x on", (unsigned)bytes, (unsigned)off);
    if (bytes > d->flash_bytes)
        return FAILED;
    for (uint32_t i = off / SECTOR * SECTOR; i < off + bytes; i++)
        *flash_at(d, i) = 0xFF;
    d->n_erased_sectors += bytes / SECTOR;
    return 0;
}

/* Writing only clears bits. */
static void put(struct rom_double *d, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++, d->write_at++)
        if (d->write_at - d->bad_at >= d->bad_bytes)
            *flash_at(d, d->write_at) &= bytes[i];
}

static void end_stream(struct rom_double *d)
{
    if (d->z_open)
        inflateEnd(&d->z);
    d->z_open = d->writing = false;
}

static uint8_t begin(struct rom_double *d, const uint8_t *data, size_t n)
{
    size_t words = d->chip_id == 0 ? 4 : 5;
    end_stream(d);
    if (n != 4 * words) {
        problem(d, "begins with %zu bytes", n);
        return INVALID;
    }
    if (!d->attached) {
        problem(d, "writes flash that is not attached");
        return FAILED;
    }
    uint32_t bytes = ruvm_load_u32(data), off = ruvm_load_u32(data + 12);
    d->n_blocks_wanted = ruvm_load_u32(data + 4);
    if (ruvm_load_u32(data + 8) != RUVM_ESP_ROM_BLOCK || (words == 5 && ruvm_load_u32(data + 16)))
        problem(d, "blocks of %u bytes", (unsigned)ruvm_load_u32(data + 8));
    d->z = (z_stream){0};
    d->writing = d->z_open = inflateInit(&d->z) == Z_OK;
    d->write_at = off;
    d->write_end = off + bytes;
    d->next_block = 0;
    return erase(d, off, bytes);
}

static uint8_t inflate_block(struct rom_double *d, uint8_t *block, size_t n)
{
    uint8_t bytes[4096];
    d->z.next_in = block;
    d->z.avail_in = (uInt)n;
    for (int rc = Z_OK; rc == Z_OK;) {
        d->z.next_out = bytes;
        d->z.avail_out = sizeof bytes;
        rc = inflate(&d->z, Z_NO_FLUSH);
        size_t some = sizeof bytes - d->z.avail_out;
        if ((rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) ||
            some > d->write_end - d->write_at) {
            problem(d, "sends what does not inflate, or to more than it erased");
            return NOT_INFLATED;
        }
        put(d, bytes, some);
        if (rc == Z_STREAM_END && d->write_at != d->write_end)
            problem(d, "sends less than it erased: up to 0x%x", (unsigned)d->write_at);
    }
    return 0;
}

/* As measured: a block with a wrong sum counts, so that its repetition is out of order. */
static uint8_t take_block(struct rom_double *d, uint32_t checksum, uint8_t *data, size_t n)
{
    if (n < RUVM_ESP_ROM_BLOCK_HEAD || n > RUVM_ESP_ROM_BLOCK_HEAD + RUVM_ESP_ROM_BLOCK ||
        ruvm_load_u32(data) != n - RUVM_ESP_ROM_BLOCK_HEAD) {
        problem(d, "a block of %zu bytes", n);
        return INVALID;
    }
    if (!d->writing)
        return INVALID;
    if (ruvm_load_u32(data + 4) != d->next_block || d->next_block >= d->n_blocks_wanted) {
        problem(d, "block %u instead of %u", (unsigned)ruvm_load_u32(data + 4),
                (unsigned)d->next_block);
        return INVALID;
    }
    if (ruvm_load_u32(data + 8) || ruvm_load_u32(data + 12))
        problem(d, "a block's head");
    d->next_block++;
    d->n_blocks++;
    uint8_t *block = data + RUVM_ESP_ROM_BLOCK_HEAD;
    n -= RUVM_ESP_ROM_BLOCK_HEAD;
    if (ruvm_esp_rom_checksum(block, n) != checksum) {
        problem(d, "a block's checksum");
        return CHECKSUM;
    }
    return inflate_block(d, block, n);
}

static void answer_md5(struct rom_double *d, const uint8_t *data)
{
    struct md5_ctx md5;
    uint8_t digest[16];
    char text[33];
    md5_init(&md5);
    uint32_t off = ruvm_load_u32(data), n = ruvm_load_u32(data + 4);
    for (uint32_t i = 0, some; i < n && n <= d->flash_bytes; i += some) {
        uint32_t left = d->flash_bytes - (off + i) % d->flash_bytes;
        some = n - i < left ? n - i : left;
        md5_update(&md5, some, flash_at(d, off + i));
    }
    md5_digest(&md5, sizeof digest, digest);
    for (unsigned i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    d->n_md5++;
    reply(d, RUVM_ESP_ROM_MD5, text, 32, d->attached ? 0 : FAILED);
}

/* ---- commands -------------------------------------------------------------------------- */

static void start(struct rom_double *d, bool loader)
{
    end_stream(d);
    d->attached = d->in_frame = false;
    d->runs_program = !loader;
    d->chip_baud = BOOT_BAUD;
    d->out_from = d->out_to = 0;
    d->n_starts += !loader;
    say_text(d, loader ? "ESP-ROM:double\r\nwaiting for download\r\n"
                       : "ESP-ROM:double\r\nhello from the program\r\n");
}

static void read_register(struct rom_double *d, uint32_t address)
{
    d->last_value = address == 0x40001000   ? d->magic
                    : address == 0x3FF5A000 ? d->crypt_count << 20
                                            : 0x100;
    reply(d, RUVM_ESP_ROM_READ_REG, NULL, 0, 0);
}

static void answer_security(struct rom_double *d)
{
    uint8_t data[20] = {0};
    if (!d->knows_security)
        return;
    data[4] = (uint8_t)d->crypt_count;
    ruvm_store_u32(data + 12, d->chip_id);
    reply(d, RUVM_ESP_ROM_SECURITY, data, sizeof data, 0);
}

static void answer_sync(struct rom_double *d, size_t n)
{
    d->last_value = 0x20120707;
    for (unsigned i = 0; i < 8; i++)
        reply(d, RUVM_ESP_ROM_SYNC, NULL, 0, n == 36 ? 0 : INVALID);
}

static void change_baud(struct rom_double *d, uint32_t baud)
{
    reply(d, RUVM_ESP_ROM_BAUD, NULL, 0, 0);
    d->chip_baud = baud;
    if (baud > d->highest_baud)
        d->highest_baud = baud;
}

static void write_register(struct rom_double *d, const uint8_t *data)
{
    if (d->n_written_registers < ROM_WORDS) {
        uint32_t *w = d->written_registers[d->n_written_registers++];
        w[0] = ruvm_load_u32(data);
        w[1] = ruvm_load_u32(data + 4);
    }
    reply(d, RUVM_ESP_ROM_WRITE_REG, NULL, 0, 0);
}

/* The lengths that commands have; 0xFFFF: looked at elsewhere. */
static size_t length_of(uint8_t command)
{
    static const struct {
        uint8_t command;
        size_t bytes;
    } lengths[] = {{RUVM_ESP_ROM_SYNC, 36},      {RUVM_ESP_ROM_READ_REG, 4},
                   {RUVM_ESP_ROM_WRITE_REG, 16}, {RUVM_ESP_ROM_SPI_PARAMS, 24},
                   {RUVM_ESP_ROM_SPI_ATTACH, 8}, {RUVM_ESP_ROM_READ_FLASH, 8},
                   {RUVM_ESP_ROM_BAUD, 8},       {RUVM_ESP_ROM_MD5, 16},
                   {RUVM_ESP_ROM_FLASH_END, 4},  {RUVM_ESP_ROM_SECURITY, 0}};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
        if (lengths[i].command == command)
            return lengths[i].bytes;
    return 0xFFFF;
}

static void read_flash(struct rom_double *d, const uint8_t *data)
{
    uint32_t off = ruvm_load_u32(data), n = ruvm_load_u32(data + 4);
    if (n > RUVM_ESP_ROM_READ)
        problem(d, "reads %u bytes at once", (unsigned)n);
    if (n > RUVM_ESP_ROM_READ || !d->attached)
        reply(d, RUVM_ESP_ROM_READ_FLASH, NULL, 0, FAILED);
    else
        reply(d, RUVM_ESP_ROM_READ_FLASH, flash_at(d, off), n, 0);
}

static void set_parameters(struct rom_double *d, const uint8_t *data)
{
    static const uint32_t rest[] = {64 << 10, 4 << 10, 256, 0xFFFF};
    for (unsigned i = 0; i < 4; i++)
        if (ruvm_load_u32(data + 8 + 4 * i) != rest[i])
            problem(d, "parameter %u of flash", i);
    reply(d, RUVM_ESP_ROM_SPI_PARAMS, NULL, 0, 0);
}

/* What is not known is not answered, as measured. */
static void obey(struct rom_double *d, uint8_t command, uint32_t checksum, uint8_t *data, size_t n)
{
    switch (command) {
    case RUVM_ESP_ROM_SYNC: answer_sync(d, n); break;
    case RUVM_ESP_ROM_READ_REG: read_register(d, ruvm_load_u32(data)); break;
    case RUVM_ESP_ROM_WRITE_REG: write_register(d, data); break;
    case RUVM_ESP_ROM_SECURITY: answer_security(d); break;
    case RUVM_ESP_ROM_BAUD: change_baud(d, ruvm_load_u32(data)); break;
    case RUVM_ESP_ROM_SPI_PARAMS: set_parameters(d, data); break;
    case RUVM_ESP_ROM_SPI_ATTACH:
        d->attached = true;
        reply(d, command, NULL, 0, 0);
        break;
    case RUVM_ESP_ROM_MD5: answer_md5(d, data); break;
    case RUVM_ESP_ROM_READ_FLASH: read_flash(d, data); break;
    case RUVM_ESP_ROM_DEFL_BEGIN: reply(d, command, NULL, 0, begin(d, data, n)); break;
    case RUVM_ESP_ROM_DEFL_DATA:
        reply(d, command, NULL, 0, take_block(d, checksum, data, n));
        break;
    case RUVM_ESP_ROM_FLASH_BEGIN: reply(d, command, NULL, 0, 0); break;
    case RUVM_ESP_ROM_FLASH_END: start(d, false); break;
    default: problem(d, "command 0x%02x", command);
    }
}

static void take_frame(struct rom_double *d)
{
    uint8_t *f = d->frame;
    size_t n = d->frame_bytes;
    d->n_commands++;
    if (d->only_noise || d->runs_program)
        return;
    if (d->silent_after && d->n_commands > d->silent_after)
        return;
    if (n < RUVM_ESP_ROM_HEAD || f[0] != 0 || ruvm_load_u16(f + 2) != n - RUVM_ESP_ROM_HEAD) {
        problem(d, "a frame of %zu bytes that is no request", n);
        if (n >= 2 && f[0] == 0)
            reply(d, f[1], NULL, 0, INVALID);
        return;
    }
    size_t bytes = n - RUVM_ESP_ROM_HEAD, wanted = length_of(f[1]);
    if (wanted != 0xFFFF && wanted != bytes) {
        problem(d, "command 0x%02x with %zu bytes", f[1], bytes);
        reply(d, f[1], NULL, 0, INVALID);
        return;
    }
    obey(d, f[1], ruvm_load_u32(f + 4), f + RUVM_ESP_ROM_HEAD, bytes);
}

/* ---- from the computer -------------------------------------------------------------------- */

/* A frame has an end of its own on both sides. */
static void hear(struct rom_double *d, uint8_t byte)
{
    if (byte == RUVM_SLIP_END) {
        if (d->in_frame && d->frame_bytes) {
            d->in_frame = false;
            take_frame(d);
        } else {
            d->in_frame = true;
        }
        d->frame_bytes = 0;
        d->escaped = false;
        return;
    }
    if (!d->in_frame) {
        problem(d, "a byte outside of frames");
        return;
    }
    if (d->escaped)
        byte = byte == RUVM_SLIP_ESC_END ? RUVM_SLIP_END : RUVM_SLIP_ESC;
    else if (byte == RUVM_SLIP_ESC) {
        d->escaped = true;
        return;
    }
    d->escaped = false;
    if (d->frame_bytes < ROM_FRAME_BYTES)
        d->frame[d->frame_bytes++] = byte;
}

/* EN goes up slowly, and BOOT is looked at when it is there. */
static void settle(struct rom_double *d)
{
    if (!d->rising || d->now_s < d->rise_s)
        return;
    d->rising = false;
    start(d, d->dtr && !d->rts);
}

static void pass(struct rom_double *d, double s)
{
    if (d->rising && d->rise_s < d->now_s + s) {
        s -= d->rise_s > d->now_s ? d->rise_s - d->now_s : 0;
        d->now_s = d->rise_s > d->now_s ? d->rise_s : d->now_s;
        settle(d);
    }
    d->now_s += s > 0 ? s : 0;
}

/* Which of the bytes is hit: never those of a request without a checksum but by its length,
 * because nobody could notice. */
static bool is_data(const uint8_t *bytes, size_t n)
{
    return n > 64 && bytes[2] == RUVM_ESP_ROM_DEFL_DATA;
}

static int double_write(void *state, const uint8_t *bytes, size_t n)
{
    struct rom_double *d = state;
    size_t lost = SIZE_MAX, extra = SIZE_MAX, flipped = SIZE_MAX;
    d->taken_bytes += n;
    d->gone = d->gone || (d->vanishes_after && d->taken_bytes > d->vanishes_after);
    if (d->gone)
        return RUVM_ERR_IO;
    pass(d, (double)n * 10 / d->line_baud);
    if (happens(d, d->faults.request_lost_byte))
        lost = draw(d, (uint32_t)n);
    if (happens(d, d->faults.request_extra_byte))
        extra = draw(d, (uint32_t)n);
    if (is_data(bytes, n) && happens(d, d->faults.request_flipped_data))
        flipped = 32 + draw(d, (uint32_t)n - 40);
    bool readable = d->chip_baud == d->line_baud && d->chip_baud <= d->most_baud;
    /* an end that was lost damages the next frame as well */
    d->damaged = d->in_frame || !readable || lost < n || extra < n || flipped < n;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = readable ? bytes[i] : (uint8_t)draw(d, 256);
        if (i == extra)
            hear(d, (uint8_t)draw(d, 256));
        if (i != lost)
            hear(d, i == flipped ? byte ^ 0x10 : byte);
    }
    return RUVM_OK;
}

static int double_read(void *state, uint8_t *bytes, size_t cap, unsigned ms)
{
    struct rom_double *d = state;
    size_t n = 0;
    double end = d->now_s + ms / 1e3;
    if (d->gone)
        return RUVM_ERR_IO;
    if (d->only_noise && ms)
        say(d, (uint8_t)draw(d, 256), d->now_s + 0.001);
    pass(d, d->out_from < d->out_to && d->out_s[d->out_from] <= end
                ? d->out_s[d->out_from] - d->now_s
                : ms / 1e3);
    while (n < cap && d->out_from < d->out_to && d->out_s[d->out_from] <= d->now_s)
        bytes[n++] = d->out[d->out_from++];
    if (d->out_from == d->out_to)
        d->out_from = d->out_to = 0;
    return (int)n;
}

static int double_signals(void *state, bool dtr, bool rts)
{
    struct rom_double *d = state;
    bool reset = rts && !dtr;
    if (d->gone)
        return RUVM_ERR_IO;
    if (!d->has_signals)
        return RUVM_ERR_UNSUPPORTED;
    pass(d, 0);
    d->dtr = dtr;
    d->rts = rts;
    if (reset && !d->in_reset)
        d->n_resets++;
    if (!reset && d->in_reset) {
        d->rising = true;
        d->rise_s = d->now_s + d->rise_ms / 1e3;
    }
    if (reset)
        d->rising = false;
    d->in_reset = reset;
    return RUVM_OK;
}

static int double_baud(void *state, uint32_t baud)
{
    struct rom_double *d = state;
    d->line_baud = baud;
    return baud <= 3000000 ? RUVM_OK : RUVM_ERR_UNSUPPORTED;
}

static double double_clock(void *state)
{
    const struct rom_double *d = state;
    return d->now_s;
}

static void double_sleep(void *state, unsigned ms)
{
    pass(state, ms / 1e3);
}

/* ---- there and away ---------------------------------------------------------------------------
 */

void rom_double_init(struct rom_double *d, uint32_t flash_bytes, uint64_t seed)
{
    *d = (struct rom_double){.seed = seed,
                             .chip_id = 5,
                             .magic = 0x1B31506F,
                             .knows_security = true,
                             .flash_bytes = flash_bytes,
                             .flash = malloc(flash_bytes),
                             .has_signals = true,
                             .runs_program = true,
                             .rise_ms = 1,
                             .most_baud = 2000000,
                             .line_baud = BOOT_BAUD,
                             .chip_baud = BOOT_BAUD};
    memset(d->flash, 0xFF, flash_bytes);
}

void rom_double_free(struct rom_double *d)
{
    end_stream(d);
    free(d->flash);
}

struct ruvm_line rom_double_line(struct rom_double *d)
{
    return (struct ruvm_line){.name = "double",
                              .state = d,
                              .read = double_read,
                              .write = double_write,
                              .set_signals = double_signals,
                              .set_baud = double_baud,
                              .clock_s = double_clock,
                              .sleep_ms = double_sleep};
}
