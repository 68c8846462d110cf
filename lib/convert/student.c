/* Views of floats take the place of the source's views; all else is shared with it. */
#include "lib/convert/student.h"

#include <math.h>
#include <string.h>

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY,
                     "memory is short for the quantized weights: they take 4 bytes each here");
}

int ruvm_student_open(struct ruvm_student *s, struct ruvm_arena *arena, const struct ruvm_model *m,
                      struct ruvm_error *err)
{
    *s = (struct ruvm_student){.model = *m, .arena = arena};
    s->model.layers = ruvm_arena_alloc(arena, m->n_layers, sizeof *m->layers);
    if (!s->model.layers)
        return no_memory(err);
    memcpy(s->model.layers, m->layers, m->n_layers * sizeof *m->layers);
    return RUVM_OK;
}

static struct ruvm_view *add_view(struct ruvm_student *s, const float *data, uint64_t rows,
                                  uint64_t cols)
{
    struct ruvm_view *v = ruvm_arena_alloc(s->arena, 1, sizeof *v);
    if (v)
        *v = (struct ruvm_view){.name = "student",
                                .dtype = RUVM_DTYPE_F32,
                                .n_dims = rows ? 2 : 1,
                                .dims = {rows ? rows : cols, rows ? cols : 0},
                                .data = (const uint8_t *)data,
                                .bytes = (rows ? rows : 1) * cols * sizeof *data};
    return v;
}

static void put(struct ruvm_student *s, int kind, unsigned layer, const struct ruvm_view *v)
{
    if (kind == RUVM_TENSOR_POSITION) {
        s->model.positions = *v;
        return;
    }
    *ruvm_model_place(&s->model, kind, layer) = v;
    if (kind == RUVM_TENSOR_EMBED && s->model.tied)
        s->model.head = v;
}

int ruvm_student_matrix(struct ruvm_student *s, int kind, unsigned layer,
                        const struct ruvm_quant_matrix *q, struct ruvm_error *err)
{
    float *w = ruvm_arena_alloc(s->arena, q->rows, q->cols * sizeof *w);
    double *row = ruvm_arena_alloc(s->arena, q->cols, sizeof *row);
    struct ruvm_view *v = w ? add_view(s, w, q->rows, q->cols) : NULL;
    if (!v || !row)
        return no_memory(err);
    for (uint32_t r = 0; r < q->rows; r++) {
        ruvm_quant_matrix_row(q, r, row);
        for (uint32_t c = 0; c < q->cols; c++)
            w[(size_t)r * q->cols + c] = (float)row[c];
    }
    v->signs = q->scheme.type == RUVM_TYPE_XNOR;
    put(s, kind, layer, v);
    return RUVM_OK;
}

int ruvm_student_packed(struct ruvm_student *s, int kind, unsigned layer,
                        const struct ruvm_student_packed *p, struct ruvm_error *err)
{
    struct ruvm_view *v = ruvm_arena_alloc(s->arena, 1, sizeof *v);
    if (!v)
        return no_memory(err);
    *v = (struct ruvm_view){.name = "student",
                            .dtype = RUVM_DTYPE_CODES,
                            .n_dims = 2,
                            .dims = {p->rows, p->cols},
                            .data = p->data,
                            .bytes = ruvm_scheme_data_bytes(p->scheme, p->rows, p->cols),
                            .scales = p->scales,
                            .group = p->scheme.group,
                            .scale = ldexpf(1.0f, p->scale_exp),
                            .codes = p->scheme.type,
                            .signs = p->scheme.type == RUVM_TYPE_XNOR};
    put(s, kind, layer, v);
    return RUVM_OK;
}

int ruvm_student_norms(struct ruvm_student *s, const float *gains, struct ruvm_error *err)
{
    uint32_t dim = s->model.dim, n = s->model.n_layers;
    for (uint32_t i = 0; i <= 2 * n; i++) {
        struct ruvm_view *v = add_view(s, gains + (size_t)i * dim, 0, dim);
        if (!v)
            return no_memory(err);
        if (i == 2 * n)
            s->model.final_norm = v;
        else if (i % 2 == 0)
            s->model.layers[i / 2].attn_norm = v;
        else
            s->model.layers[i / 2].ffn_norm = v;
    }
    return RUVM_OK;
}

int ruvm_student_bias(struct ruvm_student *s, int kind, unsigned layer, const float *x, uint32_t n,
                      struct ruvm_error *err)
{
    struct ruvm_view *v = add_view(s, x, 0, n);
    if (!v)
        return no_memory(err);
    if (kind == RUVM_BIAS_FINAL_NORM)
        s->model.final_bias = v;
    else
        s->model.layers[layer].bias[kind] = v;
    return RUVM_OK;
}
