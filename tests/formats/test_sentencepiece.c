/* tokenizer.model and the tokenizer of GGUF files: what they become, and what is said about
 * broken ones; and that a file of any kind is known by its content. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/gguf_vocab.h"
#include "formats/sentencepiece.h"
#include "lib/base/buffer.h"
#include "lib/base/file.h"

static struct ruvm_vocab vocab;
static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_buffer file;

static void fini(void)
{
    ruvm_arena_free(&arena);
    ruvm_buffer_free(&file);
}

TestSuite(sentencepiece, .fini = fini);
TestSuite(gguf_vocab, .fini = fini);

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };
enum { UNIGRAM = 1, BPE };

static void put_piece(const char *text, float score, int type)
{
    uint32_t bits;
    size_t n = strlen(text);
    memcpy(&bits, &score, sizeof bits);
    ruvm_buffer_u8(&file, 1 << 3 | 2);
    ruvm_buffer_u8(&file, (uint8_t)(n + 9));
    ruvm_buffer_u8(&file, 1 << 3 | 2);
    ruvm_buffer_u8(&file, (uint8_t)n);
    ruvm_buffer_bytes(&file, text, n);
    ruvm_buffer_u8(&file, 2 << 3 | 5);
    ruvm_buffer_u32(&file, bits);
    ruvm_buffer_u8(&file, 3 << 3);
    ruvm_buffer_u8(&file, (uint8_t)type);
}

static void put_start(void)
{
    put_piece("<unk>", 0, UNKNOWN);
    put_piece("<s>", 0, CONTROL);
    put_piece("</s>", 0, CONTROL);
}

/* Two-byte fields of a message. */
static void put_settings(unsigned number, const uint8_t *fields, size_t n)
{
    ruvm_buffer_u8(&file, (uint8_t)(number << 3 | 2));
    ruvm_buffer_u8(&file, (uint8_t)n);
    ruvm_buffer_bytes(&file, fields, n);
}

static int read_model(int kind)
{
    const uint8_t trainer[] = {3 << 3, (uint8_t)kind};
    put_settings(2, trainer, sizeof trainer);
    return ruvm_sentencepiece_read(&vocab, &arena, file.data, file.size, &err);
}

Test(sentencepiece, pieces_and_settings)
{
    const uint8_t normalizer[] = {3 << 3, 0, 4 << 3, 0};
    put_start();
    put_piece("<0x41>", 0, BYTE);
    put_piece(
        "\xe2\x96\x81"
        "a\xe2\x96\x81",
        -1, NORMAL);
    put_piece("old", 0, UNUSED);
    put_settings(3, normalizer, sizeof normalizer);
    cr_assert(ruvm_sentencepiece_probe(file.data, file.size));
    cr_assert_eq(read_model(BPE), RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.kind, RUVM_TOKN_SCORES);
    cr_assert_eq(vocab.n_pieces, 6);
    cr_assert(vocab.unk == 0 && vocab.bos == 1 && vocab.eos == 2 && vocab.add_bos);
    cr_assert(!vocab.space_prefix && vocab.specials);
    cr_assert_eq(vocab.options, RUVM_TOKN_METASPACE | RUVM_TOKN_FUSE_UNKNOWN);
    cr_assert(vocab.pieces[3].kind == RUVM_PIECE_BYTE && vocab.pieces[3].text[0] == 'A');
    cr_assert(vocab.pieces[4].n_bytes == 3 && memcmp(vocab.pieces[4].text, " a ", 3) == 0);
    cr_assert(vocab.pieces[5].kind == RUVM_PIECE_CONTROL && vocab.pieces[5].n_bytes == 0);
}

Test(sentencepiece, what_a_file_leaves_out)
{
    put_start();
    put_piece("<user>", 0, USER);
    cr_assert_eq(ruvm_sentencepiece_read(&vocab, &arena, file.data, file.size, &err), RUVM_OK);
    cr_assert_eq(vocab.kind, RUVM_TOKN_UNIGRAM);
    cr_assert_eq(vocab.options, RUVM_TOKN_METASPACE | RUVM_TOKN_FUSE_UNKNOWN |
                                    RUVM_TOKN_FEW_SPACES | RUVM_TOKN_FIRST_PREFIX);
    cr_assert_eq(vocab.pieces[3].kind, RUVM_PIECE_ADDED);
    cr_assert(vocab.space_prefix);
}

Test(sentencepiece, tables_of_characters_are_noted)
{
    static const uint8_t normalizer[] = {1 << 3 | 2, 8,   'n', 'm',        't', '_', 'n',
                                         'f',        'k', 'c', 2 << 3 | 2, 1,   'x'};
    put_start();
    put_settings(3, normalizer, sizeof normalizer);
    cr_assert_eq(read_model(BPE), RUVM_OK, "%s", err.text);
    cr_assert_not_null(strstr(vocab.notes, "(nmt_nfkc) is not applied"), "%s", vocab.notes);
    cr_assert(vocab.options & RUVM_TOKN_LINE_SPACES);
}

static void refuse(int kind, int rc, const char *text)
{
    cr_assert_eq(read_model(kind), rc, "%s", err.text);
    cr_assert_not_null(strstr(err.text, text), "%s", err.text);
    err = (struct ruvm_error){0};
    file.size = 0;
}

Test(sentencepiece, broken_files)
{
    refuse(BPE, RUVM_ERR_CORRUPT, "has no pieces");
    put_start();
    refuse(3, RUVM_ERR_UNSUPPORTED, "kind 3; only BPE and Unigram");
    put_start();
    put_piece("x", 0, BYTE);
    refuse(BPE, RUVM_ERR_CORRUPT, "piece 3 should be a byte, but is \"x\"");
    put_start();
    put_piece("x", 0, 9);
    refuse(BPE, RUVM_ERR_UNSUPPORTED, "piece 3 is of type 9");
    put_start();
    put_piece("x", NAN, NORMAL);
    refuse(BPE, RUVM_ERR_CORRUPT, "the score of piece 3 is not a number");
    put_start();
    const uint8_t suffix[] = {24 << 3 | 0x80, 1, 1};
    put_settings(2, suffix, sizeof suffix);
    refuse(BPE, RUVM_ERR_UNSUPPORTED, "treat_whitespace_as_suffix");
    put_start();
    file.size -= 3;
    cr_assert_eq(ruvm_sentencepiece_read(&vocab, &arena, file.data, file.size, &err),
                 RUVM_ERR_CORRUPT);
}

/* ---- GGUF ---------------------------------------------------------------------------- */

static void put_text(const char *text)
{
    ruvm_buffer_u32(&file, (uint32_t)strlen(text));
    ruvm_buffer_u32(&file, 0);
    ruvm_buffer_bytes(&file, text, strlen(text));
}

static void put_pair(const char *key, const char *text)
{
    put_text(key);
    ruvm_buffer_u32(&file, 8);
    put_text(text);
}

static void put_list(const char *key, uint32_t type, uint32_t n)
{
    put_text(key);
    ruvm_buffer_u32(&file, 9);
    ruvm_buffer_u32(&file, type);
    ruvm_buffer_u32(&file, n);
    ruvm_buffer_u32(&file, 0);
}

static void put_gguf(uint32_t n_pairs)
{
    file.size = 0;
    ruvm_buffer_bytes(&file, "GGUF", 4);
    ruvm_buffer_u32(&file, 3);
    ruvm_buffer_u32(&file, 0);
    ruvm_buffer_u32(&file, 0);
    ruvm_buffer_u32(&file, n_pairs);
    ruvm_buffer_u32(&file, 0);
}

static void put_byte_level(const char *pre, const char *merge)
{
    put_gguf(5);
    put_pair("tokenizer.ggml.model", "gpt2");
    put_pair("tokenizer.ggml.pre", pre);
    put_pair("tokenizer.chat_template", "{{x}}");
    put_list("tokenizer.ggml.tokens", 8, 3);
    put_text("a");
    put_text("\xc4\xa0");
    put_text(
        "\xc4\xa0"
        "a");
    put_list("tokenizer.ggml.merges", 8, 1);
    put_text(merge);
}

static int read_any(void)
{
    err = (struct ruvm_error){0};
    return ruvm_vocab_read_any(&vocab, &arena, file.data, file.size, &err);
}

Test(gguf_vocab, bytes_and_merges)
{
    put_byte_level("qwen2", "\xc4\xa0 a");
    cr_assert_eq(read_any(), RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.kind, RUVM_TOKN_MERGES);
    cr_assert_eq(vocab.pattern, RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1));
    cr_assert(vocab.n_merges == 1 && vocab.merges[0].result == 2);
    cr_assert(vocab.pieces[2].n_bytes == 2 && memcmp(vocab.pieces[2].text, " a", 2) == 0);
    cr_assert_str_eq(vocab.chat, "{{x}}");
    put_byte_level("llama-bpe", "\xc4\xa0 a");
    cr_assert_eq(read_any(), RUVM_OK, "%s", err.text);
    cr_assert(vocab.options & RUVM_TOKN_WHOLE_WORDS);
}

Test(gguf_vocab, broken_ones)
{
    put_byte_level("tekken", "\xc4\xa0 a");
    cr_assert_eq(read_any(), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "\"tekken\", which is not known"), "%s", err.text);
    put_byte_level("gpt-2", "a");
    cr_assert_eq(read_any(), RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "merge 0 is not two texts"), "%s", err.text);
    put_gguf(0);
    cr_assert_eq(read_any(), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "GGUF model: has no tokenizer"), "%s", err.text);
    put_gguf(1);
    put_pair("tokenizer.ggml.model", "bert");
    cr_assert_eq(read_any(), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "of the kind \"bert\""), "%s", err.text);
    put_gguf(2);
    put_pair("tokenizer.ggml.model", "llama");
    put_list("tokenizer.ggml.tokens", 8, 1);
    put_text("a");
    cr_assert_eq(read_any(), RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "scores is missing"), "%s", err.text);
}

Test(gguf_vocab, every_kind_of_file_is_known)
{
    static const char *const names[][2] = {
        {"tests/fuzz/corpus/gguf_vocab/llama", "GGUF model"},
        {"tests/fuzz/corpus/sentencepiece/unigram", "SentencePiece tokenizer.model"},
        {"tests/fuzz/corpus/tokenizer_json/gpt2", "Hugging Face tokenizer.json"},
        {"tests/golden/tiny-tokenizer.bin", "llama2.c tokenizer.bin"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ruvm_map map;
        cr_assert_eq(ruvm_file_map(&map, names[i][0], &err), RUVM_OK, "%s", err.text);
        const char *name = ruvm_vocab_probe(map.data, map.size);
        cr_assert(name && strcmp(name, names[i][1]) == 0, "%s: %s", names[i][0], name);
        cr_assert_eq(ruvm_vocab_read_any(&vocab, &arena, map.data, map.size, &err), RUVM_OK, "%s",
                     err.text);
        ruvm_file_unmap(&map);
    }
    cr_assert_null(ruvm_vocab_probe((const uint8_t *)"{\"a\": 1}", 8));
}
