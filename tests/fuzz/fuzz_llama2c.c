/* Any bytes as a llama2.c checkpoint: probe, read, give meaning, read every first and
 * last row. */
#include <stdlib.h>

#include "formats/llama2c.h"
#include "lib/import/model.h"
#include "tests/fuzz/read_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_model m;
    struct ruvm_error err = {0};
    ruvm_llama2c_probe(data, size);
    if (ruvm_llama2c_read(&t, &arena, data, size, &err) == RUVM_OK) {
        read_rows(&t);
        ruvm_model_from_tensors(&m, &arena, &t, &err);
    } else if (err.text[0] == '\0') {
        abort();
    }
    ruvm_arena_free(&arena);
    return 0;
}
