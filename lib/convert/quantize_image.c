/* The image of a choice of types: weights, tokenizer, ranges of the cache, the file. */
#include "formats/ruvm_read.h"
#include "lib/convert/golden.h"
#include "lib/convert/quantize_job.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/ruvm.h"

/* More than these teach nothing new. */
enum { CALIBRATION_TOKENS_MAX = 8192 };

static bool all_int8(const struct ruvm_quantize_job *j)
{
    for (uint32_t i = 0; i < j->n_tensors; i++)
        if (j->schemes[i].type != RUVM_TYPE_INT8)
            return false;
    return true;
}

static void close_image(struct ruvm_quantize_job *j)
{
    ruvm_image_build_close(&j->build);
    j->image.data = NULL;
    j->image.size = 0;
    ruvm_arena_free(&j->work);
}

/* Zeros, so that the image can be read although nothing was quantized. */
static int build_zeros(struct ruvm_quantize_job *j)
{
    bool ok = true;
    for (uint32_t i = 0; i < j->build.n_tensors && ok; i++) {
        const struct ruvm_write_tensor *t = &j->build.tensors[i];
        struct ruvm_arena arena = {0};
        struct ruvm_quant_matrix q;
        int8_t *level = ruvm_arena_alloc(&arena, t->cols, 1);
        ok = level && ruvm_quant_matrix_open_sliced(&q, &arena, j->schemes[i], t->rows, t->cols);
        for (uint32_t r = 0; ok && r < t->rows; r++) {
            struct ruvm_quant_matrix row = ruvm_quant_matrix_slice(&q, r, 1, level);
            ruvm_image_build_rows(&j->build, i, r, &row);
        }
        ruvm_arena_free(&arena);
    }
    return ok ? RUVM_OK : ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the weights");
}

static int build_weights(struct ruvm_quantize_job *j, bool sizes_only)
{
    struct ruvm_weights_options o = {
        .method = j->method, .moments = j->moments, .progress = j->o->progress};
    int rc = RUVM_OK;
    j->has_student = (!all_int8(j) || j->o->distill_steps) && !sizes_only;
    j->student_is_packed = j->pool && !j->o->distill_steps;
    o.pool = j->pool;
    if (j->has_student)
        rc = ruvm_student_open(&j->student, &j->work, &j->model, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_quantize_blame(
            j, ruvm_image_build_open(&j->build, &j->work, &j->model, j->schemes, j->err));
    j->build.k_bits = (uint8_t)(j->o->k_bits ? j->o->k_bits : 8);
    j->build.v_bits = (uint8_t)(j->o->v_bits ? j->o->v_bits : 8);
    if (rc != RUVM_OK)
        return rc;
    if (sizes_only)
        return build_zeros(j);
    struct ruvm_student *student = j->has_student && !j->student_is_packed ? &j->student : NULL;
    return ruvm_weights_quantize(&j->build, student, j->losses, &o, j->err);
}

static void add_meta(struct ruvm_quantize_job *j)
{
    struct ruvm_buffer *out = &j->build.part[RUVM_BUILD_META];
    const struct ruvm_container *c = &j->source.container;
    if (j->o->name)
        ruvm_buffer_printf(out, "name=%s\n", j->o->name);
    ruvm_buffer_printf(out, "source_bytes=%llu\n", (unsigned long long)ruvm_container_bytes(c));
    ruvm_buffer_printf(out, "source_crc32=%08x\n", j->o->dry_run ? 0 : ruvm_container_crc32(c));
    ruvm_buffer_printf(out, "source_format=%s\n", j->source.tensors.format);
}

/* ---- ranges -------------------------------------------------------------------- */

/* The weights of a large model are read where they are packed, before the file is written. */
static int point_student(struct ruvm_quantize_job *j)
{
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < j->build.n_tensors && rc == RUVM_OK; i++) {
        const struct ruvm_write_tensor *t = &j->build.tensors[i];
        const struct ruvm_student_packed p = {.scheme = j->schemes[i],
                                              .rows = t->rows,
                                              .cols = t->cols,
                                              .scale_exp = t->scale_exp,
                                              .data = ruvm_image_build_data(&j->build, i),
                                              .scales = ruvm_image_build_scales(&j->build, i)};
        rc = ruvm_student_packed(&j->student, t->kind, t->layer, &p, j->err);
    }
    return rc;
}

/* What is stored between tokens is what the quantized weights make of it. */
static int open_watched(struct ruvm_quantize_job *j, struct ruvm_reference **watched)
{
    bool is_source = j->model.layers == j->source.model.layers;
    *watched = j->reference;
    if (!j->has_student && is_source)
        return RUVM_OK;
    const struct ruvm_model *m = j->has_student ? &j->student.model : &j->model;
    int rc = j->has_student && j->student_is_packed ? point_student(j) : RUVM_OK;
    return rc == RUVM_OK ? ruvm_quantize_reference(j, watched, &j->work, m) : rc;
}

/* The same part of the text for all images of a call. */
static int watch_text(struct ruvm_quantize_job *j, struct ruvm_calibration *c,
                      struct ruvm_reference *watched)
{
    if (!j->excerpt) {
        struct ruvm_text *part = ruvm_arena_alloc(&j->source.arena, 1, sizeof *part);
        if (!part)
            return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a text");
        int rc =
            ruvm_text_spread(part, &j->source.arena, j->calibration,
                             ruvm_quantize_positions(j, &j->model, CALIBRATION_TOKENS_MAX), j->err);
        if (rc != RUVM_OK)
            return rc;
        j->excerpt = part;
    }
    return ruvm_calibrate_read(c, watched, j->excerpt, &j->o->progress, j->err);
}

static int watch(struct ruvm_quantize_job *j, struct ruvm_calibration *c)
{
    struct ruvm_reference *watched;
    struct ruvm_samples_options o = ruvm_quantize_samples(
        j, "calibrate", ruvm_quantize_positions(j, &j->model, CALIBRATION_TOKENS_MAX),
        ruvm_quantize_seed(j));
    o.fill_context = true; /* a slow pair of channels turns only late in a context */
    int rc = open_watched(j, &watched);
    if (rc == RUVM_OK)
        rc =
            ruvm_quantize_blame(j, ruvm_calibrate_run(c, &j->work, watched, &j->model, &o, j->err));
    if (rc == RUVM_OK && j->calibration)
        rc = watch_text(j, c, watched);
    return rc;
}

static int calibrate(struct ruvm_quantize_job *j, bool sizes_only)
{
    struct ruvm_calibration c;
    int rc = ruvm_calibrate_init(&c, &j->work, &j->model, j->err);
    if (rc == RUVM_OK && !sizes_only)
        rc = watch(j, &c);
    if (rc == RUVM_OK)
        ruvm_image_build_ranges(&j->build, &c);
    return rc;
}

/* ---- the file ------------------------------------------------------------------ */

/* Written, then read back as anyone will read it: what is wrong now is our fault. */
static int write_image(struct ruvm_quantize_job *j)
{
    struct ruvm_image img;
    struct ruvm_image_fault fault = {0};
    int rc = ruvm_image_build_write(&j->build, j->err);
    if (rc != RUVM_OK)
        return rc;
    j->image.data = j->build.file.data;
    j->image.size = j->build.file.size;
    if (j->o->dry_run)
        return RUVM_OK; /* zeros */
    rc = ruvm_image_open(&img, j->image.data, j->image.size, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(j->err, rc, "the image made is not valid at byte %u: %s: %s", fault.off,
                         fault.section, fault.what ? fault.what : ruvm_status_text(rc));
    return RUVM_OK;
}

int ruvm_quantize_compose(struct ruvm_quantize_job *j, bool sizes_only)
{
    ruvm_buffer_free(&j->build.part[RUVM_BUILD_GOLD]);
    int rc = calibrate(j, sizes_only);
    return rc == RUVM_OK ? write_image(j) : rc;
}

int ruvm_quantize_image(struct ruvm_quantize_job *j, bool sizes_only)
{
    close_image(j);
    int rc = build_weights(j, sizes_only);
    if (rc == RUVM_OK && j->source.has_vocab)
        rc = ruvm_tokenizer_build(&j->build.part[RUVM_BUILD_TOKN], &j->source.vocab, j->err);
    add_meta(j);
    return rc == RUVM_OK ? ruvm_quantize_compose(j, sizes_only) : rc;
}

/* Golden vectors come from an image that runs, and then belong to it. */
int ruvm_quantize_golden(struct ruvm_quantize_job *j)
{
    ruvm_buffer_free(&j->build.part[RUVM_BUILD_GOLD]);
    int rc = ruvm_golden_build(&j->build.part[RUVM_BUILD_GOLD], j->image.data, j->image.size,
                               !j->o->dry_run, &j->r->n_golden_tokens, j->err);
    if (rc == RUVM_OK && j->o->dry_run) {
        j->image.size = (size_t)ruvm_image_build_bytes(&j->build, j->schemes);
        return RUVM_OK; /* which nobody reads */
    }
    return rc == RUVM_OK ? write_image(j) : rc;
}
