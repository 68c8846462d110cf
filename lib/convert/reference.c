/* Opens the float model, and steps it: sequences side by side, or a window at once.
 *
 * It gives the same bits on every IEEE machine and compiler: floats.c computes in one fixed
 * order. (RoPE's sine and cosine are the C library's in double, once at open, rounded to
 * float.)
 */
#include "lib/convert/reference.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "lib/convert/reference_state.h"

/* A model of more bytes as floats is read in place. Below it, no work of a command takes more
 * memory than a large model does anyway. */
#define TILED_BYTES_MAX ((uint64_t)64 << 20)

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* ---- weights ------------------------------------------------------------- */

bool ruvm_reference_is_large(const struct ruvm_model *m)
{
    return ruvm_model_parameters(m) > TILED_BYTES_MAX / sizeof(float);
}

struct opening {
    struct ruvm_reference *r;
    struct ruvm_arena *arena;
    bool in_place;
};

static bool open_linear(const struct opening *o, struct ruvm_linear *l, const struct ruvm_view *w,
                        const struct ruvm_view *bias)
{
    return ruvm_linear_open(l, o->arena, w, bias, o->in_place, &o->r->work);
}

static bool open_norm(const struct opening *o, struct ruvm_reference_norm *n,
                      const struct ruvm_view *gain, const struct ruvm_view *bias)
{
    return ruvm_linear_vector(&n->gain, o->arena, gain) &&
           ruvm_linear_vector(&n->bias, o->arena, bias);
}

static bool open_layer(const struct opening *o, struct ruvm_reference_layer *w,
                       const struct ruvm_layer *l)
{
    const struct ruvm_view *const *bias = l->bias;
    return open_norm(o, &w->attn_norm, l->attn_norm, bias[RUVM_BIAS_ATTN_NORM]) &&
           open_norm(o, &w->ffn_norm, l->ffn_norm, bias[RUVM_BIAS_FFN_NORM]) &&
           open_linear(o, &w->wq, l->wq, bias[RUVM_BIAS_WQ]) &&
           open_linear(o, &w->wk, l->wk, bias[RUVM_BIAS_WK]) &&
           open_linear(o, &w->wv, l->wv, bias[RUVM_BIAS_WV]) &&
           open_linear(o, &w->wo, l->wo, bias[RUVM_BIAS_WO]) &&
           open_linear(o, &w->w_up, l->w_up, bias[RUVM_BIAS_W_UP]) &&
           open_linear(o, &w->w_gate, l->w_gate, bias[RUVM_BIAS_W_GATE]) &&
           open_linear(o, &w->w_down, l->w_down, bias[RUVM_BIAS_W_DOWN]);
}

static bool open_positions(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    const struct ruvm_model *m = &r->m;
    if (m->pos != RUVM_POS_LEARNED)
        return true;
    r->positions = ruvm_arena_alloc(arena, r->farthest, m->dim * sizeof(float));
    for (uint32_t p = 0; r->positions && p < r->farthest; p++)
        ruvm_view_row(&m->positions, p, r->positions + (size_t)p * m->dim);
    return r->positions != NULL;
}

static bool open_weights(const struct opening *o)
{
    struct ruvm_reference *r = o->r;
    const struct ruvm_model *m = &r->m;
    uint32_t widest = max_u32(max_u32(m->dim, m->hidden), r->q_dim);
    r->layers = ruvm_arena_alloc(o->arena, m->n_layers, sizeof *r->layers);
    if (!r->layers || !ruvm_linear_work_open(&r->work, o->arena, widest, RUVM_REFERENCE_BLOCK) ||
        !open_norm(o, &r->final_norm, m->final_norm, m->final_bias) ||
        !open_linear(o, &r->embed, m->embed, NULL) || !open_positions(r, o->arena))
        return false;
    r->head = r->embed;
    if (!m->tied && !open_linear(o, &r->head, m->head, NULL))
        return false;
    for (uint32_t i = 0; i < m->n_layers; i++)
        if (!open_layer(o, &r->layers[i], &m->layers[i]))
            return false;
    return true;
}

/* ---- state --------------------------------------------------------------- */

static bool open_turns(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    uint32_t n = r->m.rotary_dim;
    if (n == 0)
        return true;
    r->turns = ruvm_arena_alloc(arena, r->farthest, n * sizeof(float));
    for (uint32_t i = 0; r->turns && i < n / 2; i++) {
        double step = ruvm_model_turn(&r->m, i);
        for (uint32_t p = 0; p < r->farthest; p++) {
            float *turn = r->turns + (size_t)p * n + 2 * (size_t)i;
            turn[0] = (float)cos(p * step);
            turn[1] = (float)sin(p * step);
        }
    }
    return r->turns != NULL;
}

size_t ruvm_reference_position_bytes(const struct ruvm_model *m)
{
    return (size_t)m->n_layers * m->n_kv_heads * m->head_dim * 2 * sizeof(float);
}

/* Room for keys and values of so many positions. */
static bool open_cache(struct ruvm_reference_cache *c, struct ruvm_arena *arena,
                       const struct ruvm_model *m, uint32_t context)
{
    size_t key = ruvm_floats_padded(context) * m->head_dim;
    size_t value = ruvm_floats_padded(m->head_dim) * context;
    c->context = context;
    c->keys = ruvm_arena_alloc(arena, m->n_kv_heads, key * sizeof(float));
    c->values = ruvm_arena_alloc(arena, m->n_kv_heads, value * sizeof(float));
    return c->keys && c->values;
}

static bool has_shape_of(const struct ruvm_reference *a, const struct ruvm_reference *b)
{
    return a->context == b->context && a->n_sequences == b->n_sequences &&
           a->m.n_layers == b->m.n_layers && a->m.n_kv_heads == b->m.n_kv_heads &&
           a->m.head_dim == b->m.head_dim;
}

static bool open_caches(struct ruvm_reference *r, struct ruvm_arena *arena,
                        const struct ruvm_reference *share)
{
    size_t n = (size_t)r->n_sequences * r->m.n_layers;
    r->position = ruvm_arena_alloc(arena, r->n_sequences, sizeof *r->position);
    if (share && has_shape_of(r, share)) {
        r->caches = share->caches;
        return r->position != NULL;
    }
    r->caches = ruvm_arena_alloc(arena, n, sizeof *r->caches);
    bool ok = r->caches && r->position;
    for (size_t i = 0; ok && i < n; i++)
        ok = open_cache(&r->caches[i], arena, &r->m, r->context);
    return ok;
}

/* A vector of n floats for each token of a block. */
static bool open_vectors(struct ruvm_floats_vectors *v, struct ruvm_arena *arena, size_t n)
{
    v->step = ruvm_floats_padded(n);
    v->x = ruvm_arena_alloc(arena, RUVM_REFERENCE_BLOCK, v->step * sizeof(float));
    return v->x != NULL;
}

static bool open_block(struct ruvm_reference *r, struct ruvm_arena *arena)
{
    const struct ruvm_model *m = &r->m;
    r->scores = ruvm_arena_alloc(arena, ruvm_floats_padded(r->context), sizeof(float));
    return r->scores && open_vectors(&r->h, arena, m->dim) && open_vectors(&r->x, arena, m->dim) &&
           open_vectors(&r->y, arena, m->dim) && open_vectors(&r->q, arena, r->q_dim) &&
           open_vectors(&r->k, arena, r->kv_dim) && open_vectors(&r->v, arena, r->kv_dim) &&
           open_vectors(&r->mixed, arena, /* heads are mixed in whole tiles */
                        r->q_dim + RUVM_FLOATS_LANES) &&
           open_vectors(&r->up, arena, m->hidden) && open_vectors(&r->gate, arena, m->hidden) &&
           open_vectors(&r->logits, arena, m->vocab);
}

/* ---- open ---------------------------------------------------------------- */

int ruvm_reference_open_with(struct ruvm_reference **reference, struct ruvm_arena *arena,
                             const struct ruvm_model *m, const struct ruvm_reference_options *o,
                             struct ruvm_error *err)
{
    assert(o->context > 0 && o->n_sequences <= RUVM_REFERENCE_BLOCK);
    struct ruvm_reference *r = ruvm_arena_alloc(arena, 1, sizeof *r);
    if (!r)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the float model");
    struct opening opening = {r, arena, o->weights == RUVM_REFERENCE_IN_PLACE};
    if (o->weights == RUVM_REFERENCE_AUTO)
        opening.in_place = ruvm_reference_is_large(m);
    r->m = *m;
    r->context = o->context;
    r->farthest = max_u32(o->context, o->window);
    r->n_sequences = max_u32(o->n_sequences, 1);
    r->work.pool = o->pool;
    r->q_dim = m->n_heads * m->head_dim;
    r->kv_dim = m->n_kv_heads * m->head_dim;
    if (!open_weights(&opening) || !open_turns(r, arena) || !open_caches(r, arena, o->share) ||
        !open_block(r, arena))
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "no memory for the float model: it takes %s, and %zu bytes a position",
                         opening.in_place ? "some megabytes" : "4 bytes a weight",
                         ruvm_reference_position_bytes(m) * r->n_sequences);
    *reference = r;
    return RUVM_OK;
}

int ruvm_reference_open(struct ruvm_reference **r, struct ruvm_arena *arena,
                        const struct ruvm_model *m, uint32_t context, struct ruvm_error *err)
{
    const struct ruvm_reference_options o = {.context = context};
    return ruvm_reference_open_with(r, arena, m, &o, err);
}

void ruvm_reference_observe(struct ruvm_reference *r, const struct ruvm_observer *o)
{
    r->observer = *o;
}

uint32_t ruvm_reference_context(const struct ruvm_reference *r)
{
    return r->context;
}

uint32_t ruvm_reference_sequences(const struct ruvm_reference *r)
{
    return r->n_sequences;
}

uint32_t ruvm_reference_window(const struct ruvm_reference *r)
{
    return r->farthest;
}

/* ---- steps --------------------------------------------------------------- */

const float *ruvm_reference_step_each(struct ruvm_reference *r, const uint32_t *tokens, uint32_t n)
{
    assert(n > 0 && n <= r->n_sequences);
    r->n = n;
    for (uint32_t i = 0; i < n; i++) {
        assert(r->position[i] < r->context && tokens[i] < r->m.vocab);
        r->items[i].position = r->position[i]++;
        ruvm_reference_embed(r, r->h.x + i * r->h.step, tokens[i], r->items[i].position);
    }
    for (uint32_t layer = 0; layer < r->m.n_layers; layer++) {
        for (uint32_t i = 0; i < n; i++)
            r->items[i].cache = r->caches[(size_t)i * r->m.n_layers + layer];
        ruvm_reference_layer(r, layer);
    }
    ruvm_reference_predict(r);
    return r->logits.x;
}

const float *ruvm_reference_step(struct ruvm_reference *r, uint32_t token)
{
    return ruvm_reference_step_each(r, &token, 1);
}

size_t ruvm_reference_logits_step(const struct ruvm_reference *r)
{
    return r->logits.step;
}

void ruvm_reference_restart(struct ruvm_reference *r, uint32_t sequence)
{
    r->position[sequence] = 0;
}

void ruvm_reference_reset(struct ruvm_reference *r)
{
    for (uint32_t i = 0; i < r->n_sequences; i++)
        r->position[i] = 0;
}

/* ---- a window at once ---------------------------------------------------- */

/* The window being read; what it keeps for all its tokens. */
struct window {
    struct ruvm_reference *r;
    const struct ruvm_reference_reader *reader;
    uint32_t n;
    struct ruvm_floats_vectors h;
    struct ruvm_reference_cache cache;
};

/* Points the block at the tokens from `first` on; returns where the next one begins. */
static uint32_t take_block(struct window *w, uint32_t first)
{
    struct ruvm_reference *r = w->r;
    uint32_t left = w->n - first;
    r->n = left < RUVM_REFERENCE_BLOCK ? left : RUVM_REFERENCE_BLOCK;
    r->h.x = w->h.x + first * w->h.step;
    for (uint32_t i = 0; i < r->n; i++)
        r->items[i] = (struct ruvm_reference_item){first + i, w->cache};
    return first + r->n;
}

static int tell(const struct window *w, uint32_t layer, uint32_t done)
{
    const struct ruvm_reference_reader *reader = w->reader;
    uint64_t n = ((uint64_t)layer * w->n + done) / (w->r->m.n_layers + 1);
    return reader->progress ? reader->progress(reader->user, (uint32_t)n) : RUVM_OK;
}

static int read_layers(struct window *w)
{
    int rc = RUVM_OK;
    for (uint32_t layer = 0; layer < w->r->m.n_layers; layer++)
        for (uint32_t i = 0; i < w->n && rc == RUVM_OK;) {
            i = take_block(w, i);
            ruvm_reference_layer(w->r, layer);
            rc = tell(w, layer, i);
        }
    return rc;
}

static int read_logits(struct window *w)
{
    const struct ruvm_reference_reader *reader = w->reader;
    int rc = RUVM_OK;
    for (uint32_t i = 0; (reader->logits || w->r->observer.input) && i < w->n && rc == RUVM_OK;) {
        uint32_t first = i;
        i = take_block(w, i);
        ruvm_reference_predict(w->r);
        if (reader->logits)
            rc = reader->logits(reader->user, first, w->r->n, w->r->logits.x, w->r->logits.step);
        if (rc == RUVM_OK)
            rc = tell(w, w->r->m.n_layers, i);
    }
    return rc;
}

static bool open_window(struct window *w, struct ruvm_arena *arena)
{
    w->h.step = w->r->h.step;
    w->h.x = ruvm_arena_alloc(arena, w->n, w->h.step * sizeof(float));
    w->r->scores = ruvm_arena_alloc(arena, ruvm_floats_padded(w->n), sizeof(float));
    return w->h.x && w->r->scores && open_cache(&w->cache, arena, &w->r->m, w->n);
}

int ruvm_reference_read(struct ruvm_reference *r, const uint32_t *tokens, uint32_t n,
                        const struct ruvm_reference_reader *reader, struct ruvm_error *err)
{
    assert(n <= r->farthest);
    struct ruvm_arena arena = {0};
    struct window w = {.r = r, .reader = reader, .n = n};
    float *h = r->h.x, *scores = r->scores; /* of the steps, which go on with them */
    int rc = open_window(&w, &arena)
                 ? RUVM_OK
                 : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a window of %u tokens", n);
    for (uint32_t i = 0; i < n && rc == RUVM_OK; i++)
        ruvm_reference_embed(r, w.h.x + i * w.h.step, tokens[i], i);
    if (rc == RUVM_OK)
        rc = read_layers(&w);
    if (rc == RUVM_OK)
        rc = read_logits(&w);
    r->h.x = h;
    r->scores = scores;
    ruvm_arena_free(&arena);
    return rc;
}
