/* Target: what a chip has room for, as far as a model's types are concerned.
 *
 * Addresses are those of the vendor's ext_mem_defs.h and memory maps: the window through
 * which data in flash is read, and the memory a program finds free when it starts.
 */
#ifndef RUVM_CONVERT_TARGET_H
#define RUVM_CONVERT_TARGET_H

#include <stdint.h>

#include "lib/base/error.h"

struct ruvm_target {
    const char *name;
    uint32_t window_bytes; /* of flash that can be mapped as data */
    uint32_t memory_bytes; /* static memory of a program */
};

/* What besides the image needs a place in a flash of 4 MiB, and besides the engine in memory. */
enum {
    RUVM_TARGET_FLASH_BYTES = 4 << 20,
    RUVM_TARGET_FIRMWARE_BYTES = 128 << 10, /* loader, partition table, program */
    RUVM_TARGET_STACK_BYTES = 16 << 10,     /* stack, tokenizer, buffers of a console */
};

/* RUVM_ERR_ARG with the names that exist. */
int ruvm_target_find(const struct ruvm_target **target, const char *name, struct ruvm_error *err);
/* Bytes there are for an image, and for an engine. */
uint64_t ruvm_target_image_bytes(const struct ruvm_target *t);
uint64_t ruvm_target_engine_bytes(const struct ruvm_target *t);

#endif
