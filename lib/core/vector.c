/* What happens to a vector around a matrix: normalise, quantize, multiply, scale.
 *
 * Activations are quantized to int8 with one scale a vector, chosen from the
 * vector's own largest value each time. A constant factor common to a whole
 * vector never touches the elements: RMSNorm's 1/rms only goes into the scale.
 */
#include "lib/core/engine.h"

#define ONE_127TH ((struct ruvm_real){0x81020408u, -38}) /* 1/127 to 2^-32 */

void ruvm_vector_matmul(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                        const struct ruvm_part *p)
{
    e->k->matmul_s8(&(struct ruvm_matmul){
        .w = w->data + (size_t)p->row * w->row_bytes + p->col,
        .x = e->x + (size_t)p->token * e->x_stride + p->col,
        .out = e->work,
        .n_rows = p->n_rows,
        .n_cols = w->row_bytes - p->col < p->n_cols ? w->row_bytes - p->col : p->n_cols,
        .row_bytes = w->row_bytes,
        .n_vecs = p->n_tokens,
        .x_stride = e->x_stride,
        .out_stride = p->n_rows,
    });
}

/* The largest value is brought to exactly 16 bits, so that the multiplier that maps
 * it to 127 keeps 16 bits as well and the product stays below 2^31. */
static struct ruvm_real quantize_group(const struct ruvm_engine *e, int8_t *x, const int32_t *v,
                                       uint32_t n, struct ruvm_real unit)
{
    struct ruvm_window w = ruvm_fixed_window(e->k->amax(v, n));
    uint32_t mult = w.top ? (127u << 24) / w.top : 0;
    e->k->quantize(x, v, n, ruvm_vector_padded(n), w.up, w.down, mult);
    struct ruvm_real step = ruvm_real_mul(ruvm_fixed_window_top(w), unit);
    return ruvm_real_mul(step, ONE_127TH);
}

void ruvm_vector_quantize(struct ruvm_engine *e, uint32_t t, const int32_t *v, uint32_t n,
                          uint32_t group, struct ruvm_real unit)
{
    int8_t *x = e->x + (size_t)t * e->x_stride;
    struct ruvm_real *units = e->x_unit + (size_t)t * RUVM_MAX_GROUPS;
    for (uint32_t i = 0; i < n; i += group)
        *units++ = quantize_group(e, x + i, v + i, n - i < group ? n - i : group, unit);
}

static void norm_one(struct ruvm_engine *e, uint32_t norm, uint32_t group, uint32_t t)
{
    const struct ruvm_image *img = &e->img;
    const int32_t *h = e->residual + (size_t)t * img->dim;
    uint32_t bits = ruvm_bits(e->k->amax(h, img->dim));
    uint32_t down = bits > 15 ? bits - 15 : 0;
    uint64_t squares =
        e->k->norm(e->vector, h, img->norm_gain + (size_t)norm * img->dim, img->dim, down);
    struct ruvm_real mean = ruvm_real_mul(ruvm_real_make(squares, 0), e->inv_dim);
    int32_t h_exp = img->resid_exp + (int32_t)down;
    struct ruvm_real eps = ruvm_real_make(img->eps_mantissa, img->eps_exp - 2 * h_exp);
    struct ruvm_real inv_rms = ruvm_real_rsqrt(ruvm_real_add(mean, eps));
    ruvm_vector_quantize(e, t, e->vector, img->dim, group,
                         ruvm_real_shift(inv_rms, img->norm_exp[norm]));
}

void ruvm_vector_norm(struct ruvm_engine *e, uint32_t norm, uint32_t group, uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t++)
        norm_one(e, norm, group, t);
}

struct ruvm_real ruvm_vector_rescale(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                     int32_t *sums, struct ruvm_real x_unit)
{
    e->k->rescale(sums, w->scales, w->rows);
    return ruvm_real_shift(x_unit, w->scale_exp + 16);
}

static void add_group(struct ruvm_engine *e, const struct ruvm_tensor *w, uint32_t g,
                      uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t++) {
        int32_t *sums = e->work + (size_t)t * w->rows;
        struct ruvm_real x_unit = e->x_unit[(size_t)t * RUVM_MAX_GROUPS + g];
        struct ruvm_real unit = ruvm_vector_rescale(e, w, sums, x_unit);
        struct ruvm_ratio r = ruvm_real_ratio(ruvm_real_shift(unit, -e->img.resid_exp));
        e->k->add_scaled(e->residual + (size_t)t * w->rows, sums, w->rows, r.mult, r.shift);
    }
}

void ruvm_vector_add_to_residual(struct ruvm_engine *e, const struct ruvm_tensor *w, uint32_t group,
                                 uint32_t n_tokens)
{
    for (uint32_t c = 0, g = 0; c < w->row_bytes; c += group, g++) {
        const struct ruvm_part p = {
            .n_rows = w->rows, .col = c, .n_cols = group, .n_tokens = n_tokens};
        ruvm_vector_matmul(e, w, &p);
        add_group(e, w, g, n_tokens);
    }
}
