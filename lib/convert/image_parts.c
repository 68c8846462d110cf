/* Turns the real numbers of a model, other than its matrices, into what the engine reads.
 *
 * Everything is double arithmetic on values that a float model or the
 * calibration gave; the results are rounded once, at the end.
 */
#include "lib/convert/image_parts.h"

#include <math.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "lib/quant/mantissa.h"

/* ---- ARCH ------------------------------------------------------------------ */

enum { RESIDUAL_HEADROOM = 16, RESIDUAL_MIN_EXP = -24 };

static double size_of(struct ruvm_range r)
{
    return r.low > r.high ? 0.0 : fmax(fabs((double)r.low), fabs((double)r.high));
}

static int residual_exp(const struct ruvm_calibration *c)
{
    double wanted = size_of(c->residual) * RESIDUAL_HEADROOM;
    int e = RESIDUAL_MIN_EXP;
    while (e < RUVM_MAX_EXP && wanted > ldexp(1.0, 30 + e))
        e++;
    return e;
}

/* A float's 24 bits as a mantissa of 31. */
struct split {
    uint32_t mantissa;
    int8_t exp;
};

static struct split split(float x)
{
    int exp = 0;
    double fraction = x > 0.0f ? frexp((double)x, &exp) : 0.0;
    exp -= 31;
    uint32_t mantissa = (uint32_t)(fraction * 0x1p31);
    for (; exp < RUVM_MIN_EXP; exp++)
        mantissa >>= 1;
    return (struct split){mantissa, (int8_t)(mantissa ? exp : 0)};
}

/* How many layers do not see the whole context. */
static uint32_t count_windows(const struct ruvm_model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; m->window && i < m->n_layers; i++)
        n += ruvm_model_window(m, i) < m->context;
    return n;
}

void ruvm_image_parts_arch(struct ruvm_buffer *out, const struct ruvm_model *m,
                           const struct ruvm_calibration *c)
{
    uint8_t *arch = ruvm_buffer_zeros(out, RUVM_ARCH_BYTES);
    struct split eps = split(m->norm_eps), score = split(m->score_scale);
    if (!arch)
        return;
    arch[RUVM_ARCH_NORM] = m->norm;
    arch[RUVM_ARCH_ACT] = m->act;
    arch[RUVM_ARCH_POS] = m->pos;
    arch[RUVM_ARCH_FLAGS] = (uint8_t)((m->tied ? RUVM_ARCH_FLAG_TIED : 0) |
                                      (m->parallel ? RUVM_ARCH_FLAG_PARALLEL : 0));
    ruvm_store_u16(arch + RUVM_ARCH_HEAD_DIM, (uint16_t)m->head_dim);
    ruvm_store_u16(arch + RUVM_ARCH_ROPE_DIMS, (uint16_t)m->rotary_dim);
    ruvm_store_u32(arch + RUVM_ARCH_EPS, eps.mantissa);
    arch[RUVM_ARCH_EPS_EXP] = (uint8_t)eps.exp;
    arch[RUVM_ARCH_RESID_EXP] = (uint8_t)residual_exp(c);
    if (count_windows(m))
        ruvm_store_u16(arch + RUVM_ARCH_WINDOW, (uint16_t)m->window);
    ruvm_store_u32(arch + RUVM_ARCH_SCORE, score.mantissa);
    arch[RUVM_ARCH_SCORE_EXP] = (uint8_t)score.exp;
}

void ruvm_image_parts_window(struct ruvm_buffer *out, const struct ruvm_model *m)
{
    uint32_t n = count_windows(m);
    for (uint32_t i = 0; n > 0 && n < m->n_layers && i < m->n_layers; i++)
        ruvm_buffer_u8(out, m->layers[i].windowed);
}

/* ---- NORM and BIAS --------------------------------------------------------- */

static int largest_size(double *largest, const float *x, uint32_t n, const char *name,
                        struct ruvm_error *err)
{
    *largest = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        double size = fabs((double)x[i]);
        if (!ruvm_mantissa_fits(2.0 * size)) /* a NaN neither */
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: value %u is %g; the file is damaged or its training diverged",
                             name, i, (double)x[i]);
        *largest = fmax(*largest, size);
    }
    return RUVM_OK;
}

/* Gains and biases are signed: they have 15 bits of the 16 that a scale has. x is room for
 * the n values. */
static int add_vector(struct ruvm_buffer *out, size_t exp_off, const struct ruvm_view *view,
                      float *x, uint32_t n, struct ruvm_error *err)
{
    double largest;
    ruvm_view_row(view, 0, x);
    int rc = largest_size(&largest, x, n, view->name, err);
    if (rc != RUVM_OK)
        return rc;
    int exp = largest > 0.0 ? ruvm_mantissa_exponent(2.0 * largest) : 0;
    for (uint32_t i = 0; i < n; i++) {
        double m = round(ldexp((double)x[i], -exp));
        ruvm_buffer_u16(out, (uint16_t)(int16_t)fmax(fmin(m, INT16_MAX), -INT16_MAX));
    }
    if (!out->failed)
        out->data[exp_off] = (uint8_t)exp;
    return RUVM_OK;
}

int ruvm_image_parts_norm(struct ruvm_buffer *out, struct ruvm_arena *arena,
                          const struct ruvm_model *m, struct ruvm_error *err)
{
    uint32_t n = 2 * m->n_layers + 1;
    size_t start = out->size;
    float *gain = ruvm_arena_alloc(arena, m->dim, sizeof *gain);
    if (!gain)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the norms");
    ruvm_buffer_zeros(out, ruvm_align_up(n, RUVM_SEC_ALIGN));
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < m->n_layers && rc == RUVM_OK; i++) {
        rc = add_vector(out, start + 2 * i, m->layers[i].attn_norm, gain, m->dim, err);
        if (rc == RUVM_OK)
            rc = add_vector(out, start + 2 * i + 1, m->layers[i].ffn_norm, gain, m->dim, err);
    }
    return rc == RUVM_OK ? add_vector(out, start + n - 1, m->final_norm, gain, m->dim, err) : rc;
}

static uint32_t bias_length(const struct ruvm_model *m, int kind)
{
    switch (kind) {
    case RUVM_BIAS_WQ: return m->n_heads * m->head_dim;
    case RUVM_BIAS_WK:
    case RUVM_BIAS_WV: return m->n_kv_heads * m->head_dim;
    case RUVM_BIAS_W_UP:
    case RUVM_BIAS_W_GATE: return m->hidden;
    default: return m->dim;
    }
}

static uint32_t count_biases(const struct ruvm_model *m, unsigned kinds)
{
    uint32_t n = 0;
    for (unsigned k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
        n += kinds >> k & 1;
    return n * m->n_layers + (kinds >> RUVM_BIAS_FINAL_NORM & 1);
}

static uint32_t longest_bias(const struct ruvm_model *m)
{
    uint32_t longest = 0;
    for (int k = 0; k < RUVM_N_BIASES; k++)
        longest = bias_length(m, k) > longest ? bias_length(m, k) : longest;
    return longest;
}

/* A layer without a bias that others have gets zeros. */
static int add_layer_biases(struct ruvm_buffer *out, size_t *exp_off, const struct ruvm_model *m,
                            uint32_t layer, unsigned kinds, float *work, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    for (int k = 0; k < RUVM_BIAS_FINAL_NORM && rc == RUVM_OK; k++) {
        const struct ruvm_view *view = m->layers[layer].bias[k];
        if (!(kinds >> k & 1))
            continue;
        if (view)
            rc = add_vector(out, *exp_off, view, work, bias_length(m, k), err);
        else
            ruvm_buffer_zeros(out, 2 * (size_t)bias_length(m, k));
        (*exp_off)++;
    }
    return rc;
}

int ruvm_image_parts_bias(struct ruvm_buffer *out, struct ruvm_arena *arena,
                          const struct ruvm_model *m, struct ruvm_error *err)
{
    unsigned kinds = ruvm_model_bias_kinds(m);
    if (kinds == 0)
        return RUVM_OK;
    float *work = ruvm_arena_alloc(arena, longest_bias(m), sizeof *work);
    if (!work)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the biases");
    size_t exp_off = out->size + RUVM_BIAS_EXPS;
    ruvm_buffer_u16(out, (uint16_t)kinds);
    ruvm_buffer_zeros(out, ruvm_align_up(RUVM_BIAS_EXPS + count_biases(m, kinds), RUVM_SEC_ALIGN) -
                               RUVM_BIAS_EXPS);
    int rc = RUVM_OK;
    for (uint32_t l = 0; l < m->n_layers && rc == RUVM_OK; l++)
        rc = add_layer_biases(out, &exp_off, m, l, kinds, work, err);
    if (rc == RUVM_OK && m->final_bias)
        rc = add_vector(out, exp_off, m->final_bias, work, m->dim, err);
    return rc;
}

/* ---- ROPE ------------------------------------------------------------------ */

void ruvm_image_parts_rope(struct ruvm_buffer *out, const struct ruvm_model *m)
{
    const double turn = 6.283185307179586;
    for (uint32_t i = 0; i < m->rotary_dim / 2; i++)
        ruvm_buffer_u32(out, (uint32_t)llround(ruvm_model_turn(m, i) / turn * 0x1p32));
}

/* ---- KVSC ------------------------------------------------------------------ */

/* Ranges grow by this much: what was not seen is clipped, what is granted in vain costs
 * resolution. Mean KL of the whole image on 2 * 16k held-out tokens of stories260K, in
 * texts of a whole context, in 1/1000 (samples that fill the context, 8k or 2k of them):
 *             1.0   1.05  1.1   1.15  1.2
 *   8k        2.33  2.21  2.25  2.31
 *   2k              3.25  2.87        2.63
 * In single stories 8k give 2.19, 2.15, 2.23, 2.20. Samples that stop where a story ends
 * gave 3.14, 2.66, 2.48, 2.44 here: they hardly visit the second half of a context. */
#define MARGIN 1.1

/* A channel this much quieter than the loudest is not resolved further. Scales and inverses
 * have 16 bits; the coarser of the two then keeps 6, the product of both 10. */
#define QUIETEST (1.0 / 1024)

struct channel {
    double centre, step; /* step > 0 */
};

static struct channel channel_of(struct ruvm_range r, bool centred)
{
    struct channel c = {0.0, 0.0};
    if (r.low > r.high)
        return c;
    c.centre = centred ? ((double)r.low + (double)r.high) / 2 : 0.0;
    double half = centred ? ((double)r.high - (double)r.low) / 2 : size_of(r);
    c.step = fmax(half * MARGIN / 127, fabs(c.centre) / RUVM_KVSC_ZERO_MAX);
    return c;
}

struct scale {
    uint16_t mantissa, inverse;
};

/* The coarser mantissa is rounded first and the other one made from it, so that storing
 * and loading a value do not differ in scale. */
static struct scale round_scale(double step, int exp, int inverse_exp)
{
    struct scale s;
    if (ldexp(step, -exp) < ldexp(1.0 / step, -inverse_exp)) {
        s.mantissa = ruvm_mantissa_round(step, exp);
        s.inverse = ruvm_mantissa_round(1.0 / ldexp(s.mantissa, exp), inverse_exp);
    } else {
        s.inverse = ruvm_mantissa_round(1.0 / step, inverse_exp);
        s.mantissa = ruvm_mantissa_round(1.0 / ldexp(s.inverse, inverse_exp), exp);
    }
    return s;
}

static void put_zero(uint8_t *to, double steps)
{
    steps = fmin(fmax(round(steps), -RUVM_KVSC_ZERO_MAX), RUVM_KVSC_ZERO_MAX);
    ruvm_store_u16(to, (uint16_t)(int16_t)steps);
}

/* Where the values of a record go. zero: NULL for values, whose channels have no centre. */
struct record {
    uint8_t *exps;                   /* of scale and inverse */
    uint8_t *scale, *inverse, *zero; /* [n] */
};

static void put_channels(struct record to, const struct ruvm_range *range, uint32_t n)
{
    double largest = 0.0, smallest = (double)INFINITY;
    for (uint32_t i = 0; i < n; i++)
        largest = fmax(largest, channel_of(range[i], to.zero != NULL).step);
    largest = largest > 0.0 ? largest : 1.0;
    for (uint32_t i = 0; i < n; i++)
        smallest = fmin(smallest, channel_of(range[i], to.zero != NULL).step);
    smallest = fmax(smallest, largest * QUIETEST);
    int exp = ruvm_mantissa_exponent(largest), inverse_exp = ruvm_mantissa_exponent(1.0 / smallest);
    for (uint32_t i = 0; i < n; i++) {
        struct channel c = channel_of(range[i], to.zero != NULL);
        struct scale s = round_scale(fmax(c.step, smallest), exp, inverse_exp);
        ruvm_store_u16(to.scale + 2 * (size_t)i, s.mantissa);
        ruvm_store_u16(to.inverse + 2 * (size_t)i, s.inverse);
        if (to.zero)
            put_zero(to.zero + 2 * (size_t)i, c.centre * ldexp(s.inverse, inverse_exp));
    }
    to.exps[0] = (uint8_t)exp;
    to.exps[1] = (uint8_t)inverse_exp;
}

void ruvm_image_parts_kv(struct ruvm_buffer *out, const struct ruvm_calibration *c)
{
    size_t n = c->kv_dim, bytes = 2 * n;
    for (uint32_t l = 0; l < c->n_layers; l++) {
        uint8_t *record = ruvm_buffer_zeros(out, RUVM_KVSC_ARRAYS + 5 * bytes);
        if (!record)
            return;
        uint8_t *a = record + RUVM_KVSC_ARRAYS;
        put_channels((struct record){record + RUVM_KVSC_K_EXP, a, a + bytes, a + 4 * bytes},
                     c->key + l * n, c->kv_dim);
        put_channels((struct record){record + RUVM_KVSC_V_EXP, a + 2 * bytes, a + 3 * bytes, NULL},
                     c->value + l * n, c->kv_dim);
    }
}
