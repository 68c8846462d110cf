/* Finds norms in an ONNX graph.
 *
 * What PyTorch's exporter writes depends on the opset: LayerNormalization from 17 on, before that
 * the mean, the difference from it, its square, the mean of that, and so on; RMSNorm is written by
 * hand in every model. Both are gain * (x / sqrt(mean(x^2) + eps)) [+ bias], of x or of x -
 * mean(x).
 */
#include "lib/import/onnx_norm.h"

/* A constant of floats, one for each value of the residual. */
static bool is_vector(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t dim,
                      uint32_t *tensor)
{
    struct ruvm_view v = {0};
    *tensor = value == RUVM_ONNX_NONE ? value : w->constants[value].tensor;
    return *tensor != RUVM_ONNX_NONE && w->o->tensors[*tensor].n_values == dim &&
           ruvm_onnx_view(&w->o->tensors[*tensor], &v);
}

/* ---- taken apart ---------------------------------------------------------------------------- */

/* x when a value is x - mean(x); else the value. */
static uint32_t before_centre(const struct ruvm_onnx_walk *w, uint32_t value, bool *centred)
{
    value = w->same[value];
    const struct ruvm_onnx_node *sub = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_SUB);
    *centred = false;
    if (!sub || sub->n_in != 2 || sub->in[0] == RUVM_ONNX_NONE || sub->in[1] == RUVM_ONNX_NONE)
        return value;
    const struct ruvm_onnx_node *mean =
        ruvm_onnx_walk_maker(w, w->same[sub->in[1]], RUVM_ONNX_OP_MEAN);
    if (!mean || mean->n_in < 1 || mean->in[0] == RUVM_ONNX_NONE ||
        w->same[mean->in[0]] != w->same[sub->in[0]])
        return value;
    *centred = true;
    return w->same[sub->in[0]];
}

/* x when a value is x^2 or x * x. */
static bool square_of(const struct ruvm_onnx_walk *w, uint32_t value, uint32_t *x)
{
    const struct ruvm_onnx_node *pow = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_POW);
    const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_MUL);
    const struct ruvm_onnx_node *node = pow ? pow : mul;
    double exponent = 2;
    if (!node || node->n_in != 2 || node->in[0] == RUVM_ONNX_NONE ||
        (pow && !ruvm_onnx_walk_scalar(w, pow->in[1], &exponent)) ||
        (mul && mul->in[0] != mul->in[1]))
        return false;
    *x = node->in[0];
    return exponent > 1.999 && exponent < 2.001;
}

/* eps and x when a value is the mean of the squares of x, plus eps. */
static bool mean_square(const struct ruvm_onnx_walk *w, uint32_t value, struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_node *add = ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_ADD);
    for (uint32_t side = 0; add && add->n_in == 2 && side < 2; side++) {
        uint32_t mean_value = add->in[side];
        if (mean_value == RUVM_ONNX_NONE ||
            !ruvm_onnx_walk_scalar(w, add->in[1 - side], &norm->eps))
            continue;
        const struct ruvm_onnx_node *mean =
            ruvm_onnx_walk_maker(w, w->same[mean_value], RUVM_ONNX_OP_MEAN);
        if (!mean || mean->n_in < 1 || mean->in[0] == RUVM_ONNX_NONE ||
            !square_of(w, w->same[mean->in[0]], &norm->in))
            continue;
        norm->in = before_centre(w, norm->in, &norm->centred);
        return true;
    }
    return false;
}

/* Whether a value is 1 / sqrt(mean square + eps) (inverse), or the root itself. */
static bool is_root(const struct ruvm_onnx_walk *w, uint32_t value, bool inverse,
                    struct ruvm_onnx_norm *norm)
{
    double one = 1;
    value = w->same[value];
    if (inverse) {
        const struct ruvm_onnx_node *node = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_RECIPROCAL);
        const struct ruvm_onnx_node *div = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_DIV);
        if (div && (div->n_in != 2 || !ruvm_onnx_walk_scalar(w, div->in[0], &one)))
            return false;
        uint32_t in = node && node->n_in == 1 ? node->in[0] : div ? div->in[1] : RUVM_ONNX_NONE;
        if (in == RUVM_ONNX_NONE || one < 1 || one > 1)
            return false;
        value = w->same[in];
    }
    const struct ruvm_onnx_node *sqrt = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_SQRT);
    return sqrt && sqrt->n_in == 1 && sqrt->in[0] != RUVM_ONNX_NONE &&
           mean_square(w, sqrt->in[0], norm);
}

/* Whether a value is x / rms(x), or the same of x - mean(x) in both places. */
static bool is_normalised(const struct ruvm_onnx_walk *w, uint32_t value,
                          struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_MUL);
    const struct ruvm_onnx_node *div = ruvm_onnx_walk_maker(w, w->same[value], RUVM_ONNX_OP_DIV);
    const struct ruvm_onnx_node *node = mul ? mul : div;
    bool centred;
    if (!node || node->n_in != 2 || node->in[0] == RUVM_ONNX_NONE || node->in[1] == RUVM_ONNX_NONE)
        return false;
    for (uint32_t side = 0; side < (mul ? 2u : 1u); side++)
        if (is_root(w, node->in[1 - side], mul != NULL, norm) &&
            before_centre(w, node->in[side], &centred) == norm->in && centred == norm->centred)
            return true;
    return false;
}

/* gain * (x / rms(x)), in either order. */
static bool find_scaled(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t dim,
                        struct ruvm_onnx_norm *norm)
{
    const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, w->plain[value], RUVM_ONNX_OP_MUL);
    for (uint32_t side = 0; mul && mul->n_in == 2 && side < 2; side++)
        if (mul->in[1 - side] != RUVM_ONNX_NONE && is_vector(w, mul->in[side], dim, &norm->gain) &&
            is_normalised(w, mul->in[1 - side], norm))
            return true;
    return false;
}

/* ---- one operator -----------------------------------------------------------------------------
 */

static bool read_operator(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node,
                          uint64_t dim, struct ruvm_onnx_norm *norm)
{
    const double usual_eps = 1e-5; /* of both operators */
    struct ruvm_onnx_attribute a;
    if (node->n_in < 2 || node->in[0] == RUVM_ONNX_NONE ||
        !is_vector(w, node->in[1], dim, &norm->gain))
        return false;
    if (node->n_in > 2 && node->in[2] != RUVM_ONNX_NONE &&
        !is_vector(w, node->in[2], dim, &norm->bias))
        return false;
    norm->eps = ruvm_onnx_attribute(node, "epsilon", &a) ? (double)a.f : usual_eps;
    norm->in = w->same[node->in[0]];
    norm->centred = ruvm_onnx_walk_op(node) == RUVM_ONNX_OP_LAYER_NORM;
    return true;
}

bool ruvm_onnx_norm_find(const struct ruvm_onnx_walk *w, uint32_t value, uint64_t dim,
                         struct ruvm_onnx_norm *norm)
{
    uint32_t plain = w->plain[value];
    const struct ruvm_onnx_node *node = ruvm_onnx_walk_maker(w, plain, RUVM_ONNX_OP_LAYER_NORM);
    node = node ? node : ruvm_onnx_walk_maker(w, plain, RUVM_ONNX_OP_RMS_NORM);
    *norm = (struct ruvm_onnx_norm){.gain = RUVM_ONNX_NONE, .bias = RUVM_ONNX_NONE};
    if (node)
        return read_operator(w, node, dim, norm);
    const struct ruvm_onnx_node *add = ruvm_onnx_walk_maker(w, plain, RUVM_ONNX_OP_ADD);
    if (!add)
        return find_scaled(w, value, dim, norm);
    for (uint32_t side = 0; add->n_in == 2 && side < 2; side++)
        if (add->in[1 - side] != RUVM_ONNX_NONE && is_vector(w, add->in[side], dim, &norm->bias) &&
            find_scaled(w, add->in[1 - side], dim, norm))
            return true;
    return false;
}
