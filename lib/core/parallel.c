/* Splits items into one piece a thread (parallel.h). Without threads none of it is called. */
#include "lib/core/parallel.h"

struct split {
    struct ruvm_engine *e;
    void (*part)(struct ruvm_engine *view, void *job, uint32_t first, uint32_t end);
    void *job;
    uint32_t n;
};

static void run_part(void *user, uint32_t i, uint32_t n_parts)
{
    const struct split *s = user;
    uint32_t first = (uint32_t)((uint64_t)s->n * i / n_parts);
    uint32_t end = (uint32_t)((uint64_t)s->n * (i + 1) / n_parts);
    if (first < end)
        s->part(i ? &s->e->views[i - 1] : s->e, s->job, first, end);
}

void ruvm_parallel_split(struct ruvm_engine *e, uint32_t n,
                         void (*part)(struct ruvm_engine *view, void *job, uint32_t first,
                                      uint32_t end),
                         void *job)
{
    struct split s = {e, part, job, n};
    e->parallel->run(e->parallel->user, run_part, &s);
}

void ruvm_parallel_narrow(struct ruvm_engine *e, uint32_t first, uint32_t n)
{
    uint32_t share = e->work_ints / e->block;
    e->parallel = NULL;
    e->rows += first;
    e->residual += (size_t)first * e->img.dim;
    e->layer_input += (size_t)first * e->img.dim;
    e->work += (size_t)first * share;
    e->work_ints = n * share;
    e->x += (size_t)first * e->x_stride;
    e->x_unit += (size_t)first * RUVM_MAX_GROUPS;
    if (e->sign_stride) {
        e->signs += (size_t)first * e->sign_stride;
        e->sign_unit += first;
    }
    e->rope += (size_t)first * e->img.rope_dims;
}

void ruvm_parallel_refresh(struct ruvm_engine *e)
{
    for (uint32_t i = 1; ruvm_engine_parallel(e) && i < e->parallel->n_parts; i++) {
        struct ruvm_engine own = e->views[i - 1], *view = &e->views[i - 1];
        *view = *e;
        view->vector = own.vector;
        view->levels = own.levels;
        view->query = own.query;
        view->scores = own.scores;
        view->weights = own.weights;
        view->mixed = own.mixed;
        view->mixed_sum = own.mixed_sum;
        view->keys.room = own.keys.room;
        view->values.room = own.values.room;
    }
}
