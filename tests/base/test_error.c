/* The first failure wins, keeps its text, and cannot play with a terminal. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/base/error.h"

Test(error, the_first_failure_wins_and_the_status_is_passed_on)
{
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_fail(&err, RUVM_ERR_CORRUPT, "a.bin: byte %d: %s", 12, "cut off"),
                 RUVM_ERR_CORRUPT);
    cr_assert_eq(ruvm_fail(&err, RUVM_ERR_IO, "later"), RUVM_ERR_IO);
    cr_assert_eq(err.code, RUVM_ERR_CORRUPT);
    cr_assert_str_eq(err.text, "a.bin: byte 12: cut off");
}

Test(error, nobody_need_listen)
{
    cr_assert_eq(ruvm_fail(NULL, RUVM_ERR_IO, "x"), RUVM_ERR_IO);
    ruvm_error_prefix(NULL, "x");
}

Test(error, a_prefix_goes_before_a_failure_only)
{
    struct ruvm_error err = {0};
    ruvm_error_prefix(&err, "a.bin");
    cr_assert_str_empty(err.text);
    ruvm_fail(&err, RUVM_ERR_CORRUPT, "byte 3: odd");
    ruvm_error_prefix(&err, "a.bin");
    cr_assert_str_eq(err.text, "a.bin: byte 3: odd");
}

Test(error, long_texts_are_cut_and_stay_terminated)
{
    char text[3 * sizeof((struct ruvm_error *)0)->text];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    struct ruvm_error err = {0};
    ruvm_fail(&err, RUVM_ERR_CORRUPT, "%s", text);
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
    ruvm_error_prefix(&err, "a");
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
    cr_assert_eq(strncmp(err.text, "a: xxx", 6), 0);
    ruvm_error_prefix(&err, text);
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
}

Test(error, control_characters_of_names_are_hidden)
{
    struct ruvm_error err = {0};
    ruvm_fail(&err, RUVM_ERR_CORRUPT, "tensor \"%s\"\nand more", "\x1b[2J\r\x7fok\xc3\xa4");
    ruvm_error_prefix(&err, "\x1b]0;title\a");
    cr_assert_str_eq(err.text, "?]0;title?: tensor \"?[2J??ok\xc3\xa4\"\nand more");
}
