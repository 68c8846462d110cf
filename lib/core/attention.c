/* Attention over a cache, in integers from the rotated query to the mixed value.
 *
 * Keys are cached after RoPE with a scale a channel, because rotated channels
 * differ thirtyfold in range; the scale is multiplied into the query, so a
 * score stays one exact integer sum. Values have a scale a channel as well,
 * applied once after mixing. Softmax is exp2 on integers, and its sum divides
 * once a head.
 */
#include "lib/base/bytes.h"
#include "lib/core/engine.h"
#include "lib/core/parallel.h"

struct kv_scales {
    const uint16_t *k, *k_inv, *v, *v_inv; /* [kv_dim] */
    const int16_t *k_zero;                 /* [kv_dim] */
    int8_t k_exp, k_inv_exp, v_exp, v_inv_exp;
};

/* Of token t, before its keys and values. */
static int32_t *queries_of(const struct ruvm_engine *e, uint32_t t)
{
    return e->work + (size_t)t * (e->q_dim + 2 * (size_t)e->kv_dim);
}

static struct kv_scales scales_of(const struct ruvm_engine *e, uint32_t layer)
{
    const uint8_t *record = e->img.kvsc + (size_t)layer * e->img.kvsc_bytes;
    const uint16_t *arrays = (const uint16_t *)(const void *)(record + RUVM_KVSC_ARRAYS);
    return (struct kv_scales){
        .k = arrays,
        .k_inv = arrays + e->kv_dim,
        .v = arrays + 2 * (size_t)e->kv_dim,
        .v_inv = arrays + 3 * (size_t)e->kv_dim,
        .k_zero = (const int16_t *)(const void *)(arrays + 4 * (size_t)e->kv_dim),
        .k_exp = (int8_t)record[RUVM_KVSC_K_EXP],
        .k_inv_exp = (int8_t)record[RUVM_KVSC_K_INV_EXP],
        .v_exp = (int8_t)record[RUVM_KVSC_V_EXP],
        .v_inv_exp = (int8_t)record[RUVM_KVSC_V_INV_EXP],
    };
}

void ruvm_attention_rope(struct ruvm_engine *e, uint32_t n_tokens)
{
    uint32_t pairs = e->img.rope_dims / 2u;
    for (uint32_t t = 0; t < n_tokens; t++) {
        int16_t *cosines = e->rope + (size_t)t * e->img.rope_dims;
        int16_t *sines = cosines + pairs;
        for (uint32_t i = 0; i < pairs; i++) {
            uint32_t phase = e->img.rope_inc[i] * e->rows[t].position;
            cosines[i] = ruvm_fixed_cos(phase);
            sines[i] = ruvm_fixed_sin(phase);
        }
    }
}

/* Heads that are rotated in one call: it costs as much as what it does to a small head. */
enum { HEADS_TOGETHER = 8 };

/* How n raw heads of token t come to 14 bits, so that a 16-bit scale fits 32, and turn. */
static struct ruvm_turn turn_of(const struct ruvm_engine *e, uint32_t t, uint32_t n)
{
    uint32_t dims = e->img.rope_dims;
    return (struct ruvm_turn){.n_heads = n,
                              .head_dim = e->img.head_dim,
                              .n_pairs = dims / 2u,
                              .turn = e->rope + (size_t)t * dims};
}

/* The cache of the text that token t belongs to, unpacked into the room of this thread. */
static struct ruvm_cache keys_of(const struct ruvm_engine *e, uint32_t t)
{
    struct ruvm_cache cache = e->rows[t].of->keys;
    cache.room = e->keys.room;
    return cache;
}

static struct ruvm_cache values_of(const struct ruvm_engine *e, uint32_t t)
{
    struct ruvm_cache cache = e->rows[t].of->values;
    cache.room = e->values.room;
    return cache;
}

static void to_cache(const struct ruvm_engine *e, const struct ruvm_cache *cache, uint32_t head,
                     uint32_t position, const int32_t *v, const struct ruvm_to_cache *p)
{
    e->k->to_cache(ruvm_cache_begin(cache, head, position), v, e->img.head_dim, p);
    ruvm_cache_end(cache, head, position);
}

/* How a head of that unit becomes what its cache holds. */
static struct ruvm_to_cache into_cache(struct ruvm_real unit, uint32_t down, int32_t exp,
                                       const uint16_t *inverse)
{
    struct ruvm_ratio r = ruvm_real_ratio(ruvm_real_shift(unit, (int32_t)down + exp));
    return (struct ruvm_to_cache){.inverse = inverse, .mult = r.mult, .shift = r.shift};
}

/* A token's keys and values, all heads of a layer. */
struct raw_heads {
    int32_t *k, *v;
    struct ruvm_real k_unit, v_unit;
};

/* Those from head j on, at most HEADS_TOGETHER. */
static void cache_heads(struct ruvm_engine *e, uint32_t layer, uint32_t t, uint32_t j, uint32_t n,
                        const struct raw_heads *raw)
{
    struct kv_scales s = scales_of(e, layer);
    struct ruvm_cache keys = keys_of(e, t), values = values_of(e, t);
    struct ruvm_turned k[HEADS_TOGETHER], v[HEADS_TOGETHER];
    struct ruvm_turn turn = turn_of(e, t, n);
    uint32_t hd = e->img.head_dim, slot = ruvm_mask_slot(e, e->rows[t].position);
    uint32_t head = layer * e->img.n_kv_heads + j;
    size_t at = (size_t)j * hd;
    e->k->rotate(k, raw->k + at, &turn);
    turn.n_pairs = 0;
    e->k->rotate(v, raw->v + at, &turn);
    for (uint32_t i = 0; i < n; i++, at += hd, head++) {
        struct ruvm_to_cache p = into_cache(raw->k_unit, k[i].down, s.k_inv_exp, s.k_inv + at);
        p.zero = s.k_zero + at;
        to_cache(e, &keys, head, slot, raw->k + at, &p);
        p = into_cache(raw->v_unit, v[i].down, s.v_inv_exp, s.v_inv + at);
        to_cache(e, &values, head, slot, raw->v + at, &p);
    }
}

/* How a query becomes +-RUVM_Q_MAX, and its scores what weights() takes: exp2 in Q15. */
struct query {
    uint32_t up, down, mult;
    struct ruvm_ratio to_exp2;
};

/* Of one that is turned, with the key scales folded in; unit: the worth of a step before that. */
static inline struct query query_of(const struct ruvm_engine *e, struct ruvm_turned turned,
                                    struct ruvm_real unit)
{
    unit = ruvm_real_shift(unit, (int32_t)turned.down);
    struct ruvm_window w = ruvm_fixed_window(turned.largest);
    uint32_t mult = w.top ? ((uint32_t)RUVM_Q_MAX << 18) / w.top : 0;
    struct ruvm_real step = ruvm_fixed_window_top(w);
    step = ruvm_real_mul(step, (struct ruvm_real){0x80040020u, -44}); /* 1/8191 to 2^-30 */
    unit = ruvm_real_mul(ruvm_real_mul(step, unit), e->score_unit);
    return (struct query){w.up, w.down, mult, ruvm_real_ratio(ruvm_real_shift(unit, 15))};
}

/* Scores of the n_pos slots from `first` on. */
static void score_head(struct ruvm_engine *e, const struct ruvm_cache *cache, uint32_t head,
                       uint32_t first, uint32_t n_pos)
{
    uint32_t hd = e->img.head_dim;
    for (uint32_t p = 0, n; p < n_pos; p += n) {
        n = n_pos - p;
        const int8_t *keys = ruvm_cache_read(cache, head, first + p, &n);
        e->k->scores(e->scores + p, e->query, keys, n, hd, hd);
    }
}

/* mixed_sum += mixed, in 64 bits, and mixed = 0. */
static void carry_over(struct ruvm_engine *e)
{
    for (uint32_t i = 0; i < e->img.head_dim; i++) {
        e->mixed_sum[i] += e->mixed[i];
        e->mixed[i] = 0;
    }
}

/* The values of one head over those positions, weighted, into e->mixed; blocks keep the
 * kernel's sums within 32 bits. Where there are several, all but the last are carried over
 * to e->mixed_sum. */
static void mix_head(struct ruvm_engine *e, const struct ruvm_cache *cache, uint32_t head,
                     uint32_t first, uint32_t n_pos)
{
    uint32_t hd = e->img.head_dim, room = RUVM_MIX_BLOCK;
    for (uint32_t i = 0; i < hd; i++)
        e->mixed[i] = 0;
    for (uint32_t i = 0; n_pos > RUVM_MIX_BLOCK && i < hd; i++)
        e->mixed_sum[i] = 0;
    for (uint32_t p = 0, n; p < n_pos; p += n, room -= n) {
        if (room == 0) {
            carry_over(e);
            room = RUVM_MIX_BLOCK;
        }
        n = n_pos - p < room ? n_pos - p : room;
        const int8_t *values = ruvm_cache_read(cache, head, first + p, &n);
        e->k->mix(e->mixed, e->weights + p, values, n, hd, hd);
    }
}

/* out = mixed / total * v_scale, in 1/256 of a cached step. |mixed| <= 127 * total, so the
 * quotient has 15 bits and times a 16-bit scale it fits 31. */
static void divide_head(struct ruvm_engine *e, int32_t *out, uint32_t n_pos, uint32_t total,
                        const uint16_t *v_scale)
{
    uint32_t hd = e->img.head_dim;
    struct ruvm_divisor by = ruvm_divisor_of(total); /* total >= RUVM_E_MAX */
    if (n_pos > RUVM_MIX_BLOCK) {
        for (uint32_t i = 0; i < hd; i++)
            e->mixed[i] = (int32_t)((e->mixed_sum[i] + e->mixed[i]) >> by.down);
        by.down = 0;
    }
    e->k->divide(out, e->mixed, v_scale, hd, by.down, by.inverse);
}

static uint32_t heads_a_cache(const struct ruvm_engine *e)
{
    return e->img.n_heads / e->img.n_kv_heads;
}

/* The slots that a token looks at, and the oldest position it sees. */
struct span {
    uint32_t first, n_pos, position, oldest;
};

static struct span span_of(const struct ruvm_engine *e, uint32_t layer, uint32_t t)
{
    uint32_t position = e->rows[t].position, window = ruvm_image_window(&e->img, layer);
    uint32_t oldest = window && window <= position ? position + 1 - window : 0;
    uint32_t first = ruvm_mask_is_ring(e) ? 0 : oldest; /* in a ring any slot may be seen */
    uint32_t n_pos = (position < e->slots ? position + 1 : e->slots) - first;
    return (struct span){first, n_pos, position, oldest};
}

/* Turns the queries of heads h .. h + n of token t, at most HEADS_TOGETHER; returns where they
 * are. */
static inline int32_t *turn_queries(const struct ruvm_engine *e, const struct kv_scales *s,
                                    uint32_t t, uint32_t h, uint32_t n, struct ruvm_turned *turned)
{
    struct ruvm_turn turn = turn_of(e, t, n);
    int32_t *q = queries_of(e, t) + (size_t)h * e->img.head_dim;
    turn.scale = s->k;
    turn.first = h;
    turn.share = heads_a_cache(e);
    e->k->rotate(turned, q, &turn);
    return q;
}

/* What these heads mix takes the place of their queries, in units of 2^(v_exp - 8). */
static void attend_some(struct ruvm_engine *e, uint32_t layer, uint32_t t, uint32_t h, uint32_t n)
{
    struct kv_scales s = scales_of(e, layer);
    const struct ruvm_cache keys = keys_of(e, t), values = values_of(e, t);
    const struct span at = span_of(e, layer, t);
    struct ruvm_turned turned[HEADS_TOGETHER];
    uint32_t hd = e->img.head_dim, share = heads_a_cache(e);
    int32_t *q = turn_queries(e, &s, t, h, n, turned);
    struct ruvm_real unit = ruvm_real_shift(e->rows[t].q_unit, s.k_exp);
    for (uint32_t i = 0; i < n; i++, q += hd) {
        uint32_t j = (h + i) / share, head = layer * e->img.n_kv_heads + j;
        struct query of = query_of(e, turned[i], unit);
        e->k->narrow(e->query, q, hd, of.up, of.down, of.mult);
        score_head(e, &keys, head, at.first, at.n_pos);
        uint32_t total =
            ruvm_mask_weights(e, at.first, at.n_pos, at.position, at.oldest, of.to_exp2);
        mix_head(e, &values, head, at.first, at.n_pos);
        divide_head(e, q, at.n_pos, total, s.v + (size_t)j * hd);
    }
}

/* How many of the heads up to `end` go together from h on. */
static uint32_t together(uint32_t h, uint32_t end)
{
    return end - h < HEADS_TOGETHER ? end - h : HEADS_TOGETHER;
}

static void attend_heads(struct ruvm_engine *e, uint32_t layer, uint32_t t, uint32_t h,
                         uint32_t end)
{
    for (uint32_t n; h < end; h += n) {
        n = together(h, end);
        attend_some(e, layer, t, h, n);
    }
}

/* What one of wq, wk and wv made of x of token t, with its bias; returns the worth of a step. */
static struct ruvm_real complete(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                 int32_t *v, uint32_t t)
{
    static const enum ruvm_bias_kind kinds[3] = {RUVM_BIAS_WQ, RUVM_BIAS_WK, RUVM_BIAS_WV};
    struct ruvm_bias b = ruvm_image_bias(&e->img, kinds[w->kind - RUVM_TENSOR_WQ], w->layer);
    return ruvm_vector_add_bias(e, v, b, ruvm_vector_rescale(e, w, v, t));
}

struct attention {
    uint32_t layer;
    struct ruvm_tensor w[3]; /* wq, wk, wv */
};

/* Keys and values into the cache, and queries as far as all heads have it in common. */
static void cache_tokens(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct attention *a = job;
    for (uint32_t t = first; t < end; t++) {
        int32_t *q = queries_of(e, t), *k = q + e->q_dim, *v = k + e->kv_dim;
        struct raw_heads raw = {.k = k, .v = v};
        raw.k_unit = complete(e, &a->w[1], k, t);
        raw.v_unit = complete(e, &a->w[2], v, t);
        for (uint32_t j = 0, n; j < e->img.n_kv_heads; j += n) {
            n = together(j, e->img.n_kv_heads);
            cache_heads(e, a->layer, t, j, n, &raw);
        }
        e->rows[t].q_unit = complete(e, &a->w[0], q, t);
    }
}

/* Items are heads of tokens. */
static void attend_items(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct attention *a = job;
    uint32_t n = e->img.n_heads;
    for (uint32_t i = first, stop; i < end; i = stop) {
        uint32_t t = i / n;
        stop = (t + 1) * n < end ? (t + 1) * n : end;
        attend_heads(e, a->layer, t, i - t * n, stop - t * n);
    }
}

static void quantize_tokens(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct attention *a = job;
    struct ruvm_real unit = ruvm_real_make(1, scales_of(e, a->layer).v_exp - 8);
    for (uint32_t t = first; t < end; t++)
        ruvm_vector_quantize(e, t, queries_of(e, t), e->q_dim, e->x_stride, unit);
}

/* ---- several tokens at once ---------------------------------------------------- */

/* Fewer take longer than one after the other: a kernel does as much for one as for all. */
enum { FEWEST_QUERIES = 5 };

/* Whether row t is the token after row t - 1: threads may have been dealt others in between. */
static bool goes_on(const struct ruvm_engine *e, uint32_t t)
{
    const struct ruvm_block_row *row = &e->rows[t];
    return row[-1].of == row->of && row[-1].position + 1 == row->position;
}

/* How many tokens of one text from `first` on the kernel for several takes, if it takes any:
 * each sees all positions up to its own, and they are bytes in the cache. */
static uint32_t tokens_together(const struct ruvm_engine *e, uint32_t layer, uint32_t first,
                                uint32_t end)
{
    uint32_t hd = e->img.head_dim, n = 1;
    if (RUVM_CORE_SMALL || !e->k->attend || hd % 8 || hd > RUVM_ATTEND_MAX_DIM ||
        e->mask.kind != RUVM_MASK_NONE || e->keys.bits != 8 || e->values.bits != 8)
        return 0;
    while (n < RUVM_ATTEND_QUERIES && first + n < end && goes_on(e, first + n))
        n++;
    const struct span last = span_of(e, layer, first + n - 1);
    return n >= FEWEST_QUERIES && last.first == 0 && last.n_pos <= RUVM_MIX_BLOCK ? n : 0;
}

/* Query i of a call, which is that of token t. */
static void put_query(struct ruvm_attend *a, uint32_t i, int32_t *q, struct query of,
                      uint32_t n_pos)
{
    a->v[i] = q;
    a->n_pos[i] = n_pos;
    a->up[i] = of.up;
    a->down[i] = of.down;
    a->narrow_mult[i] = of.mult;
    a->mult[i] = of.to_exp2.mult;
    a->shift[i] = of.to_exp2.shift;
}

/* Heads h .. h + n_heads, at most HEADS_TOGETHER, of those tokens. */
static void attend_heads_together(struct ruvm_engine *e, uint32_t layer, uint32_t first,
                                  uint32_t n_tokens, uint32_t h, uint32_t n_heads)
{
    struct kv_scales s = scales_of(e, layer);
    const struct ruvm_cache keys = keys_of(e, first), values = values_of(e, first);
    struct ruvm_attend all[HEADS_TOGETHER];
    uint32_t hd = e->img.head_dim, n_pos = span_of(e, layer, first).n_pos, n = UINT32_MAX;
    for (uint32_t t = 0; t < n_tokens; t++) {
        struct ruvm_turned turned[HEADS_TOGETHER];
        int32_t *q = turn_queries(e, &s, first + t, h, n_heads, turned);
        struct ruvm_real unit = ruvm_real_shift(e->rows[first + t].q_unit, s.k_exp);
        for (uint32_t i = 0; i < n_heads; i++, q += hd)
            put_query(&all[i], t, q, query_of(e, turned[i], unit), n_pos + t);
    }
    for (uint32_t i = 0; i < n_heads; i++) {
        uint32_t j = (h + i) / heads_a_cache(e), head = layer * e->img.n_kv_heads + j;
        all[i].n = n_tokens;
        all[i].head_dim = hd;
        all[i].keys = ruvm_cache_read(&keys, head, 0, &n);
        all[i].values = ruvm_cache_read(&values, head, 0, &n);
        all[i].scale = s.v + (size_t)j * hd;
        e->k->attend(&all[i]);
    }
}

static void attend_tokens(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct attention *a = job;
    uint32_t n_heads = e->img.n_heads;
    for (uint32_t t = first, n; t < end; t += n) {
        n = tokens_together(e, a->layer, t, end);
        for (uint32_t h = 0, some; n && h < n_heads; h += some) {
            some = together(h, n_heads);
            attend_heads_together(e, a->layer, t, n, h, some);
        }
        if (n == 0) {
            attend_heads(e, a->layer, t, 0, n_heads);
            n = 1;
        }
    }
    quantize_tokens(e, job, first, end);
}

/* All tokens are in the cache: each sees those that it may. A token a thread where there are
 * enough of them, and else a head. */
static void attend(struct ruvm_engine *e, struct attention *a, uint32_t n_tokens)
{
    uint32_t most = e->rows[n_tokens - 1].position + 1;
    uint64_t work = (uint64_t)n_tokens * most * e->q_dim * 2 * RUVM_WORK_OF_ATTENTION;
    if (ruvm_engine_parallel(e) && n_tokens < e->parallel->n_parts) {
        ruvm_parallel_for(e, n_tokens * e->img.n_heads, work, attend_items, a);
        quantize_tokens(e, a, 0, n_tokens);
    } else {
        ruvm_parallel_for(e, n_tokens, work, attend_tokens, a);
    }
}

void ruvm_attention_prepare(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens)
{
    struct attention a = {.layer = layer,
                          .w = {ruvm_image_find(&e->img, RUVM_TENSOR_WQ, layer),
                                ruvm_image_find(&e->img, RUVM_TENSOR_WK, layer),
                                ruvm_image_find(&e->img, RUVM_TENSOR_WV, layer)}};

    ruvm_vector_norm(e, 2 * layer, e->x_stride, n_tokens);
    ruvm_vector_matmul_all(e, a.w, 3, n_tokens);
    ruvm_parallel_tokens(e, n_tokens, e->q_dim + 2 * e->kv_dim, cache_tokens, &a);
}

void ruvm_attention_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens)
{
    struct attention a = {.layer = layer};
    struct ruvm_tensor wo = ruvm_image_find(&e->img, RUVM_TENSOR_WO, layer);

    attend(e, &a, n_tokens);
    ruvm_vector_add_to_residual(e, &wo, ruvm_image_bias(&e->img, RUVM_BIAS_WO, layer), e->x_stride,
                                n_tokens);
}
