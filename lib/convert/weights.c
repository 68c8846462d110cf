/* One matrix at a time: floats in, levels out, packed into the image at once, so that a
 * large model needs room for its largest matrix only.
 */
#include "lib/convert/weights.h"

#include <string.h>

#include "lib/quant/gptq.h"
#include "lib/quant/steps.h"

int ruvm_weights_method(enum ruvm_method *method, const char *name, struct ruvm_error *err)
{
    static const struct {
        const char *name;
        enum ruvm_method method;
    } methods[] = {{"rtn", RUVM_METHOD_RTN}, {"mse", RUVM_METHOD_MSE}, {"gptq", RUVM_METHOD_GPTQ}};
    *method = RUVM_METHOD_AUTO;
    for (size_t i = 0; name && i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0)
            *method = methods[i].method;
    if (name && *method == RUVM_METHOD_AUTO)
        return ruvm_fail(err, RUVM_ERR_ARG, "method \"%s\" is not known; use rtn, mse or gptq",
                         name);
    return RUVM_OK;
}

static enum ruvm_method settle(enum ruvm_method method, int type)
{
    if (type == RUVM_TYPE_XNOR && (method == RUVM_METHOD_AUTO || method == RUVM_METHOD_GPTQ))
        return RUVM_METHOD_MSE; /* the moments are those of inputs that are not reduced */
    if (method != RUVM_METHOD_AUTO)
        return method;
    return type == RUVM_TYPE_INT8 ? RUVM_METHOD_RTN : RUVM_METHOD_GPTQ;
}

bool ruvm_weights_uses_moments(enum ruvm_method method, int type)
{
    return settle(method, type) == RUVM_METHOD_GPTQ;
}

static int round_by_moments(struct ruvm_quant_matrix *q, const float *w,
                            const struct ruvm_moments_tensor *t, struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct ruvm_gptq g;
    int rc = ruvm_gptq_open(&g, &arena, t->inputs, q->cols, err);
    if (rc == RUVM_OK)
        rc = ruvm_steps_choose(q, w, RUVM_STEPS_MSE, g.importance, err);
    if (rc == RUVM_OK)
        rc = ruvm_gptq_round(&g, q, w, err);
    if (rc == RUVM_OK && t->multiplied.outputs && !t->looked_up.inputs)
        rc = ruvm_gptq_polish(&g, q, w, t->multiplied.outputs, err);
    ruvm_arena_free(&arena);
    return rc;
}

int ruvm_weights_matrix(struct ruvm_quant_matrix *q, const float *w, enum ruvm_method method,
                        const struct ruvm_moments_tensor *t, struct ruvm_error *err)
{
    method = settle(method, q->scheme.type);
    if (method == RUVM_METHOD_GPTQ && t)
        return round_by_moments(q, w, t, err);
    enum ruvm_steps_rule rule = method == RUVM_METHOD_RTN ? RUVM_STEPS_MAX : RUVM_STEPS_MSE;
    int rc = ruvm_steps_choose(q, w, rule, NULL, err);
    if (rc == RUVM_OK)
        ruvm_steps_round(q, w);
    return rc;
}

/* ---- all of them -------------------------------------------------------------- */

struct job {
    struct ruvm_image_build *b;
    struct ruvm_student *student;
    const struct ruvm_weights_options *o;
    struct ruvm_error *err;
};

static int quantize_one(struct job *j, struct ruvm_arena *arena, uint32_t i,
                        struct ruvm_weights_loss *loss)
{
    const struct ruvm_write_tensor *t = &j->b->tensors[i];
    struct ruvm_moments_tensor moments;
    struct ruvm_quant_matrix q;
    char name[48];
    const struct ruvm_view *view = ruvm_model_tensor(j->b->model, t->kind, t->layer, name);
    float *w = ruvm_arena_alloc(arena, t->rows, t->cols * sizeof *w);
    double *work = ruvm_arena_alloc(arena, t->cols, sizeof *work);
    if (!w || !work || !ruvm_quant_matrix_open(&q, arena, j->b->schemes[i], t->rows, t->cols))
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s", name);
    int rc = ruvm_quant_weights(w, view, name, j->err);
    if (rc == RUVM_OK && j->o->moments)
        rc = ruvm_moments_tensor(j->o->moments, i, &moments, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_weights_matrix(&q, w, j->o->method, j->o->moments ? &moments : NULL, j->err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_image_build_matrix(j->b, i, &q);
    loss->snr = ruvm_quant_matrix_loss(&q, w, work);
    if (j->o->moments)
        rc = ruvm_moments_loss(&loss->kl, &moments, &q, w, j->err);
    if (rc != RUVM_OK)
        return rc;
    return j->student ? ruvm_student_matrix(j->student, t->kind, t->layer, &q, j->err) : RUVM_OK;
}

static int report(const struct job *j, uint64_t done, uint64_t total)
{
    const struct ruvm_progress *p = &j->o->progress;
    if (p->report && p->report(p->user, "quantize", done, total) != 0)
        return ruvm_fail(j->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

int ruvm_weights_quantize(struct ruvm_image_build *b, struct ruvm_student *student,
                          struct ruvm_weights_loss *losses, const struct ruvm_weights_options *o,
                          struct ruvm_error *err)
{
    struct job j = {.b = b, .student = student, .o = o, .err = err};
    uint64_t done = 0, total = 0;
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < b->n_tensors; i++)
        total += (uint64_t)b->tensors[i].rows * b->tensors[i].cols;
    for (uint32_t i = 0; i < b->n_tensors && rc == RUVM_OK; i++) {
        struct ruvm_arena arena = {0};
        losses[i] = (struct ruvm_weights_loss){0};
        rc = quantize_one(&j, &arena, i, &losses[i]);
        ruvm_arena_free(&arena);
        done += (uint64_t)b->tensors[i].rows * b->tensors[i].cols;
        if (rc == RUVM_OK)
            rc = report(&j, done, total);
    }
    return rc;
}
