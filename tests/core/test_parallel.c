/* Threads and rows: neither how work is split, nor by whom it is done, nor which other texts
 * are computed beside a text changes a bit of its logits. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/base/pool.h"
#include "lib/core/engine.h"
#include "lib/run/panels.h"
#include "lib/ruvm.h"
#include "tests/core/any_shape.h"

static void fill_tokens(uint16_t *tokens, size_t n, uint16_t vocab, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint16_t)(random_next(&seed) % vocab);
}

static struct ruvm_engine *start(void **memory, const uint8_t *image, size_t image_bytes,
                                 const struct ruvm_engine_options *o)
{
    struct ruvm_engine *e;
    size_t bytes;
    cr_assert_eq(ruvm_engine_bytes(image, image_bytes, o, &bytes), RUVM_OK);
    *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(*memory, 0x5A, bytes);
    cr_assert_eq(ruvm_engine_init(&e, *memory, bytes, image, image_bytes, o), RUVM_OK);
    return e;
}

static int32_t *all_logits(const uint8_t *image, size_t bytes, const struct random_shape *s,
                           const uint16_t *tokens, const struct ruvm_engine_options *o)
{
    void *memory;
    struct ruvm_engine *e = start(&memory, image, bytes, o);
    int32_t *logits = malloc((size_t)s->context * s->vocab * sizeof *logits);
    cr_assert_eq(ruvm_engine_eval(e, tokens, s->context, logits), RUVM_OK);
    free(memory);
    return logits;
}

/* ---- threads ----------------------------------------------------------------- */

static uint32_t n_runs;

/* One thread, the last part first. */
static void run_backwards(void *user, void (*part)(void *job, uint32_t i, uint32_t n), void *job)
{
    uint32_t n = *(uint32_t *)user;
    n_runs++;
    for (uint32_t i = n; i-- > 0;)
        part(job, i, n);
}

struct threads {
    struct ruvm_pool *pool;
    uint32_t n;
    void (*part)(void *job, uint32_t i, uint32_t n);
    void *job;
};

static void run_job(void *user, uint32_t i, uint32_t thread)
{
    const struct threads *t = user;
    (void)thread;
    t->part(t->job, i, t->n);
}

static void run_threads(void *user, void (*part)(void *job, uint32_t i, uint32_t n), void *job)
{
    struct threads *t = user;
    t->part = part;
    t->job = job;
    ruvm_pool_run(t->pool, run_job, t, t->n);
}

/* Windows that forget, for what a block stores before it looks. */
static struct ruvm_mask mask_of(int i)
{
    if (i % 5 == 3)
        return (struct ruvm_mask){.kind = RUVM_MASK_WINDOW, .n = {3, 2}};
    return (struct ruvm_mask){.kind = RUVM_MASK_NONE};
}

static void check_splits(int i, const struct ruvm_kernels *k, const struct ruvm_parallel *p)
{
    static const uint32_t blocks[] = {1, 2, 7, 32};
    const struct random_shape s = any_shape(i);
    size_t bytes;
    uint8_t *image = random_image(&s, &bytes);
    struct ruvm_panels panels;
    uint16_t tokens[ANY_SHAPE_CONTEXT];
    fill_tokens(tokens, s.context, s.vocab, 7);
    cr_assert_eq(ruvm_panels_plan(&panels, image, bytes, k, NULL), RUVM_OK);
    cr_assert_eq(ruvm_panels_fill(&panels, NULL, NULL), RUVM_OK);
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
        struct ruvm_engine_options o = {
            .block = blocks[b], .kernels = k, .mask = mask_of(i), .panels = panels.of_tensor};
        int32_t *expected = all_logits(image, bytes, &s, tokens, &o);
        o.parallel = p;
        int32_t *found = all_logits(image, bytes, &s, tokens, &o);
        cr_assert_eq(memcmp(expected, found, (size_t)s.context * s.vocab * sizeof *found), 0,
                     "shape %d kernels %s block %u parts %u", i, k->name, o.block, p->n_parts);
        free(expected);
        free(found);
    }
    ruvm_panels_free(&panels);
    free(image);
}

Test(parallel, any_split_gives_the_same_logits)
{
    static uint32_t counts[] = {2, 3, 4, RUVM_MAX_PARTS};
    const struct ruvm_kernels *best = ruvm_kernels_select(NULL);
    n_runs = 0;
    for (int i = 0; i < n_any_shapes; i++) {
        uint32_t *n = &counts[i % 4];
        const struct ruvm_parallel p = {.run = run_backwards, .user = n, .n_parts = *n};
        check_splits(i, i % 3 ? best : &ruvm_kernels_scalar, &p);
    }
    cr_assert_gt(n_runs, 1000); /* the smallest shapes have nothing to split */
}

Test(parallel, any_number_of_threads_gives_the_same_logits)
{
    for (uint32_t n = 1; n <= 4; n++) {
        struct threads t = {.n = n};
        const struct ruvm_parallel p = {.run = run_threads, .user = &t, .n_parts = n};
        cr_assert_eq(ruvm_pool_open(&t.pool, n, NULL), RUVM_OK);
        for (int i = (int)n; i < n_any_shapes; i += 7)
            check_splits(i, ruvm_kernels_select(NULL), &p);
        ruvm_pool_close(t.pool);
    }
}

/* Every thread has a block, as far as there may be tokens together; where a mask forgets, what
 * the engine knows of a text does not depend on threads. */
Test(parallel, each_thread_has_a_block_of_its_own)
{
    static const uint32_t together[][2] = {{1, 2}, {8, 16}, {32, 64}, {40, 64}};
    uint32_t n = 2;
    const struct random_shape s = any_shape(3);
    const struct ruvm_parallel p = {.run = run_backwards, .user = &n, .n_parts = n};
    size_t image_bytes;
    uint8_t *image = random_image(&s, &image_bytes);
    for (size_t i = 0; i < sizeof together / sizeof *together; i++) {
        struct ruvm_engine_options o = {.block = together[i][0], .parallel = &p};
        void *memory;
        uint32_t most = together[i][1] < s.context ? together[i][1] : s.context;
        cr_assert_eq(start(&memory, image, image_bytes, &o)->block, most);
        free(memory);
        o.mask = (struct ruvm_mask){.kind = RUVM_MASK_WINDOW, .n = {3, 2}};
        most = o.block < s.context ? o.block : s.context;
        cr_assert_eq(start(&memory, image, image_bytes, &o)->block, most);
        free(memory);
    }
    free(image);
}

/* How often a model's text makes its engine ask for parts. */
static uint32_t runs_of(const struct ruvm_parallel *p)
{
    const struct random_shape s = any_shape(0);
    const struct ruvm_engine_options o = {.parallel = p};
    size_t bytes;
    uint8_t *image = random_image(&s, &bytes);
    uint16_t tokens[ANY_SHAPE_CONTEXT];
    fill_tokens(tokens, s.context, s.vocab, 7);
    n_runs = 0;
    free(all_logits(image, bytes, &s, tokens, &o));
    free(image);
    return n_runs;
}

/* The least work of all is above what a token has: then nobody is asked. */
Test(parallel, little_work_is_not_split)
{
    uint32_t n = 2;
    struct ruvm_parallel p = {
        .run = run_backwards, .user = &n, .n_parts = n, .min_work = UINT64_MAX};
    cr_assert_eq(runs_of(&p), 0);
    p.min_work = 1;
    cr_assert_gt(runs_of(&p), 0);
}

/* Nor is a block that is done before a thread could come. */
Test(parallel, a_short_block_is_not_split)
{
    uint32_t n = 2;
    struct ruvm_parallel p = {
        .run = run_backwards, .user = &n, .n_parts = n, .min_block = UINT64_MAX};
    cr_assert_eq(runs_of(&p), 0);
    p.min_block = 1;
    cr_assert_gt(runs_of(&p), 0);
}

Test(parallel, refuses_more_parts_than_there_may_be)
{
    uint32_t n = RUVM_MAX_PARTS + 1;
    const struct random_shape s = any_shape(0);
    const struct ruvm_parallel p = {.run = run_backwards, .user = &n, .n_parts = n};
    const struct ruvm_engine_options o = {.parallel = &p};
    size_t bytes;
    uint8_t *image = random_image(&s, &bytes);
    cr_assert_eq(ruvm_engine_bytes(image, bytes, &o, &bytes), RUVM_ERR_ARG);
    free(image);
}

/* ---- rows -------------------------------------------------------------------- */

enum { N_TEXTS = 5 };

struct text {
    struct ruvm_engine *e, *alone; /* with others, and by itself */
    void *memory, *alone_memory;
    uint16_t tokens[ANY_SHAPE_CONTEXT];
    uint32_t n, done;
};

/* Another one that need not know the image. */
static struct ruvm_engine *start_like(void **memory, const struct ruvm_engine *other,
                                      const uint8_t *image, size_t image_bytes,
                                      const struct ruvm_engine_options *o)
{
    struct ruvm_engine *e;
    size_t bytes;
    cr_assert_eq(ruvm_engine_bytes(image, image_bytes, o, &bytes), RUVM_OK);
    *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(*memory, 0xA5, bytes);
    cr_assert_eq(ruvm_engine_init_like(&e, *memory, bytes - 1, other), RUVM_ERR_MEMORY);
    cr_assert_eq(ruvm_engine_init_like(&e, (char *)*memory + 1, bytes, other), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_engine_init_like(&e, *memory, bytes, other), RUVM_OK);
    cr_assert_eq(ruvm_engine_position(e), 0);
    return e;
}

static void open_texts(struct text *texts, const uint8_t *image, size_t bytes,
                       const struct random_shape *s, const struct ruvm_engine_options *o)
{
    for (uint32_t i = 0; i < N_TEXTS; i++) {
        struct text *t = &texts[i];
        t->e = i ? start_like(&t->memory, texts[0].e, image, bytes, o)
                 : start(&t->memory, image, bytes, o);
        t->alone = start(&t->alone_memory, image, bytes, o);
        t->n = s->context - i % s->context;
        t->done = 0;
        fill_tokens(t->tokens, t->n, s->vocab, 100 + i);
    }
}

/* Up to three tokens of each text, mixed; returns how many there were left. */
static uint32_t take_rows(struct text *texts, struct ruvm_row *rows, uint64_t *rng)
{
    uint32_t n = 0;
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < N_TEXTS; i++) {
            struct text *t = &texts[i];
            if (t->done < t->n && random_next(rng) % 3)
                rows[n++] = (struct ruvm_row){t->e, t->tokens[t->done++]};
        }
    return n;
}

static void check_texts(struct text *texts, const struct random_shape *s, int shape, uint64_t *rng)
{
    struct ruvm_row rows[3 * N_TEXTS];
    for (uint32_t left = 1; left;) {
        uint32_t n = take_rows(texts, rows, rng);
        struct ruvm_engine *lender = texts[random_next(rng) % N_TEXTS].e;
        cr_assert_eq(ruvm_engine_eval_rows(lender, rows, n), n ? RUVM_OK : RUVM_ERR_ARG);
        left = 0;
        for (uint32_t i = 0; i < N_TEXTS; i++) {
            struct text *t = &texts[i];
            uint32_t known = ruvm_engine_position(t->alone);
            left += t->n - t->done;
            cr_assert_eq(ruvm_engine_position(t->e), t->done);
            if (known == t->done)
                continue;
            cr_assert_eq(ruvm_engine_eval(t->alone, t->tokens + known, t->done - known, NULL),
                         RUVM_OK);
            cr_assert_eq(memcmp(ruvm_engine_logits(t->e), ruvm_engine_logits(t->alone),
                                s->vocab * sizeof(int32_t)),
                         0, "shape %d text %u position %u", shape, i, t->done);
        }
    }
}

Test(rows, of_many_texts_are_what_each_is_alone)
{
    static struct text texts[N_TEXTS];
    uint32_t n_parts = 3;
    const struct ruvm_parallel p = {.run = run_backwards, .user = &n_parts, .n_parts = n_parts};
    uint64_t rng = 3;
    for (int i = 0; i < n_any_shapes; i++) {
        const struct random_shape s = any_shape(i);
        const struct ruvm_engine_options o = {.block = 1 + (uint32_t)i % 9,
                                              .kernels = ruvm_kernels_select(NULL),
                                              .mask = mask_of(i),
                                              .parallel = i % 2 ? &p : NULL};
        size_t bytes;
        uint8_t *image = random_image(&s, &bytes);
        open_texts(texts, image, bytes, &s, &o);
        check_texts(texts, &s, i, &rng);
        for (uint32_t t = 0; t < N_TEXTS; t++) {
            free(texts[t].memory);
            free(texts[t].alone_memory);
        }
        free(image);
    }
}

Test(rows, refuses_all_when_one_cannot_be)
{
    const struct random_shape s = any_shape(0);
    size_t bytes, other_bytes;
    uint8_t *image = random_image(&s, &bytes), *other = random_image(&s, &other_bytes);
    void *memory[3];
    struct ruvm_engine *a = start(&memory[0], image, bytes, NULL);
    struct ruvm_engine *b = start(&memory[1], image, bytes, NULL);
    struct ruvm_engine *c = start(&memory[2], other, other_bytes, NULL);
    uint16_t tokens[ANY_SHAPE_CONTEXT] = {0};
    cr_assert_eq(ruvm_engine_eval(b, tokens, s.context - 1u, NULL), RUVM_OK);
    const struct ruvm_row full[] = {{a, 1}, {b, 1}, {b, 1}};
    cr_assert_eq(ruvm_engine_eval_rows(a, full, 3), RUVM_ERR_FULL);
    const struct ruvm_row wrong[] = {{a, 1}, {b, s.vocab}};
    cr_assert_eq(ruvm_engine_eval_rows(a, wrong, 2), RUVM_ERR_ARG);
    const struct ruvm_row strange[] = {{a, 1}, {c, 1}};
    cr_assert_eq(ruvm_engine_eval_rows(a, strange, 2), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_engine_eval_rows(a, full, 0), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_engine_position(a), 0);
    cr_assert_eq(ruvm_engine_position(b), s.context - 1u);
    cr_assert_eq(ruvm_engine_eval_rows(a, full, 2), RUVM_OK);
    cr_assert_eq(ruvm_engine_position(b), s.context);
    for (int i = 0; i < 3; i++)
        free(memory[i]);
    free(image);
    free(other);
}
