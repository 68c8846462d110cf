/* The job of one call of ruvm_quantize(): what its steps hand to one another.
 *
 * Private to quantize.c, which tells their order, and to the rooms of the steps:
 * quantize_source.c, quantize_search.c, quantize_image.c, quantize_distill.c,
 * quantize_report.c.
 */
#ifndef RUVM_CONVERT_QUANTIZE_JOB_H
#define RUVM_CONVERT_QUANTIZE_JOB_H

#include "lib/convert/samples.h"
#include "lib/convert/weights.h"
#include "lib/import/source.h"

struct ruvm_quantize_job {
    const struct ruvm_quantize_options *o;
    struct ruvm_quantize_result *r;
    struct ruvm_error *err;
    struct ruvm_pool *pool;           /* threads of a large model; NULL: it is small */
    struct ruvm_source source;        /* its arena holds everything made from it */
    struct ruvm_reference *reference; /* of the source; NULL in a dry run */
    struct ruvm_model model;          /* what is quantized: the source, or what pruning left */
    struct ruvm_text *calibration;    /* the text given for it, or NULL: own samples */
    struct ruvm_text *excerpt;        /* of it, for the ranges; NULL: not made yet */
    enum ruvm_method method;
    uint32_t n_tensors;
    struct ruvm_scheme_tensor *tensors; /* [n_tensors] */
    struct ruvm_scheme *schemes;        /* [n_tensors] */
    struct ruvm_weights_loss *losses;   /* [n_tensors] */
    struct ruvm_moments *moments;       /* NULL when they are not needed */
    struct ruvm_arena work;             /* of the image being built */
    struct ruvm_student student;
    bool has_student; /* the ranges of the cache are seen on it */
    bool student_is_packed;
    struct ruvm_image_build build;
    struct {
        const uint8_t *data;
        size_t size;
    } image; /* of the build, when it is complete */
};

/* The seed asked for; texts for different purposes derive theirs from it. */
uint64_t ruvm_quantize_seed(const struct ruvm_quantize_job *j);
/* Options of samples of the source: n positions, `stage` for the progress. */
struct ruvm_samples_options ruvm_quantize_samples(const struct ruvm_quantize_job *j,
                                                  const char *stage, uint64_t n, uint64_t seed);
/* Positions for a calibration of this model: those asked for, or all that teach something in
 * reasonable time. */
uint32_t ruvm_quantize_positions(const struct ruvm_quantize_job *j, const struct ruvm_model *m,
                                 uint32_t most);
/* Opens the float model m for samples and windows: the whole context in memory when it is
 * small, several short texts side by side when it is large. Lives in the arena. */
int ruvm_quantize_reference(struct ruvm_quantize_job *j, struct ruvm_reference **r,
                            struct ruvm_arena *arena, const struct ruvm_model *m);
/* Positions of a window at most. */
uint32_t ruvm_quantize_window(const struct ruvm_quantize_job *j);
/* Returns rc; what is wrong with the weights themselves gets the name of the input before it. */
int ruvm_quantize_blame(const struct ruvm_quantize_job *j, int rc);
/* Tells the progress; RUVM_ERR_IO when it says to stop. */
int ruvm_quantize_tell(const struct ruvm_quantize_job *j, const char *stage, uint64_t done,
                       uint64_t total);
/* Reads and encodes a text file for this model. */
int ruvm_quantize_read_text(struct ruvm_quantize_job *j, struct ruvm_text *text, const char *path,
                            uint64_t max_positions);

/* Opens the source, prunes it and lists its tensors. */
int ruvm_quantize_open(struct ruvm_quantize_job *j);
/* Opens the moments of the matrices if something needs them. */
int ruvm_quantize_moments(struct ruvm_quantize_job *j);

/* Looks at the moments, sets schemes for the limit asked for, keeps the curve in the result
 * and builds the image as below. */
int ruvm_quantize_search(struct ruvm_quantize_job *j);

/* Builds the image of the schemes into j->image, without golden vectors. A previous one is
 * given up. sizes_only: nothing is quantized, its weights are zeros. */
int ruvm_quantize_image(struct ruvm_quantize_job *j, bool sizes_only);
/* The same again after the weights of the student changed in j->build: ranges, and the file. */
int ruvm_quantize_compose(struct ruvm_quantize_job *j, bool sizes_only);
/* Adds golden vectors. */
int ruvm_quantize_golden(struct ruvm_quantize_job *j);

/* Trains the student further and puts its weights and norms into the build. */
int ruvm_quantize_distill(struct ruvm_quantize_job *j);

/* Positions of text that each tensor's share of the loss is estimated from, fewer for a
 * large model; 0: it would take too long, or too much memory. */
uint32_t ruvm_quantize_share_positions(const struct ruvm_quantize_job *j);
/* Fills the result's tensors, sizes and sums. */
int ruvm_quantize_report(struct ruvm_quantize_job *j);

#endif
