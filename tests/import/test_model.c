/* The meaning of a directory: names to roles, shapes, ties, limits; and that all
 * problems of a file are told at once. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "formats/formats.h"
#include "lib/base/file.h"
#include "lib/import/model.h"
#include "lib/import/names.h"
#include "tests/support/tiny_models.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_model model;
static struct ruvm_tensors tensors;
static uint8_t zeros[4 * 16 * 16];

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(model, .fini = fini);

static void add(const char *name, uint32_t n_dims, uint64_t rows, uint64_t cols)
{
    struct ruvm_view v = {.name = name, .n_dims = n_dims, .dims = {rows, cols}, .data = zeros};
    cr_assert(ruvm_tensors_add(&tensors, &arena, &v));
}

static void set(const char *key, double number)
{
    tiny_models_set(&tensors, &arena, key, number);
}

static struct ruvm_view *view(const char *name)
{
    return tiny_models_view(&tensors, name);
}

/* One layer: dim 8, hidden 6, 4 heads of 2, 2 kv heads, vocab 10, context 5. */
static void make_good(void)
{
    static const struct {
        const char *key;
        double number;
    } meta[] = {
        {"vocab_size", 10},   {"dim", 8},     {"hidden_dim", 6}, {"max_seq_len", 5},
        {"n_layers", 1},      {"n_heads", 4}, {"n_kv_heads", 2}, {"norm_eps", 1e-6},
        {"rope_theta", 5000}, {"tied", 0},
    };
    for (size_t i = 0; i < COUNT(meta); i++)
        set(meta[i].key, meta[i].number);
    add("tok_embeddings.weight", 2, 10, 8);
    add("layers.0.attention_norm.weight", 1, 8, 0);
    add("layers.0.attention.wq.weight", 2, 8, 8);
    add("layers.0.attention.wk.weight", 2, 4, 8);
    add("layers.0.attention.wv.weight", 2, 4, 8);
    add("layers.0.attention.wo.weight", 2, 8, 8);
    add("layers.0.ffn_norm.weight", 1, 8, 0);
    add("layers.0.feed_forward.w1.weight", 2, 6, 8);
    add("layers.0.feed_forward.w2.weight", 2, 8, 6);
    add("layers.0.feed_forward.w3.weight", 2, 6, 8);
    add("norm.weight", 1, 8, 0);
    add("output.weight", 2, 10, 8);
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

Test(model, numbers_and_tensors_find_their_places)
{
    make_good();
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert(model.vocab == 10 && model.dim == 8 && model.hidden == 6 && model.context == 5);
    cr_assert(model.n_layers == 1 && model.n_heads == 4 && model.n_kv_heads == 2);
    cr_assert(model.head_dim == 2 && !model.tied);
    cr_assert_float_eq(model.norm_eps, 1e-6f, 0);
    cr_assert_float_eq(model.rope_theta, 5000.0f, 0);
    const struct ruvm_layer *l = &model.layers[0];
    cr_assert_eq(model.embed, view("tok_embeddings.weight"));
    cr_assert_eq(model.head, view("output.weight"));
    cr_assert_eq(model.final_norm, view("norm.weight"));
    cr_assert_eq(l->attn_norm, view("layers.0.attention_norm.weight"));
    cr_assert_eq(l->ffn_norm, view("layers.0.ffn_norm.weight"));
    cr_assert_eq(l->w_gate, view("layers.0.feed_forward.w1.weight"));
    cr_assert_eq(l->w_down, view("layers.0.feed_forward.w2.weight"));
    cr_assert_eq(l->w_up, view("layers.0.feed_forward.w3.weight"));
}

Test(model, image_kinds_have_a_tensor_and_a_canonical_name)
{
    static const struct {
        int kind;
        const char *name, *view;
    } kinds[] = {
        {RUVM_TENSOR_EMBED, "embed", "tok_embeddings.weight"},
        {RUVM_TENSOR_WQ, "layers.0.wq", "layers.0.attention.wq.weight"},
        {RUVM_TENSOR_WK, "layers.0.wk", "layers.0.attention.wk.weight"},
        {RUVM_TENSOR_WV, "layers.0.wv", "layers.0.attention.wv.weight"},
        {RUVM_TENSOR_WO, "layers.0.wo", "layers.0.attention.wo.weight"},
        {RUVM_TENSOR_W_UP, "layers.0.w_up", "layers.0.feed_forward.w3.weight"},
        {RUVM_TENSOR_W_GATE, "layers.0.w_gate", "layers.0.feed_forward.w1.weight"},
        {RUVM_TENSOR_W_DOWN, "layers.0.w_down", "layers.0.feed_forward.w2.weight"},
        {RUVM_TENSOR_HEAD, "head", "output.weight"},
    };
    make_good();
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char name[48];
        const struct ruvm_view *v = ruvm_model_tensor(&model, kinds[i].kind, 0, name);
        cr_expect_str_eq(name, kinds[i].name);
        cr_expect_eq(v, view(kinds[i].view), "%s", name);
    }
}

Test(model, names_are_written_in_each_dialect)
{
    char name[RUVM_NAME_BYTES], small[8];
    make_good();
    const struct ruvm_dialect *meta = ruvm_names_dialect(&tensors);
    cr_assert_str_eq(meta->name, "Meta");
    cr_assert_str_eq(ruvm_names_write(name, sizeof name, meta, RUVM_TENSOR_W_UP, 254),
                     "layers.254.feed_forward.w3.weight");
    cr_assert_str_eq(ruvm_names_write(name, sizeof name, NULL, RUVM_ROLE_FFN_NORM, 12),
                     "layers.12.ffn_norm");
    cr_assert_str_eq(ruvm_names_write(small, sizeof small, NULL, RUVM_TENSOR_WQ, 12), "layers.");
    cr_assert_null(ruvm_names_dialect(&(struct ruvm_tensors){0}));
}

Test(model, a_tied_head_is_the_embedding)
{
    make_good();
    set("tied", 1);
    expect_problem(RUVM_ERR_UNSUPPORTED, "output.weight has no place in this architecture");
    tensors.n_views--; /* without the output */
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert(model.tied);
    cr_assert_eq(model.head, model.embed);
    set("tied", 0);
    expect_problem(RUVM_ERR_UNSUPPORTED, "output.weight is missing");
}

Test(model, numbers_beyond_the_image_are_refused)
{
    static const struct {
        const char *key;
        double number;
        int code;
        const char *text;
    } cases[] = {
        {"vocab_size", 2097153, RUVM_ERR_UNSUPPORTED, "vocab_size is 2097153, expected at most"},
        {"dim", 70000, RUVM_ERR_UNSUPPORTED, "dim is 70000, an image holds at most 65535"},
        {"hidden_dim", 65536, RUVM_ERR_UNSUPPORTED, "hidden_dim is 65536"},
        {"max_seq_len", 0.5, RUVM_ERR_UNSUPPORTED, "max_seq_len is 0.5"},
        {"n_layers", 256, RUVM_ERR_UNSUPPORTED, "n_layers is 256, an image holds at most 255"},
        {"n_heads", 300, RUVM_ERR_UNSUPPORTED, "n_heads is 300"},
        {"n_kv_heads", 256, RUVM_ERR_UNSUPPORTED, "n_kv_heads is 256"},
        {"n_heads", 8, RUVM_ERR_UNSUPPORTED, "a head has 1 values, expected an even number"},
        {"n_heads", 3, RUVM_ERR_MISMATCH, "dim 8 is not a multiple of n_heads 3"},
        {"n_kv_heads", 3, RUVM_ERR_MISMATCH, "n_heads 4 is not a multiple of n_kv_heads 3"},
        {"dim", 0, RUVM_ERR_UNSUPPORTED, "dim is 0, expected 1 to 65535"},
        {"dim", 8.5, RUVM_ERR_UNSUPPORTED, "dim is 8.5"},
        {"n_layers", -1, RUVM_ERR_UNSUPPORTED, "n_layers is -1"},
        {"hidden_dim", 1e300, RUVM_ERR_UNSUPPORTED, "hidden_dim is 1e+300"},
        {"norm_eps", 0, RUVM_ERR_UNSUPPORTED, "norm_eps is 0"},
        {"rope_theta", 0.5, RUVM_ERR_UNSUPPORTED, "rope_theta is 0.5"},
    };
    make_good();
    for (size_t i = 0; i < COUNT(cases); i++) {
        double before;
        cr_assert(ruvm_tensors_number(&tensors, cases[i].key, &before));
        set(cases[i].key, cases[i].number);
        expect_problem(cases[i].code, cases[i].text);
        set(cases[i].key, before);
    }
    set("max_seq_len", 131072);
    cr_assert_eq(gather(), RUVM_OK, "a model of a longer context can be used in part: %s",
                 err.text);
    cr_assert_eq(model.context, 131072);
    tensors.meta[1].text = "eight";
    expect_problem(RUVM_ERR_UNSUPPORTED, "dim is not given");
    tensors.meta[1].text = NULL;
    set("n_heads", 2);
    set("dim", 2 * 2050);
    expect_problem(RUVM_ERR_UNSUPPORTED, "a head has 2050 values, expected an even number to 2048");
}

Test(model, all_problems_are_told_at_once)
{
    make_good();
    view("layers.0.attention.wk.weight")->dims[0] = 8;
    view("norm.weight")->n_dims = 2;
    view("layers.0.ffn_norm.weight")->dims[0] = 7;
    view("layers.0.feed_forward.w2.weight")->name = "layers.0.feed_forward.w2.scale";
    set("vocab_size", 11);
    set("rope_theta", 0);
    gather();
    static const char *const problems[] = {
        "rope_theta is 0, expected 1 to 1e+12",
        "tok_embeddings.weight is [10, 8], expected [11, 8]",
        "layers.0.attention.wk.weight is [8, 8], expected [4, 8]",
        "layers.0.ffn_norm.weight is [7], expected [8]",
        "layers.0.feed_forward.w2.weight is missing",
        "norm.weight has 2 dimensions, expected 1",
        "output.weight is [10, 8], expected [11, 8]",
        "layers.0.feed_forward.w2.scale has no place in this architecture",
    };
    const char *at = err.text;
    for (size_t i = 0; i < COUNT(problems); i++) {
        at = strstr(at, problems[i]);
        cr_assert(at, "%s is not in its place in: %s", problems[i], err.text);
        at += strlen(problems[i]);
        cr_assert(strncmp(at, i + 1 < COUNT(problems) ? "; " : "", 2) == 0, "%s", at);
    }
}

/* More than an error's text can hold: the rest is counted. */
Test(model, very_many_problems_are_counted)
{
    make_good();
    set("n_layers", 255);
    expect_problem(RUVM_ERR_UNSUPPORTED, "layers.1.attention_norm.weight is missing");
    const char *more = strstr(err.text, "; and ");
    unsigned n_more = 0, n_told = 1;
    cr_assert(more && sscanf(more, "; and %u more problems", &n_more) == 1, "%s", err.text);
    for (const char *p = strstr(err.text, "; "); p && p != more; p = strstr(p + 2, "; "))
        n_told++;
    cr_assert_eq(n_told + n_more, 254 * 9);
}

Test(model, a_directory_without_an_embedding_is_no_language_model)
{
    make_good();
    tensors.views[0].name = "conv1.weight";
    expect_problem(RUVM_ERR_UNSUPPORTED, "is this a language model?");
    tensors = (struct ruvm_tensors){0};
    expect_problem(RUVM_ERR_UNSUPPORTED, "vocab_size is not given; dim is not given");
}

Test(model, vocabulary_and_embedding_must_agree)
{
    make_good();
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_model_check_vocab(&model, &(struct ruvm_vocab){.n_pieces = 10}, &err),
                 RUVM_OK);
    cr_assert_eq(ruvm_model_check_vocab(&model, &(struct ruvm_vocab){.n_pieces = 512}, &err),
                 RUVM_ERR_MISMATCH);
    cr_assert(strstr(err.text, "the tokenizer has 512 pieces, the model's embedding 10 rows"));
}

/* ---- from files ---------------------------------------------------------- */

static void read_file(struct ruvm_map *map, const char *path)
{
    cr_assert_eq(ruvm_file_map(map, path, &err), RUVM_OK, "%s", err.text);
    const struct ruvm_format *f = ruvm_formats_probe(map->data, map->size);
    cr_assert_not_null(f);
    cr_assert_eq(f->read(&tensors, &arena, map->data, map->size, &err), RUVM_OK, "%s", err.text);
}

Test(model, the_golden_models_have_a_meaning)
{
    static const struct {
        const char *name;
        uint32_t dim, hidden, n_layers, n_heads, n_kv_heads, vocab;
        bool tied;
    } files[] = {
        {"legacy", 8, 11, 2, 2, 1, 288, true}, {"legacy-untied", 12, 21, 2, 3, 1, 40, false},
        {"v1", 16, 23, 1, 4, 2, 40, true},     {"v1-untied", 12, 9, 2, 2, 2, 40, false},
        {"v2", 16, 43, 2, 4, 2, 288, true},    {"v2-untied", 16, 27, 2, 4, 4, 40, false},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[64];
        struct ruvm_map map;
        snprintf(path, sizeof path, "tests/golden/tiny-%s.bin", files[i].name);
        read_file(&map, path);
        cr_assert_eq(gather(), RUVM_OK, "%s: %s", path, err.text);
        cr_assert(model.dim == files[i].dim && model.hidden == files[i].hidden, "%s", path);
        cr_assert(model.n_layers == files[i].n_layers && model.vocab == files[i].vocab);
        cr_assert(model.n_heads == files[i].n_heads && model.n_kv_heads == files[i].n_kv_heads);
        cr_assert_eq(model.tied, files[i].tied);
        ruvm_file_unmap(&map);
    }
}

/* dim 4, hidden 2, 1 layer, 2 heads, vocab 3, all weights zero. */
Test(model, the_bare_ruvm_layout_gets_norms_of_one)
{
    uint8_t v0[32 + 2 * 3 * 4 + 4 * 16 + 3 * 8] = "RUVM\3\0\4\0\2\0\1\2\x10";
    float gain[4];
    const struct ruvm_format *f = ruvm_formats_probe(v0, sizeof v0);
    cr_assert_not_null(f);
    cr_assert_eq(f->read(&tensors, &arena, v0, sizeof v0, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(gather(), RUVM_OK, "%s", err.text);
    cr_assert(model.dim == 4 && model.context == 16 && model.n_kv_heads == 2 && !model.tied);
    cr_assert_float_eq(model.rope_theta, 10000.0f, 0);
    const struct ruvm_view *norms[] = {model.layers[0].attn_norm, model.layers[0].ffn_norm,
                                       model.final_norm};
    for (size_t i = 0; i < COUNT(norms); i++) {
        cr_assert(norms[i]->n_dims == 1 && norms[i]->dims[0] == 4);
        ruvm_view_row(norms[i], 0, gain);
        for (size_t c = 0; c < 4; c++)
            cr_assert_float_eq(gain[c], 1.0f, 0);
    }
}
