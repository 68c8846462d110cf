/* Distillation: the quantized student learns from what the float model writes.
 *
 * Its text is drawn by several copies of the float model at once, each with its own seed, so
 * that the text does not depend on how many processors there are.
 */
#define _POSIX_C_SOURCE 200809L /* access */
#include "lib/train/distill.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/base/pool.h"
#include "lib/convert/quantize_job.h"
#include "lib/quant/steps.h"

enum {
    N_WRITERS = 8,
    STEP_TOKENS = 1024, /* drawn for each step, which sees some of them again */
    TEXT_TOKENS_MIN = 1 << 16,
    TEXT_TOKENS_MAX = 1 << 22, /* then it is read again: a million was learned by heart */
    CHECKPOINT_STEPS = 100,
};
#define MIN_STEP 1e-12f
#define DISTILL_SEED 0x94D049BB133111EBu

struct lesson {
    struct ruvm_quantize_job *j;
    struct ruvm_arena arena; /* of all below */
    struct ruvm_network teacher, student;
    struct ruvm_distill_matrix *matrices; /* [n_tensors] */
    struct ruvm_text text;
    struct ruvm_distill *d;
};

/* ---- text ---------------------------------------------------------------------- */

struct writer {
    struct ruvm_arena arena;
    struct ruvm_text text;
    struct ruvm_error err;
    int rc;
};

struct writers {
    struct ruvm_quantize_job *j;
    struct writer list[N_WRITERS];
    uint64_t n_positions; /* of each */
    atomic_bool stop;     /* the caller wants no more */
};

/* Progress of the writers beside the caller's thread: nothing is shown, but they stop. */
static int see_stop(void *user, const char *stage, uint64_t done, uint64_t total)
{
    const struct writers *all = user;
    (void)stage, (void)done, (void)total;
    return atomic_load(&all->stop);
}

/* Progress of the writer on the caller's thread, where the caller may be asked. */
static int ask_stop(void *user, const char *stage, uint64_t done, uint64_t total)
{
    struct writers *all = user;
    const struct ruvm_progress *p = &all->j->o->progress;
    int stop = atomic_load(&all->stop) || (p->report && p->report(p->user, stage, done, total));
    if (stop)
        atomic_store(&all->stop, true);
    return stop;
}

static void write_part(void *user, uint32_t i, uint32_t thread)
{
    struct writers *all = user;
    struct writer *w = &all->list[i];
    struct ruvm_quantize_job *j = all->j;
    const struct ruvm_model *m = &j->source.model;
    struct ruvm_reference *reference;
    struct ruvm_samples_options o =
        ruvm_quantize_samples(j, "sample", all->n_positions,
                              (ruvm_quantize_seed(j) ^ DISTILL_SEED) + i * 0x632BE59BD9B4E019u);
    o.progress = (struct ruvm_progress){.report = thread == 0 ? ask_stop : see_stop, .user = all};
    w->rc = ruvm_reference_open(&reference, &w->arena, m, m->context, &w->err);
    if (w->rc == RUVM_OK)
        w->rc = ruvm_samples_draw(&w->text, &w->arena, reference, m->vocab, &o, &w->err);
}

static void append(struct ruvm_text *to, const struct ruvm_text *from)
{
    for (uint32_t w = 0; w < from->n_windows; w++) {
        ruvm_text_window(to, from->tokens[from->first[w]]);
        for (uint32_t i = from->first[w] + 1; i < from->first[w + 1]; i++)
            ruvm_text_token(to, from->tokens[i]);
    }
}

/* A long text is taken from all over it. */
static int append_given(struct lesson *l, uint64_t n_positions, const struct ruvm_text *given)
{
    struct ruvm_arena work = {0};
    struct ruvm_text part;
    int rc = ruvm_text_spread(&part, &work, given, n_positions, l->j->err);
    if (rc == RUVM_OK)
        append(&l->text, &part);
    ruvm_arena_free(&work);
    return rc;
}

static int write_text(struct lesson *l, uint64_t n_positions, const struct ruvm_text *given)
{
    struct writers all = {.j = l->j, .n_positions = (n_positions + N_WRITERS - 1) / N_WRITERS};
    struct ruvm_pool *pool;
    int rc = ruvm_pool_open(&pool, l->j->o->threads, l->j->err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_pool_run(pool, write_part, &all, N_WRITERS);
    ruvm_pool_close(pool);
    for (int i = 0; i < N_WRITERS && rc == RUVM_OK; i++)
        if (all.list[i].rc != RUVM_OK)
            rc = ruvm_fail(l->j->err, all.list[i].rc, "%s", all.list[i].err.text);
    if (rc == RUVM_OK &&
        !ruvm_text_reserve(&l->text, &l->arena,
                           all.n_positions * N_WRITERS + (given ? n_positions : 0)))
        rc = ruvm_fail(l->j->err, RUVM_ERR_MEMORY, "memory is short for the text to learn from");
    for (int i = 0; i < N_WRITERS; i++) {
        if (rc == RUVM_OK)
            append(&l->text, &all.list[i].text);
        ruvm_arena_free(&all.list[i].arena);
    }
    if (rc == RUVM_OK && given)
        rc = append_given(l, n_positions, given);
    if (rc == RUVM_OK)
        ruvm_text_window(&l->text, ruvm_source_start(&l->j->source));
    return rc;
}

/* What the float model writes, and as much again at most of the text given for calibration:
 * alone that may be too little, and would be learned by heart. */
static int find_text(struct lesson *l)
{
    uint64_t n = (uint64_t)l->j->o->distill_steps * STEP_TOKENS;
    n = n < TEXT_TOKENS_MIN ? TEXT_TOKENS_MIN : n > TEXT_TOKENS_MAX ? TEXT_TOKENS_MAX : n;
    return write_text(l, n, l->j->calibration);
}

/* ---- the lesson ------------------------------------------------------------------ */

/* The step and the latent weight of each weight of a row, so that training begins with the
 * levels that the quantizer chose: the float weight, or the nearest to it that is rounded
 * to that level. */
static void start_row(const struct ruvm_tensor *t, uint32_t row, int8_t *levels, float *steps,
                      float *w)
{
    const uint8_t *mult = t->mult ? t->mult + (size_t)row * t->mult_bytes : NULL;
    uint32_t group = t->group ? t->group : t->cols;
    float scale = ldexpf((float)ruvm_load_u16((const uint8_t *)(t->scales + row)), t->scale_exp);
    int max = ruvm_codes_max_level(t->type);
    float reach = t->type == RUVM_TYPE_INT8 || t->type == RUVM_TYPE_TERNARY ? 0.49f : 0.98f;
    ruvm_codes_unpack(t->type, levels, (const uint8_t *)t->data + (size_t)row * t->row_bytes,
                      t->cols);
    for (uint32_t c = 0; c < t->cols; c++) {
        float step = scale * (float)(mult ? ruvm_codes_mult(mult, c / group) : 1u);
        float low = ((float)levels[c] - reach) * step, high = ((float)levels[c] + reach) * step;
        if (c % group == 0)
            steps[c / group] = step > MIN_STEP ? step : MIN_STEP;
        if (levels[c] > -max && w[c] < low)
            w[c] = low;
        if (levels[c] < max && w[c] > high)
            w[c] = high;
    }
}

static int start_matrix(struct lesson *l, const struct ruvm_tensor *t, uint32_t i)
{
    struct ruvm_distill_matrix *m = &l->matrices[i];
    const float *source = l->student.matrices[i].w;
    uint32_t n_groups = t->group ? (t->cols + t->group - 1) / t->group : 1;
    float *steps = ruvm_arena_alloc(&l->arena, t->rows, n_groups * sizeof *steps);
    float *w = ruvm_arena_alloc(&l->arena, t->rows, t->cols * sizeof *w);
    int8_t *levels = ruvm_arena_alloc(&l->arena, t->cols, 1);
    if (!steps || !w || !levels)
        return ruvm_fail(l->j->err, RUVM_ERR_MEMORY, "memory is short for a student");
    memcpy(w, source, (size_t)t->rows * t->cols * sizeof *w);
    for (uint32_t r = 0; r < t->rows; r++)
        start_row(t, r, levels, steps + (size_t)r * n_groups, w + (size_t)r * t->cols);
    m->steps = steps;
    m->weights = w;
    return RUVM_OK;
}

/* Training begins where the quantizer ended: with the image made so far. */
static int start_all(struct lesson *l)
{
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    int rc = ruvm_image_open(&img, l->j->image.data, l->j->image.size, &fault);
    for (uint32_t i = 0; i < l->j->n_tensors && rc == RUVM_OK; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&img, i);
        rc = start_matrix(l, &t, i);
    }
    return rc;
}

static int open_student(struct lesson *l)
{
    struct ruvm_quantize_job *j = l->j;
    l->matrices = ruvm_arena_alloc(&l->arena, j->n_tensors, sizeof *l->matrices);
    if (!l->matrices)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a student");
    for (uint32_t i = 0; i < j->n_tensors; i++)
        l->matrices[i] =
            (struct ruvm_distill_matrix){.type = j->schemes[i].type, .group = j->schemes[i].group};
    int rc = ruvm_network_open(&l->teacher, &l->arena, &j->source.model, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_network_open(&l->student, &l->arena, &j->model, j->err);
    return rc == RUVM_OK ? start_all(l) : rc;
}

static int train(struct lesson *l)
{
    const struct ruvm_quantize_options *o = l->j->o;
    struct ruvm_distill_options d = {
        .teacher = &l->teacher,
        .student = &l->student,
        .matrices = l->matrices,
        .text = &l->text,
        .steps = o->distill_steps,
        .soft = 0.4f,
        .seed = ruvm_quantize_seed(l->j),
        .threads = o->threads,
        .checkpoint = o->checkpoint,
        .checkpoint_steps = CHECKPOINT_STEPS,
        .resume = o->checkpoint && access(o->checkpoint, F_OK) == 0,
        .progress = o->progress,
    };
    int rc = ruvm_distill_open(&l->d, &d, l->j->err);
    if (rc != RUVM_OK)
        return rc;
    l->j->r->distill.first_step = ruvm_distill_steps_done(l->d);
    return ruvm_distill_run(l->d, l->j->err);
}

/* The mean of the first part with the weights that the image would hold, and of the last. */
static void describe(struct lesson *l)
{
    struct ruvm_quantize_distill *r = &l->j->r->distill;
    double curve[RUVM_DISTILL_CURVE];
    ruvm_distill_curve(l->d, curve);
    r->steps = l->j->o->distill_steps;
    r->seconds = ruvm_distill_seconds(l->d);
    r->tokens = ruvm_distill_tokens_done(l->d);
    r->threads = ruvm_distill_threads(l->d);
    for (uint32_t i = ruvm_distill_first_hard(l->d); i < RUVM_DISTILL_CURVE; i++)
        if (curve[i] > 0.0) {
            r->kl_before = r->kl_before > 0.0 ? r->kl_before : curve[i];
            r->kl_after = curve[i];
        }
    l->j->r->has_distill = true;
}

/* ---- what was learned -------------------------------------------------------------- */

static int take_matrix(struct lesson *l, uint32_t i)
{
    struct ruvm_quantize_job *j = l->j;
    const struct ruvm_scheme_tensor *t = &j->tensors[i];
    struct ruvm_arena arena = {0};
    struct ruvm_quant_matrix q;
    double *scale = ruvm_arena_alloc(&arena, t->rows, sizeof *scale);
    double *work = ruvm_arena_alloc(&arena, t->cols, sizeof *work);
    if (!scale || !work || !ruvm_quant_matrix_open(&q, &arena, j->schemes[i], t->rows, t->cols)) {
        ruvm_arena_free(&arena);
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s", t->name);
    }
    ruvm_distill_matrix(l->d, i, q.level, scale, q.mult);
    ruvm_steps_take(&q, scale);
    ruvm_image_build_matrix(&j->build, i, &q);
    j->losses[i].snr = ruvm_quant_matrix_loss(&q, l->student.matrices[i].w, work);
    j->losses[i].kl = 0.0; /* its moments were those of other weights */
    int rc = ruvm_student_matrix(&j->student, t->kind, t->layer, &q, j->err);
    ruvm_arena_free(&arena);
    return rc;
}

static int take_biases(struct lesson *l, const struct ruvm_network *s)
{
    int rc = RUVM_OK;
    for (int kind = 0; kind < RUVM_N_BIASES; kind++)
        for (uint32_t layer = 0; layer < s->n_layers && rc == RUVM_OK; layer++)
            if (s->biases >> kind & 1)
                rc = ruvm_student_bias(&l->j->student, kind, layer,
                                       ruvm_network_bias(s, kind, layer),
                                       ruvm_network_bias_length(s, kind), l->j->err);
    return rc;
}

/* The image's norms and biases. What was trained is copied: the student outlives the lesson. */
static int take_vectors(struct lesson *l)
{
    struct ruvm_quantize_job *j = l->j;
    struct ruvm_network s = *ruvm_distill_student(l->d);
    size_t first = (size_t)(s.norms - s.values), n = s.n_values - first;
    float *copy = ruvm_arena_alloc(&j->work, n, sizeof *copy);
    if (!copy)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the norms");
    memcpy(copy, s.norms, n * sizeof *copy);
    s.bias = copy + (s.bias - s.norms);
    int rc = ruvm_student_norms(&j->student, copy, j->err);
    if (rc == RUVM_OK)
        rc = take_biases(l, &s);
    return rc == RUVM_OK ? ruvm_image_build_norms(&j->build, &j->work, &j->student.model, j->err)
                         : rc;
}

int ruvm_quantize_distill(struct ruvm_quantize_job *j)
{
    struct lesson l = {.j = j};
    int rc = open_student(&l);
    if (rc == RUVM_OK)
        rc = find_text(&l);
    if (rc == RUVM_OK)
        rc = train(&l);
    if (rc == RUVM_OK)
        describe(&l);
    for (uint32_t i = 0; i < j->n_tensors && rc == RUVM_OK; i++)
        rc = take_matrix(&l, i);
    if (rc == RUVM_OK)
        rc = take_vectors(&l);
    ruvm_distill_close(l.d);
    ruvm_arena_free(&l.arena);
    return rc;
}
