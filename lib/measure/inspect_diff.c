/* Two files compared tensor by tensor.
 *
 * When both are models, their parts are compared under our own names and in our order of rows,
 * whatever each file calls them and however it stores them; and the numbers of the two networks
 * as well. Else the names of the files must do.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/measure/inspect_subject.h"

/* An image keeps its numbers as mantissa and exponent, and theta as angles. */
#define NEARLY 1e-4

struct job {
    struct ruvm_diff_result *r;
    struct ruvm_subject s[2];
    struct ruvm_matrix *list[2];
    size_t n[2];
    struct ruvm_arena *arena; /* of the result */
    struct ruvm_error *err;
};

static int no_memory(const struct job *j)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the comparison");
}

/* ---- values ----------------------------------------------------------------------- */

struct sums {
    double difference, first; /* of squares */
    double max_abs;
    bool differs;
};

static void compare_rows(struct sums *s, const float *a, const float *b, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i];
        s->first += isfinite(x) ? x * x : 0;
        if (x == y || (isnan(x) && isnan(y)))
            continue;
        double d = fabs(x - y);
        d = isnan(d) ? (double)INFINITY : d;
        s->differs = true;
        s->difference += d * d;
        s->max_abs = fmax(s->max_abs, d);
    }
}

static int compare_values(const struct job *j, const struct ruvm_matrix *a,
                          const struct ruvm_matrix *b, struct ruvm_diff_tensor *d)
{
    struct sums s = {0};
    float *x = ruvm_matrix_room(a, 2);
    if (!x)
        return no_memory(j);
    float *y = x + a->cols;
    int8_t *levels = (int8_t *)(y + a->cols);
    for (uint64_t r = 0; r < a->rows; r++) {
        ruvm_matrix_row(a, r, x, levels);
        ruvm_matrix_row(b, r, y, levels);
        compare_rows(&s, x, y, a->cols);
    }
    free(x);
    d->state = s.differs ? RUVM_DIFF_VALUES : RUVM_DIFF_EQUAL;
    d->max_abs = s.max_abs;
    d->rel_rms = s.differs ? sqrt(s.difference / s.first) : 0;
    return RUVM_OK;
}

/* ---- tensors ------------------------------------------------------------------------ */

static void describe(struct ruvm_diff_tensor *d, const struct ruvm_matrix *m, int side)
{
    if (!m)
        return;
    snprintf(d->name, sizeof d->name, "%s", m->name);
    memcpy(d->type[side], m->type, sizeof m->type);
    d->n_dims[side] = m->n_dims;
    memcpy(d->dims[side], m->dims, sizeof m->dims);
}

static bool same_shape(const struct ruvm_matrix *a, const struct ruvm_matrix *b)
{
    return a->n_dims == b->n_dims && memcmp(a->dims, b->dims, a->n_dims * sizeof *a->dims) == 0;
}

/* a or b is NULL where there is none. */
static int compare(struct job *j, const struct ruvm_matrix *a, const struct ruvm_matrix *b)
{
    struct ruvm_diff_tensor *d = &j->r->tensors[j->r->n_tensors++];
    int rc = RUVM_OK;
    describe(d, a, 0);
    describe(d, b, 1);
    if (!a || !b)
        d->state = a ? RUVM_ONLY_A : RUVM_ONLY_B;
    else if (!same_shape(a, b))
        d->state = RUVM_DIFF_SHAPE;
    else
        rc = compare_values(j, a, b, d);
    j->r->n[d->state]++;
    j->r->differs = j->r->differs || d->state != RUVM_DIFF_EQUAL;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct ruvm_matrix *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const struct ruvm_matrix **sort(struct job *j, int side)
{
    const struct ruvm_matrix **sorted =
        ruvm_arena_alloc(&j->s[side].arena, j->n[side], sizeof *sorted);
    for (size_t i = 0; sorted && i < j->n[side]; i++)
        sorted[i] = &j->list[side][i];
    if (sorted)
        qsort(sorted, j->n[side], sizeof *sorted, by_name);
    return sorted;
}

static const struct ruvm_matrix *find(const struct ruvm_matrix **sorted, size_t n,
                                      const struct ruvm_matrix *m)
{
    const struct ruvm_matrix **found = n ? bsearch(&m, sorted, n, sizeof *sorted, by_name) : NULL;
    return found ? *found : NULL;
}

/* In the order of a; what only b has comes last. */
static int compare_tensors(struct job *j)
{
    const struct ruvm_matrix **a = sort(j, 0), **b = sort(j, 1);
    j->r->tensors = ruvm_arena_alloc(j->arena, j->n[0] + j->n[1], sizeof *j->r->tensors);
    if (!a || !b || !j->r->tensors)
        return no_memory(j);
    int rc = RUVM_OK;
    for (size_t i = 0; i < j->n[0] && rc == RUVM_OK; i++)
        rc = compare(j, &j->list[0][i], find(b, j->n[1], &j->list[0][i]));
    for (size_t i = 0; i < j->n[1] && rc == RUVM_OK; i++)
        if (!find(a, j->n[0], &j->list[1][i]))
            rc = compare(j, NULL, &j->list[1][i]);
    return rc;
}

/* ---- numbers of the networks --------------------------------------------------------- */

static struct ruvm_diff_setting *note(struct ruvm_diff_result *r, const char *name)
{
    struct ruvm_diff_setting *s = &r->settings[r->n_settings++];
    snprintf(s->name, sizeof s->name, "%s", name);
    r->differs = true;
    return s;
}

static void compare_counts(struct ruvm_diff_result *r, const char *name, uint32_t a, uint32_t b)
{
    if (a == b)
        return;
    struct ruvm_diff_setting *s = note(r, name);
    snprintf(s->value[0], sizeof s->value[0], "%u", a);
    snprintf(s->value[1], sizeof s->value[1], "%u", b);
}

static void compare_numbers(struct ruvm_diff_result *r, const char *name, double a, double b)
{
    if (fabs(a - b) <= NEARLY * fabs(a))
        return;
    struct ruvm_diff_setting *s = note(r, name);
    snprintf(s->value[0], sizeof s->value[0], "%.6g", a);
    snprintf(s->value[1], sizeof s->value[1], "%.6g", b);
}

static void compare_texts(struct ruvm_diff_result *r, const char *name, const char *a,
                          const char *b)
{
    if (strcmp(a, b) == 0)
        return;
    struct ruvm_diff_setting *s = note(r, name);
    snprintf(s->value[0], sizeof s->value[0], "%s", a);
    snprintf(s->value[1], sizeof s->value[1], "%s", b);
}

static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

static void compare_settings(struct job *j)
{
    struct ruvm_inspect_result x = {0}, y = {0};
    struct ruvm_diff_result *r = j->r;
    ruvm_subject_numbers(&x, &j->s[0]);
    ruvm_subject_numbers(&y, &j->s[1]);
    compare_counts(r, "vocab", x.vocab, y.vocab);
    compare_counts(r, "dim", x.dim, y.dim);
    compare_counts(r, "hidden", x.hidden, y.hidden);
    compare_counts(r, "n_layers", x.n_layers, y.n_layers);
    compare_counts(r, "n_heads", x.n_heads, y.n_heads);
    compare_counts(r, "n_kv_heads", x.n_kv_heads, y.n_kv_heads);
    compare_counts(r, "head_dim", x.head_dim, y.head_dim);
    compare_counts(r, "context", x.context, y.context);
    compare_texts(r, "norm", x.norm, y.norm);
    compare_numbers(r, "norm_eps", x.norm_eps, y.norm_eps);
    compare_texts(r, "activation", x.activation, y.activation);
    compare_texts(r, "positions", x.positions, y.positions);
    compare_counts(r, "rope_dims", x.rope_dims, y.rope_dims);
    if (x.rope_theta > 0 && y.rope_theta > 0)
        compare_numbers(r, "rope_theta", x.rope_theta, y.rope_theta);
    compare_counts(r, "window", x.window, y.window);
    compare_texts(r, "windowed_layers", x.windowed, y.windowed);
    compare_numbers(r, "score_scale", x.score_scale, y.score_scale);
    compare_texts(r, "parallel", yes_no(x.parallel), yes_no(y.parallel));
    compare_texts(r, "tied", yes_no(x.tied), yes_no(y.tied));
}

/* ---- the whole ------------------------------------------------------------------------ */

static int compare_subjects(struct job *j)
{
    struct ruvm_diff_result *r = j->r;
    int rc = RUVM_OK;
    r->by_meaning = ruvm_subject_is_model(&j->s[0]) && ruvm_subject_is_model(&j->s[1]);
    for (int i = 0; i < 2 && rc == RUVM_OK; i++) {
        const struct ruvm_subject *s = &j->s[i];
        snprintf(r->format[i], sizeof r->format[i], "%s",
                 s->is_image ? "RUVM v1 image" : s->container.tensors.format);
        rc = ruvm_subject_list(&j->list[i], &j->n[i], &j->s[i], r->by_meaning, j->err);
    }
    if (rc != RUVM_OK)
        return rc;
    if (r->by_meaning)
        compare_settings(j);
    return compare_tensors(j);
}

int ruvm_diff(const char *a, const char *b, struct ruvm_diff_result *r, struct ruvm_error *err)
{
    struct job j = {.r = r, .err = err};
    *r = (struct ruvm_diff_result){0};
    int rc = ruvm_subject_open(&j.s[0], a, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_subject_open(&j.s[1], b, err);
    if (rc == RUVM_OK) {
        j.arena = calloc(1, sizeof *j.arena);
        r->owned = j.arena;
        rc = j.arena ? compare_subjects(&j) : no_memory(&j);
        ruvm_subject_close(&j.s[1]);
    }
    ruvm_subject_close(&j.s[0]);
    if (rc != RUVM_OK)
        ruvm_diff_free(r);
    return rc;
}

void ruvm_diff_free(struct ruvm_diff_result *r)
{
    if (r->owned)
        ruvm_arena_free(r->owned);
    free(r->owned);
    *r = (struct ruvm_diff_result){0};
}
