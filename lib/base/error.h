/* Errors of the workstation side: the first failure wins, with its place.
 *
 * A function that can fail takes `struct ruvm_error *err` last and ends with
 *
 *     return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: byte %zu: ...", path, off);
 *
 * ruvm_fail returns the status it was given, so callers pass it on. The text
 * reads "file: place: what, and what to do". err may be NULL.
 */
#ifndef RUVM_BASE_ERROR_H
#define RUVM_BASE_ERROR_H

#include "lib/base/status.h"

/* Records code and message unless an earlier failure is recorded; returns code. */
int ruvm_fail(struct ruvm_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before a recorded message: a caller who knows the file adds it. */
void ruvm_error_prefix(struct ruvm_error *err, const char *prefix);

#endif
