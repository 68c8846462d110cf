/* Quality: how much worse an image predicts a text than the float model it came from.
 *
 *     struct ruvm_quality_options o = {.image = image, .image_bytes = n, .text = &text,
 *                                      .reference = reference};
 *     rc = ruvm_quality_measure(&q, &o, err);
 *
 * Both models read the same windows of tokens; every position's two
 * distributions are compared in double. Without a reference only the image's
 * perplexity is measured.
 */
#ifndef RUVM_MEASURE_QUALITY_H
#define RUVM_MEASURE_QUALITY_H

#include "lib/base/error.h"
#include "lib/convert/reference.h"
#include "lib/convert/text.h"
#include "lib/ruvm_tool.h"

struct ruvm_quality_options {
    const void *image; /* RUVM v1, 16-byte aligned */
    size_t image_bytes;
    const struct ruvm_kernels *kernels; /* NULL: the best of this machine */
    struct ruvm_mask mask;              /* of the image's attention */
    const struct ruvm_text *text;       /* windows of at most the image's context */
    struct ruvm_reference *reference;   /* same vocabulary, same context; or NULL */
    struct ruvm_progress progress;      /* stage "measure", in positions */
};

/* RUVM_ERR_MISMATCH (vocabularies differ), _ARG (no text), _MEMORY, _IO "interrupted".
 * Without reference: n_positions, perplexity and text_source only, the rest is 0. */
int ruvm_quality_measure(struct ruvm_quality *q, const struct ruvm_quality_options *o,
                         struct ruvm_error *err);

/* Logits x[n] become the logarithms of their softmax. */
void ruvm_quality_log_softmax(double *x, uint32_t n);
/* KL(p || q) in nats of two distributions given by their logarithms [n]. */
double ruvm_quality_divergence(const double *p, const double *q, uint32_t n);

#endif
