/* Spelling: pieces as SentencePiece's own files have them, and those as GGUF's keys. */
#include "lib/convert/export_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

enum {
    SPACE_BYTES = 3,    /* of U+2581 */
    RENAMED_BYTES = 40, /* of "[token 17 again: 65535]" */
};

/* ---- texts ---------------------------------------------------------------------- */

static size_t count_spaces(const uint8_t *text, size_t n)
{
    size_t spaces = 0;
    for (size_t i = 0; i < n; i++)
        spaces += text[i] == ' ';
    return spaces;
}

static bool is_line_end(uint8_t c)
{
    return c == '\n' || c == '\r';
}

static bool spell_text(struct ruvm_gguf_string *out, struct ruvm_arena *arena, const uint8_t *text,
                       size_t n)
{
    uint8_t *to = ruvm_arena_alloc(arena, n + (SPACE_BYTES - 1) * count_spaces(text, n) + 1, 1);
    out->text = to;
    for (size_t i = 0; to && i < n; i++) {
        if (text[i] == ' ')
            memcpy(to, "\xe2\x96\x81", SPACE_BYTES);
        else
            *to = text[i];
        to += text[i] == ' ' ? SPACE_BYTES : 1;
    }
    out->n = to ? (size_t)(to - out->text) : 0;
    return to != NULL;
}

static bool spell_print(struct ruvm_gguf_string *out, struct ruvm_arena *arena, const char *fmt,
                        uint32_t number)
{
    char text[RENAMED_BYTES];
    int n = snprintf(text, sizeof text, fmt, number);
    out->text = (const uint8_t *)ruvm_arena_text(arena, text, (size_t)n);
    out->n = (size_t)n;
    return out->text != NULL;
}

static bool spell_piece(struct ruvm_gguf_string *out, struct ruvm_arena *arena,
                        const struct ruvm_piece *p, uint32_t id)
{
    const uint8_t *text = p->text;
    size_t n = p->n_bytes;
    if (p->kind == RUVM_PIECE_BYTE)
        return spell_print(out, arena, "<0x%02X>", text[0]);
    for (; p->kind == RUVM_PIECE_CONTROL && n > 0 && is_line_end(text[0]); n--)
        text++;
    while (p->kind == RUVM_PIECE_CONTROL && n > 0 && is_line_end(text[n - 1]))
        n--;
    return n ? spell_text(out, arena, text, n) : spell_print(out, arena, "[token %u]", id);
}

/* ---- no two alike ----------------------------------------------------------------- */

struct entry {
    const struct ruvm_gguf_string *text;
    uint32_t id;
};

static int compare_texts(const struct ruvm_gguf_string *a, const struct ruvm_gguf_string *b)
{
    size_t n = a->n < b->n ? (size_t)a->n : (size_t)b->n;
    int order = memcmp(a->text, b->text, n);
    return order ? order : a->n < b->n ? -1 : a->n > b->n;
}

static int by_text(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int order = compare_texts(a->text, b->text);
    return order ? order : a->id < b->id ? -1 : a->id > b->id;
}

/* The encoder finds the first of equal ones; llama.cpp would find the last, and ends when there
 * are several. */
static bool rename_later(struct ruvm_export_vocab *v, struct ruvm_arena *arena)
{
    struct entry *order = ruvm_arena_alloc(arena, (size_t)v->n + 1, sizeof *order);
    bool *again = ruvm_arena_alloc(arena, (size_t)v->n + 1, sizeof *again);
    bool good = order && again;
    for (uint32_t i = 0; good && i < v->n; i++)
        order[i] = (struct entry){&v->texts[i], i};
    if (good)
        qsort(order, v->n, sizeof *order, by_text);
    for (uint32_t i = 1; good && i < v->n; i++)
        again[order[i].id] = compare_texts(order[i - 1].text, order[i].text) == 0;
    for (uint32_t i = 0; good && i < v->n; i++)
        if (again[i]) {
            v->n_renamed++;
            good = spell_print(&v->texts[i], arena, "[token %u again]", i);
        }
    return good;
}

static bool is_utf8(const struct ruvm_gguf_string *s)
{
    const uint8_t *p = s->text, *end = p + s->n;
    while (p < end) {
        uint32_t n = ruvm_utf8_bytes(p, end);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

int ruvm_export_vocab_spell(struct ruvm_export_vocab *v, struct ruvm_arena *arena,
                            const struct ruvm_vocab *vocab, struct ruvm_error *err)
{
    *v = (struct ruvm_export_vocab){.vocab = vocab, .n = vocab->n_pieces};
    v->texts = ruvm_arena_alloc(arena, (size_t)v->n + 1, sizeof *v->texts);
    bool good = v->texts != NULL;
    for (uint32_t i = 0; i < v->n && good; i++)
        good = spell_piece(&v->texts[i], arena, &vocab->pieces[i], i);
    if (!good || !rename_later(v, arena))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n);
    while (v->not_utf8 < v->n && is_utf8(&v->texts[v->not_utf8]))
        v->not_utf8++;
    return RUVM_OK;
}

bool ruvm_export_vocab_silent(const struct ruvm_export_vocab *v, uint32_t id)
{
    const struct ruvm_piece *p = &v->vocab->pieces[id];
    return p->kind == RUVM_PIECE_CONTROL || p->n_bytes == 0;
}

/* ---- GGUF ------------------------------------------------------------------------ */

/* llama.cpp's types of tokens. */
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_BYTE = 6 };

static int32_t type_of(const struct ruvm_export_vocab *v, uint32_t id)
{
    if (ruvm_export_vocab_silent(v, id))
        return id == v->vocab->unk ? TOKEN_UNKNOWN : TOKEN_CONTROL;
    return v->vocab->pieces[id].kind == RUVM_PIECE_BYTE ? TOKEN_BYTE : TOKEN_NORMAL;
}

static void put_id(struct ruvm_gguf_writer *w, const char *key, uint32_t id)
{
    if (id != RUVM_NO_TOKEN)
        ruvm_gguf_put_u32(w, key, id);
}

static void put_text(struct ruvm_gguf_writer *w, const char *key, const char *text)
{
    ruvm_gguf_put_text(w, key, text, strlen(text));
}

int ruvm_export_vocab_gguf(struct ruvm_gguf_writer *w, const struct ruvm_export_vocab *v,
                           struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    if (!v) {
        put_text(w, "tokenizer.ggml.model", "no_vocab");
        return RUVM_OK;
    }
    float *scores = ruvm_arena_alloc(&arena, v->n, sizeof *scores);
    int32_t *types = ruvm_arena_alloc(&arena, v->n, sizeof *types);
    int rc = scores && types
                 ? RUVM_OK
                 : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n);
    for (uint32_t i = 0; rc == RUVM_OK && i < v->n; i++) {
        scores[i] = v->vocab->pieces[i].score;
        types[i] = type_of(v, i);
    }
    if (rc == RUVM_OK) {
        put_text(w, "tokenizer.ggml.model", "llama");
        put_text(w, "tokenizer.ggml.pre", "default");
        ruvm_gguf_put_texts(w, "tokenizer.ggml.tokens", v->texts, v->n);
        ruvm_gguf_put_f32s(w, "tokenizer.ggml.scores", scores, v->n);
        ruvm_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, v->n);
        put_id(w, "tokenizer.ggml.bos_token_id", v->vocab->bos);
        put_id(w, "tokenizer.ggml.eos_token_id", v->vocab->eos);
        put_id(w, "tokenizer.ggml.unknown_token_id", v->vocab->unk);
        ruvm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", v->vocab->add_bos);
        ruvm_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", false);
        ruvm_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", v->vocab->space_prefix);
    }
    ruvm_arena_free(&arena);
    return rc;
}
