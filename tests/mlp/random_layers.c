#include "tests/mlp/random_layers.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/random.h"
#include "lib/mlp/compose.h"

static double spread(uint64_t *state, double size)
{
    return (2 * ruvm_random_unit(state) - 1) * size;
}

void random_layers_make(struct ruvm_layers *l, struct ruvm_arena *arena,
                        const struct random_layers *o)
{
    uint64_t state = o->seed;
    *l = (struct ruvm_layers){.output = o->output};
    while (o->widths[l->n + 1])
        l->n++;
    l->layer = ruvm_arena_alloc(arena, l->n, sizeof *l->layer);
    for (uint32_t i = 0; i < l->n; i++) {
        struct ruvm_layer *y = &l->layer[i];
        y->cols = o->widths[i];
        y->rows = o->widths[i + 1];
        y->act = i + 1 < l->n ? o->act : RUVM_MLP_ACT_NONE;
        y->slope = y->act == RUVM_MLP_ACT_LEAKY_RELU ? 0.2 : 0;
        y->w = ruvm_arena_alloc(arena, (size_t)y->rows * y->cols, sizeof *y->w);
        y->bias = ruvm_arena_alloc(arena, y->rows, sizeof *y->bias);
        for (uint32_t k = 0; k < y->rows * y->cols; k++)
            y->w[k] = (float)spread(&state, 2 / sqrt(y->cols));
        for (uint32_t r = 0; r < y->rows; r++)
            y->bias[r] = spread(&state, 0.5);
    }
}

uint8_t *random_layers_image(size_t *size, const struct ruvm_layers *l,
                             const struct random_layers *o)
{
    struct ruvm_arena arena = {0};
    struct ruvm_error err = {0};
    struct ruvm_inputs in;
    struct ruvm_scheme schemes[8];
    struct ruvm_quant_loss loss[8];
    struct ruvm_buffer out = {0};
    uint32_t n = ruvm_layers_inputs(l);
    struct ruvm_mlp_input *records = calloc(n, sizeof *records);
    cr_assert(ruvm_inputs_ranges(&in, &arena, l, NULL, 2, &err) == RUVM_OK, "%s", err.text);
    cr_assert(ruvm_inputs_records(&in, records, &err) == RUVM_OK, "%s", err.text);
    for (uint32_t i = 0; i < l->n; i++)
        cr_assert(ruvm_scheme_parse(&schemes[i], o->type, &err) == RUVM_OK, "%s", err.text);
    const struct ruvm_compose c = {.layers = l,
                                   .schemes = schemes,
                                   .inputs = &in,
                                   .records = records,
                                   .labels = o->labels,
                                   .labels_bytes = o->labels ? strlen(o->labels) : 0,
                                   .loss = loss};
    cr_assert(ruvm_compose_image(&out, &arena, &c, &err) == RUVM_OK, "%s", err.text);
    uint8_t *image = aligned_alloc(64, (out.size + 63) / 64 * 64);
    memcpy(image, out.data, out.size);
    *size = out.size;
    ruvm_buffer_free(&out);
    ruvm_arena_free(&arena);
    free(records);
    return image;
}

void random_layers_row(double *x, uint32_t n, uint64_t *state)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = spread(state, 4);
}
