/* What a chip must provide to run the firmware.
 *
 * A chip is a folder: start.S (from the loader to C), port.c (these functions),
 * app.ld and boot.ld (where things lie, and what the linker must refuse). All else
 * of the firmware is the same everywhere. To add a chip: its folder, and its name and
 * compiler in the Makefile.
 */
#ifndef RUVM_DEVICE_PORT_H
#define RUVM_DEVICE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ruvm_kernels; /* kernels/kernels.h */

enum {
    RUVM_PORT_PAGE = 0x10000,    /* of the mapping of flash */
    RUVM_PORT_TABLE_AT = 0x8000, /* where the partition table is in flash */
    RUVM_PORT_SECTOR = 0x1000,   /* what flash erases at once */
};

struct ruvm_port {
    const char *chip;
    uint32_t window_bytes; /* the most that ruvm_port_map() shows, from the beginning of a page */
    uint16_t chip_id;      /* in the headers of images */
};
extern const struct ruvm_port ruvm_port;

/* Before anything else: stops the watchdogs that the loader left running. */
void ruvm_port_init(void);

/* The console. put waits for room; get is a byte, or -1 when none has come. */
void ruvm_port_put(uint8_t byte);
int ruvm_port_get(void);

/* Cycles of the processor since some time, modulo 2^32. */
uint32_t ruvm_port_cycles(void);

/* Shows bytes of flash, read only, until the next call; NULL when the window is too small
 * or flash does not go so far. The pointer is in the same place of a page as off. */
const uint8_t *ruvm_port_map(uint32_t off, uint32_t bytes);

/* The same of as much as the window holds: partitions may be larger than what is in them. */
static inline uint32_t ruvm_port_visible(uint32_t bytes)
{
    return bytes < ruvm_port.window_bytes ? bytes : ruvm_port.window_bytes;
}

/* Begins anew, from the loader in ROM on. */
_Noreturn void ruvm_port_restart(void);

#ifdef RUVM_DEVICE_EXIT
/* Ends the emulator that runs the firmware, with a status. */
_Noreturn void ruvm_port_exit(uint32_t status);
#endif

/* ---- for the application ----------------------------------------------------- */

/* The arithmetic that suits the chip. */
const struct ruvm_kernels *ruvm_port_kernels(void);

struct ruvm_port_memory {
    uint8_t *free; /* all that is left, 64-byte aligned */
    size_t free_bytes;
    size_t static_bytes;   /* code in RAM and variables */
    const uint32_t *stack; /* its lowest word; unused ones hold RUVM_PAINT */
    size_t stack_bytes;
};
/* As app.ld lays it out: the same for every chip (memory.c). */
struct ruvm_port_memory ruvm_port_memory(void);

/* ---- for the loader, boot.c -------------------------------------------------- */

/* Memory that a segment of an application may be copied to, and addresses that a part of
 * flash may be shown at. */
bool ruvm_port_is_memory(uint32_t address, uint32_t bytes);
bool ruvm_port_is_flash(uint32_t address, uint32_t bytes);
/* Shows flash from off on at an address in the same place of a page. */
void ruvm_port_show(uint32_t address, uint32_t off, uint32_t bytes);
/* Leaves for an application, for good. */
_Noreturn void ruvm_port_jump(uint32_t entry);

#endif
