/* A tiny random teacher and its student: the loss falls, and neither threads nor a pause
 * change a bit of the result. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/file.h"
#include "lib/train/distill.h"
#include "tests/support/tiny_model.h"
#include "tests/train/plain_network.h"

static const struct tiny_shape shape = {20, 29, 2, 2, 1, 40, 32, false, 5};
enum { MATRICES = 15, MOST_MATRICES = 24, WINDOWS = 24, STEPS = 40 };

struct fixture {
    struct ruvm_arena arena;
    struct ruvm_model model;
    struct ruvm_network teacher;
    struct ruvm_text text;
    struct ruvm_distill_matrix matrices[MOST_MATRICES];
    struct ruvm_distill_options o;
    struct ruvm_error err;
};

/* Random tokens serve as well as the teacher's own where only the arithmetic is tested. */
static void prepare(struct fixture *f, int type, uint32_t group)
{
    uint32_t tokens[32];
    cr_assert(ruvm_text_reserve(&f->text, &f->arena, WINDOWS * 32));
    for (uint32_t w = 0; w < WINDOWS; w++) {
        uint32_t n = 9 + w * 7 % 23;
        plain_tokens(tokens, n, f->teacher.vocab, w);
        ruvm_text_window(&f->text, 1);
        for (uint32_t i = 0; i < n; i++)
            ruvm_text_token(&f->text, tokens[i]);
    }
    ruvm_text_window(&f->text, 1);
    f->matrices[0] = (struct ruvm_distill_matrix){.type = RUVM_TYPE_INT8};
    for (int i = 1; i < MOST_MATRICES; i++)
        f->matrices[i] = (struct ruvm_distill_matrix){.type = type, .group = group};
    f->o = (struct ruvm_distill_options){.teacher = &f->teacher,
                                         .matrices = f->matrices,
                                         .text = &f->text,
                                         .steps = STEPS,
                                         .batch = 6,
                                         .seed = 3,
                                         .threads = 1};
}

static void open_fixture(struct fixture *f, int type, uint32_t group)
{
    *f = (struct fixture){0};
    plain_open(&f->teacher, &f->model, &f->arena, &shape);
    cr_assert_eq(f->teacher.n_matrices, MATRICES);
    prepare(f, type, group);
}

static void open_network(struct fixture *f, int n, int type, uint32_t group)
{
    *f = (struct fixture){0};
    plain_open_tiny(&f->teacher, &f->model, &f->arena, n);
    cr_assert_leq(f->teacher.n_matrices, MOST_MATRICES);
    prepare(f, type, group);
}

static struct ruvm_distill *open_run(struct fixture *f)
{
    struct ruvm_distill *d;
    cr_assert_eq(ruvm_distill_open(&d, &f->o, &f->err), RUVM_OK, "%s", f->err.text);
    return d;
}

static struct ruvm_distill *run(struct fixture *f)
{
    struct ruvm_distill *d = open_run(f);
    cr_assert_eq(ruvm_distill_run(d, &f->err), RUVM_OK, "%s", f->err.text);
    return d;
}

/* KL(teacher || student) of all windows, in doubles and without lib/train's passes. */
static double divergence(const struct fixture *f, const struct ruvm_network *student)
{
    const struct ruvm_network *nets[] = {&f->teacher, student};
    uint32_t vocab = student->vocab;
    double *values[2], *logits[2], sum = 0;
    for (int i = 0; i < 2; i++) {
        values[i] = calloc(nets[i]->n_values, sizeof(double));
        logits[i] = calloc((size_t)32 * vocab, sizeof(double));
        for (size_t j = 0; j < nets[i]->n_values; j++)
            values[i][j] = (double)nets[i]->values[j];
    }
    for (uint32_t w = 0; w < f->text.n_windows; w++) {
        uint32_t n = f->text.first[w + 1] - f->text.first[w] - 1;
        for (int i = 0; i < 2; i++)
            plain_forward(logits[i], nets[i], values[i], f->text.tokens + f->text.first[w], n);
        for (uint32_t t = 0; t < n; t++) {
            double z[2] = {0};
            for (int i = 0; i < 2; i++)
                for (uint32_t v = 0; v < vocab; v++)
                    z[i] += exp(logits[i][t * vocab + v]);
            for (uint32_t v = 0; v < vocab; v++) {
                double p = logits[0][t * vocab + v] - log(z[0]);
                sum += exp(p) * (p - logits[1][t * vocab + v] + log(z[1]));
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        free(values[i]);
        free(logits[i]);
    }
    return sum / (double)f->text.n_positions;
}

static void assert_same(const struct ruvm_distill *a, const struct ruvm_distill *b)
{
    const struct ruvm_network *x = ruvm_distill_student(a), *y = ruvm_distill_student(b);
    double curve_a[RUVM_DISTILL_CURVE], curve_b[RUVM_DISTILL_CURVE];
    ruvm_distill_curve(a, curve_a);
    ruvm_distill_curve(b, curve_b);
    cr_assert_eq(x->n_values, y->n_values);
    cr_assert_arr_eq(x->values, y->values, x->n_values * sizeof(float));
    cr_assert_arr_eq(curve_a, curve_b, sizeof curve_a);
}

/* ---- learning ------------------------------------------------------------------- */

/* What is left of the first loss after so many steps; less is a matter of patience. */
static void check_learning(int type, uint32_t group, double left)
{
    struct fixture f;
    open_fixture(&f, type, group);
    f.o.steps = 150;
    struct ruvm_distill *d = open_run(&f);
    double before = divergence(&f, ruvm_distill_student(d));
    cr_assert_eq(ruvm_distill_run(d, &f.err), RUVM_OK, "%s", f.err.text);
    double after = divergence(&f, ruvm_distill_student(d)), curve[RUVM_DISTILL_CURVE];
    cr_assert_lt(after, left * before, "type %d: from %g to %g", type, before, after);
    ruvm_distill_curve(d, curve);
    cr_assert(curve[0] > curve[RUVM_DISTILL_CURVE - 1]);
    cr_assert_lt(fabs(curve[0] / before - 1), 0.5, "%g, expected %g", curve[0], before);
    cr_assert_lt(fabs(curve[RUVM_DISTILL_CURVE - 1] / after - 1), 0.3);
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

/* Biases are learned as well, and positions of few bits. */
Test(distill, each_network_learns)
{
    for (int n = TINY_MISTRAL; n < TINY_NETWORKS; n++) {
        struct fixture f;
        open_network(&f, n, RUVM_TYPE_INT3, 16);
        f.o.steps = 60;
        struct ruvm_distill *d = open_run(&f);
        const struct ruvm_network *student = ruvm_distill_student(d);
        double before = divergence(&f, student);
        cr_assert_eq(ruvm_distill_run(d, &f.err), RUVM_OK, "%s", f.err.text);
        double after = divergence(&f, student);
        cr_assert_lt(after, 0.6 * before, "%s: from %g to %g", tiny_network_name(n), before, after);
        for (int kind = 0; kind < RUVM_N_BIASES; kind++)
            for (uint32_t l = 0; l < (kind == RUVM_BIAS_FINAL_NORM ? 1 : student->n_layers); l++) {
                const float *x = ruvm_network_bias(student, kind, l);
                cr_assert(!x || x[1] != ruvm_network_bias(&f.teacher, kind, l)[1], "kind %d", kind);
            }
        ruvm_distill_close(d);
        ruvm_arena_free(&f.arena);
    }
}

Test(distill, int4_learns)
{
    check_learning(RUVM_TYPE_INT4, 16, 0.5);
}

Test(distill, int2_learns)
{
    check_learning(RUVM_TYPE_INT2, 0, 0.4);
}

Test(distill, ternary_learns)
{
    check_learning(RUVM_TYPE_TERNARY, 0, 0.4);
}

Test(distill, binary_learns)
{
    check_learning(RUVM_TYPE_BINARY, 16, 0.5);
}

Test(distill, xnor_learns)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 0);
    f.matrices[5].type = f.matrices[6].type = RUVM_TYPE_XNOR; /* up and gate of a layer */
    f.o.steps = 150;
    struct ruvm_distill *d = open_run(&f);
    cr_assert(ruvm_distill_student(d)->matrices[5].signs);
    cr_assert_not(ruvm_distill_student(d)->matrices[4].signs);
    double before = divergence(&f, ruvm_distill_student(d));
    cr_assert_eq(ruvm_distill_run(d, &f.err), RUVM_OK, "%s", f.err.text);
    double after = divergence(&f, ruvm_distill_student(d));
    cr_assert_lt(after, 0.6 * before, "from %g to %g", before, after);
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

/* A float student with a feed-forward half as wide learns to do without the rest. */
Test(distill, a_smaller_student_learns)
{
    struct fixture f;
    open_fixture(&f, RUVM_FAKE_QUANT_FLOAT, 0);
    f.matrices[0].type = RUVM_FAKE_QUANT_FLOAT;
    struct ruvm_network small = f.teacher;
    small.hidden = 15;
    cr_assert_eq(ruvm_network_empty(&small, &f.arena, &f.err), RUVM_OK);
    for (uint32_t i = 0; i < MATRICES; i++)
        for (uint32_t r = 0; r < small.matrices[i].rows; r++)
            memcpy(small.matrices[i].w + r * small.matrices[i].cols,
                   f.teacher.matrices[i].w + r * f.teacher.matrices[i].cols,
                   small.matrices[i].cols * sizeof(float));
    memcpy(small.norms, f.teacher.norms, (2 * shape.layers + 1) * shape.dim * sizeof(float));
    f.o.student = &small;
    f.o.steps = 250;
    double before = divergence(&f, &small);
    struct ruvm_distill *d = run(&f);
    double after = divergence(&f, ruvm_distill_student(d));
    cr_assert_lt(after, 0.5 * before, "from %g to %g", before, after);
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

Test(distill, an_exact_student_has_nothing_to_learn)
{
    struct fixture f;
    double curve[RUVM_DISTILL_CURVE];
    open_fixture(&f, RUVM_FAKE_QUANT_FLOAT, 0);
    f.matrices[0].type = RUVM_FAKE_QUANT_FLOAT;
    f.o.steps = 1;
    struct ruvm_distill *d = run(&f);
    ruvm_distill_curve(d, curve);
    cr_assert_lt(fabs(curve[0]), 1e-6);
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

/* ---- the same every time ------------------------------------------------------------ */

Test(distill, threads_do_not_change_a_bit)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_TERNARY, 0);
    struct ruvm_distill *one = run(&f);
    f.o.threads = 5;
    struct ruvm_distill *five = run(&f);
    assert_same(one, five);
    ruvm_distill_close(one);
    ruvm_distill_close(five);
    ruvm_arena_free(&f.arena);
}

/* Stops a run before a step. */
static int stop(void *user, const char *stage, uint64_t done, uint64_t total)
{
    cr_assert(strcmp(stage, "distill") == 0 && total == STEPS && done <= total);
    return done == *(uint32_t *)user;
}

static void interrupt(struct fixture *f, uint32_t at)
{
    f->o.progress = (struct ruvm_progress){stop, &at};
    struct ruvm_distill *d = open_run(f);
    cr_assert_eq(ruvm_distill_run(d, &f->err), RUVM_ERR_IO);
    cr_assert_str_eq(f->err.text, "interrupted");
    cr_assert_eq(ruvm_distill_steps_done(d), at);
    ruvm_distill_close(d);
    f->err = (struct ruvm_error){0};
    f->o.progress = (struct ruvm_progress){0};
    f->o.resume = true;
}

Test(distill, an_interrupted_run_ends_as_one_in_a_piece)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    struct ruvm_distill *whole = run(&f);
    f.o.checkpoint = tiny_path();
    interrupt(&f, 17);
    interrupt(&f, 31);
    struct ruvm_distill *resumed = open_run(&f);
    cr_assert_eq(ruvm_distill_steps_done(resumed), 31);
    cr_assert_eq(ruvm_distill_run(resumed, &f.err), RUVM_OK, "%s", f.err.text);
    assert_same(whole, resumed);
    ruvm_distill_close(resumed);
    struct ruvm_distill *done = run(&f); /* what was saved at the end */
    cr_assert_eq(ruvm_distill_steps_done(done), STEPS);
    assert_same(whole, done);
    ruvm_distill_close(done);
    ruvm_distill_close(whole);
    ruvm_arena_free(&f.arena);
}

static void compare_runs(struct fixture *f)
{
    struct ruvm_distill *whole = run(f);
    f->o.threads = 3;
    f->o.checkpoint = tiny_path();
    interrupt(f, STEPS / 3);
    struct ruvm_distill *resumed = run(f);
    assert_same(whole, resumed);
    ruvm_distill_close(whole);
    ruvm_distill_close(resumed);
}

Test(distill, neither_threads_nor_a_pause_change_any_network)
{
    for (int n = TINY_MISTRAL; n < TINY_NETWORKS; n++) {
        struct fixture f;
        open_network(&f, n, RUVM_TYPE_INT4, 16);
        compare_runs(&f);
        ruvm_arena_free(&f.arena);
    }
}

static void refuse(struct fixture *f, int code, const char *text)
{
    struct ruvm_distill *d;
    cr_assert_eq(ruvm_distill_open(&d, &f->o, &f->err), code, "%s", f->err.text);
    cr_assert_not_null(strstr(f->err.text, text), "%s", f->err.text);
    cr_assert_null(d);
    f->err = (struct ruvm_error){0};
}

/* Looks into the file while the run goes on: steps done stand in bytes 12 to 15. */
static int look(void *user, const char *stage, uint64_t done, uint64_t total)
{
    struct ruvm_map map;
    (void)stage;
    (void)total;
    if (done < 10)
        return 0;
    cr_assert_eq(ruvm_file_map(&map, user, NULL), RUVM_OK);
    cr_assert_eq(ruvm_load_u32(map.data + 12), done / 10 * 10);
    ruvm_file_unmap(&map);
    return 0;
}

Test(distill, a_checkpoint_is_written_every_few_steps)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    char *path = strdup(tiny_path());
    f.o.checkpoint = path;
    f.o.checkpoint_steps = 10;
    f.o.progress = (struct ruvm_progress){look, path};
    ruvm_distill_close(run(&f));
    f.o.resume = true;
    f.o.checkpoint = "/nowhere/none";
    refuse(&f, RUVM_ERR_IO, "/nowhere/none");
    free(path);
    ruvm_arena_free(&f.arena);
}

/* ---- checkpoints that do not fit ----------------------------------------------------- */

Test(distill, a_checkpoint_of_another_run_is_refused)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    f.o.checkpoint = tiny_path();
    interrupt(&f, 3);
    f.o.seed++;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.o.seed--;
    f.o.steps++;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.o.steps--;
    f.o.rate = 2;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.o.rate = 0;
    f.matrices[3].type = RUVM_TYPE_INT3;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.matrices[3].type = RUVM_TYPE_INT4;
    f.text.tokens[5] ^= 1;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.text.tokens[5] ^= 1;
    float kept = f.teacher.norms[2];
    f.teacher.norms[2] += 0.125f;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.teacher.norms[2] = kept;
    const uint32_t windows[] = {3, 4};
    f.teacher.windows = windows;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.teacher.windows = NULL;
    f.teacher.score_scale = 1;
    refuse(&f, RUVM_ERR_MISMATCH, "another run");
    f.teacher.score_scale = 0;
    ruvm_distill_close(open_run(&f)); /* and with all as it was it is taken */
    ruvm_arena_free(&f.arena);
}

/* Every byte of the header, and some behind it, changed one at a time; then cut. */
Test(distill, a_damaged_checkpoint_is_refused)
{
    struct fixture f;
    struct ruvm_map map;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    f.o.checkpoint = tiny_path();
    interrupt(&f, 3);
    cr_assert_eq(ruvm_file_map(&map, f.o.checkpoint, &f.err), RUVM_OK);
    uint8_t *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    for (size_t i = 0; i < map.size; i += i < 32 ? 1 : map.size / 9) {
        copy[i] ^= 0x10;
        f.o.checkpoint = tiny_file(copy, map.size);
        copy[i] ^= 0x10;
        struct ruvm_distill *d;
        int rc = ruvm_distill_open(&d, &f.o, &f.err);
        cr_assert(rc == RUVM_ERR_CORRUPT || (rc == RUVM_ERR_UNSUPPORTED && i / 4 == 1), "byte %zu",
                  i);
        f.err = (struct ruvm_error){0};
    }
    const size_t sizes[] = {0, 3, 31, 35, map.size / 2, map.size - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        f.o.checkpoint = tiny_file(copy, sizes[i]);
        refuse(&f, RUVM_ERR_CORRUPT, "checkpoint");
    }
    free(copy);
    ruvm_file_unmap(&map);
    ruvm_arena_free(&f.arena);
}

/* ---- the result ------------------------------------------------------------------- */

Test(distill, what_is_stored_is_what_was_trained)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    struct ruvm_distill *d = run(&f);
    const struct ruvm_network *student = ruvm_distill_student(d);
    for (uint32_t i = 0; i < MATRICES; i++) {
        const struct ruvm_network_matrix *m = &student->matrices[i];
        uint32_t group = f.matrices[i].group, groups = group ? (m->cols + group - 1) / group : 1;
        int8_t *levels = calloc((size_t)m->rows * m->cols, 1);
        double *scale = calloc(m->rows, sizeof *scale);
        uint8_t *multipliers = calloc((size_t)m->rows * groups, 1);
        ruvm_distill_matrix(d, i, levels, scale, multipliers);
        for (uint32_t r = 0; r < m->rows; r++)
            for (uint32_t c = 0; c < m->cols; c++) {
                uint8_t mult = multipliers[r * groups + (group ? c / group : 0)];
                double w = levels[r * m->cols + c] * mult * scale[r];
                cr_assert_lt(fabs(w - (double)m->w[r * m->cols + c]), 1e-6);
            }
        free(levels);
        free(scale);
        free(multipliers);
    }
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

Test(distill, given_steps_and_weights_are_where_it_starts)
{
    struct fixture f;
    float steps[20], weights[20 * 20];
    open_fixture(&f, RUVM_TYPE_INT4, 0);
    for (int i = 0; i < 20; i++)
        steps[i] = 0.5f;
    for (int i = 0; i < 400; i++)
        weights[i] = (float)(i % 16) - 8.0f + 0.25f;
    f.matrices[1].steps = steps; /* wq of the first layer, 20 x 20 */
    f.matrices[1].weights = weights;
    struct ruvm_distill *d = open_run(&f);
    const float *w = ruvm_distill_student(d)->matrices[1].w;
    for (int i = 0; i < 400; i++) /* odd halves up to 7.5 */
        cr_assert_lt(fabsf(w[i] - ((float)(i % 16) - 8.0f + 0.5f)), 1e-6f);
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

Test(distill, norms_stay_when_told)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    size_t bytes = (2 * shape.layers + 1) * shape.dim * sizeof(float);
    struct ruvm_distill *d = run(&f);
    cr_assert_arr_neq(ruvm_distill_student(d)->norms, f.teacher.norms, bytes);
    ruvm_distill_close(d);
    f.o.keep_norms = true;
    d = run(&f);
    cr_assert_arr_eq(ruvm_distill_student(d)->norms, f.teacher.norms, bytes);
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
    open_network(&f, TINY_GPT_NEOX, RUVM_TYPE_INT4, 16);
    f.o.keep_norms = true;
    d = run(&f);
    bytes = (f.teacher.n_values - (size_t)(f.teacher.norms - f.teacher.values)) * sizeof(float);
    cr_assert_arr_eq(ruvm_distill_student(d)->norms, f.teacher.norms, bytes, "biases neither");
    ruvm_distill_close(d);
    ruvm_arena_free(&f.arena);
}

Test(distill, wrong_options_are_refused)
{
    struct fixture f;
    open_fixture(&f, RUVM_TYPE_INT4, 16);
    f.matrices[2].group = 20;
    refuse(&f, RUVM_ERR_ARG, "matrix 2");
    f.matrices[2].group = 0;
    f.matrices[2].type = 99;
    refuse(&f, RUVM_ERR_ARG, "matrix 2");
    f.matrices[2].type = RUVM_TYPE_TERNARY;
    f.matrices[2].group = 16;
    refuse(&f, RUVM_ERR_ARG, "matrix 2");
    f.matrices[2].group = 0;
    f.o.steps = 0;
    refuse(&f, RUVM_ERR_ARG, "step");
    f.o.steps = 1;
    f.text.tokens[3] = shape.vocab;
    refuse(&f, RUVM_ERR_ARG, "token 40");
    f.text.n_windows = 0;
    refuse(&f, RUVM_ERR_ARG, "text");
    ruvm_arena_free(&f.arena);
    open_network(&f, TINY_GPT2, RUVM_TYPE_INT4, 16);
    f.teacher.context = 30;
    refuse(&f, RUVM_ERR_ARG, "windows of 31 positions, the model has 30");
    ruvm_arena_free(&f.arena);
}
