/* Runs the float network over the text, forward and back, and sums what its matrices see.
 *
 * Windows go to a fixed number of slots, each with its own sums, which are added in order
 * at the end: so the result does not depend on the number of threads. A model whose moments
 * would not fit the memory is seen in parts, one run over the text for each.
 */
#include "lib/quant/moments.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/exp.h"
#include "lib/base/pool.h"
#include "lib/base/random.h"
#include "lib/train/math.h"
#include "lib/train/matrix.h"
#include "lib/train/pass.h"

enum { N_SLOTS = 4 };
#define MOST_BYTES ((uint64_t)1 << 30) /* of all moments kept at a time */

/* The sums of one slot, and what it computes with. */
struct slot {
    struct ruvm_moments *m;
    struct ruvm_pass *pass;
    struct ruvm_network_observer observer;
    const uint32_t *tokens; /* of the window */
    double **inputs;        /* [2 * n_matrices] products: multiplied, then looked up */
    double **share;
    double **outputs;
    float *weighed, *products; /* [context, widest], [most, most] */
    uint64_t random;
};

struct ruvm_moments {
    struct ruvm_arena arena; /* of the network and the slots' passes */
    struct ruvm_arena sums;  /* of the matrices seen at present */
    struct ruvm_moments_options o;
    struct ruvm_network net;
    struct ruvm_pool *pool;
    struct slot slots[N_SLOTS];
    uint32_t first, end;   /* matrices whose moments are kept */
    uint32_t widest, most; /* columns; columns or rows of which products are kept */
    double *combined;      /* [widest, widest] */
};

/* ---- what a slot sees ------------------------------------------------------------ */

static void add_share(double *share, const float *dy, uint32_t rows, uint32_t n)
{
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t r = 0; r < rows; r++) {
            double g = (double)dy[(size_t)t * rows + r];
            share[r] += g * g;
        }
}

/* |g|^2 of a token. */
static double energy(const float *dy, uint32_t rows)
{
    double sum = 0.0;
    for (uint32_t r = 0; r < rows; r++)
        sum += (double)dy[r] * (double)dy[r];
    return sum;
}

/* sums [cols, cols] += sum over tokens of a x^T; floats within a window. */
static void add_products(struct slot *s, double *sums, const float *a, const float *x,
                         uint32_t cols, uint32_t n)
{
    size_t size = (size_t)cols * cols;
    memset(s->products, 0, size * sizeof(float));
    ruvm_matrix_gradient(s->products, a, x, n, cols, cols);
    for (size_t i = 0; i < size; i++)
        sums[i] += (double)s->products[i];
}

static void see_product(struct slot *s, uint32_t matrix, const float *x, const float *dy,
                        uint32_t n)
{
    const struct ruvm_network_matrix *w = &s->m->net.matrices[matrix];
    for (uint32_t t = 0; t < n; t++) {
        float weight = (float)energy(dy + (size_t)t * w->rows, w->rows);
        for (uint32_t c = 0; c < w->cols; c++)
            s->weighed[(size_t)t * w->cols + c] = x[(size_t)t * w->cols + c] * weight;
    }
    add_products(s, s->inputs[2 * matrix], s->weighed, x, w->cols, n);
    add_share(s->share[2 * matrix], dy, w->rows, n);
    if (s->outputs[2 * matrix])
        add_products(s, s->outputs[2 * matrix], dy, dy, w->rows, n);
}

static void see_lookup(struct slot *s, uint32_t matrix, const float *dh, uint32_t n)
{
    const struct ruvm_network_matrix *w = &s->m->net.matrices[matrix];
    add_products(s, s->inputs[2 * matrix + 1], dh, dh, w->cols, n);
    for (uint32_t t = 0; t < n; t++)
        s->share[2 * matrix + 1][w->kind == RUVM_TENSOR_POSITION ? t : s->tokens[t]] += 1.0;
}

static void see(void *user, uint32_t matrix, const float *x, const float *dy, uint32_t n)
{
    struct slot *s = user;
    if (matrix < s->m->first || matrix >= s->m->end)
        return;
    if (x)
        see_product(s, matrix, x, dy, n);
    else
        see_lookup(s, matrix, dy, n);
}

/* ---- one window ------------------------------------------------------------------ */

/* Logits become the derivative of -log p(label) by them, the label drawn from p. */
static void differentiate(struct slot *s, float *logits, uint32_t vocab)
{
    float best = logits[0];
    double sum = 0.0, left;
    uint32_t label = 0;
    for (uint32_t i = 1; i < vocab; i++)
        best = logits[i] > best ? logits[i] : best;
    for (uint32_t i = 0; i < vocab; i++) {
        logits[i] = ruvm_exp_f32(logits[i] - best);
        sum += (double)logits[i];
    }
    left = ruvm_random_unit(&s->random) * sum;
    for (uint32_t i = 0; i < vocab; i++) {
        double p = (double)logits[i];
        if (left >= 0.0 && p > 0.0)
            label = i;
        left -= p;
        logits[i] = (float)(p / sum);
    }
    logits[label] -= 1.0f;
}

static void see_window(struct slot *s, uint32_t window)
{
    const struct ruvm_text *text = s->m->o.text;
    const struct ruvm_network *net = &s->m->net;
    uint32_t first = text->first[window], n = text->first[window + 1] - first - 1;
    s->tokens = text->tokens + first;
    s->random = s->m->o.seed + ((uint64_t)window << 20);
    float *logits = ruvm_pass_forward(s->pass, net, s->tokens, n, NULL);
    for (uint32_t t = 0; t < n; t++)
        differentiate(s, logits + (size_t)t * net->vocab, net->vocab);
    ruvm_pass_backward(s->pass, net, NULL, &s->observer);
}

struct turn {
    struct ruvm_moments *m;
    uint32_t first; /* window of slot 0 */
};

static void see_turn(void *user, uint32_t slot, uint32_t thread)
{
    struct turn *turn = user;
    (void)thread;
    if (turn->first + slot < turn->m->o.text->n_windows)
        see_window(&turn->m->slots[slot], turn->first + slot);
}

/* ---- a run over the text ------------------------------------------------------------ */

static bool has_outputs(const struct ruvm_network_matrix *w)
{
    return w->rows <= RUVM_MOMENTS_MAX_ROWS;
}

static bool has_lookup(const struct ruvm_moments *m, uint32_t matrix)
{
    int kind = m->net.matrices[matrix].kind;
    return kind == RUVM_TENSOR_EMBED || kind == RUVM_TENSOR_POSITION;
}

static bool has_product(const struct ruvm_moments *m, uint32_t matrix)
{
    bool is_head = m->net.matrices[matrix].kind == RUVM_TENSOR_EMBED && m->net.tied;
    return is_head || !has_lookup(m, matrix);
}

static uint64_t bytes_of(const struct ruvm_moments *m, uint32_t matrix)
{
    const struct ruvm_network_matrix *w = &m->net.matrices[matrix];
    uint64_t products = has_lookup(m, matrix) + has_product(m, matrix);
    uint64_t outputs = has_product(m, matrix) && has_outputs(w) ? (uint64_t)w->rows * w->rows : 0;
    uint64_t values = products * ((uint64_t)w->cols * w->cols + w->rows) + outputs;
    return N_SLOTS * values * sizeof(double);
}

static bool open_sums(struct slot *s, struct ruvm_arena *arena, uint32_t matrix)
{
    const struct ruvm_network_matrix *w = &s->m->net.matrices[matrix];
    bool ok = true;
    for (uint32_t i = 2 * matrix; i < 2 * matrix + 2; i++) {
        bool is_there = i % 2 ? has_lookup(s->m, matrix) : has_product(s->m, matrix);
        if (!is_there)
            continue;
        s->inputs[i] = ruvm_arena_alloc(arena, w->cols, w->cols * sizeof(double));
        s->share[i] = ruvm_arena_alloc(arena, w->rows, sizeof(double));
        ok = ok && s->inputs[i] && s->share[i];
    }
    if (has_product(s->m, matrix) && has_outputs(w)) {
        s->outputs[2 * matrix] = ruvm_arena_alloc(arena, w->rows, w->rows * sizeof(double));
        ok = ok && s->outputs[2 * matrix];
    }
    return ok;
}

static int choose_part(struct ruvm_moments *m, uint32_t matrix, struct ruvm_error *err)
{
    uint64_t bytes = 0;
    bool ok = true;
    ruvm_arena_free(&m->sums);
    m->first = m->end = matrix;
    while (m->end < m->net.n_matrices &&
           (m->end == m->first || bytes + bytes_of(m, m->end) <= MOST_BYTES))
        bytes += bytes_of(m, m->end++);
    for (uint32_t s = 0; s < N_SLOTS; s++)
        for (uint32_t i = m->first; i < m->end; i++)
            ok = ok && open_sums(&m->slots[s], &m->sums, i);
    if (!ok)
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "memory is short for the moments of the matrices: they take %llu bytes",
                         (unsigned long long)bytes);
    return RUVM_OK;
}

/* The first slot's sums become those of all, times a factor. */
static void gather(struct ruvm_moments *m, double **(*sums_of)(struct slot *s), uint32_t k,
                   size_t n, double factor)
{
    double *sums = sums_of(&m->slots[0])[k];
    for (uint32_t s = 1; s < N_SLOTS && sums; s++)
        for (size_t i = 0; i < n; i++)
            sums[i] += sums_of(&m->slots[s])[k][i];
    for (size_t i = 0; i < n && sums; i++)
        sums[i] *= factor;
}

static double **inputs_of(struct slot *s)
{
    return s->inputs;
}

static double **share_of(struct slot *s)
{
    return s->share;
}

static double **outputs_of(struct slot *s)
{
    return s->outputs;
}

static void conclude(struct ruvm_moments *m, uint32_t matrix)
{
    const struct ruvm_network_matrix *w = &m->net.matrices[matrix];
    for (uint32_t k = 2 * matrix; k < 2 * matrix + 2; k++) {
        double total = 0.0, *share = m->slots[0].share[k];
        if (!share)
            continue;
        gather(m, share_of, k, w->rows, 1.0);
        for (uint32_t r = 0; r < w->rows; r++)
            total += share[r];
        double unit = total > 0.0 ? 1.0 / total : 0.0;
        for (uint32_t r = 0; r < w->rows; r++)
            share[r] *= unit;
        gather(m, inputs_of, k, (size_t)w->cols * w->cols, 1.0 / (double)m->o.text->n_positions);
        gather(m, outputs_of, k, (size_t)w->rows * w->rows, unit);
    }
}

static int run(struct ruvm_moments *m, uint32_t matrix, struct ruvm_error *err)
{
    const struct ruvm_text *text = m->o.text;
    int rc = choose_part(m, matrix, err);
    for (uint32_t w = 0; w < text->n_windows && rc == RUVM_OK; w += N_SLOTS) {
        struct turn turn = {m, w};
        ruvm_pool_run(m->pool, see_turn, &turn, N_SLOTS);
        uint32_t done = w + N_SLOTS < text->n_windows ? w + N_SLOTS : text->n_windows;
        const struct ruvm_progress *p = &m->o.progress;
        if (p->report && p->report(p->user, "moments", text->first[done] - done, text->n_positions))
            rc = ruvm_fail(err, RUVM_ERR_IO, "interrupted");
    }
    for (uint32_t i = m->first; i < m->end && rc == RUVM_OK; i++)
        conclude(m, i);
    if (rc != RUVM_OK)
        m->end = m->first;
    return rc;
}

/* ---- the room's door ------------------------------------------------------------------ */

static bool open_slot(struct ruvm_moments *m, struct slot *s, struct ruvm_error *err)
{
    size_t n = 2 * (size_t)m->net.n_matrices;
    *s = (struct slot){.m = m, .observer = {.user = s, .backward = see}};
    s->inputs = ruvm_arena_alloc(&m->arena, n, sizeof *s->inputs);
    s->share = ruvm_arena_alloc(&m->arena, n, sizeof *s->share);
    s->outputs = ruvm_arena_alloc(&m->arena, n, sizeof *s->outputs);
    s->weighed = ruvm_arena_alloc(&m->arena, m->net.context, m->widest * sizeof(float));
    s->products = ruvm_arena_alloc(&m->arena, m->most, m->most * sizeof(float));
    return s->inputs && s->share && s->outputs && s->weighed && s->products &&
           ruvm_pass_open(&s->pass, &m->arena, &m->net, m->net.context, err) == RUVM_OK;
}

static int open_all(struct ruvm_moments *m, const struct ruvm_model *model, struct ruvm_error *err)
{
    bool ok = true;
    int rc = ruvm_network_open(&m->net, &m->arena, model, err);
    if (rc == RUVM_OK)
        rc = ruvm_pool_open(&m->pool, m->o.threads, err);
    if (rc != RUVM_OK)
        return rc;
    for (uint32_t i = 0; i < m->net.n_matrices; i++) {
        const struct ruvm_network_matrix *w = &m->net.matrices[i];
        m->widest = w->cols > m->widest ? w->cols : m->widest;
        m->most = has_outputs(w) && w->rows > m->most ? w->rows : m->most;
    }
    m->most = m->widest > m->most ? m->widest : m->most;
    m->combined = ruvm_arena_alloc(&m->arena, m->widest, m->widest * sizeof(double));
    for (uint32_t s = 0; s < N_SLOTS && ok; s++)
        ok = open_slot(m, &m->slots[s], err);
    return ok && m->combined
               ? RUVM_OK
               : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the float network");
}

int ruvm_moments_open(struct ruvm_moments **moments, const struct ruvm_model *model,
                      const struct ruvm_moments_options *o, struct ruvm_error *err)
{
    struct ruvm_moments *m = calloc(1, sizeof *m);
    *moments = NULL;
    if (!m)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the moments");
    m->o = *o;
    int rc = open_all(m, model, err);
    if (rc == RUVM_OK)
        *moments = m;
    else
        ruvm_moments_close(m);
    return rc;
}

void ruvm_moments_close(struct ruvm_moments *m)
{
    if (!m)
        return;
    ruvm_pool_close(m->pool);
    ruvm_arena_free(&m->sums);
    ruvm_arena_free(&m->arena);
    free(m);
}

/* An embedding that is the head as well is rounded for both uses. */
static const double *combine(struct ruvm_moments *m, const struct ruvm_moments_tensor *t)
{
    size_t n = (size_t)t->cols * t->cols;
    if (!t->looked_up.inputs)
        return t->multiplied.inputs;
    for (size_t i = 0; i < n; i++)
        m->combined[i] =
            t->looked_up.inputs[i] + (t->multiplied.inputs ? t->multiplied.inputs[i] : 0.0);
    return m->combined;
}

int ruvm_moments_tensor(struct ruvm_moments *m, uint32_t i, struct ruvm_moments_tensor *t,
                        struct ruvm_error *err)
{
    if (i < m->first || i >= m->end) {
        int rc = run(m, i, err);
        if (rc != RUVM_OK)
            return rc;
    }
    const struct slot *s = &m->slots[0];
    *t = (struct ruvm_moments_tensor){
        .rows = m->net.matrices[i].rows,
        .cols = m->net.matrices[i].cols,
        .multiplied = {s->inputs[2 * i], s->share[2 * i], s->outputs[2 * i]},
        .looked_up = {s->inputs[2 * i + 1], s->share[2 * i + 1], NULL},
    };
    t->inputs = combine(m, t);
    return RUVM_OK;
}

/* ---- what a rounding costs -------------------------------------------------------------- */

/* off = Q - W. */
static void find_errors(double *off, const struct ruvm_quant_matrix *q, const float *w)
{
    for (uint32_t r = 0; r < q->rows; r++, off += q->cols, w += q->cols) {
        ruvm_quant_matrix_row(q, r, off);
        for (uint32_t c = 0; c < q->cols; c++)
            off[c] -= (double)w[c];
    }
}

static double dot(const double *a, const double *b, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* trace(F D M D^T); through: [cols] a row of D M. */
static double loss_of(const struct ruvm_moments_product *p, const double *off, double *through,
                      uint32_t rows, uint32_t cols)
{
    double sum = 0.0;
    for (uint32_t r = 0; r < rows; r++) {
        const double *own = off + (size_t)r * cols;
        for (uint32_t c = 0; c < cols; c++)
            through[c] = dot(p->inputs + (size_t)c * cols, own, cols);
        if (!p->outputs) {
            sum += p->share[r] * dot(through, own, cols);
            continue;
        }
        for (uint32_t s = 0; s < rows; s++)
            sum += p->outputs[(size_t)r * rows + s] * dot(through, off + (size_t)s * cols, cols);
    }
    return sum;
}

int ruvm_moments_loss(double *kl, const struct ruvm_moments_tensor *t,
                      const struct ruvm_quant_matrix *q, const float *w, struct ruvm_error *err)
{
    double *off = calloc((size_t)q->rows + 1, q->cols * sizeof *off);
    if (!off)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a matrix of %u x %u", q->rows,
                         q->cols);
    double *through = off + (size_t)q->rows * q->cols;
    find_errors(off, q, w);
    *kl = 0.0;
    if (t->multiplied.inputs)
        *kl += loss_of(&t->multiplied, off, through, q->rows, q->cols) / 2;
    if (t->looked_up.inputs)
        *kl += loss_of(&t->looked_up, off, through, q->rows, q->cols) / 2;
    free(off);
    return RUVM_OK;
}
