/* Pruning inside of the layers: heads and feed-forward units.
 *
 * Both are columns of a matrix that adds to the residual stream, wo or w_down, each with
 * rows of the matrices before it. The float model reads the calibration text once a
 * step, with the second moments of those inputs summed up for all layers; then every
 * layer chooses by itself what its output changes least without.
 */
#include <stdio.h>

#include "formats/ruvm_layout.h" /* enum ruvm_tensor_kind */
#include "lib/convert/reference.h"
#include "lib/prune/prune_columns.h"
#include "lib/prune/prune_job.h"

/* ---- second moments ------------------------------------------------------- */

struct moments {
    int kind;      /* whose input: RUVM_TENSOR_WO or _W_DOWN */
    uint32_t cols; /* of it */
    double *sums;  /* [n_layers, cols, cols] sum of x x^T; only j <= i is filled at first */
};

static double *sums_of(const struct moments *m, uint32_t layer)
{
    return m->sums + (size_t)layer * m->cols * m->cols;
}

static void see_input(void *user, int kind, unsigned layer, const float *x)
{
    const struct moments *m = user;
    if (kind != m->kind)
        return;
    double *row = sums_of(m, layer);
    for (uint32_t i = 0; i < m->cols; i++, row += m->cols) {
        double xi = (double)x[i];
        for (uint32_t k = 0; k <= i; k++)
            row[k] += xi * (double)x[k];
    }
}

static void mirror(double *a, uint32_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            a[k * n + i] = a[i * n + k];
}

static int read_text(struct ruvm_prune_job *j, struct ruvm_reference *r)
{
    const struct ruvm_text *t = &j->now.calibration;
    uint64_t done = 0;
    int rc = RUVM_OK;
    for (uint32_t w = 0; w < t->n_windows && rc == RUVM_OK; w++) {
        ruvm_reference_reset(r);
        for (uint32_t i = t->first[w]; i + 1 < t->first[w + 1] && rc == RUVM_OK; i++) {
            ruvm_reference_step(r, t->tokens[i]);
            if (++done % 32 == 0 || done == t->n_positions)
                rc = ruvm_prune_tell(j, "prune", done, t->n_positions);
        }
    }
    return rc;
}

static int watch(struct ruvm_prune_job *j, struct moments *m)
{
    const struct ruvm_model *model = &j->now.model;
    struct ruvm_reference *r;
    size_t n = (size_t)m->cols * m->cols;
    m->sums = ruvm_arena_alloc(&j->work, model->n_layers, n * sizeof *m->sums);
    if (!m->sums)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY,
                         "memory is short for pruning: its statistics take %.1f MB",
                         (double)n * model->n_layers * sizeof *m->sums / 1e6);
    int rc = ruvm_reference_open(&r, &j->work, model, model->context, j->err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_reference_observe(r, &(struct ruvm_observer){.user = m, .input = see_input});
    rc = read_text(j, r);
    for (uint32_t layer = 0; layer < model->n_layers; layer++)
        mirror(sums_of(m, layer), m->cols);
    return rc;
}

/* ---- one layer ------------------------------------------------------------- */

/* What of n_blocks blocks of that many rows or columns stays: their places. */
struct kept {
    uint32_t n, *at;
};

static int short_of_memory(struct ruvm_prune_job *j, const struct ruvm_view *v)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s while pruning", v->name);
}

static bool find_kept(struct kept *k, struct ruvm_arena *work, const bool *removed,
                      uint32_t n_blocks, uint32_t block)
{
    *k = (struct kept){.at = ruvm_arena_alloc(work, n_blocks, block * sizeof *k->at)};
    for (uint32_t i = 0; k->at && i < n_blocks * block; i++)
        if (!removed[i / block])
            k->at[k->n++] = i;
    return k->at != NULL;
}

static int cut_rows(struct ruvm_prune_job *j, const struct ruvm_view **v, const bool *removed,
                    uint32_t n_blocks)
{
    struct kept kept;
    if (!find_kept(&kept, &j->work, removed, n_blocks, (uint32_t)(*v)->dims[0] / n_blocks))
        return short_of_memory(j, *v);
    *v = ruvm_prune_rows(j, *v, kept.at, kept.n);
    return *v ? RUVM_OK : RUVM_ERR_MEMORY;
}

/* Chooses by the moments, fits again, and leaves what stays in *v; p->removed says what. */
static int cut_columns(struct ruvm_prune_job *j, const struct ruvm_view **v,
                       struct ruvm_prune_columns *p)
{
    struct kept kept;
    p->rows = (uint32_t)(*v)->dims[0];
    p->cols = (uint32_t)(*v)->dims[1];
    float *x = ruvm_arena_alloc(&j->work, p->rows, p->cols * sizeof *x);
    p->w = ruvm_arena_alloc(&j->work, p->rows, p->cols * sizeof *p->w);
    p->removed = ruvm_arena_alloc(&j->work, p->cols / p->block, sizeof *p->removed);
    if (!x || !p->w || !p->removed)
        return short_of_memory(j, *v);
    for (uint32_t r = 0; r < p->rows; r++)
        ruvm_view_row(*v, r, x + (size_t)r * p->cols);
    for (size_t i = 0; i < (size_t)p->rows * p->cols; i++)
        p->w[i] = (double)x[i];
    int rc = ruvm_prune_columns(p, &j->work, j->err);
    if (rc != RUVM_OK)
        return rc;
    if (!find_kept(&kept, &j->work, p->removed, p->cols / p->block, p->block))
        return short_of_memory(j, *v);
    for (uint32_t r = 0; r < p->rows; r++)
        for (uint32_t c = 0; c < kept.n; c++)
            x[(size_t)r * kept.n + c] = (float)p->w[(size_t)r * p->cols + kept.at[c]];
    *v = ruvm_prune_matrix(j, *v, x, p->rows, kept.n);
    return *v ? RUVM_OK : RUVM_ERR_MEMORY;
}

static int cut_heads(struct ruvm_prune_job *j, struct ruvm_layer *l, double *moments)
{
    const struct ruvm_model *m = &j->now.model;
    struct ruvm_prune_columns p = {.block = m->n_heads / m->n_kv_heads * m->head_dim,
                                   .n_remove = j->o->heads,
                                   .moments = moments};
    int rc = cut_columns(j, &l->wo, &p);
    if (rc == RUVM_OK)
        rc = cut_rows(j, &l->wq, p.removed, m->n_kv_heads);
    if (rc == RUVM_OK)
        rc = cut_rows(j, &l->wk, p.removed, m->n_kv_heads);
    return rc == RUVM_OK ? cut_rows(j, &l->wv, p.removed, m->n_kv_heads) : rc;
}

static int cut_units(struct ruvm_prune_job *j, struct ruvm_layer *l, double *moments)
{
    uint32_t hidden = j->now.model.hidden;
    struct ruvm_prune_columns p = {.block = 1, .n_remove = j->o->ffn, .moments = moments};
    int rc = cut_columns(j, &l->w_down, &p);
    if (rc == RUVM_OK)
        rc = cut_rows(j, &l->w_up, p.removed, hidden);
    return rc == RUVM_OK ? cut_rows(j, &l->w_gate, p.removed, hidden) : rc;
}

/* ---- all layers ------------------------------------------------------------ */

static int cut_layers(struct ruvm_prune_job *j, struct moments *m,
                      int (*cut)(struct ruvm_prune_job *, struct ruvm_layer *, double *))
{
    struct ruvm_model *model = &j->now.model;
    struct ruvm_layer *layers = ruvm_arena_alloc(j->arena, model->n_layers, sizeof *layers);
    if (!layers)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u layers", model->n_layers);
    int rc = watch(j, m);
    for (uint32_t i = 0; i < model->n_layers && rc == RUVM_OK; i++) {
        layers[i] = model->layers[i];
        rc = cut(j, &layers[i], sums_of(m, i));
    }
    model->layers = layers;
    return rc;
}

int ruvm_prune_heads(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step)
{
    struct ruvm_model *m = &j->now.model;
    uint32_t group = m->n_heads / m->n_kv_heads;
    struct moments moments = {.kind = RUVM_TENSOR_WO, .cols = m->n_heads * m->head_dim};
    snprintf(step->what, sizeof step->what, "%u of %u key/value heads", j->o->heads, m->n_kv_heads);
    int rc = cut_layers(j, &moments, cut_heads);
    m->n_kv_heads -= j->o->heads;
    m->n_heads = m->n_kv_heads * group;
    return rc;
}

int ruvm_prune_ffn(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step)
{
    struct ruvm_model *m = &j->now.model;
    struct moments moments = {.kind = RUVM_TENSOR_W_DOWN, .cols = m->hidden};
    snprintf(step->what, sizeof step->what, "%u of %u feed-forward units", j->o->ffn, m->hidden);
    int rc = cut_layers(j, &moments, cut_units);
    m->hidden -= j->o->ffn;
    return rc;
}
