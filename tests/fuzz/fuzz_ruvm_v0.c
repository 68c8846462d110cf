/* Any bytes as the bare RUVM layout: probe, read, give meaning, read rows. */
#include <stdlib.h>

#include "formats/ruvm_v0.h"
#include "lib/import/model.h"
#include "tests/fuzz/read_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_model m;
    struct ruvm_error err = {0};
    ruvm_v0_probe(data, size);
    if (ruvm_v0_read(&t, &arena, data, size, &err) == RUVM_OK) {
        read_rows(&t);
        ruvm_model_from_tensors(&m, &arena, &t, &err);
    } else if (err.text[0] == '\0') {
        abort();
    }
    ruvm_arena_free(&arena);
    return 0;
}
