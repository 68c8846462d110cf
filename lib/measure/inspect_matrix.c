/* The tensors of a subject as rows of floats, under the names of the file or our own.
 *
 * By meaning, a float model and an image have the same parts: matrices, gains, biases. What
 * a file stores in one tensor and another in three is then in three.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "lib/import/names.h"
#include "lib/measure/inspect_subject.h"
#include "lib/quant/scheme.h"

/* ---- rows ------------------------------------------------------------------------- */

/* A level times its multiplier has 8 bits at most, times a 16-bit scale 24: exact as a
 * float. */
static void read_levels(const struct ruvm_tensor *t, uint64_t row, float *out, int8_t *levels)
{
    double scale = ldexp(t->scales[row], t->scale_exp);
    ruvm_codes_unpack(t->type, levels, (const uint8_t *)t->data + row * t->row_bytes, t->cols);
    for (uint32_t i = 0; i < t->cols; i++) {
        int mult = (int)ruvm_image_multiplier(t, (uint32_t)row, i);
        out[i] = (float)(levels[i] * mult * scale);
    }
}

void ruvm_matrix_row(const struct ruvm_matrix *m, uint64_t r, float *out, int8_t *levels)
{
    if (m->view)
        ruvm_view_row(m->view, r, out);
    else if (!m->vector)
        read_levels(&m->tensor, r, out, levels);
    for (uint64_t i = 0; m->vector && i < m->cols; i++)
        out[i] = (float)ldexp(m->vector[i], m->vector_exp);
}

float *ruvm_matrix_room(const struct ruvm_matrix *m, size_t n)
{
    size_t one = sizeof(float) + 1;
    return m->cols < SIZE_MAX / (n * one) ? malloc((size_t)m->cols * n * one + 1) : NULL;
}

/* ---- lists -------------------------------------------------------------------------- */

struct listing {
    struct ruvm_matrix *list;
    size_t n;
    struct ruvm_subject *s;
    bool no_memory;
};

static void add(struct listing *l, const struct ruvm_matrix *m, const char *name)
{
    struct ruvm_matrix *to = &l->list[l->n++];
    *to = *m;
    to->name = ruvm_arena_text(&l->s->arena, name, strlen(name));
    l->no_memory |= !to->name;
}

static void add_view(struct listing *l, const struct ruvm_view *v, const char *name)
{
    if (!v)
        return;
    struct ruvm_matrix m = {.view = v, .n_dims = v->n_dims, .rows = 1};
    memcpy(m.dims, v->dims, sizeof m.dims);
    m.cols = v->dims[v->n_dims - 1];
    for (uint32_t i = 0; i + 1 < v->n_dims; i++)
        m.rows *= v->dims[i];
    if (v->dtype == RUVM_DTYPE_I8_GROUPS)
        snprintf(m.type, sizeof m.type, "int8 groups of %u", v->group);
    else
        snprintf(m.type, sizeof m.type, "%s", ruvm_dtype_name(v->dtype));
    add(l, &m, name);
}

static void add_tensor(struct listing *l, const struct ruvm_tensor *t)
{
    char name[RUVM_NAME_BYTES];
    struct ruvm_matrix m = {
        .tensor = *t, .n_dims = 2, .dims = {t->rows, t->cols}, .rows = t->rows, .cols = t->cols};
    ruvm_scheme_write(m.type, (struct ruvm_scheme){t->type, t->group});
    add(l, &m, ruvm_names_write(name, sizeof name, NULL, t->kind, t->layer));
}

static void add_vector(struct listing *l, const int16_t *vector, uint32_t n, int exp,
                       const char *name)
{
    struct ruvm_matrix m = {.vector = vector,
                            .vector_exp = (int8_t)exp,
                            .n_dims = 1,
                            .dims = {n},
                            .rows = 1,
                            .cols = n,
                            .type = "int16"};
    if (vector)
        add(l, &m, name);
}

/* ---- by meaning ---------------------------------------------------------------------- */

/* What has the bias of each enum ruvm_bias_kind. */
static const int bias_roles[RUVM_N_BIASES] = {
    RUVM_TENSOR_WQ,     RUVM_TENSOR_WK,       RUVM_TENSOR_WV,     RUVM_TENSOR_WO,
    RUVM_TENSOR_W_UP,   RUVM_TENSOR_W_GATE,   RUVM_TENSOR_W_DOWN, RUVM_ROLE_ATTN_NORM,
    RUVM_ROLE_FFN_NORM, RUVM_ROLE_FINAL_NORM,
};

static const char *bias_name(char *name, int kind, unsigned layer)
{
    return ruvm_names_write_bias(name, RUVM_NAME_BYTES, NULL, bias_roles[kind], layer);
}

static void list_model(struct listing *l, const struct ruvm_model *m)
{
    char name[RUVM_NAME_BYTES];
    add_view(l, m->embed, "embed");
    if (m->pos == RUVM_POS_LEARNED)
        add_view(l, &m->positions, "positions");
    for (unsigned i = 0; i < m->n_layers; i++) {
        const struct ruvm_layer *layer = &m->layers[i];
        for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++) {
            const struct ruvm_view *v = ruvm_model_tensor(m, kind, i, name);
            add_view(l, v, name);
        }
        add_view(l, layer->attn_norm,
                 ruvm_names_write(name, sizeof name, NULL, RUVM_ROLE_ATTN_NORM, i));
        add_view(l, layer->ffn_norm,
                 ruvm_names_write(name, sizeof name, NULL, RUVM_ROLE_FFN_NORM, i));
        for (int kind = 0; kind < RUVM_BIAS_FINAL_NORM; kind++)
            add_view(l, layer->bias[kind], bias_name(name, kind, i));
    }
    add_view(l, m->final_norm, "final_norm");
    add_view(l, m->final_bias, bias_name(name, RUVM_BIAS_FINAL_NORM, 0));
    if (!m->tied)
        add_view(l, m->head, "head");
}

static void list_vectors(struct listing *l, const struct ruvm_image *img)
{
    static const int roles[] = {RUVM_ROLE_ATTN_NORM, RUVM_ROLE_FFN_NORM};
    char name[RUVM_NAME_BYTES];
    unsigned n = 2u * img->n_layers + 1;
    for (unsigned i = 0; i < n; i++) {
        int role = i + 1 == n ? RUVM_ROLE_FINAL_NORM : roles[i % 2];
        add_vector(l, img->norm_gain + (size_t)i * img->dim, img->dim, img->norm_exp[i],
                   ruvm_names_write(name, sizeof name, NULL, role, i / 2));
    }
    for (int kind = 0; kind < RUVM_N_BIASES; kind++)
        for (unsigned i = 0; i < (kind == RUVM_BIAS_FINAL_NORM ? 1u : img->n_layers); i++) {
            struct ruvm_bias b = ruvm_image_bias(img, (enum ruvm_bias_kind)kind, i);
            add_vector(l, b.m, b.n, b.exp, bias_name(name, kind, i));
        }
}

static void list_image(struct listing *l, const struct ruvm_image *img, bool by_meaning)
{
    for (unsigned i = 0; i < img->n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        add_tensor(l, &t);
    }
    if (by_meaning)
        list_vectors(l, img);
}

int ruvm_subject_list(struct ruvm_matrix **list, size_t *n, struct ruvm_subject *s, bool by_meaning,
                      struct ruvm_error *err)
{
    const struct ruvm_tensors *t = &s->container.tensors;
    size_t layers = s->is_image ? s->img.n_layers : s->has_model ? s->model.n_layers : 0;
    size_t most = t->n_views + 5 + layers * (7 + 2 + RUVM_BIAS_FINAL_NORM);
    struct listing l = {.list = ruvm_arena_alloc(&s->arena, most, sizeof **list), .s = s};
    if (l.list && s->is_image)
        list_image(&l, &s->img, by_meaning);
    else if (l.list && by_meaning)
        list_model(&l, &s->model);
    for (size_t i = 0; l.list && !s->is_image && !by_meaning && i < t->n_views; i++)
        add_view(&l, &t->views[i], t->views[i].name);
    *list = l.list;
    *n = l.n;
    return l.list && !l.no_memory ? RUVM_OK
                                  : ruvm_fail(err, RUVM_ERR_MEMORY,
                                              "%s: memory is short for its description", s->name);
}
