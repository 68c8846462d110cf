/* An Xtensa processor as far as compilers for the LX106 use it: the core instructions, narrow
 * ones, multiplication and shifts; no windows, no loops, no floats. What it does not know ends
 * the run, as does what the chip's memories forbid. */
#ifndef TESTS_DEVICE_XTENSA_H
#define TESTS_DEVICE_XTENSA_H

#include <stdbool.h>
#include <stdint.h>

enum xtensa_kind {
    XTENSA_NOTHING,    /* device() is asked */
    XTENSA_DATA,       /* all accesses, no code */
    XTENSA_CODE,       /* of whole words only, and code */
    XTENSA_CODE_FLASH, /* the same, and nothing is written */
    XTENSA_DATA_FLASH,
    XTENSA_UNMAPPED,
};

enum { XTENSA_PAGE_BITS = 16, XTENSA_N_PAGES = 1 << 16 };
enum {
    XTENSA_SAR = 3,
    XTENSA_WINDOWBASE = 72,
    XTENSA_WINDOWSTART = 73,
    XTENSA_PS = 230,
    XTENSA_CCOUNT = 234,
};

struct xtensa {
    uint32_t a[16], pc, special[256];
    uint64_t n; /* instructions so far */
    uint8_t *page[XTENSA_N_PAGES];
    uint8_t kind[XTENSA_N_PAGES]; /* enum xtensa_kind */
    bool stopped;
    /* A word at an address without memory; false: there is nothing either. */
    bool (*device)(struct xtensa *x, uint32_t address, uint32_t *value, bool is_write);
    void (*simcall)(struct xtensa *x);
    void (*fault)(struct xtensa *x, const char *what, uint32_t address);
};

/* Runs until x->stopped, or instruction `limit`. */
void xtensa_run(struct xtensa *x, uint64_t limit);

#endif
