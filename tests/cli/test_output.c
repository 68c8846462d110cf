/* What output makes of bytes from anywhere: text that is safe to show, JSON that is valid. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cli/cli.h"

static const struct {
    const char *bytes;
    size_t n;
    const char *visible;
    size_t first; /* length of the first character */
} texts[] = {
    {"", 0, "", 0},
    {"abc", 3, "abc", 1},
    {"a\0b", 3, "a\\x00b", 1},
    {"\n\t\x1b[m", 5, "\\x0A\\x09\\x1B[m", 1},
    {"\x7f", 1, "\\x7F", 1},
    {"\xC3\xA9", 2, "\xC3\xA9", 2},         /* e acute */
    {"\xC2\x85", 2, "\\xC2\\x85", 2},       /* a control of Latin-1 */
    {"\xC2\xA0", 2, "\xC2\xA0", 2},         /* the first that is none */
    {"\xE2\x82\xAC", 3, "\xE2\x82\xAC", 3}, /* euro */
    {"\xE2\x82", 2, "\\xE2\\x82", 0},       /* cut off */
    {"\xE2\x82z", 3, "\\xE2\\x82z", 0},     /* broken off */
    {"\xF0\x9F\x98\x80", 4, "\xF0\x9F\x98\x80", 4},
    {"\xC0\x80", 2, "\\xC0\\x80", 0},                   /* overlong NUL */
    {"\xE0\x80\xAF", 3, "\\xE0\\x80\\xAF", 0},          /* overlong slash */
    {"\xED\xA0\x80", 3, "\\xED\\xA0\\x80", 0},          /* surrogate */
    {"\xF4\x90\x80\x80", 4, "\\xF4\\x90\\x80\\x80", 0}, /* beyond U+10FFFF */
    {"\xF4\x8F\xBF\xBF", 4, "\xF4\x8F\xBF\xBF", 4},     /* U+10FFFF */
    {"\xFF\x80", 2, "\\xFF\\x80", 0},
};

Test(output, visible)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *visible = ruvm_output_visible(texts[i].bytes, texts[i].n);
        cr_assert_str_eq(visible, texts[i].visible, "case %zu", i);
        free(visible);
    }
}

Test(output, messages_do_not_act_on_the_terminal, .init = cr_redirect_stderr)
{
    ruvm_output_error("bench", "a \x1b[31mname\x07: and more\non \xC3\xA9 a line \xFF");
    cr_assert_stderr_eq_str(
        "ruvm bench: a \\x1B[31mname\\x07: and more\non \xC3\xA9 a line \\xFF\n");
}

Test(output, utf8)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_assert_eq(ruvm_output_utf8((const uint8_t *)texts[i].bytes, texts[i].n), texts[i].first,
                     "case %zu", i);
}

Test(output, grouped)
{
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {999, "999"},
        {1000, "1,000"},
        {1056540, "1,056,540"},
        {UINT64_MAX, "18,446,744,073,709,551,615"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_str_eq(ruvm_output_grouped(cases[i].value), cases[i].text);
    const char *a = ruvm_output_grouped(1), *b = ruvm_output_grouped(2);
    cr_assert(*a == '1' && *b == '2', "two in one call of printf");
}

Test(output, one_of_a_thing_has_no_s)
{
    cr_assert_str_eq(ruvm_output_many(0, "chunk"), "0 chunks");
    cr_assert_str_eq(ruvm_output_many(1, "chunk"), "1 chunk");
    cr_assert_str_eq(ruvm_output_many(1234, "chunk"), "1,234 chunks");
    const char *a = ruvm_output_many(1, "link"), *b = ruvm_output_many(2, "link");
    cr_assert(*a == '1' && *b == '2', "two in one call of printf");
}

Test(output, failures_have_their_exit_codes)
{
    struct ruvm_error err = {.code = RUVM_ERR_ARG, .text = "bad"};
    cr_redirect_stderr();
    cr_assert_eq(ruvm_output_failure("run", &err), RUVM_EXIT_USAGE);
    err.code = RUVM_ERR_CORRUPT;
    cr_assert_eq(ruvm_output_failure("run", &err), RUVM_EXIT_FAILED);
    cr_assert_stderr_eq_str("ruvm run: bad\nruvm run: bad\n");
}

Test(output, time_left)
{
    static const struct {
        double first, done, elapsed;
        const char *text;
    } cases[] = {
        {0, 0.5, 10, ", 10 s left"},
        {0, 0.25, 100, ", 5 min left"},
        {0.5, 0.75, 10, ", 10 s left"}, /* resumed in the middle */
        {0, 0.01, 10, ""},
        {0, 0.5, 0.1, ""},
        {0, 0.99, 10, ""},
        {0.5, 0.5, 10, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        ruvm_output_time_left(text, sizeof text, cases[i].first, cases[i].done, cases[i].elapsed);
        cr_assert_str_eq(text, cases[i].text, "case %zu", i);
    }
}

/* ---- JSON ----------------------------------------------------------------- */

static char *member(cJSON *object, const char *key)
{
    return cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void expect_member(cJSON *object, const char *key, const char *wanted)
{
    char *text = member(object, key);
    cr_assert_str_eq(text, wanted, "%s is %s", key, text);
    free(text);
}

Test(json, numbers)
{
    cJSON *o = ruvm_json_start("test");
    ruvm_json_number(o, "third", 1.0 / 3);
    ruvm_json_number(o, "small", 0.00012345678);
    ruvm_json_number(o, "large", 123456789.0);
    ruvm_json_number(o, "zero", 0);
    ruvm_json_number(o, "infinite", 1e308 * 10);
    ruvm_json_count(o, "count", UINT64_MAX);
    ruvm_json_bool(o, "yes", true);
    expect_member(o, "schema", "\"ruvm-test/1\"");
    expect_member(o, "third", "0.333333");
    expect_member(o, "small", "0.000123457");
    expect_member(o, "large", "123457000");
    expect_member(o, "zero", "0");
    expect_member(o, "infinite", "null");
    expect_member(o, "count", "18446744073709551615");
    expect_member(o, "yes", "true");
    cJSON_Delete(o);
}

Test(json, bytes_become_utf8)
{
    cJSON *o = ruvm_json_start("test");
    ruvm_json_bytes(o, "good", "a\xC3\xA9\n\"", 5);
    ruvm_json_bytes(o, "bad", "\xFF\xC3", 2);
    ruvm_json_bytes(o, "nul", "a\0b", 3);
    ruvm_json_bytes(o, "empty", NULL, 0);
    expect_member(o, "good", "\"a\xC3\xA9\\n\\\"\"");
    expect_member(o, "bad", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    expect_member(o, "nul",
                  "\"a\xEF\xBF\xBD"
                  "b\"");
    expect_member(o, "empty", "\"\"");
    cJSON_Delete(o);
}

/* ---- tables --------------------------------------------------------------- */

static const char *const heads[] = {"name", "n"};

static struct ruvm_table filled(void)
{
    struct ruvm_table t = {.heads = heads, .align = "lr", .n_cols = 2};
    ruvm_table_cell(&t, "a,\"b\"");
    ruvm_table_cell(&t, "%d", 7);
    ruvm_table_cell(&t, "\xC3\xA9");
    ruvm_table_cell(&t, "%d", 1000);
    return t;
}

Test(table, text)
{
    struct ruvm_table t = filled();
    cr_redirect_stdout();
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    fflush(stdout);
    cr_assert_stdout_eq_str(
        "name      n\n"
        "a,\"b\"     7\n"
        "\xC3\xA9      1000\n");
    ruvm_table_free(&t);
}

Test(table, markdown)
{
    struct ruvm_table t = filled();
    cr_redirect_stdout();
    ruvm_table_print(&t, RUVM_TABLE_MARKDOWN);
    fflush(stdout);
    cr_assert_stdout_eq_str(
        "| name  |    n |\n"
        "| ----- | ---: |\n"
        "| a,\"b\" |    7 |\n"
        "| \xC3\xA9     | 1000 |\n");
    ruvm_table_free(&t);
}

Test(table, csv)
{
    struct ruvm_table t = filled();
    cr_redirect_stdout();
    ruvm_table_print(&t, RUVM_TABLE_CSV);
    fflush(stdout);
    cr_assert_stdout_eq_str(
        "name,n\n"
        "\"a,\"\"b\"\"\",7\n"
        "\xC3\xA9,1000\n");
    ruvm_table_free(&t);
}

Test(table, many_cells)
{
    struct ruvm_table t = {.heads = heads, .align = "lr", .n_cols = 2};
    for (int i = 0; i < 2000; i++)
        ruvm_table_cell(&t, "%d", i);
    cr_assert_eq(t.n_cells, 2000);
    cr_assert_str_eq(t.cells[1999], "1999");
    ruvm_table_free(&t);
}
