/* The measure itself: against sums written out by hand, and on the real model. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/convert/engine_open.h"
#include "lib/convert/samples.h"
#include "lib/import/source.h"
#include "lib/measure/quality.h"
#include "tests/support/tiny_model.h"

static const struct tiny_shape shape = {.dim = 32,
                                        .hidden = 40,
                                        .layers = 2,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .vocab = 33,
                                        .context = 80,
                                        .seed = 5};

static struct ruvm_map image;
static struct ruvm_source source;
static struct ruvm_reference *reference;

static void make_image(void)
{
    struct ruvm_buffer model = tiny_checkpoint(&shape);
    struct ruvm_quantize_options o = {.no_quality = true};
    struct ruvm_quantize_result r;
    o.input = tiny_file(model.data, model.size);
    o.output = tiny_path();
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    ruvm_quantize_free(&r);
    cr_assert_eq(ruvm_file_map(&image, o.output, NULL), RUVM_OK);
    struct ruvm_source_options so = {.path = o.input};
    cr_assert_eq(ruvm_source_open(&source, &so, NULL), RUVM_OK);
    cr_assert_eq(ruvm_reference_open(&reference, &source.arena, &source.model, shape.context, NULL),
                 RUVM_OK);
    remove(o.input);
    remove(o.output);
    ruvm_buffer_free(&model);
}

TestSuite(quality, .init = make_image);

/* Random windows of the given lengths (in predictions). */
static struct ruvm_text random_text(const uint32_t *lengths, size_t n)
{
    struct ruvm_text t;
    uint64_t rng = 4;
    cr_assert(ruvm_text_reserve(&t, &source.arena, 1000));
    for (size_t i = 0; i < n; i++) {
        ruvm_text_window(&t, 1);
        for (uint32_t k = 0; k < lengths[i]; k++)
            ruvm_text_token(&t, (uint32_t)(tiny_random(&rng) % shape.vocab));
    }
    ruvm_text_window(&t, 1);
    snprintf(t.source, sizeof t.source, "random");
    return t;
}

static void softmax(double *p, const double *x)
{
    double sum = 0;
    for (uint32_t i = 0; i < shape.vocab; i++)
        sum += exp(x[i]);
    for (uint32_t i = 0; i < shape.vocab; i++)
        p[i] = exp(x[i]) / sum;
}

struct sums {
    double kl[400], loss, loss_float;
    uint32_t n, top1, top5;
};

static void add_position(struct sums *s, const double *p, const double *q, uint32_t next)
{
    uint32_t best = 0, better = 0;
    for (uint32_t i = 0; i < shape.vocab; i++) {
        s->kl[s->n] += p[i] * log(p[i] / q[i]);
        best = p[i] > p[best] ? i : best;
    }
    for (uint32_t i = 0; i < shape.vocab; i++)
        better += q[i] > q[best];
    s->top1 += better == 0;
    s->top5 += better < 5;
    s->loss -= log(q[next]);
    s->loss_float -= log(p[next]);
    s->n++;
}

/* Token by token, everything by its definition. */
static struct sums by_hand(const struct ruvm_text *t)
{
    struct sums s = {0};
    struct ruvm_engine *e;
    cr_assert_eq(ruvm_engine_open(&e, &source.arena, image.data, image.size, NULL, NULL), RUVM_OK);
    for (uint32_t w = 0; w < t->n_windows; w++) {
        ruvm_engine_rewind(e, 0);
        ruvm_reference_reset(reference);
        for (uint32_t i = t->first[w]; i + 1 < t->first[w + 1]; i++) {
            double x[33], p[33], q[33];
            const float *logits = ruvm_reference_step(reference, t->tokens[i]);
            for (uint32_t k = 0; k < shape.vocab; k++)
                x[k] = (double)logits[k];
            softmax(p, x);
            uint16_t token = (uint16_t)t->tokens[i];
            ruvm_engine_eval(e, &token, 1, NULL);
            for (uint32_t k = 0; k < shape.vocab; k++)
                x[k] = ruvm_engine_logits(e)[k] / 65536.0;
            softmax(q, x);
            add_position(&s, p, q, t->tokens[i + 1]);
        }
    }
    return s;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

Test(quality, is_what_its_definition_says)
{
    static const uint32_t lengths[] = {1, 31, 32, 33, 80, 2, 65};
    struct ruvm_text t = random_text(lengths, sizeof lengths / sizeof *lengths);
    struct ruvm_quality_options o = {
        .image = image.data, .image_bytes = image.size, .text = &t, .reference = reference};
    struct ruvm_quality q;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_quality_measure(&q, &o, &err), RUVM_OK, "%s", err.text);
    struct sums s = by_hand(&t);
    double sum = 0;
    for (uint32_t i = 0; i < s.n; i++)
        sum += s.kl[i];
    qsort(s.kl, s.n, sizeof *s.kl, ascending);
    cr_assert_eq(q.n_positions, 244);
    cr_assert_eq(s.n, 244);
    cr_assert_float_eq(q.kl_mean, sum / s.n, 1e-12);
    cr_assert_float_eq(q.kl_p99, s.kl[241], 1e-12, "242 of 244 positions are 99 %%");
    cr_assert_float_eq(q.perplexity, exp(s.loss / s.n), 1e-9);
    cr_assert_float_eq(q.perplexity_float, exp(s.loss_float / s.n), 1e-9);
    cr_assert_float_eq(q.top1, (double)s.top1 / s.n, 1e-12);
    cr_assert_float_eq(q.top5, (double)s.top5 / s.n, 1e-12);
    cr_assert(q.kl_mean > 0 && q.kl_mean < 0.01 && q.top1 < 1, "a loss is seen, a small one");
    cr_assert_str_eq(q.text_source, "random");
}

Test(quality, of_an_image_alone_is_its_perplexity)
{
    static const uint32_t lengths[] = {40, 50};
    struct ruvm_text t = random_text(lengths, 2);
    struct ruvm_quality_options o = {.image = image.data, .image_bytes = image.size, .text = &t};
    struct ruvm_quality alone, both;
    cr_assert_eq(ruvm_quality_measure(&alone, &o, NULL), RUVM_OK);
    o.reference = reference;
    cr_assert_eq(ruvm_quality_measure(&both, &o, NULL), RUVM_OK);
    cr_assert_float_eq(alone.perplexity, both.perplexity, 0.0);
    cr_assert(alone.n_positions == 90 && alone.kl_mean <= 0 && alone.perplexity_float <= 0);
}

static int stop_at_64(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    cr_assert(strcmp(stage, "measure") == 0 && total == 160 && done <= total);
    return done >= 64;
}

Test(quality, refusals)
{
    static const uint32_t lengths[] = {80, 80}, too_long[] = {81};
    struct ruvm_text t = random_text(lengths, 2), empty = random_text(lengths, 0);
    struct ruvm_quality_options o = {.image = image.data,
                                     .image_bytes = image.size,
                                     .text = &t,
                                     .progress = {.report = stop_at_64}};
    struct ruvm_quality q;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_quality_measure(&q, &o, &err), RUVM_ERR_IO);
    cr_assert_str_eq(err.text, "interrupted");
    o.progress.report = NULL;
    o.text = &empty;
    cr_assert_eq(ruvm_quality_measure(&q, &o, NULL), RUVM_ERR_ARG);
    t = random_text(too_long, 1);
    o.text = &t;
    cr_assert_eq(ruvm_quality_measure(&q, &o, NULL), RUVM_ERR_FULL);
    o.image_bytes--;
    cr_assert_eq(ruvm_quality_measure(&q, &o, NULL), RUVM_ERR_CORRUPT);
}
