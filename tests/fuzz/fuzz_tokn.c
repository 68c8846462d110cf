/* Any bytes as the tokn section of an image, which then encodes texts. */
#include <string.h>

#include "lib/base/bytes.h"
#include "tests/fuzz/vocab_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* an image is aligned, its sections too */
    vocab_fuzz_check(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    vocab_fuzz_tokn(copy, size, size >= RUVM_TOKN_ARRAYS ? ruvm_load_u16(copy + 2) : 0);
    free(copy);
    return 0;
}
