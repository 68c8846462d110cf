/* Measures the parts of a token, and what measuring them costs.
 *
 * Reading a clock takes some nanoseconds, a kernel of a small model not many more. So the
 * cost of a reading and of a watched call is measured with kernels of no values at all,
 * and taken off each part as often as it happened there. Whether that was right can be
 * seen: the parts then add up to the token of the engine that nobody watches.
 */
#include "lib/measure/profile.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/measure/profile_table.h"
#include "lib/measure/speed.h"
#include "lib/measure/spread.h"
#include "lib/run/session.h"

enum { DEFAULT_REPETITIONS = 9, ENGINE_ALIGN = 64, N_PROBES = 2000 };

struct profile {
    struct ruvm_profile_watch watch;
    struct ruvm_session *session;
    const struct ruvm_bench_options *o;
    struct ruvm_engine *engine; /* the watched one */
    void *memory;               /* its own */
    uint32_t n_tokens, repetitions, n;
    uint16_t start;
    double call_ticks, reading_ticks; /* what one of them costs */
    double *plain_s, *watched_s;      /* [repetitions] seconds of all tokens */
    double *clock_ticks;              /* [repetitions] costs taken off */
    double *ticks[RUVM_N_PARTS];      /* [repetitions] without the costs */
};

const char *ruvm_bench_part_name(enum ruvm_bench_part part)
{
    static const char *const names[RUVM_N_PARTS] = {
        [RUVM_PART_MATRIX] = "matrices",
        [RUVM_PART_SCORES] = "attention: scores",
        [RUVM_PART_SOFTMAX] = "attention: softmax",
        [RUVM_PART_MIX] = "attention: mix",
        [RUVM_PART_CACHE] = "rope and cache",
        [RUVM_PART_NORM] = "norms and quantizing",
        [RUVM_PART_SCALE] = "scales and residual",
        [RUVM_PART_ACTIVATION] = "activation",
        [RUVM_PART_HEAD] = "head",
        [RUVM_PART_SAMPLING] = "sampling",
        [RUVM_PART_OTHER] = "other",
    };
    return names[part];
}

/* ---- what watching costs -------------------------------------------------------- */

/* Ticks of one round of two kernels without values, which belong to two parts or to one. */
static double probe(const struct ruvm_kernels *k, bool two_parts)
{
    int32_t none[1] = {0};
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < 9; round++) {
        uint64_t start = ruvm_profile_ticks();
        for (int i = 0; i < N_PROBES; i++) {
            if (two_parts)
                k->relu(none, none, 0);
            else
                k->amax(none, 0);
            k->amax(none, 0);
        }
        uint64_t ticks = ruvm_profile_ticks() - start;
        least = ticks < least ? ticks : least;
    }
    return (double)least / N_PROBES;
}

static double at_least_0(double x)
{
    return x > 0 ? x : 0;
}

static void measure_costs(struct profile *p)
{
    const struct ruvm_kernels *real = p->session->kernels, *watched = &p->watch.table;
    ruvm_profile_token_begin();
    p->call_ticks = at_least_0((probe(watched, false) - probe(real, false)) / 2);
    double both = at_least_0((probe(watched, true) - probe(real, true)) / 2);
    p->reading_ticks = at_least_0(both - p->call_ticks);
    ruvm_profile_table_begin(&p->watch, real, p->session->info.n_layers); /* forget these */
}

/* ---- rounds ----------------------------------------------------------------------- */

static uint16_t most_likely(const struct profile *p, const struct ruvm_engine *e)
{
    const struct ruvm_session *s = p->session;
    return (uint16_t)s->kernels->largest(ruvm_engine_logits(e), s->info.vocab);
}

/* Seconds of all tokens, or a negative status. */
static double generate_plain(const struct profile *p)
{
    struct ruvm_engine *e = p->session->engine;
    uint16_t id = p->start;
    int rc = ruvm_engine_rewind(e, 0);
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < p->n_tokens && rc == RUVM_OK; i++) {
        rc = ruvm_engine_eval(e, &id, 1, NULL);
        id = most_likely(p, e);
    }
    return rc == RUVM_OK ? ruvm_clock_s() - start : rc;
}

static double generate_watched(const struct profile *p)
{
    struct ruvm_engine *e = p->engine;
    uint16_t id = p->start;
    int rc = ruvm_engine_rewind(e, 0);
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < p->n_tokens && rc == RUVM_OK; i++) {
        ruvm_profile_token_begin();
        rc = ruvm_engine_eval(e, &id, 1, NULL);
        ruvm_profile_token_choose();
        id = most_likely(p, e);
        ruvm_profile_token_end();
    }
    return rc == RUVM_OK ? ruvm_clock_s() - start : rc;
}

/* What the round added to the watch, without the costs. */
static void take_round(struct profile *p)
{
    struct ruvm_profile_watch *w = &p->watch;
    for (int i = 0; i < RUVM_N_PARTS; i++) {
        double cost =
            (double)w->readings[i] * p->reading_ticks + (double)w->calls[i] * p->call_ticks;
        p->ticks[i][p->n] = at_least_0((double)w->ticks[i] - cost);
        p->clock_ticks[p->n] += cost;
    }
    ruvm_profile_table_begin(w, p->session->kernels, w->n_layers);
}

static int measure_round(struct profile *p, bool keep, struct ruvm_error *err)
{
    double plain = generate_plain(p), watched = generate_watched(p);
    if (plain < 0 || watched < 0)
        return ruvm_fail(err, (int)(plain < 0 ? plain : watched),
                         "measuring a token's parts: the engine refused its tokens");
    if (keep) {
        p->plain_s[p->n] = plain;
        p->watched_s[p->n] = watched;
        take_round(p);
        p->n++;
    } else {
        ruvm_profile_table_begin(&p->watch, p->session->kernels, p->watch.n_layers);
    }
    const struct ruvm_progress *r = &p->o->progress;
    if (r->report && r->report(r->user, "profile", p->n, p->repetitions) != 0)
        return ruvm_fail(err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* Seconds a tick, over the whole measurement. */
static int measure(struct profile *p, double *tick_s, struct ruvm_error *err)
{
    double start = ruvm_clock_s();
    uint64_t first = ruvm_profile_ticks();
    measure_costs(p);
    int rc = measure_round(p, false, err);
    while (rc == RUVM_OK && p->n < p->repetitions)
        rc = measure_round(p, true, err);
    *tick_s = (ruvm_clock_s() - start) / (double)(ruvm_profile_ticks() - first);
    ruvm_engine_rewind(p->session->engine, 0);
    return rc;
}

/* ---- around it ---------------------------------------------------------------------- */

/* A second engine of the same image, with the same room, whose kernels are watched. */
static int open_engine(struct profile *p, struct ruvm_error *err)
{
    const struct ruvm_session *s = p->session;
    const struct ruvm_engine_options options = {
        .context = s->context,
        .block = p->o->block,
        .kernels = &p->watch.table,
        .mask = s->mask,
        .panels = s->panels.of_tensor,
    };
    p->memory = aligned_alloc(ENGINE_ALIGN, ruvm_align_up(s->engine_bytes, ENGINE_ALIGN));
    if (!p->memory)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a second engine");
    int rc = ruvm_engine_init(&p->engine, p->memory, s->engine_bytes, s->file.data, s->file.size,
                              &options);
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
}

static int open_values(struct profile *p, struct ruvm_error *err)
{
    size_t n = p->repetitions;
    double *values = calloc(n * (RUVM_N_PARTS + 3), sizeof *values);
    if (!values)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for measuring a token's parts");
    p->plain_s = values;
    p->watched_s = values + n;
    p->clock_ticks = values + 2 * n;
    for (size_t i = 0; i < RUVM_N_PARTS; i++)
        p->ticks[i] = values + (3 + i) * n;
    return RUVM_OK;
}

static void report(struct ruvm_bench_profile *out, struct profile *p, double tick_s)
{
    double us = 1e6 / p->n_tokens;
    *out = (struct ruvm_bench_profile){.tokens = p->n_tokens, .repetitions = p->repetitions};
    out->token_us = us * ruvm_spread_of(p->plain_s, p->n).median;
    out->watched_us = us * ruvm_spread_of(p->watched_s, p->n).median;
    out->clock_us = us * tick_s * ruvm_spread_of(p->clock_ticks, p->n).median;
    for (int i = 0; i < RUVM_N_PARTS; i++) {
        out->us[i] = ruvm_spread_scaled(ruvm_spread_of(p->ticks[i], p->n), us * tick_s);
        out->sum_us += out->us[i].median;
    }
}

int ruvm_profile_measure(struct ruvm_bench_profile *out, struct ruvm_session *s,
                         const struct ruvm_bench_options *o, struct ruvm_error *err)
{
    struct profile p = {.session = s,
                        .o = o,
                        .start = ruvm_speed_start(s),
                        .repetitions = o->repetitions ? o->repetitions : DEFAULT_REPETITIONS};
    double tick_s;
    int rc = ruvm_speed_choose_length(&p.n_tokens, o->generate_tokens, s, err);
    if (rc != RUVM_OK)
        return rc;
    uint64_t min_work = s->threads.parallel.min_work;
    s->threads.parallel.min_work = UINT64_MAX; /* the watch is of one thread */
    ruvm_profile_table_begin(&p.watch, s->kernels, s->info.n_layers);
    rc = open_engine(&p, err);
    if (rc == RUVM_OK)
        rc = open_values(&p, err);
    if (rc == RUVM_OK)
        rc = measure(&p, &tick_s, err);
    if (rc == RUVM_OK)
        report(out, &p, tick_s);
    ruvm_profile_table_end();
    s->threads.parallel.min_work = min_work;
    free(p.memory);
    free(p.plain_s);
    return rc;
}
