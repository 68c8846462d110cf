/* Any bytes as vectors that people bring: .npy or JSONL. What is read is finite and all there. */
#include <math.h>
#include <stdlib.h>

#include "lib/base/error.h"
#include "lib/bundle/given.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_error err = {0};
    struct ruvm_given g;
    int32_t x[1024];
    int rc = ruvm_given_parse(&g, "fuzzed", data, size, &err);
    if ((rc == RUVM_OK) != (err.text[0] == '\0') || (rc == RUVM_OK && (g.n == 0 || g.dims > 1024)))
        abort();
    for (size_t i = 0; rc == RUVM_OK && i < (size_t)g.n * g.dims; i++)
        if (!isfinite((double)g.v[i]))
            abort();
    for (uint32_t i = 0; rc == RUVM_OK && i < g.n; i++) {
        ruvm_given_scale(x, g.v + (size_t)i * g.dims, g.dims);
        for (uint32_t k = 0; k < g.dims; k++)
            if (x[k] > 1 << 24 || x[k] < -(1 << 24))
                abort();
    }
    ruvm_given_free(&g);
    return 0;
}
