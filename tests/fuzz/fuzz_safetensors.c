/* Any bytes as a safetensors file, and as its own second shard: probe, read, read every first
 * and last row. */
#include <stdlib.h>

#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const struct ruvm_tensors *t)
{
    for (size_t i = 0; i < t->n_views; i++) {
        const struct ruvm_view *v = &t->views[i];
        uint64_t rows = 1;
        for (uint32_t d = 0; d + 1 < v->n_dims; d++)
            rows *= v->dims[d];
        float *row = malloc(v->dims[v->n_dims - 1] * sizeof *row);
        if (!row)
            abort();
        ruvm_view_row(v, 0, row);
        ruvm_view_row(v, rows - 1, row);
        free(row);
    }
}

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
