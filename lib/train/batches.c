/* Shuffles the windows of a text anew for every epoch. */
#include "lib/train/batches.h"

#include "lib/base/random.h"

int ruvm_batches_open(struct ruvm_batches *b, struct ruvm_arena *arena,
                      const struct ruvm_text *text, uint32_t batch, uint64_t seed,
                      struct ruvm_error *err)
{
    *b = (struct ruvm_batches){.text = text, .seed = seed, .epoch = UINT64_MAX};
    if (text->n_windows == 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "there is no text to train on");
    b->batch = batch < text->n_windows ? batch : text->n_windows;
    b->order = ruvm_arena_alloc(arena, text->n_windows, sizeof *b->order);
    if (!b->order)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the order of %u windows",
                         text->n_windows);
    return RUVM_OK;
}

uint32_t ruvm_batches_positions(const struct ruvm_batches *b, uint32_t window)
{
    return b->text->first[window + 1] - b->text->first[window] - 1;
}

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t kept = *a;
    *a = *b;
    *b = kept;
}

/* Whether window x goes before y. */
static bool before(const struct ruvm_batches *b, uint32_t x, uint32_t y)
{
    uint32_t n_x = ruvm_batches_positions(b, x), n_y = ruvm_batches_positions(b, y);
    return n_x != n_y ? n_x > n_y : x < y;
}

static void sort_batch(const struct ruvm_batches *b, uint32_t *windows)
{
    for (uint32_t i = 1; i < b->batch; i++)
        for (uint32_t j = i; j > 0 && before(b, windows[j], windows[j - 1]); j--)
            swap(&windows[j], &windows[j - 1]);
}

static void shuffle(struct ruvm_batches *b, uint64_t epoch)
{
    uint64_t state = b->seed, n = b->text->n_windows;
    state = ruvm_random_next(&state) + epoch;
    for (uint32_t i = 0; i < n; i++)
        b->order[i] = i;
    for (uint64_t i = n - 1; i > 0; i--)
        swap(&b->order[i], &b->order[ruvm_random_next(&state) % (i + 1)]);
    for (uint32_t first = 0; first + b->batch <= n; first += b->batch)
        sort_batch(b, b->order + first);
    b->epoch = epoch;
}

const uint32_t *ruvm_batches_step(struct ruvm_batches *b, uint64_t step)
{
    uint32_t n_batches = b->text->n_windows / b->batch;
    if (b->epoch != step / n_batches)
        shuffle(b, step / n_batches);
    return b->order + step % n_batches * b->batch;
}
