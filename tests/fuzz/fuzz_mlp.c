/* Any bytes as a classifier: as an image, as it is and with its checksums made right, which runs
 * when it opens; and as an ONNX graph, whose layers run.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "lib/mlp/classifier.h"
#include "lib/mlp/graph.h"
#include "tests/support/repair_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_WORK = 1 << 20 };

static void run_image(const uint8_t *image, size_t size)
{
    struct ruvm_classifier c;
    struct ruvm_error err = {0};
    struct ruvm_mlp_info info;
    if (ruvm_classifier_open(&c, image, size, NULL, "fuzz", &err) != RUVM_OK)
        return;
    if (ruvm_mlp_info(&info, image, size) != RUVM_OK)
        abort();
    for (uint32_t i = 0; i < c.image.img.dim; i++)
        c.x[i] = i % 3 == 0 ? INT32_MIN : i % 3 == 1 ? INT32_MAX : (int32_t)i;
    if (info.n_weights < MOST_WORK)
        ruvm_classifier_eval(&c);
    ruvm_mlp_probabilities(c.mlp, c.logits, c.p);
    if (ruvm_mlp_best(c.mlp, c.logits) >= info.n_classes)
        abort();
    size_t n;
    ruvm_mlp_label(c.mlp, info.n_classes - 1u, &n);
    ruvm_classifier_close(&c);
}

static void run_graph(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_onnx o;
    struct ruvm_layers l;
    struct ruvm_error err = {0};
    if (ruvm_onnx_parse(&o, &arena, data, size, NULL) == RUVM_OK && ruvm_graph_is_classifier(&o)) {
        int rc = ruvm_graph_read(&l, &arena, &o, &err);
        if (rc != RUVM_OK && !err.text[0])
            abort();
        if (rc == RUVM_OK) {
            uint32_t widest = ruvm_layers_widest(&l);
            double *work = ruvm_arena_alloc(&arena, 4 * (size_t)widest, sizeof *work);
            if (work)
                ruvm_layers_run(&l, work + 3 * widest, work + 2 * widest, work);
        }
    }
    ruvm_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *image;
    if (posix_memalign(&image, 64, size + !size) != 0)
        return 0;
    memcpy(image, data, size);
    run_image(image, size);
    repair_image(image, size);
    run_image(image, size);
    free(image);
    run_graph(data, size);
    return 0;
}
