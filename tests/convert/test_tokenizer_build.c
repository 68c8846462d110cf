/* The `tokn` section, read back by offsets of the layout alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/convert/tokenizer_build.h"
#include "tests/support/tiny_model.h"

#define PIECE(text_, score_, kind_)                                                                \
    {                                                                                              \
        .text = (const uint8_t *)(text_), .n_bytes = sizeof(text_) - 1, .score = (score_),         \
        .kind = RUVM_PIECE_##kind_                                                                 \
    }

static struct ruvm_piece pieces[] = {
    PIECE("<unk>", 0, CONTROL), PIECE("<s>", 0, CONTROL),  PIECE("", -1, NORMAL),
    PIECE("b", -7, NORMAL),     PIECE("ab", -2, NORMAL),   PIECE("a", -7, NORMAL),
    PIECE("a", 5, BYTE),        PIECE("\xff", -2, NORMAL), PIECE("ab", 3.5f, NORMAL),
    PIECE("abc", -100, NORMAL), PIECE("\0", 0, BYTE),
};
enum { N = sizeof pieces / sizeof *pieces };
static const struct ruvm_vocab vocab = {
    .pieces = pieces, .n_pieces = N, .bos = 1, .eos = RUVM_VOCAB_NONE, .unk = 0, .add_bos = true};

struct arrays {
    const uint8_t *off, *rank, *sorted, *byte_id, *kind, *n_sorted, *text;
    size_t size;
};

static struct arrays arrays_of(const struct ruvm_buffer *b, size_t n)
{
    struct arrays a = {.off = b->data + RUVM_TOKN_ARRAYS, .size = b->size};
    a.rank = a.off + 4 * (n + 1);
    a.sorted = a.rank + 2 * n;
    a.byte_id = a.sorted + 2 * n;
    a.kind = a.byte_id + 512;
    a.n_sorted = a.kind + n + n % 2;
    a.text = a.n_sorted + 2;
    return a;
}

static uint16_t at(const uint8_t *array, size_t i)
{
    return ruvm_load_u16(array + 2 * i);
}

Test(tokenizer_build, header)
{
    struct ruvm_buffer b = {0};
    cr_assert_eq(ruvm_tokenizer_build(&b, &vocab, NULL), RUVM_OK);
    cr_assert_eq(b.data[RUVM_TOKN_KIND], 1);
    cr_assert_eq(b.data[RUVM_TOKN_FLAGS], RUVM_TOKN_FLAG_ADD_BOS);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_TOKN_N_PIECES), N);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_TOKN_BOS), 1);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_TOKN_EOS), RUVM_NO_TOKEN);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_TOKN_UNK), 0);
    cr_assert_eq(ruvm_load_u16(b.data + RUVM_TOKN_MAX_PIECE), 5, "<unk>");
    cr_assert_eq(ruvm_load_u32(b.data + RUVM_TOKN_TEXT_BYTES), 20);
    struct arrays a = arrays_of(&b, N);
    cr_assert_eq(a.text + 20 - b.data, (ptrdiff_t)b.size, "the text is last");
    ruvm_buffer_free(&b);
}

Test(tokenizer_build, texts_stand_in_order_of_ids)
{
    struct ruvm_buffer b = {0};
    ruvm_tokenizer_build(&b, &vocab, NULL);
    struct arrays a = arrays_of(&b, N);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t off = ruvm_load_u32(a.off + 4 * i), end = ruvm_load_u32(a.off + 4 * i + 4);
        cr_assert_eq(end - off, pieces[i].n_bytes);
        cr_assert(memcmp(a.text + off, pieces[i].text, end - off) == 0);
        cr_assert_eq(a.kind[i], pieces[i].kind);
    }
    ruvm_buffer_free(&b);
}

Test(tokenizer_build, ranks_are_dense_and_equal_for_equal_scores)
{
    static const uint16_t expected[N] = {2, 2, 3, 5, 4, 5, 0, 4, 1, 6, 2};
    struct ruvm_buffer b = {0};
    ruvm_tokenizer_build(&b, &vocab, NULL);
    struct arrays a = arrays_of(&b, N);
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(at(a.rank, i), expected[i], "id %u: rank %u", i, at(a.rank, i));
    ruvm_buffer_free(&b);
}

Test(tokenizer_build, findable_pieces_are_sorted_by_bytes_then_id)
{
    static const uint16_t expected[N] = {5, 4, 8, 9, 3, 7, 0, 1, 2, 6, 10};
    struct ruvm_buffer b = {0};
    ruvm_tokenizer_build(&b, &vocab, NULL);
    struct arrays a = arrays_of(&b, N);
    cr_assert_eq(ruvm_load_u16(a.n_sorted), 6);
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(at(a.sorted, i), expected[i], "place %u: id %u", i, at(a.sorted, i));
    ruvm_buffer_free(&b);
}

Test(tokenizer_build, a_byte_prefers_its_own_piece)
{
    struct ruvm_buffer b = {0};
    ruvm_tokenizer_build(&b, &vocab, NULL);
    struct arrays a = arrays_of(&b, N);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t expected = byte == 'a'    ? 6
                            : byte == 'b'  ? 3
                            : byte == 0xFF ? 7
                            : byte == 0    ? 10
                                           : RUVM_NO_TOKEN;
        cr_assert_eq(at(a.byte_id, byte), expected, "byte %u", byte);
    }
    ruvm_buffer_free(&b);
}

Test(tokenizer_build, an_even_number_of_pieces_needs_no_padding)
{
    struct ruvm_vocab even = vocab;
    struct ruvm_buffer b = {0};
    even.n_pieces = N - 1;
    cr_assert_eq(ruvm_tokenizer_build(&b, &even, NULL), RUVM_OK);
    struct arrays a = arrays_of(&b, N - 1);
    cr_assert_eq(ruvm_load_u16(a.n_sorted), 6);
    cr_assert_eq(a.text + 19 - b.data, (ptrdiff_t)b.size);
    ruvm_buffer_free(&b);
}

Test(tokenizer_build, refuses_what_the_section_cannot_hold)
{
    struct ruvm_error err = {0};
    struct ruvm_piece big[] = {
        {.text = (const uint8_t *)"", .n_bytes = 70000, .kind = RUVM_PIECE_NORMAL}};
    struct ruvm_vocab v = {.pieces = big, .n_pieces = 1};
    struct ruvm_buffer b = {0};
    cr_assert_eq(ruvm_tokenizer_build(&b, &v, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "70000"), "%s", err.text);
    ruvm_buffer_free(&b);
}
