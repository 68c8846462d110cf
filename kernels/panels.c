/* Lays rows out as panels (panels.h); runs once a model, on workstations only. */
#include "kernels/panels.h"

enum { WORD = 4, WORDS_BYTES = WORD * RUVM_PANEL_ROWS, HALF = 2 };

/* Four words of INT4, 32 columns, so that the lower nibbles are the first 16 columns and the
 * upper ones the others. */
static void part_nibbles(uint8_t *to, const uint8_t *w)
{
    static const uint32_t low = 0x0f0f0f0fu;
    uint32_t a[4];
    __builtin_memcpy(a, w, sizeof a);
    for (uint32_t i = 0; i < 4; i++, to += WORDS_BYTES) {
        uint32_t down = i % 2 * 4;
        uint32_t word = (a[i / 2] >> down & low) | (a[2 + i / 2] >> down & low) << 4;
        __builtin_memcpy(to, &word, WORD);
    }
}

/* A word of BINARY, 32 columns, as two of 16: those of the lower nibbles and of the upper ones. */
static void part_word(uint8_t *to, const uint8_t *w)
{
    uint32_t word;
    __builtin_memcpy(&word, w, sizeof word);
    for (uint32_t i = 0; i < 2; i++, to += WORDS_BYTES) {
        uint32_t nibbles = word >> 4 * i & 0x0f0f0f0fu;
        nibbles = (nibbles | nibbles >> 4) & 0x00ff00ffu;
        uint16_t half = (uint16_t)(nibbles | nibbles >> 8);
        __builtin_memcpy(to, &half, sizeof half);
    }
}

/* n bytes of a row. */
static void pack_bytes(uint8_t *to, const uint8_t *w, uint32_t n,
                       const struct ruvm_panels_source *s)
{
    const uint32_t flip = s->bits == 8 ? s->kernels->panel_zero * 0x01010101u : 0;
    uint32_t c = 0;
    for (; s->bits == 4 && c + 4 * WORD <= n; c += 4 * WORD, to += 4 * WORDS_BYTES)
        part_nibbles(to, w + c);
    for (; c < n; c += WORD, to += WORDS_BYTES) {
        uint32_t word;
        __builtin_memcpy(&word, w + c, WORD);
        word ^= flip;
        __builtin_memcpy(to, &word, WORD);
    }
}

static uint32_t panel_bytes(const struct ruvm_panels_source *s)
{
    return ruvm_panels_bytes(s->row_bytes, s->mult_bytes);
}

/* Multipliers of row i, those of a run that begins with column c, before its words. */
static void pack_mults(uint8_t *words, uint32_t i, const struct ruvm_panels_source *s, uint32_t row,
                       uint32_t c, uint32_t bytes)
{
    const uint32_t first = c / s->group / 2, left = s->mult_bytes - first;
    const uint8_t *mult = s->mult + (size_t)row * s->mult_bytes + first;
    uint8_t *to = words - bytes + i;
    for (uint32_t j = 0; j < left && j < bytes / RUVM_PANEL_ROWS; j++)
        to[(size_t)j * RUVM_PANEL_ROWS] = mult[j];
}

/* Row i of a panel, run by run. */
static void pack_row(uint8_t *panel, uint32_t i, const struct ruvm_panels_source *s, uint32_t row)
{
    const uint8_t *w = s->w + (size_t)row * s->row_bytes;
    const struct ruvm_panel_run run =
        ruvm_panel_run(s->group, s->is_far, panel_bytes(s) - s->row_bytes * RUVM_PANEL_ROWS);
    const uint32_t cols = s->row_bytes * 8 / s->bits;
    for (uint32_t c = 0, n; c < cols; c += n) {
        n = cols - c < run.cols ? cols - c : run.cols;
        uint8_t *words = panel + ruvm_panel_words_at(s->bits, run, c);
        pack_bytes(words + (size_t)i * WORD, w + c / 8 * s->bits, n / 8 * s->bits, s);
        if (s->group)
            pack_mults(words, i, s, row, c, run.mults);
    }
}

/* Row i of a pair of panels. The multipliers of an odd last byte take two. */
static void pack_row_of_pair(uint8_t *pair, uint32_t i, const struct ruvm_panels_source *s,
                             uint32_t row)
{
    const uint8_t *w = s->w + (size_t)row * s->row_bytes;
    uint8_t *to = pair + (size_t)(i % RUVM_PANEL_ROWS) * WORD + i / RUVM_PANEL_ROWS * HALF;
    for (uint32_t c = 0; c < s->row_bytes; c += WORD, to += 2 * WORDS_BYTES)
        part_word(to, w + c);
    for (uint32_t c = 0; c < s->mult_bytes; c += HALF, to += WORDS_BYTES) {
        const uint8_t *mult = s->mult + (size_t)row * s->mult_bytes + c;
        to[0] = mult[0];
        to[1] = c + 1 < s->mult_bytes ? mult[1] : 0;
    }
}

static int is_paired(const struct ruvm_panels_source *s)
{
    return s->bits == 1 && s->kernels->panel_pairs;
}

/* The rows that are laid out together, and their bytes. */
static uint32_t rows_together(const struct ruvm_panels_source *s)
{
    return is_paired(s) ? 2 * RUVM_PANEL_ROWS : RUVM_PANEL_ROWS;
}

static size_t bytes_together(const struct ruvm_panels_source *s)
{
    return (size_t)panel_bytes(s) * (rows_together(s) / RUVM_PANEL_ROWS);
}

size_t ruvm_panels_room(const struct ruvm_panels_source *s)
{
    const uint32_t rows = rows_together(s);
    return (s->n_rows + rows - 1) / rows * bytes_together(s);
}

void ruvm_panels_pack(uint8_t *to, const struct ruvm_panels_source *s)
{
    const uint32_t rows = rows_together(s);
    for (uint32_t r = 0; r < s->n_rows; r += rows, to += bytes_together(s)) {
        uint32_t left = s->n_rows - r;
        if (left < rows)
            __builtin_memset(to, 0, bytes_together(s));
        for (uint32_t i = 0; i < rows && i < left; i++) {
            if (is_paired(s))
                pack_row_of_pair(to, i, s, r + i);
            else
                pack_row(to, i, s, r + i);
        }
    }
}
