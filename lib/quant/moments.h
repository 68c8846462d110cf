/* Moments: what the matrices of a model meet at work, seen on a text.
 *
 * A row w of a matrix that is rounded to q changes an output by (w - q) x, and the model's
 * prediction by that times the gradient g of the log-likelihood by this output. Labels are
 * drawn from the model itself, so E[g^2] is Fisher's information and
 *     KL = 1/2 E[(g (w - q) x)^2]        to second order.
 * Kept for each matrix: M = E[|g|^2 x x^T], g now of all rows, and F = E[g g^T] / E[|g|^2]:
 * the product of both stands for E[g g^T (x) x x^T] (Kronecker factors as in K-FAC, arXiv
 * 1503.05671; tokens weighed by their gradient as in GuidedQuant, arXiv 2505.07004), and
 *     KL = 1/2 trace(F (W - Q) M (W - Q)^T).
 * An embedding is looked up instead of multiplied, and so are learned positions: there x is a
 * row's share of the tokens and g is taken in the stream.
 */
#ifndef RUVM_QUANT_MOMENTS_H
#define RUVM_QUANT_MOMENTS_H

#include "lib/base/arena.h"
#include "lib/convert/text.h"
#include "lib/import/model.h"
#include "lib/quant/matrix.h"
#include "lib/ruvm_tool.h"

/* Of one product. */
struct ruvm_moments_product {
    double *inputs;  /* M: [cols, cols], symmetric; NULL: there is no such product */
    double *share;   /* [rows] the diagonal of F; sums to 1 */
    double *outputs; /* F: [rows, rows]; NULL beyond RUVM_MOMENTS_MAX_ROWS rows, and where
                      * rows do not meet: in a lookup */
};
enum { RUVM_MOMENTS_MAX_ROWS = 1024 };

struct ruvm_moments_tensor {
    uint32_t rows, cols;
    const double *inputs; /* [cols, cols] to round with: the sum of both products' */
    struct ruvm_moments_product multiplied, looked_up;
};

struct ruvm_moments;

struct ruvm_moments_options {
    const struct ruvm_text *text;
    uint64_t seed;                 /* of the labels */
    uint32_t threads;              /* 0: all processors */
    struct ruvm_progress progress; /* stage "moments", in positions */
};

/* Nothing is computed yet; the text is borrowed. RUVM_ERR_MEMORY. */
int ruvm_moments_open(struct ruvm_moments **m, const struct ruvm_model *model,
                      const struct ruvm_moments_options *o, struct ruvm_error *err);
void ruvm_moments_close(struct ruvm_moments *m); /* m may be NULL */

/* Tensor i in the order of the image. The first call, and one for a tensor far away in a
 * large model, runs the network over the text. Valid until the next call.
 * RUVM_ERR_MEMORY, _IO "interrupted", _CORRUPT. */
int ruvm_moments_tensor(struct ruvm_moments *m, uint32_t i, struct ruvm_moments_tensor *t,
                        struct ruvm_error *err);

/* KL in nats a position that the rounding of w [rows, cols] to q costs, to second order.
 * RUVM_ERR_MEMORY. */
int ruvm_moments_loss(double *kl, const struct ruvm_moments_tensor *t,
                      const struct ruvm_quant_matrix *q, const float *w, struct ruvm_error *err);

#endif
