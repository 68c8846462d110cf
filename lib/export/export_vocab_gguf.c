/* llama.cpp's keys of a tokenizer: "llama" merges by scores, "gpt2" merges bytes by a list. */
#include <string.h>

#include "lib/export/export_vocab.h"

#define KEY(name) "tokenizer.ggml." name

/* llama.cpp's types of tokens. */
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_BYTE = 6
};

/* How words are cut, by llama.cpp's name for it. */
static const struct {
    uint8_t pattern;
    bool whole_words;
    const char *pre;
} patterns[] = {
    {RUVM_PATTERN(RUVM_PATTERN_GPT2, 0), false, "gpt-2"},
    {RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), true, "llama-bpe"},
    {RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3), false, "dbrx"},
    {RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1), false, "qwen2"},
    {RUVM_PATTERN(RUVM_PATTERN_GPT2, 1) | RUVM_PATTERN_SPLIT_DIGITS, false, "smollm"},
};

/* NULL: it has no name for it. */
static const char *pre_of(const struct ruvm_vocab *v)
{
    bool whole = (v->options & RUVM_TOKN_WHOLE_WORDS) != 0;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i].pattern == v->pattern && patterns[i].whole_words == whole)
            return patterns[i].pre;
    return NULL;
}

bool ruvm_export_vocab_in_gguf(const struct ruvm_export_vocab *v, const char **unlike)
{
    const struct ruvm_vocab *vocab = v->vocab;
    const unsigned spaces = RUVM_TOKN_FIRST_PREFIX | RUVM_TOKN_SPARE_PREFIX | RUVM_TOKN_FEW_SPACES |
                            RUVM_TOKN_LINE_SPACES;
    *unlike = NULL;
    if (vocab->kind == RUVM_TOKN_UNIGRAM)
        return false;
    if (vocab->kind == RUVM_TOKN_MERGES)
        return (vocab->options & RUVM_TOKN_BYTE_LEVEL) && pre_of(vocab);
    if ((vocab->options & spaces) || vocab->pattern)
        *unlike = "llama.cpp treats spaces a little differently with this tokenizer";
    return true;
}

static int32_t type_of(const struct ruvm_export_vocab *v, uint32_t id)
{
    if (ruvm_export_vocab_silent(v, id))
        return id == v->vocab->unk ? TOKEN_UNKNOWN : TOKEN_CONTROL;
    switch (v->vocab->pieces[id].kind) {
    case RUVM_PIECE_BYTE: return TOKEN_BYTE;
    case RUVM_PIECE_ADDED: return TOKEN_USER_DEFINED;
    default: return TOKEN_NORMAL;
    }
}

static void put_text(struct ruvm_gguf_writer *w, const char *key, const char *text)
{
    ruvm_gguf_put_text(w, key, text, strlen(text));
}

static void put_id(struct ruvm_gguf_writer *w, const char *key, uint32_t id)
{
    if (id != RUVM_VOCAB_NONE)
        ruvm_gguf_put_u32(w, key, id);
}

static bool put_pieces(struct ruvm_gguf_writer *w, const struct ruvm_export_vocab *v,
                       struct ruvm_arena *arena)
{
    float *scores = ruvm_arena_alloc(arena, v->n, sizeof *scores);
    int32_t *types = ruvm_arena_alloc(arena, v->n, sizeof *types);
    if (!scores || !types)
        return false;
    for (uint32_t i = 0; i < v->n; i++) {
        scores[i] = v->vocab->pieces[i].score;
        types[i] = type_of(v, i);
    }
    ruvm_gguf_put_texts(w, KEY("tokens"), v->texts, v->n);
    if (v->vocab->kind != RUVM_TOKN_MERGES)
        ruvm_gguf_put_f32s(w, KEY("scores"), scores, v->n);
    ruvm_gguf_put_i32s(w, KEY("token_type"), types, v->n);
    return true;
}

/* "left right" */
static bool put_merges(struct ruvm_gguf_writer *w, const struct ruvm_export_vocab *v,
                       struct ruvm_arena *arena)
{
    uint32_t n = v->vocab->n_merges;
    struct ruvm_gguf_string *texts = ruvm_arena_alloc(arena, (size_t)n + 1, sizeof *texts);
    for (uint32_t i = 0; texts && i < n; i++) {
        const struct ruvm_gguf_string *left = &v->texts[v->vocab->merges[i].left];
        const struct ruvm_gguf_string *right = &v->texts[v->vocab->merges[i].right];
        uint8_t *text = ruvm_arena_alloc(arena, left->n + right->n + 1, 1);
        if (!text)
            return false;
        memcpy(text, left->text, left->n);
        text[left->n] = ' ';
        memcpy(text + left->n + 1, right->text, right->n);
        texts[i] = (struct ruvm_gguf_string){text, left->n + right->n + 1};
    }
    if (texts)
        ruvm_gguf_put_texts(w, KEY("merges"), texts, n);
    return texts != NULL;
}

static void put_rest(struct ruvm_gguf_writer *w, const struct ruvm_vocab *v)
{
    put_id(w, KEY("bos_token_id"), v->bos);
    put_id(w, KEY("eos_token_id"), v->eos);
    put_id(w, KEY("unknown_token_id"), v->unk);
    if (v->n_ends)
        put_id(w, KEY("eot_token_id"), v->ends[0]);
    ruvm_gguf_put_bool(w, KEY("add_bos_token"), v->add_bos && v->bos != RUVM_VOCAB_NONE);
    ruvm_gguf_put_bool(w, KEY("add_eos_token"), false);
    ruvm_gguf_put_bool(w, KEY("add_space_prefix"), v->space_prefix);
    if (v->chat)
        put_text(w, "tokenizer.chat_template", v->chat);
}

int ruvm_export_vocab_gguf(struct ruvm_gguf_writer *w, const struct ruvm_export_vocab *v,
                           struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    if (!v) {
        put_text(w, KEY("model"), "no_vocab");
        return RUVM_OK;
    }
    bool merges = v->vocab->kind == RUVM_TOKN_MERGES;
    put_text(w, KEY("model"), merges ? "gpt2" : "llama");
    put_text(w, KEY("pre"), merges ? pre_of(v->vocab) : "default");
    bool good = put_pieces(w, v, &arena) && (!merges || put_merges(w, v, &arena));
    put_rest(w, v->vocab);
    ruvm_arena_free(&arena);
    return good ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n);
}
