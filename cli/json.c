/* JSON: one object a command, for programs.
 *
 * cJSON prints what it is given, so what it is given is made fit here: numbers
 * are rounded to digits that were really measured, bytes of any origin become
 * valid UTF-8, 64-bit whole numbers keep all digits. When memory is short,
 * cJSON leaves things out; the printed object would be wrong, so the process ends.
 */
#include "cli/cli.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static cJSON *checked(cJSON *item)
{
    if (item)
        return item;
    ruvm_output_error("", "out of memory");
    exit(RUVM_EXIT_FAILED);
}

static void add(cJSON *parent, const char *key, cJSON *item)
{
    checked(item);
    cJSON_bool ok =
        key ? cJSON_AddItemToObject(parent, key, item) : cJSON_AddItemToArray(parent, item);
    checked(ok ? item : NULL);
}

cJSON *ruvm_json_object(cJSON *parent, const char *key)
{
    cJSON *object = cJSON_CreateObject();
    add(parent, key, object);
    return object;
}

cJSON *ruvm_json_array(cJSON *parent, const char *key)
{
    cJSON *array = cJSON_CreateArray();
    add(parent, key, array);
    return array;
}

void ruvm_json_number(cJSON *parent, const char *key, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    add(parent, key, cJSON_CreateNumber(strtod(text, NULL)));
}

void ruvm_json_count(cJSON *parent, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    add(parent, key, cJSON_CreateRaw(text)); /* a double would lose digits above 2^53 */
}

void ruvm_json_signed(cJSON *parent, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    add(parent, key, cJSON_CreateRaw(text));
}

void ruvm_json_bool(cJSON *parent, const char *key, bool value)
{
    add(parent, key, cJSON_CreateBool(value));
}

void ruvm_json_bytes(cJSON *parent, const char *key, const void *bytes, size_t n)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    const uint8_t *in = bytes;
    char *text = ruvm_output_alloc(n * 3 + 1, 1);
    char *out = text;
    for (size_t i = 0; i < n;) {
        size_t length = in[i] ? ruvm_output_utf8(in + i, n - i) : 0;
        const void *from = length ? (const void *)(in + i) : replacement;
        size_t copied = length ? length : sizeof replacement - 1;
        memcpy(out, from, copied);
        out += copied;
        i += length ? length : 1;
    }
    add(parent, key, cJSON_CreateString(text));
    free(text);
}

void ruvm_json_text(cJSON *parent, const char *key, const char *text)
{
    ruvm_json_bytes(parent, key, text, strlen(text));
}

cJSON *ruvm_json_start(const char *verb)
{
    char schema[32];
    cJSON *object = checked(cJSON_CreateObject());
    snprintf(schema, sizeof schema, "ruvm-%s/1", verb);
    ruvm_json_text(object, "schema", schema);
    ruvm_json_text(object, "ruvm_version", RUVM_VERSION_TEXT);
    return object;
}

void ruvm_json_spread(cJSON *parent, const char *key, const struct ruvm_spread *s)
{
    char name[64];
    ruvm_json_number(parent, key, s->median);
    snprintf(name, sizeof name, "%s_min", key);
    ruvm_json_number(parent, name, s->min);
    snprintf(name, sizeof name, "%s_max", key);
    ruvm_json_number(parent, name, s->max);
    snprintf(name, sizeof name, "%s_n", key);
    ruvm_json_count(parent, name, s->n);
}

void ruvm_json_quality(cJSON *parent, const struct ruvm_quality *q)
{
    ruvm_json_number(parent, "kl_mean", q->kl_mean);
    ruvm_json_number(parent, "kl_mean_error", q->kl_mean_error);
    ruvm_json_number(parent, "kl_p99", q->kl_p99);
    ruvm_json_number(parent, "perplexity", q->perplexity);
    ruvm_json_number(parent, "perplexity_float", q->perplexity_float);
    ruvm_json_number(parent, "top1", q->top1);
    ruvm_json_number(parent, "top5", q->top5);
    ruvm_json_count(parent, "quality_positions", q->n_positions);
    ruvm_json_text(parent, "quality_text", q->text_source);
}

void ruvm_json_pack(cJSON *parent, const struct ruvm_pack_result *r)
{
    ruvm_json_count(parent, "bytes", r->bytes);
    ruvm_json_bool(parent, "signed", r->is_signed);
    if (r->is_signed)
        ruvm_json_text(parent, "key", r->key);
    cJSON *list = ruvm_json_array(parent, "sections");
    for (uint32_t i = 0; i < r->n_sections; i++) {
        const struct ruvm_pack_entry *e = &r->sections[i];
        cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "name", e->name);
        ruvm_json_text(x, "kind", e->kind);
        ruvm_json_count(x, "off_bytes", e->off_bytes);
        ruvm_json_count(x, "size_bytes", e->size_bytes);
        ruvm_json_count(x, "align_bytes", e->align_bytes);
        ruvm_json_count(x, "crc32", e->crc32);
        ruvm_json_text(x, "sha256", e->sha256);
    }
}

/* Prints text, which is the object's, and frees both. */
static void finish(cJSON *object, char *text)
{
    checked(text ? object : NULL);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(object);
}

void ruvm_json_finish(cJSON *object)
{
    finish(object, cJSON_Print(object));
}

void ruvm_json_free(cJSON *object)
{
    cJSON_Delete(object);
}

void ruvm_json_finish_line(cJSON *object)
{
    finish(object, cJSON_PrintUnformatted(object));
}
