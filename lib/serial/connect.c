/* A loader to talk to: reached by a reset, lost to noise, found again.
 *
 * On the usual boards two transistors make of DTR and RTS the chip's reset (EN) and the pin
 * that it looks at then (BOOT). Which sequence works differs from board to board, so that the
 * attempts take turns.
 */
#include "lib/base/error.h"
#include "lib/serial/rom.h"

enum {
    ROUNDS = 3,
    ATTEMPTS = 8,
    SYNC_TRIES = 5,
    RESET_MS = 100,
    HOLD_MS = 50,
    HOLD_LONG_MS = 550, /* where a large capacitor holds EN */
    BAUD_MS = 50,
};

/* ---- resets --------------------------------------------------------------------------- */

/* A moment of a sequence: the signals, and how long they stay. */
struct moment {
    bool dtr, rts;
    unsigned ms;
};

/* DTR pulls BOOT, RTS pulls EN, and both together neither. */
static int play(struct ruvm_rom *rom, const struct moment *moments, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int rc = rom->line->set_signals(rom->line->state, moments[i].dtr, moments[i].rts);
        if (rc == RUVM_ERR_UNSUPPORTED) {
            rom->has_signals = false;
            return rc;
        }
        if (rc != RUVM_OK)
            return ruvm_fail(rom->err, RUVM_ERR_IO, "%s: the line is gone: plug the board in again",
                             rom->line->name);
        if (moments[i].ms)
            rom->line->sleep_ms(rom->line->state, moments[i].ms);
    }
    return RUVM_OK;
}

static int reset_into_loader(struct ruvm_rom *rom, unsigned attempt)
{
    unsigned hold = attempt % 4 < 2 && attempt != 5 ? HOLD_MS : HOLD_LONG_MS;
    const struct moment at_once[] = {{false, false, 0},
                                     {true, true, 0},
                                     {false, true, RESET_MS},
                                     {true, false, hold},
                                     {false, false, 0}};
    const struct moment in_turn[] = {
        {false, true, RESET_MS}, {true, true, 0}, {true, false, hold}, {false, false, 0}};
    const struct moment usb[] = {{false, false, RESET_MS},
                                 {true, false, RESET_MS},
                                 {true, true, 0},
                                 {false, true, RESET_MS},
                                 {false, false, 0}};
    if (rom->line->is_usb_jtag != (attempt % 4 == 3))
        return play(rom, usb, 5);
    return attempt % 2 ? play(rom, in_turn, 4) : play(rom, at_once, 5);
}

/* Without signals the chip is asked to begin anew, which it does not answer. */
void ruvm_rom_restart(struct ruvm_rom *rom)
{
    const struct moment pulse[] = {{false, true, RESET_MS}, {false, false, 0}};
    const uint8_t restart[4] = {0};
    if (rom->has_signals && play(rom, pulse, 2) == RUVM_OK)
        return;
    if (!rom->has_signals) {
        const uint32_t nothing[] = {0, 0, RUVM_ESP_ROM_BLOCK, 0, 0};
        unsigned n = rom->device && rom->device->chip_id == 0 ? 4 : 5;
        ruvm_rom_call_words(rom, RUVM_ESP_ROM_FLASH_BEGIN, nothing, n, 1);
        ruvm_rom_send(rom, RUVM_ESP_ROM_FLASH_END, 0, restart, sizeof restart);
    }
}

/* ---- the first time -------------------------------------------------------------------- */

static int use_baud(struct ruvm_rom *rom, uint32_t baud)
{
    if (rom->line->set_baud(rom->line->state, baud) != RUVM_OK)
        return RUVM_ERR_UNSUPPORTED;
    rom->baud = baud;
    return RUVM_OK;
}

static int no_answer(struct ruvm_rom *rom)
{
    const char *by_hand = "hold BOOT, press and release RESET (EN), release BOOT, and try again";
    if (rom->heard_bytes)
        return ruvm_fail(rom->err, RUVM_ERR_CORRUPT,
                         "%s: sends %llu bytes, but no answer of a loader: if it is the board, %s",
                         rom->line->name, (unsigned long long)rom->heard_bytes, by_hand);
    return ruvm_fail(rom->err, RUVM_ERR_CORRUPT, "%s: silent: is it the board%s? If it is, %s",
                     rom->line->name,
                     rom->has_signals ? "" : ", whose reset this line cannot reach", by_hand);
}

/* Resets and greets until there is an answer; no message. A chip that cannot be reset may
 * still have the speed that it was given. */
static int greet(struct ruvm_rom *rom)
{
    const uint32_t speeds[] = {RUVM_ROM_START_BAUD, rom->baud,
                               rom->wanted_baud ? rom->wanted_baud : RUVM_ROM_START_BAUD};
    int rc = RUVM_ERR_CORRUPT;
    for (unsigned i = 0; i < ATTEMPTS && rc != RUVM_OK && rc != RUVM_ERR_IO; i++) {
        rc = rom->has_signals ? reset_into_loader(rom, i) : RUVM_OK;
        if (rc == RUVM_ERR_IO)
            return rc;
        use_baud(rom, speeds[rom->has_signals ? 0 : i % 3]);
        ruvm_rom_forget(rom);
        rc = ruvm_rom_sync(rom, SYNC_TRIES);
    }
    return rc;
}

int ruvm_rom_connect(struct ruvm_rom *rom)
{
    const struct ruvm_device *before = rom->device;
    rom->heard_bytes = 0;
    int rc = greet(rom);
    for (unsigned i = 0; i < ROUNDS && rc == RUVM_OK; i++) {
        rc = ruvm_rom_identify(rom);
        if (rc != RUVM_ERR_CORRUPT)
            break;
        rc = greet(rom);
    }
    if (rc == RUVM_ERR_CORRUPT)
        return no_answer(rom);
    if (rc == RUVM_OK && before && before != rom->device)
        rc = ruvm_fail(rom->err, RUVM_ERR_MISMATCH, "%s: was the %s and is now the %s",
                       rom->line->name, before->family, rom->device->family);
    if (rc == RUVM_OK && rom->line->is_usb_jtag && ruvm_rom_stop_watchdogs(rom) == RUVM_ERR_IO)
        return RUVM_ERR_IO;
    return rc;
}

/* ---- speed ------------------------------------------------------------------------------ */

/* The line must be able to before the chip is told. */
static bool line_can(struct ruvm_rom *rom, uint32_t baud)
{
    bool can = rom->line->set_baud(rom->line->state, baud) == RUVM_OK;
    use_baud(rom, rom->baud);
    return can;
}

int ruvm_rom_set_baud(struct ruvm_rom *rom, uint32_t baud)
{
    const uint32_t words[] = {baud, 0}; /* the loader in ROM is not told the old one */
    rom->wanted_baud = baud;
    if (baud == rom->baud || rom->line->is_usb_jtag || !line_can(rom, baud))
        return RUVM_OK;
    uint32_t old = rom->baud;
    int rc = ruvm_rom_call_words(rom, RUVM_ESP_ROM_BAUD, words, 2, 1);
    if (rc == RUVM_ERR_IO || rc == RUVM_ERR_UNSUPPORTED)
        return rc == RUVM_ERR_IO ? rc : RUVM_OK;
    use_baud(rom, baud); /* also when the answer was lost */
    rom->line->sleep_ms(rom->line->state, BAUD_MS);
    ruvm_rom_forget(rom);
    rc = ruvm_rom_sync(rom, SYNC_TRIES);
    if (rc == RUVM_OK || rc == RUVM_ERR_IO)
        return rc;
    use_baud(rom, old);
    ruvm_rom_forget(rom);
    return ruvm_rom_sync(rom, SYNC_TRIES);
}

/* ---- again ------------------------------------------------------------------------------- */

static uint32_t slower_than(uint32_t baud)
{
    return baud / 2 > RUVM_ROM_START_BAUD ? baud / 2 : RUVM_ROM_START_BAUD;
}

/* From an answer on: flash, and a speed that the line carries; with a message when the chip
 * does not come back. */
static int set_up(struct ruvm_rom *rom, uint32_t baud)
{
    int rc = RUVM_OK;
    for (unsigned i = 0; i < SYNC_TRIES && rc == RUVM_OK; i++) {
        rc = ruvm_rom_attach(rom, rom->flash_bytes);
        if (rc == RUVM_OK)
            rc = ruvm_rom_set_baud(rom, baud);
        if (rc == RUVM_OK || rc == RUVM_ERR_IO)
            return rc;
        baud = slower_than(baud);
        rom->n_troubles++;
        rc = ruvm_rom_connect(rom);
    }
    return rc == RUVM_OK ? no_answer(rom) : rc;
}

int ruvm_rom_set_up(struct ruvm_rom *rom, uint32_t flash_bytes, uint32_t baud)
{
    rom->flash_bytes = flash_bytes;
    return set_up(rom, baud);
}

int ruvm_rom_recover(struct ruvm_rom *rom, bool slower)
{
    rom->n_troubles++;
    ruvm_rom_forget(rom);
    if (!slower || rom->baud == RUVM_ROM_START_BAUD) {
        int rc = ruvm_rom_sync(rom, SYNC_TRIES);
        if (rc == RUVM_OK || rc == RUVM_ERR_IO)
            return rc;
    } else if (!rom->has_signals) {
        int rc = ruvm_rom_sync(rom, SYNC_TRIES);
        if (rc == RUVM_OK)
            rc = ruvm_rom_set_baud(rom, slower_than(rom->baud));
        if (rc == RUVM_OK || rc == RUVM_ERR_IO)
            return rc;
    }
    uint32_t baud = slower ? slower_than(rom->wanted_baud) : rom->wanted_baud;
    int rc = ruvm_rom_connect(rom);
    return rc == RUVM_OK ? set_up(rom, baud) : rc;
}
