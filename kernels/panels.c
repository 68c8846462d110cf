/* Lays rows out as panels (panels.h); runs once a model, on workstations only. */
#include "kernels/panels.h"

enum { WORD = 4, WORDS_BYTES = WORD * RUVM_PANEL_ROWS };

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

/* Row i of a panel. */
static void pack_row(uint8_t *panel, uint32_t i, const struct ruvm_panels_source *s, uint32_t row)
{
    const uint8_t *w = s->w + (size_t)row * s->row_bytes;
    const uint32_t flip = s->bits == 8 ? s->zero * 0x01010101u : 0;
    uint8_t *to = panel + (size_t)i * WORD;
    uint32_t c = 0;
    for (; s->bits == 4 && c + 4 * WORD <= s->row_bytes; c += 4 * WORD, to += 4 * WORDS_BYTES)
        part_nibbles(to, w + c);
    for (; c < s->row_bytes; c += WORD, to += WORDS_BYTES) {
        uint32_t word;
        __builtin_memcpy(&word, w + c, WORD);
        word ^= flip;
        __builtin_memcpy(to, &word, WORD);
    }
    to = panel + (size_t)s->row_bytes * RUVM_PANEL_ROWS + i;
    for (c = 0; c < s->mult_bytes; c++)
        to[(size_t)c * RUVM_PANEL_ROWS] = s->mult[(size_t)row * s->mult_bytes + c];
}

void ruvm_panels_pack(uint8_t *to, const struct ruvm_panels_source *s)
{
    const size_t bytes = ruvm_panels_bytes(s->row_bytes, s->mult_bytes);
    for (uint32_t r = 0; r < s->n_rows; r += RUVM_PANEL_ROWS, to += bytes) {
        uint32_t left = s->n_rows - r;
        if (left < RUVM_PANEL_ROWS)
            __builtin_memset(to, 0, bytes);
        for (uint32_t i = 0; i < RUVM_PANEL_ROWS && i < left; i++)
            pack_row(to, i, s, r + i);
    }
}
