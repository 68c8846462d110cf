/* Tiny models through the verb quantize, and what comes of them. */
#define _POSIX_C_SOURCE 200809L
#include "tests/convert/quantize_tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_codes.h"
#include "lib/convert/engine_open.h"
#include "lib/import/source.h"

const struct tiny_shape job_shapes[] = {
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

const struct tiny_shape job_small = {.dim = 12,
                                     .hidden = 52,
                                     .layers = 3,
                                     .heads = 6,
                                     .kv_heads = 3,
                                     .vocab = 50,
                                     .context = 16,
                                     .untied = true,
                                     .seed = 11};

struct job_files job_files(const struct tiny_shape *s)
{
    struct ruvm_buffer model = tiny_checkpoint(s), tokenizer = tiny_tokenizer(s->vocab);
    struct job_files f = {tiny_file(model.data, model.size),
                          tiny_file(tokenizer.data, tokenizer.size), tiny_path()};
    ruvm_buffer_free(&model);
    ruvm_buffer_free(&tokenizer);
    return f;
}

void job_remove(struct job_files f)
{
    remove(f.model);
    remove(f.tokenizer);
    remove(f.output);
}

struct ruvm_quantize_options job_options(struct job_files f)
{
    return (struct ruvm_quantize_options){.input = f.model,
                                          .tokenizer = f.tokenizer,
                                          .output = f.output,
                                          .eval_tokens = 200,
                                          .name = "tiny"};
}

struct job job_start(const struct tiny_shape *shape)
{
    struct job j = {.f = job_files(shape)};
    j.o = job_options(j.f);
    return j;
}

void job_forget(struct job *j)
{
    ruvm_quantize_free(&j->r);
    ruvm_file_unmap(&j->map);
    j->map = (struct ruvm_map){0};
}

void job_work(struct job *j)
{
    job_forget(j);
    j->err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_quantize(&j->o, &j->r, &j->err), RUVM_OK, "%s", j->err.text);
    if (j->o.dry_run)
        return;
    cr_assert_eq(ruvm_file_map(&j->map, j->o.output, NULL), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&j->img, j->map.data, j->map.size, NULL), RUVM_OK);
    cr_assert_eq(j->r.image_bytes, j->map.size);
}

void job_finish(struct job *j)
{
    job_forget(j);
    job_remove(j->f);
}

void job_check_golden(const struct ruvm_map *map, uint32_t n_tokens)
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

struct ruvm_buffer job_bytes(const struct job *j)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_bytes(&b, j->map.data, j->map.size);
    return b;
}

bool job_is_same(const struct job *j, const struct ruvm_buffer *b)
{
    return j->map.size == b->size && memcmp(j->map.data, b->data, b->size) == 0;
}

const char *job_text(void)
{
    static const char text[] =
        "a dog was in a log on an odd day and so did she go to see it\n"
        "the hen had a red hat and ran into the sea with a tin of tea\n";
    return tiny_file(text, sizeof text - 1);
}

struct job job_start_with_text(const struct tiny_shape *shape, const char *type)
{
    struct job j = job_start(shape);
    j.o.calib_text = job_text();
    j.o.type = type;
    return j;
}

void job_refused(const struct ruvm_quantize_options *o, int code, const char *word)
{
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    int rc = ruvm_quantize(o, &r, &err);
    cr_assert_eq(rc, code, "%d instead of %d: %s", rc, code, err.text);
    cr_assert_not_null(strstr(err.text, word), "\"%s\" lacks \"%s\"", err.text, word);
    cr_assert_null(r.tensors);
    cr_assert_neq(access(o->output, F_OK), 0, "a file was left after: %s", err.text);
}

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

void job_check_tensors(const struct job *j)
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
