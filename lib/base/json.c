/* JSON: cJSON, with what it lets pass taken back.
 *
 * cJSON stops at the end of the first value and says so through a pointer; it keeps numbers
 * as doubles and, beside them, as ints that saturate. Here the rest of the text is looked at,
 * and a number counts as whole only when it is one. Nesting beyond 1000 cJSON refuses itself.
 */
#include "lib/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct cJSON *ruvm_json_parse(const void *text, size_t n, struct ruvm_error *err)
{
    const char *begin = text, *end = begin, *stop = begin + n;
    cJSON *json = cJSON_ParseWithLengthOpts(begin, n, &end, 0);
    if (!json) {
        ruvm_fail(err, RUVM_ERR_CORRUPT, "is not JSON from byte %zu on", (size_t)(end - begin));
        return NULL;
    }
    while (end < stop && is_space(*end))
        end++;
    if (end == stop && cJSON_IsObject(json))
        return json;
    if (end < stop)
        ruvm_fail(err, RUVM_ERR_CORRUPT, "goes on after its JSON text, at byte %zu",
                  (size_t)(end - begin));
    else
        ruvm_fail(err, RUVM_ERR_CORRUPT, "is JSON, but not an object in braces");
    cJSON_Delete(json);
    return NULL;
}

bool ruvm_json_whole(const struct cJSON *item, uint64_t max, uint64_t *value)
{
    if (!cJSON_IsNumber(item))
        return false;
    double x = item->valuedouble;
    if (!(x >= 0 && x <= (double)max && x == floor(x)))
        return false;
    *value = (uint64_t)x;
    return true;
}
