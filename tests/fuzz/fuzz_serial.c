/* Any bytes as what comes over a serial line: as frames and replies in them, and as all that a
 * chip ever answers to a writer that connects and asks. It must come to an end, and what is
 * taken for a reply must lie in its frame. */
#include <stdlib.h>
#include <string.h>

#include "lib/serial/rom.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* ---- frames -------------------------------------------------------------------------- */

/* What was read is written, and read again. */
static void write_again(const uint8_t *frame, size_t n)
{
    uint8_t memory[64];
    struct ruvm_slip slip = {.frame = memory, .cap = sizeof memory};
    struct ruvm_buffer out = {0};
    bool whole = false;
    ruvm_slip_put(&out, frame, n);
    for (size_t i = 0; i < out.size; i++)
        whole = ruvm_slip_take(&slip, out.data[i]);
    check(whole && slip.size == n && memcmp(memory, frame, n) == 0);
    ruvm_buffer_free(&out);
}

static void read_frames(const uint8_t *data, size_t size)
{
    uint8_t memory[64];
    struct ruvm_slip slip = {.frame = memory, .cap = sizeof memory};
    struct ruvm_esp_rom_reply r;
    for (size_t i = 0; i < size; i++) {
        if (!ruvm_slip_take(&slip, data[i]))
            continue;
        check(slip.size > 0 && slip.size <= sizeof memory);
        write_again(memory, slip.size);
        if (ruvm_esp_rom_read(&r, memory, slip.size))
            check(r.data >= memory && r.data + r.bytes + 4 == memory + slip.size);
    }
}

/* ---- a chip -------------------------------------------------------------------------- */

struct chip {
    const uint8_t *data;
    size_t size, at, end; /* what may be read now */
    double now_s;
};

static int chip_read(void *state, uint8_t *bytes, size_t cap, unsigned ms)
{
    struct chip *c = state;
    size_t left = c->end - c->at, n = left < cap ? left : cap;
    if (n)
        memcpy(bytes, c->data + c->at, n);
    else
        c->now_s += ms / 1e3;
    c->at += n;
    return (int)n;
}

/* Each request lets some more bytes come. */
static int chip_write(void *state, const uint8_t *bytes, size_t n)
{
    enum { TURN = 80 };
    struct chip *c = state;
    (void)bytes, (void)n;
    c->end = c->size - c->end < TURN ? c->size : c->end + TURN;
    return RUVM_OK;
}

static int chip_signals(void *state, bool dtr, bool rts)
{
    (void)state, (void)dtr, (void)rts;
    return RUVM_ERR_UNSUPPORTED;
}

static int chip_baud(void *state, uint32_t baud)
{
    (void)state, (void)baud;
    return RUVM_OK;
}

static double chip_clock(void *state)
{
    return ((struct chip *)state)->now_s;
}

static void chip_sleep(void *state, unsigned ms)
{
    ((struct chip *)state)->now_s += ms / 1e3;
}

static void talk(const uint8_t *data, size_t size)
{
    struct chip chip = {.data = data, .size = size};
    const struct ruvm_line line = {.name = "fuzz",
                                   .state = &chip,
                                   .read = chip_read,
                                   .write = chip_write,
                                   .set_signals = chip_signals,
                                   .set_baud = chip_baud,
                                   .clock_s = chip_clock,
                                   .sleep_ms = chip_sleep};
    struct ruvm_error err = {0};
    struct ruvm_rom rom;
    uint8_t bytes[100];
    ruvm_rom_init(&rom, &line, NULL, &err);
    int rc = ruvm_rom_connect(&rom);
    check(rc == RUVM_OK ? rom.device != NULL : err.code == rc);
    if (rc != RUVM_OK)
        return;
    ruvm_rom_md5(&rom, 0, 4096, bytes);
    ruvm_rom_read_flash(&rom, 0, bytes, sizeof bytes);
    rc = ruvm_rom_set_up(&rom, 4 << 20, 460800);
    check(rc == RUVM_OK || err.code == rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_frames(data, size);
    talk(data, size);
    return 0;
}
