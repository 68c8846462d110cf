/* JSON and lists of problems: what foreign texts may hold, and how much is told of them. */
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/base/problems.h"

static const struct {
    const char *text;
    const char *error; /* NULL: it is an object */
} texts[] = {
    {"{}", NULL},
    {" \r\n\t{\"a\" : [1, {}]} \n", NULL},
    {"\xef\xbb\xbf{}", NULL},
    {"", "is not JSON from byte 0 on"},
    {"   ", "is not JSON"},
    {"{\"a\":}", "is not JSON from byte 5 on"},
    {"{\"a\":1", "is not JSON"},
    {"{}}", "goes on after its JSON text, at byte 2"},
    {"{}\1", "goes on after its JSON text, at byte 2"},
    {"[{}]", "is JSON, but not an object"},
    {"null", "is JSON, but not an object"},
    {"3", "is JSON, but not an object"},
};

Test(json, one_object_and_nothing_else)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = strlen(texts[i].text);
        char *copy = malloc(n ? n : 1); /* without a NUL */
        struct ruvm_error err = {0};
        memcpy(copy, texts[i].text, n);
        cJSON *json = ruvm_json_parse(copy, n, &err);
        cr_expect_eq(json == NULL, texts[i].error != NULL, "%s", texts[i].text);
        cr_expect(!texts[i].error ||
                      (err.code == RUVM_ERR_CORRUPT && strstr(err.text, texts[i].error)),
                  "%s: %s", texts[i].text, err.text);
        cJSON_Delete(json);
        free(copy);
    }
}

static bool whole(const char *number, uint64_t max, uint64_t *value)
{
    cJSON *item = cJSON_Parse(number);
    bool is_whole = ruvm_json_whole(item, max, value);
    cJSON_Delete(item);
    return is_whole;
}

Test(json, whole_numbers_are_what_they_seem)
{
    const uint64_t max = (uint64_t)1 << 53;
    uint64_t value = 7;
    cr_assert(whole("0", max, &value) && value == 0);
    cr_assert(whole("5000000000", max, &value) && value == 5000000000u);
    cr_assert(whole("9007199254740992", max, &value) && value == max);
    cr_assert(whole("12e2", max, &value) && value == 1200);
    cr_assert(whole("255", 255, &value) && !whole("256", 255, &value));
    cr_assert(!whole("-1", max, &value) && !whole("0.5", max, &value));
    cr_assert(!whole("9007199254740994", max, &value) && !whole("1e999", max, &value));
    cr_assert(!whole("\"1\"", max, &value) && !whole("true", max, &value));
    cr_assert_not(ruvm_json_whole(NULL, max, &value));
}

Test(problems, all_are_told_and_the_rest_counted)
{
    struct ruvm_problems p = {0};
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_problems_report(&p, &err), RUVM_OK);
    ruvm_problems_note(&p, RUVM_ERR_MISMATCH, "a is %d", 1);
    ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "b is %d", 2);
    cr_assert_eq(ruvm_problems_report(&p, &err), RUVM_ERR_MISMATCH);
    cr_assert_str_eq(err.text, "a is 1; b is 2");
    for (int i = 0; i < 100; i++)
        ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "problem number %d of a long list", i);
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_problems_report(&p, &err), RUVM_ERR_MISMATCH);
    cr_assert(strstr(err.text, "a is 1; b is 2; problem number 0 of"), "%s", err.text);
    cr_assert(strstr(err.text, " more problems") && strlen(err.text) < RUVM_PROBLEMS_BYTES + 40);
}
