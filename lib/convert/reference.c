/* A plain Llama in floats: the oracle of every loss we print.
 *
 * It gives the same bits on every IEEE machine and compiler: each sum has one fixed
 * order, exp is ours, nothing is contracted or reassociated. (RoPE's sine and cosine
 * are the C library's in double, once at open, rounded to float.)
 *
 * One shape makes it fast without losing that: a matrix is stored in tiles of
 * LANES rows, column by column, so that a compiler can keep LANES sums side by
 * side while each of them still runs plainly from the first column to the last. The
 * KV cache has the same shape: scores are a matrix (positions x head_dim) times the
 * query, the mix of values a matrix (head_dim x positions) times the weights.
 * Vectors have room up to a multiple of LANES; what lies beyond their end is never
 * read as a value.
 */
#include "lib/convert/reference.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h" /* enum ruvm_tensor_kind */

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

enum { LANES = 16 };

struct matrix {
    float *tiles; /* [rows / LANES rounded up, cols, LANES] */
    uint32_t rows, cols;
    bool signs; /* of its input only the signs are multiplied, times their mean size */
};

struct weights {
    float *attn_norm, *ffn_norm; /* [dim] */
    struct matrix wq, wk, wv, wo, w_up, w_gate, w_down;
};

struct ruvm_reference {
    struct ruvm_model m;
    struct ruvm_observer observer;
    uint32_t context, position;
    uint32_t q_dim, kv_dim;
    struct matrix embed, head;
    float *final_norm;
    struct weights *layers;          /* [n_layers] */
    float *turns;                    /* [context, head_dim]: cosine and sine of each pair */
    float *keys;                     /* [n_layers, n_kv_heads] matrices of context x head_dim */
    float *values;                   /* [n_layers, n_kv_heads] matrices of head_dim x context */
    size_t key_floats, value_floats; /* in one of these matrices */
    float *h, *x, *q, *k, *v, *mixed, *up, *gate, *scores, *logits;
    float *signs; /* [widest input] */
};

/* ---- arithmetic ---------------------------------------------------------- */

static size_t padded(size_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* Four floats added and multiplied together: gcc and clang have them on every machine,
 * and left to itself gcc interleaves the columns instead. */
struct four {
    float __attribute__((vector_size(16))) f;
};

static struct four load(const float *p)
{
    struct four v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* LANES sums over the columns of one tile. */
static void tile_times(float *out, const float *tile, const float *x, uint32_t cols)
{
    struct four a = {{0}}, b = a, c = a, d = a;
    for (uint32_t i = 0; i < cols; i++, tile += LANES) {
        a.f += load(tile).f * x[i];
        b.f += load(tile + 4).f * x[i];
        c.f += load(tile + 8).f * x[i];
        d.f += load(tile + 12).f * x[i];
    }
    memcpy(out, &a, sizeof a);
    memcpy(out + 4, &b, sizeof b);
    memcpy(out + 8, &c, sizeof c);
    memcpy(out + 12, &d, sizeof d);
}

static void multiply(float *out, const struct matrix *w, const float *x)
{
    for (uint32_t r = 0; r < w->rows; r += LANES)
        tile_times(out + r, w->tiles + (size_t)r * w->cols, x, w->cols);
}

static float sum_lanes(const float *lanes)
{
    float sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

static float sum_of(const float *x, size_t n)
{
    float lanes[LANES] = {0};
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += x[i + l];
    for (size_t i = whole; i < n; i++)
        lanes[i - whole] += x[i];
    return sum_lanes(lanes);
}

/* e^x to 1e-7: x = n ln 2 + r with |r| <= ln 2 / 2, the series of e^r to r^7, times 2^n.
 * Adding 1.5 * 2^23 rounds to a whole number. The first part of ln 2 has 9 bits, so
 * that n times it is exact. Outside +-87 the result stays at the value there. */
static float exp_f32(float x)
{
    const float rounder = 12582912.0f, log2_e = 1.44269504f;
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    x = x > -87.0f ? x : -87.0f;
    x = x < 87.0f ? x : 87.0f;
    float n = (x * log2_e + rounder) - rounder;
    float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static void rms_norm(float *out, const float *h, const float *gain, size_t n, float eps)
{
    for (size_t i = 0; i < n; i++)
        out[i] = h[i] * h[i];
    float scale = 1.0f / sqrtf(sum_of(out, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        out[i] = gain[i] * (scale * h[i]);
}

/* Softmax of s * scale, in place. */
static void softmax(float *s, size_t n, float scale)
{
    float max = s[0];
    for (size_t i = 1; i < n; i++)
        max = s[i] > max ? s[i] : max;
    for (size_t i = 0; i < n; i++)
        s[i] = exp_f32((s[i] - max) * scale);
    float share = 1.0f / sum_of(s, n);
    for (size_t i = 0; i < n; i++)
        s[i] *= share;
}

static void add_to(float *h, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h[i] += x[i];
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* ---- open ---------------------------------------------------------------- */

static float *floats(struct ruvm_arena *arena, size_t n)
{
    return ruvm_arena_alloc(arena, padded(n), sizeof(float));
}

/* Where element (row, col) of a tiled matrix of that many columns stands. */
static size_t tiled(size_t row, size_t col, size_t cols)
{
    return (row / LANES * cols + col) * LANES + row % LANES;
}

/* Tiles of a stored matrix; row is room for one of its rows. */
static bool expand(struct matrix *w, struct ruvm_arena *arena, const struct ruvm_view *v,
                   float *row)
{
    w->rows = (uint32_t)v->dims[0];
    w->cols = (uint32_t)v->dims[1];
    w->signs = v->signs;
    w->tiles = ruvm_arena_alloc(arena, padded(w->rows), w->cols * sizeof(float));
    for (uint32_t r = 0; w->tiles && r < w->rows; r++) {
        ruvm_view_row(v, r, row);
        for (uint32_t c = 0; c < w->cols; c++)
            w->tiles[tiled(r, c, w->cols)] = row[c];
    }
    return w->tiles != NULL;
}

static float *expand_vector(struct ruvm_arena *arena, const struct ruvm_view *v)
{
    float *x = floats(arena, v->dims[0]);
    if (x)
        ruvm_view_row(v, 0, x);
    return x;
}

static bool open_layer(struct weights *w, struct ruvm_arena *arena, const struct ruvm_layer *l,
                       float *row)
{
    w->attn_norm = expand_vector(arena, l->attn_norm);
    w->ffn_norm = expand_vector(arena, l->ffn_norm);
    return w->attn_norm && w->ffn_norm && expand(&w->wq, arena, l->wq, row) &&
           expand(&w->wk, arena, l->wk, row) && expand(&w->wv, arena, l->wv, row) &&
           expand(&w->wo, arena, l->wo, row) && expand(&w->w_up, arena, l->w_up, row) &&
           expand(&w->w_gate, arena, l->w_gate, row) && expand(&w->w_down, arena, l->w_down, row);
}

static bool open_weights(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    const struct ruvm_model *m = &r->m;
    float *row = floats(arena, max_u32(max_u32(m->dim, m->hidden), r->q_dim));
    r->layers = ruvm_arena_alloc(arena, m->n_layers, sizeof *r->layers);
    r->final_norm = expand_vector(arena, m->final_norm);
    if (!row || !r->layers || !r->final_norm || !expand(&r->embed, arena, m->embed, row))
        return false;
    r->head = r->embed;
    if (!m->tied && !expand(&r->head, arena, m->head, row))
        return false;
    for (uint32_t i = 0; i < m->n_layers; i++)
        if (!open_layer(&r->layers[i], arena, &m->layers[i], row))
            return false;
    return true;
}

static bool open_turns(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    uint32_t head_dim = r->m.head_dim;
    r->turns = ruvm_arena_alloc(arena, r->context, head_dim * sizeof(float));
    for (uint32_t i = 0; r->turns && i < head_dim; i += 2) {
        double step = pow((double)r->m.rope_theta, -(double)i / head_dim);
        for (uint32_t p = 0; p < r->context; p++) {
            float *turn = r->turns + (size_t)p * head_dim + i;
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
    r->key_floats = padded(r->context) * m->head_dim;
    r->value_floats = padded(m->head_dim) * r->context;
    r->keys = ruvm_arena_alloc(arena, n_caches, r->key_floats * sizeof(float));
    r->values = ruvm_arena_alloc(arena, n_caches, r->value_floats * sizeof(float));
    r->h = floats(arena, m->dim);
    r->x = floats(arena, m->dim);
    r->q = floats(arena, r->q_dim);
    r->k = floats(arena, r->kv_dim);
    r->v = floats(arena, r->kv_dim);
    r->mixed = floats(arena, r->q_dim + LANES); /* heads are mixed in whole tiles */
    r->up = floats(arena, m->hidden);
    r->gate = floats(arena, m->hidden);
    r->scores = floats(arena, r->context);
    r->logits = floats(arena, m->vocab);
    r->signs = floats(arena, max_u32(max_u32(m->dim, m->hidden), r->q_dim));
    return r->keys && r->values && r->h && r->x && r->q && r->k && r->v && r->mixed && r->up &&
           r->gate && r->scores && r->logits && r->signs;
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

/* x [n] reduced to its signs times the mean of their sizes (arXiv 1603.05279). */
static void keep_signs(float *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] < 0 ? -x[i] : x[i];
    float mean = sum_of(out, n) / (float)n;
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] < 0 ? -mean : mean;
}

/* A matrix of the model times its input. */
static void apply(struct ruvm_reference *r, float *out, const struct matrix *w, const float *x)
{
    if (w->signs)
        keep_signs(r->signs, x, w->cols);
    multiply(out, w, w->signs ? r->signs : x);
}

/* Turns each pair (2i, 2i+1) of every head by the angle of the position. */
static void rotate(const struct ruvm_reference *r, float *x, uint32_t n)
{
    const float *turn = r->turns + (size_t)r->position * r->m.head_dim;
    for (uint32_t i = 0; i < n; i += 2) {
        uint32_t pair = i % r->m.head_dim;
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
        r->keys[cache * r->key_floats + tiled(r->position, i % head_dim, head_dim)] = r->k[i];
        r->values[cache * r->value_floats + tiled(i % head_dim, r->position, r->context)] = r->v[i];
    }
}

/* One query head over all positions so far. The tiles of values are r->context columns
 * apart, of which the first n are filled. */
static void attend(struct ruvm_reference *r, uint32_t layer, uint32_t head)
{
    uint32_t head_dim = r->m.head_dim, n = r->position + 1;
    uint32_t kv_head = head / (r->m.n_heads / r->m.n_kv_heads);
    size_t cache = (size_t)layer * r->m.n_kv_heads + kv_head;
    struct matrix keys = {r->keys + cache * r->key_floats, n, head_dim, false};
    const float *values = r->values + cache * r->value_floats;
    multiply(r->scores, &keys, r->q + (size_t)head * head_dim);
    softmax(r->scores, n, 1.0f / sqrtf((float)head_dim));
    for (uint32_t d = 0; d < head_dim; d += LANES)
        tile_times(r->mixed + (size_t)head * head_dim + d, values + (size_t)d * r->context,
                   r->scores, n);
}

static void observe_input(const struct ruvm_reference *r, int kind, uint32_t layer, const float *x)
{
    if (r->observer.input)
        r->observer.input(r->observer.user, kind, layer, x);
}

static void add_attention(struct ruvm_reference *r, uint32_t layer)
{
    const struct weights *w = &r->layers[layer];
    rms_norm(r->x, r->h, w->attn_norm, r->m.dim, r->m.norm_eps);
    observe_input(r, RUVM_TENSOR_WQ, layer, r->x);
    apply(r, r->q, &w->wq, r->x);
    apply(r, r->k, &w->wk, r->x);
    apply(r, r->v, &w->wv, r->x);
    rotate(r, r->q, r->q_dim);
    rotate(r, r->k, r->kv_dim);
    if (r->observer.kv)
        r->observer.kv(r->observer.user, layer, r->k, r->v);
    remember(r, layer);
    for (uint32_t head = 0; head < r->m.n_heads; head++)
        attend(r, layer, head);
    observe_input(r, RUVM_TENSOR_WO, layer, r->mixed);
    apply(r, r->x, &w->wo, r->mixed);
    add_to(r->h, r->x, r->m.dim);
}

static void add_feed_forward(struct ruvm_reference *r, uint32_t layer)
{
    const struct weights *w = &r->layers[layer];
    rms_norm(r->x, r->h, w->ffn_norm, r->m.dim, r->m.norm_eps);
    observe_input(r, RUVM_TENSOR_W_UP, layer, r->x);
    apply(r, r->up, &w->w_up, r->x);
    apply(r, r->gate, &w->w_gate, r->x);
    for (uint32_t i = 0; i < r->m.hidden; i++)
        r->up[i] *= r->gate[i] / (1.0f + exp_f32(-r->gate[i]));
    observe_input(r, RUVM_TENSOR_W_DOWN, layer, r->up);
    apply(r, r->x, &w->w_down, r->up);
    add_to(r->h, r->x, r->m.dim);
}

static void observe_residual(const struct ruvm_reference *r)
{
    if (r->observer.residual)
        r->observer.residual(r->observer.user, r->h);
}

const float *ruvm_reference_step(struct ruvm_reference *r, uint16_t token)
{
    assert(r->position < r->context && token < r->m.vocab);
    for (uint32_t i = 0; i < r->m.dim; i++)
        r->h[i] = r->embed.tiles[tiled(token, i, r->m.dim)];
    observe_residual(r);
    for (uint32_t layer = 0; layer < r->m.n_layers; layer++) {
        add_attention(r, layer);
        observe_residual(r);
        add_feed_forward(r, layer);
        observe_residual(r);
    }
    rms_norm(r->x, r->h, r->final_norm, r->m.dim, r->m.norm_eps);
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
