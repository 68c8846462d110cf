/* Settings of a pack: read as JSON from a person, written as a chip reads them.
 *
 * A chip has no JSON parser and no floats to spare, so what it gets is flat, sorted and
 * without spaces, its numbers decimals of at most six places. Keys that ruvm knows are
 * checked for their range here, where somebody can still do something about it.
 */
#include "lib/bundle/settings.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/base/problems.h"

enum { MAX_BYTES = 1 << 20, MAX_KEYS = 256, MAX_KEY_BYTES = 32 };
static const double max_number = 9007199254740992.0; /* 2^53: whole in every JSON */

/* The keys that have a meaning to ruvm; others are the application's own. */
static const struct known {
    const char *key;
    bool text, whole;
    double min, max;
} known[] = {
    {"context", false, true, 1, 65535},
    {"max_tokens", false, true, 1, 65535},
    {"min_p", false, false, 0, 1},
    {"name", true, false, 0, 0},
    {"prompt", true, false, 0, 0},
    {"repeat_penalty", false, false, 0.01, 100},
    {"seed", false, true, 0, 9007199254740992.0},
    {"system", true, false, 0, 0},
    {"temperature", false, false, 0, 100},
    {"top_k", false, true, 0, 65535},
    {"top_p", false, false, 0, 1},
    {"version", true, false, 0, 0},
};

static bool key_is_sound(const char *key)
{
    size_t n = strlen(key);
    return n > 0 && n <= MAX_KEY_BYTES && key[0] >= 'a' && key[0] <= 'z' &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static void check_known(struct ruvm_problems *p, const cJSON *item)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct known *k = &known[i];
        double x = item->valuedouble;
        if (strcmp(k->key, item->string) != 0)
            continue;
        if (k->text && !cJSON_IsString(item))
            ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED, "\"%s\" should be a text", k->key);
        if (!k->text &&
            (!cJSON_IsNumber(item) || !(x >= k->min && x <= k->max) || (k->whole && x != floor(x))))
            ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED,
                               "\"%s\" should be a %snumber from %.10g to %.16g", k->key,
                               k->whole ? "whole " : "", k->min, k->max);
    }
}

static void check_item(struct ruvm_problems *p, const cJSON *object, const cJSON *item)
{
    double x = item->valuedouble;
    if (!key_is_sound(item->string))
        ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" is no key: up to %d letters a-z, digits and underscores, a "
                           "letter first",
                           item->string, MAX_KEY_BYTES);
    else if (cJSON_GetObjectItemCaseSensitive(object, item->string) != item)
        ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED, "\"%s\" is there twice", item->string);
    else if (!cJSON_IsString(item) && !cJSON_IsNumber(item) && !cJSON_IsBool(item))
        ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED,
                           "\"%s\" should be a text, a number, true or false", item->string);
    else if (cJSON_IsNumber(item) && !(x >= -max_number && x <= max_number))
        ruvm_problems_note(p, RUVM_ERR_UNSUPPORTED, "\"%s\" is too large a number", item->string);
    else
        check_known(p, item);
}

static int by_key(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static void put_text(struct ruvm_buffer *out, const char *text)
{
    ruvm_buffer_u8(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            ruvm_buffer_printf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            ruvm_buffer_printf(out, "\\u%04x", (unsigned)*text);
        else
            ruvm_buffer_u8(out, (uint8_t)*text);
    }
    ruvm_buffer_u8(out, '"');
}

/* At most six places; "1.500000" is "1.5", "-0" is "0". */
static void put_number(struct ruvm_buffer *out, double x)
{
    char text[48];
    snprintf(text, sizeof text, "%.6f", x);
    size_t n = strlen(text);
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    text[n] = '\0';
    ruvm_buffer_printf(out, "%s", strcmp(text, "-0") == 0 ? "0" : text);
}

static void put_item(struct ruvm_buffer *out, const cJSON *item)
{
    put_text(out, item->string);
    ruvm_buffer_u8(out, ':');
    if (cJSON_IsString(item))
        put_text(out, item->valuestring);
    else if (cJSON_IsNumber(item))
        put_number(out, item->valuedouble);
    else
        ruvm_buffer_printf(out, "%s", cJSON_IsTrue(item) ? "true" : "false");
}

static int put_object(struct ruvm_buffer *out, const cJSON *object, const char *name,
                      struct ruvm_error *err)
{
    const cJSON *items[MAX_KEYS], *item;
    struct ruvm_problems p = {0};
    size_t n = 0;
    cJSON_ArrayForEach(item, object)
    {
        if (n == MAX_KEYS)
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: has more than %d settings", name,
                             MAX_KEYS);
        check_item(&p, object, item);
        items[n++] = item;
    }
    if (ruvm_problems_report(&p, err) != RUVM_OK) {
        ruvm_error_prefix(err, name);
        return p.code;
    }
    qsort(items, n, sizeof *items, by_key);
    ruvm_buffer_u8(out, '{');
    for (size_t i = 0; i < n; i++) {
        ruvm_buffer_printf(out, "%s", i ? "," : "");
        put_item(out, items[i]);
    }
    ruvm_buffer_u8(out, '}');
    return ruvm_buffer_ok(out) ? RUVM_OK
                               : ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", name);
}

int ruvm_settings_write(struct ruvm_buffer *out, const char *name, const void *json, size_t n,
                        struct ruvm_error *err)
{
    if (n > MAX_BYTES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: is too large for settings (1 MiB)", name);
    cJSON *object = ruvm_json_parse(json, n, err);
    if (!object) {
        ruvm_error_prefix(err, name);
        return RUVM_ERR_CORRUPT;
    }
    int rc = put_object(out, object, name, err);
    cJSON_Delete(object);
    return rc;
}
