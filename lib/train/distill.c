/* The life of a distillation: made from its options, run, saved, resumed, read out. */
#include "lib/train/distill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/crc32.h"
#include "lib/train/distill_state.h"

enum { MAX_SLOTS = 8, MIN_SLOTS = 2 };

/* Memory for what only saves time or lets more threads work. */
static const size_t max_slot_floats = (size_t)256 << 20, max_hidden_floats = (size_t)64 << 20;

/* ---- learning rates ------------------------------------------------------------- */

/* Found on stories260K: the weights' in parts of the tensor's root mean square, the steps' in
 * parts of themselves; where training begins they are some times as large (struct pace). */
static const struct {
    float weights, steps;
} rates[RUVM_N_TYPES + 1] = {
    [RUVM_TYPE_INT8] = {0.0012f, 0.002f}, [RUVM_TYPE_INT4] = {0.0024f, 0.002f},
    [RUVM_TYPE_INT3] = {0.004f, 0.003f},  [RUVM_TYPE_INT2] = {0.01f, 0.003f},
    [RUVM_TYPE_BINARY] = {0.02f, 0.006f}, [RUVM_TYPE_TERNARY] = {0.02f, 0.006f},
    [RUVM_TYPE_XNOR] = {0.02f, 0.006f},   [RUVM_FAKE_QUANT_FLOAT] = {0.0012f, 0},
};

/* A student whose weights have few levels must travel far: many noisy steps bring it further
 * than few good ones, and its other parts move as well. One that is near its teacher has to
 * settle. At equal numbers of tokens, ternary lost KL 0.50 with a batch of 8, 0.43 with 4;
 * int4 0.024 with 4 or 8, 0.022 with 16.
 *
 * A weight between two levels flips with every step, even with the smallest, and there come to
 * be more of them: arXiv 2203.11086. So rates begin high and fall with a power of the steps that
 * are left, and of types of few levels each weight is drawn to the middle of its level by a
 * share of what a step moves it: only who is pushed steadily crosses. In 1000 steps ternary
 * came to KL 0.388 along a straight line, 0.354 with the square, 0.313 with the fourth power
 * of four times the rates, and 0.288 with the square of twice the rates and a pull of 0.1;
 * 0.303 with one of 0.03, 0.359 with 0.3. In 7000 steps that pull came to 0.213, in 12000 to
 * 0.219, and one of 0.06 to 0.198 in 8000. In 500 steps int4 came to 0.0200, to 0.0177, and
 * to 0.0165 with the cube of 1.4 times the rates. */
static const struct pace {
    uint32_t batch;  /* windows a step */
    float others;    /* factor of the rates of INT8 and float matrices */
    float norms;     /* rate of the gains */
    uint32_t fall;   /* the power */
    float begin;     /* with so many times the rates; */
    float whole_run; /* in a run of so many steps, in a shorter one with less */
    float pull;      /* share of a step to the middle of the level, in a whole run */
} near = {16, 1.0f, 0.002f, 3, 1.4f, 0.0f, 0.0f}, far = {4, 10.0f, 0.008f, 2, 2.0f, 1000.0f, 0.1f};

/* Whether most weights have few levels. */
static const struct pace *pace_of(const struct ruvm_network *student,
                                  const struct ruvm_distill_matrix *matrices)
{
    uint64_t few = 0, all = 0;
    for (uint32_t i = 0; i < student->n_matrices; i++) {
        uint64_t n = (uint64_t)student->matrices[i].rows * student->matrices[i].cols;
        bool is_float = matrices[i].type == RUVM_FAKE_QUANT_FLOAT;
        all += n;
        few += !is_float && ruvm_codes_max_level(matrices[i].type) <= RUVM_DISTILL_FEW ? n : 0;
    }
    return 2 * few > all ? &far : &near;
}

/* Short runs cannot come back from far away. */
static float begin_of(const struct pace *p, uint32_t steps)
{
    bool is_whole = (float)steps >= p->whole_run;
    return is_whole ? p->begin : 1.0f + (p->begin - 1.0f) * (float)steps / p->whole_run;
}

/* Longer runs draw less: they can hear what pushes a weight more softly. Two square roots are
 * exact on every machine, which a power is not. */
static float pull_of(const struct pace *p, uint32_t steps)
{
    bool is_long = (float)steps > p->whole_run;
    return is_long ? p->pull * sqrtf(sqrtf(p->whole_run / (float)steps)) : p->pull;
}

/* A bias moves in parts of its root mean square, as weights do, but for very small ones. */
static const float bias_rate = 0.004f, least_bias = 0.05f;

static float root_mean_square(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)sqrt(sum / (double)(n ? n : 1));
}

/* ---- open ------------------------------------------------------------------------ */

/* Positions that both have. */
static uint32_t positions_of(const struct ruvm_network *a, const struct ruvm_network *b)
{
    uint32_t n = a->pos == RUVM_POS_LEARNED ? a->context : UINT32_MAX;
    return b->pos == RUVM_POS_LEARNED && b->context < n ? b->context : n;
}

static int check_text(const struct ruvm_text *t, const struct ruvm_network *teacher,
                      const struct ruvm_network *student, struct ruvm_error *err)
{
    uint32_t n_positions = positions_of(teacher, student);
    for (uint32_t i = 0; t->n_windows > 0 && i < t->first[t->n_windows]; i++)
        if (t->tokens[i] >= student->vocab)
            return ruvm_fail(err, RUVM_ERR_ARG, "the text holds token %u, the model has %u tokens",
                             t->tokens[i], student->vocab);
    for (uint32_t i = 0; i < t->n_windows; i++)
        if (t->first[i + 1] - t->first[i] - 1 > n_positions)
            return ruvm_fail(err, RUVM_ERR_ARG,
                             "the text has windows of %u positions, the model has %u",
                             t->first[i + 1] - t->first[i] - 1, n_positions);
    return RUVM_OK;
}

static int check(const struct ruvm_distill_options *o, const struct ruvm_network *student,
                 struct ruvm_error *err)
{
    if (o->steps == 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "training takes at least one step");
    if (o->teacher->vocab != student->vocab)
        return ruvm_fail(err, RUVM_ERR_ARG, "teacher and student have %u and %u tokens",
                         o->teacher->vocab, student->vocab);
    int rc = check_text(o->text, o->teacher, student, err);
    for (uint32_t i = 0; i < student->n_matrices && rc == RUVM_OK; i++) {
        const struct ruvm_distill_matrix *m = &o->matrices[i];
        uint32_t group = m->group;
        bool fits = group == 0 ||
                    ((group == 16 || group == 32 || group == 64) && ruvm_codes_has_groups(m->type));
        if (m->type < 0 || m->type > RUVM_FAKE_QUANT_FLOAT || !fits)
            rc = ruvm_fail(err, RUVM_ERR_ARG, "matrix %u: there is no type %d with groups of %u", i,
                           m->type, group);
    }
    return rc;
}

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for training this model");
}

/* Behind the matrices' parts: one of the norms, then one of each bias. Returns how many there
 * are; parts may be NULL. */
static uint32_t lay_out_vectors(struct distill_part *parts, const struct ruvm_network *net)
{
    uint32_t n = 0;
    size_t first = (size_t)(net->norms - net->values);
    if (parts)
        parts[0].weights =
            (struct ruvm_optimizer_span){.first = first, .n = (size_t)(net->bias - net->norms)};
    for (uint32_t layer = 0; layer < net->n_layers; layer++)
        for (int kind = 0; kind < RUVM_N_BIASES; kind++) {
            bool is_final = kind == RUVM_BIAS_FINAL_NORM;
            const float *b = is_final && layer > 0 ? NULL : ruvm_network_bias(net, kind, layer);
            if (!b)
                continue;
            n++;
            if (parts)
                parts[n].weights = (struct ruvm_optimizer_span){
                    .first = (size_t)(b - net->values), .n = ruvm_network_bias_length(net, kind)};
        }
    return n + 1;
}

/* Where each matrix, its steps, the norms and the biases stand in the optimizer. Returns how
 * many values there are. */
static size_t lay_out(struct ruvm_distill *d)
{
    size_t at = d->student.n_values;
    for (uint32_t i = 0; i < d->student.n_matrices; i++) {
        const struct ruvm_network_matrix *m = &d->student.matrices[i];
        struct distill_part *p = &d->parts[i];
        p->quant = (struct ruvm_fake_quant){d->o.matrices[i].type, m->rows, m->cols,
                                            d->o.matrices[i].group};
        p->weights.first = (size_t)(m->w - d->student.values);
        p->weights.n = (size_t)m->rows * m->cols;
        p->steps.first = at;
        p->steps.n = (size_t)m->rows * ruvm_fake_quant_groups(&p->quant);
        p->steps.proportional = true;
        at += p->steps.n;
    }
    lay_out_vectors(d->parts + d->student.n_matrices, &d->student);
    return at;
}

static void set_vector_rates(struct ruvm_distill *d, float factor)
{
    struct distill_part *norms = &d->parts[d->student.n_matrices], *end = d->parts + d->n_parts;
    norms->weights.rate = factor * pace_of(&d->student, d->o.matrices)->norms;
    for (struct distill_part *p = norms + 1; p < end; p++) {
        float size = root_mean_square(d->optimizer.values + p->weights.first, p->weights.n);
        p->weights.rate = factor * bias_rate * (size > least_bias ? size : least_bias);
    }
}

/* The first values of the optimizer, and the rates that belong to them. */
static void start(struct ruvm_distill *d, const struct ruvm_network *from)
{
    float factor = d->o.rate > 0 ? d->o.rate : 1.0f;
    const struct pace *pace = pace_of(&d->student, d->o.matrices);
    factor *= begin_of(pace, d->o.steps);
    d->fall = pace->fall;
    d->pull = pull_of(pace, d->o.steps);
    memcpy(d->optimizer.values, from->values, from->n_values * sizeof(float));
    for (uint32_t i = 0; i < d->student.n_matrices; i++) {
        const struct ruvm_distill_matrix *m = &d->o.matrices[i];
        struct distill_part *p = &d->parts[i];
        float *w = d->optimizer.values + p->weights.first;
        float *steps = d->optimizer.values + p->steps.first;
        if (m->weights)
            memcpy(w, m->weights, p->weights.n * sizeof *w);
        if (m->steps && p->steps.n > 0)
            memcpy(steps, m->steps, p->steps.n * sizeof *steps);
        else
            ruvm_fake_quant_start(&p->quant, steps, w);
        p->weights.rate = factor * rates[m->type].weights * root_mean_square(w, p->weights.n);
        if (m->type == RUVM_TYPE_INT8 || m->type == RUVM_FAKE_QUANT_FLOAT)
            p->weights.rate *= pace->others;
        p->steps.rate = factor * rates[m->type].steps;
        d->student.matrices[i].signs = m->type == RUVM_TYPE_XNOR;
    }
    if (!d->o.keep_norms)
        set_vector_rates(d, factor);
}

static int open_values(struct ruvm_distill *d, const struct ruvm_network *from,
                       struct ruvm_error *err)
{
    int rc = ruvm_network_like(&d->student, &d->arena, from, err);
    if (rc != RUVM_OK)
        return rc;
    d->n_parts = d->student.n_matrices + lay_out_vectors(NULL, &d->student);
    d->parts = ruvm_arena_alloc(&d->arena, d->n_parts, sizeof *d->parts);
    if (!d->parts)
        return no_memory(err);
    for (uint32_t i = d->student.n_matrices; i < d->n_parts; i++)
        d->parts[i].quant.type = RUVM_FAKE_QUANT_FLOAT;
    rc = ruvm_optimizer_open(&d->optimizer, &d->arena, lay_out(d), err);
    if (rc == RUVM_OK)
        start(d, from);
    return rc;
}

static uint32_t longest(const struct ruvm_batches *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->text->n_windows; i++)
        n = ruvm_batches_positions(b, i) > n ? ruvm_batches_positions(b, i) : n;
    return n;
}

static int open_workers(struct ruvm_distill *d, struct ruvm_error *err)
{
    uint32_t threads = ruvm_pool_threads(d->pool), n = longest(&d->batches);
    d->workers = ruvm_arena_alloc(&d->arena, threads, sizeof *d->workers);
    int rc = d->workers ? RUVM_OK : no_memory(err);
    for (uint32_t i = 0; rc == RUVM_OK && i < threads; i++) {
        rc = ruvm_pass_open(&d->workers[i].teacher, &d->arena, d->o.teacher, n, err);
        if (rc == RUVM_OK)
            rc = ruvm_pass_open(&d->workers[i].student, &d->arena, &d->student, n, err);
    }
    return rc;
}

static int open_slots(struct ruvm_distill *d, struct ruvm_error *err)
{
    size_t n = max_slot_floats / d->student.n_values;
    n = n < MIN_SLOTS ? MIN_SLOTS : n > MAX_SLOTS ? MAX_SLOTS : n;
    d->n_slots = n < d->batches.batch ? (uint32_t)n : d->batches.batch;
    d->slots = ruvm_arena_alloc(&d->arena, d->n_slots, sizeof *d->slots);
    d->losses = ruvm_arena_alloc(&d->arena, d->batches.batch, sizeof *d->losses);
    int rc = d->slots && d->losses ? RUVM_OK : no_memory(err);
    for (uint32_t i = 0; rc == RUVM_OK && i < d->n_slots; i++)
        rc = ruvm_network_like(&d->slots[i], &d->arena, &d->student, err);
    return rc;
}

/* The teacher's last hidden states are kept when windows come again and there is room. */
static void open_hidden(struct ruvm_distill *d)
{
    size_t n = d->o.text->n_positions * d->o.teacher->dim;
    bool repeats = (uint64_t)d->o.steps * d->batches.batch > d->o.text->n_windows;
    if (!repeats || n > max_hidden_floats)
        return;
    d->has_hidden = ruvm_arena_alloc(&d->arena, d->o.text->n_windows, sizeof *d->has_hidden);
    if (d->has_hidden)
        d->hidden = ruvm_arena_alloc(&d->arena, n, sizeof *d->hidden);
}

/* ---- checkpoints ----------------------------------------------------------------- */

static uint32_t hash_network(uint32_t crc, const struct ruvm_network *n)
{
    const uint32_t shape[] = {n->vocab,
                              n->dim,
                              n->hidden,
                              n->n_layers,
                              n->n_heads,
                              n->n_kv_heads,
                              n->head_dim,
                              n->context,
                              n->tied,
                              n->norm,
                              n->act,
                              n->pos,
                              n->parallel,
                              n->rotary_dim,
                              n->biases,
                              n->windows != NULL,
                              n->rope_factors != NULL};
    const float reals[] = {n->norm_eps, n->rope_theta, n->score_scale};
    crc = ruvm_crc32(crc, shape, sizeof shape);
    if (n->windows)
        crc = ruvm_crc32(crc, n->windows, n->n_layers * sizeof *n->windows);
    if (n->rope_factors)
        crc = ruvm_crc32(crc, n->rope_factors, n->rotary_dim / 2 * sizeof *n->rope_factors);
    return ruvm_crc32(crc, reals, sizeof reals);
}

/* In 16 bits, which all of them fit: a checkpoint says the same whatever memory they take. */
static uint32_t hash_tokens(uint32_t crc, const uint32_t *tokens, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint16_t token = (uint16_t)tokens[i];
        crc = ruvm_crc32(crc, &token, sizeof token);
    }
    return crc;
}

/* Of all that decides how the run goes; before the first step. */
static uint32_t identity_of(const struct ruvm_distill *d)
{
    const struct ruvm_text *t = d->o.text;
    const uint32_t numbers[] = {d->o.steps,
                                d->batches.batch,
                                (uint32_t)d->o.seed,
                                (uint32_t)(d->o.seed >> 32),
                                d->n_slots,
                                d->o.keep_norms,
                                d->fall};
    uint32_t crc = hash_network(hash_network(0, d->o.teacher), &d->student);
    crc = ruvm_crc32(crc, d->o.teacher->values, d->o.teacher->n_values * sizeof(float));
    crc = ruvm_crc32(crc, d->optimizer.values, d->optimizer.n * sizeof(float));
    crc = ruvm_crc32(crc, t->first, (t->n_windows + 1) * sizeof *t->first);
    crc = hash_tokens(crc, t->tokens, t->first[t->n_windows]);
    for (uint32_t i = 0; i < d->n_parts; i++) {
        const struct distill_part *p = &d->parts[i];
        const uint32_t quant[] = {(uint32_t)p->quant.type, p->quant.group};
        crc = ruvm_crc32(crc, quant, sizeof quant);
        crc = ruvm_crc32(crc, &p->weights.rate, sizeof p->weights.rate);
        crc = ruvm_crc32(crc, &p->steps.rate, sizeof p->steps.rate);
    }
    crc = ruvm_crc32(crc, &d->o.soft, sizeof d->o.soft);
    return ruvm_crc32(crc, numbers, sizeof numbers);
}

double ruvm_distill_seconds(const struct ruvm_distill *d)
{
    return d->seconds_before + (d->began > 0 ? ruvm_clock_s() - d->began : 0.0);
}

static struct ruvm_checkpoint checkpoint_of(struct ruvm_distill *d)
{
    return (struct ruvm_checkpoint){.identity = d->identity,
                                    .step = d->step,
                                    .seconds = ruvm_distill_seconds(d),
                                    .optimizer = &d->optimizer,
                                    .curve = d->sums,
                                    .n_curve = RUVM_DISTILL_CURVE};
}

static int save(struct ruvm_distill *d, struct ruvm_error *err)
{
    struct ruvm_checkpoint c = checkpoint_of(d);
    return d->o.checkpoint ? ruvm_checkpoint_write(&c, d->o.checkpoint, err) : RUVM_OK;
}

static int resume(struct ruvm_distill *d, struct ruvm_error *err)
{
    struct ruvm_checkpoint c = checkpoint_of(d);
    if (!d->o.checkpoint)
        return ruvm_fail(err, RUVM_ERR_ARG, "there is no checkpoint to resume from");
    int rc = ruvm_checkpoint_read(&c, d->o.checkpoint, err);
    if (rc == RUVM_OK)
        d->seconds_before = c.seconds;
    for (d->step = 0; rc == RUVM_OK && d->step < c.step; d->step++)
        ruvm_optimizer_begin(&d->optimizer);
    return rc;
}

/* ---- the interface ---------------------------------------------------------------- */

static int open_all(struct ruvm_distill *d, struct ruvm_error *err)
{
    const struct ruvm_network *from = d->o.student ? d->o.student : d->o.teacher;
    uint32_t batch = d->o.batch;
    int rc = check(&d->o, from, err);
    if (rc == RUVM_OK && batch == 0)
        batch = pace_of(from, d->o.matrices)->batch;
    if (rc == RUVM_OK)
        rc = ruvm_batches_open(&d->batches, &d->arena, d->o.text, batch, d->o.seed, err);
    if (rc == RUVM_OK)
        rc = open_values(d, from, err);
    if (rc == RUVM_OK)
        rc = ruvm_pool_open(&d->pool, d->o.threads, err);
    if (rc == RUVM_OK)
        rc = open_workers(d, err);
    if (rc == RUVM_OK)
        rc = open_slots(d, err);
    if (rc != RUVM_OK)
        return rc;
    open_hidden(d);
    d->identity = identity_of(d);
    rc = d->o.resume ? resume(d, err) : RUVM_OK;
    ruvm_distill_quantize(d);
    return rc;
}

int ruvm_distill_open(struct ruvm_distill **distill, const struct ruvm_distill_options *o,
                      struct ruvm_error *err)
{
    struct ruvm_distill *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory(err);
    d->o = *o;
    int rc = open_all(d, err);
    if (rc != RUVM_OK) {
        ruvm_distill_close(d);
        d = NULL;
    }
    *distill = d;
    return rc;
}

void ruvm_distill_close(struct ruvm_distill *d)
{
    if (!d)
        return;
    ruvm_pool_close(d->pool);
    ruvm_arena_free(&d->arena);
    free(d);
}

static int interrupted(struct ruvm_distill *d, struct ruvm_error *err)
{
    int rc = save(d, err);
    return rc == RUVM_OK ? ruvm_fail(err, RUVM_ERR_IO, "interrupted") : rc;
}

int ruvm_distill_run(struct ruvm_distill *d, struct ruvm_error *err)
{
    const struct ruvm_progress *p = &d->o.progress;
    uint32_t every = d->o.checkpoint_steps;
    d->began = ruvm_clock_s();
    while (d->step < d->o.steps) {
        if (p->report && p->report(p->user, "distill", d->step, d->o.steps) != 0)
            return interrupted(d, err);
        struct ruvm_checkpoint_curve *part =
            &d->sums[(uint64_t)d->step * RUVM_DISTILL_CURVE / d->o.steps];
        double loss = ruvm_distill_step(d);
        if (!isfinite(loss))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "training diverged at step %u: the loss is no number; "
                             "take more bits",
                             d->step);
        part->sum += loss;
        part->positions += d->positions;
        bool saves = d->step == d->o.steps || (every != 0 && d->step % every == 0);
        int rc = saves ? save(d, err) : RUVM_OK;
        if (rc != RUVM_OK)
            return rc;
    }
    if (p->report && p->report(p->user, "distill", d->step, d->o.steps) != 0)
        return interrupted(d, err);
    return RUVM_OK;
}

uint32_t ruvm_distill_steps_done(const struct ruvm_distill *d)
{
    return d->step;
}

uint64_t ruvm_distill_tokens_done(const struct ruvm_distill *d)
{
    uint64_t sum = 0;
    for (int i = 0; i < RUVM_DISTILL_CURVE; i++)
        sum += d->sums[i].positions;
    return sum;
}

uint32_t ruvm_distill_threads(const struct ruvm_distill *d)
{
    return ruvm_pool_threads(d->pool);
}

const struct ruvm_network *ruvm_distill_student(const struct ruvm_distill *d)
{
    return &d->student;
}

void ruvm_distill_matrix(const struct ruvm_distill *d, uint32_t i, int8_t *levels, double *scale,
                         uint8_t *multipliers)
{
    const struct ruvm_fake_quant *f = &d->parts[i].quant;
    const float *w = d->optimizer.values + d->parts[i].weights.first;
    const float *steps = d->optimizer.values + d->parts[i].steps.first;
    uint32_t groups = ruvm_fake_quant_groups(f);
    for (uint32_t r = 0; r < f->rows; r++) {
        float row_scale;
        ruvm_fake_quant_row(f, levels + (size_t)r * f->cols, &row_scale,
                            multipliers + (size_t)r * groups, w + (size_t)r * f->cols,
                            steps + (size_t)r * groups);
        scale[r] = (double)row_scale;
    }
}

uint32_t ruvm_distill_first_hard(const struct ruvm_distill *d)
{
    for (uint32_t i = 0; i < d->student.n_matrices; i++)
        if (d->parts[i].steps.n > 0 &&
            ruvm_codes_max_level(d->parts[i].quant.type) <= RUVM_DISTILL_FEW)
            return (uint32_t)ceilf(d->o.soft * RUVM_DISTILL_CURVE);
    return 0;
}

void ruvm_distill_curve(const struct ruvm_distill *d, double curve[RUVM_DISTILL_CURVE])
{
    for (int i = 0; i < RUVM_DISTILL_CURVE; i++)
        curve[i] = d->sums[i].positions ? d->sums[i].sum / (double)d->sums[i].positions : 0;
}
