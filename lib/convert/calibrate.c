/* Watches the float reference while it writes and reads samples, and keeps the extremes.
 *
 * Each channel has its own range. The two channels of a key pair share what
 * rotation moves between them, but a slow pair hardly turns within a context: a
 * range of the pair's radius for both, safe at any position, was measured on
 * stories260K to triple the loss of the whole cache. Samples that fill the
 * context visit every position instead.
 */
#include "lib/convert/calibrate.h"

#include <math.h>

#include "lib/base/random.h"

enum { ANY_SHARE = 4 }; /* one token of the whole vocabulary for so many of the model's own */

/* A NaN stays, so that it is found in the end. */
static void see(struct ruvm_range *r, float x)
{
    if (x < r->low || isnan(x))
        r->low = x;
    if (x > r->high || isnan(x))
        r->high = x;
}

static void see_kv(void *user, unsigned layer, const float *k, const float *v)
{
    struct ruvm_calibration *c = user;
    size_t first = (size_t)layer * c->kv_dim;
    for (uint32_t i = 0; i < c->kv_dim; i++) {
        see(&c->key[first + i], k[i]);
        see(&c->value[first + i], v[i]);
    }
}

static void see_residual(void *user, const float *h)
{
    struct ruvm_calibration *c = user;
    for (uint32_t i = 0; i < c->dim; i++)
        see(&c->residual, h[i]);
}

int ruvm_calibrate_init(struct ruvm_calibration *c, struct ruvm_arena *arena,
                        const struct ruvm_model *m, struct ruvm_error *err)
{
    const struct ruvm_range nothing = {INFINITY, -INFINITY};
    *c = (struct ruvm_calibration){.n_layers = m->n_layers,
                                   .dim = m->dim,
                                   .kv_dim = m->n_kv_heads * m->head_dim,
                                   .residual = nothing};
    size_t n = (size_t)c->n_layers * c->kv_dim;
    c->key = ruvm_arena_alloc(arena, n, sizeof *c->key);
    c->value = ruvm_arena_alloc(arena, n, sizeof *c->value);
    if (!c->key || !c->value)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the calibration");
    for (size_t i = 0; i < n; i++)
        c->key[i] = c->value[i] = nothing;
    return RUVM_OK;
}

static bool is_finite(struct ruvm_range r)
{
    return isfinite(r.low) && isfinite(r.high);
}

static int check_finite(const struct ruvm_calibration *c, struct ruvm_error *err)
{
    bool finite = is_finite(c->residual);
    for (size_t i = 0; i < (size_t)c->n_layers * c->kv_dim; i++)
        finite = finite && is_finite(c->key[i]) && is_finite(c->value[i]);
    if (!finite)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "an activation of the float model is not finite: "
                         "its weights are damaged or of another architecture");
    return RUVM_OK;
}

/* A prompt may hold what the model never writes: rare bytes, another language. Their keys
 * and values lie far outside of the others, and one that is clipped disturbs all that
 * follows. Mean KL on 14 stories that begin with rare characters, stories260K, in 1/1000:
 * 197 without these tokens, 4 with them; on its own samples 2.03 and 2.14. */
static int see_any_tokens(struct ruvm_arena *arena, struct ruvm_reference *r,
                          const struct ruvm_model *m, const struct ruvm_samples_options *o,
                          struct ruvm_error *err)
{
    struct ruvm_text text;
    struct ruvm_samples_options any = *o;
    any.any_token = any.fill_context = true;
    any.n_positions = (o->n_positions + ANY_SHARE - 1) / ANY_SHARE;
    any.stage = "calibrate on any tokens";
    return ruvm_samples_draw(&text, arena, r, m->vocab, &any, err);
}

static const struct ruvm_observer watcher = {.kv = see_kv, .residual = see_residual};

static void watch(struct ruvm_calibration *c, struct ruvm_reference *r)
{
    struct ruvm_observer o = watcher;
    o.user = c;
    ruvm_reference_observe(r, &o);
}

/* A text on its way through the reference. */
struct reading {
    const struct ruvm_progress *progress;
    const char *stage;
    uint64_t before, total; /* positions of the windows before, and of all */
    struct ruvm_error *err;
};

static int tell(void *user, uint32_t done)
{
    const struct reading *s = user;
    const struct ruvm_progress *p = s->progress;
    if (p->report && p->report(p->user, s->stage, s->before + done, s->total) != 0)
        return ruvm_fail(s->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* The last token of a window is only ever predicted. */
static int read_text(struct ruvm_calibration *c, struct ruvm_reference *r,
                     const struct ruvm_text *text, struct reading *s)
{
    const struct ruvm_reference_reader reader = {.user = s, .progress = tell};
    int rc = RUVM_OK;
    s->total = text->n_positions;
    watch(c, r);
    for (uint32_t w = 0; w < text->n_windows && rc == RUVM_OK; w++) {
        uint32_t n = text->first[w + 1] - text->first[w] - 1;
        rc = ruvm_reference_read(r, text->tokens + text->first[w], n, &reader, s->err);
        s->before += n;
    }
    ruvm_reference_observe(r, &(struct ruvm_observer){0});
    return rc == RUVM_OK ? check_finite(c, s->err) : rc;
}

int ruvm_calibrate_read(struct ruvm_calibration *c, struct ruvm_reference *r,
                        const struct ruvm_text *text, const struct ruvm_progress *progress,
                        struct ruvm_error *err)
{
    struct reading s = {.progress = progress, .stage = "calibrate on the text", .err = err};
    return read_text(c, r, text, &s);
}

/* ---- texts shorter than the context ----------------------------------------------- */

/* A window begins with the start token and goes on until it is full. */
static void add_token(struct ruvm_text *t, uint32_t token, uint32_t start, uint32_t window)
{
    if (t->n_tokens == 0 || ruvm_text_length(t) > window)
        ruvm_text_window(t, start);
    ruvm_text_token(t, token);
}

/* One text after the other, so that late positions are visited too. */
static void join(struct ruvm_text *out, const struct ruvm_text *t, uint32_t start, uint32_t window)
{
    for (uint32_t w = 0; w < t->n_windows; w++)
        for (uint32_t i = t->first[w] + (w == 0); i < t->first[w + 1]; i++)
            add_token(out, t->tokens[i], start, window);
    ruvm_text_window(out, start);
}

static void draw_any(struct ruvm_text *out, uint32_t vocab, uint64_t n,
                     const struct ruvm_samples_options *o, uint32_t window)
{
    uint64_t state = o->seed;
    for (uint64_t i = 0; i < n; i++)
        add_token(out, (uint32_t)(ruvm_random_next(&state) % vocab), o->start, window);
    ruvm_text_window(out, o->start);
}

/* Where steps cannot fill the context, what they wrote is joined and read at once. */
static int run_joined(struct ruvm_calibration *c, struct ruvm_arena *arena,
                      struct ruvm_reference *r, const struct ruvm_model *m,
                      const struct ruvm_samples_options *o, struct ruvm_error *err)
{
    uint64_t n_any = (o->n_positions + ANY_SHARE - 1) / ANY_SHARE;
    uint32_t window = ruvm_reference_window(r);
    struct ruvm_text text, joined, any;
    struct reading s = {.progress = &o->progress, .stage = "calibrate on samples", .err = err};
    int rc = ruvm_samples_draw(&text, arena, r, m->vocab, o, err);
    if (rc != RUVM_OK)
        return rc;
    if (!ruvm_text_reserve(&joined, arena, text.n_tokens) || !ruvm_text_reserve(&any, arena, n_any))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a text");
    join(&joined, &text, o->start, window);
    draw_any(&any, m->vocab, n_any, o, window);
    rc = read_text(c, r, &joined, &s);
    s = (struct reading){.progress = &o->progress, .stage = "calibrate on any tokens", .err = err};
    return rc == RUVM_OK ? read_text(c, r, &any, &s) : rc;
}

int ruvm_calibrate_run(struct ruvm_calibration *c, struct ruvm_arena *arena,
                       struct ruvm_reference *r, const struct ruvm_model *m,
                       const struct ruvm_samples_options *o, struct ruvm_error *err)
{
    struct ruvm_text text;
    if (ruvm_reference_window(r) > ruvm_reference_context(r))
        return run_joined(c, arena, r, m, o, err);
    watch(c, r);
    int rc = ruvm_samples_draw(&text, arena, r, m->vocab, o, err);
    if (rc == RUVM_OK)
        rc = see_any_tokens(arena, r, m, o, err);
    ruvm_reference_observe(r, &(struct ruvm_observer){0});
    return rc == RUVM_OK ? check_finite(c, err) : rc;
}
