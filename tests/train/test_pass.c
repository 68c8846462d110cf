/* The network against a plain one in doubles and against the float reference: its logits,
 * and its gradients by central differences of the plain one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "lib/convert/reference.h"
#include "lib/train/pass.h"
#include "tests/support/tiny_model.h"
#include "tests/train/plain_network.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Odd sizes, shared heads, more tokens than one block of queries. */
static const struct tiny_shape shapes[] = {
    {12, 19, 2, 6, 3, 37, 64, false, 1},
    {24, 33, 1, 2, 1, 35, 64, true, 2},
    {10, 7, 3, 1, 1, 34, 64, false, 3},
};
enum { TOKENS = 45 };

struct fixture {
    struct ruvm_arena arena;
    struct ruvm_model model;
    struct ruvm_network net, grad;
    struct ruvm_pass *pass;
    uint32_t tokens[TOKENS];
    uint32_t n;              /* tokens */
    double *values, *logits; /* of the plain network */
};

/* Of f->net. */
static void fill_fixture(struct fixture *f, uint64_t seed)
{
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_network_like(&f->grad, &f->arena, &f->net, &err), RUVM_OK);
    cr_assert_eq(ruvm_pass_open(&f->pass, &f->arena, &f->net, f->n, &err), RUVM_OK);
    plain_tokens(f->tokens, f->n, f->net.vocab, seed);
    f->values = calloc(f->net.n_values, sizeof *f->values);
    f->logits = calloc((size_t)f->n * f->net.vocab, sizeof *f->logits);
    for (size_t i = 0; i < f->net.n_values; i++)
        f->values[i] = (double)f->net.values[i];
}

static void open_fixture(struct fixture *f, const struct tiny_shape *shape)
{
    *f = (struct fixture){.n = TOKENS};
    plain_open(&f->net, &f->model, &f->arena, shape);
    fill_fixture(f, shape->seed);
}

/* One of the six; as many tokens as it has positions, more than one block of queries. */
static void open_network(struct fixture *f, int network)
{
    *f = (struct fixture){.n = TINY_CONTEXT};
    plain_open_tiny(&f->net, &f->model, &f->arena, network);
    fill_fixture(f, (uint64_t)network);
}

static void close_fixture(struct fixture *f)
{
    free(f->values);
    free(f->logits);
    ruvm_arena_free(&f->arena);
}

/* ---- forward ------------------------------------------------------------------ */

static void check_plain(struct fixture *f, const char *what)
{
    const float *logits = ruvm_pass_forward(f->pass, &f->net, f->tokens, f->n, NULL);
    plain_forward(f->logits, &f->net, f->values, f->tokens, f->n);
    for (size_t i = 0; i < (size_t)f->n * f->net.vocab; i++)
        cr_assert_lt(fabs(f->logits[i] - (double)logits[i]), 2e-5, "%s, logit %zu", what, i);
}

Test(pass, logits_are_those_of_a_plain_network)
{
    for (size_t s = 0; s < 2 * COUNT(shapes); s++) {
        struct fixture f;
        open_fixture(&f, &shapes[s / 2]);
        for (uint32_t i = 0; i < f.net.n_matrices; i++)
            f.net.matrices[i].signs = s % 2 == 1 && i % 3 == 1;
        check_plain(&f, s % 2 ? "with signs" : "");
        close_fixture(&f);
    }
}

Test(pass, logits_of_six_networks_are_those_of_plain_ones)
{
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct fixture f;
        open_network(&f, n);
        check_plain(&f, tiny_network_name(n));
        close_fixture(&f);
    }
}

static void check_reference(struct fixture *f, const char *what)
{
    struct ruvm_error err = {0};
    struct ruvm_reference *r;
    cr_assert_eq(ruvm_reference_open(&r, &f->arena, &f->model, f->n, &err), RUVM_OK);
    const float *logits = ruvm_pass_forward(f->pass, &f->net, f->tokens, f->n, NULL);
    for (uint32_t t = 0; t < f->n; t++) {
        const float *expected = ruvm_reference_step(r, f->tokens[t]);
        for (uint32_t i = 0; i < f->net.vocab; i++)
            cr_assert_lt(fabsf(expected[i] - logits[t * f->net.vocab + i]), 1e-4f, "%s, token %u",
                         what, t);
    }
}

Test(pass, logits_are_those_of_the_reference)
{
    for (size_t s = 0; s < COUNT(shapes); s++) {
        struct fixture f;
        open_fixture(&f, &shapes[s]);
        check_reference(&f, "Llama");
        close_fixture(&f);
    }
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct fixture f;
        open_network(&f, n);
        check_reference(&f, tiny_network_name(n));
        close_fixture(&f);
    }
}

/* A token must not see those behind it, and a pass not what it computed before. */
Test(pass, a_shorter_sequence_has_the_same_first_logits)
{
    struct fixture f;
    open_fixture(&f, &shapes[0]);
    size_t some = 33 * (size_t)f.net.vocab * sizeof(float);
    float *first = malloc(some);
    memcpy(first, ruvm_pass_forward(f.pass, &f.net, f.tokens, TOKENS, NULL), some);
    cr_assert_arr_eq(ruvm_pass_forward(f.pass, &f.net, f.tokens, 33, NULL), first, some);
    free(first);
    close_fixture(&f);
}

Test(pass, the_head_alone_gives_the_same_logits)
{
    struct fixture f;
    open_fixture(&f, &shapes[1]);
    size_t n_hidden = (size_t)TOKENS * f.net.dim, n_logits = (size_t)TOKENS * f.net.vocab;
    float *hidden = malloc(n_hidden * sizeof *hidden), *logits = malloc(n_logits * sizeof *logits);
    memcpy(logits, ruvm_pass_forward(f.pass, &f.net, f.tokens, TOKENS, NULL),
           n_logits * sizeof *logits);
    memcpy(hidden, ruvm_pass_hidden(f.pass), n_hidden * sizeof *hidden);
    ruvm_pass_forward(f.pass, &f.net, f.tokens + 1, TOKENS - 1, NULL);
    cr_assert_arr_eq(ruvm_pass_head(f.pass, &f.net, hidden, TOKENS), logits,
                     n_logits * sizeof *logits);
    free(hidden);
    free(logits);
    close_fixture(&f);
}

/* ---- backward ------------------------------------------------------------------- */

/* The loss of the check: a fixed weighting of all logits. */
static double weight_of(size_t i)
{
    uint64_t seed = i;
    return (double)(tiny_random(&seed) >> 40) * 0x1p-24 - 0.5;
}

static double plain_loss(struct fixture *f)
{
    double loss = 0;
    plain_forward(f->logits, &f->net, f->values, f->tokens, f->n);
    for (size_t i = 0; i < (size_t)f->n * f->net.vocab; i++)
        loss += weight_of(i) * f->logits[i];
    return loss;
}

static double plain_slope(struct fixture *f, size_t value)
{
    const double step = 1e-5;
    double kept = f->values[value];
    f->values[value] = kept + step;
    double up = plain_loss(f);
    f->values[value] = kept - step;
    double down = plain_loss(f);
    f->values[value] = kept;
    return (up - down) / (2 * step);
}

static void run_backward(struct fixture *f, const struct ruvm_network_observer *o)
{
    float *logits = ruvm_pass_forward(f->pass, &f->net, f->tokens, f->n, o);
    for (size_t i = 0; i < (size_t)f->n * f->net.vocab; i++)
        logits[i] = (float)weight_of(i);
    ruvm_pass_backward(f->pass, &f->net, &f->grad, o);
}

static void check_value(struct fixture *f, size_t i, const char *what)
{
    double slope = plain_slope(f, i), got = (double)f->grad.values[i];
    cr_assert_lt(fabs(slope - got), 1e-4 * (1 + fabs(slope)), "%s, value %zu: %g, expected %g",
                 what, i, got, slope);
}

static void check_gradient(const struct tiny_shape *shape)
{
    struct fixture f;
    open_fixture(&f, shape);
    run_backward(&f, NULL);
    for (size_t i = 0; i < f.net.n_values; i += 1 + i % 11)
        check_value(&f, i, "Llama");
    close_fixture(&f);
}

Test(pass, gradients_with_shared_heads_and_a_tied_head)
{
    check_gradient(&shapes[0]);
}

Test(pass, gradients_with_a_head_of_its_own)
{
    check_gradient(&shapes[1]);
}

Test(pass, gradients_of_a_narrow_model_of_three_layers)
{
    check_gradient(&shapes[2]);
}

/* Some of each matrix, of the norms and of each bias. ReLU has a corner: a network that uses
 * it may lie on the other side of one with a step this small, so values are few. */
static void check_network(int n)
{
    struct fixture f;
    open_network(&f, n);
    run_backward(&f, NULL);
    size_t end = (size_t)(f.net.norms - f.net.values);
    for (size_t i = 0; i < end; i += 23 + i % 61)
        check_value(&f, i, tiny_network_name(n));
    for (size_t i = end; i < f.net.n_values; i += 1 + i % 5)
        check_value(&f, i, tiny_network_name(n));
    close_fixture(&f);
}

Test(pass, gradients_of_mistral_with_scaled_rope)
{
    check_network(TINY_MISTRAL);
}

Test(pass, gradients_of_qwen2)
{
    check_network(TINY_QWEN2);
}

Test(pass, gradients_of_gpt2_with_relu)
{
    check_network(TINY_GPT2);
}

Test(pass, gradients_of_gpt_neo)
{
    check_network(TINY_GPT_NEO);
}

Test(pass, gradients_of_gpt_neox)
{
    check_network(TINY_GPT_NEOX);
}

/* The weights of a matrix with signs are differentiable as any others. */
Test(pass, gradients_of_weights_that_meet_signs)
{
    struct fixture f;
    open_fixture(&f, &shapes[0]);
    uint32_t last = f.net.n_matrices - 1;
    f.net.matrices[last].signs = true;
    run_backward(&f, NULL);
    size_t first = (size_t)(f.net.matrices[last].w - f.net.values);
    for (size_t i = first; i < first + 50; i++) {
        double slope = plain_slope(&f, i);
        cr_assert_lt(fabs(slope - (double)f.grad.values[i]), 1e-4 * (1 + fabs(slope)));
    }
    close_fixture(&f);
}

Test(pass, gradients_add_up)
{
    struct fixture f;
    open_fixture(&f, &shapes[1]);
    run_backward(&f, NULL);
    float first = f.grad.matrices[1].w[3], last = f.grad.norms[5];
    run_backward(&f, NULL);
    cr_assert_lt(fabsf(f.grad.matrices[1].w[3] - 2 * first), 1e-4f * fabsf(first));
    cr_assert_lt(fabsf(f.grad.norms[5] - 2 * last), 1e-4f * fabsf(last));
    close_fixture(&f);
}

/* ---- the observer ------------------------------------------------------------------ */

/* Sums dy^T x of each matrix again, in doubles, from what it is shown. */
struct watcher {
    const struct ruvm_network *net;
    const uint32_t *tokens;
    double *dw; /* [n_values] */
    unsigned n_forward, n_backward;
};

static void watch_forward(void *user, uint32_t matrix, const float *x, uint32_t n)
{
    struct watcher *w = user;
    w->n_forward += n;
    cr_assert(matrix < w->net->n_matrices && isfinite(x[n * w->net->matrices[matrix].cols - 1]));
}

static void watch_backward(void *user, uint32_t matrix, const float *x, const float *dy, uint32_t n)
{
    struct watcher *w = user;
    const struct ruvm_network_matrix *m = &w->net->matrices[matrix];
    double *dw = w->dw + (m->w - w->net->values);
    for (uint32_t t = 0; t < n && !x; t++) { /* what was looked up */
        uint32_t row = m->kind == RUVM_TENSOR_POSITION ? t : w->tokens[t];
        for (uint32_t c = 0; c < m->cols; c++)
            dw[row * m->cols + c] += (double)dy[t * m->cols + c];
    }
    if (!x)
        return;
    w->n_backward += n;
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t r = 0; r < m->rows; r++)
            for (uint32_t c = 0; c < m->cols; c++)
                dw[r * m->cols + c] += (double)dy[t * m->rows + r] * (double)x[t * m->cols + c];
}

static void check_observer(struct fixture *f)
{
    struct watcher w = {.net = &f->net, .tokens = f->tokens};
    uint32_t gated = f->net.act == RUVM_ACT_SILU_GATED;
    w.dw = calloc(f->net.n_values, sizeof *w.dw);
    run_backward(f, &(struct ruvm_network_observer){&w, watch_forward, watch_backward});
    cr_assert_eq(w.n_forward, ((6 + gated) * f->net.n_layers + 1) * f->n);
    cr_assert_eq(w.n_backward, w.n_forward);
    size_t end = (size_t)(f->net.norms - f->net.values);
    for (size_t v = 0; v < end; v++)
        cr_assert_lt(fabs(w.dw[v] - (double)f->grad.values[v]), 1e-4 * (1 + fabs(w.dw[v])));
    free(w.dw);
}

Test(pass, the_observer_sees_each_product_once)
{
    struct fixture f;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        open_fixture(&f, &shapes[i]);
        check_observer(&f);
        close_fixture(&f);
    }
    for (int n = 0; n < TINY_NETWORKS; n++) {
        open_network(&f, n);
        check_observer(&f);
        close_fixture(&f);
    }
}
