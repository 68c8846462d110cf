/* What stays makes up for what goes as well as least squares, solved another way, says that
 * it can; and no other choice would have done better. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/support/prune_tiny.h"

struct seen {
    int kind;
    unsigned layer;
    uint32_t cols, n;
    double *x; /* [n, cols] */
};

static void see(void *user, int kind, unsigned layer, const float *x)
{
    struct seen *s = user;
    if (kind != s->kind || layer != s->layer)
        return;
    for (uint32_t i = 0; i < s->cols; i++)
        s->x[s->n * s->cols + i] = (double)x[i];
    s->n++;
}

static struct seen watch(struct opened *o, const struct ruvm_model *m, int kind, unsigned layer)
{
    const struct ruvm_text *t = &o->s.calibration;
    struct seen s = {.kind = kind, .layer = layer};
    s.cols = kind == RUVM_TENSOR_WO ? m->n_heads * m->head_dim : m->hidden;
    s.x = ruvm_arena_alloc(&o->source.arena, t->n_positions, s.cols * sizeof *s.x);
    struct ruvm_reference *r = prune_reference(o, m);
    ruvm_reference_observe(r, &(struct ruvm_observer){.user = &s, .input = see});
    for (uint32_t w = 0; w < t->n_windows; w++) {
        ruvm_reference_reset(r);
        for (uint32_t i = t->first[w]; i + 1 < t->first[w + 1]; i++)
            ruvm_reference_step(r, t->tokens[i]);
    }
    cr_assert_eq(s.n, t->n_positions);
    return s;
}

/* Mean square of W x - W' x', x' without the columns of the blocks removed. */
static double error_of(const struct seen *s, const struct ruvm_view *w,
                       const struct ruvm_view *pruned, const uint32_t *kept)
{
    double sum = 0.0;
    for (uint32_t p = 0; p < s->n; p++)
        for (uint32_t r = 0; r < w->dims[0]; r++) {
            double y = 0.0;
            for (uint32_t c = 0; c < s->cols; c++)
                y += (double)prune_at(w, r, c) * s->x[p * s->cols + c];
            for (uint32_t c = 0; c < pruned->dims[1]; c++)
                y -= (double)prune_at(pruned, r, c) * s->x[p * s->cols + kept[c]];
            sum += y * y;
        }
    return sum / s->n;
}

/* The least such error of any W': each row's normal equations, solved by elimination. */
static double least_error(const struct seen *s, const struct ruvm_view *w, const uint32_t *kept,
                          uint32_t n)
{
    enum { MAX = 32 };
    double total = 0.0;
    cr_assert_lt(n, MAX);
    for (uint32_t r = 0; r < w->dims[0]; r++) {
        long double a[MAX][MAX + 1] = {{0}}, square = 0, x[MAX] = {0}, gain = 0, b[MAX];
        for (uint32_t p = 0; p < s->n; p++) {
            const double *in = s->x + p * s->cols;
            long double y = 0;
            for (uint32_t c = 0; c < s->cols; c++)
                y += (long double)prune_at(w, r, c) * (long double)in[c];
            square += y * y;
            for (uint32_t i = 0; i < n; i++) {
                for (uint32_t k = 0; k < n; k++)
                    a[i][k] += (long double)in[kept[i]] * (long double)in[kept[k]];
                a[i][n] += (long double)in[kept[i]] * y;
            }
        }
        for (uint32_t i = 0; i < n; i++)
            b[i] = a[i][n];
        for (uint32_t k = 0; k < n; k++)
            for (uint32_t i = k + 1; i < n; i++) {
                long double f = a[i][k] / a[k][k];
                for (uint32_t c = k; c <= n; c++)
                    a[i][c] -= f * a[k][c];
            }
        for (uint32_t k = n; k-- > 0;) {
            x[k] = a[k][n];
            for (uint32_t c = k + 1; c < n; c++)
                x[k] -= a[k][c] * x[c];
            x[k] /= a[k][k];
            gain += x[k] * b[k];
        }
        total += (double)(square - gain);
    }
    return total / s->n;
}

/* Which rows of the source are left in the pruned matrix. */
static void find_rows(uint32_t *kept, const struct ruvm_view *pruned,
                      const struct ruvm_view *source)
{
    uint32_t n = 0;
    for (uint32_t r = 0; r < source->dims[0] && n < pruned->dims[0]; r++) {
        bool same = true;
        for (uint32_t c = 0; c < source->dims[1]; c++)
            same = same && prune_at(source, r, c) == prune_at(pruned, n, c);
        if (same)
            kept[n++] = r;
    }
    cr_assert_eq(n, pruned->dims[0], "a row is not one of the source");
}

/* The columns kept of a matrix, as they were: what pruning without correction leaves. */
static const struct ruvm_view *plain(struct opened *o, const struct ruvm_view *w,
                                     const uint32_t *kept, uint32_t n)
{
    struct ruvm_view *out = ruvm_arena_alloc(&o->source.arena, 1, sizeof *out);
    uint8_t *data = ruvm_arena_alloc(&o->source.arena, w->dims[0], 4 * n);
    for (uint32_t r = 0; r < w->dims[0]; r++)
        for (uint32_t c = 0; c < n; c++)
            memcpy(data + 4 * (r * n + c), w->data + 4 * (r * w->dims[1] + kept[c]), 4);
    *out = *w;
    out->dims[1] = n;
    out->data = data;
    return out;
}

/* A ridge is in the fit, so it is not the least error to the last digit. */
static void expect_fitted(double error, double least, double without)
{
    cr_assert(least > 0.0);
    cr_assert(error >= least * 0.999999 && error < least * 1.05, "%g, least %g", error, least);
    cr_assert(error < 0.9 * without, "%g, and %g without correction", error, without);
}

Test(prune_columns, units_that_stay_take_over_from_those_that_go)
{
    struct opened o = prune_open(false);
    prune_texts(&o, 400, 200);
    struct ruvm_model source = o.s.model, uncorrected;
    struct ruvm_layer layers[3];
    prune(&o, &(struct ruvm_prune_options){.ffn = 9});
    uncorrected = o.s.model;
    uncorrected.layers = layers;
    for (unsigned l = 0; l < 3; l++) {
        uint32_t kept[23];
        const struct ruvm_layer *now = &o.s.model.layers[l], *was = &source.layers[l];
        struct seen s = watch(&o, &source, RUVM_TENSOR_W_DOWN, l);
        find_rows(kept, now->w_up, was->w_up);
        layers[l] = *now;
        layers[l].w_down = plain(&o, was->w_down, kept, 14);
        expect_fitted(error_of(&s, was->w_down, now->w_down, kept),
                      least_error(&s, was->w_down, kept, 14),
                      error_of(&s, was->w_down, layers[l].w_down, kept));
    }
    double kl = prune_compare(&o, &source, &o.s.model, &o.s.eval).kl;
    double kl_plain = prune_compare(&o, &source, &uncorrected, &o.s.eval).kl;
    cr_assert(kl < 0.9 * kl_plain, "%g, without correction %g", kl, kl_plain);
    ruvm_source_close(&o.source);
}

Test(prune_columns, heads_that_stay_take_over_from_the_one_that_goes)
{
    struct opened o = prune_open(false);
    prune_texts(&o, 400, 0);
    struct ruvm_model source = o.s.model;
    prune(&o, &(struct ruvm_prune_options){.heads = 1});
    for (unsigned l = 0; l < 3; l++) {
        uint32_t kept[24];
        const struct ruvm_layer *now = &o.s.model.layers[l], *was = &source.layers[l];
        struct seen s = watch(&o, &source, RUVM_TENSOR_WO, l);
        find_rows(kept, now->wq, was->wq);
        expect_fitted(error_of(&s, was->wo, now->wo, kept), least_error(&s, was->wo, kept, 16),
                      error_of(&s, was->wo, plain(&o, was->wo, kept, 16), kept));
    }
    ruvm_source_close(&o.source);
}

/* Every choice is tried, each with its own least squares: none is better than the one made,
 * but for what the ridge in it may turn. */
static void expect_best_choice(struct opened *o, int kind, uint32_t block)
{
    for (unsigned l = 0; l < 3; l++) {
        struct seen s = watch(o, &o->source.model, kind, l);
        const struct ruvm_layer *now = &o->s.model.layers[l], *was = &o->source.model.layers[l];
        const struct ruvm_view *w = kind == RUVM_TENSOR_WO ? was->wo : was->w_down;
        uint32_t kept[24], n = s.cols - block;
        double best = HUGE_VAL;
        for (uint32_t without = 0; without < s.cols; without += block) {
            for (uint32_t i = 0; i < n; i++)
                kept[i] = i < without ? i : i + block;
            best = fmin(best, least_error(&s, w, kept, n));
        }
        if (kind == RUVM_TENSOR_WO)
            find_rows(kept, now->wq, was->wq);
        else
            find_rows(kept, now->w_up, was->w_up);
        double chosen = least_error(&s, w, kept, n);
        cr_assert(chosen <= 1.02 * best, "layer %u: %g, best %g", l, chosen, best);
    }
}

Test(prune_columns, takes_what_the_rest_replaces_best)
{
    struct opened o = prune_open(false);
    prune_texts(&o, 200, 0);
    struct ruvm_prune_subject source = o.s;
    prune(&o, &(struct ruvm_prune_options){.ffn = 1});
    expect_best_choice(&o, RUVM_TENSOR_W_DOWN, 1);
    o.s = source;
    prune(&o, &(struct ruvm_prune_options){.heads = 1});
    expect_best_choice(&o, RUVM_TENSOR_WO, 8);
    ruvm_source_close(&o.source);
}
