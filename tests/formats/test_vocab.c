/* tokenizer.bin: what its pieces become, and what is said about broken ones. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/vocab.h"
#include "lib/base/buffer.h"
#include "lib/base/file.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ruvm_vocab vocab;
static struct ruvm_arena arena;
static struct ruvm_error err;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(vocab, .fini = fini);

static void put_piece(struct ruvm_buffer *b, float score, const char *text)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    ruvm_buffer_u32(b, bits);
    ruvm_buffer_u32(b, (uint32_t)strlen(text));
    ruvm_buffer_bytes(b, text, strlen(text));
}

static void put_start(struct ruvm_buffer *b)
{
    ruvm_buffer_u32(b, 7);
    put_piece(b, 0, "<unk>");
    put_piece(b, 0, "\n<s>\n");
    put_piece(b, 0, "\n</s>\n");
}

static void check_piece(unsigned id, enum ruvm_piece_kind kind, const char *text, size_t n_bytes)
{
    const struct ruvm_piece *p = &vocab.pieces[id];
    cr_assert_eq(p->kind, kind, "piece %u", id);
    cr_assert_eq(p->n_bytes, n_bytes, "piece %u", id);
    cr_assert(memcmp(p->text, text, n_bytes) == 0, "piece %u", id);
}

Test(vocab, pieces_get_their_kinds_texts_and_scores)
{
    struct ruvm_buffer b = {0};
    put_start(&b);
    put_piece(&b, 0, "<0x00>");
    put_piece(&b, 0, "<0xfF>");
    put_piece(&b, -1.5f, "the");
    put_piece(&b, -2, "A");
    put_piece(&b, -3, "<0xG0>");
    put_piece(&b, -4, "<0x1>");
    put_piece(&b, -5, "");
    cr_assert_eq(ruvm_vocab_read(&vocab, &arena, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.n_pieces, 10);
    check_piece(0, RUVM_PIECE_CONTROL, "<unk>", 5);
    check_piece(1, RUVM_PIECE_CONTROL, "\n<s>\n", 5);
    check_piece(2, RUVM_PIECE_CONTROL, "\n</s>\n", 6);
    check_piece(3, RUVM_PIECE_BYTE, "\0", 1);
    check_piece(4, RUVM_PIECE_BYTE, "\xff", 1);
    check_piece(5, RUVM_PIECE_NORMAL, "the", 3);
    check_piece(6, RUVM_PIECE_NORMAL, "A", 1);
    check_piece(7, RUVM_PIECE_NORMAL, "<0xG0>", 6);
    check_piece(8, RUVM_PIECE_NORMAL, "<0x1>", 5);
    check_piece(9, RUVM_PIECE_CONTROL, "", 0);
    cr_assert_float_eq(vocab.pieces[5].score, -1.5f, 0);
    cr_assert(vocab.unk == 0 && vocab.bos == 1 && vocab.eos == 2);
    cr_assert(vocab.add_bos && vocab.space_prefix);
    ruvm_buffer_free(&b);
}

/* A piece may hold any byte, NUL too; and a control id is control whatever it spells. */
Test(vocab, texts_are_bytes)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_u32(&b, 6);
    for (int i = 0; i < 3; i++)
        put_piece(&b, 0, "<0x41>");
    ruvm_buffer_u32(&b, 0);
    ruvm_buffer_u32(&b, 3);
    ruvm_buffer_bytes(&b, "a\0b", 3);
    cr_assert_eq(ruvm_vocab_read(&vocab, &arena, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    check_piece(2, RUVM_PIECE_CONTROL, "<0x41>", 6);
    check_piece(3, RUVM_PIECE_NORMAL, "a\0b", 3);
    ruvm_buffer_free(&b);
}

static const struct {
    const char *file;
    int code;
    const char *text; /* in the message */
} verdicts[] = {
    {"good", RUVM_OK, ""},
    {"bytes", RUVM_OK, ""},
    {"piece-empty", RUVM_OK, ""},
    {"byte-lower", RUVM_OK, ""},
    {"byte-wrong", RUVM_OK, ""},
    {"empty", RUVM_ERR_CORRUPT,
     "only 0 pieces, but unknown, BOS and EOS alone are 3 (expected "
     "a llama2.c tokenizer.bin, this looks like an empty file)"},
    {"short", RUVM_ERR_CORRUPT, "byte 0: 3 bytes are too few for piece 0"},
    {"no-pieces", RUVM_ERR_CORRUPT, "only 0 pieces"},
    {"two-pieces", RUVM_ERR_CORRUPT, "only 2 pieces"},
    {"truncated-text", RUVM_ERR_CORRUPT, "but only 0 are left"},
    {"truncated-header", RUVM_ERR_CORRUPT, "byte 4: 5 bytes are too few for piece 0"},
    {"trailing", RUVM_ERR_CORRUPT, "3 bytes are too few for piece 12"},
    {"length-huge", RUVM_ERR_CORRUPT, "byte 4: piece 0 has 2147483647 bytes, but only"},
    {"length-negative", RUVM_ERR_CORRUPT, "piece 0 has 4294967295 bytes"},
    {"longest-small", RUVM_ERR_CORRUPT, "piece 0 has 5 bytes, but by byte 0 the longest has 1"},
    {"score-nan", RUVM_ERR_CORRUPT, "byte 4: the score of piece 0 is not a number"},
    {"html", RUVM_ERR_CORRUPT, "this looks like an HTML page"},
};

Test(vocab, each_file_of_the_corpus_gets_its_verdict)
{
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        char path[128];
        struct ruvm_map map;
        err = (struct ruvm_error){0};
        snprintf(path, sizeof path, "tests/fuzz/corpus/vocab/%s", verdicts[i].file);
        cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
        int rc = ruvm_vocab_read(&vocab, &arena, map.data, map.size, &err);
        cr_expect_eq(rc, verdicts[i].code, "%s: %d %s", path, rc, err.text);
        cr_expect(strstr(err.text, verdicts[i].text), "%s: %s", path, err.text);
        ruvm_file_unmap(&map);
    }
}

/* Cut between two pieces the file is a smaller, valid one; anywhere else it is refused. */
Test(vocab, a_truncated_file_is_refused_unless_cut_between_pieces)
{
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, "tests/fuzz/corpus/vocab/good", NULL), RUVM_OK);
    unsigned n_good = 0;
    for (size_t size = 0; size < map.size; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, map.data, size);
        n_good += ruvm_vocab_read(&vocab, &arena, copy, size, NULL) == RUVM_OK;
        free(copy);
    }
    cr_assert_eq(n_good, 12 - 3); /* after 3, 4 ... 11 of the 12 pieces */
    ruvm_file_unmap(&map);
}

/* What an image holds is not the file's limit: tokens can be pruned. */
Test(vocab, a_file_may_hold_more_pieces_than_an_image)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_u32(&b, 1);
    for (int i = 0; i < 70000; i++)
        put_piece(&b, (float)-i, "x");
    cr_assert_eq(ruvm_vocab_read(&vocab, &arena, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.n_pieces, 70000);
    for (int i = 70000; i <= RUVM_VOCAB_MAX; i++)
        put_piece(&b, 0, "y");
    cr_assert_eq(ruvm_vocab_read(&vocab, &arena, b.data, b.size, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "2097153 pieces, expected up to 2097152"), "%s", err.text);
    ruvm_buffer_free(&b);
}

Test(vocab, the_golden_tokenizers_have_all_bytes_or_none)
{
    static const struct {
        const char *path;
        unsigned n_pieces, n_bytes;
    } files[] = {{"tests/golden/tiny-tokenizer.bin", 288, 256},
                 {"tests/golden/tiny-tokenizer-40.bin", 40, 0}};
    for (size_t f = 0; f < COUNT(files); f++) {
        struct ruvm_map map;
        unsigned n_bytes = 0;
        cr_assert_eq(ruvm_file_map(&map, files[f].path, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_vocab_read(&vocab, &arena, map.data, map.size, &err), RUVM_OK, "%s",
                     err.text);
        cr_assert_eq(vocab.n_pieces, files[f].n_pieces);
        for (unsigned i = 0; i < vocab.n_pieces; i++)
            n_bytes += vocab.pieces[i].kind == RUVM_PIECE_BYTE;
        cr_assert_eq(n_bytes, files[f].n_bytes);
        ruvm_file_unmap(&map);
    }
}
