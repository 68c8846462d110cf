/* A small model to prune, with texts it wrote itself, and what to look at it with. */
#ifndef TESTS_SUPPORT_PRUNE_TINY_H
#define TESTS_SUPPORT_PRUNE_TINY_H

#include "lib/convert/reference.h"
#include "lib/import/source.h"
#include "lib/prune/prune.h"

struct opened {
    struct ruvm_source source;
    struct ruvm_prune_subject s;
    struct ruvm_error err;
};

/* Three layers of 6 heads of 4 values on 3 key/value heads, 23 units, 50 tokens. */
struct opened prune_open(bool has_vocab);
/* Windows of 16 positions, drawn from the model as it is in o->s. */
void prune_texts(struct opened *o, uint64_t n_calibration, uint64_t n_eval);
/* Must succeed. */
struct ruvm_prune_report prune(struct opened *o, const struct ruvm_prune_options *options);

/* Element of an F32 matrix. */
float prune_at(const struct ruvm_view *v, uint64_t row, uint64_t col);
struct ruvm_reference *prune_reference(struct opened *o, const struct ruvm_model *m);

struct prune_loss {
    double kl, perplexity_a, perplexity_b;
};
/* KL(a || b), summed up straight from the definition. */
struct prune_loss prune_compare(struct opened *o, const struct ruvm_model *a,
                                const struct ruvm_model *b, const struct ruvm_text *t);

#endif
