/* Out and in again: an exported file has the weights that the image or the model had, in the
 * places where others look for them. */
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/dtype_write.h"
#include "formats/gguf.h"
#include "formats/ruvm_read.h"
#include "lib/base/json.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/export/export_rope.h"
#include "lib/export/export_source.h"
#include "lib/export/export_tokn.h"
#include "lib/export/export_vocab.h"
#include "lib/import/hub.h"
#include "tests/support/tiny_model.h"

static const struct tiny_shape tied = {.dim = 24,
                                       .hidden = 44,
                                       .layers = 2,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .vocab = 60,
                                       .context = 40,
                                       .seed = 1};

/* ---- a folder of the test's own ---------------------------------------------------- */

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/ruvm-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static const char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static unsigned remove_all(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        char inner[512];
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        n++;
        if (unlink(inner) != 0)
            remove_all(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
    return n;
}

static void leave(void)
{
    remove_all(folder);
}

TestSuite(export, .init = enter, .fini = leave);

/* ---- calls --------------------------------------------------------------------------- */

static struct ruvm_export_result export_ok(const char *input, const char *to, const char *output,
                                           const char *type)
{
    struct ruvm_error err = {0};
    struct ruvm_export_result r;
    struct ruvm_export_options o = {.input = input, .output = output, .to = to, .type = type};
    cr_assert_eq(ruvm_export(&o, &r, &err), RUVM_OK, "%s to %s: %s", input, to, err.text);
    return r;
}

static void expect_refused(const struct ruvm_export_options *o, int code, const char *part)
{
    struct ruvm_error err = {0};
    struct ruvm_export_result r;
    cr_expect_eq(ruvm_export(o, &r, &err), code, "%s", err.text);
    cr_expect_not_null(strstr(err.text, part), "%s", err.text);
}

static const char *write_file(const char *name, struct ruvm_buffer bytes)
{
    const char *path = in_folder(name);
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_write(path, bytes.data, bytes.size, &err), RUVM_OK, "%s", err.text);
    ruvm_buffer_free(&bytes);
    return path;
}

static void quantize(const char *input, const char *output, const char *tokenizer,
                     const struct ruvm_quantize_options *like)
{
    struct ruvm_quantize_options o = like ? *like : (struct ruvm_quantize_options){0};
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    o.input = input;
    o.output = output;
    o.tokenizer = tokenizer;
    o.no_quality = true;
    cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_OK, "%s", err.text);
    ruvm_quantize_free(&r);
}

/* ---- the same network, value by value -------------------------------------------------- */

static struct ruvm_arena arena;
static struct ruvm_map map;
static struct ruvm_hub hub;

static struct ruvm_model read_gguf(const char *path)
{
    struct ruvm_error err = {0};
    struct ruvm_tensors *t = ruvm_arena_alloc(&arena, 1, sizeof *t);
    struct ruvm_model m;
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK);
    cr_assert_eq(ruvm_gguf_read(t, &arena, map.data, map.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_model_from_tensors(&m, &arena, t, &err), RUVM_OK, "%s", err.text);
    return m;
}

static struct ruvm_model read_hub(const char *path)
{
    struct ruvm_error err = {0};
    struct ruvm_model m;
    cr_assert_eq(ruvm_hub_open(&hub, path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_model_from_tensors(&m, &arena, &hub.tensors, &err), RUVM_OK, "%s", err.text);
    return m;
}

static void close_all(void)
{
    if (hub.n_files)
        ruvm_hub_close(&hub);
    if (map.data)
        ruvm_file_unmap(&map);
    ruvm_arena_free(&arena);
}

static bool same_vector(const struct ruvm_view *a, const struct ruvm_view *b)
{
    float x[256], y[256];
    if (!a || !b)
        return !a && !b;
    cr_assert_leq(a->dims[0], 256);
    ruvm_view_row(a, 0, x);
    ruvm_view_row(b, 0, y);
    return a->dims[0] == b->dims[0] && memcmp(x, y, (size_t)a->dims[0] * sizeof *x) == 0;
}

static void expect_same_numbers(const struct ruvm_model *a, const struct ruvm_model *b,
                                const char *what)
{
    cr_expect(a->vocab == b->vocab && a->dim == b->dim && a->hidden == b->hidden, "%s", what);
    cr_expect(a->n_layers == b->n_layers && a->n_heads == b->n_heads, "%s", what);
    cr_expect(a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim, "%s", what);
    cr_expect(a->context == b->context && a->tied == b->tied && a->norm == b->norm, "%s", what);
    cr_expect(a->act == b->act && a->pos == b->pos && a->parallel == b->parallel, "%s", what);
    cr_expect(a->window == b->window && a->rotary_dim == b->rotary_dim, "%s", what);
    cr_expect(memcmp(&a->norm_eps, &b->norm_eps, sizeof a->norm_eps) == 0, "%s", what);
    cr_expect(memcmp(&a->score_scale, &b->score_scale, sizeof a->score_scale) == 0, "%s", what);
    for (uint32_t i = 0; i < a->rotary_dim / 2; i++)
        cr_expect_float_eq(ruvm_model_turn(a, i), ruvm_model_turn(b, i), 1e-12, "%s", what);
}

static void expect_same_matrix(const struct ruvm_export_source *s, const struct ruvm_model *b,
                               int kind, unsigned layer, const char *what)
{
    char name[48];
    float x[256], y[256];
    const struct ruvm_view *va = ruvm_model_tensor(&s->model, kind, layer, name);
    const struct ruvm_view *vb = ruvm_model_tensor(b, kind, layer, name);
    cr_assert_eq(va == NULL, vb == NULL, "%s: %s", what, name);
    if (!va)
        return;
    cr_assert(va->dims[0] == vb->dims[0] && va->dims[1] == vb->dims[1], "%s: %s", what, name);
    cr_assert_leq(va->dims[1], 256);
    for (uint32_t r = 0; r < va->dims[0]; r++) {
        ruvm_export_source_row(s, kind, layer, r, x);
        ruvm_view_row(vb, r, y);
        for (size_t i = 0; i < va->dims[1]; i++) /* -0 is 0 */
            cr_assert(!(x[i] < y[i] || x[i] > y[i]), "%s: %s row %u", what, name, r);
    }
}

static void expect_same_layer(const struct ruvm_export_source *s, const struct ruvm_model *b,
                              uint32_t l, const char *what)
{
    const struct ruvm_layer *x = &s->model.layers[l], *y = &b->layers[l];
    for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++)
        expect_same_matrix(s, b, kind, l, what);
    cr_expect(same_vector(x->attn_norm, y->attn_norm), "%s", what);
    cr_expect(same_vector(x->ffn_norm, y->ffn_norm), "%s", what);
    for (int k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
        cr_expect(same_vector(x->bias[k], y->bias[k]), "%s: bias %d", what, k);
    cr_expect_eq(ruvm_model_window(&s->model, l), ruvm_model_window(b, l), "%s", what);
}

static void expect_same(const char *input, const struct ruvm_model *b, const char *what)
{
    struct ruvm_error err = {0};
    struct ruvm_export_source s;
    struct ruvm_source_options o = {.path = input};
    cr_assert_eq(ruvm_export_source_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    expect_same_numbers(&s.model, b, what);
    expect_same_matrix(&s, b, RUVM_TENSOR_EMBED, 0, what);
    expect_same_matrix(&s, b, RUVM_TENSOR_HEAD, 0, what);
    expect_same_matrix(&s, b, RUVM_TENSOR_POSITION, 0, what);
    for (uint32_t l = 0; l < s.model.n_layers; l++)
        expect_same_layer(&s, b, l, what);
    cr_expect(same_vector(s.model.final_norm, b->final_norm), "%s", what);
    cr_expect(same_vector(s.model.final_bias, b->final_bias), "%s", what);
    ruvm_export_source_close(&s);
}

/* ---- networks ---------------------------------------------------------------------------- */

static const struct network {
    const char *path, *gguf, *hub; /* architectures; gguf NULL: refused */
} networks[] = {
    {"tests/golden/golden.ruvm", "llama", "llama"},
    {"tests/golden/networks/mistral.ruvm", "llama", "mistral"},
    {"tests/golden/networks/qwen2.ruvm", "qwen2", "qwen2"},
    {"tests/golden/networks/gpt2.ruvm", "gpt2", "gpt2"},
    {"tests/golden/networks/gpt_neox.ruvm", "gptneox", "gpt_neox"},
    {"tests/golden/networks/gpt_neo.ruvm", NULL, "gpt_neo"},
    {"tests/golden/networks/relu.ruvm", NULL, "gpt2"},
    {"demo", "llama", "llama"},
};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

Test(export, an_image_as_gguf_has_all_its_values)
{
    for (int i = 0; i < N_NETWORKS; i++) {
        if (!networks[i].gguf)
            continue;
        struct ruvm_export_result r =
            export_ok(networks[i].path, "gguf", in_folder("a.gguf"), NULL);
        cr_expect_str_eq(r.architecture, networks[i].gguf);
        cr_expect_str_eq(r.source_format, "RUVM v1 image");
        cr_expect(r.has_tokenizer && r.n_files == 1 && r.bytes > 4 * r.parameters);
        struct ruvm_model m = read_gguf(in_folder("a.gguf"));
        expect_same(networks[i].path, &m, networks[i].path);
        close_all();
    }
}

Test(export, an_image_as_safetensors_has_all_its_values)
{
    for (int i = 0; i < N_NETWORKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "hub%d", i);
        struct ruvm_export_result r =
            export_ok(networks[i].path, "safetensors", in_folder(name), NULL);
        cr_expect_str_eq(r.architecture, networks[i].hub);
        cr_expect(r.has_tokenizer && r.n_files == 4 && r.bytes > 4 * r.parameters);
        struct ruvm_model m = read_hub(in_folder(name));
        expect_same(networks[i].path, &m, networks[i].path);
        close_all();
    }
}

/* Levels, multipliers and scales of every type that has a place in other formats. */
Test(export, every_type_is_exact)
{
    static const char *const types[] = {"int4:16", "int4:row", "int3", "int2:32",
                                        "ternary", "binary",   "int8"};
    write_file("a.bin", tiny_checkpoint(&tied));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct ruvm_quantize_options o = {
            .type = types[i], .embed_type = types[i], .method = "rtn"};
        quantize(in_folder("a.bin"), in_folder("a.ruvm"), NULL, &o);
        export_ok(in_folder("a.ruvm"), "gguf", in_folder("a.gguf"), "f32");
        struct ruvm_model m = read_gguf(in_folder("a.gguf"));
        expect_same(in_folder("a.ruvm"), &m, types[i]);
        close_all();
    }
}

/* ---- out and in again ---------------------------------------------------------------------- */

/* All sections but the one that tells of the source. */
static void expect_same_image(const char *path_a, const char *path_b)
{
    struct ruvm_map maps[2];
    struct ruvm_image img[2];
    const char *const paths[] = {path_a, path_b};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(ruvm_file_map(&maps[i], paths[i], NULL), RUVM_OK);
        cr_assert_eq(ruvm_image_open(&img[i], maps[i].data, maps[i].size, NULL), RUVM_OK);
    }
    cr_assert_eq(img[0].n_sections, img[1].n_sections);
    cr_expect(memcmp(maps[0].data, maps[1].data, RUVM_HDR_FILE_BYTES) == 0);
    for (unsigned i = 0; i < img[0].n_sections; i++) {
        struct ruvm_section a = ruvm_image_section(&img[0], i), b = ruvm_image_section(&img[1], i);
        cr_expect_str_eq(a.name, b.name);
        if (strcmp(a.name, RUVM_SEC_META) != 0)
            cr_expect(a.size == b.size && memcmp(a.data, b.data, a.size) == 0, "%s", a.name);
    }
    ruvm_file_unmap(&maps[0]);
    ruvm_file_unmap(&maps[1]);
}

static void check_bin(const struct tiny_shape *shape)
{
    write_file("a.bin", tiny_checkpoint(shape));
    write_file("t.bin", tiny_tokenizer(shape->vocab));
    quantize(in_folder("a.bin"), in_folder("a.ruvm"), in_folder("t.bin"), NULL);
    export_ok(in_folder("a.bin"), "gguf", in_folder("a.gguf"), NULL);
    quantize(in_folder("a.gguf"), in_folder("b.ruvm"), in_folder("t.bin"), NULL);
    expect_same_image(in_folder("a.ruvm"), in_folder("b.ruvm"));
    export_ok(in_folder("a.bin"), "safetensors", in_folder("hub"), NULL);
    struct ruvm_model m = read_hub(in_folder("hub"));
    expect_same(in_folder("a.bin"), &m, "a.bin");
    close_all();
    quantize(in_folder("hub"), in_folder("b.ruvm"), in_folder("t.bin"), NULL);
    expect_same_image(in_folder("a.ruvm"), in_folder("b.ruvm"));
}

Test(export, a_checkpoint_through_either_gives_the_same_image)
{
    struct tiny_shape untied = tied;
    untied.untied = true;
    untied.kv_heads = 4;
    check_bin(&tied);
    check_bin(&untied);
}

/* An image has lost what it lost: quantized again by the same rule it stays as it is. */
Test(export, an_image_through_gguf_keeps_its_weights)
{
    write_file("a.bin", tiny_checkpoint(&tied));
    quantize(in_folder("a.bin"), in_folder("a.ruvm"), NULL, NULL);
    export_ok(in_folder("a.ruvm"), "gguf", in_folder("a.gguf"), NULL);
    quantize(in_folder("a.gguf"), in_folder("b.ruvm"), NULL, NULL);
    export_ok(in_folder("b.ruvm"), "gguf", in_folder("b.gguf"), NULL);
    struct ruvm_map a, b;
    cr_assert_eq(ruvm_file_map(&a, in_folder("a.gguf"), NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&b, in_folder("b.gguf"), NULL), RUVM_OK);
    cr_expect(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    ruvm_file_unmap(&a);
    ruvm_file_unmap(&b);
}

Test(export, half_floats_and_blocks_are_rounded_as_their_writer_rounds)
{
    static const char *const names[] = {"f16", "bf16", "q8_0"};
    static const enum ruvm_dtype dtypes[] = {RUVM_DTYPE_F16, RUVM_DTYPE_BF16, RUVM_DTYPE_Q8_0};
    struct tiny_shape shape = tied;
    shape.dim = 32;
    shape.hidden = 64;
    write_file("a.bin", tiny_checkpoint(&shape));
    for (int i = 0; i < 3; i++) {
        float x[64], y[64], z[64];
        uint8_t bytes[256];
        struct ruvm_export_source s;
        struct ruvm_source_options o = {.path = in_folder("a.bin")};
        cr_assert_eq(ruvm_export_source_open(&s, &o, NULL), RUVM_OK);
        export_ok(in_folder("a.bin"), "gguf", in_folder("a.gguf"), names[i]);
        struct ruvm_model m = read_gguf(in_folder("a.gguf"));
        const struct ruvm_view *v = m.layers[1].w_down;
        cr_expect_eq(v->dtype, dtypes[i]);
        cr_expect_eq(m.final_norm->dtype, RUVM_DTYPE_F32);
        ruvm_export_source_row(&s, RUVM_TENSOR_W_DOWN, 1, 5, x);
        cr_assert(ruvm_dtype_write(dtypes[i], x, 64, bytes));
        struct ruvm_view one = {.dtype = dtypes[i], .n_dims = 2, .dims = {1, 64}, .data = bytes};
        ruvm_view_row(&one, 0, y);
        ruvm_view_row(v, 5, z);
        cr_expect(memcmp(y, z, sizeof y) == 0, "%s", names[i]);
        close_all();
        ruvm_export_source_close(&s);
    }
    export_ok(in_folder("a.bin"), "safetensors", in_folder("hub"), "bf16");
    struct ruvm_model m = read_hub(in_folder("hub"));
    cr_expect_eq(m.layers[0].w_down->dtype, RUVM_DTYPE_BF16);
    close_all();
}

Test(export, the_same_input_gives_the_same_bytes)
{
    struct ruvm_map a, b;
    export_ok("demo", "gguf", in_folder("a.gguf"), NULL);
    export_ok("demo", "gguf", in_folder("b.gguf"), NULL);
    cr_assert_eq(ruvm_file_map(&a, in_folder("a.gguf"), NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&b, in_folder("b.gguf"), NULL), RUVM_OK);
    cr_expect(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    ruvm_file_unmap(&a);
    ruvm_file_unmap(&b);
}

/* ---- what is refused ------------------------------------------------------------------------ */

Test(export, what_gguf_has_not_is_refused_by_name)
{
    struct ruvm_export_options o = {.to = "gguf", .output = in_folder("a.gguf")};
    o.input = "tests/golden/networks/gpt_neo.ruvm";
    expect_refused(&o, RUVM_ERR_UNSUPPORTED, "no architecture for gpt_neo; --to safetensors can");
    o.input = "tests/golden/networks/relu.ruvm";
    expect_refused(&o, RUVM_ERR_UNSUPPORTED, "gpt2 has another activation");
    o.input = "tests/golden/packed.ruvm";
    expect_refused(&o, RUVM_ERR_UNSUPPORTED, "is xnor: its input is reduced to signs");
    o.input = "tests/golden/golden.ruvm";
    o.type = "q8_0";
    expect_refused(&o, RUVM_ERR_UNSUPPORTED, "not whole blocks of 32 values, as q8_0 has them");
    o.type = "q4_0";
    expect_refused(&o, RUVM_ERR_ARG, "use f32, f16, bf16 or q8_0");
    o.type = NULL;
    o.to = "onnx";
    expect_refused(&o, RUVM_ERR_ARG, "format \"onnx\" is not written");
    o.to = "gguf";
    o.context = 60000;
    expect_refused(&o, RUVM_ERR_ARG, "beyond what it learned");
    o.context = 0;
    o.v0_scale = 1;
    expect_refused(&o, RUVM_ERR_ARG, "--v0-scale is for the bare RUVM layout");
    cr_expect_neq(access(in_folder("a.gguf"), F_OK), 0, "something was written");
}

Test(export, a_damaged_image_is_told_as_by_others)
{
    struct ruvm_map good;
    cr_assert_eq(ruvm_file_map(&good, "tests/golden/golden.ruvm", NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_write(in_folder("cut.ruvm"), good.data, good.size - 100, NULL), RUVM_OK);
    ruvm_file_unmap(&good);
    struct ruvm_export_options o = {
        .to = "gguf", .input = in_folder("cut.ruvm"), .output = in_folder("a.gguf")};
    expect_refused(&o, RUVM_ERR_CORRUPT, "cut.ruvm: ");
}

Test(export, a_folder_is_never_mixed_with_other_files)
{
    struct ruvm_export_options o = {
        .to = "safetensors", .input = "tests/golden/golden.ruvm", .output = in_folder("hub")};
    export_ok(o.input, o.to, o.output, NULL);
    export_ok(o.input, o.to, o.output, NULL); /* an earlier export is replaced */
    write_file("hub/other.safetensors", tiny_tokenizer(30));
    expect_refused(&o, RUVM_ERR_IO, "holds other.safetensors, which does not belong");
    write_file("file", tiny_tokenizer(30));
    o.output = in_folder("file");
    expect_refused(&o, RUVM_ERR_IO, "is a file, but safetensors are written as a folder");
    o.output = in_folder("no/such");
    expect_refused(&o, RUVM_ERR_IO, "cannot make this folder");
    cr_assert_eq(mkdir(in_folder("source"), 0777), 0);
    o.input = write_file("source/a.bin", tiny_checkpoint(&tied));
    o.output = in_folder("source");
    expect_refused(&o, RUVM_ERR_IO, "is the folder of the input");
}

static int stop_late(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    cr_expect_str_eq(stage, "export");
    return done * 2 > total;
}

Test(export, an_interrupted_export_leaves_nothing)
{
    struct ruvm_export_options o = {.to = "gguf",
                                    .input = "tests/golden/golden.ruvm",
                                    .output = in_folder("a.gguf"),
                                    .progress = {.report = stop_late}};
    expect_refused(&o, RUVM_ERR_IO, "interrupted");
    o.to = "safetensors";
    o.output = in_folder("hub");
    expect_refused(&o, RUVM_ERR_IO, "interrupted");
    cr_expect_eq(remove_all(folder), 0, "something was left");
    cr_assert_eq(mkdir(folder, 0777), 0);
}

/* ---- RoPE
 * ---------------------------------------------------------------------------------------- */

enum { PAIRS = 32 };

static void turn(uint32_t *increments, double theta, double factor)
{
    for (uint32_t i = 0; i < PAIRS; i++)
        increments[i] = (uint32_t)llround(pow(theta, -2.0 * i / (2 * PAIRS)) / factor /
                                          6.283185307179586 * 0x1p32);
}

Test(export, the_base_of_rope_is_found_again)
{
    static const float bases[] = {10000, 500000, 1000000, 8000, 123456.7f, 1.5f};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        uint32_t increments[PAIRS];
        float theta, factors[PAIRS];
        turn(increments, (double)bases[i], 1);
        cr_expect_not(ruvm_export_rope(&theta, factors, increments, 2 * PAIRS));
        cr_expect(theta >= bases[i] && theta <= bases[i], "%g", (double)theta);
        turn(increments, (double)bases[i], 4);
        cr_expect(ruvm_export_rope(&theta, factors, increments, 2 * PAIRS));
        cr_expect(theta >= bases[i] && theta <= bases[i], "%g", (double)theta);
        cr_expect(factors[0] >= 4 && factors[0] <= 4 && factors[PAIRS - 1] <= 4);
    }
}

Test(export, pairs_that_turn_in_any_way_have_factors)
{
    uint32_t increments[PAIRS];
    float theta, factors[PAIRS];
    turn(increments, 10000, 1);
    for (int i = PAIRS / 2; i < PAIRS; i++)
        increments[i] /= 8;
    cr_expect(ruvm_export_rope(&theta, factors, increments, 2 * PAIRS));
    cr_expect_float_eq(theta, 10000, 1e-3);
    cr_expect_float_eq(factors[0], 1, 1e-6);
    cr_expect_float_eq(factors[PAIRS / 2], 8, 1e-3);
}

/* ---- tokenizers
 * ----------------------------------------------------------------------------------- */

#define META "\xe2\x96\x81" /* a space */

static struct ruvm_piece piece(const char *text, enum ruvm_piece_kind kind, float score)
{
    return (struct ruvm_piece){.text = (const uint8_t *)text,
                               .n_bytes = (uint32_t)strlen(text),
                               .kind = kind,
                               .score = score};
}

static struct ruvm_vocab some_vocab(struct ruvm_piece *p)
{
    static const char *const texts[] = {"<unk>", "\n<s>\n", "\n</s>\n", "\x41", " ", "a", "b",
                                        " a",    "ab",      " ab",      "\"",   "a", ""};
    enum { N = sizeof texts / sizeof *texts };
    for (uint32_t i = 0; i < N; i++)
        p[i] = piece(texts[i],
                     i < 3    ? RUVM_PIECE_CONTROL
                     : i == 3 ? RUVM_PIECE_BYTE
                              : RUVM_PIECE_NORMAL,
                     i == 8 ? 5.0f : 0.0f - (float)i);
    return (struct ruvm_vocab){.pieces = p,
                               .n_pieces = N,
                               .unk = 0,
                               .bos = 1,
                               .eos = 2,
                               .add_bos = true,
                               .space_prefix = true};
}

static bool text_is(struct ruvm_gguf_string s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.text, text, s.n) == 0;
}

Test(export, pieces_are_spelled_as_sentencepiece_does)
{
    static const char *const spelled[] = {
        "<unk>", "<s>",       "</s>", "<0x41>",           META,         "a", "b", (META "a"),
        "ab",    (META "ab"), "\"",   "[token 11 again]", "[token 12]",
    };
    struct ruvm_piece pieces[16];
    struct ruvm_vocab vocab = some_vocab(pieces);
    struct ruvm_export_vocab v;
    cr_assert_eq(ruvm_export_vocab_spell(&v, &arena, &vocab, NULL), RUVM_OK);
    for (uint32_t i = 0; i < v.n; i++)
        cr_expect(text_is(v.texts[i], spelled[i]), "%u: %.*s", i, (int)v.texts[i].n,
                  (const char *)v.texts[i].text);
    cr_expect_eq(v.n_renamed, 1);
    cr_expect_eq(v.not_utf8, v.n);
    cr_expect(ruvm_export_vocab_silent(&v, 12) && !ruvm_export_vocab_silent(&v, 11));
    pieces[6] = piece("\xff", RUVM_PIECE_NORMAL, 0);
    cr_assert_eq(ruvm_export_vocab_spell(&v, &arena, &vocab, NULL), RUVM_OK);
    cr_expect_eq(v.not_utf8, 6);
    ruvm_arena_free(&arena);
}

Test(export, merges_stand_in_the_order_of_scores)
{
    static const char *const merges[] = {"a b", META " a", META " ab", (META "a b")};
    struct ruvm_piece pieces[16];
    struct ruvm_vocab vocab = some_vocab(pieces);
    struct ruvm_export_vocab v;
    struct ruvm_buffer text = {0};
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_export_vocab_spell(&v, &arena, &vocab, NULL), RUVM_OK);
    cr_assert_eq(ruvm_export_vocab_json(&text, &v, NULL), RUVM_OK);
    cJSON *json = ruvm_json_parse(text.data, text.size, &err);
    cr_assert_not_null(json, "%s", err.text);
    const cJSON *model = cJSON_GetObjectItem(json, "model");
    const cJSON *list = cJSON_GetObjectItem(model, "merges");
    cr_assert_eq(cJSON_GetArraySize(list), 4);
    for (int i = 0; i < 4; i++)
        cr_expect_str_eq(cJSON_GetArrayItem(list, i)->valuestring, merges[i]);
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(model, "vocab")), (int)v.n - 1);
    cr_expect(cJSON_IsTrue(cJSON_GetObjectItem(model, "byte_fallback")));
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "added_tokens")), 3);
    cJSON_Delete(json);
    ruvm_buffer_free(&text);
    cr_assert_eq(ruvm_export_vocab_config(&text, &v, 128, NULL), RUVM_OK);
    json = ruvm_json_parse(text.data, text.size, &err);
    cr_assert_not_null(json, "%s", err.text);
    cr_expect_str_eq(cJSON_GetObjectItem(json, "bos_token")->valuestring, "<s>");
    cJSON_Delete(json);
    ruvm_buffer_free(&text);
    ruvm_arena_free(&arena);
}

Test(export, gguf_has_the_tokenizer_and_the_name)
{
    struct ruvm_gguf g;
    struct ruvm_gguf_string s;
    struct ruvm_gguf_array tokens, scores;
    double x;
    struct ruvm_quantize_options o = {.name = "Tiny one"};
    write_file("a.bin", tiny_checkpoint(&tied));
    write_file("t.bin", tiny_tokenizer(tied.vocab));
    quantize(in_folder("a.bin"), in_folder("a.ruvm"), in_folder("t.bin"), &o);
    export_ok(in_folder("a.ruvm"), "gguf", in_folder("a.gguf"), NULL);
    cr_assert_eq(ruvm_file_map(&map, in_folder("a.gguf"), NULL), RUVM_OK);
    cr_assert_eq(ruvm_gguf_open(&g, &arena, map.data, map.size, NULL), RUVM_OK);
    cr_expect(ruvm_gguf_text(&g, "general.name", &s) && text_is(s, "Tiny one"));
    cr_expect(ruvm_gguf_text(&g, "tokenizer.ggml.model", &s) && text_is(s, "llama"));
    cr_assert(ruvm_gguf_array(&g, "tokenizer.ggml.tokens", &tokens));
    cr_assert(ruvm_gguf_array(&g, "tokenizer.ggml.scores", &scores));
    uint32_t n = 0;
    double last = 1;
    for (; ruvm_gguf_next_string(&tokens, &s) && ruvm_gguf_next_number(&scores, &x); n++)
        last = x < last ? x : last;
    cr_expect_eq(n, tied.vocab);
    cr_expect(last <= 0);
    cr_expect(ruvm_gguf_number(&g, "tokenizer.ggml.bos_token_id", &x) && (int)x == 1);
    close_all();
    struct ruvm_export_result r = export_ok(in_folder("a.bin"), "gguf", in_folder("a.gguf"), NULL);
    cr_expect(!r.has_tokenizer && strstr(r.note, "no tokenizer to write"), "%s", r.note);
}

/* Tokenizers of every kind, in JSON with ' for ". */
#define BYTES                                                                                      \
    "'decoder':{'type':'ByteLevel'},'model':{'type':'BPE','vocab':{'a':0,'b':1,'\xc4\xa0':2,"      \
    "'ab':3,'\xc4\xa0"                                                                             \
    "a':4},'merges':['\xc4\xa0 a','a b']}"
#define SPECIAL                                                                                    \
    "'added_tokens':[{'id':6,'content':'<|endoftext|>','special':true},"                           \
    "{'id':8,'content':'\xc4\xa0 x','special':false}],"
#define SPLIT(digits)                                                                              \
    "'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'Split','pattern':{'Regex':"      \
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits               \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"     \
    "'behavior':'Isolated','invert':false},{'type':'ByteLevel','add_prefix_space':false,"          \
    "'use_regex':false}]},"
#define UNIGRAM                                                                                    \
    "'model':{'type':'Unigram','unk_id':0,'vocab':[['<unk>',0],['" META                            \
    "',-2.5],['a',-3.25],['" META "a',-1.125],['b',-12.3456]]}"
#define MERGES                                                                                     \
    "'model':{'type':'BPE','unk_token':'<unk>','fuse_unk':true,'byte_fallback':true,'vocab':{"     \
    "'<unk>':0,'<0x0A>':1,'a':2,'" META "':3,'ab':4,'b':5,'" META "a':6},'merges':["

static const struct tokenizer {
    const char *json, *model, *pre; /* of GGUF; model NULL: it has none */
} tokenizers[] = {
    {"{" SPECIAL
     "'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,'use_regex':true}," BYTES "}",
     "gpt2", "gpt-2"},
    {"{" SPECIAL
     "'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'Digits','individual_digits':"
     "true},{'type':'ByteLevel','add_prefix_space':false,'use_regex':true}]}," BYTES "}",
     "gpt2", "smollm"},
    {"{" SPECIAL SPLIT("\\\\p{N}{1,3}") BYTES "}", "gpt2", "dbrx"},
    {"{" SPECIAL SPLIT("\\\\p{N}") BYTES "}", "gpt2", "qwen2"},
    {"{" SPECIAL SPLIT("\\\\p{N}{1,2}") BYTES "}", NULL, NULL},
    {"{'added_tokens':[{'id':0,'content':'<unk>','special':true}],'pre_tokenizer':{'type':"
     "'Metaspace','replacement':'" META "','prepend_scheme':'always','split':true}," UNIGRAM "}",
     NULL, NULL},
    {"{'added_tokens':[{'id':0,'content':'<unk>','special':true}],'normalizer':{'type':'Sequence',"
     "'normalizers':[{'type':'Strip','strip_left':true,'strip_right':true},{'type':'Replace',"
     "'pattern':{'Regex':' {2,}'},'content':' '}]},'pre_tokenizer':{'type':'Metaspace',"
     "'replacement':'" META "','prepend_scheme':'first','split':false}," UNIGRAM "}",
     NULL, NULL},
    {"{'added_tokens':[{'id':0,'content':'<unk>','special':true}],'normalizer':{'type':'Sequence',"
     "'normalizers':[{'type':'Prepend','prepend':'" META "'},{'type':'Replace','pattern':"
     "{'String':' '},'content':'" META "'}]}," MERGES "'a b','" META " a']}}",
     "llama", "default"},
    {"{'added_tokens':[{'id':0,'content':'<unk>','special':true}],'normalizer':{'type':'Sequence',"
     "'normalizers':[{'type':'Replace','pattern':{'String':' '},'content':'" META "'}]}," MERGES
     "'" META " a','a b']}}",
     NULL, NULL},
};

static struct ruvm_buffer build(const struct ruvm_vocab *v)
{
    struct ruvm_buffer section = {0};
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_tokenizer_build(&section, v, &err), RUVM_OK, "%s", err.text);
    return section;
}

static void expect_built(const struct ruvm_vocab *v, const struct ruvm_buffer *section,
                         const char *what, size_t i)
{
    struct ruvm_buffer again = build(v);
    cr_expect(again.size == section->size && memcmp(again.data, section->data, again.size) == 0,
              "%s of tokenizer %zu", what, i);
    ruvm_buffer_free(&again);
}

static struct ruvm_vocab read_quoted(const char *quoted)
{
    struct ruvm_vocab v;
    struct ruvm_error err = {0};
    char *text = ruvm_arena_text(&arena, quoted, strlen(quoted));
    for (char *c = text; *c; c++) /* but within the expressions, which stand in double quotes */
        if (*c == '"')
            c = strchr(c + 1, '"');
        else
            *c = *c == '\'' ? '"' : *c;
    int rc = ruvm_vocab_read_any(&v, &arena, (const uint8_t *)text, strlen(text), &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    return v;
}

static void check_gguf(const struct ruvm_export_vocab *v, const struct tokenizer *t,
                       const struct ruvm_buffer *section, size_t i)
{
    const char *unlike;
    struct ruvm_gguf g;
    struct ruvm_gguf_string s;
    struct ruvm_gguf_writer w = {0};
    struct ruvm_vocab back;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_export_vocab_in_gguf(v, &unlike), t->model != NULL, "%zu", i);
    if (!t->model)
        return;
    ruvm_gguf_put_text(&w, "general.architecture", "llama", 5);
    cr_assert_eq(ruvm_export_vocab_gguf(&w, v, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_gguf_write(&w, NULL, 0, in_folder("v.gguf"), &err), RUVM_OK, "%s", err.text);
    ruvm_gguf_drop(&w);
    cr_assert_eq(ruvm_file_map(&map, in_folder("v.gguf"), NULL), RUVM_OK);
    cr_assert_eq(ruvm_gguf_open(&g, &arena, map.data, map.size, NULL), RUVM_OK);
    cr_expect(ruvm_gguf_text(&g, "tokenizer.ggml.model", &s) && text_is(s, t->model), "%zu", i);
    cr_expect(ruvm_gguf_text(&g, "tokenizer.ggml.pre", &s) && text_is(s, t->pre), "%zu", i);
    int rc = ruvm_vocab_read_any(&back, &arena, map.data, map.size, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    if (v->vocab->kind == RUVM_TOKN_MERGES) {
        for (uint32_t k = 0; k < back.n_pieces; k++) /* tokens without text have a name there */
            back.pieces[k].n_bytes = v->vocab->pieces[k].n_bytes ? back.pieces[k].n_bytes : 0;
        expect_built(&back, section, "GGUF", i);
    }
    ruvm_file_unmap(&map);
}

Test(export, tokenizers_of_every_kind_survive)
{
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        struct ruvm_vocab given = read_quoted(tokenizers[i].json), v;
        struct ruvm_export_vocab spelled;
        struct ruvm_buffer section = build(&given), text = {0};
        struct ruvm_error err = {0};
        cr_assert_eq(ruvm_export_tokn(&v, &arena, section.data, &err), RUVM_OK, "%s", err.text);
        expect_built(&v, &section, "the section", i);
        cr_assert_eq(ruvm_export_vocab_spell(&spelled, &arena, &v, &err), RUVM_OK);
        cr_assert_eq(ruvm_export_vocab_json(&text, &spelled, &err), RUVM_OK, "%s", err.text);
        struct ruvm_vocab back;
        int rc = ruvm_vocab_read_any(&back, &arena, text.data, text.size, &err);
        cr_assert_eq(rc, RUVM_OK, "%zu: %s\n%.*s", i, err.text, (int)text.size, (char *)text.data);
        expect_built(&back, &section, "tokenizer.json", i);
        check_gguf(&spelled, &tokenizers[i], &section, i);
        ruvm_buffer_free(&text);
        ruvm_buffer_free(&section);
        ruvm_arena_free(&arena);
    }
}
