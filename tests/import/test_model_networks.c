/* The meaning of a directory of any network: dialects, orientation, scaled RoPE, and what is
 * wrong with each. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/import/model.h"
#include "lib/import/names.h"
#include "tests/support/tiny_models.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_model model;
static struct ruvm_tensors tensors;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(model_networks, .fini = fini);

static void set(const char *key, double number)
{
    tiny_models_set(&tensors, &arena, key, number);
}

static struct ruvm_view *view(const char *name)
{
    return tiny_models_view(&tensors, name);
}

static int gather(void)
{
    err = (struct ruvm_error){0};
    return ruvm_model_from_tensors(&model, &arena, &tensors, &err);
}

static void expect_problem(int code, const char *text)
{
    cr_expect_eq(gather(), code, "%s: %s", text, err.text);
    cr_expect(strstr(err.text, text), "%s is not in: %s", text, err.text);
    cr_expect(!strchr(err.text, '\n'));
}

/* ---- networks that are no Llama -------------------------------------------------- */

static void make_network(int n, int d)
{
    tensors = tiny_models_make(&arena, n, d, 1);
}

static void set_text(const char *key, const char *text)
{
    cr_assert(ruvm_tensors_meta_text(&tensors, &arena, key, text));
}

Test(model_networks, dialects_are_told_by_embedding_and_attention)
{
    static const struct {
        int n;
        const char *name;
    } cases[] = {{TINY_QWEN2, "Hugging Face Llama"},
                 {TINY_GPT2, "Hugging Face GPT-2"},
                 {TINY_GPT_NEO, "Hugging Face GPT-Neo"},
                 {TINY_GPT_NEOX, "Hugging Face GPT-NeoX"}};
    static const char *const prefixes[] = {"model.", "transformer.", "gpt_neox."};
    for (size_t i = 0; i < COUNT(cases); i++) {
        make_network(cases[i].n, TINY_HUGGING_FACE);
        cr_expect_str_eq(ruvm_names_dialect(&tensors)->name, cases[i].name);
        for (size_t k = 0; k < tensors.n_views; k++) /* as saved without its head */
            for (size_t p = 0; p < COUNT(prefixes); p++)
                if (strncmp(tensors.views[k].name, prefixes[p], strlen(prefixes[p])) == 0)
                    tensors.views[k].name += strlen(prefixes[p]);
        cr_expect_eq(gather(), RUVM_OK, "%s: %s", cases[i].name, err.text);
        cr_expect_str_eq(ruvm_names_dialect(&tensors)->name, cases[i].name);
    }
    make_network(TINY_GPT_NEOX, TINY_GGUF);
    cr_expect_str_eq(ruvm_names_dialect(&tensors)->name, "GGUF");
}

Test(model_networks, biases_are_named_as_their_weights)
{
    char name[RUVM_NAME_BYTES];
    make_network(TINY_GPT2, TINY_HUGGING_FACE);
    const struct ruvm_dialect *d = ruvm_names_dialect(&tensors);
    cr_assert_str_eq(ruvm_names_write_bias(name, sizeof name, d, RUVM_ROLE_QKV, 11),
                     "transformer.h.11.attn.c_attn.bias");
    cr_assert_str_eq(ruvm_names_write_bias(name, sizeof name, NULL, RUVM_TENSOR_WQ, 2),
                     "layers.2.wq.bias");
}

Test(model_networks, numbers_of_other_networks)
{
    make_network(TINY_GPT_NEO, TINY_HUGGING_FACE);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert(model.norm == RUVM_NORM_LAYER && model.act == RUVM_ACT_GELU_TANH);
    cr_assert(model.pos == RUVM_POS_LEARNED && model.rotary_dim == 0 && !model.parallel);
    cr_assert(model.window == TINY_WINDOW && model.layers[1].windowed);
    cr_assert(!model.layers[0].windowed && !model.layers[2].windowed);
    cr_assert_eq(ruvm_model_window(&model, 0), TINY_CONTEXT);
    cr_assert_eq(ruvm_model_window(&model, 1), TINY_WINDOW);
    cr_assert_float_eq(ruvm_model_score_scale(&model), 1, 0);
    cr_assert(!model.layers[0].bias[RUVM_BIAS_WQ] && model.layers[0].bias[RUVM_BIAS_WO]);
    cr_assert(!model.layers[0].w_gate && model.final_bias && model.head == model.embed);
    make_network(TINY_GPT_NEOX, TINY_GGUF);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert(model.act == RUVM_ACT_GELU_ERF && model.parallel && model.rotary_dim == 4);
    cr_assert_float_eq(ruvm_model_score_scale(&model), 1 / sqrtf(12), 0);
    cr_assert_float_eq(ruvm_model_turn(&model, 1), 0.01, 1e-12);
}

Test(model_networks, numbers_of_other_networks_that_make_no_sense)
{
    static const struct {
        const char *key;
        double number;
        const char *text;
    } cases[] = {
        {"norm_kind", 2, "norm_kind is 2, expected 0 to 1"},
        {"activation", 4, "activation is 4, expected 0 to 3"},
        {"positions", -1, "positions is -1, expected 0 to 1"},
        {"rotary_dim", 3, "rotary_dim is 3, expected an even number from 2 to 12"},
        {"rotary_dim", 14, "rotary_dim is 14, expected an even number from 2 to 12"},
        {"rotary_dim", 0, "rotary_dim is 0, expected an even number from 2 to 12"},
        {"window", 0.5, "window is 0.5"},
        {"score_scale", 0, "score_scale is 0, expected 1e-06 to 1e+06"},
        {"head_dim", 2050, "a head has 2050 values, expected an even number to 2048"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        make_network(TINY_GPT_NEOX, TINY_HUGGING_FACE);
        set(cases[i].key, cases[i].number);
        expect_problem(RUVM_ERR_UNSUPPORTED, cases[i].text);
    }
    make_network(TINY_LLAMA, TINY_RUVM);
    set("n_heads", 250);
    set("head_dim", 400);
    expect_problem(RUVM_ERR_UNSUPPORTED, "250 heads of 400 values, an image holds at most 65535");
}

Test(model_networks, texts_that_make_no_sense)
{
    static const struct {
        const char *key, *value, *text;
    } cases[] = {
        {"architecture", "phi", "the architecture is phi, known are llama, mistral"},
        {"local_layers", "01", "local_layers is \"01\", expected 3 digits 0 or 1"},
        {"local_layers", "01x", "local_layers is \"01x\", expected 3 digits"},
        {"rope_scaling", "longrope", "is longrope, known are none, linear, llama3 and yarn"},
        {"rope_scaling", "yarn", "rope_factor is not given; rope_original_context is not given"},
        {"rope_scaling", "linear", "rope_factor is not given"},
        {"rope_scaling", "llama3", "rope_factor is not given; rope_low_freq is not given"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        make_network(TINY_MISTRAL, TINY_HUGGING_FACE);
        for (size_t k = 0; k < tensors.n_meta; k++)
            if (strcmp(tensors.meta[k].key, cases[i].key) == 0)
                tensors.meta[k].key = "before";
        set_text(cases[i].key, cases[i].value);
        expect_problem(RUVM_ERR_UNSUPPORTED, cases[i].text);
    }
}

Test(model_networks, tensors_of_other_networks_with_problems)
{
    make_network(TINY_GPT2, TINY_HUGGING_FACE);
    view("transformer.h.1.attn.c_attn.weight")->dims[0] = 23;
    view("transformer.h.1.attn.c_attn.bias")->dims[0] = 24;
    view("transformer.h.2.mlp.c_fc.weight")->dtype = RUVM_DTYPE_Q8_0;
    view("transformer.h.2.ln_1.bias")->name = "transformer.h.2.ln_1.other";
    view("transformer.wpe.weight")->dims[0] = 30;
    gather();
    static const char *const problems[] = {
        "transformer.wpe.weight is [30, 24], expected [40, 24]",
        "transformer.h.1.attn.c_attn.bias is [24], expected [72]",
        "transformer.h.1.attn.c_attn.weight is [23, 72], expected [24, 72]",
        "transformer.h.2.ln_1.bias is missing",
        "transformer.h.2.mlp.c_fc.weight is [inputs, outputs] in q8_0: its rows cannot be taken",
        "transformer.h.2.ln_1.other has no place in this architecture",
    };
    for (size_t i = 0; i < COUNT(problems); i++)
        cr_expect(strstr(err.text, problems[i]), "%s is not in: %s", problems[i], err.text);
    make_network(TINY_QWEN2, TINY_HUGGING_FACE);
    set("activation", 1);
    expect_problem(RUVM_ERR_UNSUPPORTED,
                   "model.layers.0.mlp.gate_proj.weight has no place in this architecture");
    make_network(TINY_QWEN2, TINY_HUGGING_FACE);
    set("positions", 1);
    expect_problem(RUVM_ERR_UNSUPPORTED, "positions has no name in the dialect Hugging Face Llama");
}

/* Rows instead of columns in GPT-2's names: other projects store them so. */
Test(model_networks, the_orientation_of_gpt2_is_seen)
{
    float a[TINY_DIM], b[TINY_DIM];
    make_network(TINY_GPT2, TINY_HUGGING_FACE);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    ruvm_view_row(model.layers[1].wk, 3, a);
    make_network(TINY_GPT2, TINY_GGUF);
    for (size_t i = 0; i < tensors.n_views; i++) {
        struct ruvm_view *v = &tensors.views[i];
        static char names[64][64];
        unsigned layer;
        char rest[32];
        if (sscanf(v->name, "blk.%u.%31s", &layer, rest) == 2) {
            static const char *const pairs[][2] = {
                {"attn_qkv", "attn.c_attn"}, {"attn_output", "attn.c_proj"}, {"ffn_up", "mlp.c_fc"},
                {"ffn_down", "mlp.c_proj"},  {"attn_norm", "ln_1"},          {"ffn_norm", "ln_2"}};
            for (size_t k = 0; k < COUNT(pairs); k++)
                if (strncmp(rest, pairs[k][0], strlen(pairs[k][0])) == 0)
                    snprintf(names[i], sizeof names[i], "h.%u.%s%s", layer, pairs[k][1],
                             rest + strlen(pairs[k][0]));
        } else {
            bool out = strncmp(v->name, "output_norm", 11) == 0;
            snprintf(names[i], sizeof names[i], "%s%s",
                     out                 ? "ln_f"
                     : v->name[0] == 't' ? "wte"
                                         : "wpe",
                     strrchr(v->name, '.'));
        }
        v->name = names[i];
    }
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    ruvm_view_row(model.layers[1].wk, 3, b);
    cr_assert(memcmp(a, b, sizeof a) == 0);
}

/* Some files hold the head of a tied model once more. */
Test(model_networks, a_tied_head_that_is_stored_must_be_the_embedding)
{
    make_network(TINY_GPT2, TINY_HUGGING_FACE);
    struct ruvm_view head = *view("transformer.wte.weight");
    float *other = ruvm_arena_alloc(&arena, head.bytes, 1);
    head.name = "lm_head.weight";
    cr_assert(ruvm_tensors_add(&tensors, &arena, &head));
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert_eq(model.head, model.embed);
    view("lm_head.weight")->data = (const uint8_t *)other;
    expect_problem(RUVM_ERR_UNSUPPORTED, "lm_head.weight has no place in this architecture");
}

/* ---- scaled RoPE ------------------------------------------------------------- */

/* Pairs turn by 1, 1/10, 1/100 ... of a radian. */
static void make_slow(void)
{
    make_network(TINY_LLAMA, TINY_RUVM);
    set("rope_theta", 1000); /* head_dim 6 */
}

Test(model_networks, rope_is_scaled)
{
    make_slow();
    set_text("rope_scaling", "linear");
    set("rope_factor", 4);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_float_eq(ruvm_model_turn(&model, i), pow(10, -(double)i) / 4, 1e-9);
    make_slow();
    set_text("rope_scaling", "none");
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert_null(model.rope_factors);
}

/* Turns in a context of 200: 31.8, 3.18, 0.318; between 1 and 4 they are mixed. */
Test(model_networks, rope_is_scaled_as_in_llama3)
{
    make_slow();
    set_text("rope_scaling", "llama3");
    set("rope_factor", 8);
    set("rope_low_freq", 1);
    set("rope_high_freq", 4);
    set("rope_original_context", 200);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    double share = (200 * 0.1 / (2 * acos(-1)) - 1) / (4 - 1);
    const double expected[] = {1, 0.1 * ((1 - share) / 8 + share), 0.01 / 8};
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_float_eq(ruvm_model_turn(&model, i), expected[i], 1e-8 * expected[i] + 1e-8);
    set("rope_high_freq", 1);
    expect_problem(RUVM_ERR_UNSUPPORTED, "rope_high_freq is 1, expected above rope_low_freq 1");
}

/* The pair whose angle makes so many turns in a context. */
static double place_of(double turns, double context)
{
    return 6 * log(context / (2 * acos(-1) * turns)) / (2 * log(1000));
}

Test(model_networks, rope_is_scaled_as_in_yarn)
{
    for (int whole = 0; whole < 2; whole++) {
        make_slow();
        set_text("rope_scaling", "yarn");
        set("rope_factor", 4);
        set("rope_original_context", 4096);
        set("rope_whole", whole);
        cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
        double low = place_of(32, 4096), high = place_of(1, 4096);
        low = whole ? floor(low) : low;
        high = whole ? ceil(high) : high;
        for (uint32_t i = 0; i < 3; i++) {
            double slow = fmin(fmax((i - low) / (high - low), 0), 1);
            double expected = pow(10, -(double)i) * (1 - slow + slow / 4);
            cr_assert_float_eq(ruvm_model_turn(&model, i), expected, 1e-7 * expected);
        }
        double attention = 0.1 * log(4) + 1;
        cr_assert_float_eq(ruvm_model_score_scale(&model), attention * attention / sqrt(6), 1e-6);
        set("rope_attention", 1);
        cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
        cr_assert_float_eq(ruvm_model_score_scale(&model), 1 / sqrt(6), 1e-6);
    }
}

/* 1 turn or 32, the context has neither: all pairs on one side. */
Test(model_networks, yarn_of_a_context_without_slow_pairs)
{
    make_slow();
    set_text("rope_scaling", "yarn");
    set("rope_factor", 8);
    set("rope_original_context", 1e6);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert_null(model.rope_factors, "each pair turns often enough");
    set("rope_original_context", 3);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert_float_eq(ruvm_model_turn(&model, 2), 0.01 / 8, 1e-9);
}

Test(model_networks, rope_is_scaled_by_a_tensor_of_factors)
{
    static const float factors[] = {1, 2, 8};
    make_network(TINY_LLAMA, TINY_GGUF);
    struct ruvm_view v = {.name = "rope_freqs.weight",
                          .n_dims = 1,
                          .dims = {3},
                          .data = (const uint8_t *)factors,
                          .bytes = sizeof factors};
    cr_assert(ruvm_tensors_add(&tensors, &arena, &v));
    set_text("rope_scaling", "factors"); /* as a GGUF file is read */
    set("rope_theta", 1000);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert_float_eq(ruvm_model_turn(&model, 1), 0.05, 1e-12);
    cr_assert_float_eq(ruvm_model_turn(&model, 2), 0.01 / 8, 1e-12);
    view("rope_freqs.weight")->dims[0] = 2;
    expect_problem(RUVM_ERR_MISMATCH, "rope_freqs.weight");
}
