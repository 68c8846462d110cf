/* ELF for 32-bit little-endian machines, as far as a program is loaded from it. */
#ifndef RUVM_FORMATS_ELF32_H
#define RUVM_FORMATS_ELF32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

enum ruvm_elf32_machine { RUVM_ELF32_XTENSA = 94, RUVM_ELF32_RISCV = 243 };
enum { RUVM_ELF32_MAX_SEGMENTS = 32 };

struct ruvm_elf32_segment {
    uint32_t address, bytes; /* physical address; bytes in the file */
    const uint8_t *data;
};

struct ruvm_elf32 {
    uint16_t machine;
    uint32_t entry;
    unsigned n_segments;
    struct ruvm_elf32_segment segments[RUVM_ELF32_MAX_SEGMENTS]; /* ascending, none empty */
};

bool ruvm_elf32_probe(const void *data, size_t size);
/* RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED (not an executable for such a machine). */
int ruvm_elf32_read(struct ruvm_elf32 *elf, const char *name, const void *data, size_t size,
                    struct ruvm_error *err);

#endif
