/* tokenizer.json: what it becomes, and what is said of what is not supported. Encoding is
 * compared in tests/tokens/. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "formats/tokenizer_json.h"

static struct ruvm_vocab vocab;
static struct ruvm_arena arena;
static struct ruvm_error err;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(tokenizer_json, .fini = fini);

#define GPT2                                                                                       \
    "'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,'use_regex':true},"              \
    "'decoder':{'type':'ByteLevel'}"
#define LETTERS                                                                                    \
    "'a':0,'b':1,'\xc4\xa0':2,'ab':3,'\xc4\xa0"                                                    \
    "a':4"
#define BYTE_MODEL "'model':{'type':'BPE','vocab':{" LETTERS "},'merges':['\xc4\xa0 a','a b']}"
#define META "\xe2\x96\x81"
#define LLAMA                                                                                      \
    "'normalizer':{'type':'Sequence','normalizers':[{'type':'Prepend','prepend':'" META            \
    "'},"                                                                                          \
    "{'type':'Replace','pattern':{'String':' '},'content':'" META "'}]}"

/* Reads JSON with ' for ". */
static int read_json(const char *quoted)
{
    static char text[4000];
    size_t n = strlen(quoted);
    cr_assert_lt(n, sizeof text);
    for (size_t i = 0; i <= n; i++)
        text[i] = quoted[i];
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    err = (struct ruvm_error){0};
    return ruvm_tokenizer_json_read(&vocab, &arena, (const uint8_t *)text, n, &err);
}

static void check_piece(uint32_t id, enum ruvm_piece_kind kind, const char *text)
{
    const struct ruvm_piece *p = &vocab.pieces[id];
    cr_assert_eq(p->kind, kind, "piece %u", id);
    cr_assert_eq(p->n_bytes, strlen(text), "piece %u", id);
    cr_assert(memcmp(p->text, text, p->n_bytes) == 0, "piece %u", id);
}

Test(tokenizer_json, bytes_and_merges)
{
    int rc = read_json(
        "{'added_tokens':[{'id':6,'content':'<|endoftext|>','special':true},"
        "{'id':5,'content':'\xc4\xa0','special':false}]," GPT2 "," BYTE_MODEL "}");
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.n_pieces, 7);
    cr_assert_eq(vocab.kind, RUVM_TOKN_MERGES);
    cr_assert_eq(vocab.pattern, RUVM_PATTERN(RUVM_PATTERN_GPT2, 0));
    cr_assert_eq(vocab.options, RUVM_TOKN_BYTE_LEVEL);
    check_piece(2, RUVM_PIECE_NORMAL, " ");
    check_piece(4, RUVM_PIECE_NORMAL, " a");
    check_piece(5, RUVM_PIECE_ADDED, "\xc4\xa0"); /* is no letter for a byte there */
    check_piece(6, RUVM_PIECE_CONTROL, "<|endoftext|>");
    cr_assert_eq(vocab.n_merges, 2);
    cr_assert(vocab.merges[0].left == 2 && vocab.merges[0].right == 0 &&
              vocab.merges[0].result == 4);
    cr_assert(vocab.bos == 6 && vocab.eos == 6 && !vocab.add_bos, "guessed by its name");
    cr_assert_null(vocab.notes);
}

Test(tokenizer_json, ids_that_are_left_out_are_tokens_without_text)
{
    cr_assert_eq(read_json("{" GPT2
                           ",'added_tokens':[{'id':9,'content':'x','special':true}]," BYTE_MODEL
                           "}"),
                 RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.n_pieces, 10);
    check_piece(7, RUVM_PIECE_CONTROL, "");
}

Test(tokenizer_json, every_way_to_make_each_piece_is_an_order_of_pieces)
{
    const char *whole = "{" LLAMA
                        ",'added_tokens':[{'id':0,'content':'<unk>','special':true}],"
                        "'model':{'type':'BPE','unk_token':'<unk>','fuse_unk':true,"
                        "'byte_fallback':true,'vocab':{'<unk>':0,'<0x41>':1,'" META
                        "':2,'a':3,"
                        "'" META "a':4,'aa':5,'" META "aa':6},'merges':['" META " a','a a','" META
                        " aa','" META "a a']}}";
    cr_assert_eq(read_json(whole), RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.kind, RUVM_TOKN_SCORES);
    cr_assert_eq(vocab.n_merges, 0);
    check_piece(1, RUVM_PIECE_BYTE, "A");
    check_piece(6, RUVM_PIECE_NORMAL, " aa");
    cr_assert(vocab.space_prefix && vocab.unk == 0);
    cr_assert_eq(vocab.options, RUVM_TOKN_METASPACE | RUVM_TOKN_FUSE_UNKNOWN);
    cr_assert_float_eq(vocab.pieces[2].score, 0, 0);
    cr_assert_float_eq(vocab.pieces[6].score, -4, 0);
    char part[1000];
    snprintf(part, sizeof part, "%.*s]}}", (int)(strstr(whole, ",'" META "a a'") - whole), whole);
    cr_assert_eq(read_json(part), RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.kind, RUVM_TOKN_MERGES, "one way is left out");
    cr_assert_eq(vocab.n_merges, 3);
}

Test(tokenizer_json, unigram)
{
    cr_assert_eq(read_json("{'pre_tokenizer':{'type':'Metaspace','replacement':'" META "',"
                           "'prepend_scheme':'first','split':true},"
                           "'normalizer':{'type':'NFKC'},"
                           "'post_processor':{'type':'TemplateProcessing','single':["
                           "{'SpecialToken':{'id':'<s>','type_id':0}},{'Sequence':{'id':'A'}},"
                           "{'SpecialToken':{'id':'</s>','type_id':0}}]},"
                           "'added_tokens':[{'id':1,'content':'<s>','special':true,'lstrip':true}],"
                           "'model':{'type':'Unigram','unk_id':0,'vocab':[['<unk>',0],['<s>',0],"
                           "['" META "a',-1.5]]}}"),
                 RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.kind, RUVM_TOKN_UNIGRAM);
    cr_assert_eq(vocab.pattern, RUVM_PATTERN_SPACES);
    cr_assert(vocab.bos == 1 && vocab.add_bos && vocab.unk == 0 && vocab.space_prefix);
    check_piece(2, RUVM_PIECE_NORMAL, " a");
    cr_assert_float_eq(vocab.pieces[2].score, -1.5, 0);
    cr_assert_str_eq(vocab.notes,
                     "NFKC normalisation is not done: a text should have that form\n"
                     "\"</s>\" is not put behind a text\n"
                     "\"<s>\" does not take the spaces beside it along");
}

Test(tokenizer_json, patterns)
{
    static const struct {
        const char *pre;
        uint8_t pattern;
    } cases[] = {
        {"{'type':'Sequence','pretokenizers':[{'type':'Digits','individual_digits':true},"
         "{'type':'ByteLevel','add_prefix_space':false}]}",
         RUVM_PATTERN(RUVM_PATTERN_GPT2, 1) | RUVM_PATTERN_SPLIT_DIGITS},
        {"{'type':'ByteLevel','add_prefix_space':false,'use_regex':false}", RUVM_PATTERN_NONE},
        {"{'type':'Sequence','pretokenizers':[{'type':'Split','behavior':'Isolated','invert':false,"
         "'pattern':{'Regex':'(?i:`s|`t|`re|`ve|`m|`ll|`d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
         "\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|"
         "\\\\s+'}},{'type':'ByteLevel','add_prefix_space':false,'use_regex':false}]}",
         RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[2000];
        snprintf(text, sizeof text, "{'pre_tokenizer':%s," BYTE_MODEL "}", cases[i].pre);
        size_t n = strlen(text);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c == '`' ? '\'' : *c;
        err = (struct ruvm_error){0};
        cr_assert_eq(ruvm_tokenizer_json_read(&vocab, &arena, (uint8_t *)text, n, &err), RUVM_OK,
                     "%zu: %s", i, err.text);
        cr_assert_eq(vocab.pattern, cases[i].pattern, "%zu", i);
    }
}

Test(tokenizer_json, all_that_is_not_supported_is_told_at_once)
{
    cr_assert_eq(read_json("{'normalizer':{'type':'BertNormalizer'},"
                           "'pre_tokenizer':{'type':'Whitespace'},"
                           "'decoder':{'type':'WordPiece'},"
                           "'model':{'type':'WordPiece','continuing_subword_prefix':'##',"
                           "'vocab':{'a':0}}}"),
                 RUVM_ERR_UNSUPPORTED);
    static const char *const parts[] = {"normalizer of type BertNormalizer",
                                        "pre_tokenizer of type Whitespace",
                                        "decoder of type WordPiece", "a model of type WordPiece",
                                        "continuing_subword_prefix \"##\""};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_assert_not_null(strstr(err.text, parts[i]), "%s", err.text);
}

static const struct {
    const char *json, *text;
} broken[] = {
    {"", "is not JSON"},
    {"{'a':", "is not JSON"},
    {"{}", "has no model"},
    {"{'model':{'type':'BPE','vocab':[]}}", "model.vocab is not"},
    {"{'model':{'type':'BPE','vocab':{}}}", "0 tokens"},
    {"{'model':{'type':'BPE','vocab':{'a':-1}}}", "token \"a\" has no id"},
    {"{'model':{'type':'BPE','vocab':{'a':1.5}}}", "token \"a\" has no id"},
    {"{'model':{'type':'BPE','vocab':{'a':9007199254740993}}}", "token \"a\" has no id"},
    {"{'model':{'type':'BPE','vocab':{'a':1000000}}}", "1000001 tokens in a file of"},
    {"{'model':{'type':'BPE','vocab':{'a':0,'b':0}}}", "two tokens have the id 0"},
    {"{'model':{'type':'BPE','vocab':{'a':0},'merges':['a']}}", "a merge is not two texts"},
    {"{'model':{'type':'BPE','vocab':{'a':0},'merges':[['a']]}}", "a merge is not two texts"},
    {"{'model':{'type':'BPE','vocab':{'a':0},'merges':[7]}}", "a merge is not two texts"},
    {"{'model':{'type':'BPE','vocab':{'a':0},'merges':['a b']}}", "merge 0: \"b\" is not in"},
    {"{'model':{'type':'BPE','vocab':{'a':0},'merges':['a a']}}", "what \"a\" and \"a\" make"},
    {"{'model':{'type':'Unigram','vocab':[['a']]}}", "is not a text and a score"},
    {"{'added_tokens':[{'id':0}],'model':{'type':'BPE','vocab':{'a':0}}}", "has no content"},
    {"{'added_tokens':[{'content':'x'}],'model':{'type':'BPE','vocab':{'a':0}}}",
     "\"x\" has no id"},
};

Test(tokenizer_json, broken_files)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        cr_assert_eq(read_json(broken[i].json), RUVM_ERR_CORRUPT, "%s", broken[i].json);
        cr_assert_not_null(strstr(err.text, broken[i].text), "%s: %s", broken[i].json, err.text);
    }
}

/* Depth costs stack: the parser has a limit of its own. */
Test(tokenizer_json, deep_json)
{
    static char deep[100000];
    memset(deep, '[', sizeof deep);
    cr_assert_eq(ruvm_tokenizer_json_read(&vocab, &arena, (uint8_t *)deep, sizeof deep, &err),
                 RUVM_ERR_CORRUPT);
}

Test(tokenizer_json, what_stands_beside)
{
    static const char config[] =
        "{\"bos_token\":null,\"eos_token\":{\"content\":\"b\"},"
        "\"add_bos_token\":true,\"chat_template\":[{\"name\":\"tools\","
        "\"template\":\"no\"},{\"name\":\"default\",\"template\":\"{{x}}\"}]}";
    cr_assert_eq(read_json("{" GPT2
                           ",'added_tokens':[{'id':5,'content':'</s>','special':true}]," BYTE_MODEL
                           "}"),
                 RUVM_OK);
    cr_assert_eq(vocab.eos, 5);
    cr_assert_eq(
        ruvm_vocab_read_config(&vocab, &arena, (const uint8_t *)config, strlen(config), &err),
        RUVM_OK, "%s", err.text);
    cr_assert_eq(vocab.eos, 1);
    cr_assert(vocab.n_ends == 1 && vocab.ends[0] == 5, "the former one still ends a text");
    cr_assert_not(vocab.add_bos, "there is none");
    cr_assert_str_eq(vocab.chat, "{{x}}");
    cr_assert_eq(ruvm_vocab_read_config(&vocab, &arena, (const uint8_t *)"[]", 2, &err),
                 RUVM_ERR_CORRUPT);
}
