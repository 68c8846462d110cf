/* Decoders in ONNX graphs: found whatever the exporter did to names and weights, refused when they
 * compute something else. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/import/onnx_graph.h"
#include "tests/support/onnx_bytes.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_tensors config;

static void init(void)
{
    ruvm_tensors_meta(&config, &arena, "max_seq_len", 64);
}

static void fini(void)
{
    ruvm_arena_free(&arena);
    config = (struct ruvm_tensors){0};
}

TestSuite(onnx_graph, .init = init, .fini = fini);

/* The bytes of the file stay until the caller frees them. */
static int read_bytes(struct ruvm_tensors *t, const struct ruvm_buffer *file,
                      const struct ruvm_tensors *with)
{
    struct ruvm_onnx o;
    err = (struct ruvm_error){0};
    int rc = ruvm_onnx_parse(&o, &arena, file->data, file->size, &err);
    return rc == RUVM_OK ? ruvm_onnx_graph_read(t, &arena, &o, with, &err) : rc;
}

static int read_llama(const struct onnx_llama *l, const struct ruvm_tensors *with)
{
    struct ruvm_tensors t;
    struct ruvm_buffer file = onnx_llama_write(l);
    int rc = read_bytes(&t, &file, with);
    ruvm_buffer_free(&file);
    return rc;
}

static double number(const struct ruvm_tensors *t, const char *key)
{
    double x;
    cr_assert(ruvm_tensors_number(t, key, &x), "%s", key);
    return x;
}

static void check_tensor(const struct onnx_llama *l, const struct ruvm_tensors *t, const char *name,
                         unsigned rows, unsigned cols)
{
    const struct ruvm_view *v = ruvm_tensors_find(t, name);
    float row[64];
    cr_assert(v, "%s is missing", name);
    cr_assert(v->dims[0] == (rows > 1 ? rows : cols) && v->dims[v->n_dims - 1] == cols, "%s", name);
    for (unsigned r = 0; r < rows; r++) {
        ruvm_view_row(v, r, row);
        for (unsigned c = 0; c < cols; c++)
            cr_assert_float_eq(row[c], onnx_llama_weight(l, name, r, c), 0, "%s %u %u", name, r, c);
    }
}

static void check_layer(const struct onnx_llama *l, const struct ruvm_tensors *t, unsigned layer)
{
    unsigned q = l->n_heads * l->head_dim, k = l->n_kv_heads * l->head_dim;
    const struct {
        const char *name;
        unsigned rows, cols;
    } parts[] = {
        {"input_layernorm.weight", 1, l->dim},
        {"post_attention_layernorm.weight", 1, l->dim},
        {"self_attn.q_proj.weight", q, l->dim},
        {"self_attn.k_proj.weight", k, l->dim},
        {"self_attn.v_proj.weight", k, l->dim},
        {"self_attn.o_proj.weight", l->dim, q},
        {"mlp.gate_proj.weight", l->hidden, l->dim},
        {"mlp.up_proj.weight", l->hidden, l->dim},
        {"mlp.down_proj.weight", l->dim, l->hidden},
        {"self_attn.q_proj.bias", 1, q},
        {"self_attn.k_proj.bias", 1, k},
        {"self_attn.v_proj.bias", 1, k},
    };
    for (size_t i = 0; i < COUNT(parts) - (l->biased ? 0 : 3); i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%u.%s", layer, parts[i].name);
        check_tensor(l, t, name, parts[i].rows, parts[i].cols);
    }
}

static void check_numbers(const struct onnx_llama *l, const struct ruvm_tensors *t)
{
    cr_assert_float_eq(number(t, "vocab_size"), l->vocab, 0);
    cr_assert_float_eq(number(t, "dim"), l->dim, 0);
    cr_assert_float_eq(number(t, "hidden_dim"), l->hidden, 0);
    cr_assert_float_eq(number(t, "n_layers"), l->n_layers, 0);
    cr_assert_float_eq(number(t, "n_heads"), l->n_heads, 0);
    cr_assert_float_eq(number(t, "n_kv_heads"), l->n_kv_heads, 0);
    cr_assert_float_eq(number(t, "head_dim"), l->head_dim, 0);
    cr_assert_float_eq((float)number(t, "norm_eps"), l->eps, 0);
    cr_assert_float_eq((float)number(t, "rope_theta"), l->theta, 0);
    cr_assert_float_eq(number(t, "rope_halves"), !l->interleaved, 0);
    cr_assert_float_eq(number(t, "tied"), l->tied, 0);
    cr_assert_str_eq(ruvm_tensors_text(t, "architecture"), l->biased ? "qwen2" : "llama");
}

static void check_llama(const struct onnx_llama *l)
{
    struct ruvm_tensors t;
    struct ruvm_buffer file = onnx_llama_write(l);
    cr_assert_eq(read_bytes(&t, &file, &config), RUVM_OK, "%s", err.text);
    check_numbers(l, &t);
    check_tensor(l, &t, "model.embed_tokens.weight", l->vocab, l->dim);
    check_tensor(l, &t, "model.norm.weight", 1, l->dim);
    for (unsigned i = 0; i < l->n_layers; i++)
        check_layer(l, &t, i);
    if (!l->tied)
        check_tensor(l, &t, "lm_head.weight", l->vocab, l->dim);
    cr_assert_eq(t.n_views, (l->tied ? 2u : 3u) + l->n_layers * (l->biased ? 12 : 9));
    cr_assert_float_eq(number(&t, "max_seq_len"), 64, 0);
    ruvm_buffer_free(&file);
}

/* ---- what exporters do --------------------------------------------------------------- */

Test(onnx_graph, folded_weights_without_names)
{
    struct onnx_llama l = onnx_llama_usual();
    check_llama(&l);
    l.n_layers = 1;
    l.swapped = true; /* v before q, up before gate: order tells nothing */
    check_llama(&l);
}

Test(onnx_graph, every_way_of_storing_and_naming)
{
    for (unsigned i = 0; i < 1u << 8; i++) {
        struct onnx_llama l = onnx_llama_usual();
        l.unfolded = i & 1;
        l.tied = i & 2;
        l.biased = i & 4;
        l.interleaved = i & 8;
        l.tables = i & 16;
        l.repeated = i & 32;
        l.swapped = i & 64;
        l.last_only = i & 128;
        l.storage = (enum onnx_storage)(i % 4);
        check_llama(&l);
        ruvm_arena_free(&arena);
        config = (struct ruvm_tensors){0};
        init();
    }
}

Test(onnx_graph, gemm_with_transposed_weights)
{
    struct onnx_llama l = onnx_llama_usual();
    l.gemm = true;
    check_llama(&l);
    l.tied = true;
    check_llama(&l);
}

Test(onnx_graph, shapes_and_bases)
{
    static const float bases[] = {100, 10000, 500000, 1e6f, 12345};
    for (size_t i = 0; i < COUNT(bases); i++) {
        struct onnx_llama l = onnx_llama_usual();
        l.theta = bases[i];
        l.head_dim = i % 2 ? 8 : 6;
        l.n_heads = 3;
        l.n_kv_heads = 3;
        l.hidden = 11;
        l.n_layers = 1 + (unsigned)i;
        l.eps = 1e-6f;
        check_llama(&l);
        l.tables = true;
        l.interleaved = i % 2;
        check_llama(&l);
    }
}

/* ---- numbers from elsewhere -------------------------------------------------------------- */

Test(onnx_graph, tables_tell_the_context)
{
    struct onnx_llama l = onnx_llama_usual();
    struct ruvm_tensors t;
    l.tables = true;
    struct ruvm_buffer file = onnx_llama_write(&l);
    cr_assert_eq(read_bytes(&t, &file, NULL), RUVM_OK, "%s", err.text);
    cr_assert_float_eq(number(&t, "max_seq_len"), l.context, 0);
    ruvm_buffer_free(&file);
}

Test(onnx_graph, what_the_graph_does_not_show_is_asked_for)
{
    struct onnx_llama l = onnx_llama_usual();
    cr_assert_eq(read_llama(&l, NULL), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "does not show max_seq_len: put the model's config.json"), "%s",
              err.text);
    l.property = "max_position_embeddings";
    l.property_value = "48";
    cr_assert_eq(read_llama(&l, NULL), RUVM_OK, "%s", err.text);
    l.property_value = "48x";
    cr_assert_eq(read_llama(&l, NULL), RUVM_ERR_UNSUPPORTED);
}

Test(onnx_graph, a_config_adds_and_must_agree)
{
    struct onnx_llama l = onnx_llama_usual();
    struct ruvm_tensors t;
    struct ruvm_buffer file = onnx_llama_write(&l);
    ruvm_tensors_meta(&config, &arena, "norm_eps", 1e-5);
    ruvm_tensors_meta(&config, &arena, "bos", 3);
    ruvm_tensors_meta_text(&config, &arena, "architecture", "mistral");
    cr_assert_eq(read_bytes(&t, &file, &config), RUVM_OK, "%s", err.text);
    cr_assert_float_eq(number(&t, "norm_eps"), 1e-5, 0);
    cr_assert_float_eq(number(&t, "bos"), 3, 0);
    cr_assert_str_eq(ruvm_tensors_text(&t, "architecture"), "mistral");
    ruvm_tensors_meta(&config, &arena, "n_heads", 4);
    ruvm_tensors_meta(&config, &arena, "rope_theta", 500000);
    cr_assert_eq(read_bytes(&t, &file, &config), RUVM_ERR_MISMATCH);
    cr_assert(strstr(err.text, "n_heads is 2 in the graph, but 4 in its config"), "%s", err.text);
    cr_assert(strstr(err.text, "rope_theta is 10000 in the graph, but 500000"), "%s", err.text);
    ruvm_buffer_free(&file);
}

Test(onnx_graph, scaled_frequencies_need_a_config)
{
    struct onnx_llama l = onnx_llama_usual();
    l.head_dim = 8;
    l.odd = ONNX_SCALED_ROPE;
    cr_assert_eq(read_llama(&l, &config), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "RoPE frequencies are scaled"), "%s", err.text);
    ruvm_tensors_meta_text(&config, &arena, "rope_scaling", "llama3");
    ruvm_tensors_meta(&config, &arena, "rope_theta", 500000);
    cr_assert_eq(read_llama(&l, &config), RUVM_OK, "%s", err.text);
}

Test(onnx_graph, another_scale_of_scores_is_seen)
{
    struct onnx_llama l = onnx_llama_usual();
    struct ruvm_tensors t;
    double x;
    struct ruvm_buffer file = onnx_llama_write(&l);
    cr_assert_eq(read_bytes(&t, &file, &config), RUVM_OK, "%s", err.text);
    cr_assert_not(ruvm_tensors_number(&t, "score_scale", &x));
    ruvm_buffer_free(&file);
    l.odd = ONNX_SCORES_UNSCALED;
    file = onnx_llama_write(&l);
    cr_assert_eq(read_bytes(&t, &file, &config), RUVM_OK, "%s", err.text);
    cr_assert_float_eq(number(&t, "score_scale"), 1, 0);
    ruvm_buffer_free(&file);
}

Test(onnx_graph, a_parallel_block_and_layer_norm_are_seen)
{
    static const struct {
        enum onnx_oddity odd;
        const char *key;
    } kinds[] = {{ONNX_PARALLEL, "parallel"}, {ONNX_LAYER_NORM, "norm_kind"}};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct onnx_llama l = onnx_llama_usual();
        struct ruvm_tensors t;
        l.odd = kinds[i].odd;
        struct ruvm_buffer file = onnx_llama_write(&l);
        cr_assert_eq(read_bytes(&t, &file, &config), RUVM_OK, "%s", err.text);
        cr_assert_float_eq(number(&t, kinds[i].key), 1, 0);
        cr_assert_null(ruvm_tensors_text(&t, "architecture"), "it is no known family");
        ruvm_buffer_free(&file);
    }
}

/* ---- what is refused --------------------------------------------------------------------- */

static const struct {
    enum onnx_oddity odd;
    const char *text;
} oddities[] = {
    {ONNX_GELU, "its input is none of the known activations silu(gate x) * up x, gelu(up x)"},
    {ONNX_QK_NORM, "(ReduceMean): changes q, k or v on the way to attention"},
    {ONNX_SCALED_EMBED, "its norm does not read the embedding as it is"},
    {ONNX_NO_ROPE, "is not turned by cosines and sines"},
    {ONNX_K_NOT_TURNED, "q and k are not turned alike"},
    {ONNX_OTHER_EPS, "layer 0: norms add 1e-05 and 1e-05, the last norm 0.001"},
    {ONNX_HEAD_BIAS, "adds a bias to the logits"},
    {ONNX_EXTRA_LINEAR, "is a linear with no place in a decoder"},
    {ONNX_V_SQUARED, "(Mul): changes q, k or v"},
};

Test(onnx_graph, networks_that_compute_something_else_are_refused)
{
    for (size_t i = 0; i < COUNT(oddities); i++) {
        struct onnx_llama l = onnx_llama_usual();
        l.odd = oddities[i].odd;
        l.tables = i % 2;
        cr_expect_eq(read_llama(&l, &config), RUVM_ERR_UNSUPPORTED, "%s", oddities[i].text);
        cr_expect(strstr(err.text, oddities[i].text), "%s is not in: %s", oddities[i].text,
                  err.text);
    }
}

static struct ruvm_buffer write_classifier(void)
{
    static const float values[12] = {0.5f, -1};
    struct ruvm_buffer g = {0}, a = {0}, b = {0};
    onnx_floats(&g, "0.weight", SHAPE(4, 3), values, ONNX_RAW, NULL, NULL);
    onnx_floats(&g, "0.bias", SHAPE(4), values, ONNX_RAW, NULL, NULL);
    onnx_floats(&g, "2.weight", SHAPE(2, 4), values, ONNX_RAW, NULL, NULL);
    onnx_end(&g, 11, "x");
    onnx_attribute_int(&a, "transB", 1);
    onnx_attribute_int(&b, "transB", 1);
    onnx_node(&g, "Gemm", "x 0.weight 0.bias", "a", &a);
    onnx_node(&g, "Relu", "a", "b", NULL);
    onnx_node(&g, "Gemm", "b 2.weight", "c", &b);
    onnx_node(&g, "Softmax", "c", "y", NULL);
    onnx_end(&g, 12, "y");
    return onnx_model(&g, NULL);
}

Test(onnx_graph, a_classifier_is_called_one)
{
    struct ruvm_tensors t;
    struct ruvm_buffer file = write_classifier();
    cr_assert_eq(read_bytes(&t, &file, NULL), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "is a classifier of 2 linear layers"), "%s", err.text);
    ruvm_buffer_free(&file);
}

Test(onnx_graph, every_operator_is_in_the_report)
{
    struct ruvm_tensors t;
    struct ruvm_buffer g = {0};
    onnx_end(&g, 11, "x");
    onnx_node(&g, "LSTM", "x", "a", NULL);
    onnx_node(&g, "If", "a", "b", NULL);
    for (int i = 0; i < 5; i++) {
        char in[8], out[8];
        snprintf(in, sizeof in, "%c", 'b' + i);
        snprintf(out, sizeof out, "%c", 'c' + i);
        onnx_node(&g, "Einsum", in, out, NULL);
    }
    struct ruvm_buffer file = onnx_model(&g, NULL);
    cr_assert_eq(read_bytes(&t, &file, NULL), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "1 LSTM (a)"), "%s", err.text);
    cr_assert(strstr(err.text, "1 If (b); accepted instead: an export without branches"), "%s",
              err.text);
    cr_assert(strstr(err.text, "5 Einsum (c, d, e and 2 more); accepted instead: MatMul"), "%s",
              err.text);
    cr_assert(strstr(err.text, "no attention in it"), "%s", err.text);
    ruvm_buffer_free(&file);
}

Test(onnx_graph, an_empty_graph_is_no_decoder)
{
    struct ruvm_tensors t;
    struct ruvm_buffer g = {0};
    struct ruvm_buffer file = onnx_model(&g, NULL);
    cr_assert_eq(read_bytes(&t, &file, NULL), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "no attention in it"), "%s", err.text);
    ruvm_buffer_free(&file);
}
