/* Panels: the rows of a matrix laid out once more, as vector units like them best.
 *
 *     uint8_t *memory = ...; // ruvm_panels_room(&source) bytes
 *     ruvm_panels_pack(memory, &source);
 *     k->matmul_panels(&(struct ruvm_matmul_panels){.w = memory, ...});
 *
 * A panel holds 16 rows side by side: the first 32-bit word of each, then the second of
 * each, and so on. So a register takes one word of all 16 rows, sums need not be added up across
 * its lanes, and memory is read in one stream. In the same way it holds the bytes of multipliers,
 * before the words that they are for: those of all columns, or of eight groups at a time where
 * weights come from memory, for which the others would be a stream of their own.
 *
 * A byte of INT8 is stored plus 128 where the table wants it so (panel_zero), for VNNI multiplies
 * unsigned by signed. INT4 has of 32 columns the first 16 in the lower nibbles of four words and
 * the others in the upper ones: sums of either are wanted, and of the upper ones they can be had
 * without a shift of the weights.
 *
 * Where the table wants it (panel_pairs), two panels of BINARY are mixed in one block of memory:
 * 16 columns of the first row of one and of the first row of the other, 16-bit words, then of the
 * second rows, and so on. Bit 4b + f of a word is column 4f + b. Multipliers are such words too,
 * two of their bytes each, and always behind all of the weights. A last panel alone takes the
 * room of two.
 *
 * Rows beyond the last one are zeros. It takes as much room as the rows do, so a workstation
 * makes it when a model is opened; a chip reads the image.
 */
#ifndef RUVM_KERNELS_PANELS_H
#define RUVM_KERNELS_PANELS_H

#include "kernels/kernels.h"

/* The rows as the image holds them; row_bytes is a multiple of 4. */
struct ruvm_panels_source {
    const uint8_t *w, *mult;            /* [n_rows, row_bytes], [n_rows, mult_bytes] */
    uint32_t bits;                      /* 8, 4, 3, 2 or 1 */
    uint32_t group, is_far;             /* as of struct ruvm_matmul_panels */
    const struct ruvm_kernels *kernels; /* that they are for */
    uint32_t n_rows, row_bytes, mult_bytes;
};

/* Columns whose multipliers are together, and their bytes in a panel. */
struct ruvm_panel_run {
    uint32_t cols, mults;
};

enum {
    RUVM_PANEL_FAR_GROUPS = 8,
    RUVM_PANEL_FAR_MULTS = RUVM_PANEL_FAR_GROUPS / 2 * RUVM_PANEL_ROWS
};

/* group: 0 for none, which is one run; mults: the bytes of all multipliers of a panel. */
static inline struct ruvm_panel_run ruvm_panel_run(uint32_t group, uint32_t is_far, uint32_t mults)
{
    if (group && is_far)
        return (struct ruvm_panel_run){RUVM_PANEL_FAR_GROUPS * group, RUVM_PANEL_FAR_MULTS};
    return (struct ruvm_panel_run){UINT32_MAX, group ? mults : 0};
}

/* Where in a panel the words of column c are, the first of a word. */
static inline size_t ruvm_panel_words_at(uint32_t bits, struct ruvm_panel_run run, uint32_t c)
{
    return (size_t)c * bits * RUVM_PANEL_ROWS / 8 + (size_t)(c / run.cols + 1) * run.mults;
}

/* Bytes of all panels of the rows. */
size_t ruvm_panels_room(const struct ruvm_panels_source *s);
/* to: as many, aligned to RUVM_PANEL_ALIGN. A part of a matrix begins with an even panel. */
void ruvm_panels_pack(uint8_t *to, const struct ruvm_panels_source *s);

#endif
