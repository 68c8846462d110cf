/* Tiles: rows of a stored matrix become tiles of floats, which several inputs multiply.
 *
 *     ruvm_tiles_rows(&rows, view, first, room);
 *     ruvm_tiles_make(tile, &rows, 0, n);
 *     ruvm_tiles_multiply(out, tile, x, n, false);
 *
 * A few columns at a time, so that a tile stays near the processor; a sum goes on where the
 * columns before ended. Every way gives the same bits: see floats.h.
 */
#ifndef RUVM_CONVERT_TILES_H
#define RUVM_CONVERT_TILES_H

#include "formats/tensors.h"
#include "lib/convert/floats.h"

/* LANES rows where they stand; those beyond the end of the matrix are its last one again. */
struct ruvm_tiles_rows {
    enum ruvm_dtype dtype;                 /* F32, F16 or BF16 */
    const uint8_t *row[RUVM_FLOATS_LANES]; /* values side by side, or ... */
    uint64_t stride;                       /* ... columns of so many, row[0] within the first */
    size_t ahead;                          /* bytes to what is likely to be read next, or 0 */
};

/* Rows of the view from `first` on, which is less than its rows. room: [LANES, cols] floats,
 * for types that cannot be read where they stand. */
void ruvm_tiles_rows(struct ruvm_tiles_rows *rows, const struct ruvm_view *v, uint32_t first,
                     float *room);
/* Columns first .. first + n as a tile [n, LANES]. */
void ruvm_tiles_make(float *tile, const struct ruvm_tiles_rows *rows, uint32_t first, uint32_t n);

/* The sums over the columns of a tile for each of x.n inputs go to out, or are added to what
 * is there. */
void ruvm_tiles_multiply(struct ruvm_floats_vectors out, const float *tile,
                         struct ruvm_floats_vectors x, uint32_t cols, bool add);

#endif
