/* A sequence as matrix products, and their derivatives in the opposite order.
 *
 * Kept are the input of each norm and of each matrix. On the way back dh is the derivative
 * by the residual stream: each half of a layer adds to it what came through its branch. In
 * a parallel layer both halves are given the derivative that came to the layer.
 */
#include "lib/train/pass.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/train/attend.h"
#include "lib/train/math.h"
#include "lib/train/matrix.h"

/* Of one layer, all [n, ...]. */
struct kept {
    float *h, *mid;                /* [dim] the stream before attention, before feed-forward */
    float *attn_stats, *ffn_stats; /* [1 or 2] of their norms */
    float *attn_x, *ffn_x;         /* [dim] after the norms */
    float *q, *mixed;              /* [q_dim] q rotated */
    float *k, *v;                  /* [kv_dim] k rotated */
    float *up, *gate, *act;        /* [hidden]; gate NULL: there is none */
};

struct ruvm_pass {
    uint32_t max_tokens, q_dim, kv_dim;
    struct kept *layers;  /* [n_layers] */
    float *h, *stats, *x; /* [dim], [1 or 2], [dim]: the stream behind all layers, the final norm */
    float *logits;        /* [vocab] */
    float *turns;         /* [rotary_dim] cosine and sine of each pair */
    float *dh, *dx, *dq, *dk, *dv, *dmixed, *dact; /* on the way back */
    float *signs, *dsigns;                         /* [widest input] for a matrix with `signs` */
    float *dlayer;                                 /* [dim] of a parallel layer, or NULL */
    float *dgain;                                  /* dim floats that nobody wants */
    float *attend_work;
    /* the present call */
    const struct ruvm_network *net;
    struct ruvm_network *grad;
    const struct ruvm_network_observer *o;
    const uint32_t *tokens;
    uint32_t n;
};

/* ---- open ---------------------------------------------------------------------- */

/* Allocates [max_tokens, cols]; sets *failed. */
static float *rows(struct ruvm_arena *arena, const struct ruvm_pass *p, uint32_t cols, bool *failed)
{
    float *x = ruvm_arena_alloc(arena, p->max_tokens, cols * sizeof(float));
    *failed |= x == NULL;
    return x;
}

/* Floats kept of a token by a norm. */
static uint32_t n_stats(const struct ruvm_network *net)
{
    return net->norm == RUVM_NORM_LAYER ? 2 : 1;
}

static void open_layer(struct kept *k, struct ruvm_arena *arena, const struct ruvm_pass *p,
                       const struct ruvm_network *net, bool *failed)
{
    float **const by_dim[] = {&k->h, &k->mid, &k->attn_x, &k->ffn_x};
    float **const by_hidden[] = {&k->up, &k->act, &k->gate};
    bool gated = net->act == RUVM_ACT_SILU_GATED;
    for (int i = 0; i < 4; i++)
        *by_dim[i] = rows(arena, p, net->dim, failed);
    for (int i = 0; i < 2 + gated; i++)
        *by_hidden[i] = rows(arena, p, net->hidden, failed);
    k->attn_stats = rows(arena, p, n_stats(net), failed);
    k->ffn_stats = rows(arena, p, n_stats(net), failed);
    k->q = rows(arena, p, p->q_dim, failed);
    k->mixed = rows(arena, p, p->q_dim, failed);
    k->k = rows(arena, p, p->kv_dim, failed);
    k->v = rows(arena, p, p->kv_dim, failed);
}

static void open_way_back(struct ruvm_pass *p, struct ruvm_arena *arena,
                          const struct ruvm_network *net, bool *failed)
{
    uint32_t widest = net->dim > net->hidden ? net->dim : net->hidden;
    widest = widest > p->q_dim ? widest : p->q_dim;
    p->dh = rows(arena, p, net->dim, failed);
    p->dx = rows(arena, p, net->dim, failed);
    p->dq = rows(arena, p, p->q_dim, failed);
    p->dmixed = rows(arena, p, p->q_dim, failed);
    p->dk = rows(arena, p, p->kv_dim, failed);
    p->dv = rows(arena, p, p->kv_dim, failed);
    p->dact = rows(arena, p, net->hidden, failed);
    p->signs = rows(arena, p, widest, failed);
    p->dsigns = rows(arena, p, widest, failed);
    if (net->parallel)
        p->dlayer = rows(arena, p, net->dim, failed);
    p->dgain = ruvm_arena_alloc(arena, net->dim, sizeof *p->dgain);
    p->attend_work = ruvm_arena_alloc(arena, ruvm_attend_work_floats(p->max_tokens, net->head_dim),
                                      sizeof(float));
    *failed |= !p->dgain || !p->attend_work;
}

static void open_turns(struct ruvm_pass *p, struct ruvm_arena *arena,
                       const struct ruvm_network *net, bool *failed)
{
    if (net->rotary_dim == 0)
        return;
    p->turns = rows(arena, p, net->rotary_dim, failed);
    for (uint32_t i = 0; p->turns && i < net->rotary_dim / 2; i++) {
        double step = ruvm_network_turn(net, i);
        for (uint32_t t = 0; t < p->max_tokens; t++) {
            float *turn = p->turns + (size_t)t * net->rotary_dim + 2 * (size_t)i;
            turn[0] = (float)cos(t * step);
            turn[1] = (float)sin(t * step);
        }
    }
}

int ruvm_pass_open(struct ruvm_pass **pass, struct ruvm_arena *arena,
                   const struct ruvm_network *net, uint32_t max_tokens, struct ruvm_error *err)
{
    bool failed = false;
    assert(net->pos != RUVM_POS_LEARNED || max_tokens <= net->context);
    struct ruvm_pass *p = ruvm_arena_alloc(arena, 1, sizeof *p);
    struct kept *layers = ruvm_arena_alloc(arena, net->n_layers, sizeof *layers);
    if (p && layers) {
        *p = (struct ruvm_pass){.max_tokens = max_tokens, .layers = layers};
        p->q_dim = net->n_heads * net->head_dim;
        p->kv_dim = net->n_kv_heads * net->head_dim;
        for (uint32_t i = 0; i < net->n_layers; i++)
            open_layer(&layers[i], arena, p, net, &failed);
        p->h = rows(arena, p, net->dim, &failed);
        p->x = rows(arena, p, net->dim, &failed);
        p->stats = rows(arena, p, n_stats(net), &failed);
        p->logits = rows(arena, p, net->vocab, &failed);
        open_turns(p, arena, net, &failed);
        open_way_back(p, arena, net, &failed);
    }
    if (!p || !layers || failed)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory to train on %u tokens at a time",
                         max_tokens);
    *pass = p;
    return RUVM_OK;
}

/* ---- matrices -------------------------------------------------------------------- */

/* What the matrix multiplies when x comes in. */
static const float *input_of(struct ruvm_pass *p, const struct ruvm_network_matrix *m,
                             const float *x)
{
    if (!m->signs)
        return x;
    ruvm_math_signs(p->signs, x, p->n, m->cols);
    return p->signs;
}

static void multiply(struct ruvm_pass *p, uint32_t matrix, float *y, const float *x)
{
    const struct ruvm_network_matrix *m = &p->net->matrices[matrix];
    x = input_of(p, m, x);
    if (p->o && p->o->forward)
        p->o->forward(p->o->user, matrix, x, p->n);
    ruvm_matrix_forward(y, x, m->w, p->n, m->rows, m->cols);
    if (m->bias)
        ruvm_math_bias(y, m->bias, p->n, m->rows);
}

/* dx (+)= the derivative by x, given dy by the product. */
static void multiply_back(struct ruvm_pass *p, uint32_t matrix, float *dx, const float *dy,
                          const float *x, bool add)
{
    const struct ruvm_network_matrix *m = &p->net->matrices[matrix];
    const float *input = input_of(p, m, x);
    if (p->o && p->o->backward)
        p->o->backward(p->o->user, matrix, input, dy, p->n);
    if (p->grad)
        ruvm_matrix_gradient(p->grad->matrices[matrix].w, dy, input, p->n, m->rows, m->cols);
    if (p->grad && m->bias)
        ruvm_math_bias_backward(p->grad->matrices[matrix].bias, dy, p->n, m->rows);
    ruvm_matrix_backward(m->signs ? p->dsigns : dx, dy, m->w, p->n, m->rows, m->cols,
                         add && !m->signs);
    if (!m->signs)
        return;
    if (!add)
        memset(dx, 0, (size_t)p->n * m->cols * sizeof *dx);
    ruvm_math_signs_backward(dx, p->dsigns, x, p->n, m->cols);
}

/* ---- norms and rotation ------------------------------------------------------------ */

/* A norm by its place in net->norms. */
static const float *gain_of(const struct ruvm_pass *p, uint32_t norm)
{
    return p->net->norms + (size_t)norm * p->net->dim;
}

static float *norm_bias(const struct ruvm_network *net, uint32_t norm)
{
    if (norm == 2 * net->n_layers)
        return ruvm_network_bias(net, RUVM_BIAS_FINAL_NORM, 0);
    return ruvm_network_bias(net, norm % 2 ? RUVM_BIAS_FFN_NORM : RUVM_BIAS_ATTN_NORM, norm / 2);
}

static void apply_norm(const struct ruvm_pass *p, uint32_t norm, float *y, float *stats,
                       const float *h)
{
    const struct ruvm_network *net = p->net;
    const float *bias = norm_bias(net, norm), *gain = gain_of(p, norm);
    if (net->norm == RUVM_NORM_LAYER)
        ruvm_math_layer_norm(y, stats, h, gain, p->n, net->dim, net->norm_eps);
    else
        ruvm_math_norm(y, stats, h, gain, p->n, net->dim, net->norm_eps);
    if (bias)
        ruvm_math_bias(y, bias, p->n, net->dim);
}

/* dh += what dx, the derivative by the output of a norm of h, gives. */
static void norm_back(struct ruvm_pass *p, uint32_t norm, const float *h, const float *stats)
{
    const struct ruvm_network *net = p->net;
    const float *gain = gain_of(p, norm);
    float *dgain = p->grad ? p->grad->norms + (size_t)norm * net->dim : p->dgain;
    float *dbias = p->grad ? norm_bias(p->grad, norm) : NULL;
    if (net->norm == RUVM_NORM_LAYER)
        ruvm_math_layer_norm_backward(p->dh, dgain, p->dx, h, stats, gain, p->n, net->dim);
    else
        ruvm_math_norm_backward(p->dh, dgain, p->dx, h, stats, gain, p->n, net->dim);
    if (dbias)
        ruvm_math_bias_backward(dbias, p->dx, p->n, net->dim);
}

/* Turns the leading pairs of every head by the angle of the position, or back. */
static void rotate(const struct ruvm_pass *p, float *x, uint32_t cols, float direction)
{
    uint32_t head_dim = p->net->head_dim, turned = p->net->rotary_dim;
    for (uint32_t t = 0; t < p->n; t++) {
        const float *turn = p->turns + (size_t)t * turned;
        for (uint32_t head = 0; turned && head < cols; head += head_dim, x += head_dim)
            for (uint32_t i = 0; i < turned; i += 2) {
                float c = turn[i], s = turn[i + 1] * direction;
                float a = x[i], b = x[i + 1];
                x[i] = a * c - b * s;
                x[i + 1] = a * s + b * c;
            }
    }
}

/* ---- forward ---------------------------------------------------------------------- */

static struct ruvm_attend attend_of(const struct ruvm_pass *p, uint32_t layer)
{
    const struct ruvm_network *net = p->net;
    const struct kept *k = &p->layers[layer];
    bool given = net->score_scale > 0;
    return (struct ruvm_attend){.q = k->q,
                                .k = k->k,
                                .v = k->v,
                                .n = p->n,
                                .n_heads = net->n_heads,
                                .n_kv_heads = net->n_kv_heads,
                                .head_dim = net->head_dim,
                                .window = net->windows ? net->windows[layer] : p->n,
                                .scale =
                                    given ? net->score_scale : 1.0f / sqrtf((float)net->head_dim),
                                .work = p->attend_work};
}

/* out = h + what attention makes of it. */
static void attention(struct ruvm_pass *p, uint32_t layer, float *out)
{
    const struct ruvm_network *net = p->net;
    struct kept *k = &p->layers[layer];
    apply_norm(p, 2 * layer, k->attn_x, k->attn_stats, k->h);
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_WQ, layer), k->q, k->attn_x);
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_WK, layer), k->k, k->attn_x);
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_WV, layer), k->v, k->attn_x);
    rotate(p, k->q, p->q_dim, 1.0f);
    rotate(p, k->k, p->kv_dim, 1.0f);
    struct ruvm_attend a = attend_of(p, layer);
    ruvm_attend_forward(k->mixed, &a);
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_WO, layer), out, k->mixed);
    ruvm_math_add(out, k->h, (size_t)p->n * net->dim);
}

/* What the feed-forward's norm sees. */
static const float *ffn_input(const struct ruvm_pass *p, const struct kept *k)
{
    return p->net->parallel ? k->h : k->mid;
}

/* out = mid + what the feed-forward makes of its input. */
static void feed_forward(struct ruvm_pass *p, uint32_t layer, float *out)
{
    const struct ruvm_network *net = p->net;
    struct kept *k = &p->layers[layer];
    size_t n_hidden = (size_t)p->n * net->hidden;
    apply_norm(p, 2 * layer + 1, k->ffn_x, k->ffn_stats, ffn_input(p, k));
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_W_UP, layer), k->up, k->ffn_x);
    if (k->gate) {
        multiply(p, ruvm_network_index(net, RUVM_TENSOR_W_GATE, layer), k->gate, k->ffn_x);
        ruvm_math_swiglu(k->act, k->up, k->gate, n_hidden);
    } else {
        ruvm_math_activate(k->act, k->up, n_hidden, net->act);
    }
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_W_DOWN, layer), out, k->act);
    ruvm_math_add(out, k->mid, (size_t)p->n * net->dim);
}

/* h [n, dim] = rows of the embedding, and of the learned positions. */
static void look_up(const struct ruvm_pass *p, float *h)
{
    const struct ruvm_network *net = p->net;
    for (size_t t = 0; t < p->n; t++)
        memcpy(h + t * net->dim, net->matrices[0].w + (size_t)p->tokens[t] * net->dim,
               net->dim * sizeof *h);
    if (net->pos == RUVM_POS_LEARNED)
        ruvm_math_add(h, net->matrices[ruvm_network_index(net, RUVM_TENSOR_POSITION, 0)].w,
                      (size_t)p->n * net->dim);
}

float *ruvm_pass_forward(struct ruvm_pass *p, const struct ruvm_network *net,
                         const uint32_t *tokens, uint32_t n, const struct ruvm_network_observer *o)
{
    assert(n > 0 && n <= p->max_tokens);
    p->net = net;
    p->o = o;
    p->tokens = tokens;
    p->n = n;
    float *h = net->n_layers > 0 ? p->layers[0].h : p->h;
    look_up(p, h);
    for (uint32_t i = 0; i < net->n_layers; i++) {
        attention(p, i, p->layers[i].mid);
        feed_forward(p, i, i + 1 < net->n_layers ? p->layers[i + 1].h : p->h);
    }
    apply_norm(p, 2 * net->n_layers, p->x, p->stats, p->h);
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_HEAD, 0), p->logits, p->x);
    return p->logits;
}

const float *ruvm_pass_hidden(const struct ruvm_pass *p)
{
    return p->x;
}

float *ruvm_pass_head(struct ruvm_pass *p, const struct ruvm_network *net, const float *hidden,
                      uint32_t n)
{
    p->net = net;
    p->o = NULL;
    p->n = n;
    multiply(p, ruvm_network_index(net, RUVM_TENSOR_HEAD, 0), p->logits, hidden);
    return p->logits;
}

/* ---- backward ---------------------------------------------------------------------- */

static void feed_forward_back(struct ruvm_pass *p, uint32_t layer)
{
    const struct ruvm_network *net = p->net;
    struct kept *k = &p->layers[layer];
    size_t n_hidden = (size_t)p->n * net->hidden;
    uint32_t up = ruvm_network_index(net, RUVM_TENSOR_W_UP, layer);
    multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_W_DOWN, layer), p->dact, p->dh, k->act,
                  false);
    if (k->gate)
        ruvm_math_swiglu_backward(k->up, k->gate, p->dact, n_hidden);
    else
        ruvm_math_activate_backward(k->up, p->dact, n_hidden, net->act);
    multiply_back(p, up, p->dx, k->up, k->ffn_x, false);
    if (k->gate)
        multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_W_GATE, layer), p->dx, k->gate,
                      k->ffn_x, true);
    norm_back(p, 2 * layer + 1, ffn_input(p, k), k->ffn_stats);
}

/* dout: the derivative by the stream behind attention. */
static void attention_back(struct ruvm_pass *p, uint32_t layer, const float *dout)
{
    const struct ruvm_network *net = p->net;
    struct kept *k = &p->layers[layer];
    struct ruvm_attend a = attend_of(p, layer);
    multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_WO, layer), p->dmixed, dout, k->mixed,
                  false);
    ruvm_attend_backward(p->dq, p->dk, p->dv, p->dmixed, &a);
    rotate(p, p->dq, p->q_dim, -1.0f);
    rotate(p, p->dk, p->kv_dim, -1.0f);
    multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_WQ, layer), p->dx, p->dq, k->attn_x,
                  false);
    multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_WK, layer), p->dx, p->dk, k->attn_x, true);
    multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_WV, layer), p->dx, p->dv, k->attn_x, true);
    norm_back(p, 2 * layer, k->h, k->attn_stats);
}

static void layer_back(struct ruvm_pass *p, uint32_t layer)
{
    if (p->dlayer)
        memcpy(p->dlayer, p->dh, (size_t)p->n * p->net->dim * sizeof *p->dh);
    feed_forward_back(p, layer);
    attention_back(p, layer, p->dlayer ? p->dlayer : p->dh);
}

/* The rows that were looked up get dh. */
static void look_up_back(struct ruvm_pass *p)
{
    const struct ruvm_network *net = p->net;
    bool learned = net->pos == RUVM_POS_LEARNED;
    uint32_t positions = ruvm_network_index(net, RUVM_TENSOR_POSITION, 0);
    if (p->o && p->o->backward)
        p->o->backward(p->o->user, 0, NULL, p->dh, p->n);
    if (p->o && p->o->backward && learned)
        p->o->backward(p->o->user, positions, NULL, p->dh, p->n);
    if (!p->grad)
        return;
    for (size_t t = 0; t < p->n; t++) {
        float *row = p->grad->matrices[0].w + (size_t)p->tokens[t] * net->dim;
        for (uint32_t i = 0; i < net->dim; i++)
            row[i] += p->dh[t * net->dim + i];
    }
    if (learned)
        ruvm_math_add(p->grad->matrices[positions].w, p->dh, (size_t)p->n * net->dim);
}

void ruvm_pass_backward(struct ruvm_pass *p, const struct ruvm_network *net,
                        struct ruvm_network *grad, const struct ruvm_network_observer *o)
{
    assert(p->net == net);
    p->grad = grad;
    p->o = o;
    multiply_back(p, ruvm_network_index(net, RUVM_TENSOR_HEAD, 0), p->dx, p->logits, p->x, false);
    memset(p->dh, 0, (size_t)p->n * net->dim * sizeof *p->dh);
    norm_back(p, 2 * net->n_layers, p->h, p->stats);
    for (uint32_t i = net->n_layers; i-- > 0;)
        layer_back(p, i);
    look_up_back(p);
}
