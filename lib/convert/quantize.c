/* The verb quantize: a foreign float model becomes a RUVM image, and says what it lost.
 *
 * One command's life, top to bottom: open the source, quantize the weights,
 * watch the float model write samples (calibration), compose the image, let it
 * compute its own golden vectors, measure it against the float model on other
 * samples, and only then write the file. Nothing is written after a failure.
 */
#define _POSIX_C_SOURCE 200809L /* access */
#include "lib/ruvm_tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/convert/golden.h"
#include "lib/convert/greedy.h"
#include "lib/convert/image_build.h"
#include "lib/convert/source.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/measure/quality.h"

enum {
    /* More than these teach nothing new; a large model gets fewer, for the time it takes. */
    CALIBRATION_TOKENS_MIN = 2048,
    CALIBRATION_TOKENS_MAX = 8192,
    DEFAULT_EVAL_TOKENS = 16384,
    SAMPLE_TOKENS = 96, /* of the texts shown side by side */
};

/* Turns the seed of the calibration into an unrelated one for the measurement. */
#define EVAL_SEED 0xD1B54A32D192ED03u

struct job {
    const struct ruvm_quantize_options *o;
    struct ruvm_quantize_result *r;
    struct ruvm_error *err;
    struct ruvm_source source;
    struct ruvm_reference *reference; /* NULL in a dry run */
    struct ruvm_image_build build;
    struct ruvm_buffer image;
};

/* ---- options --------------------------------------------------------------- */

static int check_name(const char *name, struct ruvm_error *err)
{
    const uint8_t *c = (const uint8_t *)name, *end = c ? c + strlen(name) : c;
    for (uint32_t n; c < end; c += n) {
        n = ruvm_utf8_bytes(c, end);
        if (n == 0 || *c < ' ' || *c == 0x7F)
            return ruvm_fail(err, RUVM_ERR_ARG,
                             "the name of the model holds a control character or is not UTF-8; "
                             "use text of one line");
    }
    return RUVM_OK;
}

static int check_options(const struct ruvm_quantize_options *o, struct ruvm_error *err)
{
    if (!o->input)
        return ruvm_fail(err, RUVM_ERR_ARG, "no model file is given");
    if (o->type && strcmp(o->type, "int8") != 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "type \"%s\" is not known; use int8", o->type);
    if (o->eval_text && !o->tokenizer)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "%s: a text needs a tokenizer to be read; give the "
                         "model's tokenizer.bin as well",
                         o->eval_text);
    if (o->eval_text && access(o->eval_text, R_OK) != 0) /* not after minutes of work */
        return ruvm_fail(err, RUVM_ERR_IO, "%s: cannot read: %s", o->eval_text, strerror(errno));
    return check_name(o->name, err);
}

static uint64_t seed_of(const struct job *j)
{
    return j->o->seed ? j->o->seed : 1;
}

/* ---- steps ----------------------------------------------------------------- */

static int open_source(struct job *j)
{
    struct ruvm_source_options o = {.path = j->o->input,
                                    .tokenizer = j->o->tokenizer,
                                    .context = j->o->context,
                                    .v0_scale = j->o->v0_scale};
    int rc = ruvm_source_open(&j->source, &o, j->err);
    if (rc == RUVM_OK && !j->o->dry_run)
        rc = ruvm_reference_open(&j->reference, &j->source.arena, &j->source.model,
                                 j->source.model.context, j->err);
    return rc;
}

static void add_meta(struct job *j)
{
    struct ruvm_buffer *out = &j->build.part[RUVM_BUILD_META];
    const struct ruvm_map *file = &j->source.file;
    if (j->o->name)
        ruvm_buffer_printf(out, "name=%s\n", j->o->name);
    ruvm_buffer_printf(out, "source_bytes=%zu\n", file->size);
    ruvm_buffer_printf(out, "source_crc32=%08x\n", ruvm_crc32(0, file->data, file->size));
    ruvm_buffer_printf(out, "source_format=%s\n", j->source.tensors.format);
}

static struct ruvm_samples_options samples_of(const struct job *j, const char *stage, uint64_t n,
                                              uint64_t seed)
{
    return (struct ruvm_samples_options){
        .n_positions = n,
        .seed = seed,
        .start = ruvm_source_start(&j->source),
        .end = j->source.has_vocab ? j->source.vocab.eos : RUVM_NO_TOKEN,
        .context = j->source.model.context,
        .progress = j->o->progress,
        .stage = stage,
    };
}

static uint32_t calibration_tokens(const struct ruvm_model *m)
{
    uint64_t weights = (uint64_t)m->n_layers * m->dim * (m->hidden + (uint64_t)m->dim);
    uint64_t n = ((uint64_t)1 << 32) / (weights + 1);
    return n < CALIBRATION_TOKENS_MIN   ? CALIBRATION_TOKENS_MIN
           : n > CALIBRATION_TOKENS_MAX ? CALIBRATION_TOKENS_MAX
                                        : (uint32_t)n;
}

static int calibrate(struct job *j)
{
    struct ruvm_calibration c;
    struct ruvm_samples_options o =
        samples_of(j, "calibrate", calibration_tokens(&j->source.model), seed_of(j));
    o.fill_context = true; /* a slow pair of channels turns only late in a context */
    int rc = ruvm_calibrate_init(&c, &j->source.arena, &j->source.model, j->err);
    if (rc == RUVM_OK && j->reference)
        rc = ruvm_calibrate_run(&c, &j->source.arena, j->reference, &j->source.model, &o, j->err);
    if (rc == RUVM_OK)
        ruvm_image_build_ranges(&j->build, &c);
    return rc;
}

static int build_parts(struct job *j)
{
    struct ruvm_arena *arena = &j->source.arena;
    int rc = ruvm_image_build_open(&j->build, arena, &j->source.model, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_image_build_weights(&j->build, arena, &j->o->progress, j->err);
    if (rc == RUVM_OK && j->source.has_vocab)
        rc = ruvm_tokenizer_build(&j->build.part[RUVM_BUILD_TOKN], &j->source.vocab, j->err);
    if (rc == RUVM_OK)
        rc = calibrate(j);
    add_meta(j);
    return rc;
}

/* Written, then read back as anyone will read it: what is wrong now is our fault. */
static int compose(struct job *j)
{
    struct ruvm_image img;
    struct ruvm_image_fault fault = {0};
    ruvm_buffer_free(&j->image);
    int rc = ruvm_image_build_write(&j->image, &j->build, j->err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_image_open(&img, j->image.data, j->image.size, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(j->err, rc, "the image made is not valid at byte %u: %s: %s", fault.off,
                         fault.section, fault.what ? fault.what : ruvm_status_text(rc));
    return RUVM_OK;
}

/* Golden vectors come from an image that runs, and then belong to it. */
static int add_golden(struct job *j)
{
    int rc = ruvm_golden_build(&j->build.part[RUVM_BUILD_GOLD], j->image.data, j->image.size,
                               !j->o->dry_run, &j->r->n_golden_tokens, j->err);
    return rc == RUVM_OK ? compose(j) : rc;
}

static int find_text(struct job *j, struct ruvm_text *text)
{
    uint64_t n = j->o->eval_tokens ? j->o->eval_tokens : DEFAULT_EVAL_TOKENS;
    struct ruvm_tokenizer tok;
    if (!j->o->eval_text) {
        struct ruvm_samples_options o = samples_of(j, "sample", n, seed_of(j) ^ EVAL_SEED);
        return ruvm_samples_draw(text, &j->source.arena, j->reference, j->source.model.vocab, &o,
                                 j->err);
    }
    struct ruvm_text_options o = {
        .tokenizer = &tok, .context = j->source.model.context, .max_positions = n};
    int rc = ruvm_tokenizer_init(&tok, j->image.data, j->image.size);
    if (rc != RUVM_OK)
        return ruvm_fail(j->err, rc, "the image made has no tokenizer");
    return ruvm_text_read(text, &j->source.arena, j->o->eval_text, &o, j->err);
}

static int measure(struct job *j)
{
    struct ruvm_text text;
    int rc = find_text(j, &text);
    if (rc != RUVM_OK)
        return rc;
    struct ruvm_quality_options o = {.image = j->image.data,
                                     .image_bytes = j->image.size,
                                     .text = &text,
                                     .reference = j->reference,
                                     .progress = j->o->progress};
    rc = ruvm_quality_measure(&j->r->quality, &o, j->err);
    j->r->has_quality = rc == RUVM_OK;
    return rc;
}

/* The same prompt continued by both, for a person to compare. */
static int show_samples(struct job *j)
{
    uint16_t ids[SAMPLE_TOKENS];
    struct ruvm_tokenizer tok;
    uint32_t context = j->source.model.context, vocab = j->source.model.vocab;
    struct ruvm_greedy g = {.ids = ids,
                            .n_ids = context + 1 < SAMPLE_TOKENS ? context + 1 : SAMPLE_TOKENS};
    if (ruvm_tokenizer_init(&tok, j->image.data, j->image.size) != RUVM_OK)
        return RUVM_OK;
    g.n_prompt = ruvm_greedy_prompt(ids, g.n_ids - 1, &tok, vocab);
    ruvm_greedy_reference(&g, j->reference, vocab);
    ruvm_greedy_text(j->r->sample_float, sizeof j->r->sample_float, &tok, &g);
    int rc = ruvm_greedy_image(&g, j->image.data, j->image.size, j->err);
    if (rc == RUVM_OK)
        ruvm_greedy_text(j->r->sample_image, sizeof j->r->sample_image, &tok, &g);
    return rc;
}

/* ---- report ---------------------------------------------------------------- */

static uint64_t stored_bytes(const struct ruvm_view *v)
{
    uint64_t n = v->n_dims == 2 ? v->dims[0] * v->dims[1] : v->dims[0];
    return v->bytes + (v->scales && v->group ? n / v->group * 4 : 0);
}

static struct ruvm_quantize_tensor describe(const struct ruvm_image_build *b, uint32_t i)
{
    const struct ruvm_write_tensor *t = &b->tensors[i];
    struct ruvm_quantize_tensor d = {.rows = t->rows, .cols = t->cols};
    const struct ruvm_view *view = ruvm_model_tensor(b->model, t->kind, t->layer, d.name);
    d.source_bytes = stored_bytes(view);
    d.bytes = (uint64_t)t->data_bytes + t->scale_bytes;
    d.bits_per_weight = 8.0 * (double)d.bytes / ((double)t->rows * t->cols);
    d.snr_db = b->losses[i].snr_db;
    d.worst_row_snr_db = b->losses[i].worst_row_snr_db;
    d.worst_row = b->losses[i].worst_row;
    return d;
}

static int report(struct job *j)
{
    struct ruvm_quantize_result *r = j->r;
    const struct ruvm_image_build *b = &j->build;
    uint64_t weights = 0, bytes = 0;
    r->tensors = calloc(b->n_tensors, sizeof *r->tensors);
    if (!r->tensors)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the report");
    r->n_tensors = b->n_tensors;
    for (uint32_t i = 0; i < b->n_tensors; i++) {
        r->tensors[i] = describe(b, i);
        weights += (uint64_t)b->tensors[i].rows * b->tensors[i].cols;
        bytes += r->tensors[i].bytes;
    }
    r->parameters = weights + (2 * (uint64_t)b->model->n_layers + 1) * b->model->dim;
    r->bits_per_weight = 8.0 * (double)bytes / (double)weights;
    r->source_bytes = j->source.file.size;
    r->image_bytes = j->image.size;
    snprintf(r->source_format, sizeof r->source_format, "%s", j->source.tensors.format);
    return RUVM_OK;
}

/* ---- the verb --------------------------------------------------------------- */

static int run(struct job *j)
{
    int rc = open_source(j);
    if (rc == RUVM_OK)
        rc = build_parts(j);
    if (rc == RUVM_OK)
        rc = compose(j);
    if (rc == RUVM_OK)
        rc = add_golden(j);
    if (rc == RUVM_OK && !j->o->dry_run && !j->o->no_quality)
        rc = measure(j);
    if (rc == RUVM_OK && !j->o->dry_run && !j->o->no_quality)
        rc = show_samples(j);
    if (rc == RUVM_OK)
        rc = report(j);
    if (rc == RUVM_OK && !j->o->dry_run && j->o->output)
        rc = ruvm_file_write(j->o->output, j->image.data, j->image.size, j->err);
    return rc;
}

int ruvm_quantize(const struct ruvm_quantize_options *o, struct ruvm_quantize_result *r,
                  struct ruvm_error *err)
{
    struct job j = {.o = o, .r = r, .err = err};
    *r = (struct ruvm_quantize_result){0};
    int rc = check_options(o, err);
    if (rc != RUVM_OK)
        return rc;
    rc = run(&j);
    ruvm_buffer_free(&j.image);
    ruvm_image_build_close(&j.build);
    ruvm_source_close(&j.source);
    if (rc != RUVM_OK)
        ruvm_quantize_free(r);
    return rc;
}

void ruvm_quantize_free(struct ruvm_quantize_result *r)
{
    free(r->tensors);
    *r = (struct ruvm_quantize_result){0};
}
