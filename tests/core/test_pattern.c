/* Words of the regular expressions, by hand; tests/tokens/ compares them with the expressions
 * themselves. */
#include <criterion/criterion.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/core/pattern.h"
#include "lib/core/unicode.h"

enum {
    GPT2 = RUVM_PATTERN(RUVM_PATTERN_GPT2, 0),
    LLAMA3 = RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3),
    QWEN2 = RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1),
    DIGITS = RUVM_PATTERN(RUVM_PATTERN_GPT2, 1) | RUVM_PATTERN_SPLIT_DIGITS,
};

/* The words with a | behind each. */
static void check(unsigned pattern, const char *text, const char *expected)
{
    char found[200];
    size_t n = strlen(text), at = 0, used = 0;
    while (at < n) {
        size_t word = ruvm_pattern_word(pattern, (const uint8_t *)text + at, n - at);
        cr_assert(word >= 1 && word <= n - at);
        memcpy(found + used, text + at, word);
        at += word;
        used += word;
        found[used++] = '|';
    }
    found[used] = '\0';
    cr_assert_str_eq(found, expected, "pattern %u: %s for %s", pattern, found, expected);
}

Test(pattern, gpt2)
{
    check(GPT2, "It's a  test", "It|'s| a| | test|");
    check(GPT2, "we'LL don't", "we|'|LL| don|'t|");
    check(GPT2, "x12345 6", "x|12345| 6|");
    check(GPT2, "a\n\n b \n", "a|\n\n| b| \n|");
    check(GPT2, "!? !? ...", "!?| !?| ...|");
    check(GPT2, "  ", "  |");
    check(GPT2, " ", " |");
    check(GPT2, "\xc3\xa9t\xc3\xa9 \xe4\xb8\xad", "\xc3\xa9t\xc3\xa9| \xe4\xb8\xad|");
}

Test(pattern, llama3_and_qwen2)
{
    check(LLAMA3, "IT'S we'Re", "IT|'S| we|'Re|");
    check(LLAMA3, "1234567", "123|456|7|");
    check(QWEN2, " 1234", " |1|2|3|4|");
    check(LLAMA3, "(foo) bar", "(foo|)| bar|");
    check(LLAMA3, "a \n\n  b", "a| \n\n| | b|");
    check(LLAMA3, "end.\n\nNext", "end|.\n\n|Next|");
    check(LLAMA3, " \r\n\t", " \r\n|\t|");
    check(LLAMA3, "'\xc5\xbf", "'\xc5\xbf|");
}

Test(pattern, digits_first)
{
    check(DIGITS, "a 12b", "a| |1|2|b|");
    check(DIGITS, "a  1", "a|  |1|");
}

Test(pattern, what_is_no_utf8_is_in_no_class)
{
    check(GPT2, "a\xff\x80 \xc3", "a|\xff\x80| \xc3|");
    check(LLAMA3,
          "\xf5"
          "a",
          "\xf5"
          "a|");
}

Test(pattern, without_a_family_all_is_a_word)
{
    check(RUVM_PATTERN_NONE, "a b 1", "a b 1|");
}

Test(unicode, classes)
{
    static const struct {
        uint32_t c;
        int class;
    } cases[] = {
        {0, RUVM_UNICODE_OTHER},        {' ', RUVM_UNICODE_SPACE},
        {'A', RUVM_UNICODE_LETTER},     {'_', RUVM_UNICODE_OTHER},
        {0xAA, RUVM_UNICODE_LETTER},    {0xB2, RUVM_UNICODE_NUMBER},
        {0x85, RUVM_UNICODE_SPACE},     {0x301, RUVM_UNICODE_OTHER},
        {0x660, RUVM_UNICODE_NUMBER},   {0x4E2D, RUVM_UNICODE_LETTER},
        {0x2167, RUVM_UNICODE_NUMBER},  {0x3000, RUVM_UNICODE_SPACE},
        {0xFFFD, RUVM_UNICODE_OTHER},   {0x1F600, RUVM_UNICODE_OTHER},
        {0x20000, RUVM_UNICODE_LETTER}, {0x3FFFF, RUVM_UNICODE_OTHER},
        {0x10FFFF, RUVM_UNICODE_OTHER}, {UINT32_MAX, RUVM_UNICODE_OTHER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(ruvm_unicode_class(cases[i].c), cases[i].class, "U+%04X", cases[i].c);
}
