/* Words of a text: cutting, folding and stems, from texts written by hand. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/vector/words.h"

/* The words of a text, joined by blanks. */
static const char *words_of(const char *text, size_t n)
{
    static char out[512];
    struct ruvm_words w = ruvm_words_over(text, n);
    size_t used = 0;
    while (ruvm_words_next(&w)) {
        cr_assert(w.start < w.at && w.at <= n);
        memcpy(out + used, w.word, w.n_word);
        used += w.n_word;
        out[used++] = ' ';
    }
    out[used ? used - 1 : 0] = '\0';
    return out;
}

Test(words, are_runs_of_letters_and_digits)
{
    static const char *const cases[][2] = {
        {"", ""},
        {" .,-", ""},
        {"The cat, the HAT: 42!", "the cat the hat 42"},
        {"foo_bar/baz2", "foo bar baz2"},
        {"\xC3\x89t\xC3\xA9 Stra\xC3\x9F\x65 \xC5\x81\xC3\xB3\x64\xC5\xBA", "ete strase lodz"},
        {"e\xCC\x81t\xC3\xA9", "ete"},                             /* an accent apart */
        {"\xD0\x9C\xD0\x98\xD0\xA0", "\xD0\xBC\xD0\xB8\xD1\x80"},  /* Cyrillic */
        {"\xE6\x97\xA5\xE6\x9C\xAC", "\xE6\x97\xA5 \xE6\x9C\xAC"}, /* no spaces */
        {"a\xE6\x97\xA5z", "a \xE6\x97\xA5 z"},
        {"ab\xFF\x63\xC3", "ab c"}, /* bytes that are no UTF-8 separate */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(words_of(cases[i][0], strlen(cases[i][0])), cases[i][1]);
}

/* The places of hashes that are there, and none for what is below, between and above them. */
Test(words, are_found_by_their_hashes)
{
    uint8_t hashes[7 * 4];
    for (uint32_t i = 0; i < 7; i++)
        ruvm_store_u32(hashes + 4 * (size_t)i, 0x20000000u * i + 5);
    for (uint32_t n = 0; n <= 7; n++)
        for (uint32_t i = 0; i <= 7; i++) {
            uint32_t hash = 0x20000000u * i + 5;
            cr_expect_eq(ruvm_words_find(hashes, n, hash), i < n ? i : n);
            cr_expect_eq(ruvm_words_find(hashes, n, hash - 1), n);
            cr_expect_eq(ruvm_words_find(hashes, n, hash + 1), n);
        }
}

Test(words, that_are_long_are_cut_at_a_character)
{
    char text[300];
    memset(text, 'x', sizeof text);
    for (size_t i = 63; i < 280; i += 2)
        memcpy(text + i, "\xD0\xBC", 2);
    struct ruvm_words w = ruvm_words_over(text, 279);
    cr_assert(ruvm_words_next(&w));
    cr_expect_eq(w.n_word, 63);
    cr_expect_eq(w.at, 279);
    cr_expect_not(ruvm_words_next(&w));
}

Test(words, of_one_stem_meet)
{
    static const char *const same[][2] = {
        {"searching", "searches"}, {"loaded", "loading"}, {"batteries", "battery"},
        {"stopped", "stop"},       {"classes", "class"},  {"files", "FILE"},
        {"addressing", "address"},
    };
    static const char *const other[][2] = {
        {"ring", "r"}, {"bus", "bu"}, {"red", "r"}, {"123s", "123"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct ruvm_words a = ruvm_words_over(same[i][0], strlen(same[i][0]));
        struct ruvm_words b = ruvm_words_over(same[i][1], strlen(same[i][1]));
        cr_assert(ruvm_words_next(&a) && ruvm_words_next(&b));
        cr_expect_eq(a.stem, b.stem, "%s, %s", same[i][0], same[i][1]);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        struct ruvm_words a = ruvm_words_over(other[i][0], strlen(other[i][0]));
        struct ruvm_words b = ruvm_words_over(other[i][1], strlen(other[i][1]));
        cr_assert(ruvm_words_next(&a) && ruvm_words_next(&b));
        cr_expect_neq(a.stem, b.stem, "%s, %s", other[i][0], other[i][1]);
    }
}

/* Any bytes: the walk ends, and never reads behind them. */
Test(words, of_any_bytes_end)
{
    uint32_t state = 1;
    for (int round = 0; round < 2000; round++) {
        uint8_t text[40];
        size_t n = (size_t)round % sizeof text, steps = 0;
        for (size_t i = 0; i < n; i++)
            text[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
        struct ruvm_words w = ruvm_words_over(text, n);
        while (ruvm_words_next(&w)) {
            cr_assert(w.n_word > 0 && w.n_word <= RUVM_WORDS_MAX);
            cr_assert(++steps <= n);
        }
        cr_assert_eq(w.at, n);
    }
}
