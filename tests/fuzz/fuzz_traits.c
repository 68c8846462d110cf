/* Any bytes as metadata of a memory: read or refused, and what is read can be weighed. */
#include <stdlib.h>

#include "lib/base/status.h"
#include "lib/memory/traits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_traits t = ruvm_traits_plain();
    const struct ruvm_context c = {.now = 1000000, .n_tags = 1, .tags = {{1, 2}}};
    int rc = ruvm_traits_read(&t, (const char *)data, size);
    if (rc != RUVM_OK && rc != RUVM_ERR_CORRUPT)
        abort();
    if (t.type >= RUVM_MEMORY_N_TYPES || t.importance > 100 || t.n_tags > RUVM_TRAITS_MAX_TAGS)
        abort();
    ruvm_traits_weight_q16(&t, &c);
    return 0;
}
