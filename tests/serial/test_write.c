/* Parts of a flash written over a line: what is sent, what is left alone, and what noise,
 * losses and wrong answers change about it, which is nothing but the time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/random.h"
#include "lib/serial/write.h"
#include "tests/serial/rom_double.h"

enum { FLASH = 1 << 20, SECTOR = 4096, BLOCK = 65536, BOOT = 5000, PACK = 150001 };

struct world {
    struct rom_double chip;
    struct ruvm_line line;
    struct ruvm_error err;
    struct ruvm_rom rom;
    struct ruvm_flash_written w;
    uint8_t *before; /* the flash */
    uint8_t boot[BOOT], pack[PACK];
    struct ruvm_write_part parts[2];
};

/* Flash full of something; parts that compress a little. */
static struct world *make(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    uint64_t state = seed;
    rom_double_init(&w->chip, FLASH, seed);
    for (unsigned i = 0; i < FLASH; i++)
        w->chip.flash[i] = (uint8_t)ruvm_random_next(&state);
    for (unsigned i = 0; i < BOOT; i++)
        w->boot[i] = (uint8_t)ruvm_random_next(&state);
    for (unsigned i = 0; i < PACK; i++)
        w->pack[i] = (uint8_t)(ruvm_random_next(&state) % 48);
    w->parts[0] = (struct ruvm_write_part){0, w->boot, BOOT};
    w->parts[1] = (struct ruvm_write_part){0x20000, w->pack, PACK};
    w->before = malloc(FLASH);
    memcpy(w->before, w->chip.flash, FLASH);
    w->line = rom_double_line(&w->chip);
    ruvm_rom_init(&w->rom, &w->line, NULL, &w->err);
    return w;
}

static void drop(struct world *w)
{
    rom_double_free(&w->chip);
    free(w->before);
    free(w);
}

static int write_at(struct world *w, uint32_t flash_bytes, uint32_t baud, bool all)
{
    int rc = ruvm_rom_connect(&w->rom);
    if (rc == RUVM_OK)
        rc = ruvm_rom_set_up(&w->rom, flash_bytes, baud);
    return rc == RUVM_OK ? ruvm_write_parts(&w->rom, w->parts, 2, all, &w->w) : rc;
}

static int write_parts(struct world *w)
{
    int rc = write_at(w, FLASH, 460800, false);
    cr_assert_str_eq(w->chip.problem, "");
    return rc;
}

/* The parts in their places, erased up to the ends of their sectors, and all else as it was. */
static void assert_flash(struct world *w)
{
    for (unsigned p = 0; p < 2; p++) {
        const struct ruvm_write_part *part = &w->parts[p];
        size_t n = (part->bytes + SECTOR - 1) / SECTOR * SECTOR;
        memset(w->before + part->off, 0xFF, n);
        memcpy(w->before + part->off, part->data, part->bytes);
    }
    unsigned i = 0;
    while (i < FLASH && w->chip.flash[i] == w->before[i])
        i++;
    cr_assert_eq(i, FLASH, "byte 0x%x", i);
}

Test(write, a_flash_that_holds_other_things)
{
    struct world *w = make(1);
    cr_assert_eq(write_parts(w), RUVM_OK, "%s", w->err.text);
    assert_flash(w);
    cr_assert_eq(w->w.n_sectors, 2 + 37);
    cr_assert_eq(w->w.n_changed, 39);
    cr_assert_eq(w->chip.n_erased_sectors, 39);
    cr_assert_eq(w->w.n_troubles, 0);
    cr_assert_eq(w->w.baud, 460800);
    cr_assert_eq(w->chip.highest_baud, 460800);
    cr_assert(w->w.sent_bytes > 100000 && w->w.sent_bytes < PACK);
    drop(w);
}

Test(write, every_chip)
{
    static const uint32_t chips[][2] = {
        {0x00F01D83, 0}, {0x7C6, 2}, {9, 9}, {0x6921506F, 5}, {0x2CE0806F, 13}};
    for (unsigned i = 0; i < 5; i++) {
        struct world *w = make(i);
        w->chip.magic = chips[i][0];
        w->chip.chip_id = chips[i][1];
        w->chip.knows_security = i > 0;
        cr_assert_eq(write_parts(w), RUVM_OK, "%s", w->err.text);
        assert_flash(w);
        drop(w);
    }
}

Test(write, nothing_that_is_right_already)
{
    struct world *w = make(2);
    cr_assert_eq(write_parts(w), RUVM_OK);
    unsigned erased = w->chip.n_erased_sectors, asked = w->chip.n_md5;
    cr_assert_eq(write_parts(w), RUVM_OK);
    assert_flash(w);
    cr_assert_eq(w->w.n_changed, 0);
    cr_assert_eq(w->w.sent_bytes, 0);
    cr_assert_eq(w->chip.n_erased_sectors, erased);
    cr_assert_eq(w->chip.n_md5 - asked, 1 + 3); /* blocks of 64 KiB */
    cr_assert_eq(write_at(w, FLASH, 460800, true), RUVM_OK);
    cr_assert_eq(w->chip.n_erased_sectors, erased + 39);
    assert_flash(w);
    drop(w);
}

Test(write, only_the_sectors_that_differ)
{
    for (unsigned seed = 0; seed < 20; seed++) {
        struct world *w = make(seed);
        uint64_t state = seed;
        unsigned changed[37] = {0}, n = 0;
        cr_assert_eq(write_parts(w), RUVM_OK);
        unsigned erased = w->chip.n_erased_sectors;
        for (unsigned i = 0; i < 3; i++) { /* fewer than quarters of a block */
            unsigned at = (unsigned)(ruvm_random_next(&state) % PACK);
            w->pack[at] ^= 0x55;
            n += !changed[at / SECTOR]++;
        }
        cr_assert_eq(write_parts(w), RUVM_OK);
        cr_assert_eq(w->w.n_changed, n);
        cr_assert_eq(w->chip.n_erased_sectors - erased, n);
        assert_flash(w);
        drop(w);
    }
}

Test(write, a_block_with_four_quarters_that_differ_is_written_whole)
{
    struct world *w = make(3);
    cr_assert_eq(write_parts(w), RUVM_OK);
    for (unsigned q = 0; q < 4; q++)
        w->pack[BLOCK + q * BLOCK / 4 + 100] ^= 1;
    cr_assert_eq(write_parts(w), RUVM_OK);
    cr_assert_eq(w->w.n_changed, 16);
    assert_flash(w);
    drop(w);
}

/* ---- troubles ---------------------------------------------------------------------- */

Test(write, through_every_kind_of_trouble)
{
    static const struct rom_faults kinds[] = {
        {.request_lost_byte = 300},
        {.request_extra_byte = 300},
        {.request_flipped_data = 600},
        {.reply_lost = 300},
        {.reply_cut = 300},
        {.reply_flipped = 300},
        {.reply_late = 300},
        {.reply_twice = 2000},
        {.reply_refused = 200},
        {.noise = 2000},
        {50, 50, 100, 50, 50, 50, 50, 50, 50, 200},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (unsigned seed = 0; seed < 8; seed++) {
            struct world *w = make(100 * k + seed);
            w->chip.faults = kinds[k];
            w->chip.has_signals = seed % 3 != 0;
            w->chip.runs_program = w->chip.has_signals;
            int rc = write_parts(w);
            cr_assert_eq(rc, RUVM_OK, "kind %zu, seed %u: %s", k, seed, w->err.text);
            assert_flash(w);
            cr_assert(w->chip.n_faults > 0);
            drop(w);
        }
}

/* A line that carries the fast speed only in part is made slower until it carries. */
Test(write, a_line_that_is_too_fast)
{
    struct world *w = make(4);
    w->chip.most_baud = 230400;
    cr_assert_eq(write_at(w, FLASH, 921600, false), RUVM_OK, "%s", w->err.text);
    assert_flash(w);
    cr_assert(w->w.baud <= 230400);
    drop(w);
}

static void expect_failure(struct world *w, int rc, int code, const char *words)
{
    cr_assert_eq(rc, code, "%d %s", rc, w->err.text);
    cr_assert_not_null(strstr(w->err.text, words), "%s", w->err.text);
    drop(w);
}

/* Wherever the line is cut, the next time goes on from there. */
Test(write, a_line_that_vanishes_and_comes_back)
{
    for (unsigned bytes = 500; bytes < 105000; bytes += 7919) {
        struct world *w = make(5);
        w->chip.vanishes_after = bytes;
        int rc = write_parts(w);
        cr_assert_eq(rc, RUVM_ERR_IO);
        cr_assert_not_null(strstr(w->err.text, "double: the line is gone"));
        unsigned erased = w->chip.n_erased_sectors;
        w->chip.vanishes_after = 0;
        w->chip.gone = w->chip.in_frame = false;
        w->err = (struct ruvm_error){0};
        ruvm_rom_init(&w->rom, &w->line, NULL, &w->err);
        cr_assert_eq(write_parts(w), RUVM_OK, "%s", w->err.text);
        assert_flash(w);
        cr_assert(erased <= 16 || w->w.n_changed < 39, "%u", (unsigned)w->w.n_changed);
        drop(w);
    }
}

static int stop_writing(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    cr_assert(done <= total || total == 0);
    return strcmp(stage, "writing") == 0 && done > total / 2;
}

Test(write, can_be_interrupted)
{
    struct world *w = make(6);
    const struct ruvm_progress progress = {stop_writing, NULL};
    w->rom.progress = &progress;
    cr_assert_eq(write_parts(w), RUVM_ERR_IO);
    cr_assert_str_eq(w->err.text, "interrupted");
    cr_assert(w->chip.n_erased_sectors > 16 && w->chip.n_erased_sectors < 39);
    drop(w);
}

Test(write, a_chip_that_falls_silent)
{
    for (unsigned i = 12; i < 80; i += 17) {
        struct world *w = make(7);
        w->chip.silent_after = i;
        int rc = write_at(w, FLASH, 460800, false);
        expect_failure(w, rc, RUVM_ERR_CORRUPT, "double: ");
    }
}

Test(write, sectors_that_do_not_take_it)
{
    struct world *w = make(8);
    w->chip.bad_at = 0x24000;
    w->chip.bad_bytes = SECTOR;
    expect_failure(w, write_at(w, FLASH, 460800, false), RUVM_ERR_MISMATCH,
                   "does not hold what was written, after 8 tries");
}

/* The upper half of a flash that was said to be twice as large lies over the lower one. */
Test(write, a_flash_that_is_smaller_than_it_was_said_to_be)
{
    struct world *w = make(9);
    w->parts[1].off = FLASH;
    expect_failure(w, write_at(w, 2 * FLASH, 460800, false), RUVM_ERR_MISMATCH,
                   "is it smaller than 2 MiB");
}

Test(write, an_empty_part_and_none)
{
    struct world *w = make(10);
    cr_assert_eq(write_parts(w), RUVM_OK);
    w->parts[0].bytes = 0;
    cr_assert_eq(ruvm_write_parts(&w->rom, w->parts, 2, true, &w->w), RUVM_OK);
    cr_assert_eq(w->w.n_changed, 37);
    cr_assert_eq(ruvm_write_parts(&w->rom, w->parts, 0, true, &w->w), RUVM_OK);
    cr_assert_eq(w->w.n_sectors, 0);
    drop(w);
}
