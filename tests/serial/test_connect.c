/* Reaching the loader in ROM of a chip: resets, greetings, which chip it is, the speed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lib/serial/rom.h"
#include "tests/serial/rom_double.h"

enum { FLASH = 1 << 20 };

struct world {
    struct rom_double chip;
    struct ruvm_line line;
    struct ruvm_error err;
    struct ruvm_rom rom;
};

static void make(struct world *w)
{
    rom_double_init(&w->chip, FLASH, 7);
    w->line = rom_double_line(&w->chip);
    w->err = (struct ruvm_error){0};
    ruvm_rom_init(&w->rom, &w->line, NULL, &w->err);
}

/* Connects; then the chip has nothing to complain of. */
static int connect_to(struct world *w)
{
    int rc = ruvm_rom_connect(&w->rom);
    cr_assert_str_eq(w->chip.problem, "");
    return rc;
}

Test(connect, each_chip_is_known)
{
    static const struct {
        uint32_t magic, chip_id;
        bool security;
        const char *name;
    } chips[] = {{0x00F01D83, 0, false, "esp32"},  {0x000007C6, 2, true, "esp32s2"},
                 {0x00000009, 9, true, "esp32s3"}, {0x6921506F, 5, false, "esp32c3"},
                 {0x1B31506F, 5, true, "esp32c3"}, {0x4881606F, 5, true, "esp32c3"},
                 {0x4361606F, 5, true, "esp32c3"}, {0x2CE0806F, 13, true, "esp32c6"},
                 {0x12345678, 5, true, "esp32c3"} /* a later revision */};
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        struct world w;
        make(&w);
        w.chip.magic = chips[i].magic;
        w.chip.chip_id = chips[i].chip_id;
        w.chip.knows_security = chips[i].security;
        cr_assert_eq(connect_to(&w), RUVM_OK, "%s", w.err.text);
        cr_assert_str_eq(w.rom.device->name, chips[i].name);
        cr_assert_eq(w.chip.n_resets, 1);
        rom_double_free(&w.chip);
    }
}

static void expect_failure(struct world *w, int code, const char *words)
{
    int rc = ruvm_rom_connect(&w->rom);
    cr_assert_eq(rc, code, "%d %s", rc, w->err.text);
    cr_assert_not_null(strstr(w->err.text, words), "%s", w->err.text);
    cr_assert_eq(strncmp(w->err.text, "double: ", 8), 0);
    rom_double_free(&w->chip);
}

Test(connect, a_chip_that_is_not_known_is_refused)
{
    struct world w;
    make(&w);
    w.chip.magic = 0xFFF0C101;
    w.chip.knows_security = false;
    expect_failure(&w, RUVM_ERR_UNSUPPORTED, "0xfff0c101 at 0x40001000");
    make(&w);
    w.chip.magic = 0;
    w.chip.chip_id = 16;
    expect_failure(&w, RUVM_ERR_UNSUPPORTED, "number 16");
}

Test(connect, encrypted_flash_is_refused)
{
    struct world w;
    make(&w);
    w.chip.crypt_count = 7;
    expect_failure(&w, RUVM_ERR_UNSUPPORTED, "encrypted");
    make(&w);
    w.chip.crypt_count = 3; /* switched off again */
    cr_assert_eq(connect_to(&w), RUVM_OK);
    rom_double_free(&w.chip);
    make(&w);
    w.chip.magic = 0x00F01D83;
    w.chip.chip_id = 0;
    w.chip.crypt_count = 1;
    expect_failure(&w, RUVM_ERR_UNSUPPORTED, "encrypted");
}

Test(connect, boards_whose_reset_is_slow)
{
    for (unsigned ms = 1; ms < 500; ms += 60) {
        struct world w;
        make(&w);
        w.chip.rise_ms = ms;
        cr_assert_eq(connect_to(&w), RUVM_OK, "%u ms: %s", ms, w.err.text);
        cr_assert(w.chip.n_resets <= 4);
        rom_double_free(&w.chip);
    }
}

Test(connect, a_line_without_signals)
{
    struct world w;
    make(&w);
    w.chip.has_signals = false;
    expect_failure(&w, RUVM_ERR_CORRUPT, "whose reset this line cannot reach");
    make(&w);
    w.chip.has_signals = w.chip.runs_program = false; /* put there by hand */
    cr_assert_eq(connect_to(&w), RUVM_OK);
    ruvm_rom_restart(&w.rom);
    cr_assert_eq(w.chip.n_starts, 1);
    rom_double_free(&w.chip);
}

Test(connect, silence_garbage_and_a_line_that_is_gone)
{
    struct world w;
    make(&w);
    w.chip.silent_after = 1;
    w.chip.n_commands = 1;
    w.chip.has_signals = w.chip.runs_program = false;
    expect_failure(&w, RUVM_ERR_CORRUPT, "silent");
    make(&w);
    w.chip.only_noise = true;
    expect_failure(&w, RUVM_ERR_CORRUPT, "no answer of a loader");
    make(&w);
    w.chip.vanishes_after = 1;
    expect_failure(&w, RUVM_ERR_IO, "the line is gone");
}

static int stop(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage, (void)done, (void)total;
    return ++*(int *)user > 3;
}

Test(connect, can_be_interrupted)
{
    struct world w;
    int calls = 0;
    const struct ruvm_progress progress = {stop, &calls};
    make(&w);
    w.rom.progress = &progress;
    w.chip.silent_after = 1;
    w.chip.n_commands = 1;
    cr_assert_eq(ruvm_rom_connect(&w.rom), RUVM_ERR_IO);
    cr_assert_str_eq(w.err.text, "interrupted");
    cr_assert_eq(calls, 4);
    rom_double_free(&w.chip);
}

Test(connect, a_faster_line_or_the_old_one)
{
    static const struct {
        uint32_t wanted, most, found;
    } cases[] = {{921600, 2000000, 921600},
                 {460800, 230400, 115200},   /* garbage at that speed */
                 {4000000, 2000000, 115200}, /* the line cannot */
                 {115200, 2000000, 115200}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        make(&w);
        w.chip.most_baud = cases[i].most;
        cr_assert_eq(connect_to(&w), RUVM_OK);
        cr_assert_eq(ruvm_rom_attach(&w.rom, FLASH), RUVM_OK);
        int rc = ruvm_rom_set_baud(&w.rom, cases[i].wanted);
        if (rc != RUVM_OK)
            cr_assert_eq(ruvm_rom_recover(&w.rom, true), RUVM_OK);
        uint8_t digest[16];
        cr_assert_eq(ruvm_rom_md5(&w.rom, 0, FLASH, digest), RUVM_OK);
        cr_assert(w.rom.baud == cases[i].found || (i == 1 && w.rom.baud == 230400), "%u",
                  (unsigned)w.rom.baud);
        rom_double_free(&w.chip);
    }
}

Test(connect, watchdogs_of_a_line_that_ends_in_the_chip)
{
    struct world w;
    make(&w);
    w.line.is_usb_jtag = true;
    cr_assert_eq(connect_to(&w), RUVM_OK);
    static const uint32_t wanted[][2] = {{0x600080A8, 0x50D83AA1}, {0x60008090, 0},
                                         {0x600080A8, 0},          {0x600080B0, 0x8F1D312A},
                                         {0x600080AC, 0x80000100}, {0x600080B0, 0}};
    cr_assert_eq(w.chip.n_written_registers, 6);
    cr_assert_eq(memcmp(w.chip.written_registers, wanted, sizeof wanted), 0);
    cr_assert_eq(ruvm_rom_attach(&w.rom, FLASH), RUVM_OK);
    cr_assert_eq(ruvm_rom_set_baud(&w.rom, 921600), RUVM_OK);
    cr_assert_eq(w.rom.baud, 115200); /* it has none */
    rom_double_free(&w.chip);
}

Test(connect, restart_runs_the_program)
{
    struct world w;
    make(&w);
    cr_assert_eq(connect_to(&w), RUVM_OK);
    ruvm_rom_restart(&w.rom);
    w.line.sleep_ms(w.line.state, 100);
    cr_assert(w.chip.runs_program);
    cr_assert_eq(w.chip.n_starts, 1);
    rom_double_free(&w.chip);
}

Test(connect, flash_is_read)
{
    struct world w;
    uint8_t bytes[200];
    make(&w);
    for (unsigned i = 0; i < FLASH; i++)
        w.chip.flash[i] = (uint8_t)(i * 7);
    cr_assert_eq(connect_to(&w), RUVM_OK);
    cr_assert_eq(ruvm_rom_read_flash(&w.rom, 5000, bytes, sizeof bytes), RUVM_ERR_UNSUPPORTED);
    cr_assert_eq(ruvm_rom_attach(&w.rom, FLASH), RUVM_OK);
    cr_assert_eq(ruvm_rom_read_flash(&w.rom, 5000, bytes, sizeof bytes), RUVM_OK);
    cr_assert_arr_eq(bytes, w.chip.flash + 5000, sizeof bytes);
    rom_double_free(&w.chip);
}
