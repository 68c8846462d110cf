/* Classifiers: a row of numbers goes through layers, each a matrix, a bias and an activation.
 *
 * Between two layers stands a raw vector (int32 steps with one worth for all of it), which is
 * quantized to int8 by its own largest value; nothing has a fixed range but the inputs. The
 * activations that bend need an absolute unit: they are looked up at 15 bits, in Q12.
 */
#include "lib/core/mlp.h"

#include "kernels/exact.h"
#include "lib/base/bytes.h"

enum { REGION_ALIGN = 16, INPUT_MAX = 32767 };

_Static_assert((int)RUVM_MLP_IS_LOGITS == RUVM_MLP_OUT_LOGITS &&
                   (int)RUVM_MLP_IS_SOFTMAX == RUVM_MLP_OUT_SOFTMAX &&
                   (int)RUVM_MLP_IS_SIGMOID == RUVM_MLP_OUT_SIGMOID,
               "ruvm.h names the outputs as the image does");

/* ---- memory -------------------------------------------------------------- */

static void *carve(uint8_t *base, size_t *used, size_t count, size_t size)
{
    void *p = base ? base + *used : NULL;
    *used = ruvm_align_up(*used + count * size, REGION_ALIGN);
    return p;
}

/* The one description of the memory; with NULL it only counts. Widths have 16 bits, so that no
 * sum overflows. */
static size_t carve_regions(struct ruvm_mlp *m, uint8_t *memory)
{
    struct ruvm_engine *e = &m->vectors;
    size_t used = 0;
    carve(memory, &used, 1, sizeof *m);
    e->work = carve(memory, &used, e->work_ints, sizeof *e->work);
    e->x = carve(memory, &used, 1, e->x_stride);
    e->x_unit = carve(memory, &used, RUVM_MAX_GROUPS, sizeof *e->x_unit);
    e->signs = carve(memory, &used, 1, e->sign_stride);
    e->sign_unit = carve(memory, &used, 1, sizeof *e->sign_unit);
    return used;
}

/* x holds the widest input of a layer, work the widest vector at all. */
static void set_widths(struct ruvm_mlp *m)
{
    const struct ruvm_image *img = &m->image.img;
    struct ruvm_engine *e = &m->vectors;
    uint32_t widest = img->dim > img->hidden ? img->dim : img->hidden;
    e->x_stride = ruvm_vector_padded(widest);
    e->work_ints = widest > img->vocab ? widest : img->vocab;
    for (unsigned i = 0; i < img->n_tensors; i++)
        if (ruvm_image_tensor(img, i).type == RUVM_TYPE_XNOR)
            e->sign_stride = (uint32_t)ruvm_align_up(e->x_stride / 8, REGION_ALIGN);
}

static int open_image(struct ruvm_mlp *m, const void *image, size_t image_bytes)
{
    *m = (struct ruvm_mlp){0};
    int rc = ruvm_mlp_image_open(&m->image, image, image_bytes, NULL);
    if (rc == RUVM_OK)
        set_widths(m);
    return rc;
}

int ruvm_mlp_bytes(const void *image, size_t image_bytes, size_t *bytes)
{
    struct ruvm_mlp m;
    int rc = open_image(&m, image, image_bytes);
    if (rc == RUVM_OK)
        *bytes = carve_regions(&m, NULL);
    return rc;
}

int ruvm_mlp_init(struct ruvm_mlp **mlp, void *memory, size_t memory_bytes, const void *image,
                  size_t image_bytes, const struct ruvm_kernels *kernels)
{
    struct ruvm_mlp m;
    int rc = open_image(&m, image, image_bytes);
    if (rc != RUVM_OK)
        return rc;
    if (((uintptr_t)memory & (REGION_ALIGN - 1)) != 0)
        return RUVM_ERR_ARG;
    if (carve_regions(&m, NULL) > memory_bytes)
        return RUVM_ERR_MEMORY;
    carve_regions(&m, memory);
    m.vectors.k = kernels ? kernels : &ruvm_kernels_scalar;
    *mlp = memory;
    **mlp = m;
    return RUVM_OK;
}

int ruvm_mlp_info(struct ruvm_mlp_info *info, const void *image, size_t image_bytes)
{
    struct ruvm_mlp_image m;
    int rc = ruvm_mlp_image_open(&m, image, image_bytes, NULL);
    if (rc != RUVM_OK)
        return rc;
    *info = (struct ruvm_mlp_info){.n_inputs = m.img.dim,
                                   .n_outputs = m.img.vocab,
                                   .n_classes = (uint16_t)ruvm_mlp_image_classes(&m),
                                   .n_layers = m.img.n_layers,
                                   .output = m.output,
                                   .has_labels = m.labels != NULL};
    for (unsigned i = 0; i < m.img.n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&m.img, i);
        info->n_weights += (uint64_t)t.rows * t.cols;
    }
    return RUVM_OK;
}

/* ---- the way through ----------------------------------------------------- */

/* A vector at hand, and the worth of one of its steps. */
struct raw {
    int32_t *v; /* [n] */
    uint32_t n;
    struct ruvm_real unit;
};

static struct raw take_inputs(const struct ruvm_mlp *m, const int32_t *x)
{
    struct raw r = {.v = m->vectors.work,
                    .n = m->image.img.dim,
                    .unit = ruvm_real_make(1, -RUVM_MLP_INPUT_BITS)};
    for (uint32_t i = 0; i < r.n; i++) {
        struct ruvm_mlp_input in = ruvm_mlp_image_input(&m->image, i);
        int64_t y = ((int64_t)x[i] - in.centre) * in.mult;
        y = (y + ((int64_t)1 << (in.shift - 1))) >> in.shift;
        r.v[i] = y > INPUT_MAX ? INPUT_MAX : y < -INPUT_MAX ? -INPUT_MAX : (int32_t)y;
    }
    return r;
}

static void multiply(struct ruvm_mlp *m, const struct ruvm_mlp_layer *layer, struct raw *r)
{
    struct ruvm_engine *e = &m->vectors;
    ruvm_vector_quantize(e, 0, r->v, r->n, e->x_stride, r->unit);
    const struct ruvm_part all = {
        .n_cols = e->x_stride, .n_tokens = 1, .out = r->v, .out_stride = layer->w.rows};
    ruvm_vector_matmul_part(e, &layer->w, &all);
    r->n = layer->w.rows;
    r->unit = ruvm_vector_rescale(e, &layer->w, r->v, 0);
    r->unit = ruvm_vector_add_bias(e, r->v, layer->bias, r->unit);
}

static void leak(struct raw *r, uint32_t slope)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->v[i] < 0)
            r->v[i] = (int32_t)(((int64_t)r->v[i] * slope + 32768) >> 16);
}

/* Brings a vector to 15 bits, and tells how from there to Q12 of its value times 2^up. */
static struct ruvm_ratio narrow(const struct ruvm_mlp *m, struct raw *r, int32_t up)
{
    uint32_t bits = ruvm_bits(m->vectors.k->amax(r->v, r->n));
    uint32_t down = bits > 15 ? bits - 15 : 0;
    for (uint32_t i = 0; i < r->n; i++)
        r->v[i] >>= down;
    r->unit = ruvm_real_shift(r->unit, (int32_t)down);
    return ruvm_real_ratio_q12(ruvm_real_shift(r->unit, up));
}

static int32_t sigmoid(int32_t v, struct ruvm_ratio to_q12)
{
    return ruvm_sigmoid_q15((v * (int32_t)to_q12.mult) >> to_q12.shift);
}

/* tanh(x) = 2 sigmoid(2x) - 1; silu(x) = x sigmoid(x). */
static void bend(const struct ruvm_mlp *m, struct raw *r, int act)
{
    struct ruvm_ratio to_q12 = narrow(m, r, act == RUVM_MLP_ACT_TANH);
    for (uint32_t i = 0; i < r->n; i++) {
        int32_t s = sigmoid(r->v[i], to_q12);
        if (act == RUVM_MLP_ACT_TANH)
            s = 2 * s - 32768;
        r->v[i] = act == RUVM_MLP_ACT_SILU ? r->v[i] * s : s;
    }
    r->unit = act == RUVM_MLP_ACT_SILU ? ruvm_real_shift(r->unit, -15) : ruvm_real_make(1, -15);
}

static void gelu(const struct ruvm_mlp *m, struct raw *r, uint32_t row)
{
    struct ruvm_ratio to_q12 = narrow(m, r, 0);
    const struct ruvm_gelu p = {.row = row, .mult = to_q12.mult, .shift = to_q12.shift};
    m->vectors.k->gelu(r->v, r->v, r->n, &p);
    r->unit = ruvm_real_shift(r->unit, -15);
}

static void activate(const struct ruvm_mlp *m, const struct ruvm_mlp_layer *layer, struct raw *r)
{
    switch (layer->act) {
    case RUVM_MLP_ACT_NONE: return;
    case RUVM_MLP_ACT_RELU: m->vectors.k->relu(r->v, r->v, r->n); return;
    case RUVM_MLP_ACT_LEAKY_RELU: leak(r, layer->slope); return;
    case RUVM_MLP_ACT_GELU_TANH: gelu(m, r, 0); return;
    case RUVM_MLP_ACT_GELU_ERF: gelu(m, r, 1); return;
    default: bend(m, r, layer->act);
    }
}

void ruvm_mlp_run(struct ruvm_mlp *mlp, const int32_t *x, int32_t *logits)
{
    struct raw r = take_inputs(mlp, x);
    for (unsigned i = 0; i < mlp->image.img.n_layers; i++) {
        struct ruvm_mlp_layer layer = ruvm_mlp_image_layer(&mlp->image, i);
        multiply(mlp, &layer, &r);
        activate(mlp, &layer, &r);
    }
    struct ruvm_ratio to_q16 = ruvm_real_ratio(ruvm_real_shift(r.unit, 16));
    for (uint32_t i = 0; i < r.n; i++)
        logits[i] = ruvm_fixed_scale(r.v[i], to_q16, INT32_MAX);
}

int8_t ruvm_mlp_input_exp(const struct ruvm_mlp *mlp, uint32_t i)
{
    return ruvm_mlp_image_input(&mlp->image, i).exp;
}

/* ---- what the logits say ------------------------------------------------- */

uint32_t ruvm_mlp_best(const struct ruvm_mlp *mlp, const int32_t *logits)
{
    uint32_t best = 0, n = mlp->image.img.vocab;
    if (n == 1)
        return logits[0] > 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* 2^-t in 14 bits with t = (top - logit) * log2(e) in Q15. */
static uint32_t softmax_weight(int32_t top, int32_t logit)
{
    const uint64_t log2_e = 1549082004; /* Q30; Q16 times it is Q46 */
    return ruvm_exp2_weight((uint64_t)((int64_t)top - logit) * log2_e >> 31);
}

static void softmax(const int32_t *logits, uint32_t n, int32_t top, uint16_t *p)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += softmax_weight(top, logits[i]);
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint16_t)(((softmax_weight(top, logits[i]) << 15) + sum / 2) / sum);
}

void ruvm_mlp_probabilities(const struct ruvm_mlp *mlp, const int32_t *logits, uint16_t *p)
{
    uint32_t n = mlp->image.img.vocab;
    if (mlp->image.output != RUVM_MLP_OUT_SIGMOID) {
        softmax(logits, n, logits[n == 1 ? 0 : ruvm_mlp_best(mlp, logits)], p);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint16_t)ruvm_sigmoid_q15(logits[i] >> 4);
}

const char *ruvm_mlp_label(const struct ruvm_mlp *mlp, uint32_t i, size_t *n_bytes)
{
    return ruvm_mlp_image_label(&mlp->image, i, n_bytes);
}
