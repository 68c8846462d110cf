/* Adam without weight decay. Powers of the decays are kept as products: pow differs from
 * machine to machine. */
#include "lib/train/optimizer.h"

#include <math.h>

#include "lib/train/isa.h"

static const float mean_decay = 0.9f, square_decay = 0.98f, tiny = 1e-9f;

int ruvm_optimizer_open(struct ruvm_optimizer *o, struct ruvm_arena *arena, size_t n,
                        struct ruvm_error *err)
{
    float **const arrays[] = {&o->values, &o->gradient, &o->mean, &o->square};
    *o = (struct ruvm_optimizer){.n = n, .mean_left = 1, .square_left = 1};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = ruvm_arena_alloc(arena, n, sizeof(float));
        if (!*arrays[i])
            return ruvm_fail(err, RUVM_ERR_MEMORY,
                             "no memory to train %zu values: each takes 16 bytes", n);
    }
    return RUVM_OK;
}

void ruvm_optimizer_begin(struct ruvm_optimizer *o)
{
    o->mean_left *= (double)mean_decay;
    o->square_left *= (double)square_decay;
}

/* What one span is moved by. */
struct move {
    float mean_decay, square_decay, mean_scale, square_scale, rate, fixed, grown;
};

static inline RUVM_ISA_BODY void move_body(float *restrict x, float *restrict mean,
                                           float *restrict square, const float *restrict gradient,
                                           size_t n, const struct move *m)
{
    for (size_t i = 0; i < n; i++) {
        float g = gradient[i];
        mean[i] = mean[i] * m->mean_decay + g * (1.0f - m->mean_decay);
        square[i] = square[i] * m->square_decay + g * g * (1.0f - m->square_decay);
        float size = sqrtf(square[i] * m->square_scale) + tiny;
        float step = m->rate * (mean[i] * m->mean_scale) / size;
        x[i] -= step * (m->fixed + m->grown * x[i]);
    }
}

RUVM_ISA_EACH(move,
              (float *x, float *mean, float *square, const float *gradient, size_t n,
               const struct move *m),
              x, mean, square, gradient, n, m)

void ruvm_optimizer_move(const struct ruvm_optimizer *o, const struct ruvm_optimizer_span *span,
                         float share)
{
    struct move m = {.mean_decay = mean_decay,
                     .square_decay = square_decay,
                     .mean_scale = (float)(1 / (1 - o->mean_left)),
                     .square_scale = (float)(1 / (1 - o->square_left)),
                     .rate = span->rate * share,
                     .fixed = span->proportional ? 0.0f : 1.0f,
                     .grown = span->proportional ? 1.0f : 0.0f};
    size_t i = span->first;
    move(o->values + i, o->mean + i, o->square + i, o->gradient + i, span->n, &m);
}
