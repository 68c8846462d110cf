/* The verb from outside: files in, an image and a report out, and what is refused. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_codes.h"
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

/* Three groups of 16 columns and a ragged one in w_down; parts to prune. */
static const struct tiny_shape small = {.dim = 12,
                                        .hidden = 52,
                                        .layers = 3,
                                        .heads = 6,
                                        .kv_heads = 3,
                                        .vocab = 50,
                                        .context = 16,
                                        .untied = true,
                                        .seed = 11};

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

/* A model, how it is quantized, and what came of it. */
struct job {
    struct files f;
    struct ruvm_quantize_options o;
    struct ruvm_quantize_result r;
    struct ruvm_error err;
    struct ruvm_map map; /* of the image, when one was written */
    struct ruvm_image img;
};

static struct job start(const struct tiny_shape *shape)
{
    struct job j = {.f = make_files(shape)};
    j.o = options_of(j.f);
    return j;
}

static void forget(struct job *j)
{
    ruvm_quantize_free(&j->r);
    ruvm_file_unmap(&j->map);
    j->map = (struct ruvm_map){0};
}

/* Must succeed, once or again. */
static void work(struct job *j)
{
    forget(j);
    j->err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_quantize(&j->o, &j->r, &j->err), RUVM_OK, "%s", j->err.text);
    if (j->o.dry_run)
        return;
    cr_assert_eq(ruvm_file_map(&j->map, j->o.output, NULL), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&j->img, j->map.data, j->map.size, NULL), RUVM_OK);
    cr_assert_eq(j->r.image_bytes, j->map.size);
}

static void finish(struct job *j)
{
    forget(j);
    remove_files(j->f);
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
        struct job j = start(&shapes[i]);
        work(&j);
        check_shape(&j.img, &shapes[i]);
        check_report(&j.r, &j.img);
        check_weights(&j.img, j.f.model);
        check_golden(&j.map, j.r.n_golden_tokens);
        cr_assert(j.r.has_quality && j.r.quality.n_positions == 200);
        cr_assert(j.r.quality.kl_mean < 0.01, "shape %d: %g", i, j.r.quality.kl_mean);
        cr_assert_str_eq(j.r.quality.text_source, "own samples");
        finish(&j);
    }
}

static struct ruvm_buffer bytes_of(const struct job *j)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_bytes(&b, j->map.data, j->map.size);
    return b;
}

/* Whether the same comes out as the bytes that were kept. */
static bool is_same(const struct job *j, const struct ruvm_buffer *b)
{
    return j->map.size == b->size && memcmp(j->map.data, b->data, b->size) == 0;
}

Test(quantize, the_same_input_gives_the_same_bytes)
{
    struct job j = start(&shapes[0]);
    work(&j);
    struct ruvm_buffer kept = bytes_of(&j);
    j.o.no_quality = true;
    work(&j);
    cr_assert_not(j.r.has_quality);
    cr_assert(is_same(&j, &kept));
    j.o.seed = 77;
    work(&j);
    cr_assert(j.map.size == kept.size && !is_same(&j, &kept), "other samples");
    ruvm_buffer_free(&kept);
    finish(&j);
}

Test(quantize, meta_is_sorted_and_names_no_place_or_time)
{
    struct job j = start(&shapes[0]);
    unsigned long crc;
    unsigned long long bytes;
    char format[64];
    work(&j);
    char *meta = strndup((const char *)j.img.meta, j.img.meta_bytes);
    int n = sscanf(meta, "name=tiny\nsource_bytes=%llu\nsource_crc32=%8lx\nsource_format=%63[^\n]",
                   &bytes, &crc, format);
    cr_assert_eq(n, 3, "%s", meta);
    cr_assert_eq(bytes, j.r.source_bytes);
    cr_assert_str_eq(format, j.r.source_format);
    free(meta);
    finish(&j);
}

Test(quantize, a_dry_run_knows_the_size_and_writes_nothing)
{
    static const char *const types[] = {NULL, "int4:32", "ternary"};
    for (int i = 0; i < 3; i++) {
        struct job j = start(&shapes[0]);
        j.o.type = types[i];
        j.o.dry_run = true;
        work(&j);
        cr_assert_neq(access(j.f.output, F_OK), 0);
        cr_assert_not(j.r.has_quality);
        uint64_t bytes = j.r.image_bytes, n_golden = j.r.n_golden_tokens;
        j.o.dry_run = false;
        work(&j);
        cr_assert(j.r.image_bytes == bytes && j.r.n_golden_tokens == n_golden);
        finish(&j);
    }
}

/* A text that the letters of every tiny tokenizer can spell. */
static const char *make_text(void)
{
    static const char text[] =
        "a dog was in a log on an odd day and so did she go to see it\n"
        "the hen had a red hat and ran into the sea with a tin of tea\n";
    return tiny_file(text, sizeof text - 1);
}

Test(quantize, a_text_can_be_measured_on)
{
    struct job j = start(&shapes[0]);
    j.o.eval_text = make_text();
    work(&j);
    cr_assert(j.r.quality.n_positions > 10 && j.r.quality.n_positions <= 130);
    cr_assert_str_eq(j.r.quality.text_source, strrchr(j.o.eval_text, '/') + 1);
    remove(j.o.eval_text);
    finish(&j);
}

Test(quantize, a_shorter_context_is_taken)
{
    struct job j = start(&shapes[0]);
    j.o.context = 9;
    work(&j);
    cr_assert_eq(j.img.context, 9);
    check_golden(&j.map, j.r.n_golden_tokens);
    finish(&j);
}

/* ---- types ------------------------------------------------------------------- */

/* Signal to noise of a tensor, from the bytes of the image by the format's own formula. */
static double snr_of(const struct ruvm_tensor *t, const struct ruvm_view *view)
{
    double signal = 0.0, noise = 0.0;
    for (uint32_t r = 0; r < t->rows; r++) {
        float row[256];
        int8_t levels[256];
        double scale = ldexp(t->scales[r], t->scale_exp);
        ruvm_view_row(view, r, row);
        ruvm_codes_unpack(t->type, levels, (const uint8_t *)t->data + (size_t)r * t->row_bytes,
                          t->cols);
        for (uint32_t c = 0; c < t->cols; c++) {
            const uint8_t *mult = t->mult + (size_t)r * t->mult_bytes;
            double w = levels[c] * scale * (t->group ? ruvm_codes_mult(mult, c / t->group) : 1);
            signal += (double)row[c] * (double)row[c];
            noise += (w - (double)row[c]) * (w - (double)row[c]);
        }
    }
    return 10.0 * log10(signal / noise);
}

/* The report says of each tensor what the image holds. */
static void check_tensors(const struct job *j)
{
    struct ruvm_source s;
    struct ruvm_source_options o = {.path = j->f.model};
    cr_assert_eq(ruvm_source_open(&s, &o, NULL), RUVM_OK);
    cr_assert_eq(j->r.n_tensors, j->img.n_tensors);
    for (uint32_t i = 0; i < j->r.n_tensors; i++) {
        char name[48];
        struct ruvm_tensor t = ruvm_image_tensor(&j->img, i);
        const struct ruvm_quantize_tensor *d = &j->r.tensors[i];
        const struct ruvm_view *view = ruvm_model_tensor(&s.model, t.kind, t.layer, name);
        cr_assert(d->rows == t.rows && d->cols == t.cols && strcmp(d->name, name) == 0);
        cr_assert_eq(d->bytes, t.data_bytes + t.scale_bytes);
        cr_assert_float_eq(d->bits_per_weight, 8.0 * (double)d->bytes / (t.rows * t.cols), 1e-9);
        cr_assert_float_eq(d->snr_db, snr_of(&t, view), 1e-6, "%s", name);
        cr_assert_eq(strncmp(d->type, ruvm_codes_name(t.type), strlen(ruvm_codes_name(t.type))), 0);
    }
    ruvm_source_close(&s);
}

Test(quantize, every_type_becomes_an_image_that_verifies)
{
    static const struct {
        const char *option, *written;
        uint8_t type, group;
    } table[] = {
        {"int8", "int8", RUVM_TYPE_INT8, 0},
        {"int4", "int4 g16", RUVM_TYPE_INT4, 16},
        {"int4:32", "int4 g32", RUVM_TYPE_INT4, 32},
        {"int4:64", "int4 g64", RUVM_TYPE_INT4, 64},
        {"int4:row", "int4", RUVM_TYPE_INT4, 0},
        {"int3", "int3 g16", RUVM_TYPE_INT3, 16},
        {"int2", "int2 g16", RUVM_TYPE_INT2, 16},
        {"ternary", "ternary", RUVM_TYPE_TERNARY, 0},
        {"binary", "binary g16", RUVM_TYPE_BINARY, 16},
        {"xnor", "xnor", RUVM_TYPE_XNOR, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct job j = start(&small);
        j.o.type = table[i].option;
        j.o.method = "rtn";
        j.o.no_quality = true;
        work(&j);
        check_shape(&j.img, &small);
        check_tensors(&j);
        check_golden(&j.map, j.r.n_golden_tokens);
        cr_assert_str_eq(j.r.method, "rtn");
        for (uint32_t k = 0; k < j.r.n_tensors; k++) {
            struct ruvm_tensor t = ruvm_image_tensor(&j.img, k);
            bool is_end = t.kind == RUVM_TENSOR_EMBED || t.kind == RUVM_TENSOR_HEAD;
            cr_assert_str_eq(j.r.tensors[k].type, is_end ? "int8" : table[i].written);
            cr_assert_eq(t.type, is_end ? RUVM_TYPE_INT8 : table[i].type);
            cr_assert_eq(t.group, is_end ? 0 : table[i].group);
        }
        finish(&j);
    }
}

static struct job start_with_text(const struct tiny_shape *shape, const char *type)
{
    struct job j = start(shape);
    j.o.calib_text = make_text();
    j.o.type = type;
    return j;
}

Test(quantize, every_method)
{
    static const char *const methods[] = {"rtn", "mse", "gptq", NULL};
    double kl[4], embed[4], layer[4];
    uint64_t bytes[4];
    for (int i = 0; i < 4; i++) {
        struct job j = start(&shapes[0]);
        j.o.type = "int3";
        j.o.method = methods[i];
        work(&j);
        check_tensors(&j);
        cr_assert_str_eq(j.r.method, methods[i] ? methods[i] : "gptq");
        kl[i] = j.r.quality.kl_mean;
        embed[i] = j.r.tensors[0].snr_db;
        layer[i] = j.r.tensors[7].snr_db;
        bytes[i] = j.r.image_bytes;
        finish(&j);
    }
    cr_assert(kl[2] < kl[1] && kl[2] < kl[0], "rtn %g, mse %g, gptq %g", kl[0], kl[1], kl[2]);
    cr_assert_gt(layer[1], layer[0], "the least square error is what mse looks for");
    cr_assert(bytes[0] == bytes[1] && bytes[0] == bytes[2], "no method costs a byte");
    cr_assert_float_eq(embed[3], embed[0], 0.0, "by itself: rtn for int8");
    cr_assert_float_eq(layer[3], layer[2], 0.0, "and gptq for all others");
}

Test(quantize, types_by_rules)
{
    static const char *const rules[] = {"w_down$=int2", "layers.1=ternary", "layers.1.wq=int8"};
    struct job j = start_with_text(&small, "int4:32");
    j.o.embed_type = "int3:row";
    j.o.head_type = "binary";
    j.o.tensor_types = rules;
    j.o.n_tensor_types = 3;
    j.o.method = "rtn";
    work(&j);
    check_tensors(&j);
    for (uint32_t i = 0; i < j.r.n_tensors; i++) {
        const struct ruvm_quantize_tensor *t = &j.r.tensors[i];
        const char *expected = strcmp(t->name, "embed") == 0          ? "int3"
                               : strcmp(t->name, "head") == 0         ? "binary g16"
                               : strcmp(t->name, "layers.1.wq") == 0  ? "int8"
                               : strstr(t->name, "layers.1.") != NULL ? "ternary"
                               : strstr(t->name, "w_down") != NULL    ? "int2 g16"
                                                                      : "int4 g32";
        cr_assert_str_eq(t->type, expected, "%s: %s", t->name, t->type);
    }
    cr_assert_not_null(strstr(j.r.types, "ternary 6"), "%s", j.r.types);
    finish(&j);
}

Test(quantize, a_cache_of_four_bits)
{
    struct job j = start(&shapes[2]); /* wide enough for rows of 16 bytes to show it */
    size_t large, less;
    j.o.no_quality = true;
    j.o.context = 20;
    work(&j);
    cr_assert(j.img.k_bits == 8 && j.img.v_bits == 8 && j.r.k_bits == 8 && j.r.v_bits == 8);
    cr_assert_eq(ruvm_engine_bytes(j.map.data, j.map.size, NULL, &large), RUVM_OK);
    for (int i = 1; i < 4; i++) {
        j.o.k_bits = i & 1 ? 4 : 0;
        j.o.v_bits = i & 2 ? 4 : 8;
        work(&j);
        cr_assert(j.img.k_bits == (i & 1 ? 4 : 8) && j.img.v_bits == (i & 2 ? 4 : 8));
        cr_assert(j.r.k_bits == j.img.k_bits && j.r.v_bits == j.img.v_bits);
        cr_assert_eq(ruvm_engine_bytes(j.map.data, j.map.size, NULL, &less), RUVM_OK);
        cr_assert_lt(less, large);
        check_golden(&j.map, j.r.n_golden_tokens);
    }
    finish(&j);
}

Test(quantize, threads_do_not_change_a_bit)
{
    struct job j = start_with_text(&small, "int4");
    j.o.distill_steps = 2;
    j.o.threads = 1;
    work(&j);
    struct ruvm_buffer kept = bytes_of(&j);
    j.o.threads = 3;
    work(&j);
    cr_assert(is_same(&j, &kept));
    ruvm_buffer_free(&kept);
    finish(&j);
}

Test(quantize, rows_of_zeros_are_named)
{
    static const char *const types[] = {"int8", "int4", "ternary", "binary"};
    struct ruvm_buffer b = tiny_checkpoint(&shapes[0]);
    size_t row = 4 * shapes[0].dim;
    memset(b.data + TINY_FIRST_WEIGHT + 7 * row, 0, row);
    memset(b.data + TINY_FIRST_WEIGHT + 9 * row, 0, row);
    for (int i = 0; i < 4; i++) {
        struct job j = start(&shapes[0]);
        j.o.input = tiny_file(b.data, b.size);
        j.o.embed_type = types[i];
        work(&j);
        cr_assert(j.r.tensors[0].zero_rows == 2 && j.r.tensors[0].first_zero_row == 7);
        cr_assert_eq(j.r.tensors[1].zero_rows, 0);
        cr_assert(isfinite(j.r.quality.kl_mean));
        finish(&j);
    }
    ruvm_buffer_free(&b);
}

/* ---- search ------------------------------------------------------------------ */

static const struct ruvm_quantize_choice *chosen_of(const struct job *j)
{
    const struct ruvm_quantize_choice *chosen = NULL;
    for (uint32_t i = 0; i < j->r.n_choices; i++) {
        const struct ruvm_quantize_choice *c = &j->r.choices[i];
        cr_assert(i == 0 ||
                  (c->image_bytes >= c[-1].image_bytes && c->kl_estimate < c[-1].kl_estimate));
        cr_assert(!c->chosen || chosen == NULL);
        chosen = c->chosen ? c : chosen;
    }
    cr_assert_not_null(chosen);
    cr_assert_eq(chosen->image_bytes, j->r.image_bytes);
    cr_assert_str_eq(chosen->types, j->r.types);
    cr_assert(chosen->kl_measured > 0.0);
    return chosen;
}

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

/* The number behind the words in what a refusal says. */
static double number_after(const struct ruvm_quantize_options *o, const char *words)
{
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_quantize(o, &r, &err), RUVM_ERR_UNSUPPORTED, "%s", err.text);
    const char *at = strstr(err.text, words);
    cr_assert_not_null(at, "%s", err.text);
    cr_assert_neq(access(o->output, F_OK), 0);
    return strtod(at + strlen(words), NULL);
}

Test(quantize, a_limit_of_bytes_is_kept)
{
    struct job j = start_with_text(&shapes[0], NULL);
    j.o.max_bytes = 1;
    uint64_t smallest = (uint64_t)number_after(&j.o, "the smallest image of this model has ");
    j.o.max_bytes = smallest;
    work(&j);
    cr_assert(chosen_of(&j) == j.r.choices && j.r.image_bytes == smallest);
    check_golden(&j.map, j.r.n_golden_tokens);
    uint64_t limit = j.r.choices[j.r.n_choices / 2].image_bytes - 1;
    j.o.max_bytes = limit;
    work(&j);
    const struct ruvm_quantize_choice *c = chosen_of(&j);
    cr_assert(c->image_bytes <= limit && c[1].image_bytes > limit);
    check_tensors(&j);
    finish(&j);
}

Test(quantize, a_limit_of_bytes_leaves_rules_alone)
{
    static const char *const rules[] = {"wo=int8", "w_down=int4:32"};
    struct job j = start_with_text(&shapes[0], NULL);
    j.o.embed_type = "int3";
    j.o.tensor_types = rules;
    j.o.n_tensor_types = 2;
    j.o.max_bytes = 4400;
    work(&j);
    cr_assert_leq(j.r.image_bytes, 4400);
    cr_assert_leq(chosen_of(&j)->image_bytes, 4400);
    cr_assert_str_eq(j.r.tensors[0].type, "int3 g16");
    cr_assert_str_eq(j.r.tensors[4].type, "int8");
    cr_assert_str_eq(j.r.tensors[7].type, "int4 g32");
    finish(&j);
}

Test(quantize, a_limit_of_loss_is_kept)
{
    struct job j = start_with_text(&shapes[0], NULL);
    j.o.max_kl = 0.05;
    work(&j);
    const struct ruvm_quantize_choice *c = chosen_of(&j);
    cr_assert_leq(c->kl_measured, 0.05);
    cr_assert_lt(c->image_bytes, j.r.choices[j.r.n_choices - 1].image_bytes);
    cr_assert(c == j.r.choices || !(c[-1].kl_measured > 0.0) || c[-1].kl_measured > 0.05,
              "a smaller one was measured and is good enough");
    finish(&j);
}

Test(quantize, a_loss_that_cannot_be_reached)
{
    for (uint64_t seed = 6; seed < 8; seed++) { /* 0.0002659 and 0.0002210 */
        struct tiny_shape shape = shapes[0];
        shape.seed = seed;
        struct job j = start_with_text(&shape, NULL);
        j.o.max_kl = 1e-9;
        j.o.max_kl = number_after(&j.o, "the largest choice of types loses ");
        work(&j);
        cr_assert_leq(chosen_of(&j)->kl_measured, j.o.max_kl);
        finish(&j);
    }
}

Test(quantize, a_chip_is_a_limit)
{
    static const struct tiny_shape far = {.dim = 4,
                                          .hidden = 4,
                                          .layers = 1,
                                          .heads = 1,
                                          .kv_heads = 1,
                                          .vocab = 30,
                                          .context = 20000,
                                          .seed = 12};
    struct job j = start_with_text(&shapes[0], NULL);
    j.o.target = "esp32c3";
    work(&j);
    cr_assert(chosen_of(&j) == &j.r.choices[j.r.n_choices - 1], "all of it fits");
    j.o.output = tiny_path();
    j.o.target = "esp8266";
    refused(&j.o, RUVM_ERR_ARG, "esp32c6");
    finish(&j);
    j = start_with_text(&far, NULL);
    j.o.target = "esp32s2";
    refused(&j.o, RUVM_ERR_UNSUPPORTED, "at a context of 20000, the esp32s2 has 139264");
    j.o.context = 300;
    work(&j);
    finish(&j);
}

/* ---- pruning and training ------------------------------------------------------ */

Test(quantize, pruning_is_reported_step_by_step)
{
    static const uint32_t drop[] = {1};
    static const char *const what[] = {"layer 1", "1 of 3 key/value heads", "20 of 52"};
    struct job j = start_with_text(&small, NULL);
    j.o.prune_heads = 1;
    j.o.prune_ffn = 20;
    j.o.drop_layers = drop;
    j.o.n_drop_layers = 1;
    work(&j);
    cr_assert_eq(j.r.n_prunes, 3);
    for (int i = 0; i < 3; i++) {
        const struct ruvm_quantize_prune *p = &j.r.prunes[i];
        cr_assert_not_null(strstr(p->what, what[i]), "%s", p->what);
        cr_assert(p->parameters_after < p->parameters_before && p->kl_mean > 0.0);
        cr_assert(i == 0 || p->parameters_before == p[-1].parameters_after);
        cr_assert(p->perplexity_before > 1.0 && p->perplexity_after > 1.0);
    }
    cr_assert_eq(j.r.parameters, j.r.prunes[2].parameters_after);
    cr_assert(j.img.n_layers == 2 && j.img.n_kv_heads == 2 && j.img.n_heads == 4);
    cr_assert_eq(j.img.hidden, 32);
    check_golden(&j.map, j.r.n_golden_tokens);
    cr_assert_gt(j.r.quality.kl_mean, 0.3 * j.r.prunes[2].kl_mean, "compared with the source");
    finish(&j);
}

Test(quantize, tokens_that_a_text_never_uses_are_left_out)
{
    struct job j = start_with_text(&small, "int4");
    j.o.vocab_prune = true;
    work(&j);
    cr_assert_eq(j.r.n_prunes, 1);
    cr_assert_not_null(strstr(j.r.prunes[0].what, "of 50 tokens"), "%s", j.r.prunes[0].what);
    cr_assert(j.img.vocab < 50 && j.img.vocab >= 20, "%u", j.img.vocab);
    check_golden(&j.map, j.r.n_golden_tokens);
    uint32_t vocab = j.img.vocab;
    j.o.eval_text = j.o.calib_text; /* the new tokenizer spells it */
    j.o.prune_ffn = 4;
    work(&j);
    cr_assert(j.r.n_prunes == 2 && j.img.vocab == vocab && j.img.hidden == 48);
    finish(&j);
}

static struct job start_lesson(const char *type)
{
    struct job j = start_with_text(&small, type);
    j.o.distill_steps = 6;
    return j;
}

Test(quantize, distilling_trains_what_is_stored)
{
    struct job j = start_lesson("int2");
    j.o.distill_steps = 60;
    work(&j);
    cr_assert_str_eq(j.r.method, "distill");
    cr_assert(j.r.has_distill && j.r.distill.steps == 60 && j.r.distill.first_step == 0);
    cr_assert(j.r.distill.tokens > 0 && j.r.distill.threads > 0);
    cr_assert_lt(j.r.distill.kl_after, j.r.distill.kl_before);
    cr_assert(j.r.has_quality && j.r.has_quality_before);
    cr_assert_eq(j.r.quality.n_positions, j.r.quality_before.n_positions);
    check_golden(&j.map, j.r.n_golden_tokens);
    finish(&j);
}

static int stop_at_step_3(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    cr_assert(done <= total);
    return strcmp(stage, "distill") == 0 && done >= 3;
}

Test(quantize, an_interrupted_distillation_ends_as_one_in_a_piece)
{
    struct job j = start_lesson("ternary");
    work(&j);
    struct ruvm_buffer kept = bytes_of(&j);
    forget(&j);
    remove(j.f.output);
    j.o.checkpoint = tiny_path();
    j.o.progress.report = stop_at_step_3;
    refused(&j.o, RUVM_ERR_IO, "interrupted");
    cr_assert_eq(access(j.o.checkpoint, F_OK), 0);
    j.o.progress.report = NULL;
    work(&j);
    cr_assert_eq(j.r.distill.first_step, 3);
    cr_assert(is_same(&j, &kept));
    j.o.output = tiny_path();
    j.o.type = "int2";
    refused(&j.o, RUVM_ERR_MISMATCH, j.o.checkpoint);
    remove(j.o.checkpoint);
    ruvm_buffer_free(&kept);
    finish(&j);
}

Test(quantize, what_was_pruned_can_be_distilled)
{
    static const uint32_t drop[] = {0, 2};
    struct job j = start_lesson("int4");
    j.o.drop_layers = drop;
    j.o.n_drop_layers = 2;
    j.o.vocab_prune = true;
    j.o.prune_heads = 2;
    work(&j);
    cr_assert(j.img.n_layers == 1 && j.img.n_kv_heads == 1 && j.r.n_prunes == 3);
    cr_assert(j.r.has_distill && j.r.has_quality_before);
    check_golden(&j.map, j.r.n_golden_tokens);
    finish(&j);
}

/* ---- refusals -------------------------------------------------------------- */

Test(quantize, wrong_options)
{
    struct files f = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f), bad;
    bad = o, bad.input = NULL;
    refused(&bad, RUVM_ERR_ARG, "no model");
    bad = o, bad.type = "int5";
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

Test(quantize, options_that_do_not_go_together)
{
    static const char *const nothing[] = {"w_sideways=int4"}, *const broken[] = {"w[=int4"};
    static const uint32_t far[] = {3}, twice[] = {1, 1};
    struct files f = make_files(&small), tied = make_files(&shapes[0]);
    struct ruvm_quantize_options o = options_of(f), bad;
    o.calib_text = make_text();
    bad = o, bad.tensor_types = nothing, bad.n_tensor_types = 1;
    refused(&bad, RUVM_ERR_ARG, "w_sideways");
    bad = o, bad.tensor_types = broken, bad.n_tensor_types = 1;
    refused(&bad, RUVM_ERR_ARG, "w[");
    bad = o, bad.method = "awq";
    refused(&bad, RUVM_ERR_ARG, "gptq");
    bad = o, bad.k_bits = 5;
    refused(&bad, RUVM_ERR_ARG, "key has 8 or 4 bits, not 5");
    bad = o, bad.v_bits = 16;
    refused(&bad, RUVM_ERR_ARG, "value has 8 or 4 bits, not 16");
    bad = options_of(tied), bad.embed_type = "int4", bad.head_type = "int8";
    refused(&bad, RUVM_ERR_ARG, "head");
    bad = o, bad.max_bytes = 10000, bad.type = "int4";
    refused(&bad, RUVM_ERR_ARG, "leave out the type int4");
    bad = o, bad.max_bytes = 10000, bad.max_kl = 0.1;
    refused(&bad, RUVM_ERR_ARG, "not both");
    bad = o, bad.target = "esp32", bad.max_kl = 0.1;
    refused(&bad, RUVM_ERR_ARG, "not both");
    bad = o, bad.max_kl = -1.0;
    refused(&bad, RUVM_ERR_ARG, "above 0");
    bad = o, bad.max_kl = (double)NAN;
    refused(&bad, RUVM_ERR_ARG, "above 0");
    bad = o, bad.dry_run = true, bad.max_kl = 0.1;
    refused(&bad, RUVM_ERR_ARG, "dry run");
    bad = o, bad.dry_run = true, bad.prune_ffn = 1;
    refused(&bad, RUVM_ERR_ARG, "dry run");
    bad = o, bad.prune_heads = 3;
    refused(&bad, RUVM_ERR_ARG, "3");
    bad = o, bad.prune_ffn = 52;
    refused(&bad, RUVM_ERR_ARG, "52");
    bad = o, bad.drop_layers = far, bad.n_drop_layers = 1;
    refused(&bad, RUVM_ERR_ARG, "layer");
    bad = o, bad.drop_layers = twice, bad.n_drop_layers = 2;
    refused(&bad, RUVM_ERR_ARG, "layer");
    bad = o, bad.vocab_prune = true, bad.tokenizer = bad.calib_text = NULL;
    refused(&bad, RUVM_ERR_ARG, "tokenizer");
    bad = o, bad.calib_text = "/nonexistent/text";
    refused(&bad, RUVM_ERR_IO, "/nonexistent/text");
    remove_files(f);
    remove_files(tied);
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
    o.type = "int4";
    refused(&o, RUVM_ERR_CORRUPT, "embed: row 7");
    o.type = NULL, o.max_kl = 0.1;
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
    static char stages[][16] = {"quantize", "calibrate", "sample", "measure",        "moments",
                                "search",   "distill",   "prune",  "measure pruning"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        struct job j = start(&shapes[0]);
        j.o.progress = (struct ruvm_progress){stop_in_stage, stages[i]};
        j.o.calib_text = i >= 4 ? make_text() : NULL;
        j.o.max_bytes = i >= 4 ? 1 << 20 : 0;
        j.o.distill_steps = i >= 4 ? 2 : 0;
        j.o.prune_ffn = i >= 7 ? 2 : 0;
        refused(&j.o, RUVM_ERR_IO, "interrupted");
        finish(&j);
    }
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
