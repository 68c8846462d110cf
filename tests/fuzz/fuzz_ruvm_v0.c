/* Any bytes as the bare RUVM layout: probe, read, give meaning, read every last row. */
#include <stdlib.h>

#include "formats/ruvm_v0.h"
#include "lib/import/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const struct ruvm_tensors *t)
{
    for (size_t i = 0; i < t->n_views; i++) {
        const struct ruvm_view *v = &t->views[i];
        float *row = malloc((v->dims[1] + 1) * sizeof *row);
        if (!row)
            abort();
        if (v->dims[0] > 0)
            ruvm_view_row(v, v->dims[0] - 1, row);
        free(row);
    }
}

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
