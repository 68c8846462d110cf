/* The verb quantize of classifiers: an ONNX graph becomes an image, and says what it lost.
 *
 * Open the graph as layers, read data if there is some, find where inputs lie, compose the
 * image, run it beside the float model, and only then write it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/crc32.h"
#include "lib/base/random.h"
#include "lib/mlp/classifier.h"
#include "lib/mlp/compose.h"
#include "lib/mlp/data.h"
#include "lib/mlp/graph.h"

enum { RANDOM_ROWS = 1000 };

struct job {
    const struct ruvm_classifier_quantize_options *o;
    struct ruvm_classifier_quantize_result *r;
    struct ruvm_error *err;
    struct ruvm_arena arena;
    struct ruvm_onnx onnx;
    bool has_onnx; /* is open */
    struct ruvm_layers layers;
    struct ruvm_map labels;   /* as the file has them; size 0: none */
    struct ruvm_buffer lines; /* of the labels, as the image has them */
    struct ruvm_data data;
    bool has_data;
    struct ruvm_inputs inputs;
    struct ruvm_scheme *schemes;
    struct ruvm_quant_loss *loss;
    struct ruvm_buffer meta, image;
};

static int no_memory(struct job *j)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short");
}

/* ---- labels and data ------------------------------------------------------------------- */

/* A name a line, for every class. */
static int check_label(struct job *j, uint32_t line, const char *p, size_t n)
{
    const uint8_t *at = (const uint8_t *)p, *end = at + n;
    bool ok = n > 0;
    for (uint32_t bytes; ok && at < end; at += bytes) {
        bytes = ruvm_utf8_bytes(at, end);
        ok = bytes > 0 && *at >= ' ' && *at != 0x7F;
    }
    return ok ? RUVM_OK
              : ruvm_fail(j->err, RUVM_ERR_CORRUPT,
                          "%s: line %u: a name is text in UTF-8 without control characters, and "
                          "not empty",
                          j->o->labels, line);
}

static int read_labels(struct job *j)
{
    uint32_t n = ruvm_layers_outputs(&j->layers), line = 0;
    uint32_t n_classes = n == 1 ? 2 : n;
    if (!j->o->labels)
        return RUVM_OK;
    int rc = ruvm_file_map(&j->labels, j->o->labels, j->err);
    if (rc != RUVM_OK)
        return rc;
    const char *p = (const char *)j->labels.data, *end = p + j->labels.size;
    while (p < end && rc == RUVM_OK) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        size_t bytes = (size_t)(stop - p);
        bytes -= bytes > 0 && p[bytes - 1] == '\r';
        rc = check_label(j, ++line, p, bytes);
        ruvm_buffer_bytes(&j->lines, p, bytes);
        ruvm_buffer_u8(&j->lines, '\n');
        p = stop + (stop < end);
    }
    if (rc == RUVM_OK && line != n_classes)
        rc = ruvm_fail(j->err, RUVM_ERR_MISMATCH, "%s: has %u names, but there are %u classes",
                       j->o->labels, line, n_classes);
    return rc == RUVM_OK && j->lines.failed ? no_memory(j) : rc;
}

static int read_data(struct job *j)
{
    uint32_t n = ruvm_layers_outputs(&j->layers);
    const struct ruvm_data_classes classes = {
        .n = n == 1 ? 2 : n, .labels = (const char *)j->lines.data, .labels_bytes = j->lines.size};
    if (!j->o->calib)
        return RUVM_OK;
    int rc =
        ruvm_data_open(&j->data, j->o->calib, ruvm_layers_inputs(&j->layers), &classes, j->err);
    j->has_data = rc == RUVM_OK;
    return rc;
}

/* ---- the image ------------------------------------------------------------------------- */

static int choose_types(struct job *j)
{
    uint32_t n = j->layers.n;
    const struct ruvm_scheme_rules rules = {.type = j->o->type,
                                            .tensor_types = j->o->tensor_types,
                                            .n_tensor_types = j->o->n_tensor_types};
    struct ruvm_scheme_tensor *tensors = ruvm_arena_alloc(&j->arena, n, sizeof *tensors);
    j->schemes = ruvm_arena_alloc(&j->arena, n, sizeof *j->schemes);
    j->loss = ruvm_arena_alloc(&j->arena, n, sizeof *j->loss);
    if (!tensors || !j->schemes || !j->loss)
        return no_memory(j);
    ruvm_compose_tensors(tensors, &j->layers);
    return ruvm_scheme_choose(j->schemes, tensors, n, &rules, j->err);
}

static void write_meta(struct job *j)
{
    const struct ruvm_map *file = &j->onnx.file;
    if (j->o->name)
        ruvm_buffer_printf(&j->meta, "name=%s\n", j->o->name);
    ruvm_buffer_printf(&j->meta, "source_bytes=%llu\n", (unsigned long long)file->size);
    ruvm_buffer_printf(&j->meta, "source_crc32=%08x\n", ruvm_crc32(0, file->data, file->size));
    ruvm_buffer_printf(&j->meta, "source_format=ONNX model\n");
}

static void describe_ranges(struct job *j)
{
    struct ruvm_classifier_quantize_result *r = j->r;
    r->ranges = (enum ruvm_classifier_ranges)j->inputs.source;
    r->n_constant_inputs = j->inputs.n_constant;
    r->range_low = r->range_high = j->inputs.centre[0];
    for (uint32_t i = 0; i < j->inputs.n; i++) {
        r->range_low = fmin(r->range_low, j->inputs.centre[i] - j->inputs.range[i]);
        r->range_high = fmax(r->range_high, j->inputs.centre[i] + j->inputs.range[i]);
    }
}

static int compose(struct job *j)
{
    const struct ruvm_grid *grid = j->has_data ? &j->data.grid : NULL;
    struct ruvm_mlp_input *records =
        ruvm_arena_alloc(&j->arena, ruvm_layers_inputs(&j->layers), sizeof *records);
    int rc = records ? ruvm_inputs_ranges(&j->inputs, &j->arena, &j->layers, grid,
                                          j->o->input_range, j->err)
                     : no_memory(j);
    if (rc != RUVM_OK)
        return rc;
    describe_ranges(j);
    rc = ruvm_inputs_records(&j->inputs, records, j->err);
    if (rc == RUVM_OK)
        rc = choose_types(j);
    write_meta(j);
    if (rc != RUVM_OK)
        return rc;
    const struct ruvm_compose c = {.layers = &j->layers,
                                   .schemes = j->schemes,
                                   .inputs = &j->inputs,
                                   .records = records,
                                   .grid = grid,
                                   .labels = (const char *)j->lines.data,
                                   .labels_bytes = j->lines.size,
                                   .meta = (const char *)j->meta.data,
                                   .meta_bytes = j->meta.size,
                                   .loss = j->loss};
    return j->meta.failed ? no_memory(j) : ruvm_compose_image(&j->image, &j->arena, &c, j->err);
}

/* ---- beside the float model -------------------------------------------------------------- */

struct comparison {
    double *x, *logits, *work;
    double sum, low, high;
    uint32_t same, right, right_float;
};

static void random_row(const struct job *j, double *x, uint64_t *state)
{
    for (uint32_t i = 0; i < j->inputs.n; i++)
        x[i] = j->inputs.centre[i] + (2 * ruvm_random_unit(state) - 1) * j->inputs.range[i];
}

static void compare_row(struct job *j, struct ruvm_classifier *c, struct comparison *m,
                        const double *x, int32_t truth)
{
    struct ruvm_classifier_agreement *a = &j->r->agreement;
    uint32_t n = ruvm_layers_outputs(&j->layers);
    ruvm_classifier_take(c, x);
    ruvm_classifier_eval(c);
    ruvm_layers_run(&j->layers, m->logits, x, m->work);
    uint32_t best = ruvm_mlp_best(c->mlp, c->logits), exact = ruvm_layers_best(m->logits, n);
    for (uint32_t i = 0; i < n; i++) {
        double error = fabs(c->logits[i] / 65536.0 - m->logits[i]);
        a->max_logit_error = fmax(a->max_logit_error, error);
        m->sum += error;
        m->low = fmin(m->low, m->logits[i]);
        m->high = fmax(m->high, m->logits[i]);
    }
    m->same += best == exact;
    m->right += truth == (int32_t)best;
    m->right_float += truth == (int32_t)exact;
    a->n_rows++;
}

static void compare_rows(struct job *j, struct ruvm_classifier *c, struct comparison *m)
{
    struct ruvm_classifier_agreement *a = &j->r->agreement;
    const struct ruvm_grid *g = &j->data.grid;
    uint64_t state = j->o->seed ? j->o->seed : 1;
    a->is_random = !j->has_data;
    a->has_classes = j->data.truth != NULL;
    const char *slash = j->has_data ? strrchr(j->o->calib, '/') : NULL;
    snprintf(a->data, sizeof a->data, "%s",
             !j->has_data ? "random inputs"
             : slash      ? slash + 1
                          : j->o->calib);
    for (uint32_t i = 0; i < (j->has_data ? g->n_rows : (uint32_t)RANDOM_ROWS); i++) {
        if (!j->has_data)
            random_row(j, m->x, &state);
        compare_row(j, c, m, j->has_data ? g->v + (size_t)i * g->n_cols : m->x,
                    a->has_classes ? j->data.truth[i] : -1);
    }
    a->top1 = (double)m->same / a->n_rows;
    a->accuracy = (double)m->right / a->n_rows;
    a->accuracy_float = (double)m->right_float / a->n_rows;
    a->mean_logit_error = m->sum / ((double)a->n_rows * ruvm_layers_outputs(&j->layers));
    a->logit_range = m->high - m->low;
}

static int compare(struct job *j)
{
    struct comparison m = {.low = (double)INFINITY, .high = -(double)INFINITY};
    struct ruvm_classifier c;
    const struct ruvm_kernels *kernels;
    uint32_t widest = ruvm_layers_widest(&j->layers);
    m.x = ruvm_arena_alloc(&j->arena, widest, sizeof *m.x);
    m.logits = ruvm_arena_alloc(&j->arena, widest, sizeof *m.logits);
    m.work = ruvm_arena_alloc(&j->arena, 2 * (size_t)widest, sizeof *m.work);
    if (!m.x || !m.logits || !m.work)
        return no_memory(j);
    int rc = ruvm_kernels_find(&kernels, NULL, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_classifier_open(&c, j->image.data, j->image.size, kernels, "the new image",
                                  j->err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_classifier_fill(&j->r->info, &c);
    for (uint32_t i = 0; i < j->layers.n; i++)
        j->r->info.layers[i].snr_db = j->loss[i].snr_db;
    compare_rows(j, &c, &m);
    ruvm_classifier_close(&c);
    return RUVM_OK;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int open_source(struct job *j)
{
    int rc = ruvm_onnx_open(&j->onnx, &j->arena, j->o->input, j->err);
    j->has_onnx = rc == RUVM_OK;
    if (rc == RUVM_OK) {
        j->r->source_bytes = j->onnx.file.size;
        rc = ruvm_graph_read(&j->layers, &j->arena, &j->onnx, j->err);
    }
    if (rc != RUVM_OK)
        ruvm_error_prefix(j->err, j->o->input);
    return rc;
}

static int run(struct job *j)
{
    int rc = open_source(j);
    if (rc == RUVM_OK)
        rc = read_labels(j);
    if (rc == RUVM_OK)
        rc = read_data(j);
    if (rc == RUVM_OK)
        rc = compose(j);
    if (rc == RUVM_OK)
        rc = compare(j);
    if (rc == RUVM_OK && j->o->output && !j->o->dry_run)
        rc = ruvm_file_write(j->o->output, j->image.data, j->image.size, j->err);
    return rc;
}

static bool is_line(const char *text)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
    for (uint32_t n; p < end; p += n) {
        n = ruvm_utf8_bytes(p, end);
        if (n == 0 || *p < ' ' || *p == 0x7F)
            return false;
    }
    return true;
}

int ruvm_classifier_quantize(const struct ruvm_classifier_quantize_options *o,
                             struct ruvm_classifier_quantize_result *r, struct ruvm_error *err)
{
    struct job j = {.o = o, .r = r, .err = err};
    double start = ruvm_clock_s();
    *r = (struct ruvm_classifier_quantize_result){0};
    if (o->name && !is_line(o->name))
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "the name of the model holds a control character or is not UTF-8; use "
                         "text of one line");
    int rc = run(&j);
    if (j.has_onnx)
        ruvm_onnx_close(&j.onnx);
    if (j.labels.data)
        ruvm_file_unmap(&j.labels);
    ruvm_data_close(&j.data);
    ruvm_buffer_free(&j.lines);
    ruvm_buffer_free(&j.meta);
    ruvm_buffer_free(&j.image);
    ruvm_arena_free(&j.arena);
    r->seconds = ruvm_clock_s() - start;
    return rc;
}
