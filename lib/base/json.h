/* JSON: a foreign text to a tree, and numbers that are what they seem. Workstation side only.
 *
 *     struct cJSON *json = ruvm_json_parse(data, size, err);
 *     if (!json)
 *         return RUVM_ERR_CORRUPT;
 *     ... cJSON_GetObjectItemCaseSensitive(json, "dim") ...
 *     cJSON_Delete(json);
 */
#ifndef RUVM_BASE_JSON_H
#define RUVM_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

struct cJSON;

/* The one object that the n bytes hold, and nothing after it but white space; NULL with
 * RUVM_ERR_CORRUPT and the byte where it breaks. A tree costs up to 40 times its text: bound
 * n. cJSON_Delete frees it. */
struct cJSON *ruvm_json_parse(const void *text, size_t n, struct ruvm_error *err);

/* Whether the item (NULL is none) is a whole number from 0 to max, which is put into value.
 * Numbers are doubles: max is at most 2^53. */
bool ruvm_json_whole(const struct cJSON *item, uint64_t max, uint64_t *value);

#endif
