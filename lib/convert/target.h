/* Target: what a chip has room for, as far as a model's types are concerned. */
#ifndef RUVM_CONVERT_TARGET_H
#define RUVM_CONVERT_TARGET_H

#include "lib/measure/devices.h"

/* Bytes there are for an image in a flash of 4 MiB, and for an engine with a
 * context. */
uint64_t ruvm_target_image_bytes(const struct ruvm_device *t);
uint64_t ruvm_target_engine_bytes(const struct ruvm_device *t, uint32_t context);

#endif
