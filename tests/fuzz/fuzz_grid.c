/* Any bytes as rows of numbers: text or NumPy's file. What is read is finite and all there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/grid.h"
#include "lib/base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_error err = {0};
    struct ruvm_grid g;
    int rc = ruvm_grid_read(&g, &arena, data, size, &err);
    if (rc != RUVM_OK && !err.text[0])
        abort();
    for (size_t i = 0; rc == RUVM_OK && i < (size_t)g.n_rows * g.n_cols; i++)
        if (!isfinite(g.v[i]))
            abort();
    for (uint32_t r = 0; rc == RUVM_OK && g.words && r < g.n_rows; r++)
        if (strlen(g.words[r]) > 63)
            abort();
    ruvm_arena_free(&arena);
    return 0;
}
