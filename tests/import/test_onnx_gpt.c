/* GPT-2, GPT-Neo and GPT-NeoX in ONNX graphs: the same float model as from a Hugging Face folder,
 * however the exporter wrote it, and refused when they compute something else. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lib/import/model.h"
#include "lib/import/onnx_graph.h"
#include "tests/support/onnx_gpt.h"
#include "tests/support/tiny_models.h"

enum { MAX_COLS = 64 };

static struct ruvm_arena arena;
static struct ruvm_error err;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(onnx_gpt, .fini = fini);

/* The bytes of the file stay until the caller frees them. */
static int read_graph(struct ruvm_tensors *t, struct ruvm_buffer *file, const struct onnx_gpt *g,
                      const struct ruvm_tensors *config)
{
    struct ruvm_onnx o;
    err = (struct ruvm_error){0};
    *file = onnx_gpt_write(g);
    int rc = ruvm_onnx_parse(&o, &arena, file->data, file->size, &err);
    return rc == RUVM_OK ? ruvm_onnx_graph_read(t, &arena, &o, config, &err) : rc;
}

/* ---- equal models --------------------------------------------------------------------------- */

static void same_view(const struct ruvm_view *a, const struct ruvm_view *b, const char *what)
{
    float x[MAX_COLS], y[MAX_COLS];
    cr_assert_eq(a != NULL && a->data != NULL, b != NULL && b->data != NULL, "%s", what);
    if (!a || !a->data)
        return;
    uint64_t rows = a->n_dims > 1 ? a->dims[0] : 1;
    uint64_t cols = a->n_dims > 1 ? a->dims[1] : a->dims[0];
    cr_assert_eq(a->n_dims, b->n_dims, "%s", what);
    cr_assert_eq(a->dims[0], b->dims[0], "%s", what);
    cr_assert(cols <= MAX_COLS && cols == b->dims[b->n_dims - 1], "%s", what);
    for (uint64_t r = 0; r < rows; r++) {
        ruvm_view_row(a, r, x);
        ruvm_view_row(b, r, y);
        cr_assert_eq(memcmp(x, y, cols * sizeof *x), 0, "%s row %u", what, (unsigned)r);
    }
}

static void same_tensors(struct ruvm_model *a, struct ruvm_model *b)
{
    char name[48];
    same_view(a->embed, b->embed, "embed");
    same_view(a->head, b->head, "head");
    same_view(&a->positions, &b->positions, "positions");
    same_view(a->final_norm, b->final_norm, "final_norm");
    same_view(a->final_bias, b->final_bias, "final_bias");
    for (unsigned l = 0; l < a->n_layers; l++) {
        for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++)
            same_view(ruvm_model_tensor(a, kind, l, name), ruvm_model_tensor(b, kind, l, name),
                      name);
        for (int i = 0; i < RUVM_BIAS_FINAL_NORM; i++)
            same_view(a->layers[l].bias[i], b->layers[l].bias[i], "a bias");
        same_view(a->layers[l].attn_norm, b->layers[l].attn_norm, "attn_norm");
        same_view(a->layers[l].ffn_norm, b->layers[l].ffn_norm, "ffn_norm");
        cr_assert_eq(a->layers[l].windowed, b->layers[l].windowed, "layer %u", l);
    }
}

static void same_numbers(const struct ruvm_model *a, const struct ruvm_model *b)
{
    cr_assert(a->vocab == b->vocab && a->dim == b->dim && a->hidden == b->hidden);
    cr_assert(a->n_layers == b->n_layers && a->n_heads == b->n_heads);
    cr_assert(a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim);
    cr_assert_eq(a->context, b->context, "%u %u", a->context, b->context);
    cr_assert(a->norm == b->norm && a->act == b->act && a->pos == b->pos);
    cr_assert(a->tied == b->tied && a->parallel == b->parallel && a->window == b->window);
    cr_assert_eq(a->rotary_dim, b->rotary_dim);
    cr_assert_float_eq(a->score_scale, b->score_scale, 0);
    cr_assert_float_eq(a->norm_eps, b->norm_eps, 1e-12);
    cr_assert_float_eq(a->rope_theta, b->rope_theta, 0);
    cr_assert_null(b->rope_factors);
}

/* With what a config.json says, or (told false) with the graph alone. */
static void check(const struct onnx_gpt *g, bool told)
{
    struct ruvm_tensors t;
    struct ruvm_buffer file;
    struct ruvm_model a, b;
    cr_assert_eq(read_graph(&t, &file, g, told ? g->t : NULL), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_model_from_tensors(&a, &arena, g->t, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_model_from_tensors(&b, &arena, &t, &err), RUVM_OK, "%s", err.text);
    if (!told && g->network == TINY_GPT_NEOX && g->folded)
        ruvm_model_cut_context(&a, 8); /* its angles are for the text that it was exported with */
    cr_assert_str_eq(ruvm_tensors_text(&t, "architecture"), tiny_network_name(g->network));
    same_numbers(&a, &b);
    same_tensors(&a, &b);
    ruvm_buffer_free(&file);
}

Test(onnx_gpt, three_networks_however_they_are_written)
{
    for (int n = TINY_GPT2; n <= TINY_GPT_NEOX; n++)
        for (unsigned i = 0; i < 1u << 6; i++) {
            struct ruvm_tensors t = tiny_models_make(&arena, n, TINY_HUGGING_FACE, i);
            struct onnx_gpt g = {.network = n,
                                 .t = &t,
                                 .operators = i & 1,
                                 .slices = i & 2,
                                 .folded = i & 4,
                                 .added_mask = i & 8,
                                 .swapped = i & 16,
                                 .transposed = i & 32};
            check(&g, i % 3 == 0);
            fini();
        }
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void refuse(int network, enum onnx_gpt_oddity odd, const char *text)
{
    struct ruvm_tensors t = tiny_models_make(&arena, network, TINY_HUGGING_FACE, 1), out;
    struct ruvm_buffer file;
    struct onnx_gpt g = {.network = network, .t = &t, .odd = odd};
    cr_expect_eq(read_graph(&out, &file, &g, NULL), RUVM_ERR_UNSUPPORTED, "%s", text);
    cr_expect(strstr(err.text, text), "%s is not in: %s", text, err.text);
    ruvm_buffer_free(&file);
}

Test(onnx_gpt, networks_that_compute_something_else_are_refused)
{
    refuse(TINY_GPT2, ONNX_GPT_KEYS_FIRST, "in another order than q, k, v");
    refuse(TINY_GPT_NEOX, ONNX_GPT_KEYS_FIRST, "in another order than q, k, v");
    refuse(TINY_GPT2, ONNX_GPT_UNCUT, "they are not cut out by one Split");
    refuse(TINY_GPT_NEO, ONNX_GPT_QUICK_GELU, "its input is none of the known activations");
    refuse(TINY_GPT2, ONNX_GPT_LATE_POSITIONS, "positions that do not begin with row 0");
    refuse(TINY_GPT_NEOX, ONNX_GPT_STRIPED_MASK, "its mask is neither causal nor a window");
    refuse(TINY_GPT_NEO, ONNX_GPT_MIXED_NORMS, "RMSNorm and LayerNorm in one network");
    refuse(TINY_GPT_NEOX, ONNX_GPT_HALVED_BRANCH, "is not just added to the residual");
    refuse(TINY_GPT_NEO, ONNX_GPT_OTHER_WINDOW, "sees 5 positions, elsewhere 7");
    refuse(TINY_GPT2, ONNX_GPT_SHORT_MASK, "the graph shows its mask for 5 positions only");
}

Test(onnx_gpt, what_a_config_tells_must_agree)
{
    static const struct {
        const char *key;
        double number;
        const char *text;
    } cases[] = {
        {"activation", 2, "activation is 1 in the graph, but 2 in its config"},
        {"norm_kind", 0, "norm_kind is 1 in the graph, but 0 in its config"},
        {"window", 9, "layer 1: a token sees 7 positions in the graph, but 9 in its config"},
        {"max_seq_len", 64, "tells 64 positions, but the graph has 40 learned ones"},
        {"n_heads", 4, "n_heads is 3 in the graph, but 4 in its config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ruvm_tensors t = tiny_models_make(&arena, TINY_GPT_NEO, TINY_HUGGING_FACE, 1), out;
        struct ruvm_buffer file;
        struct onnx_gpt g = {.network = TINY_GPT_NEO, .t = &t};
        tiny_models_set(&t, &arena, cases[i].key, cases[i].number);
        cr_expect_eq(read_graph(&out, &file, &g, &t), RUVM_ERR_MISMATCH, "%s", cases[i].text);
        cr_expect(strstr(err.text, cases[i].text), "%s is not in: %s", cases[i].text, err.text);
        ruvm_buffer_free(&file);
    }
}

/* A mask folded for a short text shows no window: the config does. */
Test(onnx_gpt, a_config_tells_the_window_that_a_short_mask_hides)
{
    struct ruvm_tensors t = tiny_models_make(&arena, TINY_GPT_NEO, TINY_HUGGING_FACE, 1);
    struct onnx_gpt g = {.network = TINY_GPT_NEO, .t = &t, .odd = ONNX_GPT_SHORT_MASK};
    check(&g, true);
}
