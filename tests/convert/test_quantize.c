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
#include "lib/convert/greedy.h"
#include "lib/import/source.h"
#include "lib/ruvm_tool.h"
#include "tests/convert/quantize_tiny.h"

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

Test(quantize, any_shape_becomes_an_image_that_verifies)
{
    for (int i = 0; i < N_SHAPES; i++) {
        struct job j = job_start(&job_shapes[i]);
        job_work(&j);
        check_shape(&j.img, &job_shapes[i]);
        check_report(&j.r, &j.img);
        check_weights(&j.img, j.f.model);
        job_check_golden(&j.map, j.r.n_golden_tokens);
        cr_assert(j.r.has_quality && j.r.quality.n_positions == 200);
        cr_assert(j.r.quality.kl_mean < 0.01, "shape %d: %g", i, j.r.quality.kl_mean);
        cr_assert_str_eq(j.r.quality.text_source, "own samples");
        job_finish(&j);
    }
}

Test(quantize, the_same_input_gives_the_same_bytes)
{
    struct job j = job_start(&job_shapes[0]);
    job_work(&j);
    struct ruvm_buffer kept = job_bytes(&j);
    j.o.no_quality = true;
    job_work(&j);
    cr_assert_not(j.r.has_quality);
    cr_assert(job_is_same(&j, &kept));
    j.o.seed = 77;
    job_work(&j);
    cr_assert(j.map.size == kept.size && !job_is_same(&j, &kept), "other samples");
    ruvm_buffer_free(&kept);
    job_finish(&j);
}

Test(quantize, meta_is_sorted_and_names_no_place_or_time)
{
    struct job j = job_start(&job_shapes[0]);
    unsigned long crc;
    unsigned long long bytes;
    char format[64];
    job_work(&j);
    char *meta = strndup((const char *)j.img.meta, j.img.meta_bytes);
    int n = sscanf(meta, "name=tiny\nsource_bytes=%llu\nsource_crc32=%8lx\nsource_format=%63[^\n]",
                   &bytes, &crc, format);
    cr_assert_eq(n, 3, "%s", meta);
    cr_assert_eq(bytes, j.r.source_bytes);
    cr_assert_str_eq(format, j.r.source_format);
    free(meta);
    job_finish(&j);
}

Test(quantize, a_dry_run_knows_the_size_and_writes_nothing)
{
    static const char *const types[] = {NULL, "int4:32", "ternary"};
    for (int i = 0; i < 3; i++) {
        struct job j = job_start(&job_shapes[0]);
        j.o.type = types[i];
        j.o.dry_run = true;
        job_work(&j);
        cr_assert_neq(access(j.f.output, F_OK), 0);
        cr_assert_not(j.r.has_quality);
        uint64_t bytes = j.r.image_bytes, n_golden = j.r.n_golden_tokens;
        j.o.dry_run = false;
        job_work(&j);
        cr_assert(j.r.image_bytes == bytes && j.r.n_golden_tokens == n_golden);
        job_finish(&j);
    }
}

Test(quantize, a_text_can_be_measured_on)
{
    struct job j = job_start(&job_shapes[0]);
    j.o.eval_text = job_text();
    job_work(&j);
    cr_assert(j.r.quality.n_positions > 10 && j.r.quality.n_positions <= 130);
    cr_assert_str_eq(j.r.quality.text_source, strrchr(j.o.eval_text, '/') + 1);
    remove(j.o.eval_text);
    job_finish(&j);
}

Test(quantize, a_shorter_context_is_taken)
{
    struct job j = job_start(&job_shapes[0]);
    j.o.context = 9;
    job_work(&j);
    cr_assert_eq(j.img.context, 9);
    job_check_golden(&j.map, j.r.n_golden_tokens);
    job_finish(&j);
}

/* ---- types ------------------------------------------------------------------- */

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
        struct job j = job_start(&job_small);
        j.o.type = table[i].option;
        j.o.method = "rtn";
        j.o.no_quality = true;
        job_work(&j);
        check_shape(&j.img, &job_small);
        job_check_tensors(&j);
        job_check_golden(&j.map, j.r.n_golden_tokens);
        cr_assert_str_eq(j.r.method, "rtn");
        for (uint32_t k = 0; k < j.r.n_tensors; k++) {
            struct ruvm_tensor t = ruvm_image_tensor(&j.img, k);
            bool is_end = t.kind == RUVM_TENSOR_EMBED || t.kind == RUVM_TENSOR_HEAD;
            cr_assert_str_eq(j.r.tensors[k].type, is_end ? "int8" : table[i].written);
            cr_assert_eq(t.type, is_end ? RUVM_TYPE_INT8 : table[i].type);
            cr_assert_eq(t.group, is_end ? 0 : table[i].group);
        }
        job_finish(&j);
    }
}

Test(quantize, every_method)
{
    static const char *const methods[] = {"rtn", "mse", "gptq", NULL};
    double kl[4], embed[4], layer[4];
    uint64_t bytes[4];
    for (int i = 0; i < 4; i++) {
        struct job j = job_start(&job_shapes[0]);
        j.o.type = "int3";
        j.o.method = methods[i];
        job_work(&j);
        job_check_tensors(&j);
        cr_assert_str_eq(j.r.method, methods[i] ? methods[i] : "gptq");
        kl[i] = j.r.quality.kl_mean;
        embed[i] = j.r.tensors[0].snr_db;
        layer[i] = j.r.tensors[7].snr_db;
        bytes[i] = j.r.image_bytes;
        job_finish(&j);
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
    struct job j = job_start_with_text(&job_small, "int4:32");
    j.o.embed_type = "int3:row";
    j.o.head_type = "binary";
    j.o.tensor_types = rules;
    j.o.n_tensor_types = 3;
    j.o.method = "rtn";
    job_work(&j);
    job_check_tensors(&j);
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
    job_finish(&j);
}

Test(quantize, a_cache_of_four_bits)
{
    struct job j = job_start(&job_shapes[2]); /* wide enough for rows of 16 bytes to show it */
    size_t large, less;
    j.o.no_quality = true;
    j.o.context = 20;
    job_work(&j);
    cr_assert(j.img.k_bits == 8 && j.img.v_bits == 8 && j.r.k_bits == 8 && j.r.v_bits == 8);
    cr_assert_eq(ruvm_engine_bytes(j.map.data, j.map.size, NULL, &large), RUVM_OK);
    for (int i = 1; i < 4; i++) {
        j.o.k_bits = i & 1 ? 4 : 0;
        j.o.v_bits = i & 2 ? 4 : 8;
        job_work(&j);
        cr_assert(j.img.k_bits == (i & 1 ? 4 : 8) && j.img.v_bits == (i & 2 ? 4 : 8));
        cr_assert(j.r.k_bits == j.img.k_bits && j.r.v_bits == j.img.v_bits);
        cr_assert_eq(ruvm_engine_bytes(j.map.data, j.map.size, NULL, &less), RUVM_OK);
        cr_assert_lt(less, large);
        job_check_golden(&j.map, j.r.n_golden_tokens);
    }
    job_finish(&j);
}

Test(quantize, threads_do_not_change_a_bit)
{
    struct job j = job_start_with_text(&job_small, "int4");
    j.o.distill_steps = 2;
    j.o.threads = 1;
    job_work(&j);
    struct ruvm_buffer kept = job_bytes(&j);
    j.o.threads = 3;
    job_work(&j);
    cr_assert(job_is_same(&j, &kept));
    ruvm_buffer_free(&kept);
    job_finish(&j);
}

Test(quantize, rows_of_zeros_are_named)
{
    static const char *const types[] = {"int8", "int4", "ternary", "binary"};
    struct ruvm_buffer b = tiny_checkpoint(&job_shapes[0]);
    size_t row = 4 * job_shapes[0].dim;
    memset(b.data + TINY_FIRST_WEIGHT + 7 * row, 0, row);
    memset(b.data + TINY_FIRST_WEIGHT + 9 * row, 0, row);
    for (int i = 0; i < 4; i++) {
        struct job j = job_start(&job_shapes[0]);
        j.o.input = tiny_file(b.data, b.size);
        j.o.embed_type = types[i];
        job_work(&j);
        cr_assert(j.r.tensors[0].zero_rows == 2 && j.r.tensors[0].first_zero_row == 7);
        cr_assert_eq(j.r.tensors[1].zero_rows, 0);
        cr_assert(isfinite(j.r.quality.kl_mean));
        job_finish(&j);
    }
    ruvm_buffer_free(&b);
}

/* ---- refusals -------------------------------------------------------------- */

Test(quantize, wrong_options)
{
    struct job_files f = job_files(&job_shapes[0]);
    struct ruvm_quantize_options o = job_options(f), bad;
    bad = o, bad.input = NULL;
    job_refused(&bad, RUVM_ERR_ARG, "no model");
    bad = o, bad.type = "int5";
    job_refused(&bad, RUVM_ERR_ARG, "int8");
    bad = o, bad.name = "two\nlines";
    job_refused(&bad, RUVM_ERR_ARG, "control character");
    bad = o, bad.eval_text = f.model, bad.tokenizer = NULL;
    job_refused(&bad, RUVM_ERR_ARG, "tokenizer");
    bad = o, bad.context = 25;
    job_refused(&bad, RUVM_ERR_ARG, "24");
    bad = o, bad.input = "/nonexistent/model";
    job_refused(&bad, RUVM_ERR_IO, "/nonexistent/model");
    bad = o, bad.eval_text = "/nonexistent/text";
    job_refused(&bad, RUVM_ERR_IO, "/nonexistent/text");
    bad = o, bad.input = o.tokenizer;
    job_refused(&bad, RUVM_ERR_UNSUPPORTED, o.tokenizer);
    job_remove(f);
}

Test(quantize, options_that_do_not_go_together)
{
    static const char *const nothing[] = {"w_sideways=int4"}, *const broken[] = {"w[=int4"};
    static const uint32_t far[] = {3}, twice[] = {1, 1};
    struct job_files f = job_files(&job_small), tied = job_files(&job_shapes[0]);
    struct ruvm_quantize_options o = job_options(f), bad;
    o.calib_text = job_text();
    bad = o, bad.tensor_types = nothing, bad.n_tensor_types = 1;
    job_refused(&bad, RUVM_ERR_ARG, "w_sideways");
    bad = o, bad.tensor_types = broken, bad.n_tensor_types = 1;
    job_refused(&bad, RUVM_ERR_ARG, "w[");
    bad = o, bad.method = "awq";
    job_refused(&bad, RUVM_ERR_ARG, "gptq");
    bad = o, bad.k_bits = 5;
    job_refused(&bad, RUVM_ERR_ARG, "key has 8 or 4 bits, not 5");
    bad = o, bad.v_bits = 16;
    job_refused(&bad, RUVM_ERR_ARG, "value has 8 or 4 bits, not 16");
    bad = job_options(tied), bad.embed_type = "int4", bad.head_type = "int8";
    job_refused(&bad, RUVM_ERR_ARG, "head");
    bad = o, bad.max_bytes = 10000, bad.type = "int4";
    job_refused(&bad, RUVM_ERR_ARG, "leave out the type int4");
    bad = o, bad.max_bytes = 10000, bad.max_kl = 0.1;
    job_refused(&bad, RUVM_ERR_ARG, "not both");
    bad = o, bad.target = "esp32", bad.max_kl = 0.1;
    job_refused(&bad, RUVM_ERR_ARG, "not both");
    bad = o, bad.max_kl = -1.0;
    job_refused(&bad, RUVM_ERR_ARG, "above 0");
    bad = o, bad.max_kl = (double)NAN;
    job_refused(&bad, RUVM_ERR_ARG, "above 0");
    bad = o, bad.dry_run = true, bad.max_kl = 0.1;
    job_refused(&bad, RUVM_ERR_ARG, "dry run");
    bad = o, bad.dry_run = true, bad.prune_ffn = 1;
    job_refused(&bad, RUVM_ERR_ARG, "dry run");
    bad = o, bad.prune_heads = 3;
    job_refused(&bad, RUVM_ERR_ARG, "3");
    bad = o, bad.prune_ffn = 52;
    job_refused(&bad, RUVM_ERR_ARG, "52");
    bad = o, bad.drop_layers = far, bad.n_drop_layers = 1;
    job_refused(&bad, RUVM_ERR_ARG, "layer");
    bad = o, bad.drop_layers = twice, bad.n_drop_layers = 2;
    job_refused(&bad, RUVM_ERR_ARG, "layer");
    bad = o, bad.vocab_prune = true, bad.tokenizer = bad.calib_text = NULL;
    job_refused(&bad, RUVM_ERR_ARG, "tokenizer");
    bad = o, bad.calib_text = "/nonexistent/text";
    job_refused(&bad, RUVM_ERR_IO, "/nonexistent/text");
    job_remove(f);
    job_remove(tied);
}

Test(quantize, a_tokenizer_of_another_model)
{
    struct job_files f = job_files(&job_shapes[0]), other = job_files(&job_shapes[1]);
    struct ruvm_quantize_options o = job_options(f);
    o.tokenizer = other.tokenizer;
    job_refused(&o, RUVM_ERR_MISMATCH, "97");
    job_remove(f);
    job_remove(other);
}

Test(quantize, a_weight_that_is_not_a_number)
{
    struct ruvm_buffer b = tiny_checkpoint(&job_shapes[0]);
    const uint32_t nan = 0x7fc00000;
    size_t row = 4 * job_shapes[0].dim;
    memcpy(b.data + TINY_FIRST_WEIGHT + 7 * row + 8, &nan, 4);
    struct job_files f = job_files(&job_shapes[0]);
    struct ruvm_quantize_options o = job_options(f);
    o.input = tiny_file(b.data, b.size);
    job_refused(&o, RUVM_ERR_CORRUPT, "embed: row 7");
    o.type = "int4";
    job_refused(&o, RUVM_ERR_CORRUPT, "embed: row 7");
    o.type = NULL, o.max_kl = 0.1;
    job_refused(&o, RUVM_ERR_CORRUPT, "embed: row 7");
    remove(o.input);
    ruvm_buffer_free(&b);
    job_remove(f);
}

Test(quantize, an_image_is_already_quantized)
{
    struct job_files f = job_files(&job_shapes[0]);
    struct ruvm_quantize_options o = job_options(f);
    struct ruvm_quantize_result r;
    cr_assert_eq(ruvm_quantize(&o, &r, NULL), RUVM_OK);
    ruvm_quantize_free(&r);
    o.input = f.output;
    o.output = tiny_path();
    job_refused(&o, RUVM_ERR_UNSUPPORTED, "already quantized");
    job_remove(f);
}

Test(quantize, a_dry_run_names_weights_but_measures_none)
{
    struct ruvm_buffer b = tiny_checkpoint(&job_shapes[0]);
    const uint32_t nan = 0x7fc00000;
    size_t row = 4 * job_shapes[0].dim;
    memset(b.data + TINY_FIRST_WEIGHT + 5 * row, 0, row);
    struct job j = job_start(&job_shapes[0]);
    j.o.input = tiny_file(b.data, b.size);
    j.o.dry_run = j.o.tensor_losses = true;
    j.o.type = "int4";
    job_work(&j);
    cr_assert(j.r.tensors[0].zero_rows == 1 && j.r.tensors[0].first_zero_row == 5);
    cr_assert_str_eq(j.r.method, "");
    cr_assert_float_eq(j.r.tensors[1].snr_db, 0.0, 0.0, "nothing was quantized");
    memcpy(b.data + TINY_FIRST_WEIGHT + 7 * row + 8, &nan, 4);
    j.o.input = tiny_file(b.data, b.size);
    job_refused(&j.o, RUVM_ERR_CORRUPT, "embed: row 7");
    j.o.tensor_losses = false; /* the sizes alone need no weights */
    job_work(&j);
    cr_assert_eq(j.r.tensors[0].zero_rows, 0);
    ruvm_buffer_free(&b);
    job_finish(&j);
}

/* What an option asks for, and for a model of that shape. */
static bool has_losses(const struct job *j)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < j->r.n_tensors; i++)
        sum += j->r.tensors[i].loss_share;
    return sum > 0.0;
}

static int count_moments(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    *(int *)user += strcmp(stage, "moments") == 0;
    return 0;
}

Test(quantize, shares_of_the_loss_are_for_who_asks)
{
    struct job j = job_start(&job_shapes[0]);
    int n = 0;
    j.o.progress = (struct ruvm_progress){count_moments, &n};
    job_work(&j);
    cr_assert(!has_losses(&j) && n == 0);
    j.o.tensor_losses = true;
    job_work(&j);
    cr_assert(has_losses(&j) && n > 0 && !j.r.losses_left_out);
    job_finish(&j);
}

Test(quantize, shares_that_would_take_too_long_are_left_out)
{
    static const struct tiny_shape wide = {.dim = 8,
                                           .hidden = 6000, /* 36 million moments */
                                           .layers = 1,
                                           .heads = 1,
                                           .kv_heads = 1,
                                           .vocab = 20,
                                           .context = 16,
                                           .seed = 5};
    struct job j = job_start(&wide);
    j.o.tensor_losses = j.o.no_quality = true;
    job_work(&j);
    cr_assert(!has_losses(&j) && j.r.losses_left_out);
    job_finish(&j);
}

static int refuse(void *user, const struct ruvm_quantize_result *r)
{
    const char *path = user;
    cr_assert(r->image_bytes > 0 && access(path, F_OK) != 0, "before the image");
    return 1;
}

Test(quantize, nothing_is_written_when_the_caller_says_so)
{
    struct job j = job_start(&job_shapes[0]);
    char path[512];
    snprintf(path, sizeof path, "%s", j.o.output);
    j.o.no_quality = true;
    j.o.before_write = refuse;
    j.o.before_write_user = path;
    job_refused(&j.o, RUVM_ERR_IO, "before the image was written");
    job_finish(&j);
}

static int stop_when_drawing(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    cr_assert(strcmp(stage, "sample") != 0 && strcmp(stage, "calibrate") != 0, "%s", stage);
    return 0;
}

Test(quantize, what_surely_fails_is_refused_before_any_text_is_drawn)
{
    static const uint32_t far[] = {3};
    struct job_files f = job_files(&job_small);
    struct ruvm_quantize_options o = job_options(f), bad;
    o.progress.report = stop_when_drawing;
    bad = o, bad.prune_heads = 3;
    job_refused(&bad, RUVM_ERR_ARG, "key/value heads");
    bad = o, bad.prune_ffn = 52;
    job_refused(&bad, RUVM_ERR_ARG, "feed-forward units");
    bad = o, bad.drop_layers = far, bad.n_drop_layers = 1;
    job_refused(&bad, RUVM_ERR_ARG, "layer 3");
    bad = o, bad.vocab_prune = true, bad.tokenizer = NULL;
    job_refused(&bad, RUVM_ERR_ARG, "tokenizer");
    bad = o, bad.max_bytes = 100;
    job_refused(&bad, RUVM_ERR_UNSUPPORTED, "100 bytes are too few");
    bad = o, bad.distill_steps = 1, bad.checkpoint = f.tokenizer;
    job_refused(&bad, RUVM_ERR_CORRUPT, "no checkpoint");
    job_remove(f);
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
    job_refused(&o, RUVM_ERR_UNSUPPORTED, "scale");
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
    static char stages[][32] = {
        "quantize", "calibrate", "sample",  "measure", "write",           "calibrate on the text",
        "moments",  "search",    "distill", "prune",   "measure pruning",
    };
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        struct job j = job_start(&job_shapes[0]);
        j.o.progress = (struct ruvm_progress){stop_in_stage, stages[i]};
        j.o.calib_text = i >= 5 ? job_text() : NULL;
        j.o.max_bytes = i >= 5 ? 1 << 20 : 0;
        j.o.distill_steps = i >= 5 ? 2 : 0;
        j.o.prune_ffn = i >= 9 ? 2 : 0;
        job_refused(&j.o, RUVM_ERR_IO, "interrupted");
        job_finish(&j);
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
