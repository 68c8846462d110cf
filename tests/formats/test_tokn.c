/* Every rule of what stands behind the text of a tokn section, broken once. */
#include <criterion/criterion.h>
#include <string.h>

#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "tests/support/tokn.h"

#define PIECE(text_, kind_)                                                                        \
    {                                                                                              \
        .text = (const uint8_t *)(text_), .n_bytes = sizeof(text_) - 1, .kind = RUVM_PIECE_##kind_ \
    }

static struct ruvm_piece pieces[] = {PIECE("a", NORMAL),  PIECE("b", NORMAL),
                                     PIECE("ab", NORMAL), PIECE("<s>", CONTROL),
                                     PIECE("#", ADDED),   PIECE("aab", NORMAL)};
enum { N = sizeof pieces / sizeof *pieces };
static struct ruvm_merge merges[] = {{0, 1, 2}, {0, 2, 5}};
static const struct ruvm_vocab vocab = {.pieces = pieces,
                                        .n_pieces = N,
                                        .bos = 3,
                                        .eos = RUVM_VOCAB_NONE,
                                        .unk = RUVM_VOCAB_NONE,
                                        .kind = RUVM_TOKN_MERGES,
                                        .options = RUVM_TOKN_BYTE_LEVEL,
                                        .pattern = RUVM_PATTERN(RUVM_PATTERN_GPT2, 0),
                                        .merges = merges,
                                        .n_merges = 2,
                                        .ends = {4},
                                        .n_ends = 1,
                                        .chat = "hi"};

static struct tokn tok;
static size_t more; /* offset of what is behind the text */

static void open_tokn(void)
{
    struct ruvm_error err = {0};
    struct ruvm_tokn t;
    cr_assert_eq(tokn_build(&tok, &vocab, &err), RUVM_OK, "%s", err.text);
    ruvm_tokn_open(&t, tok.section.data);
    more = (size_t)(t.more - tok.section.data);
    cr_assert_eq(more % 4, 0);
}

static void close_tokn(void)
{
    tokn_close(&tok);
}

TestSuite(tokn, .init = open_tokn, .fini = close_tokn);

static void breach(size_t off, uint16_t value, unsigned n_bytes, int rc, const char *what)
{
    struct ruvm_image_fault fault = {.what = ""};
    struct ruvm_buffer copy = {0};
    ruvm_buffer_bytes(&copy, tok.section.data, tok.section.size);
    if (n_bytes == 2)
        ruvm_store_u16(copy.data + off, value);
    else
        copy.data[off] = (uint8_t)value;
    cr_assert_eq(tokn_check(&copy, N, &fault), rc, "byte %zu: %s", off, fault.what);
    cr_assert_str_eq(fault.what, what, "byte %zu", off);
    ruvm_buffer_free(&copy);
}

Test(tokn, every_rule_is_checked)
{
    const size_t special = more + RUVM_MORE_ARRAYS, end = special + 4, merge = end + 2;
    const int bad = RUVM_ERR_CORRUPT, new = RUVM_ERR_UNSUPPORTED;
    breach(RUVM_TOKN_KIND, 4, 1, new, "kind of tokenizer");
    breach(RUVM_TOKN_FLAGS, 8, 1, new, "flags");
    breach(RUVM_TOKN_FLAGS, 0, 1, bad, "the section ends too early for its kind of tokenizer");
    breach(RUVM_TOKN_FLAGS, 6, 1, new, "a space before bytes");
    breach(more - 1, 1, 1, bad, "padding");
    breach(more + RUVM_MORE_PATTERN, 4, 1, new, "family of the pattern is not known");
    breach(more + RUVM_MORE_PATTERN, 128, 1, new, "pattern");
    breach(more + RUVM_MORE_PATTERN, 3, 1, new, "pattern is for another kind of tokenizer");
    breach(more + RUVM_MORE_OPTIONS, 256, 2, new, "options");
    breach(more + RUVM_MORE_OPTIONS, 0, 2, new, "pattern is for another kind of tokenizer");
    breach(more + RUVM_MORE_UNK_SCORE, 1, 2, bad, "score of another kind of tokenizer");
    breach(more + RUVM_MORE_CHAT_BYTES, 3, 2, bad, "size of the section");
    breach(special, 6, 2, bad, "special token");
    breach(special, 0, 2, bad, "token is not special");
    breach(special, 3, 2, bad, "special tokens are not in order");
    breach(end, 6, 2, bad, "token that ends a text");
    breach(merge, 6, 2, bad, "left part of a merge");
    breach(merge + 2, 6, 2, bad, "right part of a merge");
    breach(merge + 4, 6, 2, bad, "result of a merge");
    breach(merge + 4, 5, 2, bad, "result of a merge is not its two parts");
    breach(merge + 6, 2, 2, bad, "rank of a merge");
    breach(merge + 16, 0xFF, 1, bad, "text is not UTF-8");
}

Test(tokn, merges_are_in_order_and_specials_complete)
{
    const size_t merge = more + RUVM_MORE_ARRAYS + 6;
    struct ruvm_image_fault fault;
    memcpy(tok.section.data + merge + 8, tok.section.data + merge, 8);
    cr_assert_eq(tokn_check(&tok.section, N, &fault), RUVM_ERR_CORRUPT);
    cr_assert_str_eq(fault.what, "merges are not in order");
    tok.section.data[more + RUVM_MORE_N_SPECIAL] = 1; /* the other one is an end now */
    tok.section.data[more + RUVM_MORE_N_ENDS] = 2;
    cr_assert_eq(tokn_check(&tok.section, N, &fault), RUVM_ERR_CORRUPT);
    cr_assert_str_eq(fault.what, "number of special tokens");
}

Test(tokn, truncated)
{
    struct ruvm_image_fault fault;
    struct ruvm_buffer part = tok.section;
    for (part.size = 0; part.size < tok.section.size; part.size++) {
        struct ruvm_buffer copy = {0};
        ruvm_buffer_bytes(&copy, part.data, part.size);
        if (part.size > 0)
            cr_assert_neq(tokn_check(&copy, N, &fault), RUVM_OK, "%zu bytes", part.size);
        ruvm_buffer_free(&copy);
    }
}

Test(tokn, a_unigram_tokenizer_has_short_pieces_and_an_unknown_token_of_its_own)
{
    static const uint8_t text[200];
    struct ruvm_piece two[] = {PIECE("a", NORMAL),
                               {.text = text, .n_bytes = 128, .kind = RUVM_PIECE_NORMAL}};
    struct ruvm_vocab v = {.pieces = two,
                           .n_pieces = 2,
                           .kind = RUVM_TOKN_UNIGRAM,
                           .bos = RUVM_VOCAB_NONE,
                           .eos = RUVM_VOCAB_NONE,
                           .unk = RUVM_VOCAB_NONE};
    struct ruvm_error err = {0};
    struct tokn other = {0};
    cr_assert_eq(tokn_build(&other, &v, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "128 bytes"), "%s", err.text);
    err = (struct ruvm_error){0};
    two[1].n_bytes = 127;
    v.unk = 0;
    cr_assert_eq(tokn_build(&other, &v, &err), RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "unknown token is found in texts"), "%s", err.text);
    tokn_close(&other);
}

Test(tokn, more_tokens_than_an_image_holds_can_be_pruned)
{
    struct ruvm_vocab v = vocab;
    struct ruvm_error err = {0};
    struct ruvm_arena arena = {0};
    cr_assert_eq(ruvm_vocab_pad(&v, &arena, 70000, &err), RUVM_OK);
    struct tokn other = {0};
    cr_assert_eq(tokn_build(&other, &v, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "--vocab-prune"), "%s", err.text);
    tokn_close(&other);
    ruvm_arena_free(&arena);
}
