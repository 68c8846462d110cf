/* Settings of a pack: a JSON object of a person, in the one form that a chip reads. */
#ifndef RUVM_BUNDLE_SETTINGS_H
#define RUVM_BUNDLE_SETTINGS_H

#include "lib/base/buffer.h"
#include "lib/base/status.h"

/* Appends the canonical form: keys ascending, no spaces, numbers as plain decimals. All that
 * is wrong is told at once: RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED. */
int ruvm_settings_write(struct ruvm_buffer *out, const char *name, const void *json, size_t n,
                        struct ruvm_error *err);

#endif
