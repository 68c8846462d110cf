/* What happens to a vector around a matrix: normalise, quantize, multiply, scale.
 *
 * Activations are quantized to int8 with one scale a vector, chosen from the
 * vector's own largest value each time. A constant factor common to a whole
 * vector never touches the elements: RMSNorm's 1/rms only goes into the scale.
 */
#include "formats/ruvm_codes.h"
#include "lib/base/bytes.h"
#include "lib/core/engine.h"
#include "lib/core/parallel.h"

#define ONE_127TH ((struct ruvm_real){0x81020408u, -38}) /* 1/127 to 2^-32 */

static void multiply_s8(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                        const struct ruvm_part *p)
{
    uint32_t left = w->row_bytes - p->col;
    e->k->matmul_s8(&(struct ruvm_matmul){
        .w = w->data + p->col,
        .x = e->x + (size_t)p->token * e->x_stride + p->col,
        .out = p->out,
        .n_rows = w->rows,
        .n_cols = left < p->n_cols ? left : p->n_cols,
        .row_bytes = w->row_bytes,
        .n_vecs = p->n_tokens,
        .x_stride = e->x_stride,
        .out_stride = p->out_stride,
    });
}

/* The columns that a kernel of packed weights takes: those of TERNARY and XNOR, whose
 * padding is no zero, end where the matrix does. */
static uint32_t columns_of(const struct ruvm_tensor *w, const struct ruvm_part *p)
{
    if (w->type == RUVM_TYPE_TERNARY || w->type == RUVM_TYPE_XNOR)
        return w->cols;
    uint32_t left = (uint32_t)ruvm_align_up(w->cols, RUVM_ROW_ALIGN) - p->col;
    return left < p->n_cols ? left : p->n_cols;
}

static const uint8_t *panels_of(const struct ruvm_engine *e, const struct ruvm_tensor *w)
{
    return !RUVM_CORE_SMALL && e->panels ? e->panels[w->index] : NULL;
}

/* Every `group` columns are summed up apart, or all together if it is 0. */
static void multiply_panels(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                            const uint8_t *panels, const struct ruvm_part *p, uint32_t group)
{
    uint32_t bytes = ruvm_panels_bytes(w->row_bytes, w->mult_bytes);
    e->k->matmul_panels(&(struct ruvm_matmul_panels){
        .w = panels + (size_t)(p->row / RUVM_PANEL_ROWS) * bytes,
        .x = e->x + (size_t)p->token * e->x_stride + p->col,
        .out = p->out,
        .bits = ruvm_codes_bits(w->type),
        .n_rows = w->rows,
        .first_col = p->col,
        .n_cols = columns_of(w, p),
        .part_cols = group,
        .panel_bytes = bytes,
        .group = w->group,
        .words_bytes = w->row_bytes * RUVM_PANEL_ROWS,
        .n_vecs = p->n_tokens,
        .x_stride = e->x_stride,
        .out_stride = p->out_stride,
        .is_odd = p->row / RUVM_PANEL_ROWS % 2,
        .is_far = ruvm_engine_is_far(e),
    });
}

void ruvm_vector_matmul_part(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                             const struct ruvm_part *p)
{
    const uint8_t *panels = panels_of(e, w);
    if (panels) {
        multiply_panels(e, w, panels, p, 0);
        return;
    }
    struct ruvm_matmul_codes m = {
        .w = (const uint8_t *)w->data,
        .mult = w->mult,
        .x = e->x + (size_t)p->token * e->x_stride + p->col,
        .out = p->out,
        .n_rows = w->rows,
        .first_col = p->col,
        .n_cols = columns_of(w, p),
        .row_bytes = w->row_bytes,
        .group = w->group,
        .mult_bytes = w->mult_bytes,
        .n_vecs = p->n_tokens,
        .x_stride = e->x_stride,
        .out_stride = p->out_stride,
    };
    switch (w->type) {
    case RUVM_TYPE_INT8: multiply_s8(e, w, p); return;
    case RUVM_TYPE_INT4: e->k->matmul_int4(&m); return;
    case RUVM_TYPE_INT3: e->k->matmul_int3(&m); return;
    case RUVM_TYPE_INT2: e->k->matmul_int2(&m); return;
    case RUVM_TYPE_BINARY: e->k->matmul_binary(&m); return;
    case RUVM_TYPE_TERNARY: e->k->matmul_ternary(&m); return;
    default:
        m.x = (const int8_t *)e->signs + (size_t)p->token * e->sign_stride;
        m.x_stride = e->sign_stride;
        e->k->matmul_xnor(&m);
    }
}

struct ruvm_tensor ruvm_vector_rows(const struct ruvm_tensor *w, uint32_t row, uint32_t n)
{
    struct ruvm_tensor part = *w;
    part.rows = n;
    part.data += (size_t)row * w->row_bytes;
    part.scales += row;
    if (w->mult)
        part.mult += (size_t)row * w->mult_bytes;
    return part;
}

struct product {
    const struct ruvm_tensor *w;
    const struct ruvm_part *p;
};

/* Items are as many rows as a panel has. */
static void multiply_rows(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct product *product = job;
    const struct ruvm_tensor *w = product->w;
    uint32_t row = first * RUVM_PANEL_ROWS, stop = end * RUVM_PANEL_ROWS;
    struct ruvm_tensor rows = ruvm_vector_rows(w, row, (stop < w->rows ? stop : w->rows) - row);
    struct ruvm_part p = *product->p;
    p.row += row;
    p.out += row;
    ruvm_vector_matmul_part(e, &rows, &p);
}

void ruvm_vector_matmul(struct ruvm_engine *e, const struct ruvm_tensor *w,
                        const struct ruvm_part *p)
{
    uint32_t n_cols = p->n_cols < w->cols ? p->n_cols : w->cols;
    struct product product = {w, p};
    if (!e->parallel) { /* some products of a small model take no longer than this detour */
        ruvm_vector_matmul_part(e, w, p);
        return;
    }
    ruvm_parallel_for(e, (w->rows + RUVM_PANEL_ROWS - 1) / RUVM_PANEL_ROWS,
                      (uint64_t)w->rows * n_cols * p->n_tokens, multiply_rows, &product);
}

/* Whether the rows of b come behind those of a, so that both are one matrix. */
static bool follows(const struct ruvm_engine *e, const struct ruvm_tensor *a,
                    const struct ruvm_tensor *b)
{
    const uint8_t *pa = panels_of(e, a), *pb = panels_of(e, b);
    if (!pa && !pb)
        return a->type == RUVM_TYPE_INT8 && b->type == RUVM_TYPE_INT8;
    size_t bytes = ruvm_panels_bytes(a->row_bytes, a->mult_bytes);
    return pa && pb && a->type == b->type && a->group == b->group &&
           a->rows % RUVM_PANEL_ROWS == 0 && pb == pa + a->rows / RUVM_PANEL_ROWS * bytes;
}

void ruvm_vector_matmul_all(struct ruvm_engine *e, const struct ruvm_tensor *w, uint32_t n,
                            uint32_t n_tokens)
{
    struct ruvm_tensor all = w[0];
    bool is_one = true;
    for (uint32_t i = 1; i < n; i++) {
        all.rows += w[i].rows;
        is_one = is_one && follows(e, &w[i - 1], &w[i]);
    }
    struct ruvm_part p = {
        .n_cols = e->x_stride, .n_tokens = n_tokens, .out = e->work, .out_stride = all.rows};
    if (is_one) {
        ruvm_vector_matmul(e, &all, &p);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        ruvm_vector_matmul(e, &w[i], &p);
        p.out += w[i].rows;
    }
}

/* Four columns at a time: each byte's sign as its lowest bit. The padding is zeros, which
 * would count as positive. */
static uint32_t signs_of_32(const int8_t *x, uint32_t n)
{
    uint32_t word = 0;
    for (uint32_t f = 0; f < 8 && 4 * f < n; f++) {
        uint32_t lanes = n - 4 * f >= 4 ? 0x01010101u : 0x01010101u >> 8 * (4 - (n - 4 * f));
        word |= ((~ruvm_load_u32(x + (size_t)4 * f) >> 7) & lanes) << f;
    }
    return word;
}

/* For XNOR: x of token t as signs times its mean magnitude (XNOR-Net, arXiv 1603.05279). */
static void quantize_signs(struct ruvm_engine *e, uint32_t t, uint32_t n)
{
    const int8_t *x = e->x + (size_t)t * e->x_stride;
    uint8_t *signs = e->signs + (size_t)t * e->sign_stride;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t v = x[i];
        sum += v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
    }
    for (uint32_t i = 0; i < n; i += 32)
        ruvm_store_u32(signs + i / 8, signs_of_32(x + i, n - i));
    struct ruvm_real mean = ruvm_real_make(((uint64_t)sum << 32) / n, -32);
    e->sign_unit[t] = ruvm_real_mul(e->x_unit[(size_t)t * RUVM_MAX_GROUPS], mean);
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
    if (e->sign_stride && n <= group)
        quantize_signs(e, t, n);
}

/* ---- norms --------------------------------------------------------------- */

/* 1 / sqrt(mean square + epsilon) of a vector whose steps are worth 2^h_exp. */
static struct ruvm_real inverse_rms(const struct ruvm_engine *e, uint64_t squares, int32_t h_exp)
{
    const struct ruvm_image *img = &e->img;
    struct ruvm_real mean = ruvm_real_mul(ruvm_real_make(squares, 0), e->inv_dim);
    struct ruvm_real eps = ruvm_real_make(img->eps_mantissa, img->eps_exp - 2 * h_exp);
    return ruvm_real_rsqrt(ruvm_real_add(mean, eps));
}

/* Both norms leave the vector in e->vector and return the worth of a step. */
static struct ruvm_real rms_norm(const struct ruvm_engine *e, const int32_t *h, const int16_t *gain)
{
    uint32_t n = e->img.dim, bits = ruvm_bits(e->k->amax(h, n));
    uint32_t down = bits > 15 ? bits - 15 : 0;
    uint64_t squares = e->k->norm(e->vector, h, gain, n, down);
    return inverse_rms(e, squares, e->img.resid_exp + (int32_t)down);
}

/* Networks with LayerNorm let a few channels grow a thousand times larger than the others,
 * whose gains then make up for it: so 23 bits, not 15. */
enum { LAYERNORM_BITS = 23, LAYERNORM_DROPPED = 8 };

static struct ruvm_real layer_norm(const struct ruvm_engine *e, const int32_t *h,
                                   const int16_t *gain)
{
    struct ruvm_centre c;
    uint32_t n = e->img.dim, bits = ruvm_bits(e->k->spread(h, n, &c.mean));
    c.down = bits > LAYERNORM_BITS ? bits - LAYERNORM_BITS : 0;
    c.up = bits < LAYERNORM_BITS ? LAYERNORM_BITS - bits : 0;
    uint64_t squares = e->k->layernorm(e->vector, h, gain, n, &c);
    int32_t h_exp = e->img.resid_exp + (int32_t)c.down - (int32_t)c.up;
    return ruvm_real_shift(inverse_rms(e, squares, h_exp), LAYERNORM_DROPPED);
}

/* Norms alternate: before attention, before the feed-forward layer; the final one is last. */
static struct ruvm_bias norm_bias(const struct ruvm_engine *e, uint32_t norm)
{
    static const enum ruvm_bias_kind kinds[2] = {RUVM_BIAS_ATTN_NORM, RUVM_BIAS_FFN_NORM};
    uint32_t layer = norm / 2;
    return ruvm_image_bias(
        &e->img, layer == e->img.n_layers ? RUVM_BIAS_FINAL_NORM : kinds[norm % 2], layer);
}

/* The input of token t, normalised, into e->vector; returns the worth of one step. */
static struct ruvm_real norm_token(struct ruvm_engine *e, uint32_t norm, uint32_t t)
{
    const struct ruvm_image *img = &e->img;
    const int32_t *h = e->layer_input + (size_t)t * img->dim;
    const int16_t *gain = img->norm_gain + (size_t)norm * img->dim;
    struct ruvm_real unit =
        img->norm == RUVM_NORM_LAYER ? layer_norm(e, h, gain) : rms_norm(e, h, gain);
    unit = ruvm_real_shift(unit, img->norm_exp[norm]);
    return ruvm_vector_add_bias(e, e->vector, norm_bias(e, norm), unit);
}

static void norm_one(struct ruvm_engine *e, uint32_t norm, uint32_t group, uint32_t t)
{
    struct ruvm_real unit = norm_token(e, norm, t);
    ruvm_vector_quantize(e, t, e->vector, e->img.dim, group, unit);
}

struct norm {
    uint32_t norm, group;
};

static void norm_tokens(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct norm *n = job;
    for (uint32_t t = first; t < end; t++)
        norm_one(e, n->norm, n->group, t);
}

void ruvm_vector_norm(struct ruvm_engine *e, uint32_t norm, uint32_t group, uint32_t n_tokens)
{
    struct norm n = {norm, group};
    ruvm_parallel_tokens(e, n_tokens, e->img.dim, norm_tokens, &n);
}

/* Of the one token whose logits were wanted last, which lies in front. */
void ruvm_engine_hidden(struct ruvm_engine *e, int32_t *x)
{
    struct ruvm_ratio r =
        ruvm_real_ratio(ruvm_real_shift(norm_token(e, 2u * e->img.n_layers, 0), 16));
    for (uint32_t i = 0; i < e->img.dim; i++)
        x[i] = ruvm_fixed_scale(e->vector[i], r, INT32_MAX);
}

/* ---- after a matrix ------------------------------------------------------ */

/* A sum of n signs is so small that a 16-bit scale would take most of its bits: it is
 * brought to the others' 30. */
enum { XNOR_LIFT = 14 };

static void lift(int32_t *sums, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        sums[i] *= 1 << XNOR_LIFT;
}

/* What a step of the sums with group g of x, token t, is worth once rows are scaled. */
static struct ruvm_real unit_of(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                int32_t *sums, uint32_t t, uint32_t g)
{
    bool is_xnor = w->type == RUVM_TYPE_XNOR;
    if (is_xnor)
        lift(sums, w->rows);
    struct ruvm_real unit = is_xnor ? ruvm_real_shift(e->sign_unit[t], -XNOR_LIFT)
                                    : e->x_unit[(size_t)t * RUVM_MAX_GROUPS + g];
    return ruvm_real_shift(unit, w->scale_exp + 16);
}

struct ruvm_real ruvm_vector_rescale(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                     int32_t *sums, uint32_t t)
{
    struct ruvm_real unit = unit_of(e, w, sums, t, 0);
    e->k->rescale(sums, w->scales, w->rows);
    return unit;
}

void ruvm_vector_add(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                     const struct ruvm_sums *s, int32_t *h)
{
    struct ruvm_real unit = unit_of(e, w, s->v, s->token, s->group);
    struct ruvm_ratio r = ruvm_real_ratio(ruvm_real_shift(unit, -s->exp));
    e->k->add_scaled(h, s->v, w->rows,
                     &(struct ruvm_addition){w->scales, r.mult, r.shift, s->is_first});
}

static uint32_t largest_of(struct ruvm_bias b)
{
    int32_t largest = 0;
    for (uint32_t i = 0; i < b.n; i++) {
        int32_t a = b.m[i] < 0 ? -b.m[i] : b.m[i];
        largest = a > largest ? a : largest;
    }
    return (uint32_t)largest;
}

/* Both are brought to a unit in which the larger one takes 29 bits, so that what is added
 * is off by no more than a step of that, and the sum has room. */
enum { BIASED_BITS = 29 };

struct ruvm_real ruvm_vector_add_bias(const struct ruvm_engine *e, int32_t *v, struct ruvm_bias b,
                                      struct ruvm_real unit)
{
    if (!b.m)
        return unit;
    struct ruvm_real most = ruvm_real_mul(ruvm_real_make(e->k->amax(v, b.n), 0), unit);
    struct ruvm_real bias = ruvm_real_make(largest_of(b), b.exp);
    if (bias.m == 0)
        return unit;
    int32_t top = most.m && most.e > bias.e ? most.e : bias.e;
    int32_t step = top + 32 - BIASED_BITS;
    struct ruvm_ratio r = ruvm_real_ratio(ruvm_real_shift(unit, -step));
    e->k->scale(v, b.n, r.mult, r.shift);
    r = ruvm_real_ratio(ruvm_real_make(1, b.exp - step));
    e->k->add_bias(v, b.m, b.n, r.mult, r.shift);
    return ruvm_real_make(1, step);
}

/* What a matrix adds to the residual of so many tokens. */
struct addition {
    const struct ruvm_tensor *w;
    struct ruvm_bias bias;
    uint32_t group, n_tokens;
};

/* How many groups are multiplied before their sums are added: for few tokens, all that have
 * room, so that kernels walk over panels once. */
static uint32_t groups_together(const struct ruvm_engine *e, const struct addition *a)
{
    uint32_t room = e->work_ints / a->w->rows / a->n_tokens;
    if (a->n_tokens > RUVM_PANELS_FEW_VECS || !panels_of(e, a->w))
        return 1;
    return room < RUVM_MAX_GROUPS ? room : RUVM_MAX_GROUPS;
}

static void multiply_groups(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                            const struct ruvm_part *p, uint32_t group)
{
    const uint8_t *panels = panels_of(e, w);
    if (panels)
        multiply_panels(e, w, panels, p, group);
    else
        ruvm_vector_matmul_part(e, w, p);
}

/* The rows of w, which begin at `row`, times each group of the vectors; every group has a
 * scale of its own. */
static void add_products(struct ruvm_engine *e, const struct addition *a,
                         const struct ruvm_tensor *w, uint32_t row)
{
    uint32_t dim = a->w->rows, n = groups_together(e, a);
    struct ruvm_part p = {.row = row,
                          .n_cols = n * a->group,
                          .n_tokens = a->n_tokens,
                          .out = e->work + row,
                          .out_stride = dim};
    struct ruvm_sums s = {.exp = e->img.resid_exp};
    for (; p.col < w->cols; p.col += n * a->group) {
        multiply_groups(e, w, &p, a->group);
        for (uint32_t i = 0; i < n && p.col + i * a->group < w->cols; i++, s.group++) {
            for (s.token = 0; s.token < a->n_tokens; s.token++) {
                size_t at = (size_t)s.token * dim + row;
                s.v = e->work + (size_t)i * a->n_tokens * dim + at;
                ruvm_vector_add(e, w, &s, e->residual + at);
            }
        }
    }
}

/* The residual has a unit of its own, which any bias can be brought to. */
static void add_bias_to_residual(struct ruvm_engine *e, const struct addition *a, uint32_t row,
                                 uint32_t n)
{
    struct ruvm_ratio r = ruvm_real_ratio(ruvm_real_make(1, a->bias.exp - e->img.resid_exp));
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        int32_t *h = e->residual + (size_t)t * a->w->rows + row;
        e->k->add_bias(h, a->bias.m + row, n, r.mult, r.shift);
    }
}

/* Items are as many rows as a panel has. Nobody else touches these values of the residual, so
 * a thread multiplies and adds without waiting for the others in between. */
static void add_rows(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct addition *a = job;
    uint32_t row = first * RUVM_PANEL_ROWS, stop = end * RUVM_PANEL_ROWS;
    uint32_t n = (stop < a->w->rows ? stop : a->w->rows) - row;
    struct ruvm_tensor rows = ruvm_vector_rows(a->w, row, n);
    add_products(e, a, &rows, row);
    if (a->bias.m)
        add_bias_to_residual(e, a, row, n);
}

void ruvm_vector_add_to_residual(struct ruvm_engine *e, const struct ruvm_tensor *w,
                                 struct ruvm_bias bias, uint32_t group, uint32_t n_tokens)
{
    struct addition a = {.w = w, .bias = bias, .group = group, .n_tokens = n_tokens};
    ruvm_parallel_for(e, (w->rows + RUVM_PANEL_ROWS - 1) / RUVM_PANEL_ROWS,
                      (uint64_t)w->rows * w->cols * n_tokens, add_rows, &a);
}
