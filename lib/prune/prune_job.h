/* The job of one call of ruvm_prune(): private to prune.c, which tells the order, and to the
 * rooms of its longer steps, prune_inner.c, prune_tokens.c and prune_measure.c. */
#ifndef RUVM_PRUNE_PRUNE_JOB_H
#define RUVM_PRUNE_PRUNE_JOB_H

#include "lib/prune/prune.h"

struct ruvm_prune_job {
    const struct ruvm_prune_options *o;
    struct ruvm_prune_subject now; /* as pruned so far */
    struct ruvm_arena *arena;      /* of what stays */
    struct ruvm_arena work;        /* of the step */
    const uint32_t *tokens;        /* [now.model.vocab] ids in the source; NULL: the same */
    struct ruvm_error *err;
};

/* The steps change j->now and write step->what. */
int ruvm_prune_heads(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step);
int ruvm_prune_ffn(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step);
int ruvm_prune_tokens(struct ruvm_prune_job *j, struct ruvm_quantize_prune *step);

/* Compares j->now with the source and with the model before the step, on j->now.eval. */
int ruvm_prune_measure(struct ruvm_prune_job *j, const struct ruvm_model *source,
                       const struct ruvm_model *before, struct ruvm_quantize_prune *step);

/* x [rows, cols] as an F32 view in j->arena, named like v; NULL after RUVM_ERR_MEMORY. */
const struct ruvm_view *ruvm_prune_matrix(struct ruvm_prune_job *j, const struct ruvm_view *v,
                                          const float *x, uint32_t rows, uint32_t cols);
/* The same of those rows of v; rows: [n]. */
const struct ruvm_view *ruvm_prune_rows(struct ruvm_prune_job *j, const struct ruvm_view *v,
                                        const uint32_t *rows, uint32_t n);

/* Tells the progress; RUVM_ERR_IO when it says to stop. */
int ruvm_prune_tell(struct ruvm_prune_job *j, const char *stage, uint64_t done, uint64_t total);

#endif
