/* A chip in memory: its loader in ROM, its flash, the line to it, and a clock that only moves
 * when somebody waits.
 *
 * It does what was measured of the loaders of an ESP32 and an ESP32-C3: what it answers to
 * what, in which order it checks, what a wrong block leaves behind. Whatever a request does
 * that a correct writer never would is kept in `problem`, unless the double damaged the
 * request itself. Everything that happens follows from `seed`.
 */
#ifndef RUVM_TESTS_SERIAL_ROM_DOUBLE_H
#define RUVM_TESTS_SERIAL_ROM_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "lib/serial/line.h"

/* Faults, each in so many of 10,000 frames. */
struct rom_faults {
    unsigned request_lost_byte, request_extra_byte, request_flipped_data;
    unsigned reply_lost, reply_cut, reply_flipped, reply_late, reply_twice, reply_refused;
    unsigned noise; /* bytes of nobody before a reply */
};

enum { ROM_OUT_BYTES = 1 << 16, ROM_FRAME_BYTES = 4096, ROM_WORDS = 64 };

struct rom_double {
    /* Set up by the test. */
    uint64_t seed;
    uint32_t chip_id, magic;
    bool knows_security; /* answers the question for its fuses */
    uint32_t crypt_count, flash_bytes;
    uint8_t *flash;
    bool has_signals, runs_program;
    unsigned rise_ms;        /* from the release of EN until BOOT is looked at */
    uint32_t most_baud;      /* faster is garbage */
    uint32_t silent_after;   /* commands until it answers no more; 0: never */
    uint64_t vanishes_after; /* bytes to it; 0: never */
    struct rom_faults faults;
    bool only_noise;            /* is no loader at all */
    uint32_t bad_at, bad_bytes; /* flash that cannot be written */

    /* What happened. */
    char problem[160];
    unsigned n_resets, n_starts, n_commands, n_md5, n_blocks, n_faults, n_erased_sectors;
    uint32_t highest_baud;
    uint32_t written_registers[ROM_WORDS][2];
    unsigned n_written_registers;

    /* The line. */
    double now_s;
    uint32_t line_baud, chip_baud;
    uint64_t taken_bytes;
    bool gone, dtr, rts, in_reset, rising;
    double rise_s;
    uint8_t out[ROM_OUT_BYTES];
    double out_s[ROM_OUT_BYTES]; /* when a byte is there */
    size_t out_from, out_to;

    /* The loader. */
    bool in_frame, escaped, damaged, attached;
    uint8_t frame[ROM_FRAME_BYTES];
    size_t frame_bytes;
    uint32_t last_value;
    bool writing;
    z_stream z;
    bool z_open;
    uint32_t write_at, write_end, next_block, n_blocks_wanted;
};

/* An ESP32-C3 whose flash of that size is erased; the test changes what it wants otherwise. */
void rom_double_init(struct rom_double *d, uint32_t flash_bytes, uint64_t seed);
void rom_double_free(struct rom_double *d);
struct ruvm_line rom_double_line(struct rom_double *d);

#endif
