/* Settings of the pack: a flat JSON object as `ruvm pack` writes it, without spaces, its
 * numbers decimals of at most six places. */
#ifndef RUVM_DEVICE_SETTINGS_H
#define RUVM_DEVICE_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

enum { RUVM_DEVICE_NUMBER_CHARS = 24 };

/* The value of a number, NUL-terminated, or NULL when there is none of that name. */
const char *ruvm_device_setting(const char *json, size_t n, const char *key,
                                char number[RUVM_DEVICE_NUMBER_CHARS]);
/* The bytes of a text in room for cap of them; -1: there is none, or it is longer. */
int32_t ruvm_device_setting_text(const char *json, size_t n, const char *key, char *text,
                                 size_t cap);

#endif
