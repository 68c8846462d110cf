/* A small Llama as torch.onnx.export writes it: value names are short, the rest is alike. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/onnx_bytes.h"
#include "tests/support/onnx_nodes.h"

struct writing {
    const struct onnx_llama *l;
    struct onnx_graph g;
};

/* ---- weights ------------------------------------------------------------------------------- */

float onnx_llama_weight(const struct onnx_llama *l, const char *name, unsigned row, unsigned col)
{
    uint32_t h = 2166136261u;
    if (l->tied && strcmp(name, "lm_head.weight") == 0)
        name = "model.embed_tokens.weight";
    if (l->repeated && strstr(name, "norm.weight"))
        name = "norm.weight";
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    h = (h ^ row * 31u) * 16777619u;
    h = (h ^ col) * 16777619u;
    return (float)((int)(h >> 20 & 255) - 128) / 64;
}

static void put(struct writing *w, const char *stored, const char *name, unsigned rows,
                unsigned cols, bool by_columns)
{
    float *values = malloc(rows * cols * sizeof *values);
    for (unsigned r = 0; r < rows; r++)
        for (unsigned c = 0; c < cols; c++)
            values[by_columns ? c * rows + r : r * cols + c] = onnx_llama_weight(w->l, name, r, c);
    struct onnx_shape shape = by_columns ? SHAPE(cols, rows) : SHAPE(rows, cols);
    if (rows == 1 && !strstr(name, "_proj"))
        shape = SHAPE(cols);
    onnx_floats(&w->g.bytes, stored, shape, values, w->l->storage, w->l->external, w->l->location);
    free(values);
}

static const char *linear(struct writing *w, const char *x, const char *name, unsigned rows,
                          unsigned cols, bool bias)
{
    const char *weight = onnx_text("%s.weight", name),
               *stored = onnx_text("onnx::MatMul_%u", ++w->g.n);
    const char *out;
    bool is_embed = w->l->tied && strcmp(name, "lm_head") == 0 && (w->l->unfolded || w->l->gemm);
    if (w->l->unfolded || w->l->gemm)
        stored = is_embed ? "model.embed_tokens.weight" : weight;
    if (!is_embed)
        put(w, stored, weight, rows, cols, !w->l->unfolded && !w->l->gemm);
    if (w->l->gemm) {
        struct ruvm_buffer a = {0};
        onnx_attribute_int(&a, "transB", 1);
        out = onnx_op_with(&w->g, "Gemm", onnx_text("%s %s", x, stored), &a);
    } else if (w->l->unfolded) {
        struct ruvm_buffer a = {0};
        onnx_attribute_ints(&a, "perm", 2, (int64_t[]){1, 0});
        const char *t = onnx_op_with(&w->g, "Transpose", stored, &a);
        out = onnx_op(&w->g, "MatMul", onnx_text("%s %s", x, t));
    } else {
        out = onnx_op(&w->g, "MatMul", onnx_text("%s %s", x, stored));
    }
    if (!bias)
        return out;
    put(w, onnx_text("%s.bias", name), onnx_text("%s.bias", name), 1, rows, false);
    return onnx_two(&w->g, "Add", onnx_text("%s.bias", name), out);
}

static const char *gain(struct writing *w, const char *name)
{
    if (!w->l->repeated) {
        put(w, name, name, 1, w->l->dim, false);
        return name;
    }
    if (strstr(name, "layers.0.input"))
        put(w, "norm.weight", "norm.weight", 1, w->l->dim, false);
    onnx_node(&w->g.bytes, "Identity", "norm.weight", name, NULL);
    return name;
}

static const char *norm(struct writing *w, const char *x, const char *name, float eps)
{
    struct ruvm_buffer a = {0};
    if (w->l->odd == ONNX_LAYER_NORM)
        x = onnx_op(&w->g, "Sub", onnx_text("%s %s", x, onnx_op(&w->g, "ReduceMean", x)));
    const char *square = onnx_op(&w->g, "Pow", onnx_text("%s %s", x, onnx_number(&w->g, 2)));
    onnx_attribute_ints(&a, "axes", 1, (int64_t[]){-1});
    const char *mean = onnx_op_with(&w->g, "ReduceMean", square, &a);
    const char *sum = onnx_two(&w->g, "Add", mean, onnx_number(&w->g, eps));
    const char *root = onnx_op(&w->g, "Sqrt", sum);
    const char *scaled;
    if (w->l->swapped)
        scaled = onnx_op(&w->g, "Div", onnx_text("%s %s", x, root));
    else
        scaled = onnx_op(
            &w->g, "Mul",
            onnx_text("%s %s", x,
                      onnx_op(&w->g, "Div", onnx_text("%s %s", onnx_number(&w->g, 1), root))));
    return onnx_two(&w->g, "Mul", gain(w, name), scaled);
}

/* ---- positions --------------------------------------------------------------------------------
 */

struct angles {
    const char *cos, *sin;
};

static double frequency(const struct onnx_llama *l, unsigned i)
{
    double f = pow((double)l->theta, -2.0 * i / l->head_dim);
    return l->odd == ONNX_SCALED_ROPE && i > 0 ? f / 8 : f;
}

static struct angles tables(struct writing *w)
{
    const struct onnx_llama *l = w->l;
    unsigned half = l->head_dim / 2, width = l->interleaved ? half : l->head_dim;
    float *c = malloc(l->context * width * sizeof *c), *s = malloc(l->context * width * sizeof *s);
    for (unsigned p = 0; p < l->context; p++)
        for (unsigned i = 0; i < width; i++) {
            c[p * width + i] = (float)cos(p * frequency(l, i % half));
            s[p * width + i] = (float)sin(p * frequency(l, i % half));
        }
    onnx_floats(&w->g.bytes, "freqs_cos", SHAPE(l->context, width), c, ONNX_RAW, NULL, NULL);
    onnx_floats(&w->g.bytes, "freqs_sin", SHAPE(l->context, width), s, ONNX_RAW, NULL, NULL);
    free(c);
    free(s);
    const char *from = ONNX_INTS(&w->g, 0), *to = ONNX_INTS(&w->g, 3), *axis = ONNX_INTS(&w->g, 0),
               *step = ONNX_INTS(&w->g, 1);
    return (struct angles){
        onnx_op(&w->g, "Slice", onnx_text("freqs_cos %s %s %s %s", from, to, axis, step)),
        onnx_op(&w->g, "Slice", onnx_text("freqs_sin %s %s %s %s", from, to, axis, step)),
    };
}

static struct angles computed(struct writing *w)
{
    const struct onnx_llama *l = w->l;
    unsigned half = l->head_dim / 2;
    float *f = malloc(half * sizeof *f);
    for (unsigned i = 0; i < half; i++)
        f[i] = (float)frequency(l, i);
    onnx_floats(&w->g.bytes, "inv_freq", SHAPE(1, half, 1), f, ONNX_RAW, NULL, NULL);
    free(f);
    const char *positions =
        onnx_op(&w->g, "Cast", onnx_op(&w->g, "Range", onnx_text("%s", ONNX_INTS(&w->g, 0))));
    const char *wide =
        onnx_op(&w->g, "Expand", onnx_text("inv_freq %s", ONNX_INTS(&w->g, 1, half, 1)));
    const char *angles =
        onnx_op(&w->g, "Transpose", onnx_op(&w->g, "MatMul", onnx_text("%s %s", wide, positions)));
    if (!l->interleaved)
        angles = onnx_op(&w->g, "Concat", onnx_text("%s %s", angles, angles));
    return (struct angles){onnx_op(&w->g, "Cos", angles), onnx_op(&w->g, "Sin", angles)};
}

/* x cos + (-x2, x1) sin of the halves. */
static const char *turn_halves(struct writing *w, const char *x, struct angles a)
{
    const char *axis = ONNX_INTS(&w->g, 3), *middle = ONNX_INTS(&w->g, w->l->head_dim / 2);
    const char *end = ONNX_INTS(&w->g, INT64_MAX), *start = ONNX_INTS(&w->g, 0),
               *one = ONNX_INTS(&w->g, 1);
    const char *low =
        onnx_op(&w->g, "Slice", onnx_text("%s %s %s %s %s", x, start, middle, axis, one));
    const char *high =
        onnx_op(&w->g, "Slice", onnx_text("%s %s %s %s %s", x, middle, end, axis, one));
    const char *turned =
        onnx_op(&w->g, "Concat", onnx_text("%s %s", onnx_op(&w->g, "Neg", high), low));
    return onnx_two(&w->g, "Add", onnx_two(&w->g, "Mul", x, a.cos),
                    onnx_two(&w->g, "Mul", turned, a.sin));
}

/* Pairs as the last dimension, as llama2.c has it. */
static const char *turn_pairs(struct writing *w, const char *x, struct angles a)
{
    const struct onnx_llama *l = w->l;
    const char *pairs =
        onnx_op(&w->g, "Reshape", onnx_text("%s %s", x, ONNX_INTS(&w->g, 1, 3, l->n_heads, -1, 2)));
    const char *first = onnx_text("v%u", ++w->g.n), *second = onnx_text("v%u", ++w->g.n);
    onnx_node(&w->g.bytes, "Split", onnx_text("%s %s", pairs, ONNX_INTS(&w->g, 1, 1)),
              onnx_text("%s %s", first, second), NULL);
    const char *re = onnx_two(&w->g, "Sub", onnx_two(&w->g, "Mul", first, a.cos),
                              onnx_two(&w->g, "Mul", second, a.sin));
    const char *im = onnx_two(&w->g, "Add", onnx_two(&w->g, "Mul", first, a.sin),
                              onnx_two(&w->g, "Mul", second, a.cos));
    const char *both = onnx_op(&w->g, "Concat", onnx_text("%s %s", re, im));
    return onnx_op(&w->g, "Reshape",
                   onnx_text("%s %s", both, ONNX_INTS(&w->g, 1, 3, -1, l->head_dim)));
}

static const char *turn(struct writing *w, const char *x, struct angles a, bool is_k)
{
    if (w->l->odd == ONNX_NO_ROPE || (is_k && w->l->odd == ONNX_K_NOT_TURNED))
        return x;
    return w->l->interleaved ? turn_pairs(w, x, a) : turn_halves(w, x, a);
}

/* ---- layers
 * --------------------------------------------------------------------------------------- */

static const char *heads(struct writing *w, const char *x, unsigned n)
{
    const char *batch = onnx_op(&w->g, "Shape", "input_ids");
    const char *shape = onnx_op(
        &w->g, "Concat",
        onnx_text("%s %s %s", batch, ONNX_INTS(&w->g, n), ONNX_INTS(&w->g, w->l->head_dim)));
    struct ruvm_buffer a = {0};
    onnx_attribute_ints(&a, "perm", 4, (int64_t[]){0, 2, 1, 3});
    return onnx_op_with(&w->g, "Transpose", onnx_op(&w->g, "Reshape", onnx_text("%s %s", x, shape)),
                        &a);
}

static const char *attention(struct writing *w, const char *x, unsigned layer, struct angles a)
{
    const struct onnx_llama *l = w->l;
    const char *prefix = onnx_text("model.layers.%u.self_attn", layer);
    unsigned q_dim = l->n_heads * l->head_dim, k_dim = l->n_kv_heads * l->head_dim;
    const char *v = NULL;
    if (l->swapped)
        v = linear(w, x, onnx_text("%s.v_proj", prefix), k_dim, l->dim, l->biased);
    const char *q = heads(w, linear(w, x, onnx_text("%s.q_proj", prefix), q_dim, l->dim, l->biased),
                          l->n_heads);
    const char *k = heads(w, linear(w, x, onnx_text("%s.k_proj", prefix), k_dim, l->dim, l->biased),
                          l->n_kv_heads);
    if (!v)
        v = linear(w, x, onnx_text("%s.v_proj", prefix), k_dim, l->dim, l->biased);
    v = heads(w, v, l->n_kv_heads);
    if (l->odd == ONNX_QK_NORM)
        q = onnx_op(&w->g, "Div", onnx_text("%s %s", q, onnx_op(&w->g, "ReduceMean", q)));
    if (l->odd == ONNX_V_SQUARED)
        v = onnx_op(&w->g, "Mul", onnx_text("%s %s", v, v));
    q = turn(w, q, a, false);
    k = onnx_op(&w->g, "Expand",
                onnx_text("%s %s", turn(w, k, a, true), ONNX_INTS(&w->g, 1, l->n_heads, 3, 4)));
    v = onnx_op(&w->g, "Expand", onnx_text("%s %s", v, ONNX_INTS(&w->g, 1, l->n_heads, 3, 4)));
    const char *scores =
        onnx_op(&w->g, "MatMul", onnx_text("%s %s", q, onnx_op(&w->g, "Transpose", k)));
    if (l->odd != ONNX_SCORES_UNSCALED)
        scores = onnx_op(&w->g, "Div",
                         onnx_text("%s %s", scores, onnx_number(&w->g, sqrtf((float)l->head_dim))));
    scores = onnx_two(
        &w->g, "Add", scores,
        onnx_op(&w->g, "Trilu", onnx_op(&w->g, "ConstantOfShape", ONNX_INTS(&w->g, 3, 3))));
    const char *weights = onnx_op(&w->g, "Cast", onnx_op(&w->g, "Softmax", scores));
    const char *mixed = onnx_op(&w->g, "MatMul", onnx_text("%s %s", weights, v));
    mixed =
        onnx_op(&w->g, "Reshape",
                onnx_text("%s %s", onnx_op(&w->g, "Transpose", mixed), ONNX_INTS(&w->g, 1, 3, -1)));
    return linear(w, mixed, onnx_text("%s.o_proj", prefix), l->dim, q_dim, false);
}

static const char *feed_forward(struct writing *w, const char *x, unsigned layer)
{
    const struct onnx_llama *l = w->l;
    const char *prefix = onnx_text("model.layers.%u.mlp", layer), *up = NULL;
    if (l->swapped)
        up = linear(w, x, onnx_text("%s.up_proj", prefix), l->hidden, l->dim, false);
    const char *gate = linear(w, x, onnx_text("%s.gate_proj", prefix), l->hidden, l->dim, false);
    const char *soft = onnx_op(&w->g, l->odd == ONNX_GELU ? "Erf" : "Sigmoid", gate);
    gate = onnx_two(&w->g, "Mul", gate, soft);
    if (!up)
        up = linear(w, x, onnx_text("%s.up_proj", prefix), l->hidden, l->dim, false);
    return linear(w, onnx_two(&w->g, "Mul", gate, up), onnx_text("%s.down_proj", prefix), l->dim,
                  l->hidden, false);
}

static const char *layer(struct writing *w, const char *x, unsigned i, struct angles a)
{
    const struct onnx_llama *l = w->l;
    const char *prefix = onnx_text("model.layers.%u", i);
    const char *read = norm(w, x, onnx_text("%s.input_layernorm.weight", prefix), l->eps);
    const char *mixed = onnx_two(&w->g, "Add", x, attention(w, read, i, a));
    read = norm(w, l->odd == ONNX_PARALLEL ? x : mixed,
                onnx_text("%s.post_attention_layernorm.weight", prefix), l->eps);
    return onnx_two(&w->g, "Add", mixed, feed_forward(w, read, i));
}

struct onnx_llama onnx_llama_usual(void)
{
    return (struct onnx_llama){.vocab = 7,
                               .dim = 8,
                               .hidden = 6,
                               .n_layers = 2,
                               .n_heads = 2,
                               .n_kv_heads = 1,
                               .head_dim = 4,
                               .context = 12,
                               .theta = 10000,
                               .eps = 1e-5f};
}

struct ruvm_buffer onnx_llama_write(const struct onnx_llama *l)
{
    struct writing w = {.l = l, .g.swapped = l->swapped};
    struct ruvm_buffer properties = {0};
    float eps = l->odd == ONNX_OTHER_EPS ? 1e-3f : l->eps;
    onnx_end(&w.g.bytes, 11, "input_ids");
    put(&w, "model.embed_tokens.weight", "model.embed_tokens.weight", l->vocab, l->dim, false);
    const char *x = onnx_op(&w.g, "Gather", "model.embed_tokens.weight input_ids");
    if (l->odd == ONNX_SCALED_EMBED)
        x = onnx_op(&w.g, "Mul", onnx_text("%s %s", x, onnx_number(&w.g, 4)));
    struct angles a = l->tables ? tables(&w) : computed(&w);
    for (unsigned i = 0; i < l->n_layers; i++)
        x = layer(&w, x, i, a);
    x = norm(&w, x, "model.norm.weight", eps);
    if (l->last_only)
        x = onnx_op(&w.g, "Gather", onnx_text("%s %s", x, ONNX_INTS(&w.g, -1)));
    if (l->odd == ONNX_EXTRA_LINEAR)
        linear(&w, x, "value_head", 3, l->dim, false);
    x = linear(&w, x, "lm_head", l->vocab, l->dim, l->odd == ONNX_HEAD_BIAS);
    onnx_end(&w.g.bytes, 12, x);
    if (l->property)
        onnx_property(&properties, l->property, l->property_value);
    return onnx_model(&w.g.bytes, &properties);
}
