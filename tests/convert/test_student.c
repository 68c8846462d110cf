/* The student is its model but for what was put into it. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lib/convert/student.h"
#include "lib/quant/steps.h"
#include "tests/support/prune_tiny.h"

/* A matrix of the model in a type. */
static struct ruvm_quant_matrix quantize(struct opened *o, const struct ruvm_view *v, uint8_t type)
{
    struct ruvm_quant_matrix q;
    struct ruvm_arena *arena = &o->source.arena;
    uint32_t rows = (uint32_t)v->dims[0], cols = (uint32_t)v->dims[1];
    float *w = ruvm_arena_alloc(arena, rows, cols * sizeof *w);
    cr_assert_eq(ruvm_quant_weights(w, v, "w", NULL), RUVM_OK);
    cr_assert(ruvm_quant_matrix_open(&q, arena, (struct ruvm_scheme){type, 0}, rows, cols));
    cr_assert_eq(ruvm_steps_choose(&q, w, RUVM_STEPS_MAX, NULL, NULL), RUVM_OK);
    ruvm_steps_round(&q, w);
    return q;
}

static void check_view(const struct ruvm_view *v, const struct ruvm_quant_matrix *q)
{
    double row[64];
    cr_assert(v->n_dims == 2 && v->dims[0] == q->rows && v->dims[1] == q->cols);
    for (uint32_t r = 0; r < q->rows; r++) {
        ruvm_quant_matrix_row(q, r, row);
        for (uint32_t c = 0; c < q->cols; c++)
            cr_assert_float_eq((double)prune_at(v, r, c), (double)(float)row[c], 0.0);
    }
    cr_assert_eq(v->signs, q->scheme.type == RUVM_TYPE_XNOR);
}

Test(student, each_matrix_goes_to_its_place)
{
    static const uint8_t types[] = {RUVM_TYPE_INT4, RUVM_TYPE_XNOR};
    for (int kind = RUVM_TENSOR_EMBED; kind <= RUVM_TENSOR_HEAD; kind++)
        for (int i = 0; i < 2; i++) {
            struct opened o = prune_open(false);
            const struct ruvm_model *m = &o.s.model;
            struct ruvm_student s;
            char name[48];
            unsigned layer = kind == RUVM_TENSOR_EMBED || kind == RUVM_TENSOR_HEAD ? 0 : 1;
            cr_assert_eq(ruvm_student_open(&s, &o.source.arena, m, NULL), RUVM_OK);
            const struct ruvm_view *before = ruvm_model_tensor(m, kind, layer, name);
            struct ruvm_quant_matrix q = quantize(&o, before, types[i]);
            cr_assert_eq(ruvm_student_matrix(&s, kind, layer, &q, NULL), RUVM_OK);
            check_view(ruvm_model_tensor(&s.model, kind, layer, name), &q);
            cr_assert(ruvm_model_tensor(m, kind, layer, name) == before, "the model is as it was");
            for (int other = RUVM_TENSOR_EMBED; other <= RUVM_TENSOR_HEAD; other++)
                for (unsigned l = 0; l < m->n_layers; l++)
                    cr_assert((other == kind && (l == layer || layer == 0)) ||
                              ruvm_model_tensor(&s.model, other, l, name) ==
                                  ruvm_model_tensor(m, other, l, name));
            ruvm_source_close(&o.source);
        }
}

Test(student, a_tied_head_follows_the_embedding)
{
    struct opened o = prune_open(false);
    struct ruvm_model m = o.s.model;
    struct ruvm_student s;
    m.tied = true;
    m.head = m.embed;
    cr_assert_eq(ruvm_student_open(&s, &o.source.arena, &m, NULL), RUVM_OK);
    struct ruvm_quant_matrix q = quantize(&o, m.embed, RUVM_TYPE_INT8);
    cr_assert_eq(ruvm_student_matrix(&s, RUVM_TENSOR_EMBED, 0, &q, NULL), RUVM_OK);
    cr_assert(s.model.head == s.model.embed && s.model.embed != m.embed);
    ruvm_source_close(&o.source);
}

Test(student, norms_in_their_order)
{
    struct opened o = prune_open(false);
    const struct ruvm_model *m = &o.s.model;
    struct ruvm_student s;
    float gains[7 * 24];
    for (int i = 0; i < 7 * 24; i++)
        gains[i] = (float)i;
    cr_assert(m->n_layers == 3 && m->dim == 24);
    cr_assert_eq(ruvm_student_open(&s, &o.source.arena, m, NULL), RUVM_OK);
    cr_assert_eq(ruvm_student_norms(&s, gains, NULL), RUVM_OK);
    for (uint32_t l = 0; l <= 3; l++) {
        const struct ruvm_view *first = l == 3 ? s.model.final_norm : s.model.layers[l].attn_norm;
        cr_assert(first->n_dims == 1 && first->dims[0] == 24 && first->bytes == 96);
        cr_assert_float_eq((double)ruvm_tensors_f32(first->data), 48.0 * l, 0.0);
        if (l < 3)
            cr_assert_float_eq((double)ruvm_tensors_f32(s.model.layers[l].ffn_norm->data + 4),
                               48.0 * l + 25, 0.0);
    }
    cr_assert(m->layers[0].attn_norm != s.model.layers[0].attn_norm);
    ruvm_source_close(&o.source);
}
