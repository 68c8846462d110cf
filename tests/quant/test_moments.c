/* Moments against sums straight from their definition, and against what a rounding really
 * costs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "lib/base/exp.h"
#include "lib/base/random.h"
#include "lib/quant/moments.h"
#include "lib/quant/steps.h"
#include "lib/train/math.h"
#include "lib/train/pass.h"
#include "tests/quant/numbers.h"
#include "tests/support/tiny_models.h"

enum { CONTEXT = 12, N_WINDOWS = 11 };

static const struct tiny_shape tied = {.dim = 8,
                                       .hidden = 11,
                                       .layers = 2,
                                       .heads = 2,
                                       .kv_heads = 1,
                                       .vocab = 30,
                                       .context = CONTEXT,
                                       .seed = 5},
                               untied = {.dim = 8,
                                         .hidden = 11,
                                         .layers = 1,
                                         .heads = 4,
                                         .kv_heads = 2,
                                         .vocab = 30,
                                         .context = CONTEXT,
                                         .untied = true,
                                         .seed = 6},
                               many_tokens = {.dim = 4,
                                              .hidden = 3,
                                              .layers = 1,
                                              .heads = 1,
                                              .kv_heads = 1,
                                              .vocab = RUVM_MOMENTS_MAX_ROWS + 7,
                                              .context = CONTEXT,
                                              .seed = 7};

/* A model and a text of random tokens in windows of 1 to CONTEXT positions. */
struct fixture {
    struct ruvm_arena arena;
    struct ruvm_model model;
    struct ruvm_network net;
    struct ruvm_text text;
    struct ruvm_moments_options o;
};

static void write_text(struct fixture *f, uint32_t vocab, uint32_t n_windows)
{
    uint64_t rng = 3;
    cr_assert(ruvm_text_reserve(&f->text, &f->arena, CONTEXT * n_windows));
    for (uint32_t w = 0; w < n_windows; w++) {
        ruvm_text_window(&f->text, 1);
        uint32_t n = w == 0 ? CONTEXT : 1 + number_below(&rng, CONTEXT);
        for (uint32_t i = 0; i < n; i++)
            ruvm_text_token(&f->text, (uint32_t)number_below(&rng, vocab));
    }
    ruvm_text_window(&f->text, 1);
    cr_assert_eq(f->text.n_windows, n_windows);
}

static struct fixture *make(const struct tiny_shape *shape, uint32_t n_windows)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ruvm_buffer file = tiny_checkpoint(shape);
    struct ruvm_tensors tensors = {0};
    uint8_t *bytes = ruvm_arena_alloc(&f->arena, file.size, 1);
    memcpy(bytes, file.data, file.size);
    const struct ruvm_format *format = ruvm_formats_probe(bytes, file.size);
    cr_assert_eq(format->read(&tensors, &f->arena, bytes, file.size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_model_from_tensors(&f->model, &f->arena, &tensors, NULL), RUVM_OK);
    cr_assert_eq(ruvm_network_open(&f->net, &f->arena, &f->model, NULL), RUVM_OK);
    ruvm_buffer_free(&file);
    write_text(f, shape->vocab, n_windows);
    f->o = (struct ruvm_moments_options){.text = &f->text, .seed = 9, .threads = 1};
    return f;
}

/* One of the six networks. */
static struct fixture *make_network(int n, uint32_t n_windows)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ruvm_tensors tensors = tiny_models_make(&f->arena, n, TINY_RUVM, 4);
    cr_assert_eq(ruvm_model_from_tensors(&f->model, &f->arena, &tensors, NULL), RUVM_OK);
    cr_assert_eq(ruvm_network_open(&f->net, &f->arena, &f->model, NULL), RUVM_OK);
    write_text(f, f->model.vocab, n_windows);
    f->o = (struct ruvm_moments_options){.text = &f->text, .seed = 9, .threads = 1};
    return f;
}

static void discard(struct fixture *f)
{
    ruvm_arena_free(&f->arena);
    free(f);
}

static struct ruvm_moments *open_moments(struct fixture *f)
{
    struct ruvm_moments *m;
    cr_assert_eq(ruvm_moments_open(&m, &f->model, &f->o, NULL), RUVM_OK);
    return m;
}

static struct ruvm_moments_tensor tensor_of(struct ruvm_moments *m, uint32_t i)
{
    struct ruvm_moments_tensor t;
    cr_assert_eq(ruvm_moments_tensor(m, i, &t, NULL), RUVM_OK);
    return t;
}

/* ---- the definition --------------------------------------------------------------- */

/* Of one product: sum of |g|^2 x x^T, of g g^T, and of |g|^2. */
struct plain_product {
    double *inputs, *outputs, energy;
};

struct plain {
    const struct fixture *f;
    const uint32_t *tokens;
    struct plain_product *products; /* [2 * n_matrices] multiplied, looked up */
};

static void add(struct plain_product *p, const double *x, uint32_t cols, double energy,
                const double *g, uint32_t rows)
{
    for (uint32_t i = 0; i < cols * cols; i++)
        p->inputs[i] += energy * x[i / cols] * x[i % cols];
    for (uint32_t i = 0; i < rows * rows; i++)
        p->outputs[i] += g[i / rows] * g[i % rows];
    for (uint32_t i = 0; i < rows; i++)
        p->energy += g[i] * g[i];
}

static void see(void *user, uint32_t matrix, const float *x, const float *dy, uint32_t n)
{
    struct plain *p = user;
    const struct ruvm_network_matrix *w = &p->f->net.matrices[matrix];
    uint32_t rows = x ? w->rows : w->cols;
    double *in = calloc(w->cols, sizeof *in), *out = calloc(w->rows + w->cols, sizeof *out);
    for (uint32_t t = 0; t < n; t++) {
        double energy = 0.0;
        for (uint32_t r = 0; r < rows; r++) {
            out[r] = (double)dy[(size_t)t * rows + r];
            energy += out[r] * out[r];
        }
        for (uint32_t c = 0; c < w->cols; c++)
            in[c] = x ? (double)x[(size_t)t * w->cols + c] : out[c];
        if (x) {
            add(&p->products[2 * matrix], in, w->cols, energy, out, rows);
            continue;
        }
        /* looked up: the row of the token or position is added to the stream, where g is */
        memset(out, 0, w->rows * sizeof *out);
        out[w->kind == RUVM_TENSOR_POSITION ? t : p->tokens[t]] = 1.0;
        add(&p->products[2 * matrix + 1], in, w->cols, 1.0, out, w->rows);
    }
    free(in);
    free(out);
}

/* The derivative of -log p(label) by the logits of a position, the label drawn from p. */
static void draw_label(float *logits, uint32_t n, uint64_t *rng)
{
    double sum = 0.0, left;
    float best = logits[0];
    uint32_t label = 0;
    for (uint32_t i = 0; i < n; i++)
        best = fmaxf(best, logits[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += (double)ruvm_exp_f32(logits[i] - best);
    left = ruvm_random_unit(rng) * sum;
    for (label = 0; label + 1 < n; label++) {
        left -= (double)ruvm_exp_f32(logits[label] - best);
        if (left < 0.0)
            break;
    }
    for (uint32_t i = 0; i < n; i++)
        logits[i] =
            (float)((double)ruvm_exp_f32(logits[i] - best) / sum - (i == label ? 1.0 : 0.0));
}

static struct plain find_plain(struct fixture *f)
{
    const struct ruvm_network *net = &f->net;
    struct plain p = {.f = f};
    struct ruvm_pass *pass;
    p.products = ruvm_arena_alloc(&f->arena, 2 * net->n_matrices, sizeof *p.products);
    for (uint32_t i = 0; i < 2 * net->n_matrices; i++) {
        uint32_t rows = net->matrices[i / 2].rows, cols = net->matrices[i / 2].cols;
        p.products[i].inputs = ruvm_arena_alloc(&f->arena, cols, cols * sizeof(double));
        p.products[i].outputs = ruvm_arena_alloc(&f->arena, rows, rows * sizeof(double));
    }
    cr_assert_eq(ruvm_pass_open(&pass, &f->arena, net, CONTEXT, NULL), RUVM_OK);
    for (uint32_t w = 0; w < f->text.n_windows; w++) {
        const struct ruvm_network_observer observer = {.user = &p, .backward = see};
        uint32_t first = f->text.first[w], n = f->text.first[w + 1] - first - 1;
        uint64_t rng = f->o.seed + ((uint64_t)w << 20);
        p.tokens = f->text.tokens + first;
        float *logits = ruvm_pass_forward(pass, net, p.tokens, n, NULL);
        for (uint32_t t = 0; t < n; t++)
            draw_label(logits + (size_t)t * net->vocab, net->vocab, &rng);
        ruvm_pass_backward(pass, net, NULL, &observer);
    }
    return p;
}

/* a is b but for floats within a window. */
static void check_sums(const double *a, const double *b, double unit, uint32_t n, const char *what,
                       uint32_t matrix)
{
    double largest = 0.0;
    for (uint32_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(b[i] * unit));
    for (uint32_t i = 0; i < n; i++)
        cr_assert_float_eq(a[i], b[i] * unit, 1e-5 * largest, "%s of matrix %u: %g, not %g", what,
                           matrix, a[i], b[i] * unit);
}

static void check_product(const struct ruvm_moments_product *ours, const struct plain_product *p,
                          const struct fixture *f, uint32_t matrix)
{
    uint32_t rows = f->net.matrices[matrix].rows, cols = f->net.matrices[matrix].cols;
    check_sums(ours->inputs, p->inputs, 1.0 / (double)f->text.n_positions, cols * cols, "inputs",
               matrix);
    if (ours->outputs)
        check_sums(ours->outputs, p->outputs, 1.0 / p->energy, rows * rows, "outputs", matrix);
    for (uint32_t r = 0; r < rows; r++)
        cr_assert_float_eq(ours->share[r], p->outputs[r * rows + r] / p->energy, 1e-6);
}

static void check_moments(struct fixture *f)
{
    struct plain p = find_plain(f);
    struct ruvm_moments *m = open_moments(f);
    for (uint32_t i = 0; i < f->net.n_matrices; i++) {
        struct ruvm_moments_tensor t = tensor_of(m, i);
        cr_assert(t.rows == f->net.matrices[i].rows && t.cols == f->net.matrices[i].cols);
        bool is_position = f->net.matrices[i].kind == RUVM_TENSOR_POSITION;
        cr_assert_eq(t.multiplied.inputs != NULL, i == 0 ? f->net.tied : !is_position);
        cr_assert_eq(t.looked_up.inputs != NULL, i == 0 || is_position);
        cr_assert_eq(t.multiplied.outputs != NULL,
                     t.multiplied.inputs && t.rows <= RUVM_MOMENTS_MAX_ROWS);
        cr_assert_null(t.looked_up.outputs);
        if (t.multiplied.inputs)
            check_product(&t.multiplied, &p.products[2 * i], f, i);
        if (t.looked_up.inputs)
            check_product(&t.looked_up, &p.products[2 * i + 1], f, i);
        for (uint32_t k = 0; k < t.cols * t.cols; k++)
            cr_assert_float_eq(t.inputs[k],
                               (t.multiplied.inputs ? t.multiplied.inputs[k] : 0.0) +
                                   (t.looked_up.inputs ? t.looked_up.inputs[k] : 0.0),
                               0.0);
    }
    ruvm_moments_close(m);
    discard(f);
}

Test(moments, of_a_tied_model)
{
    check_moments(make(&tied, N_WINDOWS));
}

Test(moments, of_a_model_with_a_head)
{
    check_moments(make(&untied, N_WINDOWS));
}

Test(moments, of_more_tokens_than_are_coupled)
{
    check_moments(make(&many_tokens, 2));
}

Test(moments, of_each_network)
{
    for (int n = 0; n < TINY_NETWORKS; n++)
        check_moments(make_network(n, N_WINDOWS));
}

/* ---- the same every time ------------------------------------------------------------- */

static void assert_same(struct fixture *f, struct ruvm_moments *a, struct ruvm_moments *b)
{
    for (uint32_t k = 0; k < f->net.n_matrices; k++) {
        uint32_t i = f->net.n_matrices - 1 - k; /* in any order */
        struct ruvm_moments_tensor s = tensor_of(a, i), t = tensor_of(b, i);
        cr_assert_eq(memcmp(s.inputs, t.inputs, (size_t)s.cols * s.cols * sizeof(double)), 0);
        if (s.multiplied.outputs)
            cr_assert_eq(memcmp(s.multiplied.outputs, t.multiplied.outputs,
                                (size_t)s.rows * s.rows * sizeof(double)),
                         0);
    }
}

Test(moments, threads_do_not_change_a_bit)
{
    static const uint32_t threads[] = {2, 3, 7, 0};
    for (uint32_t n = 1; n <= N_WINDOWS; n += 5) { /* fewer windows than slots, and more */
        struct fixture *f = make(&tied, n);
        struct ruvm_moments *one = open_moments(f);
        for (int i = 0; i < 4; i++) {
            f->o.threads = threads[i];
            struct ruvm_moments *other = open_moments(f);
            assert_same(f, one, other);
            ruvm_moments_close(other);
        }
        ruvm_moments_close(one);
        discard(f);
    }
}

Test(moments, another_seed_draws_other_labels)
{
    struct fixture *f = make(&untied, N_WINDOWS);
    struct ruvm_moments *a = open_moments(f);
    f->o.seed++;
    struct ruvm_moments *b = open_moments(f);
    struct ruvm_moments_tensor s = tensor_of(a, 1), t = tensor_of(b, 1);
    cr_assert_neq(memcmp(s.inputs, t.inputs, (size_t)s.cols * s.cols * sizeof(double)), 0);
    ruvm_moments_close(a);
    ruvm_moments_close(b);
    discard(f);
}

struct stop {
    uint64_t seen;
    bool is_off;
};

static int stop_later(void *user, const char *stage, uint64_t done, uint64_t total)
{
    struct stop *s = user;
    cr_assert_str_eq(stage, "moments");
    cr_assert(done <= total && (done > s->seen || s->is_off));
    s->seen = done;
    return !s->is_off && done > total / 2;
}

Test(moments, interrupted_it_can_be_asked_again)
{
    struct fixture *f = make(&untied, N_WINDOWS);
    struct stop stop = {0};
    struct ruvm_error err = {0};
    struct ruvm_moments_tensor t;
    struct ruvm_moments *whole = open_moments(f);
    f->o.progress = (struct ruvm_progress){stop_later, &stop};
    struct ruvm_moments *m = open_moments(f);
    cr_assert_eq(ruvm_moments_tensor(m, 2, &t, &err), RUVM_ERR_IO);
    cr_assert_str_eq(err.text, "interrupted");
    cr_assert(stop.seen > 0 && stop.seen < f->text.n_positions);
    stop = (struct stop){.is_off = true};
    assert_same(f, m, whole);
    cr_assert_eq(stop.seen, f->text.n_positions);
    ruvm_moments_close(m);
    ruvm_moments_close(whole);
    ruvm_moments_close(NULL);
    discard(f);
}

/* ---- what a rounding costs ------------------------------------------------------------- */

static struct ruvm_quant_matrix round_matrix(struct fixture *f, uint32_t i, struct ruvm_scheme s)
{
    struct ruvm_quant_matrix q;
    const struct ruvm_network_matrix *w = &f->net.matrices[i];
    cr_assert(ruvm_quant_matrix_open(&q, &f->arena, s, w->rows, w->cols));
    cr_assert_eq(ruvm_steps_choose(&q, w->w, RUVM_STEPS_MAX, NULL, NULL), RUVM_OK);
    ruvm_steps_round(&q, w->w);
    return q;
}

static double loss_of(struct ruvm_moments *m, struct fixture *f, uint32_t i,
                      const struct ruvm_quant_matrix *q)
{
    struct ruvm_moments_tensor t = tensor_of(m, i);
    double kl;
    cr_assert_eq(ruvm_moments_loss(&kl, &t, q, f->net.matrices[i].w, NULL), RUVM_OK);
    return kl;
}

/* 1/2 trace(F D M D^T) of a product; F is its diagonal where rows do not meet. */
static double plain_loss(const struct ruvm_moments_product *p, const double *off, uint32_t rows,
                         uint32_t cols)
{
    double sum = 0.0;
    for (uint32_t r = 0; r < rows && p->inputs; r++)
        for (uint32_t s = 0; s < rows; s++)
            for (uint32_t i = 0; i < cols * cols; i++) {
                double coupled = p->outputs ? p->outputs[r * rows + s] : r == s ? p->share[r] : 0.0;
                sum += coupled * off[r * cols + i / cols] * off[s * cols + i % cols] * p->inputs[i];
            }
    return sum / 2;
}

Test(moments, the_loss_is_its_formula)
{
    struct fixture *f = make(&tied, N_WINDOWS);
    struct ruvm_moments *m = open_moments(f);
    for (uint32_t i = 0; i < f->net.n_matrices; i++) {
        struct ruvm_quant_matrix q = round_matrix(f, i, (struct ruvm_scheme){RUVM_TYPE_INT4, 0});
        struct ruvm_moments_tensor t = tensor_of(m, i);
        double off[30 * 11];
        for (uint32_t r = 0; r < q.rows; r++)
            ruvm_quant_matrix_row(&q, r, off + r * q.cols);
        for (uint32_t k = 0; k < q.rows * q.cols; k++)
            off[k] -= (double)f->net.matrices[i].w[k];
        double expected = plain_loss(&t.multiplied, off, q.rows, q.cols) +
                          plain_loss(&t.looked_up, off, q.rows, q.cols);
        double ours = loss_of(m, f, i, &q);
        cr_assert(ours > 0.0);
        cr_assert_float_eq(ours, expected, 1e-9 * expected, "matrix %u: %g, not %g", i, ours,
                           expected);
    }
    ruvm_moments_close(m);
    discard(f);
}

static void log_softmax(double *p, const float *logits, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i]);
    for (uint32_t i = 0; i < n; i++)
        p[i] = (double)logits[i] - log(sum);
}

/* Mean KL of the network with matrix i replaced by q, from itself. */
static double measured_loss(struct fixture *f, uint32_t i, const struct ruvm_quant_matrix *q)
{
    struct ruvm_pass *a, *b;
    struct ruvm_network other;
    double sum = 0.0, p[64], r[64], row[64];
    cr_assert_eq(ruvm_network_open(&other, &f->arena, &f->model, NULL), RUVM_OK);
    cr_assert_eq(ruvm_pass_open(&a, &f->arena, &f->net, CONTEXT, NULL), RUVM_OK);
    cr_assert_eq(ruvm_pass_open(&b, &f->arena, &other, CONTEXT, NULL), RUVM_OK);
    for (uint32_t k = 0; k < q->rows; k++) {
        ruvm_quant_matrix_row(q, k, row);
        for (uint32_t c = 0; c < q->cols; c++)
            other.matrices[i].w[k * q->cols + c] = (float)row[c];
    }
    for (uint32_t w = 0; w < f->text.n_windows; w++) {
        uint32_t first = f->text.first[w], n = f->text.first[w + 1] - first - 1;
        float *x = ruvm_pass_forward(a, &f->net, f->text.tokens + first, n, NULL);
        float *y = ruvm_pass_forward(b, &other, f->text.tokens + first, n, NULL);
        for (uint32_t t = 0; t < n; t++) {
            log_softmax(p, x + (size_t)t * f->net.vocab, f->net.vocab);
            log_softmax(r, y + (size_t)t * f->net.vocab, f->net.vocab);
            for (uint32_t k = 0; k < f->net.vocab; k++)
                sum += exp(p[k]) * (p[k] - r[k]);
        }
    }
    return sum / (double)f->text.n_positions;
}

/* An estimate from one drawn label a position, and from factors: right within a factor. */
static void check_measured(struct fixture *f, double factor, const char *what)
{
    struct ruvm_moments *m = open_moments(f);
    double modelled = 0.0, measured = 0.0;
    for (uint32_t i = 0; i < f->net.n_matrices; i++) {
        struct ruvm_quant_matrix q = round_matrix(f, i, (struct ruvm_scheme){RUVM_TYPE_INT4, 0});
        double a = loss_of(m, f, i, &q), b = measured_loss(f, i, &q);
        cr_assert(a > b / factor && a < b * factor, "%s, matrix %u: %g, measured %g", what, i, a,
                  b);
        modelled += a;
        measured += b;
    }
    cr_assert(fabs(modelled - measured) < 0.06 * factor * measured, "%s: %g, measured %g", what,
              modelled, measured);
    ruvm_moments_close(m);
    discard(f);
}

Test(moments, the_loss_is_about_what_is_measured)
{
    check_measured(make(&tied, 150), 2.0, "tied");
    check_measured(make(&untied, 150), 2.0, "untied");
    for (int n = 0; n < TINY_NETWORKS; n++)
        check_measured(make_network(n, 150), 4.0, tiny_network_name(n));
}
