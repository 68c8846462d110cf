/* One matrix at a time: floats in, levels out, packed into the image at once.
 *
 * With moments a matrix is seen as a whole. Without them its rows have nothing to do with each
 * other but the exponent of their scales: they are read twice, a slice at a time, so that not
 * even the largest matrix needs room.
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
    bool automatic = method == RUVM_METHOD_AUTO || method == RUVM_METHOD_AUTO_LARGE;
    if (type == RUVM_TYPE_XNOR && (automatic || method == RUVM_METHOD_GPTQ))
        return RUVM_METHOD_MSE; /* the moments are those of inputs that are not reduced */
    if (!automatic)
        return method;
    if (type == RUVM_TYPE_INT8)
        return RUVM_METHOD_RTN;
    return method == RUVM_METHOD_AUTO ? RUVM_METHOD_GPTQ : RUVM_METHOD_MSE;
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

static enum ruvm_steps_rule rule_of(enum ruvm_method settled)
{
    return settled == RUVM_METHOD_RTN ? RUVM_STEPS_MAX : RUVM_STEPS_MSE;
}

int ruvm_weights_matrix(struct ruvm_quant_matrix *q, const float *w, enum ruvm_method method,
                        const struct ruvm_moments_tensor *t, struct ruvm_error *err)
{
    method = settle(method, q->scheme.type);
    if (method == RUVM_METHOD_GPTQ && t)
        return round_by_moments(q, w, t, err);
    int rc = ruvm_steps_choose(q, w, rule_of(method), NULL, err);
    if (rc == RUVM_OK)
        ruvm_steps_round(q, w);
    return rc;
}

/* ---- all of them -------------------------------------------------------------- */

struct job {
    struct ruvm_image_build *b;
    struct ruvm_student *student;
    const struct ruvm_weights_options *o;
    uint64_t done, total; /* weights */
    struct ruvm_error *err;
};

static int report(const struct job *j, uint64_t more)
{
    const struct ruvm_progress *p = &j->o->progress;
    if (p->report && p->report(p->user, "quantize", j->done + more, j->total) != 0)
        return ruvm_fail(j->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

static int short_of_memory(const struct job *j, const char *name)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s", name);
}

static int quantize_whole(struct job *j, struct ruvm_arena *arena, uint32_t i,
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
        return short_of_memory(j, name);
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

/* ---- in slices ---------------------------------------------------------------- */

enum {
    SLICE_WEIGHTS = 1 << 18, /* a megabyte of floats for each thread */
    SLICES_A_TURN = 32,      /* between two reports */
};

/* A matrix of which each thread has a slice at a time. */
struct slicing {
    struct job *j;
    const struct ruvm_view *view;
    char name[48];
    uint32_t tensor, rows_a_slice;
    enum ruvm_steps_rule rule;
    struct ruvm_quant_matrix q; /* without levels */
    double *scale;              /* [rows] */
    struct ruvm_quant_energy *energy;
    uint32_t first; /* slice of this turn */
    /* [threads]: floats and levels of a slice, values of a row */
    float *w;
    int8_t *level;
    double *work;
    struct ruvm_error *errors; /* [SLICES_A_TURN] */
};

static uint32_t n_slices(const struct slicing *s)
{
    return (s->q.rows + s->rows_a_slice - 1) / s->rows_a_slice;
}

/* Slice i of this turn, and its floats in *w. */
static struct ruvm_quant_matrix take_slice(struct slicing *s, uint32_t i, uint32_t thread,
                                           uint32_t *first, float **w)
{
    size_t size = (size_t)s->rows_a_slice * s->q.cols;
    *first = (s->first + i) * s->rows_a_slice;
    uint32_t left = s->q.rows - *first, n = left < s->rows_a_slice ? left : s->rows_a_slice;
    *w = s->w + thread * size;
    ruvm_quant_weights_rows(*w, s->view, *first, n, s->name, &s->errors[i]);
    return ruvm_quant_matrix_slice(&s->q, *first, n, s->level + thread * size);
}

static void find_steps(void *user, uint32_t i, uint32_t thread)
{
    struct slicing *s = user;
    uint32_t first;
    float *w;
    struct ruvm_quant_matrix slice = take_slice(s, i, thread, &first, &w);
    if (s->errors[i].code == RUVM_OK)
        ruvm_steps_find(&slice, s->scale + first, w, s->rule, NULL, &s->errors[i]);
}

static void pack(void *user, uint32_t i, uint32_t thread)
{
    struct slicing *s = user;
    uint32_t first;
    float *w;
    struct ruvm_quant_matrix slice = take_slice(s, i, thread, &first, &w);
    ruvm_steps_round(&slice, w);
    ruvm_quant_matrix_energy(s->energy + first, &slice, w, s->work + (size_t)thread * s->q.cols);
    ruvm_image_build_rows(s->j->b, s->tensor, first, &slice);
}

/* All slices; half: 0 or 1, of the work on this matrix. */
static int run_slices(struct slicing *s, void (*each)(void *, uint32_t, uint32_t), uint32_t half)
{
    struct ruvm_pool *pool = s->j->o->pool;
    uint32_t n = n_slices(s);
    int rc = RUVM_OK;
    for (s->first = 0; s->first < n && rc == RUVM_OK; s->first += SLICES_A_TURN) {
        uint32_t left = n - s->first, now = left < SLICES_A_TURN ? left : SLICES_A_TURN;
        if (pool)
            ruvm_pool_run(pool, each, s, now);
        for (uint32_t i = 0; i < now && !pool; i++)
            each(s, i, 0);
        for (uint32_t i = 0; i < now && rc == RUVM_OK; i++)
            if (s->errors[i].code != RUVM_OK)
                rc = ruvm_fail(s->j->err, s->errors[i].code, "%s", s->errors[i].text);
        uint64_t weights = (uint64_t)s->q.rows * s->q.cols, slices = s->first + now;
        if (rc == RUVM_OK)
            rc = report(s->j, weights * (half * n + slices) / (2 * (uint64_t)n));
    }
    return rc;
}

static bool open_slicing(struct slicing *s, struct ruvm_arena *arena, uint32_t rows, uint32_t cols)
{
    uint32_t threads = s->j->o->pool ? ruvm_pool_threads(s->j->o->pool) : 1;
    s->rows_a_slice = SLICE_WEIGHTS / cols ? SLICE_WEIGHTS / cols : 1;
    size_t size = (size_t)s->rows_a_slice * cols;
    s->w = ruvm_arena_alloc(arena, threads * size, sizeof *s->w);
    s->level = ruvm_arena_alloc(arena, threads, size);
    s->work = ruvm_arena_alloc(arena, threads, cols * sizeof *s->work);
    s->scale = ruvm_arena_alloc(arena, rows, sizeof *s->scale);
    s->energy = ruvm_arena_alloc(arena, rows, sizeof *s->energy);
    s->errors = ruvm_arena_alloc(arena, SLICES_A_TURN, sizeof *s->errors);
    return s->w && s->level && s->work && s->scale && s->energy && s->errors &&
           ruvm_quant_matrix_open_sliced(&s->q, arena, s->j->b->schemes[s->tensor], rows, cols);
}

static int quantize_slices(struct job *j, struct ruvm_arena *arena, uint32_t i,
                           struct ruvm_weights_loss *loss)
{
    const struct ruvm_write_tensor *t = &j->b->tensors[i];
    struct slicing s = {.j = j, .tensor = i};
    s.rule = rule_of(settle(j->o->method, j->b->schemes[i].type));
    s.view = ruvm_model_tensor(j->b->model, t->kind, t->layer, s.name);
    if (!open_slicing(&s, arena, t->rows, t->cols))
        return short_of_memory(j, s.name);
    int rc = run_slices(&s, find_steps, 0);
    if (rc != RUVM_OK)
        return rc;
    ruvm_steps_take(&s.q, s.scale);
    rc = run_slices(&s, pack, 1);
    loss->snr = ruvm_quant_energy_loss(s.energy, t->rows);
    return rc;
}

/* ---- each of them ------------------------------------------------------------- */

static int quantize_one(struct job *j, uint32_t i, struct ruvm_weights_loss *loss)
{
    struct ruvm_arena arena = {0};
    *loss = (struct ruvm_weights_loss){0};
    int rc = j->o->moments || j->student ? quantize_whole(j, &arena, i, loss)
                                         : quantize_slices(j, &arena, i, loss);
    ruvm_arena_free(&arena);
    j->done += (uint64_t)j->b->tensors[i].rows * j->b->tensors[i].cols;
    return rc == RUVM_OK ? report(j, 0) : rc;
}

int ruvm_weights_quantize(struct ruvm_image_build *b, struct ruvm_student *student,
                          struct ruvm_weights_loss *losses, const struct ruvm_weights_options *o,
                          struct ruvm_error *err)
{
    struct job j = {.b = b, .student = student, .o = o, .err = err};
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < b->n_tensors; i++)
        j.total += (uint64_t)b->tensors[i].rows * b->tensors[i].cols;
    for (uint32_t i = 0; i < b->n_tensors && rc == RUVM_OK; i++)
        rc = quantize_one(&j, i, &losses[i]);
    return rc;
}
