/* The gated feed-forward half of a layer: down(silu(gate(x)) * up(x)).
 *
 * Up and gate follow each other in the image. Both come out with a scale a vector;
 * only the argument of the sigmoid needs an absolute unit, the rest of the product
 * keeps its own.
 */
#include "lib/core/engine.h"

static uint32_t down_to_15_bits(const struct ruvm_engine *e, const int32_t *v)
{
    uint32_t bits = ruvm_bits(e->k->amax(v, e->img.hidden));
    return bits > 15 ? bits - 15 : 0;
}

/* The multiplier that brings a 15-bit gate to Q12: 15 bits, so that the product has 30. */
static void gate_ratio(struct ruvm_swiglu *p, struct ruvm_real unit)
{
    struct ruvm_real q12 = ruvm_real_shift(unit, 12);
    int32_t shift = -(q12.e + 17);
    uint32_t mult = q12.m >> 17;
    if (shift < 0) {
        mult = 32767;
        shift = 0;
    }
    if (shift > 30) {
        mult = shift - 30 < 15 ? mult >> (shift - 30) : 0;
        shift = 30;
    }
    p->mult = mult;
    p->shift = (uint32_t)shift;
}

/* The gated vector of one token into e->vector; returns the worth of one step. */
static struct ruvm_real gate_token(struct ruvm_engine *e, uint32_t t, const struct ruvm_tensor *w,
                                   int32_t *up, int32_t *gate)
{
    struct ruvm_real up_unit = ruvm_vector_rescale(e, &w[0], up, t, 0);
    struct ruvm_real gate_unit = ruvm_vector_rescale(e, &w[1], gate, t, 0);
    struct ruvm_swiglu p = {.up_down = down_to_15_bits(e, up),
                            .gate_down = down_to_15_bits(e, gate)};
    up_unit = ruvm_real_shift(up_unit, (int32_t)p.up_down);
    gate_unit = ruvm_real_shift(gate_unit, (int32_t)p.gate_down);
    gate_ratio(&p, gate_unit);
    e->k->swiglu(e->vector, up, gate, e->img.hidden, &p);
    return ruvm_real_mul(up_unit, gate_unit);
}

void ruvm_feed_forward_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens)
{
    const struct ruvm_tensor w[2] = {ruvm_image_find(&e->img, RUVM_TENSOR_W_UP, layer),
                                     ruvm_image_find(&e->img, RUVM_TENSOR_W_GATE, layer)};
    struct ruvm_tensor w_down = ruvm_image_find(&e->img, RUVM_TENSOR_W_DOWN, layer);
    uint32_t hidden = e->img.hidden, group = ruvm_vector_group(e, &w_down, e->group);

    ruvm_vector_norm(e, 2 * layer + 1, e->x_stride, n_tokens);
    ruvm_vector_matmul_all(e, w, 2, n_tokens);
    for (uint32_t t = 0; t < n_tokens; t++) {
        int32_t *up = e->work + (size_t)t * 2 * hidden;
        struct ruvm_real unit = gate_token(e, t, w, up, up + hidden);
        ruvm_vector_quantize(e, t, e->vector, hidden, group, unit);
    }
    ruvm_vector_add_to_residual(e, &w_down, group, n_tokens);
}
