/* Distill: trains a quantized student to say what the float teacher says.
 *
 *     ruvm_distill_open(&d, &options, err);
 *     ruvm_distill_run(d, err);
 *     ruvm_distill_matrix(d, i, &levels ...);
 *     ruvm_distill_close(d);
 *
 * The text is the teacher's own, so no data set is needed (LLM-QAT, arXiv 2305.17888). The loss is
 * the mean over all positions of KL(teacher || student) of the whole distributions
 * (arXiv 1503.02531), the gradient goes straight through the rounding (fake_quant.h),
 * the optimizer is Adam. The result depends on the options but not on the number of
 * threads or the machine, and a run that was interrupted and resumed ends as one that was not.
 */
#ifndef RUVM_TRAIN_DISTILL_H
#define RUVM_TRAIN_DISTILL_H

#include "lib/convert/text.h"
#include "lib/ruvm_tool.h"
#include "lib/train/fake_quant.h"
#include "lib/train/network.h"

/* Of one matrix of the student. */
struct ruvm_distill_matrix {
    int type;             /* enum ruvm_tensor_type, or RUVM_FAKE_QUANT_FLOAT: not quantized */
    uint32_t group;       /* columns that share a step: 0 (a row), 16, 32, 64 */
    const float *steps;   /* [rows, groups] to start with, positive; NULL: of least error */
    const float *weights; /* [rows, cols] latent weights to start with; NULL: the student's */
};

struct ruvm_distill_options {
    const struct ruvm_network *teacher;
    const struct ruvm_network *student;         /* may have another shape, but the vocabulary;
                                                 * NULL: as the teacher */
    const struct ruvm_distill_matrix *matrices; /* [n_matrices of the student] */
    const struct ruvm_text *text;               /* samples of the teacher */
    uint32_t steps;                             /* of the optimizer */
    uint32_t batch;                             /* windows a step; 0: 4 for few levels, 16 */
    uint64_t seed;                              /* of their order */
    uint32_t threads;                           /* 0: all processors */
    float rate;                                 /* factor of all learning rates; 0: 1 */
    float soft;                                 /* share of the steps in which types of few levels
                                                 * (ternary, binary, int2) come gradually */
    bool keep_norms;                            /* train neither norms nor biases */
    const char *checkpoint;                     /* file to save the state in; NULL: none */
    uint32_t checkpoint_steps;                  /* how often; 0: when interrupted, and at the end */
    bool resume;                                /* begin with the checkpoint's state */
    struct ruvm_progress progress;              /* stage "distill", in steps */
};

enum { RUVM_DISTILL_CURVE = 50 };

struct ruvm_distill;

/* Everything in the options is borrowed until the close. RUVM_ERR_ARG, _MEMORY; with resume
 * also _IO, _CORRUPT (a damaged checkpoint), _MISMATCH (one of another run). After a failure
 * nothing needs closing. */
int ruvm_distill_open(struct ruvm_distill **d, const struct ruvm_distill_options *o,
                      struct ruvm_error *err);
void ruvm_distill_close(struct ruvm_distill *d); /* d may be NULL */

/* Trains up to the last step. RUVM_ERR_IO "interrupted" (after saving a checkpoint, where there
 * is a path) or when a checkpoint cannot be written; RUVM_ERR_CORRUPT when the loss is no number.
 */
int ruvm_distill_run(struct ruvm_distill *d, struct ruvm_error *err);

/* Steps done: more than 0 after a resume. */
uint32_t ruvm_distill_steps_done(const struct ruvm_distill *d);
/* Positions trained on and seconds taken so far, those before a resume included; and
 * threads at work. */
uint64_t ruvm_distill_tokens_done(const struct ruvm_distill *d);
double ruvm_distill_seconds(const struct ruvm_distill *d);
uint32_t ruvm_distill_threads(const struct ruvm_distill *d);

/* Matrix i as it is stored: levels [rows, cols], a scale [rows] and multipliers [rows, groups]
 * (1 without groups); weight = level * multiplier * scale. Not for a FLOAT one. */
void ruvm_distill_matrix(const struct ruvm_distill *d, uint32_t i, int8_t *levels, double *scale,
                         uint8_t *multipliers);
/* The student as trained: its matrices hold the quantized weights. */
const struct ruvm_network *ruvm_distill_student(const struct ruvm_distill *d);
/* Mean KL in nats a position of each part of the run; parts not yet begun are 0. */
void ruvm_distill_curve(const struct ruvm_distill *d, double curve[RUVM_DISTILL_CURVE]);
/* The first part in which all weights are rounded as the image has them: before it the soft
 * ones are nearly the teacher's. */
uint32_t ruvm_distill_first_hard(const struct ruvm_distill *d);

#endif
