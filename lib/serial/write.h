/* Parts of a flash written over a serial line: only sectors that differ, all of them checked. */
#ifndef RUVM_SERIAL_WRITE_H
#define RUVM_SERIAL_WRITE_H

#include "lib/serial/rom.h"

struct ruvm_write_part {
    uint32_t off; /* of a sector */
    const uint8_t *data;
    size_t bytes; /* the rest of the last sector becomes erased */
};

/* Writes the parts, which share no sector, through a loader that is connected and attached.
 * all: also sectors that are right already. What noise destroys is written again; w says what
 * was done so far even after a failure. */
int ruvm_write_parts(struct ruvm_rom *rom, const struct ruvm_write_part *parts, unsigned n_parts,
                     bool all, struct ruvm_flash_written *w);

#endif
