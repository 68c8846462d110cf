/* vocab.json and merges.txt: the same vocabulary as from the tokenizer.json that says the same. */
#include <criterion/criterion.h>
#include <string.h>

#include "formats/tokenizer_gpt2.h"
#include "formats/tokenizer_json.h"

static struct ruvm_arena arena;
static struct ruvm_error err;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(tokenizer_gpt2, .fini = fini);

#define SPACE "\xc4\xa0"
#define LETTERS "{\"a\":0,\"b\":1,\"" SPACE "\":2,\"ab\":3,\"" SPACE "a\":4,\"<|endoftext|>\":5}"
#define MERGES "#version: 0.2\n" SPACE " a\na b\n"
#define SPECIALS "{\"bos_token\":\"<|endoftext|>\",\"unk_token\":{\"content\":\"<|endoftext|>\"}}"
#define CONFIG(class) "{\"add_prefix_space\":false,\"tokenizer_class\":\"" class "\"}"

static void give(struct ruvm_tokenizer_gpt2 *files, int file, const char *text)
{
    files->file[file].data = (const uint8_t *)text;
    files->file[file].size = text ? strlen(text) : 0;
}

static int read_files(struct ruvm_vocab *v, const char *const texts[RUVM_TOKENIZER_GPT2_FILES])
{
    struct ruvm_tokenizer_gpt2 files;
    for (int i = 0; i < RUVM_TOKENIZER_GPT2_FILES; i++)
        give(&files, i, texts[i]);
    err = (struct ruvm_error){0};
    return ruvm_tokenizer_gpt2_read(v, &arena, &files, &err);
}

static void check_same(const struct ruvm_vocab *a, const struct ruvm_vocab *b)
{
    cr_assert_eq(a->n_pieces, b->n_pieces);
    cr_assert_eq(a->n_merges, b->n_merges);
    cr_assert(a->kind == b->kind && a->pattern == b->pattern && a->options == b->options);
    cr_assert(a->bos == b->bos && a->eos == b->eos && a->unk == b->unk && a->add_bos == b->add_bos);
    for (uint32_t i = 0; i < a->n_pieces; i++) {
        const struct ruvm_piece *p = &a->pieces[i], *q = &b->pieces[i];
        cr_assert(p->kind == q->kind && p->n_bytes == q->n_bytes &&
                      memcmp(p->text, q->text, p->n_bytes) == 0,
                  "piece %u", i);
    }
    for (uint32_t i = 0; i < a->n_merges; i++)
        cr_assert(memcmp(&a->merges[i], &b->merges[i], sizeof *a->merges) == 0, "merge %u", i);
}

static void check_as_json(const char *const texts[RUVM_TOKENIZER_GPT2_FILES], const char *json)
{
    struct ruvm_vocab ours, want;
    cr_assert_eq(read_files(&ours, texts), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_tokenizer_json_read(&want, &arena, (const uint8_t *)json, strlen(json), &err),
                 RUVM_OK, "%s", err.text);
    check_same(&ours, &want);
}

#define JSON(added, vocab)                                                                         \
    "{\"added_tokens\":[" added                                                                    \
    "],\"pre_tokenizer\":{\"type\":\"ByteLevel\","                                                 \
    "\"add_prefix_space\":false,\"trim_offsets\":true},\"decoder\":{\"type\":\"ByteLevel\"},"      \
    "\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":[\"" SPACE " a\",\"a b\"]}}"
#define END "{\"id\":5,\"content\":\"<|endoftext|>\",\"special\":true}"

Test(tokenizer_gpt2, is_the_tokenizer_json_that_says_the_same)
{
    const char *const all[] = {LETTERS, MERGES, CONFIG("GPT2Tokenizer"), SPECIALS, NULL};
    check_as_json(all, JSON(END, LETTERS));
    const char *const named_in_config[] = {
        LETTERS, "a b\n", "{\"eos_token\":{\"content\":\"<|endoftext|>\"}}", NULL, NULL};
    struct ruvm_vocab v;
    cr_assert_eq(read_files(&v, named_in_config), RUVM_OK, "%s", err.text);
    cr_assert(v.pieces[5].kind == RUVM_PIECE_CONTROL && v.n_merges == 1);
}

Test(tokenizer_gpt2, added_tokens_are_found_by_name)
{
    const char *const texts[] = {LETTERS, MERGES, CONFIG("CodeGenTokenizerFast"), SPECIALS,
                                 "{\"    \":6,\"\\t\\t\":7}"};
    check_as_json(texts, JSON(END ",{\"id\":6,\"content\":\"    \",\"special\":false},{\"id\":7,"
                                  "\"content\":\"\\t\\t\",\"special\":false}",
                              LETTERS));
}

Test(tokenizer_gpt2, lines_may_end_as_on_windows_and_the_last_one_not_at_all)
{
    const char *const texts[] = {LETTERS, "#version: 0.2\r\n" SPACE " a\r\n\r\na b", NULL, SPECIALS,
                                 NULL};
    check_as_json(texts, JSON(END, LETTERS));
}

static void refused(const char *vocab, const char *merges, const char *config, int code,
                    const char *why)
{
    struct ruvm_vocab v;
    const char *const texts[] = {vocab, merges, config, NULL, NULL};
    cr_assert_eq(read_files(&v, texts), code, "%s", why);
    cr_assert(strstr(err.text, why), "\"%s\" is not in \"%s\"", why, err.text);
}

Test(tokenizer_gpt2, what_is_wrong_is_told_with_its_place)
{
    refused(LETTERS, "#version: 0.2\na b\nab\n", NULL, RUVM_ERR_CORRUPT, "merges.txt: line 3: ");
    refused(LETTERS, "a b c\n", NULL, RUVM_ERR_CORRUPT, "merges.txt: line 1: ");
    refused(LETTERS, "a \n", NULL, RUVM_ERR_CORRUPT, "merges.txt: line 1: ");
    refused(LETTERS, "b b\n", NULL, RUVM_ERR_CORRUPT, "not in the vocabulary");
    refused("[1]", MERGES, NULL, RUVM_ERR_CORRUPT, "vocab.json: is JSON, but not an object");
    refused("{\"a\":", MERGES, NULL, RUVM_ERR_CORRUPT, "vocab.json: is not JSON from byte ");
    refused("{\"a\":-1}", "", NULL, RUVM_ERR_CORRUPT, "\"a\" has no id");
    refused(LETTERS, MERGES, "{", RUVM_ERR_CORRUPT, "tokenizer_config.json: is not JSON");
    refused(LETTERS, MERGES, CONFIG("RobertaTokenizer"), RUVM_ERR_UNSUPPORTED,
            "tokenizer_class is RobertaTokenizer");
    refused(LETTERS, MERGES, "{\"add_prefix_space\":true}", RUVM_ERR_UNSUPPORTED,
            "add_prefix_space");
}
