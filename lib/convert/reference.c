/* A plain decoder in floats: the oracle of every loss we print.
 *
 * It gives the same bits on every IEEE machine and compiler: floats.c computes in one fixed
 * order. (RoPE's sine and cosine are the C library's in double, once at open, rounded to
 * float.)
 *
 * The KV cache has the shape of the matrices: scores are a matrix (positions x head_dim)
 * times the query, the mix of values a matrix (head_dim x positions) times the weights. A
 * window leaves out the positions before it.
 */
#include "lib/convert/reference.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "lib/convert/floats.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

enum { LANES = RUVM_FLOATS_LANES };

struct linear {
    struct ruvm_floats_matrix w;
    float *bias; /* [rows] or NULL */
};

struct norm {
    float *gain, *bias; /* [dim]; bias may be NULL */
};

struct weights {
    struct norm attn_norm, ffn_norm;
    struct linear wq, wk, wv, wo, w_up, w_gate, w_down;
};

struct ruvm_reference {
    struct ruvm_model m;
    struct ruvm_observer observer;
    uint32_t context, position;
    uint32_t q_dim, kv_dim;
    struct linear embed, head;
    float *positions; /* [context, dim] or NULL */
    struct norm final_norm;
    struct weights *layers;          /* [n_layers] */
    float *turns;                    /* [context, rotary_dim]: cosine and sine of each pair */
    float *keys;                     /* [n_layers, n_kv_heads] matrices of context x head_dim */
    float *values;                   /* [n_layers, n_kv_heads] matrices of head_dim x context */
    size_t key_floats, value_floats; /* in one of these matrices */
    float *h, *x, *y, *q, *k, *v, *mixed, *up, *gate, *scores, *logits;
    float *signs; /* [widest input] */
};

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* ---- open ---------------------------------------------------------------- */

static float *floats(struct ruvm_arena *arena, size_t n)
{
    return ruvm_arena_alloc(arena, ruvm_floats_padded(n), sizeof(float));
}

/* Tiles of a stored matrix; row is room for one of its rows. */
static bool expand(struct ruvm_floats_matrix *w, struct ruvm_arena *arena,
                   const struct ruvm_view *v, float *row)
{
    w->rows = (uint32_t)v->dims[0];
    w->cols = (uint32_t)v->dims[1];
    w->signs = v->signs;
    w->tiles = ruvm_arena_alloc(arena, ruvm_floats_padded(w->rows), w->cols * sizeof(float));
    for (uint32_t r = 0; w->tiles && r < w->rows; r++) {
        ruvm_view_row(v, r, row);
        for (uint32_t c = 0; c < w->cols; c++)
            w->tiles[ruvm_floats_tiled(r, c, w->cols)] = row[c];
    }
    return w->tiles != NULL;
}

/* *x becomes the vector's values; NULL when there is none. false: memory is short. */
static bool expand_vector(float **x, struct ruvm_arena *arena, const struct ruvm_view *v)
{
    *x = v ? floats(arena, v->dims[0]) : NULL;
    if (*x)
        ruvm_view_row(v, 0, *x);
    return !v || *x;
}

static bool open_linear(struct linear *l, struct ruvm_arena *arena, const struct ruvm_view *w,
                        const struct ruvm_view *bias, float *row)
{
    return !w || (expand(&l->w, arena, w, row) && expand_vector(&l->bias, arena, bias));
}

static bool open_norm(struct norm *n, struct ruvm_arena *arena, const struct ruvm_view *gain,
                      const struct ruvm_view *bias)
{
    return expand_vector(&n->gain, arena, gain) && expand_vector(&n->bias, arena, bias);
}

static bool open_layer(struct weights *w, struct ruvm_arena *arena, const struct ruvm_layer *l,
                       float *row)
{
    const struct ruvm_view *const *bias = l->bias;
    return open_norm(&w->attn_norm, arena, l->attn_norm, bias[RUVM_BIAS_ATTN_NORM]) &&
           open_norm(&w->ffn_norm, arena, l->ffn_norm, bias[RUVM_BIAS_FFN_NORM]) &&
           open_linear(&w->wq, arena, l->wq, bias[RUVM_BIAS_WQ], row) &&
           open_linear(&w->wk, arena, l->wk, bias[RUVM_BIAS_WK], row) &&
           open_linear(&w->wv, arena, l->wv, bias[RUVM_BIAS_WV], row) &&
           open_linear(&w->wo, arena, l->wo, bias[RUVM_BIAS_WO], row) &&
           open_linear(&w->w_up, arena, l->w_up, bias[RUVM_BIAS_W_UP], row) &&
           open_linear(&w->w_gate, arena, l->w_gate, bias[RUVM_BIAS_W_GATE], row) &&
           open_linear(&w->w_down, arena, l->w_down, bias[RUVM_BIAS_W_DOWN], row);
}

static bool open_positions(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    const struct ruvm_model *m = &r->m;
    if (m->pos != RUVM_POS_LEARNED)
        return true;
    r->positions = ruvm_arena_alloc(arena, r->context, m->dim * sizeof(float));
    for (uint32_t p = 0; r->positions && p < r->context; p++)
        ruvm_view_row(&m->positions, p, r->positions + (size_t)p * m->dim);
    return r->positions != NULL;
}

static bool open_weights(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    const struct ruvm_model *m = &r->m;
    float *row = floats(arena, max_u32(max_u32(m->dim, m->hidden), r->q_dim));
    r->layers = ruvm_arena_alloc(arena, m->n_layers, sizeof *r->layers);
    if (!row || !r->layers || !open_norm(&r->final_norm, arena, m->final_norm, m->final_bias) ||
        !open_linear(&r->embed, arena, m->embed, NULL, row) || !open_positions(r, arena))
        return false;
    r->head = r->embed;
    if (!m->tied && !open_linear(&r->head, arena, m->head, NULL, row))
        return false;
    for (uint32_t i = 0; i < m->n_layers; i++)
        if (!open_layer(&r->layers[i], arena, &m->layers[i], row))
            return false;
    return true;
}

static bool open_turns(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    uint32_t n = r->m.rotary_dim;
    if (n == 0)
        return true;
    r->turns = ruvm_arena_alloc(arena, r->context, n * sizeof(float));
    for (uint32_t i = 0; r->turns && i < n / 2; i++) {
        double step = ruvm_model_turn(&r->m, i);
        for (uint32_t p = 0; p < r->context; p++) {
            float *turn = r->turns + (size_t)p * n + 2 * (size_t)i;
            turn[0] = (float)cos(p * step);
            turn[1] = (float)sin(p * step);
        }
    }
    return r->turns != NULL;
}

static bool open_state(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    const struct ruvm_model *m = &r->m;
    size_t n_caches = (size_t)m->n_layers * m->n_kv_heads;
    r->key_floats = ruvm_floats_padded(r->context) * m->head_dim;
    r->value_floats = ruvm_floats_padded(m->head_dim) * r->context;
    r->keys = ruvm_arena_alloc(arena, n_caches, r->key_floats * sizeof(float));
    r->values = ruvm_arena_alloc(arena, n_caches, r->value_floats * sizeof(float));
    r->h = floats(arena, m->dim);
    r->x = floats(arena, m->dim);
    r->y = floats(arena, m->dim);
    r->q = floats(arena, r->q_dim);
    r->k = floats(arena, r->kv_dim);
    r->v = floats(arena, r->kv_dim);
    r->mixed = floats(arena, r->q_dim + LANES); /* heads are mixed in whole tiles */
    r->up = floats(arena, m->hidden);
    r->gate = floats(arena, m->hidden);
    r->scores = floats(arena, r->context);
    r->logits = floats(arena, m->vocab);
    r->signs = floats(arena, max_u32(max_u32(m->dim, m->hidden), r->q_dim));
    return r->keys && r->values && r->h && r->x && r->y && r->q && r->k && r->v && r->mixed &&
           r->up && r->gate && r->scores && r->logits && r->signs;
}

int ruvm_reference_open(struct ruvm_reference **reference, struct ruvm_arena *arena,
                        const struct ruvm_model *m, uint32_t context, struct ruvm_error *err)
{
    assert(context > 0);
    struct ruvm_reference *r = ruvm_arena_alloc(arena, 1, sizeof *r);
    if (!r)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the float model");
    r->m = *m;
    r->context = context;
    r->q_dim = m->n_heads * m->head_dim;
    r->kv_dim = m->n_kv_heads * m->head_dim;
    if (!open_weights(r, arena) || !open_turns(r, arena) || !open_state(r, arena))
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "no memory for the float model: it takes 4 bytes a weight, and %u bytes "
                         "a position",
                         m->n_layers * r->kv_dim * 8);
    *reference = r;
    return RUVM_OK;
}

/* ---- one step ------------------------------------------------------------ */

/* A matrix of the model times its input, and its bias. */
static void apply(struct ruvm_reference *r, float *out, const struct linear *l, const float *x)
{
    if (l->w.signs)
        ruvm_floats_signs(r->signs, x, l->w.cols);
    ruvm_floats_multiply(out, &l->w, l->w.signs ? r->signs : x);
    if (l->bias)
        ruvm_floats_add(out, l->bias, l->w.rows);
}

static void apply_norm(const struct ruvm_reference *r, float *out, const struct norm *n)
{
    if (r->m.norm == RUVM_NORM_LAYER)
        ruvm_floats_layer_norm(out, r->h, n->gain, n->bias, r->m.dim, r->m.norm_eps);
    else
        ruvm_floats_rms_norm(out, r->h, n->gain, r->m.dim, r->m.norm_eps);
    if (r->m.norm != RUVM_NORM_LAYER && n->bias)
        ruvm_floats_add(out, n->bias, r->m.dim);
}

/* Turns each pair (2i, 2i+1) of every head's leading values by the angle of the position. */
static void rotate(const struct ruvm_reference *r, float *x, uint32_t n)
{
    const float *turn = r->turns + (size_t)r->position * r->m.rotary_dim;
    for (uint32_t i = 0; i < n; i += 2) {
        uint32_t pair = i % r->m.head_dim;
        if (pair >= r->m.rotary_dim)
            continue;
        float a = x[i], b = x[i + 1];
        x[i] = a * turn[pair] - b * turn[pair + 1];
        x[i + 1] = a * turn[pair + 1] + b * turn[pair];
    }
}

static void remember(struct ruvm_reference *r, uint32_t layer)
{
    uint32_t head_dim = r->m.head_dim;
    for (uint32_t i = 0; i < r->kv_dim; i++) {
        size_t cache = (size_t)layer * r->m.n_kv_heads + i / head_dim;
        float *keys = r->keys + cache * r->key_floats;
        float *values = r->values + cache * r->value_floats;
        keys[ruvm_floats_tiled(r->position, i % head_dim, head_dim)] = r->k[i];
        values[ruvm_floats_tiled(i % head_dim, r->position, r->context)] = r->v[i];
    }
}

/* One query head over the positions it sees: first .. n. Scores begin with a whole tile of
 * keys; the tiles of values are r->context columns apart, of which the first n are filled. */
static void attend(struct ruvm_reference *r, uint32_t layer, uint32_t head)
{
    uint32_t head_dim = r->m.head_dim, n = r->position + 1;
    uint32_t window = ruvm_model_window(&r->m, layer);
    uint32_t first = n > window ? n - window : 0, tile = first / LANES * LANES;
    uint32_t kv_head = head / (r->m.n_heads / r->m.n_kv_heads);
    size_t cache = (size_t)layer * r->m.n_kv_heads + kv_head;
    const float *values = r->values + cache * r->value_floats + (size_t)first * LANES;
    struct ruvm_floats_matrix keys = {r->keys + cache * r->key_floats + (size_t)tile * head_dim,
                                      n - tile, head_dim, false};
    ruvm_floats_multiply(r->scores + tile, &keys, r->q + (size_t)head * head_dim);
    ruvm_floats_softmax(r->scores + first, n - first, ruvm_model_score_scale(&r->m));
    for (uint32_t d = 0; d < head_dim; d += LANES)
        ruvm_floats_tile(r->mixed + (size_t)head * head_dim + d, values + (size_t)d * r->context,
                         r->scores + first, n - first);
}

static void observe_input(const struct ruvm_reference *r, int kind, uint32_t layer, const float *x)
{
    if (r->observer.input)
        r->observer.input(r->observer.user, kind, layer, x);
}

static void observe_residual(const struct ruvm_reference *r)
{
    if (r->observer.residual)
        r->observer.residual(r->observer.user, r->h);
}

static void add_attention(struct ruvm_reference *r, uint32_t layer)
{
    const struct weights *w = &r->layers[layer];
    apply_norm(r, r->x, &w->attn_norm);
    observe_input(r, RUVM_TENSOR_WQ, layer, r->x);
    apply(r, r->q, &w->wq, r->x);
    apply(r, r->k, &w->wk, r->x);
    apply(r, r->v, &w->wv, r->x);
    if (r->m.rotary_dim) {
        rotate(r, r->q, r->q_dim);
        rotate(r, r->k, r->kv_dim);
    }
    if (r->observer.kv)
        r->observer.kv(r->observer.user, layer, r->k, r->v);
    remember(r, layer);
    for (uint32_t head = 0; head < r->m.n_heads; head++)
        attend(r, layer, head);
    observe_input(r, RUVM_TENSOR_WO, layer, r->mixed);
    apply(r, r->x, &w->wo, r->mixed);
    ruvm_floats_add(r->h, r->x, r->m.dim);
    observe_residual(r);
}

/* Of the normed residual in r->y. */
static void add_feed_forward(struct ruvm_reference *r, uint32_t layer)
{
    const struct weights *w = &r->layers[layer];
    observe_input(r, RUVM_TENSOR_W_UP, layer, r->y);
    apply(r, r->up, &w->w_up, r->y);
    if (r->m.act == RUVM_ACT_SILU_GATED) {
        apply(r, r->gate, &w->w_gate, r->y);
        ruvm_floats_gate(r->up, r->gate, r->m.hidden);
    } else {
        ruvm_floats_activate(r->up, r->m.hidden, r->m.act);
    }
    observe_input(r, RUVM_TENSOR_W_DOWN, layer, r->up);
    apply(r, r->x, &w->w_down, r->up);
    ruvm_floats_add(r->h, r->x, r->m.dim);
    observe_residual(r);
}

static void add_layer(struct ruvm_reference *r, uint32_t layer)
{
    const struct norm *ffn_norm = &r->layers[layer].ffn_norm;
    if (r->m.parallel)
        apply_norm(r, r->y, ffn_norm);
    add_attention(r, layer);
    if (!r->m.parallel)
        apply_norm(r, r->y, ffn_norm);
    add_feed_forward(r, layer);
}

const float *ruvm_reference_step(struct ruvm_reference *r, uint32_t token)
{
    assert(r->position < r->context && token < r->m.vocab);
    for (uint32_t i = 0; i < r->m.dim; i++)
        r->h[i] = r->embed.w.tiles[ruvm_floats_tiled(token, i, r->m.dim)];
    if (r->positions)
        ruvm_floats_add(r->h, r->positions + (size_t)r->position * r->m.dim, r->m.dim);
    observe_residual(r);
    for (uint32_t layer = 0; layer < r->m.n_layers; layer++)
        add_layer(r, layer);
    apply_norm(r, r->x, &r->final_norm);
    observe_input(r, RUVM_TENSOR_HEAD, 0, r->x);
    apply(r, r->logits, &r->head, r->x);
    r->position++;
    return r->logits;
}

void ruvm_reference_observe(struct ruvm_reference *r, const struct ruvm_observer *o)
{
    r->observer = *o;
}

void ruvm_reference_reset(struct ruvm_reference *r)
{
    r->position = 0;
}

uint32_t ruvm_reference_position(const struct ruvm_reference *r)
{
    return r->position;
}
