/* The order of pruning: checks what is asked, takes step after step, and has each measured.
 *
 * Layers and tokens go as they are named; what the other steps take is chosen in
 * prune_inner.c. A step changes only the job's copy of the model: whoever still holds the
 * one before compares with it, or learns from it.
 */
#include "lib/prune/prune.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/prune/prune_job.h"

int ruvm_prune_tell(struct ruvm_prune_job *j, const char *stage, uint64_t done, uint64_t total)
{
    const struct ruvm_progress *p = &j->o->progress;
    if (p->report && p->report(p->user, stage, done, total) != 0)
        return ruvm_fail(j->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* ---- what is asked --------------------------------------------------------- */

static int check_layers(const struct ruvm_prune_options *o, const struct ruvm_model *m,
                        struct ruvm_error *err)
{
    for (uint32_t i = 0; i < o->n_drop_layers; i++) {
        uint32_t layer = o->drop_layers[i];
        if (layer >= m->n_layers)
            return ruvm_fail(err, RUVM_ERR_ARG,
                             "layer %u cannot be dropped: the model has %u, counted from 0", layer,
                             m->n_layers);
        for (uint32_t k = 0; k < i; k++)
            if (o->drop_layers[k] == layer)
                return ruvm_fail(err, RUVM_ERR_ARG, "layer %u is dropped twice; name it once",
                                 layer);
    }
    if (o->n_drop_layers == m->n_layers)
        return ruvm_fail(err, RUVM_ERR_ARG, "all %u layers would be dropped; keep one",
                         m->n_layers);
    return RUVM_OK;
}

static int check_count(uint32_t asked, uint32_t there, const char *what, struct ruvm_error *err)
{
    if (asked < there)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_ARG,
                     "%u %s cannot be pruned: every layer has %u, and one must stay", asked, what,
                     there);
}

static bool is_llama(const struct ruvm_model *m)
{
    bool is = m->norm == RUVM_NORM_RMS && m->act == RUVM_ACT_SILU_GATED && !m->parallel;
    is = is && m->pos == RUVM_POS_ROPE && !m->final_bias;
    for (uint32_t i = 0; i < m->n_layers; i++)
        for (int k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
            is = is && !m->layers[i].bias[k];
    return is;
}

int ruvm_prune_check(const struct ruvm_prune_subject *s, const struct ruvm_prune_options *o,
                     struct ruvm_error *err)
{
    int rc = check_layers(o, &s->model, err);
    if (rc == RUVM_OK && o->heads)
        rc = check_count(o->heads, s->model.n_kv_heads, "key/value heads", err);
    if (rc == RUVM_OK && o->ffn)
        rc = check_count(o->ffn, s->model.hidden, "feed-forward units", err);
    if (rc != RUVM_OK)
        return rc;
    if ((o->heads || o->ffn) && !is_llama(&s->model))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "pruning of heads and feed-forward units knows Llama networks only so "
                         "far; layers and tokens can be pruned");
    if (o->vocab && !s->has_vocab)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "tokens cannot be pruned without a tokenizer to follow them; give it "
                         "with --tokenizer");
    return RUVM_OK;
}

static int check(const struct ruvm_prune_subject *s, const struct ruvm_prune_options *o,
                 struct ruvm_error *err)
{
    int rc = ruvm_prune_check(s, o, err);
    if (rc != RUVM_OK)
        return rc;
    if ((o->vocab || o->heads || o->ffn) && s->calibration.n_windows == 0)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "there is no calibration text to choose by what is pruned");
    return RUVM_OK;
}

/* ---- layers ---------------------------------------------------------------- */

static bool is_dropped(const struct ruvm_prune_options *o, uint32_t layer)
{
    for (uint32_t i = 0; i < o->n_drop_layers; i++)
        if (o->drop_layers[i] == layer)
            return true;
    return false;
}

/* "layer 4", "layers 1, 3", or how many when their numbers do not fit. */
static void name_layers(char *what, size_t what_bytes, const struct ruvm_prune_options *o,
                        uint32_t n_layers)
{
    size_t used = (size_t)snprintf(what, what_bytes, "layer%s", o->n_drop_layers > 1 ? "s" : "");
    for (uint32_t i = 0; i < o->n_drop_layers && used < what_bytes; i++)
        used += (size_t)snprintf(what + used, what_bytes - used, "%s %u", i ? "," : "",
                                 o->drop_layers[i]);
    if (used >= what_bytes)
        snprintf(what, what_bytes, "%u of %u layers", o->n_drop_layers, n_layers);
}

static int drop_layers(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step)
{
    struct ruvm_model *m = &j->now.model;
    uint32_t n = 0;
    name_layers(step->what, sizeof step->what, j->o, m->n_layers);
    struct ruvm_layer *kept =
        ruvm_arena_alloc(j->arena, m->n_layers - j->o->n_drop_layers, sizeof *kept);
    if (!kept)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u layers", m->n_layers);
    for (uint32_t i = 0; i < m->n_layers; i++)
        if (!is_dropped(j->o, i))
            kept[n++] = m->layers[i];
    m->layers = kept;
    m->n_layers = n;
    return RUVM_OK;
}

/* ---- new matrices ----------------------------------------------------------- */

const struct ruvm_view *ruvm_prune_matrix(struct ruvm_prune_job *j, const struct ruvm_view *v,
                                          const float *x, uint32_t rows, uint32_t cols)
{
    size_t n = (size_t)rows * cols;
    struct ruvm_view *out = ruvm_arena_alloc(j->arena, 1, sizeof *out);
    uint8_t *data = ruvm_arena_alloc(j->arena, n, sizeof *x);
    if (!out || !data) {
        ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s after pruning", v->name);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        ruvm_store_u32(data + i * sizeof bits, bits);
    }
    *out = (struct ruvm_view){.name = v->name,
                              .dtype = RUVM_DTYPE_F32,
                              .n_dims = 2,
                              .dims = {rows, cols},
                              .data = data,
                              .bytes = n * sizeof *x};
    return out;
}

const struct ruvm_view *ruvm_prune_rows(struct ruvm_prune_job *j, const struct ruvm_view *v,
                                        const uint32_t *rows, uint32_t n)
{
    uint32_t cols = (uint32_t)v->dims[1];
    float *x = ruvm_arena_alloc(&j->work, (size_t)n * cols, sizeof *x);
    if (!x) {
        ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s while pruning", v->name);
        return NULL;
    }
    for (uint32_t r = 0; r < n; r++)
        ruvm_view_row(v, rows[r], x + (size_t)r * cols);
    return ruvm_prune_matrix(j, v, x, n, cols);
}

/* ---- steps ------------------------------------------------------------------ */

/* A kind of pruning as the job knows it. */
struct kind {
    bool asked;
    int (*prune)(struct ruvm_prune_job *, struct ruvm_quantize_prune *);
};

static int take_step(struct ruvm_prune_job *j, const struct kind *k,
                     const struct ruvm_model *source, struct ruvm_quantize_prune *step)
{
    struct ruvm_model before = j->now.model;
    int rc = k->prune(j, step);
    ruvm_arena_free(&j->work);
    step->parameters_before = ruvm_model_parameters(&before);
    step->parameters_after = ruvm_model_parameters(&j->now.model);
    if (rc == RUVM_OK && j->now.eval.n_windows)
        rc = ruvm_prune_measure(j, source, &before, step);
    ruvm_arena_free(&j->work);
    return rc;
}

int ruvm_prune(struct ruvm_prune_report *report, struct ruvm_prune_subject *s,
               struct ruvm_arena *arena, const struct ruvm_prune_options *o, struct ruvm_error *err)
{
    const struct kind kinds[RUVM_PRUNE_KINDS] = {
        {o->n_drop_layers > 0, drop_layers},
        {o->heads > 0, ruvm_prune_heads},
        {o->ffn > 0, ruvm_prune_ffn},
        {o->vocab, ruvm_prune_tokens},
    };
    struct ruvm_prune_job j = {.o = o, .now = *s, .arena = arena, .err = err};
    *report = (struct ruvm_prune_report){0};
    int rc = check(s, o, err);
    for (int i = 0; i < RUVM_PRUNE_KINDS && rc == RUVM_OK; i++)
        if (kinds[i].asked)
            rc = take_step(&j, &kinds[i], &s->model, &report->steps[report->n_steps++]);
    if (rc == RUVM_OK)
        *s = j.now;
    return rc;
}
