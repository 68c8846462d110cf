/* What the image became, tensor by tensor and as a whole; and what it takes to tell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/convert/quantize_job.h"

static uint64_t stored_bytes(const struct ruvm_view *v)
{
    uint64_t n = v->n_dims == 2 ? v->dims[0] * v->dims[1] : v->dims[0];
    return v->bytes + (v->scales && v->group ? n / v->group * 4 : 0);
}

static struct ruvm_quantize_tensor describe(const struct ruvm_quantize_job *j, uint32_t i)
{
    const struct ruvm_write_tensor *t = &j->build.tensors[i];
    const struct ruvm_weights_loss *loss = &j->losses[i];
    struct ruvm_quantize_tensor d = {.rows = t->rows, .cols = t->cols};
    const struct ruvm_view *view = ruvm_model_tensor(j->build.model, t->kind, t->layer, d.name);
    ruvm_scheme_write(d.type, j->schemes[i]);
    d.source_bytes = stored_bytes(view);
    d.bytes = (uint64_t)t->data_bytes + t->scale_bytes;
    const struct ruvm_scheme int8 = {RUVM_TYPE_INT8, 0};
    d.bytes_int8 = ruvm_scheme_data_bytes(int8, t->rows, t->cols) +
                   ruvm_scheme_scale_bytes(int8, t->rows, t->cols);
    d.bits_per_weight = 8.0 * (double)d.bytes / ((double)t->rows * t->cols);
    d.snr_db = loss->snr.snr_db;
    d.worst_row_snr_db = loss->snr.worst_row_snr_db;
    d.worst_row = loss->snr.worst_row;
    d.zero_rows = loss->snr.zero_rows;
    d.first_zero_row = loss->snr.first_zero_row;
    d.kl_estimate = loss->kl;
    return d;
}

/* Of the tensors that are not INT8, which no method changes much. */
static const char *method_name(const struct ruvm_quantize_job *j)
{
    static const char *const names[] = {
        [RUVM_METHOD_RTN] = "rtn", [RUVM_METHOD_MSE] = "mse", [RUVM_METHOD_GPTQ] = "gptq"};
    if (j->r->has_distill)
        return "distill";
    bool large = j->method == RUVM_METHOD_AUTO_LARGE;
    if (j->method != RUVM_METHOD_AUTO && !large)
        return names[j->method];
    for (uint32_t i = 0; i < j->n_tensors; i++)
        if (ruvm_weights_uses_moments(RUVM_METHOD_AUTO, j->schemes[i].type))
            return names[large ? RUVM_METHOD_MSE : RUVM_METHOD_GPTQ];
    return names[RUVM_METHOD_RTN];
}

/* ---- the estimate of losses ------------------------------------------------------- */

/* Multiply-adds, about 2 in a nanosecond, and values kept in each slot of the moments. */
#define SHARES_WORK ((uint64_t)20000000000)
#define SHARES_WORK_MOST (10 * SHARES_WORK)
enum {
    SHARES_TOKENS_MIN = 256,
    SHARES_TOKENS_MAX = 4096,
    SHARES_VALUES_MOST = 1 << 25, /* a gibibyte in all slots */
};

/* A text is run forward and back, the moments of each matrix are summed up meanwhile, and
 * its loss is taken from them in the end. */
uint32_t ruvm_quantize_share_positions(const struct ruvm_quantize_job *j)
{
    uint64_t pass = 0, values = 0, losses = 0;
    for (uint32_t i = 0; i < j->n_tensors; i++) {
        uint64_t rows = j->tensors[i].rows, cols = j->tensors[i].cols;
        uint64_t rows2 = rows <= RUVM_MOMENTS_MAX_ROWS ? rows * rows : 0;
        pass += 3 * rows * cols;
        values += cols * cols + rows2;
        losses += rows * cols * cols + rows2 * cols;
    }
    uint64_t position = pass + values;
    if (values > SHARES_VALUES_MOST || losses + SHARES_TOKENS_MIN * position > SHARES_WORK_MOST)
        return 0;
    uint64_t n = SHARES_WORK / position;
    return n < SHARES_TOKENS_MIN   ? SHARES_TOKENS_MIN
           : n > SHARES_TOKENS_MAX ? SHARES_TOKENS_MAX
                                   : (uint32_t)n;
}

/* ---- the report --------------------------------------------------------------------- */

static void share_losses(struct ruvm_quantize_result *r)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < r->n_tensors; i++)
        sum += r->tensors[i].kl_estimate;
    for (uint32_t i = 0; i < r->n_tensors && sum > 0.0; i++)
        r->tensors[i].loss_share = r->tensors[i].kl_estimate / sum;
}

/* Who did not ask for an image without words should hear of it before it is on a chip. */
static void note_tokenizer(struct ruvm_quantize_job *j)
{
    const char *note = "";
    if (j->source.has_vocab)
        note = j->source.vocab.notes ? j->source.vocab.notes : "";
    else if (!j->o->tokenizer)
        note = "none: the image takes and gives token ids only; --tokenizer gives it one";
    snprintf(j->r->tokenizer_notes, sizeof j->r->tokenizer_notes, "%s", note);
}

int ruvm_quantize_report(struct ruvm_quantize_job *j)
{
    struct ruvm_quantize_result *r = j->r;
    const struct ruvm_image_build *b = &j->build;
    uint64_t weights = 0, bytes = 0;
    r->tensors = calloc(b->n_tensors, sizeof *r->tensors);
    if (!r->tensors)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the report");
    r->n_tensors = b->n_tensors;
    note_tokenizer(j);
    for (uint32_t i = 0; i < b->n_tensors; i++) {
        r->tensors[i] = describe(j, i);
        weights += (uint64_t)b->tensors[i].rows * b->tensors[i].cols;
        bytes += r->tensors[i].bytes;
    }
    share_losses(r);
    r->parameters = ruvm_model_parameters(b->model);
    r->bits_per_weight = 8.0 * (double)bytes / (double)weights;
    r->source_bytes = ruvm_container_bytes(&j->source.container);
    r->image_bytes = j->image.size;
    r->k_bits = b->k_bits;
    r->v_bits = b->v_bits;
    ruvm_scheme_summary(r->types, j->schemes, b->n_tensors);
    snprintf(r->method, sizeof r->method, "%s", j->o->dry_run ? "" : method_name(j));
    snprintf(r->source_format, sizeof r->source_format, "%s", j->source.tensors.format);
    return RUVM_OK;
}
