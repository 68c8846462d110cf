/* A small Llama as torch.onnx.export writes it: value names are short, the rest is alike. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/onnx_bytes.h"

enum { LINE = 160, RING = 4096 };

struct writing {
    const struct onnx_llama *l;
    struct ruvm_buffer g; /* the graph */
    unsigned n;           /* values that have names: "v1" .. */
};

/* A text in a ring that is larger than a model: as good as for ever. */
static const char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *text(const char *fmt, ...)
{
    static char ring[RING][LINE];
    static unsigned next;
    char *to = ring[next++ % RING];
    va_list args;
    va_start(args, fmt);
    vsnprintf(to, LINE, fmt, args);
    va_end(args);
    return to;
}

static const char *node_with(struct writing *w, const char *op, const char *in,
                             struct ruvm_buffer *attributes)
{
    const char *out = text("v%u", ++w->n);
    onnx_node(&w->g, op, in, out, attributes);
    return out;
}

static const char *node(struct writing *w, const char *op, const char *in)
{
    return node_with(w, op, in, NULL);
}

/* A sum or product, its operands in the usual order or not. */
static const char *two(struct writing *w, const char *op, const char *a, const char *b)
{
    return node(w, op, w->l->swapped ? text("%s %s", b, a) : text("%s %s", a, b));
}

static const char *floats(struct writing *w, float value)
{
    const char *out = text("v%u", ++w->n);
    onnx_constant_float(&w->g, out, value);
    return out;
}

static const char *ints(struct writing *w, unsigned n, const int64_t *values)
{
    const char *out = text("v%u", ++w->n);
    onnx_constant_ints(&w->g, out, n, values);
    return out;
}
#define INTS(w, ...)                                                                               \
    ints(w, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

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
    onnx_floats(&w->g, stored, shape, values, w->l->storage, w->l->external, w->l->location);
    free(values);
}

static const char *linear(struct writing *w, const char *x, const char *name, unsigned rows,
                          unsigned cols, bool bias)
{
    const char *weight = text("%s.weight", name), *stored = text("onnx::MatMul_%u", ++w->n);
    const char *out;
    bool is_embed = w->l->tied && strcmp(name, "lm_head") == 0 && (w->l->unfolded || w->l->gemm);
    if (w->l->unfolded || w->l->gemm)
        stored = is_embed ? "model.embed_tokens.weight" : weight;
    if (!is_embed)
        put(w, stored, weight, rows, cols, !w->l->unfolded && !w->l->gemm);
    if (w->l->gemm) {
        struct ruvm_buffer a = {0};
        onnx_attribute_int(&a, "transB", 1);
        out = node_with(w, "Gemm", text("%s %s", x, stored), &a);
    } else if (w->l->unfolded) {
        struct ruvm_buffer a = {0};
        onnx_attribute_ints(&a, "perm", 2, (int64_t[]){1, 0});
        const char *t = node_with(w, "Transpose", stored, &a);
        out = node(w, "MatMul", text("%s %s", x, t));
    } else {
        out = node(w, "MatMul", text("%s %s", x, stored));
    }
    if (!bias)
        return out;
    put(w, text("%s.bias", name), text("%s.bias", name), 1, rows, false);
    return two(w, "Add", text("%s.bias", name), out);
}

static const char *gain(struct writing *w, const char *name)
{
    if (!w->l->repeated) {
        put(w, name, name, 1, w->l->dim, false);
        return name;
    }
    if (strstr(name, "layers.0.input"))
        put(w, "norm.weight", "norm.weight", 1, w->l->dim, false);
    onnx_node(&w->g, "Identity", "norm.weight", name, NULL);
    return name;
}

static const char *norm(struct writing *w, const char *x, const char *name, float eps)
{
    struct ruvm_buffer a = {0};
    if (w->l->odd == ONNX_LAYER_NORM)
        x = node(w, "Sub", text("%s %s", x, node(w, "ReduceMean", x)));
    const char *square = node(w, "Pow", text("%s %s", x, floats(w, 2)));
    onnx_attribute_ints(&a, "axes", 1, (int64_t[]){-1});
    const char *mean = node_with(w, "ReduceMean", square, &a);
    const char *sum = two(w, "Add", mean, floats(w, eps));
    const char *root = node(w, "Sqrt", sum);
    const char *scaled;
    if (w->l->swapped)
        scaled = node(w, "Div", text("%s %s", x, root));
    else
        scaled =
            node(w, "Mul", text("%s %s", x, node(w, "Div", text("%s %s", floats(w, 1), root))));
    return two(w, "Mul", gain(w, name), scaled);
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
    onnx_floats(&w->g, "freqs_cos", SHAPE(l->context, width), c, ONNX_RAW, NULL, NULL);
    onnx_floats(&w->g, "freqs_sin", SHAPE(l->context, width), s, ONNX_RAW, NULL, NULL);
    free(c);
    free(s);
    const char *from = INTS(w, 0), *to = INTS(w, 3), *axis = INTS(w, 0), *step = INTS(w, 1);
    return (struct angles){
        node(w, "Slice", text("freqs_cos %s %s %s %s", from, to, axis, step)),
        node(w, "Slice", text("freqs_sin %s %s %s %s", from, to, axis, step)),
    };
}

static struct angles computed(struct writing *w)
{
    const struct onnx_llama *l = w->l;
    unsigned half = l->head_dim / 2;
    float *f = malloc(half * sizeof *f);
    for (unsigned i = 0; i < half; i++)
        f[i] = (float)frequency(l, i);
    onnx_floats(&w->g, "inv_freq", SHAPE(1, half, 1), f, ONNX_RAW, NULL, NULL);
    free(f);
    const char *positions = node(w, "Cast", node(w, "Range", text("%s", INTS(w, 0))));
    const char *wide = node(w, "Expand", text("inv_freq %s", INTS(w, 1, half, 1)));
    const char *angles = node(w, "Transpose", node(w, "MatMul", text("%s %s", wide, positions)));
    if (!l->interleaved)
        angles = node(w, "Concat", text("%s %s", angles, angles));
    return (struct angles){node(w, "Cos", angles), node(w, "Sin", angles)};
}

/* x cos + (-x2, x1) sin of the halves. */
static const char *turn_halves(struct writing *w, const char *x, struct angles a)
{
    const char *axis = INTS(w, 3), *middle = INTS(w, w->l->head_dim / 2);
    const char *end = INTS(w, INT64_MAX), *start = INTS(w, 0), *one = INTS(w, 1);
    const char *low = node(w, "Slice", text("%s %s %s %s %s", x, start, middle, axis, one));
    const char *high = node(w, "Slice", text("%s %s %s %s %s", x, middle, end, axis, one));
    const char *turned = node(w, "Concat", text("%s %s", node(w, "Neg", high), low));
    return two(w, "Add", two(w, "Mul", x, a.cos), two(w, "Mul", turned, a.sin));
}

/* Pairs as the last dimension, as llama2.c has it. */
static const char *turn_pairs(struct writing *w, const char *x, struct angles a)
{
    const struct onnx_llama *l = w->l;
    const char *pairs = node(w, "Reshape", text("%s %s", x, INTS(w, 1, 3, l->n_heads, -1, 2)));
    const char *first = text("v%u", ++w->n), *second = text("v%u", ++w->n);
    onnx_node(&w->g, "Split", text("%s %s", pairs, INTS(w, 1, 1)), text("%s %s", first, second),
              NULL);
    const char *re = two(w, "Sub", two(w, "Mul", first, a.cos), two(w, "Mul", second, a.sin));
    const char *im = two(w, "Add", two(w, "Mul", first, a.sin), two(w, "Mul", second, a.cos));
    const char *both = node(w, "Concat", text("%s %s", re, im));
    return node(w, "Reshape", text("%s %s", both, INTS(w, 1, 3, -1, l->head_dim)));
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
    const char *batch = node(w, "Shape", "input_ids");
    const char *shape =
        node(w, "Concat", text("%s %s %s", batch, INTS(w, n), INTS(w, w->l->head_dim)));
    struct ruvm_buffer a = {0};
    onnx_attribute_ints(&a, "perm", 4, (int64_t[]){0, 2, 1, 3});
    return node_with(w, "Transpose", node(w, "Reshape", text("%s %s", x, shape)), &a);
}

static const char *attention(struct writing *w, const char *x, unsigned layer, struct angles a)
{
    const struct onnx_llama *l = w->l;
    const char *prefix = text("model.layers.%u.self_attn", layer);
    unsigned q_dim = l->n_heads * l->head_dim, k_dim = l->n_kv_heads * l->head_dim;
    const char *v = NULL;
    if (l->swapped)
        v = linear(w, x, text("%s.v_proj", prefix), k_dim, l->dim, l->biased);
    const char *q =
        heads(w, linear(w, x, text("%s.q_proj", prefix), q_dim, l->dim, l->biased), l->n_heads);
    const char *k =
        heads(w, linear(w, x, text("%s.k_proj", prefix), k_dim, l->dim, l->biased), l->n_kv_heads);
    if (!v)
        v = linear(w, x, text("%s.v_proj", prefix), k_dim, l->dim, l->biased);
    v = heads(w, v, l->n_kv_heads);
    if (l->odd == ONNX_QK_NORM)
        q = node(w, "Div", text("%s %s", q, node(w, "ReduceMean", q)));
    if (l->odd == ONNX_V_SQUARED)
        v = node(w, "Mul", text("%s %s", v, v));
    q = turn(w, q, a, false);
    k = node(w, "Expand", text("%s %s", turn(w, k, a, true), INTS(w, 1, l->n_heads, 3, 4)));
    v = node(w, "Expand", text("%s %s", v, INTS(w, 1, l->n_heads, 3, 4)));
    const char *scores = node(w, "MatMul", text("%s %s", q, node(w, "Transpose", k)));
    if (l->odd != ONNX_SCORES_UNSCALED)
        scores = node(w, "Div", text("%s %s", scores, floats(w, sqrtf((float)l->head_dim))));
    scores = two(w, "Add", scores, node(w, "Trilu", node(w, "ConstantOfShape", INTS(w, 3, 3))));
    const char *weights = node(w, "Cast", node(w, "Softmax", scores));
    const char *mixed = node(w, "MatMul", text("%s %s", weights, v));
    mixed = node(w, "Reshape", text("%s %s", node(w, "Transpose", mixed), INTS(w, 1, 3, -1)));
    return linear(w, mixed, text("%s.o_proj", prefix), l->dim, q_dim, false);
}

static const char *feed_forward(struct writing *w, const char *x, unsigned layer)
{
    const struct onnx_llama *l = w->l;
    const char *prefix = text("model.layers.%u.mlp", layer), *up = NULL;
    if (l->swapped)
        up = linear(w, x, text("%s.up_proj", prefix), l->hidden, l->dim, false);
    const char *gate = linear(w, x, text("%s.gate_proj", prefix), l->hidden, l->dim, false);
    const char *soft = node(w, l->odd == ONNX_GELU ? "Erf" : "Sigmoid", gate);
    gate = two(w, "Mul", gate, soft);
    if (!up)
        up = linear(w, x, text("%s.up_proj", prefix), l->hidden, l->dim, false);
    return linear(w, two(w, "Mul", gate, up), text("%s.down_proj", prefix), l->dim, l->hidden,
                  false);
}

static const char *layer(struct writing *w, const char *x, unsigned i, struct angles a)
{
    const struct onnx_llama *l = w->l;
    const char *prefix = text("model.layers.%u", i);
    const char *read = norm(w, x, text("%s.input_layernorm.weight", prefix), l->eps);
    const char *mixed = two(w, "Add", x, attention(w, read, i, a));
    read = norm(w, l->odd == ONNX_PARALLEL ? x : mixed,
                text("%s.post_attention_layernorm.weight", prefix), l->eps);
    return two(w, "Add", mixed, feed_forward(w, read, i));
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
    struct writing w = {.l = l};
    struct ruvm_buffer properties = {0};
    float eps = l->odd == ONNX_OTHER_EPS ? 1e-3f : l->eps;
    onnx_end(&w.g, 11, "input_ids");
    put(&w, "model.embed_tokens.weight", "model.embed_tokens.weight", l->vocab, l->dim, false);
    const char *x = node(&w, "Gather", "model.embed_tokens.weight input_ids");
    if (l->odd == ONNX_SCALED_EMBED)
        x = node(&w, "Mul", text("%s %s", x, floats(&w, 4)));
    struct angles a = l->tables ? tables(&w) : computed(&w);
    for (unsigned i = 0; i < l->n_layers; i++)
        x = layer(&w, x, i, a);
    x = norm(&w, x, "model.norm.weight", eps);
    if (l->last_only)
        x = node(&w, "Gather", text("%s %s", x, INTS(&w, -1)));
    if (l->odd == ONNX_EXTRA_LINEAR)
        linear(&w, x, "value_head", 3, l->dim, false);
    x = linear(&w, x, "lm_head", l->vocab, l->dim, l->odd == ONNX_HEAD_BIAS);
    onnx_end(&w.g, 12, x);
    if (l->property)
        onnx_property(&properties, l->property, l->property_value);
    return onnx_model(&w.g, &properties);
}
