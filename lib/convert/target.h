/* Target: what a chip has room for, as far as a model's types are concerned. */
#ifndef RUVM_CONVERT_TARGET_H
#define RUVM_CONVERT_TARGET_H

#include "lib/measure/devices.h"

/* What besides the image needs a place in flash, and besides the engine in memory. */
enum {
    RUVM_TARGET_FIRMWARE_BYTES = 128 << 10, /* loader, partition table, program */
    RUVM_TARGET_STACK_BYTES = 16 << 10,     /* stack, tokenizer, buffers of a console */
};

/* Bytes there are for an image in a flash of 4 MiB, and for an engine. */
uint64_t ruvm_target_image_bytes(const struct ruvm_device *t);
uint64_t ruvm_target_engine_bytes(const struct ruvm_device *t);

#endif
