/* Draws text from the float model at temperature 1, the same on every machine.
 *
 * The generator is splitmix64 and the exponential is made of IEEE additions,
 * multiplications and divisions only: a libm that rounds otherwise would choose
 * another token sooner or later, and the image would differ between two
 * machines that quantize the same model.
 */
#include "lib/convert/samples.h"

#include <math.h>
#include <stdio.h>

#include "lib/base/random.h"

/* exp(x) for x <= 0 by Taylor's series around a multiple of ln 2; nothing below 1e-17. */
static double portable_exp(double x)
{
    if (!(x >= -39.0))
        return isnan(x) ? x : 0.0;
    double n = floor(x * 1.4426950408889634 + 0.5);
    double r = x - n * 0.6931471805599453;
    double sum = 1.0;
    for (int i = 12; i > 0; i--)
        sum = 1.0 + sum * r / i;
    return ldexp(sum, (int)n);
}

static float largest(const float *x, uint32_t n)
{
    float best = x[0];
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

/* One token of softmax(logits), or -1 when they are not numbers. weights: [vocab] work. */
static int32_t draw(const float *logits, uint32_t vocab, double *weights, uint64_t *state)
{
    double best = (double)largest(logits, vocab), total = 0.0;
    for (uint32_t i = 0; i < vocab; i++) {
        weights[i] = portable_exp((double)logits[i] - best);
        total += weights[i];
    }
    if (!isfinite(total) || !isfinite(best))
        return -1;
    double left = ruvm_random_unit(state) * total;
    int32_t last = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        if (weights[i] <= 0.0)
            continue;
        last = (int32_t)i;
        left -= weights[i];
        if (left < 0.0)
            break;
    }
    return last;
}

/* The text being drawn. */
struct drawing {
    struct ruvm_text *text;
    struct ruvm_reference *r;
    const struct ruvm_samples_options *o;
    double *weights; /* [vocab] */
    uint32_t vocab;
    uint64_t state, n_drawn;
    struct ruvm_error *err;
};

static int no_memory(const struct drawing *d)
{
    return ruvm_fail(d->err, RUVM_ERR_MEMORY, "memory is short for %llu sampled tokens",
                     (unsigned long long)d->o->n_positions);
}

static int no_numbers(const struct drawing *d)
{
    return ruvm_fail(d->err, RUVM_ERR_CORRUPT,
                     "the model's predictions are not numbers: "
                     "its weights are damaged or of another architecture");
}

static int32_t next_token(struct drawing *d, uint32_t token)
{
    const float *logits = ruvm_reference_step(d->r, token);
    if (d->o->any_token)
        return (int32_t)(ruvm_random_next(&d->state) % d->vocab);
    return draw(logits, d->vocab, d->weights, &d->state);
}

static int report(const struct drawing *d)
{
    const struct ruvm_progress *p = &d->o->progress;
    uint64_t done = d->n_drawn;
    bool often = ruvm_reference_sequences(d->r) > 1; /* where a position takes long */
    if (!p->report || (!often && done % 32 != 0 && done != d->o->n_positions))
        return RUVM_OK;
    if (p->report(p->user, d->o->stage, done, d->o->n_positions) != 0)
        return ruvm_fail(d->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* One window: from the start token until a text ends, the context is full or enough is
 * drawn. */
static int draw_window(struct drawing *d)
{
    uint32_t token = d->o->start;
    ruvm_reference_reset(d->r);
    ruvm_text_window(d->text, token);
    while (d->text->n_positions < d->o->n_positions && ruvm_text_length(d->text) <= d->o->context) {
        int32_t next = next_token(d, token);
        if (next < 0)
            return no_numbers(d);
        token = (uint32_t)next;
        ruvm_text_token(d->text, token);
        d->n_drawn++;
        int rc = report(d);
        if (rc != RUVM_OK)
            return rc;
        bool ends = token == d->o->start || token == d->o->end;
        if (ends && !d->o->fill_context)
            break;
    }
    return RUVM_OK;
}

/* ---- side by side ------------------------------------------------------------ */

/* One of the texts that are written at once; each has a generator of its own. */
struct slot {
    struct ruvm_text text;
    uint64_t n_positions, state;
    uint32_t token;
};

static void start_window(struct drawing *d, struct slot *s, uint32_t sequence)
{
    s->token = d->o->start;
    ruvm_text_window(&s->text, s->token);
    ruvm_reference_restart(d->r, sequence);
}

/* Slot s writes its next token. */
static int advance(struct drawing *d, struct slot *s, uint32_t sequence, const float *logits)
{
    int32_t next = d->o->any_token ? (int32_t)(ruvm_random_next(&s->state) % d->vocab)
                                   : draw(logits, d->vocab, d->weights, &s->state);
    if (next < 0)
        return no_numbers(d);
    s->token = (uint32_t)next;
    ruvm_text_token(&s->text, s->token);
    d->n_drawn++;
    int rc = report(d);
    bool ends = s->token == d->o->start || s->token == d->o->end;
    if ((ends && !d->o->fill_context) || ruvm_text_length(&s->text) > d->o->context)
        start_window(d, s, sequence);
    return rc;
}

/* Shares differ by one at most, the larger ones first: those still writing are the first. */
static int open_slots(struct drawing *d, struct slot *slots, uint32_t n, struct ruvm_arena *arena)
{
    uint64_t total = d->o->n_positions;
    for (uint32_t s = 0; s < n; s++) {
        slots[s] = (struct slot){.n_positions = total / n + (s < total % n)};
        slots[s].state = ruvm_random_next(&d->state);
        if (!ruvm_text_reserve(&slots[s].text, arena, slots[s].n_positions))
            return no_memory(d);
        start_window(d, &slots[s], s);
    }
    return RUVM_OK;
}

static int draw_slots(struct drawing *d, struct slot *slots, uint32_t n)
{
    uint32_t tokens[RUVM_REFERENCE_BLOCK];
    size_t step = ruvm_reference_logits_step(d->r);
    int rc = RUVM_OK;
    while (rc == RUVM_OK) {
        while (n > 0 && slots[n - 1].text.n_positions == slots[n - 1].n_positions)
            n--;
        if (n == 0)
            break;
        for (uint32_t s = 0; s < n; s++)
            tokens[s] = slots[s].token;
        const float *logits = ruvm_reference_step_each(d->r, tokens, n);
        for (uint32_t s = 0; s < n && rc == RUVM_OK; s++)
            rc = advance(d, &slots[s], s, logits + s * step);
    }
    return rc;
}

static void append(struct ruvm_text *to, const struct ruvm_text *from)
{
    for (uint32_t w = 0; w < from->n_windows; w++) {
        ruvm_text_window(to, from->tokens[from->first[w]]);
        for (uint32_t i = from->first[w] + 1; i < from->first[w + 1]; i++)
            ruvm_text_token(to, from->tokens[i]);
    }
}

static int draw_side_by_side(struct drawing *d, uint32_t n)
{
    struct ruvm_arena arena = {0};
    struct slot slots[RUVM_REFERENCE_BLOCK];
    int rc = open_slots(d, slots, n, &arena);
    if (rc == RUVM_OK)
        rc = draw_slots(d, slots, n);
    for (uint32_t s = 0; s < n && rc == RUVM_OK; s++) {
        ruvm_text_window(&slots[s].text, d->o->start);
        append(d->text, &slots[s].text);
    }
    ruvm_arena_free(&arena);
    return rc;
}

/* ---- all --------------------------------------------------------------------- */

int ruvm_samples_draw(struct ruvm_text *t, struct ruvm_arena *arena, struct ruvm_reference *r,
                      uint32_t vocab, const struct ruvm_samples_options *o, struct ruvm_error *err)
{
    struct drawing d = {.text = t, .r = r, .o = o, .vocab = vocab, .state = o->seed, .err = err};
    uint32_t n = ruvm_reference_sequences(r);
    d.weights = ruvm_arena_alloc(arena, vocab, sizeof *d.weights);
    if (!d.weights || !ruvm_text_reserve(t, arena, o->n_positions))
        return no_memory(&d);
    int rc = n > 1 ? draw_side_by_side(&d, n) : RUVM_OK;
    while (n == 1 && rc == RUVM_OK && t->n_positions < o->n_positions)
        rc = draw_window(&d);
    ruvm_text_window(t, o->start);
    snprintf(t->source, sizeof t->source, "own samples");
    return rc;
}
