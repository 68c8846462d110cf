/* Spelling: pieces as the files of other programs have them. */
#include "lib/export/export_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

enum {
    LONGEST_BYTE = 3,   /* what a byte becomes at most: U+2581 */
    RENAMED_BYTES = 40, /* of "[token 65535 again]" */
};

/* ---- texts ---------------------------------------------------------------------- */

/* GPT-2's letters: printable ASCII and Latin-1 are themselves, the others follow U+0100 in
 * order. */
static unsigned letter_of(uint8_t byte)
{
    unsigned n = 0;
    for (unsigned b = 0; b <= byte; b++) {
        bool itself = (b > 32 && b < 127) || (b > 160 && b != 173);
        if (itself && b == byte)
            return b;
        n += !itself;
    }
    return 256 + n - 1;
}

static uint32_t spell_letter(uint8_t *to, uint8_t byte)
{
    unsigned letter = letter_of(byte);
    if (letter < 128) {
        to[0] = (uint8_t)letter;
        return 1;
    }
    to[0] = (uint8_t)(0xC0 | letter >> 6);
    to[1] = (uint8_t)(0x80 | (letter & 0x3F));
    return 2;
}

static uint32_t spell_space(uint8_t *to, uint8_t byte)
{
    if (byte != ' ') {
        to[0] = byte;
        return 1;
    }
    memcpy(to, "\xe2\x96\x81", LONGEST_BYTE);
    return LONGEST_BYTE;
}

static bool spell_text(struct ruvm_gguf_string *out, struct ruvm_arena *arena,
                       const struct ruvm_piece *p, bool letters)
{
    uint8_t *to = ruvm_arena_alloc(arena, (size_t)LONGEST_BYTE * p->n_bytes + 1, 1);
    out->text = to;
    for (uint32_t i = 0; to && i < p->n_bytes; i++)
        to += letters ? spell_letter(to, p->text[i]) : spell_space(to, p->text[i]);
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

static bool is_line_end(uint8_t c)
{
    return c == '\n' || c == '\r';
}

/* As it stands, but for the line ends that llama2.c's files have around BOS and EOS. */
static void spell_special(struct ruvm_gguf_string *out, const struct ruvm_piece *p, bool trimmed)
{
    *out = (struct ruvm_gguf_string){p->text, p->n_bytes};
    while (trimmed && out->n > 0 && is_line_end(out->text[0])) {
        out->text++;
        out->n--;
    }
    while (trimmed && out->n > 0 && is_line_end(out->text[out->n - 1]))
        out->n--;
}

static bool spell_piece(struct ruvm_gguf_string *out, struct ruvm_arena *arena,
                        const struct ruvm_vocab *v, uint32_t id)
{
    const struct ruvm_piece *p = &v->pieces[id];
    if (p->kind == RUVM_PIECE_BYTE)
        return spell_print(out, arena, "<0x%02X>", p->text[0]);
    if (p->kind == RUVM_PIECE_CONTROL || p->kind == RUVM_PIECE_ADDED)
        spell_special(out, p, !v->specials);
    else if (!spell_text(out, arena, p, (v->options & RUVM_TOKN_BYTE_LEVEL) != 0))
        return false;
    return out->n || spell_print(out, arena, "[token %u]", id);
}

/* ---- no two alike ----------------------------------------------------------------- */

struct entry {
    const struct ruvm_gguf_string *text;
    uint32_t id;
};

static int compare_texts(const struct ruvm_gguf_string *a, const struct ruvm_gguf_string *b)
{
    int order = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int by_text(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int order = compare_texts(a->text, b->text);
    return order ? order : (a->id > b->id) - (a->id < b->id);
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
        good = spell_piece(&v->texts[i], arena, vocab, i);
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
