/* Distillation: the quantized student learns from what the float model writes.
 *
 * Its text is drawn by several copies of the float model at once, each with its own seed, so
 * that the text does not depend on how many processors there are.
 */
#define _POSIX_C_SOURCE 200809L /* access, clock_gettime */
#include "lib/train/distill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/convert/quantize_job.h"
#include "lib/quant/steps.h"
#include "lib/train/pool.h"

enum {
    N_WRITERS = 8,
    STEP_TOKENS = 2048, /* about as many as a step sees */
    TEXT_TOKENS_MIN = 1 << 16,
    TEXT_TOKENS_MAX = 1 << 20, /* then it is read again */
    CHECKPOINT_STEPS = 100,
};
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
    uint32_t done;
};

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
    if (thread != 0) /* progress belongs to the caller's thread */
        o.progress = (struct ruvm_progress){0};
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

static int write_text(struct lesson *l, uint64_t n_positions)
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
    if (rc == RUVM_OK && !ruvm_text_reserve(&l->text, &l->arena, all.n_positions * N_WRITERS))
        rc = ruvm_fail(l->j->err, RUVM_ERR_MEMORY, "memory is short for the text to learn from");
    for (int i = 0; i < N_WRITERS; i++) {
        if (rc == RUVM_OK)
            append(&l->text, &all.list[i].text);
        ruvm_arena_free(&all.list[i].arena);
    }
    if (rc == RUVM_OK)
        ruvm_text_window(&l->text, ruvm_source_start(&l->j->source));
    return rc;
}

static int find_text(struct lesson *l)
{
    uint64_t n = (uint64_t)l->j->o->distill_steps * STEP_TOKENS;
    if (l->j->calibration) {
        l->text = *l->j->calibration;
        return RUVM_OK;
    }
    return write_text(l, n < TEXT_TOKENS_MIN   ? TEXT_TOKENS_MIN
                         : n > TEXT_TOKENS_MAX ? TEXT_TOKENS_MAX
                                               : n);
}

/* ---- the lesson ------------------------------------------------------------------ */

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
    return rc == RUVM_OK ? ruvm_network_open(&l->student, &l->arena, &j->model, j->err) : rc;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

/* The mean of the first and of the last part of the run that was trained. */
static void describe(struct lesson *l, double seconds)
{
    struct ruvm_quantize_distill *r = &l->j->r->distill;
    double curve[RUVM_DISTILL_CURVE];
    ruvm_distill_curve(l->d, curve);
    r->steps = l->j->o->distill_steps;
    r->seconds = seconds;
    r->tokens = ruvm_distill_tokens_done(l->d);
    r->threads = ruvm_distill_threads(l->d);
    r->kl_before = curve[0];
    for (int i = 0; i < RUVM_DISTILL_CURVE; i++)
        r->kl_after = curve[i] > 0.0 ? curve[i] : r->kl_after;
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

static int take_norms(struct lesson *l)
{
    struct ruvm_quantize_job *j = l->j;
    const struct ruvm_network *s = ruvm_distill_student(l->d);
    size_t n = (2 * (size_t)s->n_layers + 1) * s->dim;
    float *gains = ruvm_arena_alloc(&j->work, n, sizeof *gains);
    if (!gains)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the norms");
    memcpy(gains, s->norms, n * sizeof *gains);
    int rc = ruvm_student_norms(&j->student, gains, j->err);
    return rc == RUVM_OK ? ruvm_image_build_norms(&j->build, &j->work, &j->student.model, j->err)
                         : rc;
}

int ruvm_quantize_distill(struct ruvm_quantize_job *j)
{
    struct lesson l = {.j = j};
    double start = now_s();
    int rc = open_student(&l);
    if (rc == RUVM_OK)
        rc = find_text(&l);
    if (rc == RUVM_OK)
        rc = train(&l);
    if (rc == RUVM_OK)
        describe(&l, now_s() - start);
    for (uint32_t i = 0; i < j->n_tensors && rc == RUVM_OK; i++)
        rc = take_matrix(&l, i);
    if (rc == RUVM_OK)
        rc = take_norms(&l);
    ruvm_distill_close(l.d);
    ruvm_arena_free(&l.arena);
    return rc;
}
