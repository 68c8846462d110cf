/* The verbs run, inspect and bench of classifiers: an image, and rows of numbers. */
#define _POSIX_C_SOURCE 200809L /* stat */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/onnx.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/measure/machine.h"
#include "lib/measure/spread.h"
#include "lib/mlp/classifier.h"
#include "lib/mlp/data.h"
#include "lib/mlp/graph.h"

enum {
    DEFAULT_REPETITIONS = 9,
    MAX_REPETITIONS = 1000,
    INPUTS_KEPT = 16, /* rows that a bench goes through again and again */
};
#define REPETITION_S 0.05

/* ---- what a file is ----------------------------------------------------------------- */

static bool is_source(const char *path)
{
    struct ruvm_arena arena = {0};
    struct ruvm_onnx o;
    struct ruvm_map map;
    if (ruvm_file_map(&map, path, NULL) != RUVM_OK)
        return false;
    bool is = ruvm_onnx_probe(map.data, map.size);
    ruvm_file_unmap(&map);
    if (!is || ruvm_onnx_open(&o, &arena, path, NULL) != RUVM_OK) {
        ruvm_arena_free(&arena);
        return false;
    }
    is = ruvm_graph_is_classifier(&o);
    ruvm_onnx_close(&o);
    ruvm_arena_free(&arena);
    return is;
}

/* A stream can be read only once, and the verbs want to read it; a folder is no classifier. */
static bool is_file(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

enum ruvm_classifier_kind ruvm_classifier_probe(const char *path)
{
    struct ruvm_file file;
    if (!is_file(path))
        return RUVM_CLASSIFIER_NONE;
    if (ruvm_file_open(&file, path, NULL) != RUVM_OK)
        return RUVM_CLASSIFIER_NONE;
    bool is_image = ruvm_mlp_image_probe(file.data, file.size);
    ruvm_file_close(&file);
    if (is_image)
        return RUVM_CLASSIFIER_IMAGE;
    return is_source(path) ? RUVM_CLASSIFIER_SOURCE : RUVM_CLASSIFIER_NONE;
}

/* ---- run ------------------------------------------------------------------------------ */

struct run {
    const struct ruvm_classifier_run_options *o;
    struct ruvm_classifier_run_result *r;
    struct ruvm_classifier c;
    struct ruvm_data data;
    char *label; /* room for the longest name */
};

static const char *label_of(struct run *j, uint32_t best)
{
    size_t n;
    const char *label = ruvm_mlp_label(j->c.mlp, best, &n);
    if (!label || !j->label)
        return NULL;
    memcpy(j->label, label, n);
    j->label[n] = '\0';
    return j->label;
}

static int run_row(struct run *j, uint32_t i)
{
    struct ruvm_classifier *c = &j->c;
    const struct ruvm_grid *g = &j->data.grid;
    struct ruvm_classifier_row row = {
        .row = i, .mlp = c->mlp, .truth = -1, .logits = c->logits, .p = c->p};
    row.n_clipped = ruvm_classifier_take(c, g->v + (size_t)i * g->n_cols);
    double start = ruvm_clock_s();
    ruvm_classifier_eval(c);
    j->r->seconds += ruvm_clock_s() - start;
    ruvm_mlp_probabilities(c->mlp, c->logits, c->p);
    row.best = ruvm_mlp_best(c->mlp, c->logits);
    row.label = label_of(j, row.best);
    if (j->data.truth)
        row.truth = j->data.truth[i];
    j->r->n_rows++;
    j->r->n_right += row.truth == (int32_t)row.best;
    j->r->n_clipped += row.n_clipped;
    j->r->logits_crc32 = ruvm_logits_crc(j->r->logits_crc32, c->logits, c->image.img.vocab);
    return j->o->row ? j->o->row(j->o->user, &j->r->info, &row) : 0;
}

static int run_all(struct run *j, struct ruvm_error *err)
{
    const struct ruvm_mlp_image *image = &j->c.image;
    const struct ruvm_data_classes classes = {.n = ruvm_mlp_image_classes(image),
                                              .labels = (const char *)image->labels,
                                              .labels_bytes = image->labels_bytes};
    ruvm_classifier_fill(&j->r->info, &j->c);
    j->label = malloc(image->labels_bytes + 1u);
    if (!j->label)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short");
    int rc = ruvm_data_open(&j->data, j->o->input, image->img.dim, &classes, err);
    if (rc != RUVM_OK)
        return rc;
    j->r->has_classes = j->data.truth != NULL;
    for (uint32_t i = 0; i < j->data.grid.n_rows && run_row(j, i) == 0; i++)
        ;
    ruvm_data_close(&j->data);
    return RUVM_OK;
}

/* The image of a path opened; the file is to be closed after the classifier. */
static int open_path(struct ruvm_classifier *c, struct ruvm_file *file, const char *path,
                     const char *kernels, char used[16], struct ruvm_error *err)
{
    const struct ruvm_kernels *k;
    int rc = ruvm_kernels_find(&k, kernels, err);
    if (rc == RUVM_OK)
        rc = ruvm_file_open(file, path, err);
    if (rc != RUVM_OK)
        return rc;
    snprintf(used, 16, "%s", ruvm_kernels_name(k));
    rc = ruvm_classifier_open(c, file->data, file->size, k, path, err);
    if (rc != RUVM_OK)
        ruvm_file_close(file);
    return rc;
}

int ruvm_classifier_run(const struct ruvm_classifier_run_options *o,
                        struct ruvm_classifier_run_result *r, struct ruvm_error *err)
{
    struct run j = {.o = o, .r = r};
    struct ruvm_file file;
    *r = (struct ruvm_classifier_run_result){0};
    int rc = open_path(&j.c, &file, o->model, o->kernels, r->kernels, err);
    if (rc != RUVM_OK)
        return rc;
    rc = run_all(&j, err);
    free(j.label);
    ruvm_classifier_close(&j.c);
    ruvm_file_close(&file);
    return rc;
}

int ruvm_classifier_describe(struct ruvm_classifier_info *info, const char *path,
                             struct ruvm_error *err)
{
    struct ruvm_classifier c;
    struct ruvm_file file;
    char kernels[16];
    int rc = open_path(&c, &file, path, NULL, kernels, err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_classifier_fill(info, &c);
    ruvm_classifier_close(&c);
    ruvm_file_close(&file);
    return RUVM_OK;
}

/* ---- bench ---------------------------------------------------------------------------- */

/* Numbers over the range of each input, so that activations are as busy as they get. */
static void fill_inputs(const struct ruvm_classifier *c, int32_t *x)
{
    uint64_t state = 1;
    for (uint32_t k = 0; k < INPUTS_KEPT * (uint32_t)c->image.img.dim; k++) {
        const struct ruvm_mlp_input *in = &c->inputs[k % c->image.img.dim];
        int64_t half = ((int64_t)1 << (RUVM_MLP_INPUT_BITS + in->shift)) / in->mult;
        int64_t value =
            in->centre - half + (int64_t)(ruvm_random_unit(&state) * 2.0 * (double)half);
        x[k] = value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
    }
}

static double time_runs(struct ruvm_classifier *c, const int32_t *x, uint32_t runs)
{
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < runs; i++)
        ruvm_mlp_run(c->mlp, x + (size_t)(i % INPUTS_KEPT) * c->image.img.dim, c->logits);
    return ruvm_clock_s() - start;
}

/* The shorter one of two times: another program may have had the processor. */
static uint32_t enough_runs(struct ruvm_classifier *c, const int32_t *x)
{
    uint32_t runs = 1;
    while (runs < 1u << 24 &&
           (time_runs(c, x, runs) < REPETITION_S || time_runs(c, x, runs) < REPETITION_S))
        runs *= 2;
    return runs;
}

static int bench(struct ruvm_classifier *c, const struct ruvm_classifier_bench_options *o,
                 struct ruvm_classifier_bench_result *r, struct ruvm_error *err)
{
    uint32_t n = o->repetitions ? o->repetitions : DEFAULT_REPETITIONS;
    double rates[MAX_REPETITIONS];
    if (n > MAX_REPETITIONS)
        return ruvm_fail(err, RUVM_ERR_ARG, "at most %d repetitions", MAX_REPETITIONS);
    int32_t *x = calloc((size_t)INPUTS_KEPT * c->image.img.dim, sizeof *x);
    if (!x)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short");
    fill_inputs(c, x);
    r->runs = enough_runs(c, x);
    for (uint32_t i = 0; i < n; i++)
        rates[i] = r->runs / time_runs(c, x, r->runs);
    free(x);
    r->runs_per_s = ruvm_spread_of(rates, n);
    r->gmac_per_s = ruvm_spread_scaled(r->runs_per_s, 1e-9 * (double)r->info.n_weights);
    ruvm_machine_describe(r->machine, sizeof r->machine);
    return RUVM_OK;
}

int ruvm_classifier_bench(const struct ruvm_classifier_bench_options *o,
                          struct ruvm_classifier_bench_result *r, struct ruvm_error *err)
{
    struct ruvm_classifier c;
    struct ruvm_file file;
    *r = (struct ruvm_classifier_bench_result){0};
    int rc = open_path(&c, &file, o->model, o->kernels, r->kernels, err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_classifier_fill(&r->info, &c);
    rc = bench(&c, o, r, err);
    ruvm_classifier_close(&c);
    ruvm_file_close(&file);
    return rc;
}
