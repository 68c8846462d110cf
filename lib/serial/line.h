/* A serial line: what the protocols above need of one.
 *
 * The functions are all that they see of the world, time included, so that tests put a chip
 * in memory behind them, with a clock of its own. line.c has the lines of this machine.
 */
#ifndef RUVM_SERIAL_LINE_H
#define RUVM_SERIAL_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

struct ruvm_line {
    const char *name; /* for messages; borrowed */
    void *state;
    /* Bytes that came, up to cap: waits at most ms for the first. 0: none came.
     * RUVM_ERR_IO: the line is gone. */
    int (*read)(void *state, uint8_t *bytes, size_t cap, unsigned ms);
    /* All of them, or RUVM_ERR_IO. */
    int (*write)(void *state, const uint8_t *bytes, size_t n);
    /* Both at once. RUVM_ERR_UNSUPPORTED: this line has none. */
    int (*set_signals)(void *state, bool dtr, bool rts);
    int (*set_baud)(void *state, uint32_t baud);
    double (*clock_s)(void *state);
    void (*sleep_ms)(void *state, unsigned ms);
    bool is_usb_jtag; /* ends in the chip itself */
};

/* Opens a device of this machine, 8 bits, no parity, for this process alone. RUVM_ERR_IO with
 * what to do: not there, not permitted, busy. name is borrowed until the close. */
int ruvm_line_open(struct ruvm_line *line, const char *name, uint32_t baud, struct ruvm_error *err);
/* Also of a line that was never opened. */
void ruvm_line_close(struct ruvm_line *line);
/* Takes away what has come but was not read. */
void ruvm_line_forget(const struct ruvm_line *line);

#endif
