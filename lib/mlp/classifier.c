/* Floats of a file become what a chip is given, and then runs exactly what a chip runs. */
#include "lib/mlp/classifier.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_diagnose.h"
#include "lib/base/arena.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/mlp/inputs.h"
#include "lib/quant/scheme.h"

enum { MEMORY_ALIGN = 64 };

static int open_memory(struct ruvm_classifier *c, const void *image, size_t bytes,
                       const struct ruvm_kernels *kernels, struct ruvm_error *err)
{
    const struct ruvm_image *img = &c->image.img;
    int rc = ruvm_mlp_bytes(image, bytes, &c->memory_bytes);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s", ruvm_status_text(rc));
    c->memory = aligned_alloc(MEMORY_ALIGN, ruvm_align_up(c->memory_bytes, MEMORY_ALIGN));
    c->inputs = calloc(img->dim, sizeof *c->inputs);
    c->x = calloc(img->dim, sizeof *c->x);
    c->logits = calloc(img->vocab, sizeof *c->logits);
    c->p = calloc(img->vocab, sizeof *c->p);
    if (!c->memory || !c->inputs || !c->x || !c->logits || !c->p)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short");
    memset(c->memory, 0, c->memory_bytes);
    for (uint32_t i = 0; i < img->dim; i++)
        c->inputs[i] = ruvm_mlp_image_input(&c->image, i);
    rc = ruvm_mlp_init(&c->mlp, c->memory, c->memory_bytes, image, bytes, kernels);
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "%s", ruvm_status_text(rc));
}

int ruvm_classifier_open(struct ruvm_classifier *c, const void *image, size_t bytes,
                         const struct ruvm_kernels *kernels, const char *name,
                         struct ruvm_error *err)
{
    struct ruvm_image_fault fault;
    *c = (struct ruvm_classifier){0};
    int rc = ruvm_mlp_image_open(&c->image, image, bytes, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(err, rc, name, &fault);
    rc = open_memory(c, image, bytes, kernels, err);
    if (rc != RUVM_OK) {
        ruvm_error_prefix(err, name);
        ruvm_classifier_close(c);
    }
    return rc;
}

void ruvm_classifier_close(struct ruvm_classifier *c)
{
    free(c->memory);
    free(c->inputs);
    free(c->x);
    free(c->logits);
    free(c->p);
    *c = (struct ruvm_classifier){0};
}

uint32_t ruvm_classifier_take(struct ruvm_classifier *c, const double *row)
{
    uint32_t n_clipped = 0;
    for (uint32_t i = 0; i < c->image.img.dim; i++) {
        const struct ruvm_mlp_input *in = &c->inputs[i];
        c->x[i] = ruvm_inputs_fixed(row[i], in->exp);
        double parts = fabs(ldexp(row[i], -in->exp) - in->centre) * in->mult;
        n_clipped += ldexp(parts, -in->shift) > INT16_MAX;
    }
    return n_clipped;
}

void ruvm_classifier_eval(struct ruvm_classifier *c)
{
    ruvm_mlp_run(c->mlp, c->x, c->logits);
}

/* ---- what it is ------------------------------------------------------------------ */

/* "relu", "leaky_relu 0.01". text: [24]. */
static void put_activation(char *text, uint8_t act, double slope)
{
    static const char *const names[RUVM_MLP_N_ACTS] = {"none", "relu", "leaky_relu", "sigmoid",
                                                       "tanh", "silu", "gelu_tanh",  "gelu"};
    if (act == RUVM_MLP_ACT_LEAKY_RELU)
        snprintf(text, 24, "%s %.4g", names[act], slope);
    else
        snprintf(text, 24, "%s", names[act]);
}

static void fill_layer(struct ruvm_classifier_layer *d, const struct ruvm_mlp_layer *y, unsigned i)
{
    const struct ruvm_scheme scheme = {y->w.type, y->w.group};
    *d = (struct ruvm_classifier_layer){.rows = y->w.rows,
                                        .cols = y->w.cols,
                                        .bytes = (uint64_t)y->w.data_bytes + y->w.scale_bytes};
    snprintf(d->name, sizeof d->name, "layers.%u", i);
    put_activation(d->activation, y->act, y->slope / 65536.0);
    ruvm_scheme_write(d->type, scheme);
    d->bits_per_weight = 8.0 * (double)d->bytes / ((double)d->rows * d->cols);
}

/* The value of name= in meta, whose keys are in order and whose lines end. */
static void fill_name(struct ruvm_classifier_info *info, const struct ruvm_image *img)
{
    const char *p = (const char *)img->meta, *end = p ? p + img->meta_bytes : p;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (stop - p > 5 && memcmp(p, "name=", 5) == 0)
            snprintf(info->name, sizeof info->name, "%.*s", (int)(stop - p - 5), p + 5);
        p = stop + 1;
    }
}

void ruvm_classifier_fill(struct ruvm_classifier_info *info, const struct ruvm_classifier *c)
{
    static const char *const outputs[RUVM_MLP_N_OUTPUTS] = {"logits", "softmax", "sigmoid"};
    const struct ruvm_image *img = &c->image.img;
    *info = (struct ruvm_classifier_info){
        .n_inputs = img->dim,
        .n_outputs = img->vocab,
        .n_classes = (uint16_t)ruvm_mlp_image_classes(&c->image),
        .n_layers = img->n_layers,
        .output = outputs[c->image.output],
        .has_labels = c->image.labels != NULL,
        .image_bytes = img->size,
        .memory_bytes = c->memory_bytes,
        .image_crc32 = ruvm_load_u32(img->data + RUVM_HDR_CRC),
    };
    fill_name(info, img);
    for (unsigned i = 0; i < img->n_layers; i++) {
        struct ruvm_mlp_layer y = ruvm_mlp_image_layer(&c->image, i);
        fill_layer(&info->layers[i], &y, i);
        info->n_weights += (uint64_t)y.w.rows * y.w.cols;
    }
}
