/* tokenizer.json: the vocabulary, and the steps around it that formats/tokenizer_steps.c reads.
 *
 * An encoder by scores merges the neighbours whose joined piece has the best one, Hugging Face's
 * the pair that stands first in a list: so each piece is listed with every pair of pieces that
 * it can be joined from, the best score first.
 */
#include "formats/tokenizer_steps.h"

#include <stdlib.h>
#include <string.h>

#include "lib/export/export_vocab.h"

#define META "\xe2\x96\x81" /* U+2581, which stands for a space */

/* ---- JSON ------------------------------------------------------------------------ */

static void put(struct ruvm_buffer *b, const char *text)
{
    ruvm_buffer_bytes(b, text, strlen(text));
}

static void put_escaped(struct ruvm_buffer *b, const struct ruvm_gguf_string *s)
{
    for (size_t i = 0; i < s->n; i++) {
        uint8_t c = s->text[i];
        if (c == '"' || c == '\\')
            ruvm_buffer_u8(b, '\\');
        if (c < ' ')
            ruvm_buffer_printf(b, "\\u%04x", c);
        else
            ruvm_buffer_u8(b, c);
    }
}

static void put_string(struct ruvm_buffer *b, const struct ruvm_gguf_string *s)
{
    ruvm_buffer_u8(b, '"');
    put_escaped(b, s);
    ruvm_buffer_u8(b, '"');
}

static void put_bool(struct ruvm_buffer *b, const char *key, bool value)
{
    ruvm_buffer_printf(b, "\"%s\":%s", key, value ? "true" : "false");
}

/* ---- merges ---------------------------------------------------------------------- */

struct entry {
    const struct ruvm_piece *piece;
    uint32_t id;
};

static int compare(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return order ? order : n_a < n_b ? -1 : n_a > n_b;
}

static int by_bytes(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int order = compare(a->piece->text, a->piece->n_bytes, b->piece->text, b->piece->n_bytes);
    return order ? order : a->id < b->id ? -1 : a->id > b->id;
}

static int by_score(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    if (a->piece->score > b->piece->score)
        return -1;
    return a->piece->score < b->piece->score ? 1 : a->id < b->id ? -1 : a->id > b->id;
}

/* Pieces that are found as text, in both orders. */
struct merges {
    const struct ruvm_export_vocab *v;
    struct entry *sorted, *ranked; /* [n] */
    uint32_t n;
};

/* The first piece of that text, or NULL. */
static const struct entry *find(const struct merges *m, const uint8_t *text, size_t n)
{
    uint32_t low = 0, high = m->n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        const struct ruvm_piece *p = m->sorted[mid].piece;
        if (compare(p->text, p->n_bytes, text, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == m->n)
        return NULL;
    const struct ruvm_piece *p = m->sorted[low].piece;
    return compare(p->text, p->n_bytes, text, n) == 0 ? &m->sorted[low] : NULL;
}

static void put_pair(struct ruvm_buffer *b, const struct ruvm_export_vocab *v, uint32_t left,
                     uint32_t right, bool *first)
{
    put(b, *first ? "\n\"" : ",\n\"");
    put_escaped(b, &v->texts[left]);
    put(b, " ");
    put_escaped(b, &v->texts[right]);
    put(b, "\"");
    *first = false;
}

static void put_pairs(struct ruvm_buffer *b, const struct merges *m, const struct entry *e,
                      bool *first)
{
    const struct ruvm_piece *p = e->piece;
    if (find(m, p->text, p->n_bytes)->id != e->id)
        return; /* an equal one stands before it */
    for (size_t i = 1; i < p->n_bytes; i++) {
        if ((p->text[i] & 0xC0) == 0x80)
            continue; /* inside a character */
        const struct entry *left = find(m, p->text, i);
        const struct entry *right = left ? find(m, p->text + i, p->n_bytes - i) : NULL;
        if (!right)
            continue;
        put_pair(b, m->v, left->id, right->id, first);
    }
}

static bool open_merges(struct merges *m, struct ruvm_arena *arena,
                        const struct ruvm_export_vocab *v)
{
    *m = (struct merges){.v = v};
    m->sorted = ruvm_arena_alloc(arena, (size_t)v->n + 1, sizeof *m->sorted);
    m->ranked = ruvm_arena_alloc(arena, (size_t)v->n + 1, sizeof *m->ranked);
    if (!m->sorted || !m->ranked)
        return false;
    for (uint32_t i = 0; i < v->n; i++)
        if (v->vocab->pieces[i].kind == RUVM_PIECE_NORMAL && v->vocab->pieces[i].n_bytes)
            m->sorted[m->n++] = (struct entry){&v->vocab->pieces[i], i};
    memcpy(m->ranked, m->sorted, m->n * sizeof *m->sorted);
    qsort(m->sorted, m->n, sizeof *m->sorted, by_bytes);
    qsort(m->ranked, m->n, sizeof *m->ranked, by_score);
    return true;
}

/* ---- the steps around the model ------------------------------------------------------ */

static bool has(const struct ruvm_export_vocab *v, unsigned option)
{
    return (v->vocab->options & option) != 0;
}

/* A token without text is left out where others have ids, unless it has a name to be called by. */
static bool is_left_out(const struct ruvm_export_vocab *v, uint32_t id)
{
    const struct ruvm_vocab *vocab = v->vocab;
    bool named = id == vocab->bos || id == vocab->eos || id == vocab->unk;
    return vocab->kind != RUVM_TOKN_UNIGRAM && vocab->pieces[id].n_bytes == 0 && !named;
}

static void add_special(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    bool first = true;
    put(b, "\"added_tokens\":[");
    for (uint32_t i = 0; i < v->n; i++) {
        bool silent = ruvm_export_vocab_silent(v, i);
        bool added = silent || v->vocab->pieces[i].kind == RUVM_PIECE_ADDED;
        if (!added || is_left_out(v, i))
            continue;
        ruvm_buffer_printf(b, "%s\n{\"id\":%u,\"content\":", first ? "" : ",", i);
        put_string(b, &v->texts[i]);
        put(b, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,");
        put_bool(b, "special", silent);
        put(b, "}");
        first = false;
    }
    put(b, "],\n");
}

/* Whether a step of its own puts the space and cuts at spaces, or the normalizer does. */
static bool has_metaspace(const struct ruvm_export_vocab *v)
{
    return has(v, RUVM_TOKN_FIRST_PREFIX | RUVM_TOKN_SPARE_PREFIX) ||
           (v->vocab->pattern & RUVM_PATTERN_FAMILY) == RUVM_PATTERN_SPACES;
}

static void add_normalizer(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    bool meta = has_metaspace(v), few = has(v, RUVM_TOKN_FEW_SPACES);
    if (has(v, RUVM_TOKN_BYTE_LEVEL) || (meta && !few)) {
        put(b, "\"normalizer\":null,\n");
        return;
    }
    put(b, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (few)
        put(b,
            "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},"
            "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}");
    if (!meta && v->vocab->space_prefix) {
        put(b, few ? "," : "");
        put(b, "{\"type\":\"Prepend\",\"prepend\":\"" META "\"}");
    }
    if (!meta) {
        put(b, few || v->vocab->space_prefix ? "," : "");
        put(b, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" META "\"}");
    }
    put(b, "]},\n");
}

static void add_metaspace(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    bool prefix = v->vocab->space_prefix, first = has(v, RUVM_TOKN_FIRST_PREFIX);
    ruvm_buffer_printf(b,
                       "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" META
                       "\",\"prepend_scheme\":\"%s\",",
                       !prefix ? "never"
                       : first ? "first"
                               : "always");
    put_bool(b, "split", v->vocab->pattern != 0);
    put(b, "},\n");
}

static void put_quoted(struct ruvm_buffer *b, const char *regex)
{
    put_string(b, &(struct ruvm_gguf_string){(const uint8_t *)regex, strlen(regex)});
}

static void add_byte_level(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    uint8_t pattern = v->vocab->pattern;
    bool gpt2 = (pattern & RUVM_PATTERN_FAMILY) == RUVM_PATTERN_GPT2;
    put(b, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
    if (pattern & RUVM_PATTERN_SPLIT_DIGITS) {
        put(b, "{\"type\":\"Digits\",");
        put_bool(b, "individual_digits", (pattern >> RUVM_PATTERN_DIGITS_SHIFT & 3) == 1);
        put(b, "},");
        pattern = gpt2 ? RUVM_PATTERN_GPT2 : pattern;
    }
    const char *regex = gpt2 ? NULL : ruvm_tokenizer_regex(pattern);
    if (regex) {
        put(b, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
        put_quoted(b, regex);
        put(b, "},\"behavior\":\"Isolated\",\"invert\":false},");
    }
    put(b, "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,");
    put_bool(b, "use_regex", gpt2);
    put(b, "}]},\n");
}

static void add_pre_tokenizer(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    if (has(v, RUVM_TOKN_BYTE_LEVEL))
        add_byte_level(b, v);
    else if (has_metaspace(v))
        add_metaspace(b, v);
    else
        put(b, "\"pre_tokenizer\":null,\n");
}

/* {"SpecialToken":{"id":"<s>","type_id":0}} and the text behind it */
static void put_part(struct ruvm_buffer *b, const struct ruvm_gguf_string *bos, const char *name,
                     int type)
{
    put(b, "{\"SpecialToken\":{\"id\":");
    put_string(b, bos);
    ruvm_buffer_printf(b, ",\"type_id\":%d}},{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}", type,
                       name, type);
}

static void add_template(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    uint32_t id = v->vocab->bos;
    if (!v->vocab->add_bos || id == RUVM_VOCAB_NONE) {
        put(b, "\"post_processor\":null,\n");
        return;
    }
    const struct ruvm_gguf_string *bos = &v->texts[id];
    put(b, "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    put_part(b, bos, "A", 0);
    put(b, "],\"pair\":[");
    put_part(b, bos, "A", 0);
    put(b, ",");
    put_part(b, bos, "B", 1);
    put(b, "],\"special_tokens\":{");
    put_string(b, bos);
    put(b, ":{\"id\":");
    put_string(b, bos);
    ruvm_buffer_printf(b, ",\"ids\":[%u],\"tokens\":[", id);
    put_string(b, bos);
    put(b, "]}}},\n");
}

static void add_decoder(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    if (has(v, RUVM_TOKN_BYTE_LEVEL)) {
        put(b,
            "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
            "\"trim_offsets\":true,\"use_regex\":false},\n");
        return;
    }
    put(b,
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\"" META
        "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
        "{\"type\":\"Fuse\"}");
    if (v->vocab->space_prefix)
        put(b, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    put(b, "]},\n");
}

/* ---- the model -------------------------------------------------------------------------- */

static bool has_bytes(const struct ruvm_export_vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (v->vocab->pieces[i].kind == RUVM_PIECE_BYTE)
            return true;
    return false;
}

/* Of a list as it is, or of the order of the scores. */
static bool add_merges(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    struct ruvm_arena arena = {0};
    struct merges m = {0};
    bool first = true, listed = v->vocab->kind == RUVM_TOKN_MERGES;
    bool good = listed || open_merges(&m, &arena, v);
    put(b, ",\"merges\":[");
    for (uint32_t i = 0; listed && i < v->vocab->n_merges; i++)
        put_pair(b, v, v->vocab->merges[i].left, v->vocab->merges[i].right, &first);
    for (uint32_t i = 0; i < m.n; i++)
        put_pairs(b, &m, &m.ranked[i], &first);
    put(b, "]");
    ruvm_arena_free(&arena);
    return good;
}

static bool add_bpe(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    put(b, "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (v->vocab->unk != RUVM_VOCAB_NONE)
        put_string(b, &v->texts[v->vocab->unk]);
    else
        put(b, "null");
    put(b, ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,");
    put_bool(b, "fuse_unk", has(v, RUVM_TOKN_FUSE_UNKNOWN));
    put(b, ",");
    put_bool(b, "byte_fallback", has_bytes(v));
    put(b, ",");
    put_bool(b, "ignore_merges", has(v, RUVM_TOKN_WHOLE_WORDS));
    put(b, ",\"vocab\":{");
    for (uint32_t i = 0, n = 0; i < v->n; i++) {
        if (is_left_out(v, i))
            continue;
        put(b, n++ ? ",\n" : "\n");
        put_string(b, &v->texts[i]);
        ruvm_buffer_printf(b, ":%u", i);
    }
    put(b, "}");
    bool good = add_merges(b, v);
    put(b, "}");
    return good;
}

static void add_unigram(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    put(b, "\"model\":{\"type\":\"Unigram\",\"unk_id\":");
    if (v->vocab->unk != RUVM_VOCAB_NONE)
        ruvm_buffer_printf(b, "%u,", v->vocab->unk);
    else
        put(b, "null,");
    put_bool(b, "byte_fallback", has_bytes(v));
    put(b, ",\"vocab\":[");
    for (uint32_t i = 0; i < v->n; i++) {
        put(b, i ? ",\n[" : "\n[");
        put_string(b, &v->texts[i]);
        ruvm_buffer_printf(b, ",%.9g]", (double)v->vocab->pieces[i].score);
    }
    put(b, "]}");
}

int ruvm_export_vocab_json(struct ruvm_buffer *b, const struct ruvm_export_vocab *v,
                           struct ruvm_error *err)
{
    bool good = true;
    put(b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
    add_special(b, v);
    add_normalizer(b, v);
    add_pre_tokenizer(b, v);
    add_template(b, v);
    add_decoder(b, v);
    if (v->vocab->kind == RUVM_TOKN_UNIGRAM)
        add_unigram(b, v);
    else
        good = add_bpe(b, v);
    put(b, "}\n");
    return good && ruvm_buffer_ok(b)
               ? RUVM_OK
               : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tokenizer");
}

/* ---- tokenizer_config.json ---------------------------------------------------------- */

static void put_token(struct ruvm_buffer *b, const struct ruvm_export_vocab *v, const char *key,
                      uint32_t id)
{
    if (id == RUVM_VOCAB_NONE)
        return;
    ruvm_buffer_printf(b, "  \"%s\": ", key);
    put_string(b, &v->texts[id]);
    put(b, ",\n");
}

int ruvm_export_vocab_config(struct ruvm_buffer *b, const struct ruvm_export_vocab *v,
                             uint32_t context, struct ruvm_error *err)
{
    put(b, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n");
    put_token(b, v, "bos_token", v->vocab->bos);
    put_token(b, v, "eos_token", v->vocab->eos);
    put_token(b, v, "unk_token", v->vocab->unk);
    ruvm_buffer_printf(b, "  \"add_bos_token\": %s,\n  \"add_eos_token\": false,\n",
                       v->vocab->add_bos ? "true" : "false");
    if (v->vocab->chat) {
        put(b, "  \"chat_template\": ");
        put_quoted(b, v->vocab->chat);
        put(b, ",\n");
    }
    ruvm_buffer_printf(b,
                       "  \"clean_up_tokenization_spaces\": false,\n"
                       "  \"model_max_length\": %u\n}\n",
                       context);
    return ruvm_buffer_ok(b) ? RUVM_OK
                             : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tokenizer");
}
