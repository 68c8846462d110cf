/* An engine whose memory is the arena's: for the workstation side. */
#ifndef RUVM_CONVERT_ENGINE_OPEN_H
#define RUVM_CONVERT_ENGINE_OPEN_H

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/ruvm.h"

/* options may be NULL; kernels NULL are the best of this machine. */
int ruvm_engine_open(struct ruvm_engine **e, struct ruvm_arena *arena, const void *image,
                     size_t image_bytes, const struct ruvm_engine_options *options,
                     struct ruvm_error *err);

#endif
