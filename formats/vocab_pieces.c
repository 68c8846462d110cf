/* What readers of tokenizer files share: the spellings of bytes and spaces, notes, and
 * which tokens end a text.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/vocab.h"
#include "lib/base/bytes.h"

/* ---- bytes and spaces --------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int ruvm_vocab_byte(const uint8_t *text, size_t n)
{
    if (n != sizeof "<0x00>" - 1 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

#define BYTES_4(n) (n), (n) + 1, (n) + 2, (n) + 3
#define BYTES_16(n) BYTES_4(n), BYTES_4((n) + 4), BYTES_4((n) + 8), BYTES_4((n) + 12)
#define BYTES_64(n) BYTES_16(n), BYTES_16((n) + 16), BYTES_16((n) + 32), BYTES_16((n) + 48)
static const uint8_t all_bytes[256] = {BYTES_64(0), BYTES_64(64), BYTES_64(128), BYTES_64(192)};

void ruvm_vocab_set_byte(struct ruvm_piece *piece, int byte)
{
    piece->kind = RUVM_PIECE_BYTE;
    piece->text = all_bytes + byte;
    piece->n_bytes = 1;
}

uint32_t ruvm_vocab_spaces(uint8_t *bytes, const uint8_t *text, uint32_t n)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (n - i >= 3 && memcmp(text + i, "\xE2\x96\x81", 3) == 0) {
            bytes[to++] = ' ';
            i += 2;
        } else {
            bytes[to++] = text[i];
        }
    }
    return to;
}

/* GPT-2 writes a printable byte as the character of that number, and the others, in order,
 * as those from U+0100 on. Such a letter takes one byte of UTF-8 or two. */
static bool is_printable(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

static int byte_of_letter(unsigned letter)
{
    if (letter < 0x100)
        return is_printable(letter) ? (int)letter : -1;
    for (unsigned byte = 0, n = 0x100; byte < 256; byte++)
        if (!is_printable(byte) && n++ == letter)
            return (int)byte;
    return -1;
}

int ruvm_vocab_letters(uint8_t *bytes, const uint8_t *text, uint32_t n)
{
    int to = 0;
    for (uint32_t i = 0, size; i < n; i += size) {
        size = ruvm_utf8_bytes(text + i, text + n);
        if (size == 0 || size > 2)
            return -1;
        unsigned letter = size == 1 ? text[i] : (text[i] & 0x1Fu) << 6 | (text[i + 1] & 0x3Fu);
        int byte = byte_of_letter(letter);
        if (byte < 0)
            return -1;
        bytes[to++] = (uint8_t)byte;
    }
    return to;
}

/* ---- notes and padding ----------------------------------------------------------- */

void ruvm_vocab_note(struct ruvm_vocab *v, struct ruvm_arena *arena, const char *fmt, ...)
{
    char text[512], all[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int n =
        snprintf(all, sizeof all, "%s%s%s", v->notes ? v->notes : "", v->notes ? "\n" : "", text);
    if (n < 0 || (size_t)n >= sizeof all)
        return;
    const char *notes = ruvm_arena_text(arena, all, (size_t)n);
    v->notes = notes ? notes : v->notes;
}

int ruvm_vocab_pad(struct ruvm_vocab *v, struct ruvm_arena *arena, uint32_t n,
                   struct ruvm_error *err)
{
    if (n <= v->n_pieces)
        return RUVM_OK;
    struct ruvm_piece *pieces = ruvm_arena_alloc(arena, n, sizeof *pieces);
    if (!pieces)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u pieces", n);
    memcpy(pieces, v->pieces, v->n_pieces * sizeof *pieces);
    for (uint32_t i = v->n_pieces; i < n; i++)
        pieces[i] = (struct ruvm_piece){.text = all_bytes, .kind = RUVM_PIECE_CONTROL};
    v->pieces = pieces;
    v->n_pieces = n;
    return RUVM_OK;
}

/* ---- the ends of a text ------------------------------------------------------------ */

void ruvm_vocab_add_end(struct ruvm_vocab *v, uint32_t id)
{
    if (id == RUVM_VOCAB_NONE || id >= v->n_pieces || id == v->bos || id == v->eos)
        return;
    for (uint32_t i = 0; i < v->n_ends; i++)
        if (v->ends[i] == id)
            return;
    if (v->n_ends < RUVM_MAX_ENDS)
        v->ends[v->n_ends++] = id;
}

/* BOS and EOS end a text by themselves. */
static void drop_named_ends(struct ruvm_vocab *v)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->n_ends; i++)
        if (v->ends[i] != v->bos && v->ends[i] != v->eos)
            v->ends[n++] = v->ends[i];
    v->n_ends = n;
}

void ruvm_vocab_configure(struct ruvm_vocab *v, uint32_t bos, uint32_t eos)
{
    uint32_t before = RUVM_VOCAB_NONE;
    if (bos < v->n_pieces)
        v->bos = bos;
    if (eos < v->n_pieces) {
        before = v->eos;
        v->eos = eos;
    }
    drop_named_ends(v);
    ruvm_vocab_add_end(v, before);
}

static uint32_t find_control(const struct ruvm_vocab *v, const char *name)
{
    size_t n = strlen(name);
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        const struct ruvm_piece *p = &v->pieces[i];
        bool special = p->kind == RUVM_PIECE_CONTROL || p->kind == RUVM_PIECE_ADDED;
        if (special && p->n_bytes == n && memcmp(p->text, name, n) == 0)
            return i;
    }
    return RUVM_VOCAB_NONE;
}

void ruvm_vocab_guess_ends(struct ruvm_vocab *v)
{
    static const char *const begins[] = {"<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>",
                                         "<|endoftext|>"};
    static const char *const ends[] = {"</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>"};
    static const char *const turns[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
                                        "<end_of_turn>"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins && v->bos == RUVM_VOCAB_NONE; i++)
        v->bos = find_control(v, begins[i]);
    for (size_t i = 0; i < sizeof ends / sizeof *ends && v->eos == RUVM_VOCAB_NONE; i++)
        v->eos = find_control(v, ends[i]);
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++)
        ruvm_vocab_add_end(v, find_control(v, turns[i]));
}
