/* One pass of the float model over a block of tokens: a layer at a time.
 *
 * Tokens of a block share the weights that are read; each of them has its own sums. A window
 * leaves out the positions before it.
 */
#include <string.h>

#include "lib/convert/reference_state.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

enum { LANES = RUVM_FLOATS_LANES };

static float *vector(struct ruvm_floats_vectors v, uint32_t i)
{
    return v.x + i * v.step;
}

static void apply(struct ruvm_reference *r, struct ruvm_floats_vectors out,
                  const struct ruvm_linear *l, struct ruvm_floats_vectors x)
{
    x.n = r->n;
    ruvm_linear_apply(l, &r->work, out, x);
}

static void norm_one(const struct ruvm_reference *r, float *out, const float *h,
                     const struct ruvm_reference_norm *n)
{
    if (r->m.norm == RUVM_NORM_LAYER)
        ruvm_floats_layer_norm(out, h, n->gain, n->bias, r->m.dim, r->m.norm_eps);
    else
        ruvm_floats_rms_norm(out, h, n->gain, r->m.dim, r->m.norm_eps);
    if (r->m.norm != RUVM_NORM_LAYER && n->bias)
        ruvm_floats_add(out, n->bias, r->m.dim);
}

static void apply_norm(const struct ruvm_reference *r, struct ruvm_floats_vectors out,
                       const struct ruvm_reference_norm *n)
{
    for (uint32_t i = 0; i < r->n; i++)
        norm_one(r, vector(out, i), vector(r->h, i), n);
}

/* ---- what an observer sees ------------------------------------------------ */

static void observe_input(const struct ruvm_reference *r, int kind, uint32_t layer,
                          struct ruvm_floats_vectors x)
{
    for (uint32_t i = 0; r->observer.input && i < r->n; i++)
        r->observer.input(r->observer.user, kind, layer, vector(x, i));
}

static void observe_residual(const struct ruvm_reference *r)
{
    for (uint32_t i = 0; r->observer.residual && i < r->n; i++)
        r->observer.residual(r->observer.user, vector(r->h, i));
}

static void add_to_residual(struct ruvm_reference *r, struct ruvm_floats_vectors x)
{
    for (uint32_t i = 0; i < r->n; i++)
        ruvm_floats_add(vector(r->h, i), vector(x, i), r->m.dim);
    observe_residual(r);
}

/* ---- attention ------------------------------------------------------------ */

/* Turns each pair (2i, 2i+1) of every head's leading values by the angle of the position. */
static void rotate(const struct ruvm_reference *r, float *x, uint32_t n, uint32_t position)
{
    const float *turn = r->turns + (size_t)position * r->m.rotary_dim;
    for (uint32_t i = 0; i < n; i += 2) {
        uint32_t pair = i % r->m.head_dim;
        if (pair >= r->m.rotary_dim)
            continue;
        float a = x[i], b = x[i + 1];
        x[i] = a * turn[pair] - b * turn[pair + 1];
        x[i + 1] = a * turn[pair + 1] + b * turn[pair];
    }
}

static float *keys_of(const struct ruvm_reference *r, const struct ruvm_reference_item *item,
                      uint32_t head)
{
    return item->cache.keys + head * ruvm_floats_padded(item->cache.context) * r->m.head_dim;
}

static float *values_of(const struct ruvm_reference *r, const struct ruvm_reference_item *item,
                        uint32_t head)
{
    return item->cache.values + head * ruvm_floats_padded(r->m.head_dim) * item->cache.context;
}

static void remember(struct ruvm_reference *r, const struct ruvm_reference_item *item,
                     const float *k, const float *v)
{
    uint32_t head_dim = r->m.head_dim;
    for (uint32_t i = 0; i < r->kv_dim; i++) {
        float *keys = keys_of(r, item, i / head_dim), *values = values_of(r, item, i / head_dim);
        keys[ruvm_floats_tiled(item->position, i % head_dim, head_dim)] = k[i];
        values[ruvm_floats_tiled(i % head_dim, item->position, item->cache.context)] = v[i];
    }
}

/* One query head over the positions it sees: first .. n. Scores begin with a whole tile of
 * keys; the tiles of values are the cache's context apart, of which the first n are filled. */
static void attend(struct ruvm_reference *r, uint32_t layer, uint32_t head, uint32_t i)
{
    const struct ruvm_reference_item *item = &r->items[i];
    uint32_t head_dim = r->m.head_dim, n = item->position + 1;
    uint32_t window = ruvm_model_window(&r->m, layer);
    uint32_t first = n > window ? n - window : 0, tile = first / LANES * LANES;
    uint32_t kv_head = head / (r->m.n_heads / r->m.n_kv_heads);
    const float *values = values_of(r, item, kv_head) + (size_t)first * LANES;
    const float *q = vector(r->q, i) + (size_t)head * head_dim;
    float *mixed = vector(r->mixed, i) + (size_t)head * head_dim;
    struct ruvm_floats_matrix keys = {keys_of(r, item, kv_head) + (size_t)tile * head_dim, n - tile,
                                      head_dim, false};
    ruvm_floats_multiply(r->scores + tile, &keys, q);
    ruvm_floats_softmax(r->scores + first, n - first, ruvm_model_score_scale(&r->m));
    for (uint32_t d = 0; d < head_dim; d += LANES)
        ruvm_floats_tile(mixed + d, values + (size_t)d * item->cache.context, r->scores + first,
                         n - first);
}

/* Tokens of one sequence follow each other: keys and values of all of them come first. */
static void place(struct ruvm_reference *r, uint32_t layer, uint32_t i)
{
    float *q = vector(r->q, i), *k = vector(r->k, i), *v = vector(r->v, i);
    if (r->m.rotary_dim) {
        rotate(r, q, r->q_dim, r->items[i].position);
        rotate(r, k, r->kv_dim, r->items[i].position);
    }
    if (r->observer.kv)
        r->observer.kv(r->observer.user, layer, k, v);
    remember(r, &r->items[i], k, v);
}

static void add_attention(struct ruvm_reference *r, uint32_t layer)
{
    const struct ruvm_reference_layer *w = &r->layers[layer];
    apply_norm(r, r->x, &w->attn_norm);
    observe_input(r, RUVM_TENSOR_WQ, layer, r->x);
    apply(r, r->q, &w->wq, r->x);
    apply(r, r->k, &w->wk, r->x);
    apply(r, r->v, &w->wv, r->x);
    for (uint32_t i = 0; i < r->n; i++)
        place(r, layer, i);
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t head = 0; head < r->m.n_heads; head++)
            attend(r, layer, head, i);
    observe_input(r, RUVM_TENSOR_WO, layer, r->mixed);
    apply(r, r->x, &w->wo, r->mixed);
    add_to_residual(r, r->x);
}

/* ---- the rest of a layer -------------------------------------------------- */

/* Of the normed residual in r->y. */
static void add_feed_forward(struct ruvm_reference *r, uint32_t layer)
{
    const struct ruvm_reference_layer *w = &r->layers[layer];
    bool gated = r->m.act == RUVM_ACT_SILU_GATED;
    observe_input(r, RUVM_TENSOR_W_UP, layer, r->y);
    apply(r, r->up, &w->w_up, r->y);
    if (gated)
        apply(r, r->gate, &w->w_gate, r->y);
    for (uint32_t i = 0; i < r->n; i++)
        if (gated)
            ruvm_floats_gate(vector(r->up, i), vector(r->gate, i), r->m.hidden);
        else
            ruvm_floats_activate(vector(r->up, i), r->m.hidden, r->m.act);
    observe_input(r, RUVM_TENSOR_W_DOWN, layer, r->up);
    apply(r, r->x, &w->w_down, r->up);
    add_to_residual(r, r->x);
}

void ruvm_reference_layer(struct ruvm_reference *r, uint32_t layer)
{
    const struct ruvm_reference_norm *ffn_norm = &r->layers[layer].ffn_norm;
    if (layer == 0)
        observe_residual(r); /* as embedded */
    if (r->m.parallel)
        apply_norm(r, r->y, ffn_norm);
    add_attention(r, layer);
    if (!r->m.parallel)
        apply_norm(r, r->y, ffn_norm);
    add_feed_forward(r, layer);
}

/* ---- both ends ------------------------------------------------------------ */

void ruvm_reference_embed(struct ruvm_reference *r, float *h, uint32_t token, uint32_t position)
{
    ruvm_linear_row(&r->embed, token, h);
    if (r->positions)
        ruvm_floats_add(h, r->positions + (size_t)position * r->m.dim, r->m.dim);
}

void ruvm_reference_predict(struct ruvm_reference *r)
{
    apply_norm(r, r->x, &r->final_norm);
    observe_input(r, RUVM_TENSOR_HEAD, 0, r->x);
    apply(r, r->logits, &r->head, r->x);
}
