/* A grid of numbers that people have in files: comma-separated text or a NumPy array.
 *
 *     struct ruvm_grid g;
 *     rc = ruvm_grid_read(&g, &arena, data, size, err);
 *
 * Recognised by content. Text: a row a line; commas, semicolons, tabs or blanks between the
 * numbers, whichever the first line has; a first line of names is skipped, and so are empty
 * lines and those that begin with #. The last column may hold words. NumPy: versions 1 to 3,
 * numbers of any usual type in C order, of one dimension (a row) or more (rows of the rest).
 */
#ifndef RUVM_FORMATS_GRID_H
#define RUVM_FORMATS_GRID_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/arena.h"
#include "lib/base/error.h"

struct ruvm_grid {
    uint32_t n_rows, n_cols;  /* n_cols: of numbers */
    double *v;                /* [n_rows, n_cols], all finite */
    const char *const *words; /* [n_rows] a last column of words; NULL when there is none */
};

/* Messages name the line, or the field of the header, but not the file. RUVM_ERR_CORRUPT,
 * _UNSUPPORTED, _MEMORY. */
int ruvm_grid_read(struct ruvm_grid *g, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                   struct ruvm_error *err);
/* The same of NumPy's bytes (grid_numpy.c), private to grid.c. */
int ruvm_grid_numpy(struct ruvm_grid *g, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                    struct ruvm_error *err);

#endif
