/* The state of a distillation, shared by distill.c (its life) and distill_step.c (one step of
 * it). Nobody else includes this. */
#ifndef RUVM_TRAIN_DISTILL_STATE_H
#define RUVM_TRAIN_DISTILL_STATE_H

#include "lib/base/pool.h"
#include "lib/train/batches.h"
#include "lib/train/checkpoint.h"
#include "lib/train/distill.h"
#include "lib/train/pass.h"

/* Weights of types whose largest level is at most this have few levels. */
enum { RUVM_DISTILL_FEW = 3 };

/* One matrix of the student; behind the last of them all norms, then each bias. */
struct distill_part {
    struct ruvm_fake_quant quant;
    struct ruvm_optimizer_span weights, steps; /* of the optimizer's arrays */
};

/* What a thread works with. */
struct distill_worker {
    struct ruvm_pass *teacher, *student;
};

struct ruvm_distill {
    struct ruvm_distill_options o;
    struct ruvm_arena arena;
    struct ruvm_pool *pool;
    struct ruvm_batches batches;
    struct ruvm_optimizer optimizer; /* the student's latent values, then all steps */
    struct ruvm_network student;     /* with quantized weights */
    struct distill_part *parts;      /* [n_parts] */
    uint32_t n_parts;
    struct distill_worker *workers; /* [threads] */
    /* Gradients of some sequences each. How many there are does not depend on the
     * threads, so neither does the order in which they are added. */
    struct ruvm_network *slots;
    uint32_t n_slots;
    float *hidden;    /* [positions, dim] the teacher's inputs of its head, or NULL */
    bool *has_hidden; /* [n_windows] */
    double *losses;   /* [batch] of the present step */
    const uint32_t *windows;
    uint64_t positions;           /* in the batch */
    float share;                  /* of the learning rates at this step */
    uint32_t fall;                /* the power with which they fall */
    float pull;                   /* share of a step towards the middle of a level */
    uint32_t step;                /* done */
    double began, seconds_before; /* the clock at the start; what earlier calls took */
    uint32_t identity;
    struct ruvm_checkpoint_curve sums[RUVM_DISTILL_CURVE];
};

/* One step of the optimizer; returns the loss summed over d->positions. */
double ruvm_distill_step(struct ruvm_distill *d);
/* Fills the student from the optimizer's values. */
void ruvm_distill_quantize(struct ruvm_distill *d);

#endif
