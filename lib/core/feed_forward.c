/* The feed-forward half of a layer: down(silu(gate(x)) * up(x)), or, without a gate,
 * down(gelu(up(x))) or down(relu(up(x))).
 *
 * Up and gate follow each other in the image. Both come out with a scale a vector;
 * only the argument of the sigmoid needs an absolute unit, the rest of the product
 * keeps its own. GELU is x times a sigmoid of its own, so the same holds for it.
 */
#include "lib/core/engine.h"
#include "lib/core/parallel.h"

static uint32_t down_to_15_bits(const struct ruvm_engine *e, const int32_t *v)
{
    uint32_t bits = ruvm_bits(e->k->amax(v, e->img.hidden));
    return bits > 15 ? bits - 15 : 0;
}

/* What a matrix made of x of token t, with its bias; returns the worth of one step. */
static struct ruvm_real complete(const struct ruvm_engine *e, uint32_t t,
                                 const struct ruvm_tensor *w, enum ruvm_bias_kind kind, int32_t *v)
{
    struct ruvm_real unit = ruvm_vector_rescale(e, w, v, t);
    return ruvm_vector_add_bias(e, v, ruvm_image_bias(&e->img, kind, w->layer), unit);
}

/* The gated vector of one token into e->vector; returns the worth of one step. */
static struct ruvm_real gate_token(struct ruvm_engine *e, uint32_t t, const struct ruvm_tensor *w,
                                   int32_t *up, int32_t *gate)
{
    struct ruvm_real up_unit = complete(e, t, &w[0], RUVM_BIAS_W_UP, up);
    struct ruvm_real gate_unit = complete(e, t, &w[1], RUVM_BIAS_W_GATE, gate);
    struct ruvm_swiglu p = {.up_down = down_to_15_bits(e, up),
                            .gate_down = down_to_15_bits(e, gate)};
    up_unit = ruvm_real_shift(up_unit, (int32_t)p.up_down);
    gate_unit = ruvm_real_shift(gate_unit, (int32_t)p.gate_down);
    struct ruvm_ratio r = ruvm_real_ratio_q12(gate_unit);
    p.mult = r.mult;
    p.shift = r.shift;
    e->k->swiglu(e->vector, up, gate, e->img.hidden, &p);
    return ruvm_real_mul(up_unit, gate_unit);
}

/* The same without a gate. */
static struct ruvm_real activate_token(const struct ruvm_engine *e, uint32_t t,
                                       const struct ruvm_tensor *w, int32_t *up)
{
    struct ruvm_real unit = complete(e, t, w, RUVM_BIAS_W_UP, up);
    if (e->img.act == RUVM_ACT_RELU) {
        e->k->relu(e->vector, up, e->img.hidden);
        return unit;
    }
    struct ruvm_gelu p = {.row = e->img.act == RUVM_ACT_GELU_ERF, .down = down_to_15_bits(e, up)};
    unit = ruvm_real_shift(unit, (int32_t)p.down);
    struct ruvm_ratio r = ruvm_real_ratio_q12(unit);
    p.mult = r.mult;
    p.shift = r.shift;
    e->k->gelu(e->vector, up, e->img.hidden, &p);
    return ruvm_real_shift(unit, -15);
}

struct activation {
    struct ruvm_tensor w[2]; /* up, and gate if n is 2 */
    uint32_t n, group;
};

static void activate_tokens(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct activation *a = job;
    uint32_t hidden = e->img.hidden;
    for (uint32_t t = first; t < end; t++) {
        int32_t *up = e->work + (size_t)t * a->n * hidden;
        struct ruvm_real unit =
            a->n == 2 ? gate_token(e, t, a->w, up, up + hidden) : activate_token(e, t, a->w, up);
        ruvm_vector_quantize(e, t, e->vector, hidden, a->group, unit);
    }
}

void ruvm_feed_forward_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens)
{
    bool gated = e->img.act == RUVM_ACT_SILU_GATED;
    struct ruvm_tensor w_down = ruvm_image_find(&e->img, RUVM_TENSOR_W_DOWN, layer);
    struct ruvm_bias bias = ruvm_image_bias(&e->img, RUVM_BIAS_W_DOWN, layer);
    struct activation a = {
        .w = {ruvm_image_find(&e->img, RUVM_TENSOR_W_UP, layer),
              ruvm_image_find(&e->img, gated ? RUVM_TENSOR_W_GATE : RUVM_TENSOR_W_UP, layer)},
        .n = gated ? 2 : 1,
        .group = ruvm_vector_group(e, &w_down, e->group)};

    ruvm_vector_norm(e, 2 * layer + 1, e->x_stride, n_tokens);
    ruvm_vector_matmul_all(e, a.w, a.n, n_tokens);
    ruvm_parallel_tokens(e, n_tokens, 4 * e->img.hidden, activate_tokens, &a);
    ruvm_vector_add_to_residual(e, &w_down, bias, a.group, n_tokens);
}
