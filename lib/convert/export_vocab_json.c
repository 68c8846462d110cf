/* tokenizer.json: the vocabulary as byte-pair merges.
 *
 * Our encoder merges the neighbours whose joined piece has the best score, Hugging Face's the
 * pair that stands first in a list: so each piece is listed with every pair of pieces that it
 * can be joined from, the best score first.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/convert/export_vocab.h"

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
        put(b, *first ? "\n\"" : ",\n\"");
        put_escaped(b, &m->v->texts[left->id]);
        put(b, " ");
        put_escaped(b, &m->v->texts[right->id]);
        put(b, "\"");
        *first = false;
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

/* ---- tokenizer.json --------------------------------------------------------------- */

static void add_special(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    bool first = true;
    put(b, "\"added_tokens\":[");
    for (uint32_t i = 0; i < v->n; i++) {
        if (!ruvm_export_vocab_silent(v, i))
            continue;
        ruvm_buffer_printf(b, "%s\n{\"id\":%u,\"content\":", first ? "" : ",", i);
        put_string(b, &v->texts[i]);
        put(b,
            ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
            "\"special\":true}");
        first = false;
    }
    put(b, "],\n");
}

static void add_normalizer(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    put(b, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (v->vocab->space_prefix)
        put(b, "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},");
    put(b,
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\n"
        "\"pre_tokenizer\":null,\n");
}

static void add_template(struct ruvm_buffer *b, const struct ruvm_gguf_string *bos, uint32_t id)
{
    put(b,
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
        "{\"id\":");
    put_string(b, bos);
    put(b,
        ",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":["
        "{\"SpecialToken\":{\"id\":");
    put_string(b, bos);
    put(b,
        ",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":"
        "{\"id\":");
    put_string(b, bos);
    put(b, ",\"type_id\":1}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{");
    put_string(b, bos);
    put(b, ":{\"id\":");
    put_string(b, bos);
    ruvm_buffer_printf(b, ",\"ids\":[%u],\"tokens\":[", id);
    put_string(b, bos);
    put(b, "]}}},\n");
}

static void add_decoder(struct ruvm_buffer *b, const struct ruvm_export_vocab *v)
{
    put(b,
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
        "{\"type\":\"Fuse\"}");
    if (v->vocab->space_prefix)
        put(b, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    put(b, "]},\n");
}

static bool has_bytes(const struct ruvm_export_vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (v->vocab->pieces[i].kind == RUVM_PIECE_BYTE)
            return true;
    return false;
}

static void add_model(struct ruvm_buffer *b, const struct merges *m)
{
    const struct ruvm_export_vocab *v = m->v;
    bool first = true;
    put(b, "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (v->vocab->unk != RUVM_NO_TOKEN)
        put_string(b, &v->texts[v->vocab->unk]);
    else
        put(b, "null");
    put(b,
        ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
        "\"fuse_unk\":false,\"ignore_merges\":false,");
    put_bool(b, "byte_fallback", has_bytes(v));
    put(b, ",\"vocab\":{");
    for (uint32_t i = 0; i < v->n; i++) {
        put(b, i ? ",\n" : "\n");
        put_string(b, &v->texts[i]);
        ruvm_buffer_printf(b, ":%u", i);
    }
    put(b, "},\"merges\":[");
    for (uint32_t i = 0; i < m->n; i++)
        put_pairs(b, m, &m->ranked[i], &first);
    put(b, "]}");
}

int ruvm_export_vocab_json(struct ruvm_buffer *b, const struct ruvm_export_vocab *v,
                           struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct merges m;
    bool good = open_merges(&m, &arena, v);
    if (good) {
        put(b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
        add_special(b, v);
        add_normalizer(b, v);
        if (v->vocab->add_bos && v->vocab->bos != RUVM_NO_TOKEN)
            add_template(b, &v->texts[v->vocab->bos], v->vocab->bos);
        else
            put(b, "\"post_processor\":null,\n");
        add_decoder(b, v);
        add_model(b, &m);
        put(b, "}\n");
    }
    ruvm_arena_free(&arena);
    return good && ruvm_buffer_ok(b)
               ? RUVM_OK
               : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tokenizer");
}

/* ---- tokenizer_config.json ---------------------------------------------------------- */

static void put_token(struct ruvm_buffer *b, const struct ruvm_export_vocab *v, const char *key,
                      uint32_t id)
{
    if (id == RUVM_NO_TOKEN)
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
    ruvm_buffer_printf(b,
                       "  \"clean_up_tokenization_spaces\": false,\n"
                       "  \"model_max_length\": %u\n}\n",
                       context);
    return ruvm_buffer_ok(b) ? RUVM_OK
                             : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the tokenizer");
}
