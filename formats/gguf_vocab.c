/* Reader of the tokenizer in a GGUF file: the keys tokenizer.ggml.*.
 *
 * "llama" is SentencePiece's BPE: pieces, scores, types. "gpt2" is BPE of bytes: pieces in
 * GPT-2's letters, merges, and the name of a pattern (pre), which is all that tells how text
 * is cut into words.
 */
#include "formats/gguf_vocab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

struct reader {
    struct ruvm_vocab *v;
    struct ruvm_arena *arena;
    const struct ruvm_gguf *g;
    uint8_t *room; /* for texts */
    bool letters;  /* bytes are written as GPT-2 writes them */
    struct ruvm_error *err;
};

static bool is(struct ruvm_gguf_string s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.text, text, s.n) == 0;
}

static bool flag(const struct reader *r, const char *key, bool absent)
{
    double value;
    return ruvm_gguf_number(r->g, key, &value) ? value != 0 : absent;
}

static uint32_t token(const struct reader *r, const char *key, uint32_t absent)
{
    double value;
    if (!ruvm_gguf_number(r->g, key, &value))
        return absent < r->v->n_pieces ? absent : RUVM_VOCAB_NONE;
    return value >= 0 && value < r->v->n_pieces ? (uint32_t)value : RUVM_VOCAB_NONE;
}

/* ---- pieces ---------------------------------------------------------------------------- */

static struct ruvm_vocab_text take_text(struct reader *r, struct ruvm_gguf_string s, bool raw)
{
    struct ruvm_vocab_text t = {.text = r->room};
    uint32_t n = (uint32_t)s.n;
    int bytes = r->letters && !raw ? ruvm_vocab_letters(r->room, s.text, n) : -1;
    if (!r->letters && !raw)
        t.n = ruvm_vocab_spaces(r->room, s.text, n);
    else if (bytes >= 0)
        t.n = (uint32_t)bytes;
    else
        t = (struct ruvm_vocab_text){s.text, n};
    r->room += t.text == r->room ? t.n : 0;
    return t;
}

static int read_piece(struct reader *r, uint32_t id, struct ruvm_gguf_string s, double type)
{
    struct ruvm_piece *p = &r->v->pieces[id];
    int byte = ruvm_vocab_byte(s.text, s.n), kind = (int)type;
    bool special = kind == TYPE_UNKNOWN || kind == TYPE_CONTROL || kind == TYPE_USER;
    struct ruvm_vocab_text t = take_text(r, s, special);
    p->text = t.text;
    p->n_bytes = kind == TYPE_UNUSED ? 0 : t.n;
    p->kind = kind == TYPE_USER            ? RUVM_PIECE_ADDED
              : special || p->n_bytes == 0 ? RUVM_PIECE_CONTROL
                                           : RUVM_PIECE_NORMAL;
    if (kind == TYPE_BYTE && byte < 0)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "token %u should be a byte, but is \"%.*s\"", id,
                         (int)(s.n < 80 ? s.n : 80), (const char *)s.text);
    if (kind == TYPE_BYTE)
        ruvm_vocab_set_byte(p, byte);
    return RUVM_OK;
}

static int check_lists(struct reader *r, struct ruvm_gguf_array *tokens,
                       struct ruvm_gguf_array *types, struct ruvm_gguf_array *scores)
{
    if (!ruvm_gguf_array(r->g, KEY("tokens"), tokens) || tokens->n == 0)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, KEY("tokens") " is missing");
    if (tokens->n > RUVM_VOCAB_MAX)
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "%llu tokens, at most %d are possible",
                         (unsigned long long)tokens->n, RUVM_VOCAB_MAX);
    bool has_types = ruvm_gguf_array(r->g, KEY("token_type"), types);
    bool has_scores = ruvm_gguf_array(r->g, KEY("scores"), scores);
    if ((has_types && types->n != tokens->n) || (has_scores && scores->n != tokens->n))
        return ruvm_fail(
            r->err, RUVM_ERR_CORRUPT,
            KEY("token_type") " or " KEY("scores") " is not as long as " KEY("tokens"));
    if (!r->letters && !has_scores)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, KEY("scores") " is missing");
    return RUVM_OK;
}

static int read_pieces(struct reader *r)
{
    struct ruvm_gguf_array tokens = {0}, types = {0}, scores = {0};
    struct ruvm_gguf_string s;
    int rc = check_lists(r, &tokens, &types, &scores);
    if (rc != RUVM_OK)
        return rc;
    r->v->n_pieces = (uint32_t)tokens.n;
    r->v->pieces = ruvm_arena_alloc(r->arena, tokens.n, sizeof *r->v->pieces);
    r->room = ruvm_arena_alloc(r->arena, (size_t)(tokens.end - tokens.data) + 1, 1);
    if (!r->v->pieces || !r->room)
        return ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for %u pieces", r->v->n_pieces);
    for (uint32_t id = 0; rc == RUVM_OK && id < r->v->n_pieces; id++) {
        double type = TYPE_NORMAL, score = 0;
        if (!ruvm_gguf_next_string(&tokens, &s))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT, KEY("tokens") " are no texts");
        ruvm_gguf_next_number(&types, &type);
        ruvm_gguf_next_number(&scores, &score);
        if (!isfinite(score) || !(type >= TYPE_NORMAL && type <= TYPE_BYTE))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "token %u has the score %g and the type %g",
                             id, score, type);
        r->v->pieces[id].score = (float)score;
        if ((int)type == TYPE_UNKNOWN)
            r->v->unk = id;
        rc = read_piece(r, id, s, type);
    }
    return rc;
}

/* ---- merges ------------------------------------------------------------------------------- */

static int take_merge(struct reader *r, struct ruvm_gguf_string s, struct ruvm_vocab_text parts[2],
                      uint32_t i)
{
    const uint8_t *space = s.n > 1 ? memchr(s.text + 1, ' ', s.n - 1) : NULL;
    if (!space || space + 1 == s.text + s.n)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "merge %u is not two texts", i);
    size_t n = (size_t)(space - s.text);
    parts[0] = take_text(r, (struct ruvm_gguf_string){s.text, n}, false);
    parts[1] = take_text(r, (struct ruvm_gguf_string){space + 1, s.n - n - 1}, false);
    return RUVM_OK;
}

static int read_merges(struct reader *r)
{
    struct ruvm_gguf_array merges;
    struct ruvm_gguf_string s;
    if (!ruvm_gguf_array(r->g, KEY("merges"), &merges) || merges.n > RUVM_VOCAB_MAX)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, KEY("merges") " is missing or too long");
    uint32_t n = (uint32_t)merges.n;
    struct ruvm_vocab_text *parts = calloc(2 * (size_t)n + 1, sizeof *parts);
    r->room = ruvm_arena_alloc(r->arena, (size_t)(merges.end - merges.data) + 1, 1);
    int rc = parts && r->room ? RUVM_OK
                              : ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for %u merges", n);
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++)
        rc = ruvm_gguf_next_string(&merges, &s)
                 ? take_merge(r, s, parts + 2 * (size_t)i, i)
                 : ruvm_fail(r->err, RUVM_ERR_CORRUPT, KEY("merges") " are no texts");
    if (rc == RUVM_OK)
        rc = ruvm_vocab_set_merges(r->v, r->arena, parts, n, r->err);
    free(parts);
    return rc;
}

/* ---- the pattern ------------------------------------------------------------------------------
 */

static const struct {
    const char *pre;
    uint8_t pattern;
    bool whole_words;
} patterns[] = {
    {"gpt-2", RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false},
    {"phi-2", RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false},
    {"default", RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false},
    {"mpt", RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false},
    {"olmo", RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false},
    {"jais", RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false},
    {"llama3", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), true},
    {"llama-v3", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), true},
    {"llama-bpe", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), true},
    {"falcon3", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), true},
    {"dbrx", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), false},
    {"smaug-bpe", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), false},
    {"qwen2", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1), false},
    {"deepseek-r1-qwen", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1), false},
    {"megrez", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1), false},
    {"stablelm2", RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1), false},
    {"smollm", RUVM_PATTERN(RUVM_PATTERN_GPT2, 1) | RUVM_PATTERN_SPLIT_DIGITS, false},
    {"starcoder", RUVM_PATTERN(RUVM_PATTERN_GPT2, 1) | RUVM_PATTERN_SPLIT_DIGITS, false},
    {"refact", RUVM_PATTERN(RUVM_PATTERN_GPT2, 1) | RUVM_PATTERN_SPLIT_DIGITS, false},
};

static int read_pattern(struct reader *r)
{
    struct ruvm_gguf_string pre = {(const uint8_t *)"default", 7};
    if (!ruvm_gguf_text(r->g, KEY("pre"), &pre))
        ruvm_vocab_note(r->v, r->arena, KEY("pre") " is missing: words are cut as GPT-2 cuts them");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (is(pre, patterns[i].pre)) {
            r->v->pattern = patterns[i].pattern;
            r->v->options |= patterns[i].whole_words ? RUVM_TOKN_WHOLE_WORDS : 0;
            return RUVM_OK;
        }
    return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, KEY("pre") " is \"%.*s\", which is not known",
                     (int)(pre.n < 80 ? pre.n : 80), (const char *)pre.text);
}

/* ---- the whole
 * ----------------------------------------------------------------------------------- */

static int read_model(struct reader *r)
{
    struct ruvm_gguf_string model = {NULL, 0};
    ruvm_gguf_text(r->g, KEY("model"), &model);
    r->letters = is(model, "gpt2");
    if (model.n == 0)
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "has no tokenizer");
    if (!r->letters && !is(model, "llama"))
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED,
                         "has a tokenizer of the kind \"%.*s\"; only llama and gpt2 are supported",
                         (int)(model.n < 80 ? model.n : 80), (const char *)model.text);
    return read_pieces(r);
}

static int read_chat(struct reader *r)
{
    struct ruvm_gguf_string s;
    if (!ruvm_gguf_text(r->g, "tokenizer.chat_template", &s))
        return RUVM_OK;
    r->v->chat = ruvm_arena_text(r->arena, (const char *)s.text, s.n);
    return r->v->chat ? RUVM_OK : ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for a template");
}

int ruvm_gguf_vocab_read(struct ruvm_vocab *v, struct ruvm_arena *arena, const struct ruvm_gguf *g,
                         struct ruvm_error *err)
{
    struct reader r = {.v = v, .arena = arena, .g = g, .err = err};
    *v = (struct ruvm_vocab){
        .bos = RUVM_VOCAB_NONE, .eos = RUVM_VOCAB_NONE, .unk = RUVM_VOCAB_NONE, .specials = true};
    int rc = read_model(&r);
    if (rc == RUVM_OK)
        rc = read_chat(&r);
    if (rc != RUVM_OK)
        return rc;
    v->kind = r.letters ? RUVM_TOKN_MERGES : RUVM_TOKN_SCORES;
    v->options = r.letters ? RUVM_TOKN_BYTE_LEVEL : RUVM_TOKN_METASPACE | RUVM_TOKN_FUSE_UNKNOWN;
    v->bos = token(&r, KEY("bos_token_id"), r.letters ? RUVM_VOCAB_NONE : 1);
    v->eos = token(&r, KEY("eos_token_id"), r.letters ? RUVM_VOCAB_NONE : 2);
    v->unk = token(&r, KEY("unknown_token_id"), v->unk);
    v->add_bos = flag(&r, KEY("add_bos_token"), !r.letters) && v->bos != RUVM_VOCAB_NONE;
    v->space_prefix = flag(&r, KEY("add_space_prefix"), !r.letters) && !r.letters;
    ruvm_vocab_guess_ends(v);
    if (r.letters && (rc = read_pattern(&r)) == RUVM_OK)
        rc = read_merges(&r);
    return rc;
}
