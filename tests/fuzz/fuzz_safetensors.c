/* Any bytes as a safetensors file, and as its own second shard: probe, read, read every first
 * and last row. */
#include <stdlib.h>

#include "formats/safetensors.h"
#include "tests/fuzz/read_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_error err = {0};
    ruvm_safetensors_probe(data, size);
    if (ruvm_safetensors_read(&t, &arena, data, size, &err) == RUVM_OK) {
        read_rows(&t);
        if (t.n_views && ruvm_safetensors_add(&t, &arena, data, size, NULL) == RUVM_OK)
            abort(); /* each name twice */
    } else if (err.text[0] == '\0') {
        abort();
    }
    ruvm_arena_free(&arena);
    return 0;
}
