/* Any bytes as an ONNX model: its graph, its directory, and the decoder that may be in it. */
#include <stdlib.h>

#include "formats/onnx.h"
#include "lib/import/onnx_graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_ROW = 1 << 16 };

/* Reads each value of each view. */
static void touch(const struct ruvm_tensors *t)
{
    volatile float sum = 0;
    for (size_t i = 0; i < t->n_views; i++) {
        const struct ruvm_view *v = &t->views[i];
        uint64_t cols = v->dims[v->n_dims - 1], rows = v->n_dims > 1 && cols ? v->dims[0] : 1;
        for (uint32_t k = 1; k + 1 < v->n_dims; k++)
            rows *= v->dims[k];
        float *row = cols && cols <= MAX_ROW ? malloc(cols * sizeof *row) : NULL;
        for (uint64_t r = 0; row && r < rows; r++) {
            ruvm_view_row(v, r, row);
            sum = sum + row[cols - 1];
        }
        free(row);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors tensors, config = {0};
    struct ruvm_onnx onnx;
    struct ruvm_error err = {0}, why = {0};
    struct ruvm_onnx_operator *operators;
    ruvm_onnx_probe(data, size);
    if (ruvm_onnx_read(&tensors, &arena, data, size, NULL) == RUVM_OK)
        touch(&tensors);
    ruvm_tensors_meta(&config, &arena, "max_seq_len", 64);
    if (ruvm_onnx_parse(&onnx, &arena, data, size, &err) == RUVM_OK) {
        if (ruvm_onnx_operators(&operators, &arena, &onnx) < 0)
            abort();
        if (ruvm_onnx_graph_read(&tensors, &arena, &onnx, &config, &why) == RUVM_OK)
            touch(&tensors);
        else if (why.text[0] == '\0')
            abort();
    } else if (err.text[0] == '\0')
        abort();
    ruvm_arena_free(&arena);
    return 0;
}
