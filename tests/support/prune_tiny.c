/* The small model: its weights are random, so all of its parts matter. */
#include "tests/support/prune_tiny.h"

#include <criterion/criterion.h>
#include <math.h>

#include "lib/convert/samples.h"
#include "tests/support/tiny_model.h"

static const struct tiny_shape shape = {.dim = 24,
                                        .hidden = 23,
                                        .layers = 3,
                                        .heads = 6,
                                        .kv_heads = 3,
                                        .vocab = 50,
                                        .context = 16,
                                        .untied = true,
                                        .seed = 11};

static struct ruvm_text draw(struct ruvm_source *s, uint64_t n, uint64_t seed)
{
    struct ruvm_text t;
    struct ruvm_reference *r;
    struct ruvm_samples_options o = {.n_positions = n,
                                     .seed = seed,
                                     .start = 1,
                                     .end = 2,
                                     .context = s->model.context,
                                     .fill_context = true};
    cr_assert_eq(ruvm_reference_open(&r, &s->arena, &s->model, s->model.context, NULL), RUVM_OK);
    cr_assert_eq(ruvm_samples_draw(&t, &s->arena, r, s->model.vocab, &o, NULL), RUVM_OK);
    return t;
}

struct opened prune_open(bool has_vocab)
{
    struct opened o = {0};
    struct ruvm_buffer model = tiny_checkpoint(&shape), pieces = tiny_tokenizer(shape.vocab);
    struct ruvm_source_options so = {.path = tiny_file(model.data, model.size)};
    so.tokenizer = has_vocab ? tiny_file(pieces.data, pieces.size) : NULL;
    cr_assert_eq(ruvm_source_open(&o.source, &so, &o.err), RUVM_OK, "%s", o.err.text);
    ruvm_buffer_free(&model);
    ruvm_buffer_free(&pieces);
    o.s = (struct ruvm_prune_subject){
        .model = o.source.model, .has_vocab = has_vocab, .vocab = o.source.vocab};
    return o;
}

void prune_texts(struct opened *o, uint64_t n_calibration, uint64_t n_eval)
{
    o->source.model = o->s.model;
    o->s.calibration = draw(&o->source, n_calibration, 1);
    o->s.eval = draw(&o->source, n_eval, 2);
}

struct ruvm_prune_report prune(struct opened *o, const struct ruvm_prune_options *options)
{
    struct ruvm_prune_report report;
    cr_assert_eq(ruvm_prune(&report, &o->s, &o->source.arena, options, &o->err), RUVM_OK, "%s",
                 o->err.text);
    return report;
}

float prune_at(const struct ruvm_view *v, uint64_t r, uint64_t c)
{
    return ruvm_tensors_f32(v->data + 4 * (r * v->dims[1] + c));
}

struct ruvm_reference *prune_reference(struct opened *o, const struct ruvm_model *m)
{
    struct ruvm_reference *r;
    cr_assert_eq(ruvm_reference_open(&r, &o->source.arena, m, m->context, NULL), RUVM_OK);
    return r;
}

static double log_sum(const float *logits, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i]);
    return log(sum);
}

struct prune_loss prune_compare(struct opened *o, const struct ruvm_model *a,
                                const struct ruvm_model *b, const struct ruvm_text *t)
{
    struct prune_loss l = {0};
    struct ruvm_reference *ra = prune_reference(o, a), *rb = prune_reference(o, b);
    for (uint32_t w = 0; w < t->n_windows; w++) {
        ruvm_reference_reset(ra);
        ruvm_reference_reset(rb);
        for (uint32_t i = t->first[w]; i + 1 < t->first[w + 1]; i++) {
            const float *la = ruvm_reference_step(ra, t->tokens[i]);
            const float *lb = ruvm_reference_step(rb, t->tokens[i]);
            double za = log_sum(la, a->vocab), zb = log_sum(lb, a->vocab);
            for (uint32_t k = 0; k < a->vocab; k++)
                l.kl += exp((double)la[k] - za) * ((double)la[k] - za - (double)lb[k] + zb);
            l.perplexity_a += za - (double)la[t->tokens[i + 1]];
            l.perplexity_b += zb - (double)lb[t->tokens[i + 1]];
        }
    }
    double n = (double)t->n_positions;
    return (struct prune_loss){l.kl / n, exp(l.perplexity_a / n), exp(l.perplexity_b / n)};
}
