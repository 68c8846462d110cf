/* One step: sequences through teacher and student, gradients together, values moved.
 *
 * Three runs of the pool: slots (each some sequences, forward and back), then parts
 * (sum the slots, go through the rounding), then parts again (move, quantize anew).
 */
#include <math.h>
#include <string.h>

#include "lib/train/distill_state.h"
#include "lib/train/math.h"

/* ---- sequences --------------------------------------------------------------------- */

/* The teacher's logits over a window: from its beginning, or from what it kept of it. */
static float *teach(const struct ruvm_distill *d, struct ruvm_pass *pass, uint32_t window)
{
    const struct ruvm_network *teacher = d->o.teacher;
    const struct ruvm_text *text = d->o.text;
    uint32_t n = ruvm_batches_positions(&d->batches, window);
    float *kept =
        d->hidden ? d->hidden + ((size_t)text->first[window] - window) * teacher->dim : NULL;
    if (kept && d->has_hidden[window])
        return ruvm_pass_head(pass, teacher, kept, n);
    float *logits = ruvm_pass_forward(pass, teacher, text->tokens + text->first[window], n, NULL);
    if (kept) {
        memcpy(kept, ruvm_pass_hidden(pass), (size_t)n * teacher->dim * sizeof *kept);
        d->has_hidden[window] = true;
    }
    return logits;
}

static void run_slot(void *user, uint32_t slot, uint32_t thread)
{
    struct ruvm_distill *d = user;
    struct ruvm_network *gradient = &d->slots[slot];
    const struct distill_worker *w = &d->workers[thread];
    memset(gradient->values, 0, gradient->n_values * sizeof *gradient->values);
    for (uint32_t i = slot; i < d->batches.batch; i += d->n_slots) {
        uint32_t window = d->windows[i], n = ruvm_batches_positions(&d->batches, window);
        float *expected = teach(d, w->teacher, window);
        float *logits = ruvm_pass_forward(w->student, &d->student,
                                          d->o.text->tokens + d->o.text->first[window], n, NULL);
        d->losses[i] =
            ruvm_math_divergence(logits, expected, n, d->student.vocab, 1.0f / (float)d->positions);
        ruvm_pass_backward(w->student, &d->student, gradient, NULL);
    }
}

/* ---- parts ----------------------------------------------------------------------- */

static void gather_part(void *user, uint32_t i, uint32_t thread)
{
    struct ruvm_distill *d = user;
    struct distill_part *p = &d->parts[i];
    float *gradient = d->optimizer.gradient + p->weights.first;
    (void)thread;
    memset(gradient, 0, p->weights.n * sizeof *gradient);
    for (uint32_t s = 0; s < d->n_slots; s++)
        ruvm_math_add(gradient, d->slots[s].values + p->weights.first, p->weights.n);
    float *by_steps = d->optimizer.gradient + p->steps.first;
    if (p->steps.n > 0)
        ruvm_fake_quant_gradient(&p->quant, gradient, by_steps,
                                 d->optimizer.values + p->weights.first,
                                 d->optimizer.values + p->steps.first);
}

static const float max_pull = 0.5f; /* of the way, in one step */

static bool has_few_levels(const struct distill_part *p)
{
    return p->steps.n > 0 && ruvm_codes_max_level(p->quant.type) <= RUVM_DISTILL_FEW;
}

/* How much of the rounding is in the weights that the next step uses: few levels come little
 * by little, so that what a weight is rounded to has time to turn out wrong. */
static float hardness(const struct ruvm_distill *d, const struct distill_part *p)
{
    float end = d->o.soft * (float)d->o.steps, now = (float)d->step + 1.0f;
    return !has_few_levels(p) || now >= end ? 1.0f : now / end;
}

static void quantize_part(struct ruvm_distill *d, const struct distill_part *p)
{
    float *out = d->student.values + p->weights.first;
    const float *values = d->optimizer.values, *w = values + p->weights.first;
    if (p->steps.n == 0) {
        memcpy(out, w, p->weights.n * sizeof *out);
        return;
    }
    ruvm_fake_quant_weights(&p->quant, out, w, values + p->steps.first);
    float hard = hardness(d, p);
    if (hard < 1.0f)
        ruvm_math_blend(out, w, hard, p->weights.n);
}

/* Draws a part's latent weights to their levels, so much that one whose gradients do not agree
 * never reaches the end of its level, half a gap away. */
static void pull_part(struct ruvm_distill *d, const struct distill_part *p)
{
    float *w = d->optimizer.values + p->weights.first;
    const float *levels = d->student.values + p->weights.first;
    const float *steps = d->optimizer.values + p->steps.first;
    float sum = 0;
    for (size_t i = 0; i < p->steps.n; i++)
        sum += steps[i];
    float half_gap = sum / (float)p->steps.n * ruvm_fake_quant_half_gap(&p->quant);
    float pull = d->pull * p->weights.rate * d->share / half_gap;
    ruvm_math_blend(w, levels, 1.0f - (pull < max_pull ? pull : max_pull), p->weights.n);
}

static void move_part(void *user, uint32_t i, uint32_t thread)
{
    struct ruvm_distill *d = user;
    struct distill_part *p = &d->parts[i];
    (void)thread;
    ruvm_optimizer_move(&d->optimizer, &p->weights, d->share);
    ruvm_optimizer_move(&d->optimizer, &p->steps, d->share);
    quantize_part(d, p);
    if (d->pull > 0 && has_few_levels(p) && hardness(d, p) >= 1.0f)
        pull_part(d, p);
}

void ruvm_distill_quantize(struct ruvm_distill *d)
{
    for (uint32_t i = 0; i < d->n_parts; i++)
        quantize_part(d, &d->parts[i]);
}

/* ---- the step ---------------------------------------------------------------------- */

/* A short rise, for Adam's averages to fill, then a fall that ends flat. */
static float share_at(const struct ruvm_distill *d)
{
    uint32_t rise = d->o.steps / 50 + 1;
    float left = (float)(d->o.steps - d->step) / (float)d->o.steps, share = 1.0f;
    float risen = (float)(d->step + 1) / (float)rise;
    for (uint32_t i = 0; i < d->fall; i++)
        share *= left;
    return risen < share ? risen : share;
}

double ruvm_distill_step(struct ruvm_distill *d)
{
    double loss = 0;
    d->windows = ruvm_batches_step(&d->batches, d->step);
    d->positions = 0;
    for (uint32_t i = 0; i < d->batches.batch; i++)
        d->positions += ruvm_batches_positions(&d->batches, d->windows[i]);
    ruvm_pool_run(d->pool, run_slot, d, d->n_slots);
    for (uint32_t i = 0; i < d->batches.batch; i++)
        loss += d->losses[i];
    ruvm_pool_run(d->pool, gather_part, d, d->n_parts);
    d->share = share_at(d);
    d->step++;
    ruvm_optimizer_begin(&d->optimizer);
    ruvm_pool_run(d->pool, move_part, d, d->n_parts);
    return loss;
}
