/* Tokenizers with merges, words, special tokens, scores: small ones, by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/tokn.h"

#define PIECE(text_, score_, kind_)                                                                \
    {                                                                                              \
        .text = (const uint8_t *)(text_), .n_bytes = sizeof(text_) - 1, .score = (score_),         \
        .kind = RUVM_PIECE_##kind_                                                                 \
    }
#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct tokn tok;

static void close_tokn(void)
{
    tokn_close(&tok);
}

TestSuite(kinds, .fini = close_tokn);

static void build(const struct ruvm_vocab *v)
{
    struct ruvm_error err = {0};
    cr_assert_eq(tokn_build(&tok, v, &err), RUVM_OK, "%s", err.text);
}

static void check(const char *text, unsigned flags, const char *expected)
{
    uint16_t ids[64];
    char found[300] = "";
    size_t n = strlen(text), used = 0;
    int got = ruvm_encode(&tok.t, ids, RUVM_MAX_TOKENS(n), text, n, flags);
    cr_assert_geq(got, 0, "%s", text);
    for (int i = 0; i < got; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%u", i ? " " : "", ids[i]);
    cr_assert_str_eq(found, expected, "\"%s\": %s for %s", text, found, expected);
}

/* ---- bytes and merges ------------------------------------------------------------ */

static struct ruvm_piece bytes[] = {
    PIECE("a", 0, NORMAL),    PIECE("b", 0, NORMAL),  PIECE(" ", 0, NORMAL),
    PIECE("ab", 0, NORMAL),   PIECE(" a", 0, NORMAL), PIECE("abb", 0, NORMAL),
    PIECE("<s>", 0, CONTROL), PIECE("::", 0, ADDED),  PIECE("<end>", 0, CONTROL),
    PIECE(":::", 0, ADDED),   PIECE("ba", 0, NORMAL),
};
static struct ruvm_merge merges[] = {{2, 0, 4}, {0, 1, 3}, {3, 1, 5}};
static const struct ruvm_vocab byte_level = {.pieces = bytes,
                                             .n_pieces = COUNT(bytes),
                                             .bos = 6,
                                             .eos = RUVM_VOCAB_NONE,
                                             .unk = RUVM_VOCAB_NONE,
                                             .add_bos = true,
                                             .kind = RUVM_TOKN_MERGES,
                                             .pattern = RUVM_PATTERN(RUVM_PATTERN_GPT2, 0),
                                             .options = RUVM_TOKN_BYTE_LEVEL,
                                             .merges = merges,
                                             .n_merges = COUNT(merges),
                                             .ends = {8},
                                             .n_ends = 1,
                                             .chat = "{{ messages }}"};

Test(kinds, merges_by_their_list_within_words)
{
    build(&byte_level);
    check("", 0, "6");
    check("ab", 0, "6 3");
    check("abb ab", 0, "6 5 4 1");
    check("baba", RUVM_ENCODE_PLAIN, "1 3 0");
    check("a  ab", RUVM_ENCODE_PLAIN, "0 2 4 1");
}

Test(kinds, whole_words_need_no_merges)
{
    struct ruvm_vocab v = byte_level;
    v.options |= RUVM_TOKN_WHOLE_WORDS;
    build(&v);
    check("ba", RUVM_ENCODE_PLAIN, "10");
    check("bab", RUVM_ENCODE_PLAIN, "1 3");
}

Test(kinds, added_tokens_always_and_control_tokens_when_asked)
{
    build(&byte_level);
    check("a::b:::ab", RUVM_ENCODE_PLAIN, "0 7 1 9 3");
    check("::::::", RUVM_ENCODE_PLAIN, "9 9");
    check("a<end>b", RUVM_ENCODE_PLAIN | RUVM_ENCODE_SPECIAL, "0 8 1");
    uint16_t ids[16];
    cr_assert_eq(ruvm_encode(&tok.t, ids, 16, "a<end>b", 7, RUVM_ENCODE_PLAIN),
                 RUVM_ERR_UNSUPPORTED, "else it is text, which this vocabulary cannot say");
}

Test(kinds, ends_and_template)
{
    build(&byte_level);
    cr_assert(ruvm_is_end(&tok.t, 6) && ruvm_is_end(&tok.t, 8) && !ruvm_is_end(&tok.t, 7));
    cr_assert_eq(tok.t.chat_bytes, strlen(byte_level.chat));
    cr_assert(memcmp(tok.t.chat, byte_level.chat, tok.t.chat_bytes) == 0);
    size_t n;
    ruvm_decode(&tok.t, 0, 8, &n);
    cr_assert_eq(n, 0);
    cr_assert(memcmp(ruvm_decode(&tok.t, 0, 9, &n), ":::", 3) == 0 && n == 3);
}

/* ---- characters ----------------------------------------------------------------------- */

static struct ruvm_piece words[] = {
    PIECE("<unk>", 0, CONTROL), PIECE("<s>", 0, CONTROL), PIECE(" ", -1, NORMAL),
    PIECE("a", -2, NORMAL),     PIECE(" a", -3, NORMAL),  PIECE("a a", -4, NORMAL),
    PIECE("#", 0, ADDED),       PIECE("##", 0, ADDED),    PIECE("  ", -5, NORMAL),
};
static const struct ruvm_vocab spaced = {.pieces = words,
                                         .n_pieces = COUNT(words),
                                         .bos = 1,
                                         .eos = RUVM_VOCAB_NONE,
                                         .unk = 0,
                                         .add_bos = true,
                                         .space_prefix = true,
                                         .specials = true,
                                         .options = RUVM_TOKN_METASPACE};

Test(kinds, spaces_before_texts_and_behind_special_tokens)
{
    build(&spaced);
    check("a", 0, "1 4");
    check(" a", 0, "1 2 4");
    check("a##a", 0, "1 4 7 4");
    check("a#a", 0, "1 4 6 3"); /* behind one byte there is no room for it */
    check("a<s>a", RUVM_ENCODE_SPECIAL, "1 4 1 4");
    check("#a#a#a#", 0, "1 6 3 6 3 6 3 6");
    check(
        "a\xe2\x96\x81"
        "a",
        RUVM_ENCODE_PLAIN, "5"); /* "a a" */
}

Test(kinds, spaces_as_the_options_say)
{
    struct ruvm_vocab v = spaced;
    v.options = RUVM_TOKN_FIRST_PREFIX | RUVM_TOKN_SPARE_PREFIX;
    build(&v);
    check(" a##a", 0, "1 4 7 3");
    tokn_close(&tok);
    v.options = RUVM_TOKN_FEW_SPACES | RUVM_TOKN_LINE_SPACES;
    build(&v);
    check("  a \n  a\t", 0, "1 4 4");
    check("   ", 0, "1");
    tokn_close(&tok);
    v.options = 0;
    v.pattern = RUVM_PATTERN_SPACES;
    build(&v);
    check("a  a", 0, "1 4 2 4");
}

Test(kinds, unknown_characters)
{
    struct ruvm_vocab v = spaced;
    build(&v);
    check("a\xc3\xa9\xc3\xa9", RUVM_ENCODE_PLAIN, "3 0 0");
    tokn_close(&tok);
    v.options = RUVM_TOKN_FUSE_UNKNOWN;
    build(&v);
    check(
        "a\xc3\xa9\xc3\xa9"
        "a",
        RUVM_ENCODE_PLAIN, "3 0 3");
}

/* ---- Unigram ----------------------------------------------------------------------------- */

static struct ruvm_piece scored[] = {
    PIECE("<unk>", 0, CONTROL),    PIECE("a", -3, NORMAL),   PIECE("b", -3, NORMAL),
    PIECE("ab", -4, NORMAL),       PIECE("abb", -8, NORMAL), PIECE("bb", -3.5f, NORMAL),
    PIECE("\xc3\xa9", -2, NORMAL), PIECE("\xc3", 0, BYTE),   PIECE("\xa8", 0, BYTE),
    PIECE(" ", -2, NORMAL),
};
static const struct ruvm_vocab likely = {.pieces = scored,
                                         .n_pieces = COUNT(scored),
                                         .bos = RUVM_VOCAB_NONE,
                                         .eos = RUVM_VOCAB_NONE,
                                         .unk = 0,
                                         .kind = RUVM_TOKN_UNIGRAM};

Test(kinds, the_best_sum_of_scores)
{
    build(&likely);
    check("", 0, "");
    check("ab", 0, "3");
    check("abb", 0, "1 5"); /* -6.5; ab b is -7, abb -8 */
    check("abbb", 0, "3 5");
    check("\xc3\xa9", 0, "6");
}

Test(kinds, characters_that_no_piece_holds)
{
    build(&likely);
    check("a\xc3\xa8", 0, "1 7 8");
    check(
        "a\xc3\xaa"
        "b",
        0, "1 0 2");
    check("zzz", 0, "0");
    check("azzb", 0, "1 0 2");
}

Test(kinds, long_texts)
{
    static char text[4001];
    static uint16_t ids[RUVM_MAX_TOKENS(4000)];
    memset(text, 'b', 4000);
    build(&likely);
    int n = ruvm_encode(&tok.t, ids, RUVM_MAX_TOKENS(4000), text, 4000, 0);
    cr_assert_eq(n, 2000);
    for (int i = 0; i < n; i++)
        cr_assert_eq(ids[i], 5);
}
