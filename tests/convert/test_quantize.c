/* The verb from outside: files in, an image and a report out, and what is refused. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_read.h"
#include "lib/base/file.h"
#include "lib/convert/engine_open.h"
#include "lib/convert/greedy.h"
#include "lib/convert/source.h"
#include "lib/ruvm_tool.h"
#include "tests/support/tiny_model.h"

static const struct tiny_shape shapes[] = {
    {.dim = 16,
     .hidden = 20,
     .layers = 1,
     .heads = 2,
     .kv_heads = 1,
     .vocab = 60,
     .context = 24,
     .seed = 1},
    {.dim = 48,
     .hidden = 172,
     .layers = 3,
     .heads = 8,
     .kv_heads = 4,
     .vocab = 97,
     .context = 70,
     .seed = 2},
    {.dim = 36,
     .hidden = 50,
     .layers = 2,
     .heads = 6,
     .kv_heads = 6,
     .vocab = 33,
     .context = 300,
     .untied = true,
     .seed = 3},
    {.dim = 6,
     .hidden = 1,
     .layers = 2,
     .heads = 3,
     .kv_heads = 3,
     .vocab = 3,
     .context = 1,
     .seed = 4},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct files {
    const char *model, *tokenizer, *output;
};

static struct files make_files(const struct tiny_shape *s)
{
    struct ruvm_buffer model = tiny_checkpoint(s), tokenizer = tiny_tokenizer(s->vocab);
    struct files f = {tiny_file(model.data, model.size), tiny_file(tokenizer.data, tokenizer.size),
                      tiny_path()};
    ruvm_buffer_free(&model);
    ruvm_buffer_free(&tokenizer);
    return f;
}

static void remove_files(struct files f)
{
    remove(f.model);
    remove(f.tokenizer);
    remove(f.output);
}

static struct ruvm_quantize_options options_of(struct files f)
{
    return (struct ruvm_quantize_options){.input = f.model,
                                          .tokenizer = f.tokenizer,
                                          .output = f.output,
                                          .eval_tokens = 200,
                                          .name = "tiny"};
}

static void check_shape(const struct ruvm_image *img, const struct tiny_shape *s)
{
    cr_assert(img->vocab == s->vocab && img->dim == s->dim && img->hidden == s->hidden);
    cr_assert(img->n_layers == s->layers && img->n_heads == s->heads);
    cr_assert(img->n_kv_heads == s->kv_heads && img->context == s->context);
    cr_assert(img->tied == !s->untied && img->head_dim == s->dim / s->heads);
    cr_assert(img->rope_dims == img->head_dim);
}

static void check_report(const struct ruvm_quantize_result *r, const struct ruvm_image *img)
{
    uint64_t weights = 0;
    cr_assert_eq(r->n_tensors, img->n_tensors);
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        const struct ruvm_quantize_tensor *d = &r->tensors[i];
        cr_assert(d->rows == t.rows && d->cols == t.cols);
        cr_assert_eq(d->bytes, t.data_bytes + t.scale_bytes);
        cr_assert_eq(d->source_bytes, 4 * (uint64_t)t.rows * t.cols);
        cr_assert(d->snr_db > 30 && d->worst_row_snr_db <= d->snr_db && d->worst_row < d->rows);
        weights += (uint64_t)t.rows * t.cols;
    }
    cr_assert_str_eq(r->tensors[0].name, "embed");
    cr_assert_str_eq(r->tensors[1].name, "layers.0.wq");
    cr_assert_eq(r->parameters, weights + (2u * img->n_layers + 1) * img->dim);
    cr_assert_eq(r->image_bytes, img->size);
}

/* Weights of the image against those of the source, by the format's own formula. */
static void check_weights(const struct ruvm_image *img, const char *model)
{
    struct ruvm_source s;
    struct ruvm_source_options o = {.path = model};
    cr_assert_eq(ruvm_source_open(&s, &o, NULL), RUVM_OK);
    for (uint32_t i = 0; i < img->n_tensors; i++) {
        char name[48];
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        const struct ruvm_view *view = ruvm_model_tensor(&s.model, t.kind, t.layer, name);
        for (uint32_t r = 0; r < t.rows; r++) {
            float row[256];
            double scale = ldexp(t.scales[r], t.scale_exp);
            ruvm_view_row(view, r, row);
            for (uint32_t c = 0; c < t.cols; c++) {
                double w = t.data[(size_t)r * t.row_bytes + c] * scale;
                cr_assert(fabs(w - (double)row[c]) <= 0.5035 * scale, "%s row %u", name, r);
            }
        }
    }
    ruvm_source_close(&s);
}

static void check_golden(const struct ruvm_map *map, uint32_t n_tokens)
{
    struct ruvm_arena arena = {0};
    struct ruvm_engine *e;
    struct ruvm_verify_result v;
    cr_assert_eq(ruvm_engine_open(&e, &arena, map->data, map->size, NULL, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_verify(e, &v), RUVM_OK, "expected %08x, found %08x", v.crc_expected,
                 v.crc_found);
    cr_assert_eq(v.n_tokens, n_tokens);
    ruvm_arena_free(&arena);
}

Test(quantize, any_shape_becomes_an_image_that_verifies)
{
    for (int i = 0; i < N_SHAPES; i++) {
        struct files f = make_files(&shapes[i]);
        struct ruvm_quantize_options o = options_of(f);
        struct ruvm_quantize_result r;
        struct ruvm_error err = {0};
        struct ruvm_map map;
        struct ruvm_image img;
        cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_OK, "shape %d: %s", i, err.text);
        cr_assert_eq(ruvm_file_map(&map, f.output, NULL), RUVM_OK);
        cr_assert_eq(ruvm_image_open(&img, map.data, map.size, NULL), RUVM_OK);
        check_shape(&img, &shapes[i]);
        check_report(&r, &img);
        check_weights(&img, f.model);
        check_golden(&map, r.n_golden_tokens);
        cr_assert(r.has_quality && r.quality.n_positions == 200);
        cr_assert(r.quality.kl_mean < 0.01, "shape %d: %g", i, r.quality.kl_mean);
        cr_assert_str_eq(r.quality.text_source, "own samples");
        ruvm_quantize_free(&r);
        ruvm_file_unmap(&map);
        remove_files(f);
    }
}

static struct ruvm_buffer bytes_of(const char *path)
{
    struct ruvm_map map;
    struct ruvm_buffer b = {0};
    cr_assert_eq(ruvm_file_map(&map, path, NULL), RUVM_OK);
    ruvm_buffer_bytes(&b, map.data, map.size);
    ruvm_file_unmap(&map);
    return b;
}

Test(quantize, the_same_input_gives_the_same_bytes)
{
    struct files f = make_files(&shapes[1]);
    struct ruvm_quantize_options o = options_of(f);
    struct ruvm_quantize_result r;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    ruvm_quantize_free(&r);
    struct ruvm_buffer a = bytes_of(f.output);
    o.no_quality = true;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    cr_assert_not(r.has_quality);
    ruvm_quantize_free(&r);
    struct ruvm_buffer b = bytes_of(f.output);
    cr_assert(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    o.seed = 77;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    ruvm_quantize_free(&r);
    struct ruvm_buffer c = bytes_of(f.output);
    cr_assert(a.size == c.size && memcmp(a.data, c.data, a.size) != 0, "other samples");
    ruvm_buffer_free(&a);
    ruvm_buffer_free(&b);
    ruvm_buffer_free(&c);
    remove_files(f);
}

Test(quantize, meta_is_sorted_and_names_no_place_or_time)
{
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f);
    struct ruvm_quantize_result r;
    struct ruvm_map map;
    struct ruvm_image img;
    unsigned long crc;
    unsigned long long bytes;
    char format[64];
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&map, f.output, NULL), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&img, map.data, map.size, NULL), RUVM_OK);
    char *meta = strndup((const char *)img.meta, img.meta_bytes);
    int n = sscanf(meta, "name=tiny\nsource_bytes=%llu\nsource_crc32=%8lx\nsource_format=%63[^\n]",
                   &bytes, &crc, format);
    cr_assert_eq(n, 3, "%s", meta);
    cr_assert_eq(bytes, r.source_bytes);
    cr_assert_str_eq(format, r.source_format);
    free(meta);
    ruvm_quantize_free(&r);
    ruvm_file_unmap(&map);
    remove_files(f);
}

Test(quantize, a_dry_run_knows_the_size_and_writes_nothing)
{
    struct files f = make_files(&shapes[1]);
    struct ruvm_quantize_options o = options_of(f);
    struct ruvm_quantize_result dry, real;
    o.dry_run = true;
    cr_assert_eq(ruvm_quantize(&o, &dry, NULL), RUVM_OK);
    cr_assert_neq(access(f.output, F_OK), 0);
    cr_assert_not(dry.has_quality);
    o.dry_run = false;
    cr_assert_eq(ruvm_quantize(&o, &real, NULL), RUVM_OK);
    cr_assert_eq(dry.image_bytes, real.image_bytes);
    cr_assert_eq(dry.n_golden_tokens, real.n_golden_tokens);
    ruvm_quantize_free(&dry);
    ruvm_quantize_free(&real);
    remove_files(f);
}

Test(quantize, a_text_can_be_measured_on)
{
    static const char text[] = "a dog was in a log on an odd day\n";
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f);
    struct ruvm_quantize_result r;
    o.eval_text = tiny_file(text, sizeof text - 1);
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    cr_assert(r.quality.n_positions > 10 && r.quality.n_positions <= sizeof text);
    cr_assert_str_eq(r.quality.text_source, strrchr(o.eval_text, '/') + 1);
    remove(o.eval_text);
    ruvm_quantize_free(&r);
    remove_files(f);
}

Test(quantize, a_shorter_context_is_taken)
{
    struct files f = make_files(&shapes[1]);
    struct ruvm_quantize_options o = options_of(f);
    struct ruvm_quantize_result r;
    struct ruvm_map map;
    struct ruvm_image img;
    o.context = 9;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&map, f.output, NULL), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&img, map.data, map.size, NULL), RUVM_OK);
    cr_assert_eq(img.context, 9);
    check_golden(&map, r.n_golden_tokens);
    ruvm_quantize_free(&r);
    ruvm_file_unmap(&map);
    remove_files(f);
}

/* ---- refusals -------------------------------------------------------------- */

/* Quantizes, expects a failure whose text holds `word`, and no file. */
static void refused(const struct ruvm_quantize_options *o, int code, const char *word)
{
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    int rc = ruvm_quantize(o, &r, &err);
    cr_assert_eq(rc, code, "%d instead of %d: %s", rc, code, err.text);
    cr_assert_not_null(strstr(err.text, word), "\"%s\" lacks \"%s\"", err.text, word);
    cr_assert_null(r.tensors);
    cr_assert_neq(access(o->output, F_OK), 0, "a file was left after: %s", err.text);
}

Test(quantize, wrong_options)
{
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f), bad;
    bad = o, bad.input = NULL;
    refused(&bad, RUVM_ERR_ARG, "no model");
    bad = o, bad.type = "int3";
    refused(&bad, RUVM_ERR_ARG, "int8");
    bad = o, bad.name = "two\nlines";
    refused(&bad, RUVM_ERR_ARG, "control character");
    bad = o, bad.eval_text = "x", bad.tokenizer = NULL;
    refused(&bad, RUVM_ERR_ARG, "tokenizer");
    bad = o, bad.context = 25;
    refused(&bad, RUVM_ERR_ARG, "24");
    bad = o, bad.input = "/nonexistent/model";
    refused(&bad, RUVM_ERR_IO, "/nonexistent/model");
    bad = o, bad.eval_text = "/nonexistent/text";
    refused(&bad, RUVM_ERR_IO, "/nonexistent/text");
    bad = o, bad.input = o.tokenizer;
    refused(&bad, RUVM_ERR_UNSUPPORTED, o.tokenizer);
    remove_files(f);
}

Test(quantize, a_tokenizer_of_another_model)
{
    struct files f = make_files(&shapes[0]), other = make_files(&shapes[1]);
    struct ruvm_quantize_options o = options_of(f);
    o.tokenizer = other.tokenizer;
    refused(&o, RUVM_ERR_MISMATCH, "97");
    remove_files(f);
    remove_files(other);
}

Test(quantize, a_weight_that_is_not_a_number)
{
    struct ruvm_buffer b = tiny_checkpoint(&shapes[0]);
    const uint32_t nan = 0x7fc00000;
    size_t row = 4 * shapes[0].dim;
    memcpy(b.data + TINY_FIRST_WEIGHT + 7 * row + 8, &nan, 4);
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f);
    o.input = tiny_file(b.data, b.size);
    refused(&o, RUVM_ERR_CORRUPT, "embed: row 7");
    remove(o.input);
    ruvm_buffer_free(&b);
    remove_files(f);
}

Test(quantize, an_image_is_already_quantized)
{
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f);
    struct ruvm_quantize_result r;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    ruvm_quantize_free(&r);
    o.input = f.output;
    o.output = tiny_path();
    refused(&o, RUVM_ERR_UNSUPPORTED, "already quantized");
    remove_files(f);
}

/* The bare layout: header, then int8 matrices. */
static const char *make_v0(void)
{
    enum { VOCAB = 20, DIM = 8, HIDDEN = 12, LAYERS = 2 };
    uint64_t rng = 3;
    struct ruvm_buffer b = {0};
    ruvm_buffer_bytes(&b, RUVM_MAGIC, 4);
    ruvm_buffer_u16(&b, VOCAB);
    ruvm_buffer_u16(&b, DIM);
    ruvm_buffer_u16(&b, HIDDEN);
    ruvm_buffer_u8(&b, LAYERS);
    ruvm_buffer_u8(&b, 2);
    ruvm_buffer_u8(&b, 30);
    ruvm_buffer_u8(&b, RUVM_QUANT_INT8);
    ruvm_buffer_zeros(&b, RUVM_HDR_BYTES - b.size);
    for (int i = 0; i < 2 * VOCAB * DIM + LAYERS * (4 * DIM * DIM + 3 * HIDDEN * DIM); i++)
        ruvm_buffer_u8(&b, (uint8_t)(tiny_random(&rng) % 255 - 127));
    const char *path = tiny_file(b.data, b.size);
    ruvm_buffer_free(&b);
    return path;
}

Test(quantize, a_bare_layout_needs_its_scale)
{
    struct ruvm_quantize_options o = {
        .input = make_v0(), .output = tiny_path(), .eval_tokens = 100};
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    refused(&o, RUVM_ERR_UNSUPPORTED, "scale");
    o.v0_scale = 1.0 / 256;
    cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(r.tensors[0].source_bytes, 20 * 8);
    cr_assert_lt(r.quality.kl_mean, 0.01);
    ruvm_quantize_free(&r);
    remove(o.input);
    remove(o.output);
}

static int stop_in_stage(void *user, const char *stage, uint64_t done, uint64_t total)
{
    cr_assert(done <= total);
    return strcmp(stage, user) == 0;
}

Test(quantize, interrupted_anywhere_it_leaves_nothing)
{
    static char stages[][12] = {"quantize", "calibrate", "sample", "measure"};
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f);
    for (int i = 0; i < 4; i++) {
        o.progress = (struct ruvm_progress){stop_in_stage, stages[i]};
        refused(&o, RUVM_ERR_IO, "interrupted");
    }
    remove_files(f);
}

/* ---- the real model -------------------------------------------------------- */

/* The sanitizers see the same code run on the tiny models; here it would take half a minute. */
#ifdef __SANITIZE_ADDRESS__
enum { TOO_SLOW = 1 };
#else
enum { TOO_SLOW = 0 };
#endif

static const char *real_model(const char *name)
{
    static char path[2][512];
    static int next;
    const char *folder = getenv("RUVM_SHARED_MODELS");
    next ^= 1;
    snprintf(path[next], sizeof path[next], "%s/%s", folder ? folder : "", name);
    return folder && access(path[next], R_OK) == 0 ? path[next] : NULL;
}

/* Greedy tokens of both from "Once upon a time" until they differ. */
static uint32_t count_equal_tokens(const struct ruvm_quantize_options *o)
{
    uint16_t a[256], b[256];
    struct ruvm_source s;
    struct ruvm_reference *reference;
    struct ruvm_map map;
    struct ruvm_tokenizer tok;
    struct ruvm_source_options so = {.path = o->input};
    cr_assert_eq(ruvm_source_open(&s, &so, NULL), RUVM_OK);
    cr_assert_eq(ruvm_reference_open(&reference, &s.arena, &s.model, 256, NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&map, o->output, NULL), RUVM_OK);
    cr_assert_eq(ruvm_tokenizer_init(&tok, map.data, map.size), RUVM_OK);
    struct ruvm_greedy g = {.ids = a, .n_ids = 256}, h = {.ids = b, .n_ids = 256};
    g.n_prompt = ruvm_greedy_prompt(a, 256, &tok, s.model.vocab);
    h.n_prompt = ruvm_greedy_prompt(b, 256, &tok, s.model.vocab);
    ruvm_greedy_reference(&g, reference, s.model.vocab);
    cr_assert_eq(ruvm_greedy_image(&h, map.data, map.size, NULL), RUVM_OK);
    uint32_t same = g.n_prompt;
    while (same < 256 && a[same] == b[same])
        same++;
    ruvm_file_unmap(&map);
    ruvm_source_close(&s);
    return same - g.n_prompt;
}

Test(quantize, stories260k_meets_the_goals)
{
    struct ruvm_quantize_options o = {.input = real_model("stories260K.bin"),
                                      .tokenizer = real_model("tok512.bin"),
                                      .output = tiny_path(),
                                      .eval_tokens = 16384};
    struct ruvm_quantize_result r;
    if (TOO_SLOW || !o.input || !o.tokenizer) {
        fprintf(stderr, "skipped: quality on stories260K: %s\n",
                TOO_SLOW ? "too slow under sanitizers" : "RUVM_SHARED_MODELS holds no model");
        return;
    }
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    cr_assert_eq(r.quality.n_positions, 16384);
    cr_assert_leq(r.quality.kl_mean, 0.003, "%g", r.quality.kl_mean);
    cr_assert_leq(r.quality.perplexity / r.quality.perplexity_float, 1.003);
    cr_assert_geq(r.quality.top1, 0.97, "%g", r.quality.top1);
    cr_assert_geq(count_equal_tokens(&o), 40);
    ruvm_quantize_free(&r);
    remove(o.output);
}
