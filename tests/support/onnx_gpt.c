/* Small GPTs as torch.onnx.export writes them. Node for node this follows what PyTorch 1.13 makes
 * of Hugging Face's classes: Conv1D as Gemm, LayerNorm and GELU taken apart, masks as tensors of
 * which a corner is cut, equal masks shared through Identity.
 */
#include "tests/support/onnx_gpt.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tiny_models.h"

enum { BOOL = 9, N_TEXT = 8, SHORT_MASK = 5, OTHER_WINDOW = 5 };

struct writing {
    const struct onnx_gpt *o;
    struct onnx_graph g;
    unsigned heads, head_dim, rotary_dim;
};

static bool is_neox(const struct writing *w)
{
    return w->o->network == TINY_GPT_NEOX;
}

/* ---- weights ------------------------------------------------------------------------------- */

static const struct ruvm_view *find(const struct writing *w, const char *name)
{
    const struct ruvm_view *v = ruvm_tensors_find(w->o->t, name);
    assert(v && v->dtype == RUVM_DTYPE_F32);
    return v;
}

/* An initializer, its dimensions exchanged or not. Returns its name. */
static const char *put(struct writing *w, const char *stored, const char *name, bool exchanged)
{
    const struct ruvm_view *v = find(w, name);
    uint64_t rows = v->dims[0], cols = v->n_dims > 1 ? v->dims[1] : 1;
    float *in = malloc(rows * cols * sizeof *in), *out = malloc(rows * cols * sizeof *out);
    memcpy(in, v->data, rows * cols * sizeof *in);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            out[exchanged ? c * rows + r : r * cols + c] = in[r * cols + c];
    struct onnx_shape shape = v->n_dims == 1 ? SHAPE(rows)
                              : exchanged    ? SHAPE(cols, rows)
                                             : SHAPE(rows, cols);
    onnx_floats(&w->g.bytes, stored, shape, out, ONNX_RAW, NULL, NULL);
    free(in);
    free(out);
    return stored;
}

static const char *bias_name(const char *name)
{
    return onnx_text("%.*s.bias", (int)(strlen(name) - strlen(".weight")), name);
}

/* nn.Linear: MatMul with folded weights, or with Transpose; then Add of the bias. */
static const char *linear(struct writing *w, const char *x, const char *name)
{
    const char *stored, *out, *bias = bias_name(name);
    if (w->o->transposed) {
        struct ruvm_buffer a = {0};
        onnx_attribute_ints(&a, "perm", 2, (int64_t[]){1, 0});
        stored = onnx_op_with(&w->g, "Transpose", put(w, name, name, false), &a);
    } else {
        stored = put(w, onnx_text("onnx::MatMul_%u", ++w->g.n), name, true);
    }
    out = onnx_op(&w->g, "MatMul", onnx_text("%s %s", x, stored));
    if (!ruvm_tensors_find(w->o->t, bias))
        return out;
    return onnx_two(&w->g, "Add", put(w, bias, bias, false), out);
}

/* Hugging Face's Conv1D: its weights are [inputs, outputs] as they are stored. */
static const char *conv1d(struct writing *w, const char *x, const char *name)
{
    const char *bias = bias_name(name);
    int64_t n_out = (int64_t)find(w, name)->dims[1];
    const char *flat =
        onnx_op(&w->g, "Reshape", onnx_text("%s %s", x, ONNX_INTS(&w->g, -1, TINY_DIM)));
    const char *y =
        onnx_op(&w->g, "Gemm",
                onnx_text("%s %s %s", flat, put(w, name, name, false), put(w, bias, bias, false)));
    const char *batch = onnx_op(&w->g, "Shape", "input_ids");
    const char *shape =
        onnx_op(&w->g, "Concat", onnx_text("%s %s", batch, ONNX_INTS(&w->g, n_out)));
    return onnx_op(&w->g, "Reshape", onnx_text("%s %s", y, shape));
}

static const char *project(struct writing *w, const char *x, const char *name)
{
    return w->o->network == TINY_GPT2 ? conv1d(w, x, name) : linear(w, x, name);
}

/* ---- norms and activations ---------------------------------------------------------------------
 */

static const char *mean(struct writing *w, const char *x)
{
    struct ruvm_buffer a = {0};
    onnx_attribute_ints(&a, "axes", 1, (int64_t[]){-1});
    return onnx_op_with(&w->g, "ReduceMean", x, &a);
}

static const char *norm(struct writing *w, const char *x, const char *name)
{
    bool last = strstr(name, "ln_f") || strstr(name, "final");
    const char *gain = put(w, name, name, false), *bias = bias_name(name);
    put(w, bias, bias, false);
    if (w->o->operators) /* epsilon is 1e-5 when it is not given */
        return onnx_op(&w->g, "LayerNormalization", onnx_text("%s %s %s", x, gain, bias));
    if (!last || w->o->odd != ONNX_GPT_MIXED_NORMS)
        x = onnx_op(&w->g, "Sub", onnx_text("%s %s", x, mean(w, x)));
    const char *square = onnx_op(&w->g, "Pow", onnx_text("%s %s", x, onnx_number(&w->g, 2)));
    const char *sum = onnx_two(&w->g, "Add", mean(w, square), onnx_number(&w->g, 1e-5f));
    x = onnx_op(&w->g, "Div", onnx_text("%s %s", x, onnx_op(&w->g, "Sqrt", sum)));
    return onnx_two(&w->g, "Add", onnx_two(&w->g, "Mul", x, gain), bias);
}

/* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
static const char *gelu_new(struct writing *w, const char *x)
{
    struct onnx_graph *g = &w->g;
    const char *cube = onnx_op(g, "Pow", onnx_text("%s %s", x, onnx_number(g, 3)));
    const char *inner = onnx_two(g, "Add", x, onnx_two(g, "Mul", cube, onnx_number(g, 0.044715f)));
    inner = onnx_op(g, "Tanh", onnx_two(g, "Mul", inner, onnx_number(g, 0.7978845608f)));
    inner = onnx_two(g, "Add", inner, onnx_number(g, 1));
    return onnx_two(g, "Mul", onnx_two(g, "Mul", x, onnx_number(g, 0.5f)), inner);
}

/* x (1 + erf(x / sqrt(2))) 0.5 */
static const char *gelu(struct writing *w, const char *x)
{
    struct onnx_graph *g = &w->g;
    const char *part = onnx_op(g, "Div", onnx_text("%s %s", x, onnx_number(g, 1.41421356f)));
    part = onnx_two(g, "Add", onnx_op(g, "Erf", part), onnx_number(g, 1));
    return onnx_two(g, "Mul", onnx_two(g, "Mul", x, part), onnx_number(g, 0.5f));
}

static const char *activation(struct writing *w, const char *x)
{
    struct ruvm_buffer a = {0}, attributes = {0};
    if (w->o->odd == ONNX_GPT_QUICK_GELU) {
        const char *more = onnx_two(&w->g, "Mul", x, onnx_number(&w->g, 1.702f));
        return onnx_two(&w->g, "Mul", x, onnx_op(&w->g, "Sigmoid", more));
    }
    if (!w->o->operators)
        return is_neox(w) ? gelu(w, x) : gelu_new(w, x);
    pb_text(&a, 1, "approximate");
    pb_text(&a, 4, is_neox(w) ? "none" : "tanh");
    pb_number(&a, 20, 3);
    pb_message(&attributes, 5, &a);
    return onnx_op_with(&w->g, "Gelu", x, &attributes);
}

/* ---- masks
 * --------------------------------------------------------------------------------------- */

static bool sees(const struct writing *w, unsigned layer, unsigned row, unsigned col)
{
    unsigned window = TINY_CONTEXT;
    if (w->o->network == TINY_GPT_NEO && layer == 1)
        window = TINY_WINDOW;
    if (w->o->odd == ONNX_GPT_OTHER_WINDOW && layer == 2)
        window = OTHER_WINDOW;
    if (w->o->odd == ONNX_GPT_STRIPED_MASK && (row - col) % 2)
        return false;
    return col <= row && row - col < window;
}

/* [1, 1, n, n], of truths or of numbers. */
static void put_mask(struct writing *w, const char *name, unsigned layer, unsigned n)
{
    float *numbers = malloc(n * n * sizeof *numbers);
    uint8_t *truths = malloc(n * n);
    for (unsigned i = 0; i < n * n; i++) {
        truths[i] = sees(w, layer, i / n, i % n);
        numbers[i] = truths[i] ? 0 : -3.4e38f;
    }
    if (w->o->added_mask) {
        onnx_floats(&w->g.bytes, name, SHAPE(1, 1, n, n), numbers, ONNX_RAW, NULL, NULL);
    } else {
        struct ruvm_buffer t = onnx_tensor(name, BOOL, SHAPE(1, 1, n, n));
        pb_bytes(&t, 9, truths, n * n);
        pb_message(&w->g.bytes, 5, &t);
    }
    free(numbers);
    free(truths);
}

static const char *mask(struct writing *w, unsigned layer)
{
    struct onnx_graph *g = &w->g;
    const char *name = onnx_text("transformer.h.%u.attn.bias", layer);
    bool is_copy = layer == TINY_LAYERS - 1 && w->o->odd != ONNX_GPT_OTHER_WINDOW;
    unsigned n = w->o->odd == ONNX_GPT_SHORT_MASK ? SHORT_MASK : TINY_CONTEXT;
    if (is_copy)
        onnx_node(&g->bytes, "Identity", "transformer.h.0.attn.bias", name, NULL);
    else
        put_mask(w, name, layer, n);
    if (w->o->folded)
        return name;
    const char *end = onnx_op(g, "Shape", "input_ids");
    const char *rows = onnx_op(
        g, "Slice",
        onnx_text("%s %s %s %s %s", name, ONNX_INTS(g, 0), end, ONNX_INTS(g, 2), ONNX_INTS(g, 1)));
    return onnx_op(
        g, "Slice",
        onnx_text("%s %s %s %s %s", rows, ONNX_INTS(g, 0), end, ONNX_INTS(g, 3), ONNX_INTS(g, 1)));
}

static const char *masked(struct writing *w, const char *scores, unsigned layer)
{
    const char *m = mask(w, layer);
    if (w->o->added_mask)
        return onnx_two(&w->g, "Add", scores, m);
    return onnx_op(&w->g, "Where",
                   onnx_text("%s %s %s", m, scores, onnx_number(&w->g, -3.4028235e38f)));
}

/* ---- positions
 * ------------------------------------------------------------------------------------ */

struct angles {
    const char *cos, *sin;
};

/* Positions times frequencies, each twice: computed, or folded into [positions, rotary_dim]. */
static struct angles turn_by(struct writing *w)
{
    struct onnx_graph *g = &w->g;
    unsigned half = w->rotary_dim / 2, width = w->rotary_dim;
    float f[8], table[N_TEXT * 16];
    const char *at = onnx_text("onnx::Cos_%u", ++g->n);
    for (unsigned i = 0; i < half; i++)
        f[i] = (float)pow(10000, -2.0 * i / width);
    for (unsigned i = 0; i < N_TEXT * width; i++)
        table[i] = (float)(i / width) * f[i % width % half];
    if (w->o->folded) {
        onnx_floats(&g->bytes, at, SHAPE(N_TEXT, width), table, ONNX_RAW, NULL, NULL);
    } else {
        onnx_floats(&g->bytes, at, SHAPE(1, half), f, ONNX_RAW, NULL, NULL);
        const char *range = onnx_op(g, "Cast", onnx_op(g, "Range", ONNX_INTS(g, 0)));
        at = onnx_two(g, "Mul", onnx_op(g, "Unsqueeze", range), at);
        at = onnx_op(g, "Concat", onnx_text("%s %s", at, at));
    }
    return (struct angles){onnx_op(g, "Cos", at), onnx_op(g, "Sin", at)};
}

static const char *slice(struct writing *w, const char *x, int64_t from, int64_t to)
{
    struct onnx_graph *g = &w->g;
    return onnx_op(g, "Slice",
                   onnx_text("%s %s %s %s %s", x, ONNX_INTS(g, from), ONNX_INTS(g, to),
                             ONNX_INTS(g, 3), ONNX_INTS(g, 1)));
}

/* Some leading values of a head turn, the others pass. */
static const char *turn(struct writing *w, const char *x, struct angles a)
{
    struct onnx_graph *g = &w->g;
    const char *part = slice(w, x, 0, w->rotary_dim), *rest = slice(w, x, w->rotary_dim, INT64_MAX);
    const char *low = slice(w, part, 0, w->rotary_dim / 2);
    const char *high = slice(w, part, w->rotary_dim / 2, INT64_MAX);
    const char *other = onnx_op(g, "Concat", onnx_text("%s %s", onnx_op(g, "Neg", high), low));
    part = onnx_two(g, "Add", onnx_two(g, "Mul", part, a.cos), onnx_two(g, "Mul", other, a.sin));
    return onnx_op(g, "Concat", onnx_text("%s %s", part, rest));
}

static const char *embedding(struct writing *w)
{
    struct onnx_graph *g = &w->g;
    const char *name = is_neox(w) ? "gpt_neox.embed_in.weight" : "transformer.wte.weight";
    if (is_neox(w))
        return onnx_op(g, "Gather", onnx_text("%s input_ids", put(w, name, name, false)));
    const char *ids = onnx_op(g, "Reshape", onnx_text("input_ids %s", ONNX_INTS(g, -1, N_TEXT)));
    const char *tokens = onnx_op(g, "Gather", onnx_text("%s %s", put(w, name, name, false), ids));
    const char *at = ONNX_INTS(g, 0, 1, 2, 3, 4, 5, 6, 7);
    if (!w->o->folded)
        at = onnx_op(g, "Range",
                     onnx_text("%s %s", onnx_ints(g, 0, (int64_t[]){0}), onnx_op(g, "Shape", ids)));
    if (w->o->odd == ONNX_GPT_LATE_POSITIONS)
        at = onnx_two(g, "Add", at, onnx_ints(g, 0, (int64_t[]){2}));
    put(w, "transformer.wpe.weight", "transformer.wpe.weight", false);
    return onnx_two(g, "Add", tokens,
                    onnx_op(g, "Gather", onnx_text("transformer.wpe.weight %s", at)));
}

/* ---- attention
 * ------------------------------------------------------------------------------------- */

static const char *exchange(struct writing *w, const char *x)
{
    struct ruvm_buffer a = {0};
    onnx_attribute_ints(&a, "perm", 4, (int64_t[]){0, 2, 1, 3});
    return onnx_op_with(&w->g, "Transpose", x, &a);
}

static const char *reshape(struct writing *w, const char *x, unsigned heads, unsigned size)
{
    struct onnx_graph *g = &w->g;
    const char *batch = onnx_op(g, "Shape", "input_ids");
    const char *shape =
        onnx_op(g, "Concat", onnx_text("%s %s %s", batch, ONNX_INTS(g, heads), ONNX_INTS(g, size)));
    return onnx_op(g, "Reshape", onnx_text("%s %s", x, shape));
}

/* q, k and v out of one value whose last dimension is 3 n. */
static void cut(struct writing *w, const char *x, unsigned n, const char *parts[3])
{
    struct onnx_graph *g = &w->g;
    if (w->o->slices) {
        for (unsigned i = 0; i < 3; i++)
            parts[i] = slice(w, x, i * n, i < 2 ? (i + 1) * n : INT64_MAX);
    } else {
        for (unsigned i = 0; i < 3; i++)
            parts[i] = onnx_text("v%u", ++g->n);
        onnx_node(&g->bytes, "Split", onnx_text("%s %s", x, ONNX_INTS(g, n, n, n)),
                  onnx_text("%s %s %s", parts[0], parts[1], parts[2]), NULL);
    }
    if (w->o->odd == ONNX_GPT_UNCUT)
        parts[2] = x;
    if (w->o->odd == ONNX_GPT_KEYS_FIRST) {
        const char *first = parts[0];
        parts[0] = parts[1];
        parts[1] = first;
    }
}

/* q, k and v as [batch, heads, positions, head_dim]. */
static void projections(struct writing *w, const char *x, unsigned layer, const char *parts[3])
{
    if (w->o->network == TINY_GPT_NEO) {
        for (unsigned i = 0; i < 3; i++)
            parts[i] = linear(
                w, x, onnx_text("transformer.h.%u.attn.attention.%c_proj.weight", layer, "qkv"[i]));
    } else if (w->o->network == TINY_GPT2) {
        cut(w, conv1d(w, x, onnx_text("transformer.h.%u.attn.c_attn.weight", layer)), TINY_DIM,
            parts);
    } else {
        x = linear(w, x, onnx_text("gpt_neox.layers.%u.attention.query_key_value.weight", layer));
        cut(w, reshape(w, x, w->heads, 3 * w->head_dim), w->head_dim, parts);
    }
    for (unsigned i = 0; i < 3; i++)
        parts[i] = exchange(w, is_neox(w) ? parts[i] : reshape(w, parts[i], w->heads, w->head_dim));
}

static const char *attention(struct writing *w, const char *x, unsigned layer)
{
    struct onnx_graph *g = &w->g;
    const char *parts[3], *name;
    projections(w, x, layer, parts);
    if (is_neox(w)) {
        struct angles a = turn_by(w);
        parts[0] = turn(w, parts[0], a);
        parts[1] = turn(w, parts[1], a);
    }
    const char *scores =
        onnx_op(g, "MatMul", onnx_text("%s %s", parts[0], onnx_op(g, "Transpose", parts[1])));
    if (w->o->network != TINY_GPT_NEO)
        scores = onnx_op(g, "Div",
                         onnx_text("%s %s", scores, onnx_number(g, sqrtf((float)w->head_dim))));
    const char *weights = onnx_op(g, "Cast", onnx_op(g, "Softmax", masked(w, scores, layer)));
    x = exchange(w, onnx_op(g, "MatMul", onnx_text("%s %s", weights, parts[2])));
    x = onnx_op(g, "Reshape", onnx_text("%s %s", x, ONNX_INTS(g, 1, -1, TINY_DIM)));
    if (is_neox(w))
        name = onnx_text("gpt_neox.layers.%u.attention.dense.weight", layer);
    else if (w->o->network == TINY_GPT_NEO)
        name = onnx_text("transformer.h.%u.attn.attention.out_proj.weight", layer);
    else
        name = onnx_text("transformer.h.%u.attn.c_proj.weight", layer);
    return project(w, x, name);
}

/* ---- the whole
 * -------------------------------------------------------------------------------------- */

static const char *feed_forward(struct writing *w, const char *x, unsigned layer)
{
    const char *prefix = is_neox(w) ? onnx_text("gpt_neox.layers.%u.mlp", layer)
                                    : onnx_text("transformer.h.%u.mlp", layer);
    x = project(w, x, onnx_text("%s.%s.weight", prefix, is_neox(w) ? "dense_h_to_4h" : "c_fc"));
    x = activation(w, x);
    x = project(w, x, onnx_text("%s.%s.weight", prefix, is_neox(w) ? "dense_4h_to_h" : "c_proj"));
    if (w->o->odd == ONNX_GPT_HALVED_BRANCH)
        x = onnx_two(&w->g, "Mul", x, onnx_number(&w->g, 0.5f));
    return x;
}

static const char *layer_of(struct writing *w, const char *x, unsigned layer)
{
    struct onnx_graph *g = &w->g;
    if (is_neox(w)) {
        const char *prefix = onnx_text("gpt_neox.layers.%u", layer);
        const char *a =
            attention(w, norm(w, x, onnx_text("%s.input_layernorm.weight", prefix)), layer);
        const char *read = norm(w, x, onnx_text("%s.post_attention_layernorm.weight", prefix));
        return onnx_two(g, "Add", onnx_two(g, "Add", feed_forward(w, read, layer), a), x);
    }
    const char *prefix = onnx_text("transformer.h.%u", layer);
    const char *a = attention(w, norm(w, x, onnx_text("%s.ln_1.weight", prefix)), layer);
    x = onnx_two(g, "Add", a, x);
    return onnx_two(g, "Add", x,
                    feed_forward(w, norm(w, x, onnx_text("%s.ln_2.weight", prefix)), layer));
}

struct ruvm_buffer onnx_gpt_write(const struct onnx_gpt *o)
{
    struct writing w = {.o = o, .g.swapped = o->swapped};
    w.heads = o->network == TINY_GPT_NEOX ? 2 : 3;
    w.head_dim = TINY_DIM / w.heads;
    w.rotary_dim = 4;
    onnx_end(&w.g.bytes, 11, "input_ids");
    const char *x = embedding(&w);
    for (unsigned i = 0; i < TINY_LAYERS; i++)
        x = layer_of(&w, x, i);
    x = norm(&w, x, is_neox(&w) ? "gpt_neox.final_layer_norm.weight" : "transformer.ln_f.weight");
    if (is_neox(&w)) {
        x = linear(&w, x, "embed_out.weight");
    } else {
        const char *head = put(&w, "onnx::MatMul_head", "transformer.wte.weight", true);
        x = onnx_op(&w.g, "MatMul", onnx_text("%s %s", x, head));
    }
    onnx_end(&w.g.bytes, 12, x);
    return onnx_model(&w.g.bytes, NULL);
}
