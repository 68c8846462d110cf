/* Prune columns: which inputs a matrix can best do without, and how the others make up for
 * them.
 *
 * Columns go in whole blocks (a head, or a single unit). What a block costs is the mean
 * square by which the output W x changes once the columns that stay have been fitted again
 * to what they can tell about it: the closed form of Optimal Brain Surgeon (Hassibi, Stork,
 * NIPS 1992), applied to blocks one after another as in ZipLM (arXiv 2302.04089).
 */
#ifndef RUVM_PRUNE_PRUNE_COLUMNS_H
#define RUVM_PRUNE_PRUNE_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/arena.h"
#include "lib/base/error.h"

struct ruvm_prune_columns {
    uint32_t rows, cols;
    uint32_t block;    /* columns that go together; divides cols */
    uint32_t n_remove; /* blocks to take; fewer than there are */
    double *w;         /* [rows, cols]; out: fitted again, removed columns 0 */
    double *moments;   /* [cols, cols] sum of x x^T over inputs; destroyed */
    bool *removed;     /* [cols / block] out */
};

/* Removes the block that costs least, n_remove times; of equals the first. Only additions,
 * multiplications and divisions in one order: the same on every machine. RUVM_ERR_CORRUPT:
 * moments or weights are not finite; _MEMORY. */
int ruvm_prune_columns(const struct ruvm_prune_columns *p, struct ruvm_arena *work,
                       struct ruvm_error *err);

#endif
